"""The page about own rules does what it says, and the reference is what the pack says."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloud.alerts.alert import Key
from cloud.alerts.site_rules import RulesInForce
from cloud.alerts.trials import TrialRecord
from cloud.alerts.turns import Turn
from cloud.cli_rules import app
from cloud.facts.database import open_database
from cloud.facts.ledgers import import_ledger
from devices.rule_reference import reference
from devices.rules import Mode, packaged_rules
from tests.cloud.live_world import LEDGER, SITE

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = (DOCS / "own-rule.md").read_text(encoding="utf-8")
[DOCUMENT] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


def test_the_reference_is_what_the_pack_says() -> None:
    assert (DOCS / "alert-rules.md").read_text(encoding="utf-8") == reference(packaged_rules())


def test_the_page_names_every_kind_of_rule() -> None:
    kinds = {rule.when.kind for rule in packaged_rules().rules} | {"threshold", "rank", "abnormal"}

    assert {kind for kind in kinds if f"`{kind}`" not in PAGE} == set()


def test_every_command_of_the_page_works_and_the_rules_hold_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules.yaml").write_text(DOCUMENT)
    Path("cloud-data").mkdir()
    database = open_database(tmp_path / "cloud-data" / "facts.sqlite")
    import_ledger(database, LEDGER, "ledger.yaml", actor="test", now_ms=0)
    said = []
    for command in COMMANDS:
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', command)]
        assert words[:2] == ["gatehouse", "rules"]
        result = CliRunner().invoke(app, words[2:])
        assert result.exit_code == 0, result.output
        said.append(result.stdout)
    in_force = RulesInForce(database)
    in_force.refresh()
    rules, elsewhere = in_force.of(SITE), in_force.of("elsewhere")
    database.dispose()

    assert said[0].startswith("rules.yaml: fine")
    assert said[1] == "0 alerts in 7 days\n"
    assert said[2] == f"rules of {SITE}: version 1\n"
    assert (rules["mains-lost"].on_delay, rules["ups-too-hot"].mode) == (10.0, Mode.SHADOW)
    assert "parking-full" not in rules
    assert elsewhere["mains-lost"].on_delay == 5.0


def test_what_a_rule_on_trial_said_is_shown_newest_first(tmp_path: Path) -> None:
    database = open_database(tmp_path / "facts.sqlite")
    rule, key = packaged_rules().rules[0], Key(SITE, "fire-alarm", "panel")
    turns = [
        Turn(key, rule, active=True, since_ms=0, seen_ms=0),
        Turn(key, rule, active=False, since_ms=60_000, seen_ms=0),
    ]
    for _ in range(2):
        TrialRecord(database).note(turns, 70_000)
    database.dispose()

    shown = CliRunner().invoke(app, ["trials", "fire-alarm", "--site", SITE, "--data-dir", str(tmp_path)]).stdout

    assert shown.splitlines() == [
        "1970-01-01T00:01:00.000Z  ends    panel",
        "1970-01-01T00:00:00.000Z  begins  panel",
    ]
