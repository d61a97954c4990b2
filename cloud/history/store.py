"""History for charts: what a writer takes and what a reader gives. Derived from the log at any time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from devices.columns import Numbers
from devices.reading import Lane, Series

RELEASED = "released"  # the stream of frames whose times were put right, beside those of the lanes
STREAMS = (*map(str, Lane), RELEASED)
POINTS_MAX = 1_000  # of one chart: more than a screen has columns to show
RESOLUTIONS_MS = tuple(
    seconds * 1_000
    for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)
)
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, eq=False)
class FrameNumbers:
    """The numbers of one frame. A row is unique by series, time, epoch, seq and its place in the frame."""

    site: str
    gateway: str
    lane: Lane
    epoch: bytes
    seq: int
    series: Sequence[Series]
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a series did in [from_ms, from_ms + resolution): of `count` good values. Unix ms UTC."""

    from_ms: int
    minimum: float
    average: float
    maximum: float
    count: int


@dataclass(frozen=True, slots=True)
class Chart:
    """Buckets in order of time; those without a good value are absent."""

    resolution_ms: int
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One value as it is kept, for people and tests."""

    time_ms: int
    value: float
    quality: int
    epoch: bytes
    seq: int
    index: int


class HistoryWriter(Protocol):
    """Takes numbers in the order of the log. Called from one thread at a time, never in the event loop."""

    name: str

    def position(self, stream: str) -> int:
        """Up to where one of `STREAMS` is kept here durably: feed what comes after it, also after a restart."""
        ...

    def write(self, frames: Sequence[FrameNumbers], positions: Mapping[str, int]) -> None:
        """Take the numbers of all streams up to `positions`. A frame that was taken before changes nothing.

        Raises Transient (then nothing of the batch counts, feed it again) or Permanent (it never will).
        """
        ...

    def maintain(self, now_ms: int) -> None:
        """Called every few seconds: write out what has waited long enough, merge, tidy. Raises Transient."""
        ...

    def close(self) -> None:
        """Give everything back. What was not durable comes again from the log."""
        ...


class HistoryReader(Protocol):
    """Answers charts. Callable from any thread."""

    def series(self, site: str, device: str, point: str, from_ms: int, to_ms: int, *, points: int) -> Chart:
        """At most `points` buckets of the values in [from_ms, to_ms). Raises StorageUnavailable."""
        ...

    def count(self) -> int:
        """How many rows are kept."""
        ...


def resolution(from_ms: int, to_ms: int, points: int) -> int:
    """The finest round resolution, in ms, whose aligned buckets over [from_ms, to_ms) are at most `points`.

    Raises ValueError for an empty window or a number of points outside 2 to `POINTS_MAX`.
    """
    if from_ms >= to_ms or not 2 <= points <= POINTS_MAX:
        raise ValueError(f"a chart needs from < to and 2 to {POINTS_MAX} points")
    for width_ms in RESOLUTIONS_MS:
        if (to_ms - 1) // width_ms - from_ms // width_ms < points:
            return width_ms
    days = -(-(to_ms - from_ms) // ((points - 1) * _DAY_MS))
    return days * _DAY_MS
