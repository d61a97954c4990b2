"""A journal that is written without an event loop, and a cloud of a few sets that keeps the books."""

from collections.abc import Container, Iterator
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.columns import Numbers
from devices.disk import Disk
from devices.frame import Content, Frame, Header, Origin, decode_frame
from devices.reading import Lane, Series
from devices.receipt import LaneState
from devices.records import Loss
from devices.sequences import SeqRanges
from edge.clock import Clock, Moment
from edge.journal import Journal
from edge.sealer import Sealer, Span
from edge.series import SeriesTable
from edge.writer import LaneWriter, SealingCounters
from tests.edge.broken_disk import UnsyncedDisk

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
START_MS = 1_780_000_000_000
SERIES = Series("pump-3", "run")
SEGMENT_BYTES = 8192


class World:
    """One gateway. `accepted` is what was sealed: header and readings of every frame that counts."""

    def __init__(self, folder: Path, disk: Disk | None = None, **limits: int) -> None:
        self.folder = folder
        self.disk = disk or UnsyncedDisk()
        self.limits = {"segment_bytes": SEGMENT_BYTES, "bytes_max": 2**30, **limits}
        self.now_ms = START_MS
        self.noise = np.random.default_rng(7)
        self.accepted: dict[tuple[Lane, bytes, int], Header] = {}
        self.open()

    def open(self) -> Journal:
        table = SeriesTable()
        table.id_of(SERIES)
        self.clock = Clock()
        self.journal = Journal.open(self.folder, "gw-1", KEY, self.clock, table, disk=self.disk, **self.limits)  # type: ignore[arg-type]
        sealer = Sealer.of("gw-1", KEY, Origin.LIVE, table.__getitem__)
        self.counters = {lane: SealingCounters() for lane in Lane}
        self.writers = {
            lane: LaneWriter(self.journal.lane(lane), sealer, self.journal.space, self.counters[lane]) for lane in Lane
        }
        return self.journal

    def reopen(self) -> Journal:
        self.journal.close()
        return self.open()

    def seal(self, lane: Lane, readings: int = 60, *, minutes_later: float = 0) -> Header:
        """One frame, and what the loop does with it: losses that wait go along on the events lane."""
        self.now_ms += 1000 + round(60_000 * minutes_later)
        lost = tuple(self.journal.accounts.unsaid()) if lane is Lane.EVENTS else ()
        values = self.noise.normal(size=readings)
        numbers = Numbers.of([0] * readings, [self.now_ms] * readings, values.tolist(), [0] * readings)
        moment = Moment(self.now_ms, self.now_ms, b"runrunru", trusted=True, uncertainty_ms=0)
        span = Span(self.now_ms - 1000, self.now_ms, moment, keyframe=False)
        frame = self.writers[lane].write(Content((SERIES,), numbers, records=lost), span)
        for one in (*self.journal.space.said(), frame):
            self.journal.tell(one)
            self.accepted[one.header.lane, one.header.epoch, one.header.seq] = one.header
        while self.writers[lane].dropped:
            self.journal._dropped(self.writers[lane].dropped.popleft())
        return frame.header

    def bytes_in_files(self) -> int:
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.suffix in {".seg", ".idx"})

    def held(self, lane: Lane, known: Container[tuple[Lane, bytes, int]] = ()) -> Iterator[Frame]:
        """Frames that can be read, but for those that are known; the others are reported as the uplink does."""
        journal = self.journal.lane(lane)
        for epoch, first, last in journal.ranges():
            for seq in range(first, last + 1):
                if (lane, epoch, seq) in known:
                    continue
                try:
                    yield decode_frame(journal.read(epoch, seq))
                except KeyError:
                    self.journal.lose(lane, epoch, seq)

    def confirm(self, lane: Lane, first: int, last: int) -> None:
        self.journal.receipts.add(lane, self.journal.lane(lane).epoch, first, last)


def fill(world: World, lane: Lane, count: int) -> None:
    """Seal until `count` segments were begun."""
    begun = {world.journal.lane(lane).open_segment}
    while len(begun) <= count:
        world.seal(lane)
        begun.add(world.journal.lane(lane).open_segment)


class SmallLog:
    """What a cloud has: frames by identity, and the ranges under loss records."""

    def __init__(self) -> None:
        self.frames: dict[tuple[Lane, bytes, int], Frame] = {}

    def take(self, world: World, lanes: tuple[Lane, ...] = tuple(Lane)) -> None:
        """Everything that the journal holds arrives and is confirmed."""
        for lane in lanes:
            for frame in list(world.held(lane, self.frames)):
                header = frame.header
                self.frames[lane, header.epoch, header.seq] = frame
            for one, epoch, seq in self.frames:
                world.journal.receipts.add(one, epoch, seq, seq)

    @property
    def losses(self) -> list[Loss]:
        events = (one for (lane, _, _), one in sorted(self.frames.items()) if lane is Lane.EVENTS)
        return [record for frame in events for record in frame.content.records if isinstance(record, Loss)]

    def lost(self) -> set[tuple[Lane, bytes, int]]:
        """Identities under a loss record that did not arrive."""
        under = {
            (Lane(loss.lane), loss.epoch, seq)
            for loss in self.losses
            for seq in range(loss.first_seq, loss.last_seq + 1)
        }
        return under - set(self.frames)

    def answer(self) -> tuple[LaneState, ...]:
        """The complete Receipt."""
        known: dict[tuple[Lane, bytes], SeqRanges] = {}
        for lane, epoch, seq in {*self.frames, *self.lost()}:
            known.setdefault((lane, epoch), SeqRanges()).add(seq, seq)
        return tuple(
            LaneState(lane, epoch.hex(), one.contiguous, one.highest, one.gaps(100))
            for (lane, epoch), one in known.items()
        )

    def connect(self, world: World) -> None:
        """The gateway asks what is here and says what it can."""
        world.journal.receipts.replace("log-1", self.answer())
        world.journal.compare()
