"""Which frames the cloud has confirmed: a few ranges per lane and epoch, kept across restarts.

The file is a convenience: it says what may be deleted before the cloud was asked again. It may lag behind
by what was confirmed since it was written, never ahead.
"""

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec

from devices.errors import StorageUnavailable
from devices.reading import Lane
from devices.receipt import LaneState
from devices.segments import write_durably

GAPS_LISTED = 100  # a Receipt lists at most this many gaps; above the last of them nothing is known
CURSOR_FORMAT = 1


class SeqRanges:
    """A set of sequence numbers as disjoint inclusive ranges, in order."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self._firsts, seq) - 1
        return at >= 0 and seq <= self._lasts[at]

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in zip(self._firsts, self._lasts, strict=True))

    @property
    def contiguous(self) -> int:
        """The highest number up to which nothing from 1 on is missing, 0 if 1 is."""
        return self._lasts[0] if self._firsts and self._firsts[0] <= 1 else 0

    def add(self, first: int, last: int) -> None:
        """Add `first` to `last`, both inclusive; nothing when `last` is smaller."""
        if last < first:
            return
        low = bisect_right(self._lasts, first - 2)  # ranges that end before first - 1 stay apart
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def missing(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The ranges between `first` and `last` that are not in the set, in order."""
        at = max(bisect_right(self._firsts, first) - 1, 0)
        for low, high in zip(self._firsts[at:], self._lasts[at:], strict=True):
            if low > last:
                break
            if high < first:
                continue
            if first < low:
                yield first, low - 1
            first = high + 1
        if first <= last:
            yield first, last


class _Cursor(msgspec.Struct, frozen=True):
    format: int
    log_id: str
    contiguous: dict[str, dict[str, int]]  # lane -> epoch as hex -> seq


class Receipts:
    """What the cloud holds, as far as it told."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[Lane, bytes], SeqRanges] = {}
        self._saved: _Cursor | None = None
        self.log_id = ""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file; nothing is known when it is not there or not readable as such."""
        self = cls(path)
        try:
            cursor = msgspec.json.decode(path.read_bytes(), type=_Cursor)
        except (FileNotFoundError, msgspec.MsgspecError):
            return self
        except OSError as error:
            raise StorageUnavailable(f"cannot read {path}: {error.strerror}") from error
        self.log_id = cursor.log_id
        for lane in Lane:
            for epoch, seq in cursor.contiguous.get(lane, {}).items():
                self.add(lane, bytes.fromhex(epoch), 1, seq)
        self._saved = cursor
        return self

    def add(self, lane: Lane, epoch: bytes, first: int, last: int) -> None:
        """The cloud confirmed these frames."""
        self._known.setdefault((lane, epoch), SeqRanges()).add(first, last)

    def of(self, lane: Lane, epoch: bytes) -> SeqRanges:
        """What is confirmed of an epoch."""
        return self._known.get((lane, epoch)) or SeqRanges()

    def contiguous(self, lane: Lane, epoch: bytes) -> int:
        """Up to where everything of an epoch is confirmed."""
        return self.of(lane, epoch).contiguous

    def replace(self, log_id: str, states: tuple[LaneState, ...]) -> None:
        """Forget everything and believe the cloud's complete answer: it may have been restored from a backup."""
        self.log_id = log_id
        self._known.clear()
        for state in states:
            epoch = bytes.fromhex(state.epoch)
            self.add(state.lane, epoch, 1, state.contiguous_seq)
            first = state.contiguous_seq + 1
            for low, high in state.gaps:
                self.add(state.lane, epoch, first, low - 1)
                first = max(first, high + 1)
            if len(state.gaps) < GAPS_LISTED:
                self.add(state.lane, epoch, first, state.highest_seq)

    def save(self) -> None:
        """Write the contiguous ends durably, if they changed. Raises StorageUnavailable."""
        cursor = _Cursor(CURSOR_FORMAT, self.log_id, {lane: {} for lane in Lane})
        for (lane, epoch), ranges in self._known.items():
            if ranges.contiguous:
                cursor.contiguous[lane][epoch.hex()] = ranges.contiguous
        if cursor != self._saved:
            write_durably(self._path, msgspec.json.encode(cursor))
            self._saved = cursor
