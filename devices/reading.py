"""What was measured: series, qualities and blocks of readings.

Readings travel in blocks, because one answer of a device carries many values with one time. A single
`Reading` exists only where a person or a test looks.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag, StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Int32s = NDArray[np.int32]
Int64s = NDArray[np.int64]
Bytes8 = NDArray[np.uint8]

FIRST_BAD_QUALITY = 64


class Quality(IntEnum):
    """How far a value can be trusted, and why not. Below 64 the value counts, from 64 on it does not."""

    GOOD = 0
    UNCERTAIN_TIME = 1  # the source's own stamp was unusable, the time of handling stands in
    BAD_NO_ANSWER = 64
    BAD_CONNECTION = 65
    BAD_EXCEPTION = 66  # the device answered with an exception other than "illegal address"
    BAD_ILLEGAL_ADDRESS = 67
    BAD_NOT_AVAILABLE = 68  # the device's own sentinel for "no value"
    BAD_UNDECODABLE = 69

    @property
    def is_good(self) -> bool:
        """Whether the value counts."""
        return self < FIRST_BAD_QUALITY


class Lane(StrEnum):
    """The two streams of a gateway: the evidence, and the values for charts."""

    EVENTS = "events"
    TELEMETRY = "telemetry"


class PoseFlag(IntFlag):
    """What was true of the robot when it took the pose. The upper half holds its accuracy (`devices.positions`)."""

    LOCALIZED = 1
    AUTOMATIC = 2  # operating mode AUTOMATIC or SEMIAUTOMATIC
    CHARGING = 4
    DRIVING = 8


class Series(msgspec.Struct, frozen=True, order=True, array_like=True):
    """One point of one device.

    `unit` is canonical (`devices.units`), empty for discrete points. `hold_s` is how long a value is
    held after its last confirmation, in seconds; 0 for series that are no state input.
    """

    device: str
    point: str
    unit: str = ""
    hold_s: int = 0

    @property
    def name(self) -> str:
        """`device/point`, unique within a site."""
        return f"{self.device}/{self.point}"


@dataclass(frozen=True, slots=True)
class Reading:
    """One value, for people and tests. `time_ms` is Unix time in milliseconds, UTC."""

    device: str
    point: str
    time_ms: int
    value: float
    quality: Quality = Quality.GOOD


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """What one answer of a device says: many points, one time, one quality.

    `points` is the same tuple object at every poll of one plan, so that consumers can keep arrays beside
    it. `values` is float64, shape (len(points),), in canonical units, exact for integers up to 2**53; NaN
    where the device said "no value". `time_ms` is when it was true at the device, Unix ms UTC. When
    `quality` is bad the values are all NaN.
    """

    device: str
    points: tuple[str, ...]
    time_ms: int
    quality: Quality
    values: Floats

    def __iter__(self) -> Iterator[Reading]:
        for point, value in zip(self.points, self.values.tolist(), strict=True):
            missing = self.quality.is_good and math.isnan(value)
            quality = Quality.BAD_NOT_AVAILABLE if missing else self.quality
            yield Reading(self.device, point, self.time_ms, value, quality)


@dataclass(frozen=True, slots=True)
class Text:
    """A word or code that a device reported (fault text, last node, firmware). Unix ms UTC."""

    device: str
    point: str
    time_ms: int
    text: str
    quality: Quality = Quality.GOOD


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a robot was: millimetres and milliradians in the frame of `map_id`, Unix ms UTC."""

    device: str
    time_ms: int
    x_mm: int
    y_mm: int
    theta_mrad: int
    map_id: str
    flags: PoseFlag
    quality: Quality = Quality.GOOD
