"""Report by exception: lets through what is worth a record, whole blocks at a time. No I/O, no clock.

| what | lane | when |
|---|---|---|
| discrete state input | events | any change (value, quality), an interruption; from devices that push every hold_s/3 |
| analogue state input | events | a comparison it stands in flips; as above. Its chart goes by deadband to telemetry |
| other discrete point | events | any change, change of quality, every hour |
| other analogue point | telemetry | beyond its deadband, change of quality, every 5 minutes |
| text, pose, link | events | text: when it changes; poses and links: always |
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from devices.columns import Confirmations, Numbers, Poses, Texts
from devices.profile import POSE_POINT
from devices.reading import Block, Pose, Series, Text
from devices.records import Link
from edge.config import Device
from edge.deadbands import Deadbands, Match, Part
from edge.items import Item
from edge.kept import NOTHING, Columns, Kept
from edge.series import SeriesTable
from edge.state_inputs import Entry, Picks, Row, StateInputs

HEARTBEAT_MS = 300_000  # a chart's point is at least this often repeated
DISCRETE_HEARTBEAT_MS = 3_600_000  # evidence costs more; as often as keyframes
PLANS_MAX = 20_000  # remembered tuples of points; a driver makes one a request, a pushing device one a message shape


@dataclass(slots=True)
class _DeviceFilter:
    states: StateInputs
    discrete: Deadbands
    analogue: Deadbands
    texts: dict[str, tuple[int, Text | None]]  # series and what was last reported, by point


@dataclass(slots=True, eq=False)
class _Plan:
    """What is known of one tuple of points; holds it, so that its identity stays its own."""

    points: tuple[str, ...]
    device: _DeviceFilter
    states: Picks | None
    discrete: Match | None
    analogue: Match | None


@dataclass(slots=True, eq=False)
class _Gathered:
    """What one call keeps."""

    rows: list[Row] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    telemetry: list[Part] = field(default_factory=list)
    texts: list[tuple[int, Text]] = field(default_factory=list)
    poses: list[Pose] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    urgent: bool = False


class Filter:
    """Keeps per device what was last reported. `devices` are all that may appear; others are dropped and counted."""

    def __init__(self, devices: Sequence[Device], table: SeriesTable) -> None:
        self._table = table
        self._devices = {device.id: _device_filter(device, table) for device in devices}
        self._plans: dict[tuple[str, int], _Plan] = {}
        self.dropped: Counter[str] = Counter()

    def take(self, items: Sequence[Item], handled_ms: int) -> Kept:
        """What of `items` is worth a record. `handled_ms` is Unix ms UTC, the moment of handling."""
        gathered = _Gathered()
        for item in items:
            if isinstance(item, Block):
                with np.errstate(over="ignore", invalid="ignore"):  # a device may send 1e300
                    self._take_block(item, handled_ms, gathered)
            elif item.device not in self._devices:
                self.dropped["unknown device"] += 1
            elif isinstance(item, Link):
                gathered.links.append(item)
                gathered.urgent = True
            elif isinstance(item, Pose):
                gathered.poses.append(item)
            else:
                self._take_text(item, gathered)
        return self._kept(gathered)

    def confirmations(self) -> Confirmations:
        """Keyframe entries of all state inputs that had a good value in this clock run; ids of the series table."""
        entries: list[Entry] = [entry for device in self._devices.values() for entry in device.states.entries()]
        return Confirmations.of(*zip(*entries, strict=True)) if entries else Confirmations.empty()

    def interrupt(self) -> None:
        """A new clock run began: what comes next is reported and confirmed afresh."""
        for device in self._devices.values():
            device.states.interrupt()
            device.discrete.interrupt()
            device.analogue.interrupt()
            device.texts = {point: (series, None) for point, (series, _) in device.texts.items()}
        self._plans.clear()

    def _take_block(self, block: Block, handled_ms: int, gathered: _Gathered) -> None:
        plan = self._plans.get((block.device, id(block.points)))
        if plan is None:
            plan = self._plan(block)
            if plan is None:
                return
        if plan.states is not None:
            rows, urgent = plan.device.states.take(block, plan.states, handled_ms)
            gathered.rows += rows
            gathered.urgent = gathered.urgent or urgent
        if plan.discrete is not None:
            part = plan.device.discrete.take(block, plan.discrete, handled_ms)
            if part is not None:
                gathered.parts.append(part)
                gathered.urgent = True
        if plan.analogue is not None:
            part = plan.device.analogue.take(block, plan.analogue, handled_ms)
            if part is not None:
                gathered.telemetry.append(part)

    def _plan(self, block: Block) -> _Plan | None:
        device = self._devices.get(block.device)
        if device is None:
            self.dropped["unknown device"] += 1
            return None
        if len(self._plans) >= PLANS_MAX:
            self._plans.clear()
        states, discrete = device.states.picks(block.points), device.discrete.match(block.points)
        plan = _Plan(block.points, device, states, discrete, device.analogue.match(block.points))
        self._plans[block.device, id(block.points)] = plan
        return plan

    def _take_text(self, text: Text, gathered: _Gathered) -> None:
        texts = self._devices[text.device].texts
        if text.point not in texts:
            self.dropped["unknown point"] += 1
            return
        series, last = texts[text.point]
        if last is None or (text.text, text.quality) != (last.text, last.quality):
            texts[text.point] = (series, text)
            gathered.texts.append((series, text))

    def _kept(self, gathered: _Gathered) -> Kept:
        telemetry = Columns(numbers=_numbers(gathered.telemetry, [])) if gathered.telemetry else None
        events = None
        if gathered.rows or gathered.parts or gathered.texts or gathered.poses or gathered.links:
            events = Columns(
                _numbers(gathered.parts, gathered.rows),
                _texts(gathered.texts),
                self._poses(gathered.poses),
                tuple(gathered.links),
            )
        return Kept(events, telemetry, gathered.urgent) if events is not None or telemetry is not None else NOTHING

    def _poses(self, poses: list[Pose]) -> Poses:
        if not poses:
            return Poses.empty()
        maps: dict[str, int] = {}
        rows = [
            (
                self._table.id_of(Series(pose.device, POSE_POINT)),
                pose.time_ms,
                pose.x_mm,
                pose.y_mm,
                pose.theta_mrad,
                maps.setdefault(pose.map_id, len(maps)),
                int(pose.flags),
                int(pose.quality),
            )
            for pose in poses
        ]
        series, time_ms, *four, flags, quality = (np.array(column, np.int64) for column in zip(*rows, strict=True))
        x_mm, y_mm, theta_mrad, map_index = (column.astype(np.int32) for column in four)
        return Poses(
            series.astype(np.int32),
            time_ms,
            x_mm,
            y_mm,
            theta_mrad,
            map_index,
            flags.astype(np.uint8),
            quality.astype(np.uint8),
            tuple(maps),
        )


def _device_filter(device: Device, table: SeriesTable) -> _DeviceFilter:
    profile = device.profile
    discrete = [one for one in profile.points if one in profile.discrete_points and one not in profile.state_points]
    analogue = [one for one in profile.points if one not in profile.discrete_points and one not in profile.text_points]
    return _DeviceFilter(
        StateInputs(device, table),
        Deadbands(device, tuple(discrete), table, DISCRETE_HEARTBEAT_MS),
        Deadbands(device, tuple(analogue), table, HEARTBEAT_MS),
        {point: (table.id_of(device.series(point)), None) for point in profile.points if point in profile.text_points},
    )


def _numbers(parts: list[Part], rows: list[Row]) -> Numbers:
    if rows:
        series, time_ms, value, quality = zip(*rows, strict=True)
        changes = Numbers.of(series, time_ms, value, quality)
        if not parts:
            return changes
    else:
        changes = Numbers.empty()
    if len(parts) == 1 and not rows:
        (part,) = parts
        return Numbers(part.series, np.full(len(part.series), part.time_ms, np.int64), part.value, part.quality)
    sizes = [len(part.series) for part in parts]
    times = np.repeat(np.array([part.time_ms for part in parts], np.int64), sizes)
    return Numbers(
        np.concatenate([changes.series, *(part.series for part in parts)]),
        np.concatenate([changes.time_ms, times]),
        np.concatenate([changes.value, *(part.value for part in parts)]),
        np.concatenate([changes.quality, *(part.quality for part in parts)]),
    )


def _texts(texts: list[tuple[int, Text]]) -> Texts:
    if not texts:
        return Texts.empty()
    return Texts.of(
        (series for series, _ in texts),
        (text.time_ms for _, text in texts),
        (text.text for _, text in texts),
        (int(text.quality) for _, text in texts),
    )
