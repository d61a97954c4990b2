"""Which frames the cloud has confirmed: a few ranges per lane and epoch, kept across restarts.

The file is a convenience: it says what may be deleted before the cloud was asked again. It may lag behind
by what was confirmed since it was written, never ahead.
"""

import threading
from pathlib import Path
from typing import Self

import msgspec

from devices.disk import MACHINE, Disk
from devices.errors import StorageUnavailable
from devices.reading import Lane
from devices.receipt import LaneState
from devices.segments import write_durably
from devices.sequences import SeqRanges

GAPS_LISTED = 100  # a Receipt lists at most this many gaps; above the last of them nothing is known
RANGES_KEPT = GAPS_LISTED + 1  # of an epoch in the file
SEQ_MAX = 2**63 - 1
CURSOR_FORMAT = 2  # 1 had only the contiguous ends


class Cursor(msgspec.Struct, frozen=True):
    """What is kept across restarts: lane -> epoch as hex -> ranges, or the contiguous end as format 1 has it."""

    format: int
    log_id: str
    ranges: dict[str, dict[str, list[tuple[int, int]]]] = {}
    contiguous: dict[str, dict[str, int]] = {}


class Receipts:
    """What the cloud holds, as far as it told. May be asked from any thread."""

    def __init__(self, path: Path, disk: Disk = MACHINE) -> None:
        self._path = path
        self._disk = disk
        self._known: dict[tuple[Lane, bytes], SeqRanges] = {}
        self._ever: dict[tuple[Lane, bytes], int] = {}  # the highest ever confirmed, also by a log that forgot it
        self._told_to: dict[tuple[Lane, bytes], int] = {}
        self._lock = threading.Lock()  # guards what is known
        self._writing = threading.Lock()
        self._saved: Cursor | None = None
        self.log_id = ""
        self.told = False  # whether the cloud itself told since this process began
        self.remembered = False  # whether an earlier process left word

    @classmethod
    def load(cls, path: Path, disk: Disk = MACHINE, *, patient: bool = False) -> Self:
        """Read the file; nothing is known when it is not there or not readable as such.

        Raises StorageUnavailable when the disk fails, with `patient` nothing is known then.
        """
        self = cls(path, disk)
        try:
            cursor = msgspec.json.decode(path.read_bytes(), type=Cursor)
        except (FileNotFoundError, msgspec.MsgspecError):
            return self
        except OSError as error:
            if patient:
                return self
            raise StorageUnavailable(f"cannot read {path}: {error.strerror}") from error
        self.log_id = cursor.log_id
        self.remembered = True
        for lane in Lane:
            for epoch, seq in cursor.contiguous.get(lane, {}).items():
                self.add(lane, bytes.fromhex(epoch), 1, seq)
            for epoch, ranges in cursor.ranges.get(lane, {}).items():
                for first, last in ranges:
                    self.add(lane, bytes.fromhex(epoch), first, last)
        self._saved = cursor
        return self

    def add(self, lane: Lane, epoch: bytes, first: int, last: int) -> None:
        """The cloud confirmed these frames."""
        with self._lock:
            self._known.setdefault((lane, epoch), SeqRanges()).add(first, last)
            self._ever[lane, epoch] = max(self._ever.get((lane, epoch), 0), last)

    def of(self, lane: Lane, epoch: bytes) -> SeqRanges:
        """What is confirmed of an epoch."""
        return self._known.get((lane, epoch)) or SeqRanges()

    def contiguous(self, lane: Lane, epoch: bytes) -> int:
        """Up to where everything of an epoch is confirmed."""
        with self._lock:
            return self.of(lane, epoch).contiguous

    def missing(self, lane: Lane, epoch: bytes, first: int, last: int) -> list[tuple[int, int]]:
        """The inclusive ranges between `first` and `last` that are not confirmed."""
        with self._lock:
            return list(self.of(lane, epoch).missing(first, last))

    def ever(self, lane: Lane) -> dict[bytes, int]:
        """The highest sequence number that was ever confirmed, by epoch."""
        with self._lock:
            return {epoch: last for (one, epoch), last in self._ever.items() if one is lane and last}

    def told_to(self, lane: Lane, epoch: bytes) -> int:
        """Up to where the cloud's last complete answer says what it lacks: it lists a bounded number of gaps."""
        with self._lock:
            return self._told_to.get((lane, epoch), SEQ_MAX)

    def replace(self, log_id: str, states: tuple[LaneState, ...]) -> None:
        """Forget everything and believe the cloud's complete answer: it may have been restored from a backup."""
        known = SeqRangesByEpoch()
        for state in states:
            known.take(state)
        with self._lock:
            self._told_to = known.told_to
            self.log_id = log_id
            self.told = True
            self._known = known.ranges
            for name, ranges in self._known.items():
                self._ever[name] = max(self._ever.get(name, 0), ranges.highest)

    def cursor(self) -> Cursor:
        """What `write` keeps."""
        cursor = Cursor(CURSOR_FORMAT, self.log_id, {lane: {} for lane in Lane})
        with self._lock:
            for (lane, epoch), ranges in self._known.items():
                if ranges.highest:
                    cursor.ranges[lane][epoch.hex()] = list(ranges)[:RANGES_KEPT]
        return cursor

    def write(self, cursor: Cursor) -> None:
        """Write what is confirmed durably, if it changed. Raises StorageUnavailable."""
        with self._writing:
            if cursor != self._saved:
                write_durably(self._path, msgspec.json.encode(cursor), disk=self._disk)
                self._saved = cursor


class SeqRangesByEpoch:
    """What a complete Receipt says."""

    def __init__(self) -> None:
        self.ranges: dict[tuple[Lane, bytes], SeqRanges] = {}
        self.told_to: dict[tuple[Lane, bytes], int] = {}

    def take(self, state: LaneState) -> None:
        """Add one epoch. Raises ValueError when its name makes no sense."""
        ranges = self.ranges.setdefault((state.lane, bytes.fromhex(state.epoch)), SeqRanges())
        ranges.add(1, state.contiguous_seq)
        first = state.contiguous_seq + 1
        for low, high in state.gaps:
            ranges.add(first, low - 1)
            first = max(first, high + 1)
        if len(state.gaps) < GAPS_LISTED:
            ranges.add(first, state.highest_seq)
        else:
            self.told_to[state.lane, bytes.fromhex(state.epoch)] = state.gaps[-1][1]
