"""What the uplink promises, shown against a cloud on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.columns import Numbers
from devices.reading import Lane, Series
from devices.receipt import Status
from edge.backoff import Backoff
from edge.clock import Clock
from edge.cloud_client import CloudClient
from edge.journal import Journal
from edge.kept import Columns, Kept
from edge.series import SeriesTable
from edge.uplink import DEPTH_MAX, Uplink
from tests.edge.small_cloud import SmallCloud, small_cloud
from tests.waiting import until

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


class Edge:
    """A journal and, while `sending`, its uplink."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.table = Clock(), SeriesTable()
        self.journal = Journal.open(folder, "gw-1", KEY, self.clock, self.table)
        self.produced: list[float] = []
        self.sealed = asyncio.Event()
        self.journal.subscribe(lambda _: self.sealed.set())

    def put(self, count: int, lane: Lane = Lane.EVENTS) -> None:
        """Readings 0, 1, 2 ... in the order of this gateway, each call at once."""
        values = [float(len(self.produced) + index) for index in range(count)]
        self.produced += values
        now = self.clock.now()
        series = [self.table.id_of(Series("pump-3", "run"))] * count
        columns = Columns(Numbers.of(series, [now.utc_ms] * count, values, [0] * count))
        kept = Kept(columns, None, urgent=True) if lane is Lane.EVENTS else Kept(None, columns)
        self.journal.put(kept, now)

    async def seal(self, frames: int) -> None:
        """Make that many events frames, as fast as the journal allows."""
        for _ in range(frames):
            count = self.journal.sealing[Lane.EVENTS].counters.readings
            self.put(1)
            async with asyncio.timeout(10):
                while self.journal.sealing[Lane.EVENTS].counters.readings == count:
                    self.sealed.clear()
                    await self.sealed.wait()

    @asynccontextmanager
    async def sealing(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.journal.run())
        try:
            yield
        finally:
            self.journal.stop()
            await task
            self.journal.close()

    @asynccontextmanager
    async def sending(self, url: str) -> AsyncIterator[Uplink]:
        client = CloudClient(url, "gw-1", KEY, self.clock)
        uplink = Uplink(self.journal, client, self.clock, Random(1), spread_s=0.0)
        uplink._backoff = Backoff(Random(2), first_s=0.02, cap_s=0.2)
        task = asyncio.create_task(uplink.run())
        try:
            yield uplink
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await client.close()


@pytest.fixture
async def cloud() -> AsyncIterator[SmallCloud]:
    clock = Clock()
    async with small_cloud(KEY.public_key(), lambda: clock.now().utc_ms) as one:
        yield one


def received(cloud: SmallCloud) -> list[float]:
    return sorted(value for lane in Lane for frame in cloud.frames(lane) for value in frame.content.numbers.value)


async def test_live_frames_arrive_once_and_are_receipted(tmp_path: Path, cloud: SmallCloud) -> None:
    edge = Edge(tmp_path)
    async with edge.sealing(), edge.sending(cloud.url) as uplink:
        await edge.seal(5)
        edge.put(3, Lane.TELEMETRY)
        await cloud.until(lambda: received(cloud) == edge.produced)
        async with asyncio.timeout(5):
            await uplink.drained(backlog=True)

        assert edge.journal.backlog_frames() == 0
        assert cloud.arrivals == len(cloud.stored)


async def test_a_backlog_goes_oldest_first_and_a_live_frame_does_not_wait_for_it(
    tmp_path: Path, cloud: SmallCloud
) -> None:
    edge = Edge(tmp_path)
    async with edge.sealing():
        await edge.seal(25)
        cloud.delay_s = 0.2
        async with edge.sending(cloud.url) as uplink:
            uplink._backlog_bytes = 1  # one frame a request: the backlog lasts a second
            await cloud.until(lambda: len(cloud.stored) >= 1)
            await edge.seal(1)
            await cloud.until(lambda: received(cloud) == edge.produced)

    order = [seq for batch in cloud.batches for _, _, seq in batch]
    live = max(order)
    old = [seq for seq in order if seq <= 25]

    assert all(abs(place - seq) <= DEPTH_MAX for place, seq in enumerate(old, 1))  # those in flight may overtake
    assert order.index(live) < order.index(25)


@pytest.mark.parametrize("fault", ["drop", "break", "500", "429", "nonsense"])
async def test_nothing_is_lost_and_nothing_doubled_whatever_the_cloud_does(
    tmp_path: Path, cloud: SmallCloud, fault: str
) -> None:
    edge = Edge(tmp_path)
    chance = Random(7)
    cloud.fault = lambda _: fault if chance.random() < 0.4 else ""
    async with edge.sealing(), edge.sending(cloud.url):
        for _ in range(5):
            await edge.seal(2)
            edge.put(2, Lane.TELEMETRY)
        await cloud.until(lambda: received(cloud) == edge.produced)

    assert received(cloud) == edge.produced


async def test_after_an_outage_the_backlog_starts_at_once_and_a_keyframe_follows(
    tmp_path: Path, cloud: SmallCloud
) -> None:
    edge = Edge(tmp_path)
    async with edge.sealing(), edge.sending(cloud.url) as uplink:
        await cloud.until(lambda: len(cloud.stored) == 1)
        await cloud.stop()
        await edge.seal(4)
        async with asyncio.timeout(10):
            while "cannot reach" not in uplink.state.problem:
                await uplink._changed()
        uplink._backoff = Backoff(Random(5), first_s=60.0)  # as after hours: a wait of up to a minute
        loop = asyncio.get_running_loop()
        await cloud.start()
        back_s = loop.time()
        await cloud.until(lambda: received(cloud) == edge.produced)
        drained_s = loop.time() - back_s
        await cloud.until(lambda: max(cloud.frames(Lane.EVENTS), key=lambda one: one.header.seq).header.keyframe)

    assert drained_s <= 15.0  # five times what is asked, and far below the back-off of 60 s


async def test_a_cloud_restored_from_a_backup_is_filled_again(tmp_path: Path, cloud: SmallCloud) -> None:
    edge = Edge(tmp_path)
    async with edge.sealing():
        async with edge.sending(cloud.url):
            await edge.seal(6)
            await cloud.until(lambda: received(cloud) == edge.produced)
        for name in list(cloud.stored)[2:4]:
            del cloud.stored[name]
        async with edge.sending(cloud.url):
            await cloud.until(lambda: received(cloud) == edge.produced)

    assert cloud.arrivals == len(cloud.stored) + 2


async def test_a_cloud_that_is_ahead_makes_the_journal_leave_its_epoch(tmp_path: Path, cloud: SmallCloud) -> None:
    first = Edge(tmp_path / "a")
    async with first.sealing(), first.sending(cloud.url):
        await first.seal(6)
        await cloud.until(lambda: received(cloud) == first.produced)
    lane = tmp_path / "a" / "events"
    segment = lane / "000000000001.seg"
    data = segment.read_bytes()
    for _ in range(3):  # the disk lost frames that were sent, without a trace
        data = data[: data.rindex(b"\xf5GHr")]
    segment.write_bytes(data)
    (tmp_path / "a" / "receipts.json").unlink()

    again = Edge(tmp_path / "a")
    async with again.sealing(), again.sending(cloud.url):
        await cloud.until(lambda: len({epoch for lane, epoch, _ in cloud.stored if lane is Lane.EVENTS}) == 2)

    assert sorted(seq for lane, _, seq in cloud.stored if lane is Lane.EVENTS)[:2] == [1, 1]


async def test_a_frame_to_be_repeated_is_read_again_and_a_refused_one_is_kept_without_blocking(
    tmp_path: Path, cloud: SmallCloud
) -> None:
    edge = Edge(tmp_path)
    cloud.verdicts = {(Lane.EVENTS, 2): [Status.RETRY, Status.RETRY], (Lane.EVENTS, 3): [Status.REFUSED]}
    async with edge.sealing(), edge.sending(cloud.url) as uplink:
        await edge.seal(5)
        lane = edge.journal.lane(Lane.EVENTS)

        def lacking() -> list[int]:
            ranges = edge.journal.receipts.of(Lane.EVENTS, lane.epoch).missing(1, lane.next_seq - 1)
            return [seq for first, last in ranges for seq in range(first, last + 1)]

        await until(lambda: "refused" in uplink.alarms and not set(lacking()) - {3})

        assert [seq for _, _, seq in cloud.stored if seq == 3] == []
        assert len(received(cloud)) == 4
        assert lacking() == [3]


def test_waits_are_jittered_and_never_longer_than_the_cap() -> None:
    backoff = Backoff(Random(3), first_s=0.5, cap_s=60.0)
    waits = [backoff.next_s() for _ in range(200)]

    assert max(waits) <= 60.0
    assert waits[0] <= 0.5
    assert max(waits[10:]) > 30.0 > min(waits[10:])
