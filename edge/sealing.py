"""Sealing: what was handled becomes fsynced frames, one at a time per lane.

The loop puts pieces in and never waits; a thread of the lane's own encodes, signs, writes and fsyncs. What
arrives meanwhile goes into the next frame. Delays are in seconds of the agent's clock, which a replay runs
faster; the distance between two fsyncs is in real seconds.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from devices.frame import Content, SealedFrame
from devices.reading import Lane
from edge.clock import Clock, Moment
from edge.lane_journal import LaneJournal
from edge.merging import merge
from edge.ram_buffer import Dropped
from edge.sealer import Sealer, Span
from edge.space import JournalSpace
from edge.writer import LaneWriter, SealingCounters

SEAL_DISTANCE_S = 0.1  # an SD card takes ten fsyncs a second for years
EMPTY_FRAME_S = 30.0  # how long an idle events lane may leave the cloud in doubt
ROWS_PER_FRAME_MAX = 100_000  # keeps the inflated body far below BODY_BYTES_MAX
ROWS_IN_MEMORY_MAX = 200_000  # per lane, while the disk does not answer at all: some 10 MB
WORD_BYTES_PER_FRAME_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Extra:
    """What the journal adds to a frame when it is cut."""

    content: Content
    keyframe: bool


@dataclass(frozen=True, slots=True)
class _Batch:
    """Pieces that become one frame."""

    pieces: tuple[Content, ...]
    span: Span
    rows: int
    new_epoch: bool
    taken: int  # pieces that were put before it was cut


@dataclass(slots=True)
class _Open:
    """Pieces that no frame was cut of yet."""

    pieces: list[Content] = field(default_factory=list)
    rows: int = 0
    word_bytes: int = 0
    handled: Moment | None = None  # of the last piece


class LaneSealing:
    """Turns pieces into frames of one lane. `on_sealed` hears of each frame after its fsync, in the loop.

    `extra` is asked at each cut for what the journal wants to add (keyframe, inventory), or None. `on_loss` hears,
    in the loop, that something was dropped or that the disk ceased or began to take frames; `on_dropped` which
    frames went that were sealed in memory.
    """

    def __init__(
        self,
        journal: LaneJournal,
        sealer: Sealer,
        clock: Clock,
        *,
        space: JournalSpace,
        on_sealed: Callable[[SealedFrame], None],
        extra: Callable[[Moment], Extra | None],
        on_loss: Callable[[], None],
        on_dropped: Callable[[Dropped], None],
    ) -> None:
        self._journal = journal
        self._series_of = sealer.series_of
        self._clock = clock
        self._space = space
        self._on_sealed = on_sealed
        self._extra = extra
        self._on_loss = on_loss
        self._on_dropped = on_dropped
        self._lost = False  # since it was told last
        self._extends = journal.lane is Lane.EVENTS
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"seal-{journal.lane}")
        self._open = _Open()
        self._batches: deque[_Batch] = deque()
        self._rows = 0
        self._taken = self._stored = 0  # pieces put; pieces of which those that found room are on disk
        self._taken_sealed = 0  # pieces that are in frames, on disk or in memory
        self._progress = asyncio.Event()
        start = clock.now()
        self._seam = start
        self._from_ms = start.utc_ms
        self._due_s = 0.0 if self._extends else float("inf")  # the first events frame says that we are here
        self._wake = asyncio.Event()
        self._stopping = False
        self._epoch_wanted = False
        self.counters = SealingCounters()
        self._writer = LaneWriter(journal, sealer, space, self.counters)

    def put(self, piece: Content, handled: Moment, delay_s: float) -> None:
        """Take a piece in; it is sealed after at most `delay_s`. Never waits, never fails."""
        present = self._open.handled
        if present is not None and present.run != handled.run:
            self._cut(present)  # a frame belongs to one clock run
        self._taken += 1
        self._open.pieces.append(piece)
        self._open.handled = handled
        self._open.rows += piece.readings
        self._open.word_bytes += sum(len(word) for word in piece.texts.words)
        self._rows += piece.readings
        if self._open.rows >= ROWS_PER_FRAME_MAX or self._open.word_bytes >= WORD_BYTES_PER_FRAME_MAX:
            self._cut(handled)
            delay_s = 0.0
        self._drop_what_is_too_much()
        self._wake_by(delay_s)

    async def stored(self, within_s: float) -> int:
        """Wait until what was put so far is fsynced; how many readings were ever dropped for want of room."""
        wanted = self._taken
        while self._stored < wanted:
            self._wake_by(within_s)
            progress = self._progress
            await progress.wait()
        return self.counters.dropped_readings

    def hurry(self) -> None:
        """Seal a frame soon, on the events lane even an empty one."""
        self._wake_by(0.0)

    def begin_epoch(self) -> None:
        """Let the next frame be the first of a new epoch."""
        self._epoch_wanted = True
        self.hurry()

    async def run(self) -> None:
        """Seal until `stop`, then seal what is left once and return."""
        while not self._stopping:
            await self._wait()
            started = time.monotonic()
            if started >= self._due_s or self._stopping:
                self._due_s = started + EMPTY_FRAME_S / self._clock.rate if self._extends else float("inf")
                if self._open.pieces or self._extends:
                    self._cut(self._clock.now())
            await self._seal_batches()
            await self._pause(started + SEAL_DISTANCE_S - time.monotonic())
        if self._open.pieces or self._extends:
            self._cut(self._clock.now())
        self._writer.retry_s = 0.0
        await self._seal_batches()

    def stop(self) -> None:
        """Make `run` seal what is there and return."""
        self._stopping = True
        self._wake.set()

    def close(self) -> None:
        """Wait for the thread to end and close the files."""
        self._executor.shutdown(wait=True)
        self._journal.close()

    def _wake_by(self, delay_s: float) -> None:
        due_s = time.monotonic() + delay_s / self._clock.rate
        if due_s < self._due_s:
            self._due_s = due_s
            self._wake.set()

    async def _wait(self) -> None:
        """Until something is due or the lane stops."""
        while not self._stopping and (left_s := self._next_s() - time.monotonic()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(None if left_s == float("inf") else left_s):
                    await self._wake.wait()
            except TimeoutError:
                return

    def _next_s(self) -> float:
        """When there is something to do: a frame is due, or the disk may take again what is in memory."""
        return min(self._due_s, self._writer.retry_s) if len(self._journal.ram) else self._due_s

    async def _pause(self, seconds: float) -> None:
        """Keep the distance to the next seal, shorter only when the lane stops."""
        deadline = time.monotonic() + seconds
        while not self._stopping and (left_s := deadline - time.monotonic()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
            except TimeoutError:
                return

    def _cut(self, moment: Moment) -> None:
        """Close the open pieces into a batch whose span ends now; the next one begins there."""
        extra = self._extra(moment)
        pieces = (*self._open.pieces, extra.content) if extra else tuple(self._open.pieces)
        new_epoch, self._epoch_wanted = self._epoch_wanted, False
        handled = self._open.handled
        if moment.run != self._seam.run:
            self._from_ms = self._carry_over(moment)
        to_ms = max(moment.utc_ms, self._from_ms + 1, handled.utc_ms + 1 if handled else 0)
        span = Span(self._from_ms, to_ms, moment, keyframe=extra is not None and extra.keyframe)
        self._batches.append(_Batch(pieces, span, self._open.rows, new_epoch, self._taken))
        self._from_ms = to_ms
        self._seam = moment
        self._open = _Open()

    def _carry_over(self, moment: Moment) -> int:
        """Where the last span ended, in the time of the new clock run; the same where no step was made."""
        stepped_ms = moment.utc_ms - (moment.monotonic_ms - self._seam.monotonic_ms) - self._seam.utc_ms
        return self._from_ms if abs(stepped_ms) <= 1 else self._from_ms + stepped_ms

    async def _seal_batches(self) -> None:
        """Seal what was cut, oldest first; then let the disk take what was sealed in memory."""
        loop = asyncio.get_running_loop()
        while self._batches:
            batch = self._batches[0]
            frame = await loop.run_in_executor(self._executor, self._seal, batch)
            self._batches.popleft()
            self._rows -= batch.rows
            self.counters.frames += 1
            self.counters.readings += batch.rows
            self.counters.bytes += len(frame.data)
            self._tell([frame], batch.taken)
        if len(self._journal.ram) and time.monotonic() >= self._writer.retry_s:
            await loop.run_in_executor(self._executor, self._writer.recover)
            self._tell([], self._taken_sealed)
        if self._lost:
            self._lost = False
            self._on_loss()

    def _tell(self, frames: list[SealedFrame], taken: int) -> None:
        """In the loop: what the thread did."""
        self._taken_sealed = taken
        if not len(self._journal.ram):
            self._stored = taken
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()
        said = self._space.said()
        self._lost |= bool(said) or self._writer.turned
        self._writer.turned = False
        for frame in (*said, *frames):
            self._on_sealed(frame)
        while self._writer.dropped:
            self._on_dropped(self._writer.dropped.popleft())

    def _seal(self, batch: _Batch) -> SealedFrame:
        """Runs in the lane's thread, the only one that writes its readings."""
        content = merge(batch.pieces, self._series_of)
        if batch.new_epoch:
            self._journal.want_epoch()
        return self._writer.write(content, batch.span)

    def _drop_what_is_too_much(self) -> None:
        """While the disk does not answer the oldest batches go: their spans are missing then, nothing pretends."""
        while self._rows > ROWS_IN_MEMORY_MAX and len(self._batches) > 1:
            oldest = self._batches[1]  # the first one may be with the thread
            del self._batches[1]
            self._epoch_wanted |= oldest.new_epoch
            self._lost = True
            self._rows -= oldest.rows
            self.counters.dropped_readings += oldest.rows
