"""Alert rules that the gateway judges by itself: the same rules, conditions and judge as in the cloud, no network.

Pure but for the moment that is handed in. Inside, times are monotonic ms, so that a clock that is put right neither
ends a delay nor begins one; what is told is Unix ms UTC of the present clock run.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from devices import conditions
from devices.conditions import Condition, Delays
from devices.reading import Block
from devices.records import LocalAlert
from devices.rule_kinds import MissingData, OfEquipment
from devices.rule_truth import DeviceJudge, concerns, device_judge
from devices.rules import Rule
from edge.clock import Moment
from edge.config import Device
from edge.items import Item

ACTIVE, CLEARED = "active", "cleared"
PLANS_MAX = 20_000  # remembered tuples of points; a driver makes one a request
STAMP_AGE_MS_MAX = 86_400_000  # a device's own stamp counts within a day (design.md 4)


class Standing(NamedTuple):
    """An alert that was active when the agent ended; `since_ms` is Unix ms UTC."""

    rule: str
    thing: str
    since_ms: int
    severity: str


@dataclass(slots=True)
class _Judged:
    """One rule about one device. `truth` is what was seen last, `since_ms` (monotonic) since when."""

    rule: Rule
    judge: DeviceJudge | None  # None: of silence
    condition: Condition = field(default_factory=Condition)
    truth: bool | None = None
    since_ms: int = 0

    @property
    def delays(self) -> Delays:
        """Silence is its own on-delay."""
        return self.rule.delays if self.judge is not None else Delays(0, self.rule.delays.off_ms)


@dataclass(slots=True)
class _Watched:
    """One device: what it said last, and until when that is held."""

    device: Device
    judged: list[_Judged]
    points: frozenset[str]
    hold_ms: int
    heard_ms: int  # monotonic, of the last good answer; at the start: since when it is listened to
    values: dict[str, float] = field(default_factory=dict)
    read_ms: dict[str, int] = field(default_factory=dict)
    held: bool = False  # whether any value is held

    def held_values(self, now_ms: int) -> dict[str, float]:
        """The values that still count."""
        return {point: value for point, value in self.values.items() if now_ms - self.read_ms[point] <= self.hold_ms}


class LocalAlerts:
    """Conditions of all rules about all devices. `take` what was read, `tick` when time has passed."""

    def __init__(
        self, devices: Sequence[Device], rules: Sequence[Rule], began: Moment, standing: Sequence[Standing] = ()
    ) -> None:
        before = {(one.rule, one.thing): one.since_ms for one in standing}
        self._watched = {
            device.id: watched
            for device in devices
            if (watched := _watch(device, rules, began.monotonic_ms, before, began)).judged
        }
        self._plans: dict[tuple[str, int], tuple[tuple[str, ...], list[tuple[int, str]]]] = {}
        self._pending: set[str] = set()
        known = {(judged.rule.id, device) for device, one in self._watched.items() for judged in one.judged}
        self.forgotten = [
            LocalAlert(one.rule, one.thing, CLEARED, one.severity, began.utc_ms)
            for one in standing
            if (one.rule, one.thing) not in known
        ]  # their rule or device is gone: nobody would ever end them

    @property
    def rules_evaluated(self) -> int:
        """How many pairs of rule and device there are."""
        return sum(len(one.judged) for one in self._watched.values())

    @property
    def waits(self) -> bool:
        """Whether a delay runs."""
        return bool(self._pending)

    def take(self, items: Sequence[Item], moment: Moment) -> list[LocalAlert]:
        """What was read just now; the alerts that began or ended by it."""
        told: list[LocalAlert] = []
        for item in items:
            if isinstance(item, Block) and item.quality.is_good:
                watched = self._watched.get(item.device)
                if watched is not None and self._note(watched, item, moment):
                    told += self._judge(watched, moment)
        return told

    def tick(self, moment: Moment) -> list[LocalAlert]:
        """Time has passed: delays end, values are held no longer, silence becomes too long."""
        told: list[LocalAlert] = []
        now_ms = moment.monotonic_ms
        for device, watched in self._watched.items():
            gone = watched.held and any(now_ms - at_ms > watched.hold_ms for at_ms in watched.read_ms.values())
            if gone or device in self._pending or any(one.judge is None for one in watched.judged):
                told += self._judge(watched, moment)
        return told

    def active(self, moment: Moment) -> list[LocalAlert]:
        """Every alert that is active now, in the order of the devices."""
        return [
            _alert(watched, judged, moment)
            for watched in self._watched.values()
            for judged in watched.judged
            if judged.condition.active
        ]

    def standing(self, moment: Moment) -> list[Standing]:
        """What the next start of the agent must know."""
        return [Standing(one.rule, one.thing, one.since_ms, one.severity) for one in self.active(moment)]

    def _note(self, watched: _Watched, block: Block, moment: Moment) -> bool:
        """Keep the values of a good answer; whether a rule may see something new in it."""
        read_ms = _monotonic(block.time_ms, moment)
        watched.heard_ms = max(watched.heard_ms, read_ms)
        changed = block.device in self._pending
        for place, point in self._places(watched, block.points):
            value = block.values.item(place)
            if read_ms < watched.read_ms.get(point, read_ms):
                continue  # a device sent something older: not the present
            if math.isnan(value):
                continue  # the device has no value: the last one is held for its time
            if value != watched.values.get(point):
                watched.values[point] = value
                changed = True
            watched.read_ms[point] = read_ms
            changed = changed or not watched.held
            watched.held = True
        return changed or any(one.judge is None and one.condition.active for one in watched.judged)

    def _places(self, watched: _Watched, points: tuple[str, ...]) -> list[tuple[int, str]]:
        key = watched.device.id, id(points)
        known = self._plans.get(key)
        if known is None or known[0] is not points:
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            places = [(place, point) for place, point in enumerate(points) if point in watched.points]
            known = self._plans[key] = points, places
        return known[1]

    def _judge(self, watched: _Watched, moment: Moment) -> list[LocalAlert]:
        now_ms = moment.monotonic_ms
        values = watched.held_values(now_ms)
        watched.held = bool(values)
        changed_ms = max((watched.read_ms[point] for point in values), default=now_ms)
        told: list[LocalAlert] = []
        pending = False
        for judged in watched.judged:
            truth, since_ms = _truth(watched, judged, values, changed_ms, now_ms)
            if truth != judged.truth:
                judged.truth, judged.since_ms = truth, since_ms
            before = judged.condition
            judged.condition = conditions.step(
                before, judged.delays, truth=truth, since_ms=judged.since_ms, now_ms=now_ms
            )
            if judged.condition.active != before.active:
                told.append(_alert(watched, judged, moment, values))
            pending = pending or judged.condition.pending_ms is not None
        (self._pending.add if pending else self._pending.discard)(watched.device.id)
        return told


def _watch(
    device: Device, rules: Iterable[Rule], now_ms: int, before: Mapping[tuple[str, str], int], began: Moment
) -> _Watched:
    judged: list[_Judged] = []
    for rule in rules:
        when = rule.when
        if isinstance(when, OfEquipment) and not concerns(when, device.class_, device.criticality):
            continue
        judge = device_judge(rule, device.profile)
        if judge is None and not (isinstance(when, MissingData) and when.of == _silent_kind(device)):
            continue
        one = _Judged(rule, judge)
        since_ms = before.get((rule.id, device.id))
        if since_ms is not None:
            one.condition = Condition(active=True, since_ms=_monotonic(since_ms, began))
        judged.append(one)
    points = frozenset().union(*(one.judge.points for one in judged if one.judge is not None))
    hold_ms = 1000 * max([device.hold_s, *(math.ceil(3 * device.interval_s(point)) for point in points)])
    return _Watched(device, judged, points, hold_ms, now_ms)


def _silent_kind(device: Device) -> str:
    return "sensor" if device.profile.kind in {"space", "space-bank"} else "device"


def _truth(
    watched: _Watched, judged: _Judged, values: Mapping[str, float], changed_ms: int, now_ms: int
) -> tuple[bool | None, int]:
    """What a rule says now, and since when if that is new."""
    if judged.judge is None:
        allowed_ms = judged.rule.delays.on_ms or watched.hold_ms
        silent = now_ms - watched.heard_ms >= allowed_ms
        return silent, watched.heard_ms if silent else min(watched.heard_ms, now_ms)
    return judged.judge.truth(values, was=judged.condition.active), changed_ms


def _alert(watched: _Watched, judged: _Judged, moment: Moment, values: Mapping[str, float] | None = None) -> LocalAlert:
    rule, condition = judged.rule, judged.condition
    since_ms = moment.utc_ms - (moment.monotonic_ms - condition.since_ms)
    known = judged.judge.parameters(values) if judged.judge is not None and values else {}
    return LocalAlert(
        rule=rule.id,
        thing=watched.device.id,
        condition=ACTIVE if condition.active else CLEARED,
        severity=str(rule.severity),
        since_ms=since_ms,
        parameters=tuple(sorted(known.items())),
        latched=rule.latched,
    )


def _monotonic(time_ms: int, moment: Moment) -> int:
    """A time of the present clock run on the monotonic scale, at most a day ago and never ahead."""
    age_ms = moment.utc_ms - time_ms
    return moment.monotonic_ms - min(max(age_ms, 0), STAMP_AGE_MS_MAX)
