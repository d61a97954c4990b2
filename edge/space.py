"""The journal's share of the disk: a hard bound in bytes and a floor of free space, checked at every append.

What is taken when room is needed, whole segments at a time: what the cloud has confirmed, oldest first, telemetry
before events; then telemetry that it has not; then events that it has not. A loss record is fsynced before anything
unconfirmed is deleted. Telemetry never takes the last quarter of the bound, nor unconfirmed events.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from devices.errors import StorageUnavailable
from devices.frame import Content, SealedFrame
from devices.reading import Lane
from devices.records import Loss, LossReason
from edge.clock import Clock
from edge.lane_index import Run
from edge.lane_journal import LaneJournal
from edge.losses import LossBook, joined, loss_of, unreadable
from edge.receipts import Receipts
from edge.sealer import Sealer, Span, seal_next

EVENTS_SHARE = 4  # one part in four of the bound is for events alone


@dataclass(frozen=True, slots=True)
class SpaceLimits:
    """`may_lose` is False for a journal whose readings are elsewhere, too: it waits for Receipts instead."""

    bytes_max: int
    free_bytes_min: int = 0
    may_lose: bool = True


class JournalSpace:
    """Both lanes' threads ask. Whoever writes to the events lane holds the lock: a loss record may come first."""

    def __init__(
        self, lanes: dict[Lane, LaneJournal], receipts: Receipts, losses: LossBook, limits: SpaceLimits, *,
        sealer: Sealer, clock: Clock, own_folder: Callable[[], None],
    ) -> None:  # fmt: skip
        self._lanes = lanes
        self._receipts = receipts
        self._losses = losses
        self._limits = limits
        self._sealer = sealer
        self._clock = clock
        self._own_folder = own_folder
        self._lock = threading.RLock()
        self._said: deque[SealedFrame] = deque()

    @property
    def bytes_on_disk(self) -> int:
        """Space taken by both lanes."""
        return sum(lane.bytes_on_disk for lane in self._lanes.values())

    @property
    def bytes_max(self) -> int:
        """The bound."""
        return self._limits.bytes_max

    @property
    def unconfirmed_bytes(self) -> int:
        """Of the segments that hold anything the cloud has not confirmed: what autonomy is reckoned by."""
        return sum(
            size
            for lane in self._lanes.values()
            for segment, size in lane.segment_sizes().items()
            if not self._is_confirmed(lane, lane.runs_in(segment))
        )

    def said(self) -> list[SealedFrame]:
        """Frames with loss records that were written since the last question; nobody has heard of them."""
        return [self._said.popleft() for _ in range(len(self._said))]

    def is_confirmed(self, lane: Lane, epoch: bytes, seq: int) -> bool:
        """Whether the cloud has a frame."""
        return not self._receipts.missing(lane, epoch, seq, seq)

    @contextmanager
    def room_for(self, lane: LaneJournal, size: int) -> Iterator[None]:
        """Hold room for `size` bytes while a frame is written. Raises StorageUnavailable when there is none."""
        self._own_folder()
        if lane.lane is not Lane.EVENTS and not lane.grows_by(size) and not self._is_below_floor():
            yield
            return
        with self._lock:
            growth = lane.grows_by(size)
            self._give_back_for_floor()
            if growth:
                self._make_room(lane, growth)
            yield

    def _is_below_floor(self) -> bool:
        return bool(self._limits.free_bytes_min) and self._lanes[Lane.EVENTS].free_bytes() < self._limits.free_bytes_min

    def _give_back_for_floor(self) -> None:
        """Others fill the disk: what is confirmed goes at once, the rest only for growth."""
        while self._is_below_floor() and self._take_confirmed(list(self._order())):
            pass

    def _order(self) -> Iterator[LaneJournal]:
        yield self._lanes[Lane.TELEMETRY]
        yield self._lanes[Lane.EVENTS]

    def _make_room(self, lane: LaneJournal, growth: int) -> None:
        telemetry = self._lanes[Lane.TELEMETRY]
        share = self._limits.bytes_max - self._limits.bytes_max // EVENTS_SHARE
        while lane is telemetry and telemetry.bytes_on_disk + growth > share:
            self._take([telemetry], [telemetry], f"telemetry holds {telemetry.bytes_on_disk} bytes")
        while self._lacks(growth):
            losers = [telemetry] if lane is telemetry else list(self._order())
            self._take(list(self._order()), losers, f"the journal holds {self.bytes_on_disk} bytes")

    def _lacks(self, growth: int) -> bool:
        if self.bytes_on_disk + growth > self._limits.bytes_max:
            return True
        floor = self._limits.free_bytes_min
        return bool(floor) and self._lanes[Lane.EVENTS].free_bytes() - growth < floor

    def _take(self, confirmed_of: list[LaneJournal], unconfirmed_of: list[LaneJournal], why: str) -> None:
        """Delete one segment. Raises StorageUnavailable when there is none that may go."""
        if self._take_confirmed(confirmed_of):
            return
        if self._limits.may_lose and any(self._take_unconfirmed(lane) for lane in unconfirmed_of):
            return
        raise StorageUnavailable(f"{why}, none of which may be deleted now")

    def _take_confirmed(self, lanes: list[LaneJournal]) -> bool:
        for lane in lanes:
            for segment, runs in lane.segment_ranges():
                if self._is_confirmed(lane, runs):
                    try:
                        self._receipts.write(self._receipts.cursor())  # a restart must know why the frames are gone
                    except StorageUnavailable:
                        pass  # a full disk is why we are here: at worst they are reported lost after a power cut
                    lane.delete_segment(segment)
                    return True
        return False

    def _is_confirmed(self, lane: LaneJournal, runs: list[Run]) -> bool:
        return not any(self._missing(lane, run) for run in runs)

    def _missing(self, lane: LaneJournal, run: Run) -> list[tuple[int, int]]:
        return self._receipts.missing(lane.lane, run.epoch, run.first_seq, run.last_seq)

    def _take_unconfirmed(self, lane: LaneJournal) -> bool:
        """Delete the oldest segment of a lane after a loss record says so durably; False when there is none."""
        for segment, runs in lane.segment_ranges():
            losses: list[Loss] = []
            frames = lane.frames_in(segment)
            for run in runs:
                for first, last in self._missing(lane, run):
                    here = [one for one in frames if one[0].epoch == run.epoch and first <= one[0].seq <= last]
                    if here:
                        losses.append(loss_of(lane.lane, here, (first, last), LossReason.SPACE))
                    else:
                        at_ms = frames[0][0].from_ms if frames else 0
                        losses.append(unreadable(lane.lane, run.epoch, (first, last), at_ms))
                    if lane.lane is Lane.EVENTS:
                        losses += self._losses.said_in(run.epoch, [(first, last)])
            self._say(joined(losses))
            lane.delete_segment(segment)
            self._lanes[Lane.EVENTS].make_loss_room()
            return True
        return False

    def _say(self, losses: list[Loss]) -> None:
        """Seal and fsync a frame of loss records. Its span is the seam between its neighbours: empty."""
        if not losses:
            return
        events = self._lanes[Lane.EVENTS]
        with events.turning:
            frame = self._sealed(events, losses)
            if events.grows_by(len(frame.data), loss=True):  # too much for the room that is kept: without names
                frame = self._sealed(events, [_without_series(loss) for loss in losses])
            events.append(frame, loss=True)
        self._said.append(frame)
        self._losses.carried(losses, frame.header)
        self._losses.forget_old(lambda epoch, seq: not self._receipts.missing(Lane.EVENTS, epoch, seq, seq))
        try:
            self._losses.write()
        except StorageUnavailable:
            return  # the frame is on disk, which is what counts; the book is written again with the receipts

    def _sealed(self, events: LaneJournal, losses: list[Loss]) -> SealedFrame:
        last, now = events.last_header, self._clock.now()
        cut = now
        at_ms = now.utc_ms
        if last is not None:
            at_ms = last.to_ms
            cut = type(now)(last.to_ms, last.monotonic_ms, last.clock_run, last.trusted, last.uncertainty_ms)
        return seal_next(events, self._sealer, Content(records=tuple(losses)), Span(at_ms, at_ms, cut, keyframe=False))


def _without_series(loss: Loss) -> Loss:
    return Loss(
        loss.lane, loss.epoch, loss.first_seq, loss.last_seq, loss.from_ms, loss.to_ms, loss.reason, loss.count,
        loss.first_hash, loss.last_hash,
    )  # fmt: skip
