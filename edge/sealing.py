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
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.errors import StorageUnavailable
from devices.frame import Content, Header, Origin, SealedFrame, encode_body, key_id, seal_frame
from devices.reading import Lane, Series
from edge.clock import Clock, Moment
from edge.lane_journal import LaneJournal
from edge.merging import merge

SEAL_DISTANCE_S = 0.1  # an SD card takes ten fsyncs a second for years
EMPTY_FRAME_S = 30.0  # how long an idle events lane may leave the cloud in doubt
RETRY_S = 1.0  # after the disk took nothing
ROWS_PER_FRAME_MAX = 100_000  # keeps the inflated body far below BODY_BYTES_MAX
ROWS_IN_MEMORY_MAX = 200_000  # per lane, while the disk takes nothing: some 10 MB
WORD_BYTES_PER_FRAME_MAX = 4 * 1024 * 1024


class Space(Protocol):
    """Who decides whether the disk may take another frame."""

    def room_for(self, lane: LaneJournal, size: int) -> AbstractContextManager[None]:
        """Hold room for `size` bytes while the frame is written. Raises StorageUnavailable when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Sealer:
    """Whose frames these are."""

    gateway: str
    key: Ed25519PrivateKey
    key_id: str
    origin: Origin
    series_of: Callable[[int], Series]

    @classmethod
    def of(cls, gateway: str, key: Ed25519PrivateKey, origin: Origin, series_of: Callable[[int], Series]) -> Self:
        """With the short name of the key."""
        return cls(gateway, key, key_id(key.public_key()), origin, series_of)


@dataclass(slots=True)
class SealingCounters:
    """What became of the pieces of one lane since the start."""

    frames: int = 0
    readings: int = 0
    bytes: int = 0
    dropped_readings: int = 0
    fsync_ms_last: float = 0.0
    problem: str = ""  # why the disk takes nothing at present, empty when it does


@dataclass(frozen=True, slots=True)
class Extra:
    """What the journal adds to a frame when it is cut."""

    content: Content
    keyframe: bool


@dataclass(frozen=True, slots=True)
class Span:
    """Everything handled in [from_ms, to_ms) is in the frame, which was cut at a moment of one clock run."""

    from_ms: int
    to_ms: int
    cut: Moment
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


def seal_next(journal: LaneJournal, sealer: Sealer, content: Content, span: Span) -> SealedFrame:
    """The lane's next frame, not yet written. Raises ValueError when the content is too large for a frame."""
    body = encode_body(content)
    header = Header(
        gateway=sealer.gateway,
        lane=journal.lane,
        epoch=journal.epoch,
        seq=journal.next_seq,
        key_id=sealer.key_id,
        clock_run=span.cut.run,
        monotonic_ms=span.cut.monotonic_ms,
        from_ms=span.from_ms,
        to_ms=span.to_ms,
        trusted=span.cut.trusted,
        uncertainty_ms=span.cut.uncertainty_ms,
        keyframe=span.keyframe,
        origin=sealer.origin,
        previous_hash=journal.last_hash,
        previous_epoch=journal.previous_epoch,
        readings=content.readings,
        body_bytes=len(body),
    )
    return seal_frame(header, body, sealer.key)


class LaneSealing:
    """Turns pieces into frames of one lane. `on_sealed` hears of each frame after its fsync, in the loop.

    `extra` is asked at each cut for what the journal wants to add (keyframe, inventory), or None. `on_loss` hears,
    in the loop, that pieces were dropped and that the disk takes frames again.
    """

    def __init__(
        self,
        journal: LaneJournal,
        sealer: Sealer,
        clock: Clock,
        *,
        space: Space,
        on_sealed: Callable[[SealedFrame], None],
        extra: Callable[[Moment], Extra | None],
        on_loss: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._sealer = sealer
        self._clock = clock
        self._space = space
        self._on_sealed = on_sealed
        self._extra = extra
        self._on_loss = on_loss
        self._lost = False  # since the disk took the last frame
        self._extends = journal.lane is Lane.EVENTS
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"seal-{journal.lane}")
        self._open = _Open()
        self._batches: deque[_Batch] = deque()
        self._rows = 0
        self._taken = self._stored = 0  # pieces put; pieces of which those that found room are on disk
        self._progress = asyncio.Event()
        start = clock.now()
        self._seam = start
        self._from_ms = start.utc_ms
        self._due_s = 0.0 if self._extends else float("inf")  # the first events frame says that we are here
        self._wake = asyncio.Event()
        self._stopping = False
        self._epoch_wanted = False
        self.counters = SealingCounters()

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
            self._due_s = started + EMPTY_FRAME_S / self._clock.rate if self._extends else float("inf")
            if self._open.pieces or self._extends:
                self._cut(self._clock.now())
            sealed = await self._seal_batches()
            distance_s = SEAL_DISTANCE_S if sealed else RETRY_S
            if not sealed:
                self._due_s = 0.0
            await self._pause(started + distance_s - time.monotonic())
        if self._open.pieces or self._extends:
            self._cut(self._clock.now())
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
        while not self._stopping and (left_s := self._due_s - time.monotonic()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(None if left_s == float("inf") else left_s):
                    await self._wake.wait()
            except TimeoutError:
                return

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

    async def _seal_batches(self) -> bool:
        """Seal what was cut, oldest first. False when the disk takes nothing: it stays in memory then."""
        loop = asyncio.get_running_loop()
        while self._batches:
            batch = self._batches[0]
            try:
                frame = await loop.run_in_executor(self._executor, self._seal, batch)
            except StorageUnavailable as error:
                self.counters.problem = str(error)
                return False
            self._batches.popleft()
            self._rows -= batch.rows
            self.counters.problem = ""
            self.counters.frames += 1
            self.counters.readings += batch.rows
            self.counters.bytes += len(frame.data)
            self._stored = batch.taken
            progress, self._progress = self._progress, asyncio.Event()
            progress.set()
            self._on_sealed(frame)
        if self._lost:
            self._lost = False
            self._on_loss()
        return True

    def _seal(self, batch: _Batch) -> SealedFrame:
        """Encode, sign, write, fsync. Runs in the lane's thread, the only one that writes to its journal."""
        journal = self._journal
        if batch.new_epoch:
            journal.begin_epoch()
        frame = seal_next(journal, self._sealer, merge(batch.pieces, self._sealer.series_of), batch.span)
        started = time.perf_counter()
        with self._space.room_for(journal, len(frame.data)):
            journal.append(frame)
        self.counters.fsync_ms_last = (time.perf_counter() - started) * 1000
        return frame

    def _drop_what_is_too_much(self) -> None:
        """While the disk takes nothing the oldest batches go: their spans are missing then, and nothing pretends."""
        while self._rows > ROWS_IN_MEMORY_MAX and len(self._batches) > 1:
            oldest = self._batches[1]  # the first one may be with the thread
            del self._batches[1]
            self._epoch_wanted |= oldest.new_epoch
            self._lost = True
            self._rows -= oldest.rows
            self.counters.dropped_readings += oldest.rows
