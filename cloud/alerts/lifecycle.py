"""The life of an alert: `step`, a pure function of the alert as it stands, what happens, and the time.

One alert stands for one key (site, rule, thing) at a time; every change is an entry of its append-only history.
"""

import msgspec

from cloud.alerts import handling
from cloud.alerts.alert import (
    CLOUD,
    HOLD_MS,
    Alert,
    AlreadyResolved,
    Entry,
    Handling,
    Key,
    Machine,
    Terms,
    alert_id,
)
from cloud.alerts.handling import (
    Acknowledged,
    Arrived,
    Assigned,
    Commented,
    Escalated,
    Missed,
    Released,
    Resolved,
    Shelved,
    Suppressed,
    Ticketed,
    Unshelved,
    closed_by_itself,
    with_entry,
)
from devices.rules import Severity


class Raised(msgspec.Struct, frozen=True):
    """A source says that the condition began at `since_ms`."""

    key: Key
    terms: Terms
    since_ms: int
    parameters: dict[str, str]
    source: str = CLOUD
    drill: bool = False


class Cleared(msgspec.Struct, frozen=True):
    """A source says that the condition ended at `since_ms`."""

    since_ms: int
    source: str = CLOUD


class Passed(msgspec.Struct, frozen=True):
    """The condition had begun and ended before anybody here could know: for the record, pages nobody."""

    key: Key
    terms: Terms
    from_ms: int
    to_ms: int
    parameters: dict[str, str]
    drill: bool = False


OfPeople = Acknowledged | Assigned | Commented | Shelved | Unshelved | Arrived | Ticketed | Resolved
OfTime = Escalated | Missed | Suppressed | Released
Event = Raised | Cleared | Passed | OfPeople | OfTime


def step(alert: Alert | None, event: Event, now_ms: int) -> tuple[Alert | None, tuple[Entry, ...]]:
    """The alert after `event`, and what to write into its history; no entries when nothing changed.

    `alert` is the latest one of its key that is not historical. Raises AlreadyAcknowledged, AlreadyResolved,
    ConditionActive or BadRequest when a person asks for what cannot be.
    """
    match event:
        case Raised():
            return _raised(alert, event, now_ms)
        case Passed():
            return _passed(event, now_ms)
        case Cleared():
            return _cleared(alert, event, now_ms)
        case Escalated() | Missed() | Suppressed() | Released() if alert is None:
            return None, ()
    if alert is None:
        raise AlreadyResolved("There is no such alert any more.")
    return _handled(alert, event, now_ms)


def _handled(alert: Alert, event: OfPeople | OfTime, now_ms: int) -> tuple[Alert, tuple[Entry, ...]]:
    match event:
        case Acknowledged():
            return handling.acknowledged(alert, event, now_ms)
        case Assigned():
            return handling.assigned(alert, event, now_ms)
        case Commented():
            return handling.commented(alert, event, now_ms)
        case Shelved():
            return handling.shelved(alert, event, now_ms)
        case Unshelved():
            return handling.unshelved(alert, event, now_ms)
        case Arrived():
            return handling.arrived(alert, event, now_ms)
        case Ticketed():
            return handling.ticketed(alert, event, now_ms)
        case Resolved():
            return handling.resolved(alert, event, now_ms)
        case Escalated():
            return handling.escalated(alert, event, now_ms)
        case Missed():
            return handling.missed(alert, event, now_ms)
        case Suppressed():
            return handling.suppressed(alert, event, now_ms)
        case Released():
            return handling.released(alert, now_ms)


def opened(event: Raised | Passed) -> Alert:
    """A new alert, before its first entry."""
    terms, since_ms = event.terms, event.since_ms if isinstance(event, Raised) else event.from_ms
    return Alert(
        id=alert_id(event.key, since_ms),
        key=event.key,
        severity=terms.severity,
        condition=Machine.ACTIVE,
        handling=Handling.NEW,
        opened_ms=since_ms,
        last_ms=since_ms,
        text=terms.text,
        parameters=event.parameters,
        latched=_latches(terms),
        runbook=terms.runbook,
        drill=event.drill,
    )


def _latches(terms: Terms) -> bool:
    return terms.latched or terms.severity is Severity.RED


def _raised(alert: Alert | None, event: Raised, now_ms: int) -> tuple[Alert | None, tuple[Entry, ...]]:
    if alert is not None and alert.is_active:
        return _confirmed(alert, event, now_ms)
    if alert is not None and _is_same(alert, event):
        return _reopened(alert, event, now_ms)
    fresh = msgspec.structs.replace(opened(event), new_ms=now_ms, severity_ms=now_ms, sources=(event.source,))
    if alert is not None and (alert.shelved_until_ms or 0) > now_ms:  # whoever put it aside meant the key
        fresh = msgspec.structs.replace(
            fresh,
            shelved_until_ms=alert.shelved_until_ms,
            shelved_by=alert.shelved_by,
            shelf_reason=alert.shelf_reason,
        )
    return with_entry(fresh, "opened", event.since_ms, now_ms, source=event.source)


def _is_same(alert: Alert, event: Raised) -> bool:
    """Whether a condition that had ended is back, rather than another one. A drill never hides the real thing."""
    if alert.is_open:
        return True
    return event.since_ms - (alert.cleared_ms or 0) < HOLD_MS and alert.drill == event.drill


def _confirmed(alert: Alert, event: Raised, now_ms: int) -> tuple[Alert, tuple[Entry, ...]]:
    """Another source says so, too, or what was taken for a drill is none."""
    drill = alert.drill and event.drill
    if alert.active_by(event.source) and drill == alert.drill:
        return alert, ()
    sources = tuple(sorted({*(alert.sources or (CLOUD,)), event.source}))
    also = msgspec.structs.replace(alert, sources=sources, drill=drill, last_ms=max(alert.last_ms, event.since_ms))
    return with_entry(also, "confirmed", event.since_ms, now_ms, source=event.source)


def _reopened(alert: Alert, event: Raised, now_ms: int) -> tuple[Alert, tuple[Entry, ...]]:
    worst = max(alert.severity, event.terms.severity, key=lambda severity: severity.rank)
    interrupted = event.since_ms - (alert.cleared_ms or 0) < HOLD_MS  # time to plan stopped when it ended
    goes_on = alert.is_open and worst is alert.severity and interrupted
    again = msgspec.structs.replace(
        alert,
        severity=worst if alert.is_open else event.terms.severity,
        severity_ms=alert.severity_ms if goes_on else now_ms,
        escalated_for=alert.escalated_for if alert.is_open else "",
        latched=alert.latched if alert.is_open else _latches(event.terms),
        missed=(),
        condition=Machine.ACTIVE,
        handling=Handling.NEW,  # who acknowledged the last time has not seen this one
        cleared_ms=None,
        last_ms=max(alert.last_ms, event.since_ms),
        new_ms=now_ms,
        count=alert.count + 1,
        parameters=event.parameters,
        sources=(event.source,),
        drill=alert.drill and event.drill,
        acknowledged_by=None,
        acknowledged_ms=None,
        arrived_by=None,
        arrived_ms=None,
        resolved_by=None,
        resolved_ms=None,
        cause="",
        suppressed_by=None,
    )
    return with_entry(again, "reopened", event.since_ms, now_ms, source=event.source)


def _passed(event: Passed, now_ms: int) -> tuple[Alert, tuple[Entry, ...]]:
    ended = msgspec.structs.replace(
        opened(event), condition=Machine.CLEARED, cleared_ms=event.to_ms, last_ms=event.to_ms, historical=True
    )
    began, first = with_entry(ended, "opened", event.from_ms, now_ms)
    over, second = with_entry(began, "cleared", event.to_ms, now_ms)
    return over, first + second


def _cleared(alert: Alert | None, event: Cleared, now_ms: int) -> tuple[Alert | None, tuple[Entry, ...]]:
    if alert is None or not alert.active_by(event.source):
        return alert, ()
    left = tuple(source for source in alert.sources if source != event.source)
    if left:  # another one still says so
        still = msgspec.structs.replace(alert, sources=left)
        return with_entry(still, "relieved", event.since_ms, now_ms, source=event.source)
    ended_ms = max(event.since_ms, alert.opened_ms)
    over = msgspec.structs.replace(
        alert, condition=Machine.CLEARED, cleared_ms=ended_ms, last_ms=max(alert.last_ms, ended_ms), sources=()
    )
    return closed_by_itself(with_entry(over, "cleared", ended_ms, now_ms, source=event.source), now_ms)
