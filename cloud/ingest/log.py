"""The log of frames: the aggregator's one source. One stream per lane, in order of receipt, byte for byte.

A position is an int that orders one lane's entries; 0 is before the first. A log may hold a frame twice;
whoever reads it counts frames by identity.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from devices.reading import Lane

FIRST_POSITION = 0


@dataclass(frozen=True, slots=True)
class Received:
    """A frame on its way into the log. `received_ms` is the cloud's time of receipt, Unix ms UTC."""

    received_ms: int
    gateway: str
    lane: Lane
    data: bytes


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A frame in the log. `position` is where the next entry begins: read on `after` it."""

    position: int
    received_ms: int
    data: bytes


class FrameLog(Protocol):
    """What ingest writes and everything derived reads."""

    @property
    def log_id(self) -> str:
        """Another id means another log: positions and what gateways believe stored no longer hold."""
        ...

    async def append(self, frames: Sequence[Received]) -> None:
        """Keep the frames; returns when they survive a power cut. Raises StorageUnavailable, then none is kept."""
        ...

    async def quarantine(self, frames: Sequence[Received]) -> None:
        """Keep frames apart that contradict one already stored. Durable and failing as `append`."""
        ...

    def read(self, lane: Lane, after: int, limit: int) -> list[LogEntry]:
        """At most `limit` durable entries behind a position, oldest first; callable from any thread.

        Entries of one answer are bounded in bytes as well. Raises StorageUnavailable.
        """
        ...

    def read_quarantine(self, after: int, limit: int) -> list[LogEntry]:
        """As `read`, of the frames that were set apart."""
        ...

    def end(self, lane: Lane) -> int:
        """Give the position behind the last durable entry."""
        ...

    def since(self, lane: Lane, received_ms: int) -> int:
        """Find a position behind which everything lies that was received from then on, and not much more."""
        ...

    def subscribe(self) -> asyncio.Event:
        """Make an event that is set after every commit; whoever waits for it clears it before reading."""
        ...


class KnownPlaces:
    """Single entries of a log. Neighbours are wanted together as a rule: what is read of them is kept."""

    def __init__(self, log: FrameLog, wanted: Collection[tuple[Lane, int]]) -> None:
        """`wanted` are the places: a lane, and the position behind which the entry lies."""
        self._log = log
        self._wanted = frozenset(wanted)
        self._read: dict[tuple[Lane, int], LogEntry] = {}

    def entry(self, lane: Lane, after: int) -> LogEntry | None:
        """The entry at a wanted place, once; None when there is none any more. Raises StorageUnavailable."""
        if (lane, after) not in self._read:
            place = after
            for entry in self._log.read(lane, after, len(self._wanted)):
                if (lane, place) in self._wanted:
                    self._read[lane, place] = entry
                place = entry.position
        return self._read.pop((lane, after), None)
