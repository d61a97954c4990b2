"""What has to be done about an alert of each colour, by when, and what follows when it is not. Pure.

The table is that of docs/alerts.md (domain.md section 6, R2-14 to R2-18, R3-14). An alert that is over, and not
latched, falls due no more; one that is put aside or told with its cause does not either. Times are Unix ms UTC.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cloud.alerts.alert import Alert, Handling
from cloud.alerts.handling import Escalated, Missed
from devices.rules import Severity

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
LEVELS = 3  # of the ladder
FIRE_RUNBOOKS = frozenset({"runbook.fire", "runbook.fire_pump"})  # somebody has to be there in person
ON_SCENE = "on-scene"
ACKNOWLEDGEMENT = "acknowledgement"
PLAN = "plan"


@dataclass(frozen=True, slots=True)
class Duty:
    """What a colour demands. None: nothing of the kind."""

    acknowledge_ms: int | None = None
    plan_ms: int | None = None
    on_scene_ms: int | None = None
    remind_ms: int = 4 * HOUR_MS
    worse: Severity | None = None  # what the alert becomes when one of the first two is not done in time


DUTIES = {
    Severity.YELLOW: Duty(plan_ms=3 * DAY_MS, worse=Severity.ORANGE),
    Severity.ORANGE: Duty(acknowledge_ms=30 * MINUTE_MS, plan_ms=24 * HOUR_MS, worse=Severity.RED),
    Severity.RED: Duty(on_scene_ms=30 * MINUTE_MS, remind_ms=15 * MINUTE_MS),
}


def counts(alert: Alert) -> bool:
    """Whether time runs for this alert."""
    return alert.is_open and not alert.is_quiet and (alert.is_active or alert.latched)


def acknowledge_due_ms(alert: Alert) -> int | None:
    """By when somebody has to take notice; None when somebody did, or nobody has to."""
    within_ms = DUTIES[alert.severity].acknowledge_ms
    return alert.new_ms + within_ms if within_ms is not None and alert.handling is Handling.NEW else None


def plan_due_ms(alert: Alert) -> int | None:
    """By when there has to be a plan against what causes it; None when its colour demands none."""
    within_ms = DUTIES[alert.severity].plan_ms
    return alert.severity_ms + within_ms if within_ms is not None else None


def on_scene_due_ms(alert: Alert) -> int | None:
    """By when somebody has to be there; None when somebody is, or nobody has to."""
    within_ms = DUTIES[alert.severity].on_scene_ms
    if within_ms is None or alert.runbook not in FIRE_RUNBOOKS or alert.arrived_ms is not None:
        return None
    return alert.new_ms + within_ms


def overdue(alert: Alert, now_ms: int, *, planned: bool) -> Iterator[Escalated | Missed]:
    """What time has done to an alert. `planned`: there is a plan against what causes it."""
    if not counts(alert):
        return
    worse = DUTIES[alert.severity].worse
    if worse is not None:
        if _is_past(acknowledge_due_ms(alert), now_ms):
            yield Escalated(worse, ACKNOWLEDGEMENT)
        elif not planned and _is_past(plan_due_ms(alert), now_ms):
            yield Escalated(worse, PLAN)
    if ON_SCENE not in alert.missed and _is_past(on_scene_due_ms(alert), now_ms):
        yield Missed(ON_SCENE)


def level(alert: Alert, now_ms: int) -> int:
    """How far up the ladder an alert has to be told by now: 1 for who is on duty to `LEVELS`.

    A red alert climbs with each reminder. One that nobody acknowledged as orange begins a level up.
    """
    if alert.severity is not Severity.RED:
        return 1
    begins = 2 if alert.escalated_for == ACKNOWLEDGEMENT else 1
    if alert.handling is not Handling.NEW:
        return begins
    climbed = (now_ms - alert.new_ms) // DUTIES[Severity.RED].remind_ms
    return min(begins + max(climbed, 0), LEVELS)


def _is_past(due_ms: int | None, now_ms: int) -> bool:
    return due_ms is not None and now_ms >= due_ms
