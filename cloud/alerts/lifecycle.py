"""The life of an alert: what the machine says (condition) and what people do (handling), kept apart.

`step` is pure. One alert stands for one key (site, rule, thing) at a time; every change is an entry of its
append-only history. Times are Unix ms UTC. Terms follow ANSI/ISA-18.2 (domain.md section 6).
"""

import hashlib
from enum import StrEnum

import msgspec

from cloud.alerts.rules import Rule, Severity
from devices.errors import Permanent

HOLD_MS = 10 * 60 * 1000  # a condition that comes back within this time after its end is the same alert
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Machine(StrEnum):
    """What the machine says."""

    ACTIVE = "active"
    CLEARED = "cleared"


class Handling(StrEnum):
    """What people have done."""

    NEW = "new"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Key(msgspec.Struct, frozen=True):
    """Under which one alert stands at a time. `thing` is a ledger id or a gateway id."""

    site: str
    rule: str
    thing: str


class Alert(msgspec.Struct, frozen=True):
    """An alert as it stands. `version` counts its entries; `text` is a catalogue key, rendered by the reader."""

    id: str
    key: Key
    severity: Severity
    condition: Machine
    handling: Handling
    opened_ms: int
    last_ms: int
    text: str
    parameters: dict[str, str]
    version: int = 0
    cleared_ms: int | None = None
    count: int = 1
    latched: bool = False
    assignee: str | None = None
    acknowledged_by: str | None = None
    acknowledged_ms: int | None = None
    historical: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it still concerns anybody. Acknowledged alerts stay open."""
        return self.handling is not Handling.RESOLVED and not self.historical


class Raised(msgspec.Struct, frozen=True):
    """The condition began at `since_ms`."""

    since_ms: int
    parameters: dict[str, str]


class Cleared(msgspec.Struct, frozen=True):
    """The condition ended at `since_ms`."""

    since_ms: int


class Passed(msgspec.Struct, frozen=True):
    """The condition had begun and ended before anybody here could know: for the record, pages nobody."""

    from_ms: int
    to_ms: int
    parameters: dict[str, str]


class Acknowledged(msgspec.Struct, frozen=True):
    """Somebody has taken notice."""

    actor: str
    note: str = ""


class Resolved(msgspec.Struct, frozen=True):
    """Somebody says that it is dealt with, and why it was."""

    actor: str
    cause: str = ""
    note: str = ""


Event = Raised | Cleared | Passed | Acknowledged | Resolved


class Entry(msgspec.Struct, frozen=True):
    """One change. `at_ms` is when it was true, `recorded_ms` when it was learned; `actor` is empty for machines."""

    version: int
    kind: str
    at_ms: int
    recorded_ms: int
    actor: str = ""
    note: str = ""


class AlreadyAcknowledged(Permanent):
    """Another person was first."""

    def __init__(self, actor: str, at_ms: int) -> None:
        self.actor = actor
        self.at_ms = at_ms
        super().__init__(f"{actor} has acknowledged this alert already.")


class AlreadyResolved(Permanent):
    """The alert is closed; there is nothing left to do."""


class ConditionActive(Permanent):
    """The machine still says so: an alert is resolved after its condition has ended."""


def alert_id(key: Key, opened_ms: int) -> str:
    """ULID of the opening time and the key.

    The same raise has the same id however often it is evaluated, so that a crash between two steps cannot
    make it two alerts.
    """
    digest = hashlib.sha256(f"{key.site}\0{key.rule}\0{key.thing}".encode()).digest()
    number = (opened_ms << 80) | int.from_bytes(digest[:10], "big")
    return "al_" + "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def open_alert(rule: Rule, key: Key, event: Raised | Passed) -> Alert:
    """A new alert of this rule, before its first entry."""
    opened_ms = event.since_ms if isinstance(event, Raised) else event.from_ms
    return Alert(
        id=alert_id(key, opened_ms),
        key=key,
        severity=rule.severity,
        condition=Machine.ACTIVE,
        handling=Handling.NEW,
        opened_ms=opened_ms,
        last_ms=opened_ms,
        text=rule.text,
        parameters=event.parameters,
        latched=rule.latched,
    )


def step(
    rule: Rule, key: Key, alert: Alert | None, event: Event, now_ms: int
) -> tuple[Alert | None, tuple[Entry, ...]]:
    """The alert after `event`, and what to write into its history; no entries when nothing changed.

    `alert` is the latest one of this key. Raises AlreadyAcknowledged, AlreadyResolved or ConditionActive when a
    person asks for what cannot be.
    """
    match event:
        case Raised():
            return _raised(rule, key, alert, event, now_ms)
        case Passed():
            return _passed(rule, key, event, now_ms)
        case Cleared():
            return _cleared(alert, event, now_ms)
        case Acknowledged():
            return _acknowledged(alert, event, now_ms)
        case Resolved():
            return _resolved(alert, event, now_ms)


def _with_entry(
    alert: Alert, kind: str, at_ms: int, now_ms: int, *, actor: str = "", note: str = ""
) -> tuple[Alert, tuple[Entry, ...]]:
    version = alert.version + 1
    after = msgspec.structs.replace(alert, version=version)
    return after, (Entry(version, kind, at_ms, now_ms, actor, note),)


def _raised(
    rule: Rule, key: Key, alert: Alert | None, event: Raised, now_ms: int
) -> tuple[Alert | None, tuple[Entry, ...]]:
    if alert is not None and not alert.historical:
        if alert.condition is Machine.ACTIVE:
            return alert, ()
        if alert.is_open or event.since_ms - (alert.cleared_ms or 0) < HOLD_MS:
            again = msgspec.structs.replace(
                alert,
                condition=Machine.ACTIVE,
                handling=Handling.NEW,  # who acknowledged the last time has not seen this one
                cleared_ms=None,
                last_ms=max(alert.last_ms, event.since_ms),
                count=alert.count + 1,
                parameters=event.parameters,
                acknowledged_by=None,
                acknowledged_ms=None,
            )
            return _with_entry(again, "reopened", event.since_ms, now_ms)
    return _with_entry(open_alert(rule, key, event), "opened", event.since_ms, now_ms)


def _passed(rule: Rule, key: Key, event: Passed, now_ms: int) -> tuple[Alert, tuple[Entry, ...]]:
    opened = open_alert(rule, key, event)
    ended = msgspec.structs.replace(
        opened, condition=Machine.CLEARED, cleared_ms=event.to_ms, last_ms=event.to_ms, historical=True
    )
    opened, first = _with_entry(ended, "opened", event.from_ms, now_ms)
    cleared, second = _with_entry(opened, "cleared", event.to_ms, now_ms)
    return cleared, first + second


def _cleared(alert: Alert | None, event: Cleared, now_ms: int) -> tuple[Alert | None, tuple[Entry, ...]]:
    if alert is None or alert.condition is Machine.CLEARED:
        return alert, ()
    ended_ms = max(event.since_ms, alert.opened_ms)
    cleared = msgspec.structs.replace(alert, condition=Machine.CLEARED, cleared_ms=ended_ms, last_ms=ended_ms)
    after, entries = _with_entry(cleared, "cleared", ended_ms, now_ms)
    return _closed_by_itself(after, entries, now_ms)


def _acknowledged(alert: Alert | None, event: Acknowledged, now_ms: int) -> tuple[Alert, tuple[Entry, ...]]:
    if alert is None or not alert.is_open:
        raise AlreadyResolved("This alert is closed.")
    if alert.handling is Handling.ACKNOWLEDGED:
        if alert.acknowledged_by == event.actor:
            return alert, ()
        raise AlreadyAcknowledged(alert.acknowledged_by or "", alert.acknowledged_ms or 0)
    taken = msgspec.structs.replace(
        alert, handling=Handling.ACKNOWLEDGED, acknowledged_by=event.actor, acknowledged_ms=now_ms
    )
    after, entries = _with_entry(taken, "acknowledged", now_ms, now_ms, actor=event.actor, note=event.note)
    return _closed_by_itself(after, entries, now_ms)


def _resolved(alert: Alert | None, event: Resolved, now_ms: int) -> tuple[Alert, tuple[Entry, ...]]:
    if alert is None or not alert.is_open:
        raise AlreadyResolved("This alert is closed.")
    if alert.condition is Machine.ACTIVE:
        raise ConditionActive("The condition of this alert has not ended.")
    done = msgspec.structs.replace(alert, handling=Handling.RESOLVED)
    note = ": ".join(part for part in (event.cause, event.note) if part)
    return _with_entry(done, "resolved", now_ms, now_ms, actor=event.actor, note=note)


def _closed_by_itself(alert: Alert, entries: tuple[Entry, ...], now_ms: int) -> tuple[Alert, tuple[Entry, ...]]:
    """Yellow closes once it is both over and noticed; orange and red need a person who resolves."""
    over = alert.condition is Machine.CLEARED and alert.handling is Handling.ACKNOWLEDGED
    if not over or alert.severity is not Severity.YELLOW or alert.latched:
        return alert, entries
    done, last = _with_entry(msgspec.structs.replace(alert, handling=Handling.RESOLVED), "resolved", now_ms, now_ms)
    return done, entries + last
