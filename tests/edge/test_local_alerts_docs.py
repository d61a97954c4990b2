"""docs/local-alerts.md: its settings are taken, its JSON is what is told."""

import json
import re
from pathlib import Path

from devices.records import LocalAlert
from devices.rules import known_rules
from edge.clock import Moment
from edge.config import load_site
from edge.local_alerts_telling import notice_of

TEXT = (Path(__file__).parent.parent.parent / "docs" / "local-alerts.md").read_text("utf-8")
BROKER = """  - id: site-broker
    mqtt: {host: 127.0.0.1}
    devices: [{id: r1, profile: vda5050-robot, topic: r1}]
"""


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found
    return found[1]


def test_the_settings_are_taken(tmp_path: Path) -> None:
    settings = (
        block("yaml").replace("/usr/local/bin/horn", "/bin/true").replace("local_alerts:", f"{BROKER}local_alerts:")
    )
    (tmp_path / "hook-token.txt").write_text("secret")
    (tmp_path / "site.yaml").write_text(f"site: jinji-lake\ngateway: gw-1\n{settings}")

    site = load_site(tmp_path / "site.yaml")

    assert (site.devices[0].criticality, site.devices[0].class_) == ("A", "fire-pump")
    assert site.config.local_alerts.command == ("/bin/true", "--red-only")


def test_the_json_is_what_is_told() -> None:
    since_ms = 1_772_460_007_120
    alert = LocalAlert("fire-alarm", "panel-1", "active", "red", since_ms, latched=True)
    moment = Moment(since_ms + 11, 1, b"r" * 8, trusted=True, uncertainty_ms=5)

    notice = notice_of("jinji-lake", "gw-1", alert, known_rules()["fire-alarm"], moment)

    assert notice.topic == "gatehouse/v1/jinji-lake/gw-1/alerts/fire-alarm/panel-1"
    assert json.loads(notice.body) == json.loads(block("json"))
