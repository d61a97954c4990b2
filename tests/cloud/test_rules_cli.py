"""`gatehouse rules`, as a person or a script uses it."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cloud.cli_rules import app
from cloud.facts.database import open_database
from cloud.facts.ledgers import import_ledger
from cloud.ingest.gateways import GatewayRegister
from cloud.ingest.log import Received
from cloud.ingest.log_segments import SegmentLog
from cloud.processor import Processor
from devices.columns import Numbers
from devices.frame import Content
from devices.profile import packaged_profile
from devices.reading import Lane, Series
from devices.records import Inventory, ProfileText
from devices.rules import known_rules
from tests.cloud.live_world import LEDGER, SITE
from tests.cloud.sealed import SealingGateway, now_ms

HOUR_MS = 3_600_000
PROFILE = packaged_profile("apc-smart-ups")
OWN = """\
rules:
  - id: hot-ups
    severity: yellow
    name: UPS too hot
    when: {kind: threshold, measure: temperature, side: above, limit: 40, deadband: 2}
    on_delay: 1min
"""


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_list_and_one_rule_are_shown_as_they_ship() -> None:
    lines = run("list").stdout.splitlines()
    shown = json.loads(run("show", "mains-lost").stdout)

    assert lines[0].split() == ["id", "severity", "kind", "delay", "at", "mode"]
    assert [line.split()[0] for line in lines[1:]] == list(known_rules())
    assert (shown["on_delay"], shown["severity"], shown["when"]["signals"]) == (5.0, "red", ["mains_lost"])
    assert [one["id"] for one in json.loads(run("list", "--json").stdout)] == list(known_rules())


def test_a_misspelt_rule_is_answered_with_the_nearest_one() -> None:
    result = run("show", "mains-lots")

    assert result.exit_code == 2
    assert "did you mean 'mains-lost'?" in result.stderr


def test_mistakes_are_listed_with_line_and_column_and_unknown_roles_are_said(tmp_path: Path) -> None:
    fine, wrong, strange = tmp_path / "fine.yaml", tmp_path / "wrong.yaml", tmp_path / "strange.yaml"
    fine.write_text(OWN)
    wrong.write_text(OWN.replace("side: above", "side: over"))
    strange.write_text(OWN.replace("measure: temperature", "measure: humidity"))

    assert run("check", fine).stdout == f"{fine}: fine: {len(known_rules()) + 1} rules hold\n"
    assert run("check", wrong).exit_code == 3
    assert run("check", wrong).stderr.startswith(f"{wrong}:5:57: rules.0.when.threshold.side: 'over'")
    assert "hot-ups: no packaged profile has 'humidity'" in run("check", strange).stdout


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of a UPS in the log: on battery for a minute in the tenth hour back, and hot from the fifth hour on."""
    folder = tmp_path_factory.mktemp("cloud")
    asyncio.run(_filled(folder, now_ms() - 12 * HOUR_MS))
    return folder


async def _filled(folder: Path, start_ms: int, said: Sequence[tuple[int, dict[str, float]]] = ()) -> None:
    gateway = SealingGateway(start_ms=start_ms)
    keys, database = GatewayRegister(folder / "gateways.sqlite"), open_database(folder / "facts.sqlite")
    keys.add("gw-1", SITE, gateway.key.public_key(), start_ms)
    import_ledger(database, LEDGER, "ledger.yaml", actor="test", now_ms=start_ms)
    log = SegmentLog(folder / "log")
    points = sorted(PROFILE.state_points | {"temperature"})
    series = tuple(Series("di-1", point, PROFILE.unit_of(point), 60) for point in points)
    inventory = Inventory(start_ms, "0", "", (PROFILE.device_info("di-1"),))
    calm = dict.fromkeys(points, 0.0) | {"status": 2.0, "temperature": 25.0}
    on_battery, hot = calm | {"status": 4.0}, calm | {"temperature": 43.0}
    steps = [(0, calm), (2 * HOUR_MS, on_battery), (2 * HOUR_MS + 60_000, calm), (7 * HOUR_MS, hot)]
    for seq, (after_ms, values) in enumerate(said or steps, 1):
        numbers = Numbers.of(
            range(len(points)), [start_ms + after_ms] * len(points), [values[p] for p in points], [0] * len(points)
        )
        records = (ProfileText(PROFILE.hash, PROFILE.text), inventory) if seq == 1 else ()
        sealed = gateway.seal(Content(series, numbers, records=records), span_end_ms=start_ms + after_ms + 1000)
        await log.append([Received(start_ms + after_ms + 1000, "gw-1", Lane.EVENTS, sealed.data)])
    processor = Processor(log, keys, database)
    while await processor.step():
        pass
    log.close()
    keys.close()
    database.dispose()


def test_a_rehearsal_lists_what_the_last_days_would_have_raised(data_dir: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(OWN)

    found = json.loads(run("test", own, "--data-dir", data_dir, "--days", "1", "--json").stdout)

    device = {one["rule"]: (one["thing"], one["to"] is not None) for one in found}
    assert device["ups-on-battery"] == ("pump-3", True)
    assert device["hot-ups"] == ("pump-3", False)
    assert device["gateway-silent"][0] == "gw-1"
    assert "genset-not-auto" not in device


def test_a_rehearsal_sees_a_silence_that_began_and_ended_within_an_hour(tmp_path: Path) -> None:
    hour_ms = (now_ms() // HOUR_MS - 3) * HOUR_MS
    calm = dict.fromkeys(sorted(PROFILE.state_points | {"temperature"}), 0.0) | {"status": 2.0, "temperature": 25.0}
    asyncio.run(_filled(tmp_path, hour_ms, [(60_000, calm), (32 * 60_000, calm)]))
    words = ("test", "--data-dir", tmp_path, "--days", "1", "--rule", "gateway-silent", "--json")

    found = json.loads(run(*words).stdout)

    assert ("01:01", "32:01") in [(one["from"][14:19], (one["to"] or "")[14:19]) for one in found]


def test_a_rehearsal_of_one_rule_says_how_often_and_writes_nothing(data_dir: Path) -> None:
    words = ("test", "--data-dir", data_dir, "--days", "1", "--rule", "ups-on-battery", "--site", SITE)

    first, again = run(*words), run(*words)

    assert first.stdout == again.stdout
    assert first.stdout.splitlines()[-2:] == ["1 alerts in 1 days", "      1 ups-on-battery"]


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("{kind: repeat, rules: [mains-lots], count: 3, days: 7}", "there is no rule 'mains-lots', did you mean"),
        ("{kind: event, source: integrity, events: [frok]}", "there is no kind of event 'frok'"),
        ("{kind: change, indicators: [robot.coverag], percent: 5}", "there is no indicator 'robot.coverag'"),
        ("{kind: indicator-limit, indicator: a.b, window: 24h, below: 1}", "there is no indicator 'a.b'"),
    ],
)
def test_names_that_are_nowhere_are_mistakes(tmp_path: Path, when: str, said: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(f"rules:\n  - {{id: own, severity: yellow, name: Own, when: {when}}}\n")

    result = run("check", file)

    assert (result.exit_code, result.stdout) == (1, "")
    assert f"own: {said.split(',', maxsplit=1)[0]}" in result.stderr


def test_what_is_not_there_is_said_and_nothing_is_made(data_dir: Path, tmp_path: Path) -> None:
    own, nowhere = tmp_path / "own.yaml", tmp_path / "nowhere"
    own.write_text(OWN)
    entering = ("enter", own, "--actor", "li", "--reason", "r")
    results = [
        run(*entering, "--site", "nope", "--data-dir", data_dir),
        run(*entering, "--data-dir", nowhere),
        run("test", "--rule", "nosuch", "--data-dir", data_dir),
        run("test", "--site", "nope", "--data-dir", data_dir),
        run("test", "--rule", "mains-lost", "--data-dir", nowhere),
    ]

    assert [one.exit_code for one in results] == [1] * 5
    assert all("there is no" in one.stderr for one in results)
    assert not nowhere.exists()
