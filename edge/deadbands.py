"""Values reported by exception: whole blocks against arrays of what was last reported."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from devices.reading import Block, Bytes8, Floats, Int32s, Int64s, Quality, Series
from edge.config import Device
from edge.series import SeriesTable
from edge.state_inputs import NEVER

_NO_QUALITY = 255  # of a point that was never reported
_GOOD = int(Quality.GOOD)
Places = NDArray[np.intp] | slice


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows of one time: parallel arrays."""

    series: Int32s
    time_ms: int
    value: Floats
    quality: Bytes8


@dataclass(slots=True, eq=False)
class Match:
    """Where a plan's blocks hold points of these deadbands."""

    positions: Places
    slots: Places
    good: Bytes8
    generation: int = -1  # that of the deadbands when every point was last seen good
    beat_ms: int = NEVER


class Deadbands:
    """Some points of one device: reported on a change beyond the deadband, of quality, or after the heartbeat."""

    def __init__(self, device: Device, points: tuple[str, ...], table: SeriesTable, heartbeat_ms: int) -> None:
        known = device.profile.points
        self._slots = {point: slot for slot, point in enumerate(points)}
        self._heartbeat_ms = heartbeat_ms
        series = [table.id_of(Series(device.id, point, device.profile.unit_of(point))) for point in points]
        self._series: Int32s = np.array(series, np.int32)
        self._deadband: Floats = np.array([known[point].deadband for point in points], np.float64)
        self._value: Floats = np.full(len(points), np.nan)
        self._kept_ms: Int64s = np.full(len(points), NEVER, np.int64)
        self._quality: Bytes8 = np.full(len(points), _NO_QUALITY, np.uint8)
        self._generation = 0

    def match(self, points: tuple[str, ...]) -> Match | None:
        """Where blocks with these points hold any of these; None when they hold none."""
        positions = [position for position, point in enumerate(points) if point in self._slots]
        if not positions:
            return None
        slots = [self._slots[points[position]] for position in positions]
        return Match(_places(positions), _places(slots), np.full(len(slots), _GOOD, np.uint8))

    def take(self, block: Block, match: Match, handled_ms: int) -> Part | None:
        """The rows worth a record. Values are not copied: a block's arrays belong to whoever gets it."""
        slots = match.slots
        values = block.values[match.positions]
        if block.quality is Quality.GOOD and match.generation == self._generation and not math.isnan(values @ values):
            quality = match.good
            report = ~(np.abs(values - self._value[slots]) <= self._deadband[slots])
        else:
            quality, report = self._by_quality(block.quality, values, match)
        if handled_ms >= match.beat_ms:
            report |= handled_ms - self._kept_ms[slots] >= self._heartbeat_ms
            self._kept_ms[slots] = np.where(report, handled_ms, self._kept_ms[slots])
            match.beat_ms = int(self._kept_ms[slots].min()) + self._heartbeat_ms
        kept = int(np.count_nonzero(report))
        if not kept:
            return None
        if kept == len(values):
            self._value[slots] = values
            self._kept_ms[slots] = handled_ms
            return Part(self._series[slots], block.time_ms, values, quality)
        index = np.flatnonzero(report)
        places = index + slots.start if isinstance(slots, slice) else slots[index]
        self._value[places] = values[index]
        self._kept_ms[places] = handled_ms
        return Part(self._series[places], block.time_ms, values[index], quality[index])

    def interrupt(self) -> None:
        """Everything is reported afresh."""
        self._generation += 1
        self._kept_ms[:] = NEVER
        self._quality[:] = _NO_QUALITY

    def _by_quality(self, block: Quality, values: Floats, match: Match) -> tuple[Bytes8, NDArray[np.bool_]]:
        """Qualities of each value, and which must be reported for a change of value or quality."""
        missing = np.isnan(values)
        quality = np.full(len(values), int(block), np.uint8)
        if block.is_good:
            quality[missing] = int(Quality.BAD_NOT_AVAILABLE)
        before = self._quality[match.slots]
        differs = ~(np.abs(values - self._value[match.slots]) <= self._deadband[match.slots])
        report: NDArray[np.bool_] = (quality != before) | (~missing & differs)
        self._quality[match.slots] = quality
        if bool((quality != _GOOD).any()):
            self._generation += 1  # whoever holds these points next must look at the qualities
            match.generation = -1
        else:
            match.generation = self._generation
        return quality, report


def _places(places: list[int]) -> Places:
    """A slice where the places follow each other (no copy), else an index array."""
    if places == list(range(places[0], places[0] + len(places))):
        return slice(places[0], places[0] + len(places))
    return np.array(places, np.intp)
