"""accepted = delivered + lost, in the whole cloud: after a long outage, and after yesterday's backup was put back."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from cloud.aggregator import Aggregator
from cloud.facts.database import open_database
from cloud.facts.progress import losses_known
from cloud.ingest.gateways import GatewayRegister
from cloud.ingest.log_segments import SegmentLog
from cloud.settings import Places, owning
from devices.frame import read_header
from devices.reading import Lane
from edge.cloud_client import CloudClient
from edge.uplink import Uplink
from tests.cloud.sealed import now_ms
from tests.edge.journal_world import KEY, SEGMENT_BYTES, World
from tests.waiting import until

Identity = tuple[Lane, bytes, int]


@asynccontextmanager
async def delivering(world: World, data_dir: Path) -> AsyncIterator[None]:
    """The whole cloud, and the gateway's uplink to it; both end when everything that was sealed is delivered."""
    async with the_cloud(data_dir) as address:
        client = CloudClient(address, "gw-1", KEY, world.clock, None)
        uplink = Uplink(world.journal, client, world.clock, Random(1), spread_s=0.0)
        sending = asyncio.create_task(uplink.run(), name="uplink")
        try:
            yield
            await until(lambda: uplink.state.connected and world.journal.backlog_frames() == 0, "delivery")
        finally:
            sending.cancel()
            await asyncio.wait({sending})
            await client.close()
            world.journal._subscribers.clear()


@asynccontextmanager
async def the_cloud(data_dir: Path) -> AsyncIterator[str]:
    """The aggregator with everything it runs, in this process; its address."""
    stop = asyncio.Event()
    with owning(data_dir) as places, socket.create_server(("127.0.0.1", 0)) as listening:
        aggregator = Aggregator(places)
        serving = asyncio.create_task(aggregator.run(listening, stop), name="cloud")
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            await until(aggregator.processor.is_current, "the facts")
        finally:
            stop.set()
            await serving
            aggregator.close()


def in_log(data_dir: Path) -> set[Identity]:
    def read() -> Iterator[Identity]:
        log = SegmentLog(Places(data_dir).log)
        for lane in Lane:
            position = 0
            while entries := log.read(lane, position, 1000):
                for entry in entries:
                    header = read_header(entry.data)
                    yield lane, header.epoch, header.seq
                position = entries[-1].position
        log.close()

    return set(read())


def lost(data_dir: Path) -> set[Identity]:
    facts = open_database(Places(data_dir).facts)
    ranges = losses_known(facts)
    facts.dispose()
    return {(Lane(lane), epoch, seq) for _, lane, epoch, low, high in ranges for seq in range(low, high + 1)}


def read_on(world: World, frames: int) -> None:
    for number in range(frames):
        world.seal(Lane.TELEMETRY)
        if number % 10 == 0:
            world.seal(Lane.EVENTS, 5)


def registered(data_dir: Path) -> Path:
    keys = GatewayRegister(Places(data_dir).gateways)
    keys.add("gw-1", "test-site", KEY.public_key(), now_ms())
    keys.close()
    return data_dir


async def test_after_an_outage_longer_than_the_journal_the_cloud_has_every_frame_or_its_loss_record(
    tmp_path: Path,
) -> None:
    data_dir = registered(tmp_path / "cloud")
    world = World(tmp_path / "journal", bytes_max=12 * SEGMENT_BYTES)
    read_on(world, 250)
    async with delivering(world, data_dir):
        read_on(world, 5)

    delivered, gone = in_log(data_dir), lost(data_dir)
    assert set(world.accepted) == delivered | gone
    assert not delivered & gone
    assert {lane for lane, _, _ in gone} == {Lane.TELEMETRY}
    world.journal.close()


async def test_a_cloud_from_yesterdays_backup_has_every_frame_again_or_a_loss_record_of_it(tmp_path: Path) -> None:
    data_dir, backup = registered(tmp_path / "cloud"), tmp_path / "backup"
    world = World(tmp_path / "journal", bytes_max=12 * SEGMENT_BYTES)
    async with delivering(world, data_dir):
        read_on(world, 60)
    shutil.copytree(data_dir, backup)
    async with delivering(world, data_dir):
        read_on(world, 60)
    before = in_log(data_dir)
    for _ in range(2):  # takes the room of what is confirmed
        read_on(world, 60)
        world.confirm(Lane.TELEMETRY, 1, world.journal.lane(Lane.TELEMETRY).next_seq - 1)

    shutil.rmtree(data_dir)
    shutil.copytree(backup, data_dir)
    async with delivering(world, data_dir):
        await until(lambda: world.journal.accounts.losses.unsaid, "what is gone to be noticed")
        world.seal(Lane.EVENTS, 5)

    delivered, gone = in_log(data_dir), lost(data_dir) - in_log(data_dir)
    assert before == in_log(backup) | before
    assert gone
    assert set(world.accepted) == delivered | gone
    assert {lane for lane, _, _ in gone} == {Lane.TELEMETRY}
    world.journal.close()
