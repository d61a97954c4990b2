"""Frames of one lane that the disk did not take: sealed like all others, in an epoch of their own, marked `ram`.

They are sent from here and written to the disk when it takes frames again. They do not survive the process.
"""

import secrets
import threading
from collections.abc import Callable
from itertools import groupby
from typing import NamedTuple

from devices.frame import EPOCH_BYTES, NO_HASH, PreviousEpoch, SealedFrame
from devices.reading import Lane

RAM_BYTES_MAX = 8 * 1024 * 1024  # per lane: more than a million readings, and bearable on the smallest gateway


class Dropped(NamedTuple):
    """Frames that went for want of memory, oldest first."""

    frames: list[SealedFrame]

    @property
    def readings(self) -> int:
        """How many readings they held."""
        return sum(frame.header.readings for frame in self.frames)


class RamBuffer:
    """One thread appends, any thread asks. The epoch is made with the first frame and lasts with the process."""

    def __init__(self, lane: Lane, bytes_max: int = RAM_BYTES_MAX) -> None:
        self.lane = lane
        self.epoch = b""
        self.next_seq = 1
        self.last_hash = NO_HASH
        self._bytes_max = bytes_max
        self._previous: PreviousEpoch | None = None
        self._lock = threading.Lock()
        self._frames: dict[int, SealedFrame] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def size_bytes(self) -> int:
        """What the frames take."""
        return self._bytes

    @property
    def previous_epoch(self) -> PreviousEpoch | None:
        """What the first frame has to name; None for later frames."""
        return self._previous if self.next_seq == 1 else None

    def prepare(self) -> None:
        """Nothing has to be made ready in memory."""

    def begin(self, epoch: bytes, last_seq: int, last_hash: bytes) -> None:
        """Before the first frame: where the journal's own epoch stands."""
        if not self.epoch:
            self.epoch = secrets.token_bytes(EPOCH_BYTES)
            self._previous = PreviousEpoch(epoch, last_seq, last_hash) if epoch and last_seq else None

    def append(self, frame: SealedFrame, confirmed: Callable[[int], bool]) -> Dropped:
        """Keep a frame; for want of room the oldest go, told of unless they are confirmed. The newest stays."""
        dropped: list[SealedFrame] = []
        with self._lock:
            self._frames[frame.header.seq] = frame
            self._bytes += len(frame.data)
            self.next_seq = frame.header.seq + 1
            self.last_hash = frame.hash
            while self._bytes > self._bytes_max and len(self._frames) > 1:
                oldest = next(iter(self._frames))
                if not confirmed(oldest):
                    dropped.append(self._frames[oldest])
                self._forget([oldest])
        return Dropped(dropped)

    def waiting(self, bytes_max: int, confirmed: Callable[[int], bool]) -> list[SealedFrame]:
        """The oldest frames that are not confirmed, at most so many bytes but at least one; confirmed ones go."""
        with self._lock:
            self._forget([seq for seq in self._frames if confirmed(seq)])
            found: list[SealedFrame] = []
            size = 0
            for frame in self._frames.values():
                size += len(frame.data)
                if found and size > bytes_max:
                    break
                found.append(frame)
        return found

    def release(self, frames: list[SealedFrame]) -> None:
        """These are on disk now."""
        with self._lock:
            self._forget([frame.header.seq for frame in frames])

    def read(self, epoch: bytes, seq: int) -> bytes | None:
        """A frame's bytes, None when it is not here."""
        with self._lock:
            frame = self._frames.get(seq) if epoch == self.epoch else None
        return frame.data if frame is not None else None

    def ranges(self) -> list[tuple[bytes, int, int]]:
        """What is held: (epoch, first seq, last seq)."""
        with self._lock:
            seqs = list(self._frames)
        found = []
        for _, part in groupby(enumerate(seqs), key=lambda one: one[1] - one[0]):
            here = [seq for _, seq in part]
            found.append((self.epoch, here[0], here[-1]))
        return found

    def _forget(self, seqs: list[int]) -> None:
        for seq in seqs:
            frame = self._frames.pop(seq, None)
            self._bytes -= len(frame.data) if frame is not None else 0
