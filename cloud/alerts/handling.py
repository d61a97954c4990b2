"""What people do with an alert, and what time and the alerts around it do. Pure.

Each function gives the alert afterwards and the entries of its history; none when nothing changed.
"""

import msgspec

from cloud.alerts.alert import (
    SHELF_MS_MAX,
    Alert,
    AlreadyAcknowledged,
    AlreadyResolved,
    BadRequest,
    ConditionActive,
    Entry,
    Handling,
    Machine,
)
from devices.instants import format_instant
from devices.rules import Severity

Changed = tuple[Alert, tuple[Entry, ...]]


class Acknowledged(msgspec.Struct, frozen=True):
    """Somebody has taken notice."""

    actor: str
    note: str = ""


class Assigned(msgspec.Struct, frozen=True):
    """Somebody is to see to it; nobody in particular for None."""

    actor: str
    assignee: str | None
    note: str = ""


class Commented(msgspec.Struct, frozen=True):
    """Somebody has something to say."""

    actor: str
    note: str


class Shelved(msgspec.Struct, frozen=True):
    """Somebody puts it aside until a time at most `SHELF_MS_MAX` ahead, and says why."""

    actor: str
    reason: str
    until_ms: int


class Unshelved(msgspec.Struct, frozen=True):
    """It is back: somebody says so, or (no actor) its time is over."""

    actor: str = ""


class Arrived(msgspec.Struct, frozen=True):
    """Somebody is on the scene."""

    actor: str
    note: str = ""


class Ticketed(msgspec.Struct, frozen=True):
    """Another system has a number for it."""

    actor: str
    ticket: str


class Resolved(msgspec.Struct, frozen=True):
    """Somebody says that it is dealt with, and why it was: `cause` is a code."""

    actor: str
    cause: str = ""
    note: str = ""


class Escalated(msgspec.Struct, frozen=True):
    """Time went by: `reason` names what was not done."""

    to: Severity
    reason: str


class Missed(msgspec.Struct, frozen=True):
    """Time went by without `what`, and nothing becomes worse by it."""

    what: str


class Suppressed(msgspec.Struct, frozen=True):
    """Another alert, of this id, is its cause."""

    by: str


class Released(msgspec.Struct, frozen=True):
    """Its cause is gone and it is still there."""


def with_entry(
    alert: Alert, kind: str, at_ms: int, now_ms: int, *, actor: str = "", note: str = "", **detail: str
) -> Changed:
    """The alert with one entry more."""
    version = alert.version + 1
    after = msgspec.structs.replace(alert, version=version)
    return after, (Entry(version, kind, at_ms, now_ms, actor, note, detail),)


def acknowledged(alert: Alert, event: Acknowledged, now_ms: int) -> Changed:
    """Raises AlreadyResolved or AlreadyAcknowledged."""
    _must_be_open(alert)
    if alert.handling is Handling.ACKNOWLEDGED:
        if alert.acknowledged_by == event.actor:
            return alert, ()
        raise AlreadyAcknowledged(alert.acknowledged_by or "", alert.acknowledged_ms or 0)
    taken = msgspec.structs.replace(
        alert, handling=Handling.ACKNOWLEDGED, acknowledged_by=event.actor, acknowledged_ms=now_ms
    )
    return closed_by_itself(
        with_entry(taken, "acknowledged", now_ms, now_ms, actor=event.actor, note=event.note), now_ms
    )


def assigned(alert: Alert, event: Assigned, now_ms: int) -> Changed:
    """Raises AlreadyResolved."""
    _must_be_open(alert)
    if alert.assignee == event.assignee:
        return alert, ()
    after = msgspec.structs.replace(alert, assignee=event.assignee)
    detail = {"assignee": event.assignee or ""}
    return with_entry(after, "assigned", now_ms, now_ms, actor=event.actor, note=event.note, **detail)


def commented(alert: Alert, event: Commented, now_ms: int) -> Changed:
    """Closed alerts take comments, too. Raises BadRequest."""
    if not event.note.strip():
        raise BadRequest("note", "a comment says something")
    return with_entry(alert, "commented", now_ms, now_ms, actor=event.actor, note=event.note)


def shelved(alert: Alert, event: Shelved, now_ms: int) -> Changed:
    """Raises AlreadyResolved or BadRequest."""
    _must_be_open(alert)
    if not event.reason.strip():
        raise BadRequest("reason", "shelving needs a reason")
    if not now_ms < event.until_ms <= now_ms + SHELF_MS_MAX:
        raise BadRequest("until", "shelving ends at a time within the next seven days")
    aside = msgspec.structs.replace(
        alert, shelved_until_ms=event.until_ms, shelved_by=event.actor, shelf_reason=event.reason
    )
    until = format_instant(event.until_ms)
    return with_entry(aside, "shelved", now_ms, now_ms, actor=event.actor, note=event.reason, until=until)


def unshelved(alert: Alert, event: Unshelved, now_ms: int) -> Changed:
    """Back from the shelf, to be taken notice of again unless somebody did. By itself not before its time."""
    until_ms = alert.shelved_until_ms
    if until_ms is None or (not event.actor and now_ms < until_ms):
        return alert, ()
    at_ms = now_ms if event.actor else until_ms
    back = msgspec.structs.replace(
        alert, shelved_until_ms=None, shelved_by=None, shelf_reason="", new_ms=now_ms, severity_ms=now_ms
    )
    return with_entry(back, "unshelved", at_ms, now_ms, actor=event.actor)


def arrived(alert: Alert, event: Arrived, now_ms: int) -> Changed:
    """The first one counts. Raises AlreadyResolved."""
    _must_be_open(alert)
    if alert.arrived_ms is not None:
        return alert, ()
    there = msgspec.structs.replace(alert, arrived_by=event.actor, arrived_ms=now_ms)
    return with_entry(there, "arrived", now_ms, now_ms, actor=event.actor, note=event.note)


def ticketed(alert: Alert, event: Ticketed, now_ms: int) -> Changed:
    """Closed alerts take a number, too: the other system may be slow."""
    if alert.ticket == event.ticket:
        return alert, ()
    after = msgspec.structs.replace(alert, ticket=event.ticket)
    return with_entry(after, "ticketed", now_ms, now_ms, actor=event.actor, ticket=event.ticket)


def resolved(alert: Alert, event: Resolved, now_ms: int) -> Changed:
    """Orange and red need a cause and a note. Raises AlreadyResolved, ConditionActive or BadRequest."""
    _must_be_open(alert)
    if alert.condition is Machine.ACTIVE:
        raise ConditionActive("The condition of this alert has not ended.")
    if alert.severity is not Severity.YELLOW or alert.latched:
        for field, text in (("cause", event.cause), ("note", event.note)):
            if not text.strip():
                raise BadRequest(field, "resolving an orange or red alert needs a cause and a note")
    detail = {"cause": event.cause} if event.cause else {}
    return with_entry(
        _closed(alert, now_ms, event), "resolved", now_ms, now_ms, actor=event.actor, note=event.note, **detail
    )


def escalated(alert: Alert, event: Escalated, now_ms: int) -> Changed:
    """Worse than it was, and new to everybody. Never less bad."""
    if not alert.is_open or event.to.rank <= alert.severity.rank:
        return alert, ()
    worse = msgspec.structs.replace(
        alert,
        severity=event.to,
        latched=alert.latched or event.to is Severity.RED,
        severity_ms=now_ms,
        escalated_for=event.reason,
        handling=Handling.NEW,
        acknowledged_by=None,
        acknowledged_ms=None,
        new_ms=now_ms,
    )
    change = {"from": alert.severity.value, "to": event.to.value, "reason": event.reason}
    return with_entry(worse, "escalated", now_ms, now_ms, **change)


def missed(alert: Alert, event: Missed, now_ms: int) -> Changed:
    """Once each."""
    if not alert.is_open or event.what in alert.missed:
        return alert, ()
    late = msgspec.structs.replace(alert, missed=(*alert.missed, event.what))
    return with_entry(late, "missed", now_ms, now_ms, what=event.what)


def suppressed(alert: Alert, event: Suppressed, now_ms: int) -> Changed:
    """Told with its cause from now on."""
    if not alert.is_open or event.by in {alert.suppressed_by, alert.id}:
        return alert, ()
    quiet = msgspec.structs.replace(alert, suppressed_by=event.by)
    return closed_by_itself(with_entry(quiet, "suppressed", now_ms, now_ms, by=event.by), now_ms)


def released(alert: Alert, now_ms: int) -> Changed:
    """On its own again, from now on."""
    if alert.suppressed_by is None:
        return alert, ()
    alone = msgspec.structs.replace(alert, suppressed_by=None, new_ms=now_ms, severity_ms=now_ms)
    return with_entry(alone, "released", now_ms, now_ms)


def closed_by_itself(changed: Changed, now_ms: int) -> Changed:
    """What is over closes when somebody noticed it (yellow), or when it was only told with its cause (not red).

    Latched alerts, red and orange ones of their own need a person who resolves.
    """
    alert, entries = changed
    if alert.condition is Machine.ACTIVE or alert.latched or alert.severity is Severity.RED or not alert.is_open:
        return changed
    noticed = alert.handling is Handling.ACKNOWLEDGED and alert.severity is Severity.YELLOW
    if not noticed and alert.suppressed_by is None:
        return changed
    done, last = with_entry(_closed(alert, now_ms), "resolved", now_ms, now_ms)
    return done, entries + last


def _closed(alert: Alert, now_ms: int, event: Resolved | None = None) -> Alert:
    done = msgspec.structs.replace(alert, handling=Handling.RESOLVED, resolved_ms=now_ms)
    if event is None:  # it may come back while it is put aside
        return done
    return msgspec.structs.replace(
        done, resolved_by=event.actor, cause=event.cause, shelved_until_ms=None, shelved_by=None, shelf_reason=""
    )


def _must_be_open(alert: Alert) -> None:
    if not alert.is_open:
        raise AlreadyResolved("This alert is closed.")
