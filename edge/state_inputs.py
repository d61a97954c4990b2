"""What decides a device's state: which of its readings are evidence, and what a keyframe says of it.

A discrete state input is reported at every change, an analogue one when a comparison it stands in flips. Both
are reported afresh after an interruption: the start of the agent, a new clock run, or no good reading for
hold_s. All instants are Unix ms UTC.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from devices.expressions import Truth
from devices.reading import Block, Quality
from edge.config import Device
from edge.series import SeriesTable

NEVER = -(1 << 62)
CONFIRMATIONS_A_HOLD = 3  # a device that pushes is confirmed this often within hold_s (design.md 8)

Row = tuple[int, int, float, int]  # series, time_ms, value, quality
Entry = tuple[int, int, int, float, int]  # series, changed_ms, confirmed_ms, value, quality


@dataclass(slots=True)
class _Input:
    """One state input. `value` is the one last reported, `current` the one last read."""

    series: int
    point: str
    hold_ms: int
    analogue: bool
    value: float = float("nan")
    current: float = float("nan")
    current_ms: int = NEVER
    changed_ms: int = NEVER
    confirmed_ms: int = NEVER
    confirmed_quality: int = Quality.GOOD
    reported_ms: int = NEVER
    quality: int = -1
    truths: tuple[Truth, ...] = ()


@dataclass(slots=True)
class Picks:
    """Where a plan's blocks hold state inputs, and what the last of them said."""

    inputs: list[_Input]
    positions: list[int]
    values: list[float] = field(default_factory=list)
    quality: int = -1
    time_ms: int = NEVER
    version: int = -1
    due_ms: int = NEVER


class StateInputs:
    """The state inputs of one device."""

    def __init__(self, device: Device, table: SeriesTable) -> None:
        self._rules = device.profile.rules
        self._pushes = device.pushes
        self._inputs = {
            point: _Input(
                table.id_of(series := device.series(point)),
                point,
                series.hold_s * 1000,
                point in device.profile.analogue_state_points,
            )
            for point in device.profile.points
            if point in device.profile.state_points
        }
        self._analogue = [one for one in self._inputs.values() if one.analogue]
        self._version = 0

    def picks(self, points: tuple[str, ...]) -> Picks | None:
        """Where blocks with these points hold state inputs; None when they hold none."""
        positions = [position for position, point in enumerate(points) if point in self._inputs]
        return Picks([self._inputs[points[position]] for position in positions], positions) if positions else None

    def take(self, block: Block, picks: Picks, handled_ms: int) -> tuple[list[Row], bool]:
        """Rows to report, and whether a state may have changed."""
        values = [block.values.item(position) for position in picks.positions]
        if self._is_repetition(block, picks, values, handled_ms):
            for one in picks.inputs:
                one.confirmed_ms = one.current_ms = block.time_ms
            picks.time_ms = block.time_ms
            return [], False
        rows: list[Row] = []
        urgent = moved = False
        for one, value in zip(picks.inputs, values, strict=True):
            quality = int(block.quality) if not math.isnan(value) else _reason(block.quality)
            if block.time_ms < one.current_ms:  # a device sent something older: evidence, but not the present
                rows.append((one.series, block.time_ms, value, quality))
            elif quality >= Quality.BAD_NO_ANSWER:
                if quality != one.quality:
                    rows.append((one.series, block.time_ms, float("nan"), quality))
                    one.quality = quality
            else:
                moved = moved or value != one.current
                changed = self._good(one, (one.series, block.time_ms, value, quality), handled_ms, rows)
                urgent = urgent or changed
        urgent = (moved and self._flips(rows, handled_ms)) or urgent
        self._remember(block, picks, values, changed=moved or bool(rows))
        return rows, urgent

    def entries(self) -> Iterator[Entry]:
        """Keyframe entries of every input that had a good value since the last interruption by `interrupt`."""
        for one in self._inputs.values():
            if one.confirmed_ms != NEVER:
                yield one.series, one.changed_ms, one.confirmed_ms, one.value, one.confirmed_quality

    def interrupt(self) -> None:
        """A new clock run: times before it mean nothing any more."""
        self._version += 1
        for one in self._inputs.values():
            one.current_ms = one.changed_ms = one.confirmed_ms = one.reported_ms = NEVER
            one.quality = -1

    def _is_repetition(self, block: Block, picks: Picks, values: list[float], handled_ms: int) -> bool:
        return (
            values == picks.values  # never for NaN, which is not equal to itself
            and picks.version == self._version
            and block.quality == picks.quality
            and 0 <= block.time_ms - picks.time_ms <= min(one.hold_ms for one in picks.inputs)
            and handled_ms < picks.due_ms
            and block.quality.is_good
        )

    def _remember(self, block: Block, picks: Picks, values: list[float], *, changed: bool) -> None:
        self._version += changed
        picks.values, picks.quality, picks.time_ms = values, block.quality, block.time_ms
        picks.version = self._version
        picks.due_ms = min(self._due_ms(one) for one in picks.inputs)

    def _due_ms(self, one: _Input) -> int:
        """When a device that pushes must be confirmed in the journal again; polled ones are by link records."""
        return one.reported_ms + one.hold_ms // CONFIRMATIONS_A_HOLD if self._pushes else -NEVER

    def _good(self, one: _Input, row: Row, handled_ms: int, rows: list[Row]) -> bool:
        """Take a good reading in; says whether a discrete input changed."""
        _, time_ms, value, quality = row
        fresh = time_ms - one.confirmed_ms <= one.hold_ms
        different = value != one.value
        if not fresh or quality != one.quality or handled_ms >= self._due_ms(one) or (different and not one.analogue):
            rows.append(row)
            one.reported_ms = handled_ms
            if different or not fresh:
                one.changed_ms = time_ms
            one.value = value
        one.current, one.current_ms = value, time_ms
        one.confirmed_ms, one.confirmed_quality, one.quality = time_ms, quality, quality
        return different and not one.analogue

    def _flips(self, rows: list[Row], handled_ms: int) -> bool:
        """Report the analogue inputs whose comparisons are not what their last reported values say."""
        if self._rules is None or not self._analogue:
            return False
        held = {one.point: one.current for one in self._inputs.values()}
        flipped = False
        for one in self._analogue:
            truths = self._rules.comparisons(held, one.point)
            if truths == one.truths:
                continue
            one.truths = truths
            flipped = True
            if one.current != one.value and one.current_ms != NEVER:
                rows.append((one.series, one.current_ms, one.current, one.quality))
                one.value, one.changed_ms, one.reported_ms = one.current, one.current_ms, handled_ms
        return flipped


def _reason(quality: Quality) -> int:
    return int(Quality.BAD_NOT_AVAILABLE if quality.is_good else quality)
