"""The gateway's journal: two lanes of sealed frames, what the cloud has confirmed of them, and their space.

`put` takes what the filter kept; frames come out fsynced, in order, and are announced to subscribers. What
was announced survives a power cut and is kept until the cloud's Receipt, then until its space is needed.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.columns import Confirmations
from devices.disk import MACHINE, Disk
from devices.errors import ConfigurationError, StorageUnavailable
from devices.frame import Content, Origin, SealedFrame
from devices.reading import Lane
from devices.records import Inventory, Link, Loss, LossReason, ProfileText, Record
from devices.segments import SEGMENT_BYTES
from edge.accounting import Accounts
from edge.clock import Clock, Moment
from edge.folder_lock import FolderLock
from edge.journal_settings import JOURNAL_BYTES_MAX
from edge.kept import Columns, Kept
from edge.lane_journal import LaneJournal
from edge.losses import LossBook
from edge.ram_buffer import Dropped
from edge.receipts import Receipts
from edge.sealer import Sealer
from edge.sealing import Extra, LaneSealing
from edge.series import SeriesTable
from edge.space import JournalSpace, SpaceLimits

SEGMENTS_MIN = 64  # the bound is kept by whole segments: smaller ones for a small journal
SEGMENT_BYTES_MIN = 64 * 1024
URGENT_DELAY_S = 0.0
POSE_DELAY_S = 5.0
DELAY_S = 1.0
KEYFRAME_INTERVAL_MS = 3_600_000
RECEIPTS_SAVE_S = 5.0
_RECEIPTS_FILE = "receipts.json"
_LOSSES_FILE = "losses.bin"


class Journal:
    """Open with `Journal.open`, run `run` as a task, feed it with `put`; `stop` and then `close` end it."""

    def __init__(
        self, lock: FolderLock, lanes: dict[Lane, LaneJournal], accounts: Accounts, *, clock: Clock, sealer: Sealer,
        limits: SpaceLimits,
    ) -> None:  # fmt: skip
        self._lock = lock
        self._lanes = lanes
        self.gateway = sealer.gateway
        self.accounts = accounts
        self.receipts = accounts.receipts
        self._clock = clock
        self.space = JournalSpace(
            lanes, accounts.receipts, accounts.losses, limits, sealer=sealer, clock=clock, own_folder=lock.hold
        )
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
                on_dropped=self._dropped,
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
        free_bytes_min: int = 0,
        segment_bytes: int | None = None,
        disk: Disk = MACHINE,
    ) -> Self:
        """Open or create; recovers from any torn or damaged file by itself.

        The journal of a live gateway also opens on a disk that takes nothing now. Raises ConfigurationError when
        another process holds the journal or it is another gateway's or a newer version's; an import's journal also
        StorageUnavailable when the disk cannot be used.
        """
        patient = origin is Origin.LIVE
        if segment_bytes is None:
            segment_bytes = min(SEGMENT_BYTES, max(SEGMENT_BYTES_MIN, bytes_max // SEGMENTS_MIN))
        lock = FolderLock(folder)
        try:
            lock.hold()
        except StorageUnavailable:
            if not patient:
                raise
        try:
            lanes = {
                lane: LaneJournal.open(folder / lane, gateway, lane, segment_bytes, disk, patient=patient)
                for lane in Lane
            }
            receipts = Receipts.load(folder / _RECEIPTS_FILE, disk, patient=patient)
        except (ConfigurationError, StorageUnavailable):
            lock.release()
            raise
        for lane, journal in lanes.items():
            if journal.epoch and receipts.contiguous(lane, journal.epoch) >= journal.next_seq:
                journal.want_epoch()  # the disk lost what it had said was safe: these numbers are taken
                with suppress(StorageUnavailable):
                    journal.prepare()
        accounts = Accounts(lanes, receipts, LossBook.load(folder / _LOSSES_FILE, disk))
        sealer = Sealer.of(gateway, key, origin, table.__getitem__)
        limits = SpaceLimits(bytes_max, free_bytes_min, may_lose=patient)
        self = cls(lock, lanes, accounts, clock=clock, sealer=sealer, limits=limits)
        if patient:
            accounts.look_for_gaps()
            with suppress(StorageUnavailable):
                accounts.losses.write()  # what a torn tail told is told once
        return self

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

    def compare(self) -> None:
        """The cloud told all that it holds: what neither it nor this journal has gets a loss record."""
        if self.accounts.look_for_gone():
            self.sealing[Lane.EVENTS].hurry()

    def lose(self, lane: Lane, epoch: bytes, seq: int) -> None:
        """A frame on disk cannot be read any more: the next events frame says so. May be called from any thread."""
        self.accounts.add_damaged(lane, epoch, seq)

    def _dropped(self, dropped: Dropped) -> None:
        self.accounts.add_frames(dropped.frames, LossReason.MEMORY)
        self.sealing[Lane.EVENTS].hurry()

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
            self.accounts.write()
        finally:
            self._lock.release()

    @property
    def problem(self) -> str:
        """Why the disk takes nothing at present, empty when it does."""
        problem = next((one.counters.problem for one in self.sealing.values() if one.counters.problem), "")
        in_memory = sum(len(lane.ram) for lane in self._lanes.values())
        return f"{problem}; frames kept in memory: {in_memory}" if in_memory else problem

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
                await asyncio.to_thread(self.accounts.write)
            except StorageUnavailable as error:
                self.sealing[Lane.EVENTS].counters.problem = str(error)  # sealing will meet it, too

    def tell(self, frame: SealedFrame) -> None:
        """Announce a frame that is kept."""
        self.accounts.losses.hear(frame)
        for hear in self._subscribers:
            hear(frame)

    def _extra(self, moment: Moment) -> Extra | None:
        """Keyframe, inventory, profiles and clock fixes, where they are due."""
        if moment.run != self._run:
            self._run = moment.run
            self._keyframe_wanted = self._announcement_wanted = True
        keyframe = self._keyframe_wanted or moment.monotonic_ms - self._keyframe_ms >= KEYFRAME_INTERVAL_MS
        lost: list[Loss] = self.accounts.unsaid()
        keyframe = keyframe or bool(lost)
        if not keyframe and not self._announcement_wanted:
            return None
        records: list[Record] = [*self._clock.fixes, *lost]
        if self._announcement_wanted and self._inventory is not None:
            records += [*self._profiles, self._inventory]
        if keyframe:
            self._keyframe_ms = moment.monotonic_ms
            records += self._links(moment)
        self._keyframe_wanted = self._announcement_wanted = False
        confirmations = self._confirmations() if keyframe else Confirmations.empty()
        return Extra(Content(confirmations=confirmations, records=tuple(records)), keyframe)


def _content(columns: Columns) -> Content:
    return Content(numbers=columns.numbers, texts=columns.texts, poses=columns.poses, records=columns.links)


def _nothing_extra(_moment: Moment) -> None:
    return None
