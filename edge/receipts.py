"""Which frames the cloud has confirmed: a few ranges per lane and epoch, kept across restarts.

The file is a convenience: it says what may be deleted before the cloud was asked again. It may lag behind
by what was confirmed since it was written, never ahead.
"""

from pathlib import Path
from typing import Self

import msgspec

from devices.errors import StorageUnavailable
from devices.reading import Lane
from devices.receipt import LaneState
from devices.segments import write_durably
from devices.sequences import SeqRanges

GAPS_LISTED = 100  # a Receipt lists at most this many gaps; above the last of them nothing is known
CURSOR_FORMAT = 1


class Cursor(msgspec.Struct, frozen=True):
    """What is kept across restarts."""

    format: int
    log_id: str
    contiguous: dict[str, dict[str, int]]  # lane -> epoch as hex -> seq


class Receipts:
    """What the cloud holds, as far as it told."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[Lane, bytes], SeqRanges] = {}
        self._contiguous: dict[tuple[Lane, bytes], int] = {}  # whole numbers, safe to read from sealing threads
        self._saved: Cursor | None = None
        self.log_id = ""
        self.told = False  # whether the cloud itself told since this process began

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file; nothing is known when it is not there or not readable as such."""
        self = cls(path)
        try:
            cursor = msgspec.json.decode(path.read_bytes(), type=Cursor)
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
        ranges = self._known.setdefault((lane, epoch), SeqRanges())
        ranges.add(first, last)
        self._contiguous[lane, epoch] = ranges.contiguous

    def of(self, lane: Lane, epoch: bytes) -> SeqRanges:
        """What is confirmed of an epoch."""
        return self._known.get((lane, epoch)) or SeqRanges()

    def contiguous(self, lane: Lane, epoch: bytes) -> int:
        """Up to where everything of an epoch is confirmed. May be asked from another thread."""
        return self._contiguous.get((lane, epoch), 0)

    def replace(self, log_id: str, states: tuple[LaneState, ...]) -> None:
        """Forget everything and believe the cloud's complete answer: it may have been restored from a backup."""
        self.log_id = log_id
        self.told = True
        self._known.clear()
        self._contiguous.clear()
        for state in states:
            epoch = bytes.fromhex(state.epoch)
            self.add(state.lane, epoch, 1, state.contiguous_seq)
            first = state.contiguous_seq + 1
            for low, high in state.gaps:
                self.add(state.lane, epoch, first, low - 1)
                first = max(first, high + 1)
            if len(state.gaps) < GAPS_LISTED:
                self.add(state.lane, epoch, first, state.highest_seq)

    def cursor(self) -> Cursor:
        """What `write` keeps: made in the loop, so that a thread can write it."""
        cursor = Cursor(CURSOR_FORMAT, self.log_id, {lane: {} for lane in Lane})
        for (lane, epoch), seq in self._contiguous.items():
            if seq:
                cursor.contiguous[lane][epoch.hex()] = seq
        return cursor

    def write(self, cursor: Cursor) -> None:
        """Write the contiguous ends durably, if they changed. Raises StorageUnavailable."""
        if cursor != self._saved:
            write_durably(self._path, msgspec.json.encode(cursor))
            self._saved = cursor
