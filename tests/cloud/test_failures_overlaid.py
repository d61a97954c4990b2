"""Failures of equipment under calendars, drills, exclusions and the edges of windows."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from cloud.facts.database import writing
from cloud.facts.inputs import enter
from cloud.indicators.definition import IndicatorResult
from cloud.indicators.policy import POLICY_KIND
from cloud.indicators.registry import compute_indicator
from tests.cloud.test_issued_results import EQUIPMENT, HOUR_MS, changes, day
from tests.cloud.told import SITE, Cloud, Told, inventory, ledger_text, new_cloud

MINUTE_H = 1 / 60
OFFICE = 'calendars:\n  - {id: office, name: {en: O, zh-CN: O}, hours: ["08:00-18:00"]}'
Asks = Callable[[str, int, int], IndicatorResult]


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return new_cloud(tmp_path)


def world(cloud: Cloud, *faults: tuple[float, float], office: bool = False) -> Asks:
    """One pump that is told for days 8 to 14, with faults in hours since the beginning of day 10."""
    equipment = EQUIPMENT.split("\n  - {id: pump-2")[0]
    text = ledger_text(OFFICE, equipment.replace("device: pump-1", "device: pump-1, calendar: office"))
    cloud.ledger(text if office else ledger_text(equipment))
    told = changes(("pump-1", 8, 0, 0), *(("pump-1", 10, hour, value) for one in faults
                                          for hour, value in zip(one, (1, 0), strict=True)))  # fmt: skip
    cloud.tell([Told(1, day(8), day(15), entries=told, records=inventory(["pump-1"], day(8)))])
    ledger = cloud.facts.ledger(SITE)
    assert ledger is not None
    return lambda name, first, last: compute_indicator(
        cloud.facts, ledger, f"equipment.{name}", (day(first), day(last)), day(15)
    )


def say(cloud: Cloud, kind: str, document: str, from_ms: int, to_ms: int) -> None:
    with writing(cloud.engine) as connection:
        enter(connection, SITE, kind, kind, document, actor="li", reason="because", recorded_ms=0,
              valid_from_ms=from_ms, valid_to_ms=to_ms)  # fmt: skip


def test_a_fault_across_two_nights_is_one_failure(cloud: Cloud) -> None:
    ask = world(cloud, (17, 58), office=True)  # day 10 17:00 to day 12 10:00: 1 + 10 + 2 required hours

    assert ask("mtbf", 9, 14).parts["failures"] == 1
    assert ask("mttr", 9, 14).value == 13 * HOUR_MS
    assert [ask("mtbf", one, one + 1).parts["failures"] for one in (9, 10, 11, 12, 13)] == [0, 1, 0, 0, 0]
    assert [ask("mttr", one, one + 1).parts["repairs"] for one in (9, 10, 11, 12, 13)] == [0, 0, 0, 1, 0]


def test_time_to_mend_may_be_elapsed_time_by_policy(cloud: Cloud) -> None:
    ask = world(cloud, (17, 58), office=True)
    say(cloud, POLICY_KIND, '{"repair_time": "elapsed"}', 0, day(99))

    assert ask("mttr", 9, 14).value == 41 * HOUR_MS


def test_a_drill_within_a_fault_does_not_cut_it(cloud: Cloud) -> None:
    ask = world(cloud, (2, 20))
    say(cloud, "drill", "{}", day(10, 10), day(10, 11))

    assert ask("mtbf", 10, 11).parts["failures"] == 1
    assert ask("mttr", 10, 11).value == 17 * HOUR_MS


def test_a_failure_wholly_in_excluded_time_does_not_count(cloud: Cloud) -> None:
    ask = world(cloud, (2, 20))
    say(cloud, "exclusion", '{"equipment": ["pump-1"]}', day(10), day(11))

    assert ask("mtbf", 9, 12).parts["failures"] == 0
    assert ask("mttr", 9, 12).parts["repairs"] == 0


def test_a_failure_across_midnight_belongs_to_the_day_in_which_it_began(cloud: Cloud) -> None:
    ask = world(cloud, (24 - 10 * MINUTE_H, 24 - 2 * MINUTE_H), (24 + MINUTE_H, 24 + 10 * MINUTE_H))

    assert [ask("mtbf", *days).parts["failures"] for days in ((10, 12), (10, 11), (11, 12))] == [1, 1, 0]
    assert [ask("mttr", *days).parts["repairs"] for days in ((10, 12), (10, 11), (11, 12))] == [1, 0, 1]
    assert ask("mttr", 11, 12).value == Fraction(20 * HOUR_MS, 60)


def test_mean_time_between_failures_without_time_up_is_bounded_by_nothing(cloud: Cloud) -> None:
    ask = world(cloud, (0, 24))

    assert ask("mtbf", 10, 11).value == 0
    assert ask("mtbf", 10, 11).low == 0
