"""Rectification items: what is to be done so that it does not happen again, by whom, until when (R0-19, R0-36, R3-3).

Five steps: reported, accepted, assigned, executed, verified. `step` is pure; every change is an entry of the item's
history, kept in the same chain as those of alerts. Times are Unix ms UTC.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec

from cloud.alerts.alert import Alert, BadRequest, Entry
from cloud.alerts.duties import plan_due_ms
from devices.errors import Permanent
from devices.instants import format_instant
from devices.rules import Severity

INDICATOR = "equipment.intact_rate"  # of an alert whose rule names no other
TEXT_MAX = 4_000
_SET: Mapping[str, Any] = MappingProxyType({"owner": "", "due_ms": None, "budget": None, "progress": 0, "ticket": ""})
_NOBODY = ("", "")


class Step(StrEnum):
    """How far it is."""

    REPORTED = "reported"
    ACCEPTED = "accepted"
    ASSIGNED = "assigned"
    EXECUTED = "executed"
    VERIFIED = "verified"


STEPS = tuple(Step)


class Quadrant(StrEnum):
    """Where it stands among all tasks (R0-18)."""

    NOW = "urgent-important"
    PLAN = "important"
    HAND_ON = "urgent"
    LATER = "neither"


class Budget(msgspec.Struct, frozen=True):
    """Money in the smallest unit of its currency (ISO 4217)."""

    amount: int
    currency: str


class Item(msgspec.Struct, frozen=True):
    """An item as it stands. `alert` is empty for one that a person reported by hand."""

    id: str
    site: str
    title: str
    reported_ms: int
    reporter: str = ""
    step: Step = Step.REPORTED
    alert: str = ""
    rule: str = ""
    thing: str = ""
    severity: Severity = Severity.YELLOW
    criticality: str = ""
    indicator: str = INDICATOR
    opened_ms: int = 0  # when what caused it began
    runbook: str = ""
    drill: bool = False
    root_cause: bool = False  # it happened before: the cause has to be found (R2-12)
    plan: str = ""
    planned_by: str = ""
    plan_due_ms: int | None = None
    owner: str = ""
    due_ms: int | None = None
    budget: Budget | None = None
    progress: int = 0  # percent
    ticket: str = ""
    executed_ms: int | None = None
    executed_by: str = ""
    closed_ms: int | None = None
    withdrawn: bool = False  # closed before it was verified
    closed_by: str = ""
    overdue: bool = False  # its date has passed, and that was told
    version: int = 0

    @property
    def is_closed(self) -> bool:
        """Whether there is nothing left to do."""
        return self.closed_ms is not None

    @property
    def is_planned(self) -> bool:
        """Whether somebody said what will be done, or that nothing has to be."""
        return bool(self.plan) or (self.is_closed and bool(self.closed_by))

    @property
    def quadrant(self) -> Quadrant:
        """Of the colour (urgent from orange on) and of what it is about (important: class A, or red)."""
        urgent = self.severity is not Severity.YELLOW
        important = self.severity is Severity.RED or self.criticality == "A"
        if important:
            return Quadrant.NOW if urgent else Quadrant.PLAN
        return Quadrant.HAND_ON if urgent else Quadrant.LATER


class Reported(msgspec.Struct, frozen=True):
    """It is there, or is there again."""

    item: Item
    actor: str = ""
    note: str = ""


class Forward(msgspec.Struct, frozen=True):
    """The next step is done: accepted, assigned (needs an owner and a date), executed, verified."""

    actor: str
    to: Step
    note: str = ""
    owner: str = ""
    due_ms: int | None = None


class SentBack(msgspec.Struct, frozen=True):
    """What was executed is not good enough: assigned again."""

    actor: str
    note: str


class Planned(msgspec.Struct, frozen=True):
    """What will be done."""

    actor: str
    plan: str


class Changed(msgspec.Struct, frozen=True):
    """Owner, date, budget, progress or ticket; only what is named changes."""

    actor: str
    values: dict[str, Any]
    note: str = ""


class Noted(msgspec.Struct, frozen=True):
    """Something to say; `attachment` is the hash of what came with it."""

    actor: str
    note: str
    attachment: str = ""


class Withdrawn(msgspec.Struct, frozen=True):
    """Nothing has to be done: a person says so, or (no actor) what caused it ended before anybody took it up."""

    actor: str = ""
    note: str = ""


class Followed(msgspec.Struct, frozen=True):
    """The alert behind it changed: its colour, and with it the date of the plan."""

    severity: Severity
    plan_due_ms: int | None


class Late(msgspec.Struct, frozen=True):
    """Its date has passed."""


Event = Reported | Forward | SentBack | Planned | Changed | Noted | Withdrawn | Followed | Late
Stepped = tuple[Item, tuple[Entry, ...]]


class WrongStep(Permanent):
    """The item is not where this could be done."""


def item_id(alert: str) -> str:
    """The id of the one item that an alert of this id opens."""
    return "ri_" + alert.removeprefix("al_")


def item_of(alert: Alert, criticality: str, now_ms: int) -> Item:
    """The item that an alert opens; there is one an alert."""
    return Item(
        id=item_id(alert.id),
        site=alert.key.site,
        title="",  # the alert's own sentence, in the reader's language
        reported_ms=now_ms,
        alert=alert.id,
        rule=alert.key.rule,
        thing=alert.key.thing,
        severity=alert.severity,
        criticality=criticality,
        indicator=alert.parameters.get("indicator", INDICATOR),
        opened_ms=alert.opened_ms,
        runbook=alert.runbook,
        drill=alert.drill,
        root_cause=alert.runbook == "runbook.root_cause",
        plan_due_ms=plan_due_ms(alert),
    )


def step(item: Item | None, event: Event, now_ms: int) -> Stepped:
    """The item after `event`, and what to write into its history; no entries when nothing changed.

    Raises WrongStep, or BadRequest when what a person asks for lacks something.
    """
    if isinstance(event, Reported):
        return _reported(item, event, now_ms)
    if item is None:
        raise WrongStep("There is no such item.")
    if isinstance(event, Noted):
        if not event.note.strip() and not event.attachment:
            raise BadRequest("note", "a note says something")
        detail = {"attachment": event.attachment} if event.attachment else {}
        return _entered(item, "noted", now_ms, (event.actor, event.note), **detail)
    if item.is_closed:
        if isinstance(event, Withdrawn | Followed | Late):
            return item, ()
        raise WrongStep("This item is closed.")
    match event:
        case Forward():
            return _forward(item, event, now_ms)
        case SentBack():
            return _sent_back(item, event, now_ms)
        case Planned():
            return _planned(item, event, now_ms)
        case Changed():
            return _changed(item, event, now_ms)
        case Withdrawn():
            done = msgspec.structs.replace(item, closed_ms=now_ms, withdrawn=True, closed_by=event.actor)
            return _entered(done, "withdrawn", now_ms, (event.actor, event.note))
        case Followed():
            return _followed(item, event, now_ms)
        case Late():
            return _late(item, now_ms)


def _entered(item: Item, kind: str, now_ms: int, said: tuple[str, str] = _NOBODY, **detail: str) -> Stepped:
    """The item with one entry more. `said` is by whom, and what."""
    version = item.version + 1
    after = msgspec.structs.replace(item, version=version)
    return after, (Entry(version, kind, now_ms, now_ms, *said, detail),)


def _reported(item: Item | None, event: Reported, now_ms: int) -> Stepped:
    if item is None:
        return _entered(event.item, "reported", now_ms, (event.actor, event.note))
    if not item.is_closed or (item.withdrawn and item.closed_by):
        return item, ()
    again = msgspec.structs.replace(
        item,
        step=Step.REPORTED,
        severity=event.item.severity,
        plan_due_ms=event.item.plan_due_ms,
        closed_ms=None,
        withdrawn=False,
        closed_by="",
        executed_ms=None,
        executed_by="",
        overdue=False,
        progress=0,
    )
    return _entered(again, "reopened", now_ms, (event.actor, event.note))


def _forward(item: Item, event: Forward, now_ms: int) -> Stepped:
    if STEPS.index(event.to) != STEPS.index(item.step) + 1:
        raise WrongStep(f"This item is {item.step.value}; {event.to.value} is not the next step.")
    after = msgspec.structs.replace(item, step=event.to)
    detail: dict[str, str] = {}
    if event.to is Step.ASSIGNED:
        owner, due_ms = event.owner or item.owner, event.due_ms or item.due_ms
        if not owner:
            raise BadRequest("owner", "somebody has to do it")
        if due_ms is None:
            raise BadRequest("due", "it has to be done by some time")
        after = msgspec.structs.replace(after, owner=owner, due_ms=due_ms)
        detail = {"owner": owner, "due": format_instant(due_ms)}
    elif event.to is Step.EXECUTED:
        after = msgspec.structs.replace(after, executed_ms=now_ms, executed_by=event.actor, progress=100)
    elif event.to is Step.VERIFIED:
        after = msgspec.structs.replace(after, closed_ms=now_ms, closed_by=event.actor)
    return _entered(after, event.to.value, now_ms, (event.actor, event.note), **detail)


def _sent_back(item: Item, event: SentBack, now_ms: int) -> Stepped:
    if item.step is not Step.EXECUTED:
        raise WrongStep(f"This item is {item.step.value}; only what is executed is sent back.")
    if not event.note.strip():
        raise BadRequest("note", "say what is missing")
    after = msgspec.structs.replace(item, step=Step.ASSIGNED, executed_ms=None, executed_by="")
    return _entered(after, "sent-back", now_ms, (event.actor, event.note))


def _planned(item: Item, event: Planned, now_ms: int) -> Stepped:
    if not event.plan.strip():
        raise BadRequest("plan", "a plan says what will be done")
    if item.plan == event.plan:
        return item, ()
    after = msgspec.structs.replace(item, plan=event.plan, planned_by=event.actor)
    return _entered(after, "planned", now_ms, (event.actor, event.plan))


def _changed(item: Item, event: Changed, now_ms: int) -> Stepped:
    unknown = event.values.keys() - _SET.keys()
    if unknown:
        raise BadRequest(min(unknown), f"can be changed: {', '.join(_SET)}")
    new = {name: value for name, value in event.values.items() if value != getattr(item, name)}
    if not new:
        return item, ()
    if STEPS.index(item.step) >= STEPS.index(Step.ASSIGNED):
        for name in ("owner", "due_ms"):
            if name in new and not new[name]:
                raise BadRequest(name.removesuffix("_ms"), "what is assigned has an owner and a date")
    later = "due_ms" in new and new["due_ms"] is not None and new["due_ms"] > now_ms
    after = msgspec.structs.replace(item, **new, overdue=item.overdue and not later)
    detail = {name.removesuffix("_ms"): _shown(name, value) for name, value in new.items()}
    return _entered(after, "changed", now_ms, (event.actor, event.note), **detail)


def _shown(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "due_ms":
        return format_instant(value)
    return f"{value.amount} {value.currency}" if isinstance(value, Budget) else str(value)


def _followed(item: Item, event: Followed, now_ms: int) -> Stepped:
    due_ms = item.plan_due_ms if event.plan_due_ms is None else event.plan_due_ms
    if (item.severity, item.plan_due_ms) == (event.severity, due_ms):
        return item, ()
    after = msgspec.structs.replace(item, severity=event.severity, plan_due_ms=due_ms)
    detail = {"severity": event.severity.value, "plan_due": format_instant(due_ms) if due_ms else ""}
    return _entered(after, "followed", now_ms, _NOBODY, **detail)


def _late(item: Item, now_ms: int) -> Stepped:
    if item.overdue or item.due_ms is None or now_ms < item.due_ms or item.step is Step.EXECUTED:
        return item, ()
    return _entered(msgspec.structs.replace(item, overdue=True), "overdue", now_ms)
