"""Writes the frames of a lane: to the disk, and while that takes nothing into memory.

Everything here blocks and runs in the lane's own thread.
"""

import time
from collections import deque
from dataclasses import dataclass, replace

from devices.errors import StorageUnavailable
from devices.frame import Content, Origin, SealedFrame
from edge.lane_journal import RECORD_OVERHEAD_BYTES, LaneJournal
from edge.ram_buffer import Dropped
from edge.sealer import Sealer, Span, seal_next
from edge.space import JournalSpace

RETRY_S = 1.0  # after the disk took nothing
TAKE_IN_BYTES = 256 * 1024  # written with one fsync when the disk takes again what was sealed in memory


@dataclass(slots=True)
class SealingCounters:
    """What became of the pieces of one lane since the start."""

    frames: int = 0
    readings: int = 0
    bytes: int = 0
    dropped_readings: int = 0
    fsync_ms_last: float = 0.0
    problem: str = ""  # why the disk takes nothing at present, empty when it does


class LaneWriter:
    """`dropped` and `turned` are for the loop, which empties them."""

    def __init__(self, journal: LaneJournal, sealer: Sealer, space: JournalSpace, counters: SealingCounters) -> None:
        self._journal = journal
        self._sealer = sealer
        self._memory_sealer = replace(sealer, origin=Origin.RAM)
        self._space = space
        self._counters = counters
        self.retry_s = 0.0  # the disk is left alone until then; time.monotonic
        self.dropped: deque[Dropped] = deque()
        self.turned = False  # the disk ceased or began to take frames: everything is said again

    def write(self, content: Content, span: Span) -> SealedFrame:
        """Seal and keep: fsynced on disk if that is possible, else in memory."""
        if time.monotonic() >= self.retry_s:
            try:
                self._take_in()
                return self._to_disk(content, span)
            except StorageUnavailable as error:
                self._failed(error)
        return self._to_memory(content, span)

    def recover(self) -> None:
        """Let the disk take what is in memory, if it does."""
        try:
            self._take_in()
        except StorageUnavailable as error:
            self._failed(error)

    def _to_disk(self, content: Content, span: Span) -> SealedFrame:
        """Write a frame. Raises StorageUnavailable; then nothing was accepted."""
        journal = self._journal
        while True:
            frame = seal_next(journal, self._sealer, content, span)
            started = time.perf_counter()
            with self._space.room_for(journal, len(frame.data)):
                next_one = (journal.epoch, journal.next_seq, journal.last_hash)
                if (frame.header.epoch, frame.header.seq, frame.header.previous_hash) != next_one:
                    continue  # a loss record came between: seal it again behind that
                journal.append(frame)
            self._counters.fsync_ms_last = (time.perf_counter() - started) * 1000
            self._counters.problem = ""
            return frame

    def _to_memory(self, content: Content, span: Span) -> SealedFrame:
        journal, ram = self._journal, self._journal.ram
        self.turned |= not len(ram)
        ram.begin(journal.epoch, journal.next_seq - 1, journal.last_hash)
        frame = seal_next(ram, self._memory_sealer, content, span)
        dropped = ram.append(frame, self._is_confirmed)
        if dropped.frames:
            self._counters.dropped_readings += dropped.readings
            self.dropped.append(dropped)
        return frame

    def _take_in(self) -> None:
        """Write the frames that were sealed in memory, as they are. Raises StorageUnavailable."""
        journal, ram = self._journal, self._journal.ram
        if not len(ram):
            return
        journal.prepare()
        while frames := ram.waiting(min(TAKE_IN_BYTES, journal.segment_bytes // 4), self._is_confirmed):
            with self._space.room_for(journal, sum(len(one.data) + RECORD_OVERHEAD_BYTES for one in frames)):
                journal.take_in(frames)
            ram.release(frames)
        self.turned = True
        self._counters.problem = ""

    def _failed(self, error: StorageUnavailable) -> None:
        self._counters.problem = str(error)
        self.retry_s = time.monotonic() + RETRY_S

    def _is_confirmed(self, seq: int) -> bool:
        return self._space.is_confirmed(self._journal.lane, self._journal.ram.epoch, seq)
