"""Rules and drills as they hold at a site, from what was entered."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from cloud.alerts.site_rules import RulesInForce
from cloud.alerts.view import SiteView
from cloud.facts.database import open_database, writing
from cloud.facts.desk import ALERT_RULES, Desk, Wish
from cloud.facts.inputs import EVERY_SITE, enter
from cloud.facts.ledgers import import_ledger
from cloud.facts.store import FactStore
from devices.errors import ConfigurationError
from devices.rules import Severity, known_rules
from tests.cloud.live_world import LEDGER, SITE


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_database(tmp_path / "facts.sqlite")
    import_ledger(engine, LEDGER, "ledger.yaml", actor="test", now_ms=0)
    yield engine
    engine.dispose()


def entered(database: sa.Engine, site: str, document: object) -> None:
    wish = Wish(json.dumps(document), "li", "try", 1_000)
    Desk(FactStore(database)).enter(site, ALERT_RULES, "rules", wish, 1_000)


def test_a_site_goes_before_every_site_and_a_withdrawal_brings_the_packaged_rules_back(database: sa.Engine) -> None:
    in_force = RulesInForce(database)
    entered(database, EVERY_SITE, {"overrides": [{"rule": "mains-lost", "on_delay": "20s", "severity": "orange"}]})
    entered(database, SITE, {"overrides": [{"rule": "mains-lost", "on_delay": 30}]})
    in_force.refresh()
    here, there = in_force.of(SITE)["mains-lost"], in_force.of("other")["mains-lost"]
    Desk(FactStore(database)).withdraw(SITE, ALERT_RULES, "rules", actor="li", reason="no", now_ms=2_000)
    in_force.refresh()
    same = in_force.of(SITE)
    in_force.refresh()

    assert (here.on_delay, here.severity) == (30, Severity.ORANGE)
    assert (there.on_delay, there.severity) == (20, Severity.ORANGE)
    assert in_force.of(SITE) is same
    assert same["mains-lost"].on_delay == 20
    assert known_rules()["mains-lost"].on_delay == 5


def test_rules_with_mistakes_are_not_entered(database: sa.Engine) -> None:
    with pytest.raises(ConfigurationError, match="there is no rule 'mains-lots': did you mean 'mains-lost'"):
        entered(database, SITE, {"overrides": [{"rule": "mains-lots"}]})


def test_a_drill_that_is_entered_marks_its_equipment_for_its_time(database: sa.Engine) -> None:
    in_force = RulesInForce(database)
    in_force.refresh()
    before = in_force.drills(SITE)
    with writing(database) as connection:
        enter(
            connection, SITE, "drill", "q3", '{"equipment": ["panel"]}', actor="li", reason="quarterly",
            recorded_ms=1_000, valid_from_ms=2_000, valid_to_ms=9_000,
        )  # fmt: skip
    in_force.refresh()
    view = SiteView(SITE, in_force.of(SITE), drills=in_force.drills(SITE))

    assert dict(before) == {}
    assert [view.is_drill("panel", at_ms) for at_ms in (1_999, 2_000, 8_999, 9_000)] == [False, True, True, False]
    assert not view.is_drill("pump", 5_000)


def test_what_this_version_cannot_read_is_without_effect(database: sa.Engine) -> None:
    in_force = RulesInForce(database)
    with writing(database) as connection:
        for kind in ("drill", ALERT_RULES):
            enter(
                connection, SITE, kind, "x", '{"of a version": "to come"}', actor="li", reason="r", recorded_ms=1_000,
                valid_from_ms=2_000, valid_to_ms=9_000,
            )  # fmt: skip
    in_force.refresh()

    assert dict(in_force.of(SITE)) == known_rules()
    assert dict(in_force.drills(SITE)) == {}
