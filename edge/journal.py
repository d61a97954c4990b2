"""The gateway's journal: two lanes of sealed frames, what the cloud has confirmed of them, and their space.

`put` takes what the filter kept; frames come out fsynced, in order, and are announced to subscribers. What
was announced survives a power cut and is kept until the cloud's Receipt, then until its space is needed.
"""

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.columns import Confirmations
from devices.errors import ConfigurationError, Problem, StorageUnavailable
from devices.frame import Content, Origin, SealedFrame
from devices.reading import Lane
from devices.records import Inventory, Link, ProfileText, Record
from devices.segments import SEGMENT_BYTES
from edge.clock import Clock, Moment
from edge.kept import Columns, Kept
from edge.lane_journal import LaneJournal
from edge.receipts import Receipts
from edge.sealing import Extra, LaneSealing, Sealer
from edge.series import SeriesTable

JOURNAL_BYTES_MAX = 2 * 1024**3  # about three days of a busy site, on the smallest disk worth buying
URGENT_DELAY_S = 0.0
POSE_DELAY_S = 5.0
DELAY_S = 1.0
KEYFRAME_INTERVAL_MS = 3_600_000
RECEIPTS_SAVE_S = 5.0
_RECEIPTS_FILE = "receipts.json"
_LOCK_FILE = "lock"


class JournalSpace:
    """The hard bound on the journal's bytes, checked at every append.

    Receipted segments go first, oldest first, telemetry before events. Telemetry may not take the last
    quarter: that is reserved for events.
    """

    def __init__(self, lanes: dict[Lane, LaneJournal], receipts: Receipts, bytes_max: int) -> None:
        self._lanes = lanes
        self._receipts = receipts
        self._bytes_max = bytes_max
        self._lock = threading.Lock()  # both lanes' threads ask

    @property
    def bytes_on_disk(self) -> int:
        """Space taken by both lanes."""
        return sum(lane.bytes_on_disk for lane in self._lanes.values())

    @contextmanager
    def room_for(self, lane: LaneJournal, size: int) -> Iterator[None]:
        """Hold room for `size` bytes while the frame is written. Raises StorageUnavailable when there is none."""
        growth = lane.grows_by(size)
        if not growth:
            yield
            return
        with self._lock:
            self._make_room(lane, growth)
            yield

    def _make_room(self, lane: LaneJournal, growth: int) -> None:
        telemetry = self._lanes[Lane.TELEMETRY]
        share = self._bytes_max if lane.lane is Lane.EVENTS else self._bytes_max - self._bytes_max // 4
        while self.bytes_on_disk + growth > self._bytes_max or (
            lane is telemetry and telemetry.bytes_on_disk + growth > share
        ):
            if not self._delete_one(telemetry) and not self._delete_one(self._lanes[Lane.EVENTS]):
                raise StorageUnavailable(f"the journal holds {self.bytes_on_disk} bytes, all not yet confirmed")

    def _delete_one(self, lane: LaneJournal) -> bool:
        """Delete the oldest segment when the cloud has all of it."""
        for segment, ends in lane.segment_ranges():
            if all(last <= self._receipts.contiguous(lane.lane, epoch) for epoch, last in ends):
                lane.delete_segment(segment)
                return True
            return False
        return False


class Journal:
    """Open with `Journal.open`, run `run` as a task, feed it with `put`; `stop` and then `close` end it."""

    def __init__(
        self, folder: Path, lock: int, lanes: dict[Lane, LaneJournal], receipts: Receipts, *, clock: Clock,
        sealer: Sealer, bytes_max: int,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._lock = lock
        self._lanes = lanes
        self.gateway = sealer.gateway
        self.receipts = receipts
        self._clock = clock
        self.space = JournalSpace(lanes, receipts, bytes_max)
        self._subscribers: list[Callable[[SealedFrame], None]] = []
        self._confirmations: Callable[[], Confirmations] = Confirmations.empty
        self._links: Callable[[Moment], Sequence[Link]] = lambda _: ()
        self._inventory: Inventory | None = None
        self._profiles: tuple[ProfileText, ...] = ()
        self._run = b""
        self._keyframe_ms = 0
        self._keyframe_wanted = True
        self._announcement_wanted = True
        self.sealing = {
            lane: LaneSealing(
                journal,
                sealer,
                clock,
                space=self.space,
                on_sealed=self.tell,
                extra=self._extra if lane is Lane.EVENTS else _nothing_extra,
                on_loss=self.want_keyframe,
            )
            for lane, journal in lanes.items()
        }

    @classmethod
    def open(
        cls,
        folder: Path,
        gateway: str,
        key: Ed25519PrivateKey,
        clock: Clock,
        table: SeriesTable,
        *,
        origin: Origin = Origin.LIVE,
        bytes_max: int = JOURNAL_BYTES_MAX,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> Self:
        """Open or create; recovers from any torn or damaged file by itself.

        Raises ConfigurationError when another process holds the journal or it belongs to another gateway,
        StorageUnavailable when the disk cannot be used.
        """
        lock = lock_folder(folder)
        try:
            lanes = {lane: LaneJournal.open(folder / lane, gateway, lane, segment_bytes) for lane in Lane}
            receipts = Receipts.load(folder / _RECEIPTS_FILE)
        except (ConfigurationError, StorageUnavailable):
            os.close(lock)
            raise
        for lane, journal in lanes.items():
            if receipts.contiguous(lane, journal.epoch) >= journal.next_seq:
                journal.begin_epoch()  # the disk lost what it had said was safe: these numbers are taken
        sealer = Sealer.of(gateway, key, origin, table.__getitem__)
        return cls(folder, lock, lanes, receipts, clock=clock, sealer=sealer, bytes_max=bytes_max)

    def lane(self, lane: Lane) -> LaneJournal:
        """One lane's frames on disk."""
        return self._lanes[lane]

    def subscribe(self, hear: Callable[[SealedFrame], None]) -> None:
        """Let `hear` be called in the loop with each frame after its fsync."""
        self._subscribers.append(hear)

    def confirm_from(
        self, confirmations: Callable[[], Confirmations], links: Callable[[Moment], Sequence[Link]] = lambda _: ()
    ) -> None:
        """Where keyframes get their entries (`Filter.confirmations`, `Collector.links`)."""
        self._confirmations = confirmations
        self._links = links

    def announce(self, inventory: Inventory, profiles: Sequence[ProfileText]) -> None:
        """What this gateway reads, from now on; goes into the next frame and is repeated where the design says so."""
        self._inventory = inventory
        self._profiles = tuple(profiles)
        self._announcement_wanted = True
        self.sealing[Lane.EVENTS].hurry()

    def want_keyframe(self) -> None:
        """Let the next events frame repeat everything: an outage of the link or of the disk ended."""
        self._keyframe_wanted = self._announcement_wanted = True
        self.sealing[Lane.EVENTS].hurry()

    def put(self, kept: Kept, handled: Moment) -> None:
        """Take what the filter kept. Never waits: while the disk takes nothing it stays in memory, bounded."""
        if kept.events is not None:
            only_poses = not (len(kept.events.numbers) or len(kept.events.texts) or kept.events.links)
            delay_s = URGENT_DELAY_S if kept.urgent else POSE_DELAY_S if only_poses else DELAY_S
            self.sealing[Lane.EVENTS].put(_content(kept.events), handled, delay_s)
        if kept.telemetry is not None:
            self.sealing[Lane.TELEMETRY].put(_content(kept.telemetry), handled, DELAY_S)

    async def stored(self, within_s: float) -> int:
        """Wait until what was put so far is on disk, which is sealed within `within_s` seconds.

        Gives the number of readings that were ever dropped because the disk took nothing: when it grew, what was put
        meanwhile may not be there.
        """
        return sum(await asyncio.gather(*(one.stored(within_s) for one in self.sealing.values())))

    def put_record(self, record: Record, handled: Moment) -> None:
        """Seal one record on the events lane at once."""
        self.sealing[Lane.EVENTS].put(Content(records=(record,)), handled, URGENT_DELAY_S)

    def begin_epoch(self, lane: Lane) -> None:
        """The cloud knows frames of the present epoch that this journal never made: leave it."""
        if lane is Lane.EVENTS:
            self._keyframe_wanted = self._announcement_wanted = True
        self.sealing[lane].begin_epoch()

    async def run(self) -> None:
        """Seal both lanes and save what is confirmed, until `stop`."""
        async with asyncio.TaskGroup() as group:
            saver = group.create_task(self._save_receipts(), name="save-receipts")
            lanes = [group.create_task(one.run(), name=f"seal-{lane}") for lane, one in self.sealing.items()]
            await asyncio.wait(lanes)
            saver.cancel()

    def stop(self) -> None:
        """Make `run` seal what is there once more and return."""
        for sealing in self.sealing.values():
            sealing.stop()

    def close(self) -> None:
        """Save what is confirmed, close the files, give the folder free. Raises StorageUnavailable."""
        try:
            for sealing in self.sealing.values():
                sealing.close()
            self.receipts.write(self.receipts.cursor())
        finally:
            os.close(self._lock)

    @property
    def problem(self) -> str:
        """Why the disk takes nothing at present, empty when it does."""
        return next((one.counters.problem for one in self.sealing.values() if one.counters.problem), "")

    def backlog_frames(self, lanes: Sequence[Lane] = tuple(Lane)) -> int:
        """How many frames on disk the cloud has not confirmed."""
        return sum(
            high - low + 1
            for lane, journal in ((lane, self._lanes[lane]) for lane in lanes)
            for epoch, first, last in journal.ranges()
            for low, high in self.receipts.of(lane, epoch).missing(first, last)
        )

    async def _save_receipts(self) -> None:
        while True:
            await asyncio.sleep(RECEIPTS_SAVE_S)
            try:
                await asyncio.to_thread(self.receipts.write, self.receipts.cursor())
            except StorageUnavailable as error:
                self.sealing[Lane.EVENTS].counters.problem = str(error)  # sealing will meet it, too

    def tell(self, frame: SealedFrame) -> None:
        """Announce a frame that is on disk."""
        for hear in self._subscribers:
            hear(frame)

    def _extra(self, moment: Moment) -> Extra | None:
        """Keyframe, inventory, profiles and clock fixes, where they are due."""
        if moment.run != self._run:
            self._run = moment.run
            self._keyframe_wanted = self._announcement_wanted = True
        keyframe = self._keyframe_wanted or moment.monotonic_ms - self._keyframe_ms >= KEYFRAME_INTERVAL_MS
        if not keyframe and not self._announcement_wanted:
            return None
        records: list[Record] = list(self._clock.fixes)
        if self._announcement_wanted and self._inventory is not None:
            records += [*self._profiles, self._inventory]
        if keyframe:
            self._keyframe_ms = moment.monotonic_ms
            records += self._links(moment)
        self._keyframe_wanted = self._announcement_wanted = False
        confirmations = self._confirmations() if keyframe else Confirmations.empty()
        return Extra(Content(confirmations=confirmations, records=tuple(records)), keyframe)


def lock_folder(folder: Path) -> int:
    """Hold a folder for this process until the handle is closed or the process dies.

    Raises ConfigurationError when another process holds it, StorageUnavailable when it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageUnavailable(f"cannot write in {folder}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise ConfigurationError([Problem(str(folder), 0, 0, "another gatehouse process uses this folder")]) from None
    return handle


def _content(columns: Columns) -> Content:
    return Content(numbers=columns.numbers, texts=columns.texts, poses=columns.poses, records=columns.links)


def _nothing_extra(_moment: Moment) -> None:
    return None
