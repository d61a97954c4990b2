"""The table of duties, moved by time arguments only."""

import pytest

from cloud.alerts.alert import Alert, Key, Terms
from cloud.alerts.duties import DAY_MS, HOUR_MS, MINUTE_MS, level, overdue, plan_due_ms
from cloud.alerts.handling import (
    Acknowledged,
    Arrived,
    Escalated,
    Missed,
    Released,
    Shelved,
    Suppressed,
    Unshelved,
)
from cloud.alerts.lifecycle import Cleared, Event, Raised, step
from devices.rules import Severity

T0 = 1_780_000_000_000


def alert(severity: Severity, *events: tuple[int, Event], runbook: str = "") -> Alert:
    """An alert learned at T0 whose condition began an hour before; `events` are (ms after T0, event)."""
    terms = Terms(severity, "text", runbook=runbook)
    now, _ = step(None, Raised(Key("s", "r", "t"), terms, T0 - HOUR_MS, {}), T0)
    for after_ms, event in events:
        now, _ = step(now, event, T0 + after_ms)
    assert now is not None
    return now


def due(one: Alert, after_ms: int, *, planned: bool = False) -> list[Escalated | Missed]:
    return list(overdue(one, T0 + after_ms, planned=planned))


def test_an_orange_nobody_acknowledges_in_30_minutes_is_red() -> None:
    orange = alert(Severity.ORANGE)

    assert due(orange, 30 * MINUTE_MS - 1) == []
    assert due(orange, 30 * MINUTE_MS) == [Escalated(Severity.RED, "acknowledgement")]


def test_an_orange_without_a_plan_after_24_hours_is_red() -> None:
    orange = alert(Severity.ORANGE, (MINUTE_MS, Acknowledged("li")))

    assert due(orange, DAY_MS - 1) == []
    assert due(orange, DAY_MS) == [Escalated(Severity.RED, "plan")]
    assert due(orange, DAY_MS, planned=True) == []


def test_only_a_plan_overdue_for_3_days_makes_yellow_worse() -> None:
    yellow = alert(Severity.YELLOW)

    assert due(yellow, 3 * DAY_MS - 1) == []
    assert due(yellow, 3 * DAY_MS) == [Escalated(Severity.ORANGE, "plan")]
    assert due(yellow, 300 * DAY_MS, planned=True) == []


def test_what_became_orange_has_a_day_from_then_on() -> None:
    worse = alert(Severity.YELLOW, (3 * DAY_MS, Escalated(Severity.ORANGE, "plan")))
    seen = alert(Severity.YELLOW, (3 * DAY_MS, Escalated(Severity.ORANGE, "plan")), (3 * DAY_MS, Acknowledged("li")))

    assert plan_due_ms(worse) == T0 + 4 * DAY_MS
    assert due(worse, 3 * DAY_MS + 30 * MINUTE_MS) == [Escalated(Severity.RED, "acknowledgement")]
    assert due(seen, 4 * DAY_MS - 1) == []


@pytest.mark.parametrize(
    "event", [Cleared(T0 + 1), Shelved("li", "being repaired", T0 + DAY_MS), Suppressed("al_cause")]
)
def test_time_does_not_run_for_what_is_over_put_aside_or_told_with_its_cause(event: Event) -> None:
    assert due(alert(Severity.ORANGE, (1, event)), 300 * DAY_MS) == []


@pytest.mark.parametrize(
    "events",
    [
        ((1, Shelved("li", "being repaired", T0 + DAY_MS)), (DAY_MS, Unshelved())),
        ((1, Suppressed("al_cause")), (DAY_MS, Released())),
    ],
)
def test_what_comes_back_is_due_from_then_on(events: tuple[tuple[int, Event], ...]) -> None:
    back = alert(Severity.ORANGE, *events)

    assert due(back, DAY_MS + 30 * MINUTE_MS - 1) == []
    assert due(back, DAY_MS + 30 * MINUTE_MS) == [Escalated(Severity.RED, "acknowledgement")]


def test_somebody_has_to_be_at_a_fire_within_30_minutes() -> None:
    fire = alert(Severity.RED, (MINUTE_MS, Acknowledged("li")), runbook="runbook.fire")
    there = alert(Severity.RED, (MINUTE_MS, Arrived("li")), runbook="runbook.fire")
    leak = alert(Severity.RED, runbook="runbook.water_leak")

    assert due(fire, 30 * MINUTE_MS - 1) == []
    assert due(fire, 30 * MINUTE_MS) == [Missed("on-scene")]
    assert due(alert(Severity.RED, (2, Missed("on-scene")), runbook="runbook.fire"), DAY_MS) == []
    assert due(there, DAY_MS) == due(leak, DAY_MS) == []


def test_red_climbs_the_ladder_with_every_quarter_of_an_hour() -> None:
    red = alert(Severity.RED)
    seen = alert(Severity.RED, (MINUTE_MS, Acknowledged("li")))
    ignored = alert(Severity.ORANGE, (30 * MINUTE_MS, Escalated(Severity.RED, "acknowledgement")))
    levels = [level(red, T0 + minutes * MINUTE_MS) for minutes in (0, 14, 15, 30, 600)]

    assert levels == [1, 1, 2, 3, 3]
    assert level(seen, T0 + DAY_MS) == 1
    assert level(ignored, T0 + 30 * MINUTE_MS) == 2
    assert level(alert(Severity.ORANGE), T0 + DAY_MS) == 1
