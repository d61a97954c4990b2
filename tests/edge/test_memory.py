"""A disk that takes nothing: frames go on in memory, in an epoch of their own, and to the disk when it can."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from devices.columns import Numbers
from devices.frame import Origin, decode_frame, verify_frame
from devices.reading import Lane
from devices.records import LossReason
from edge import ram_buffer
from edge.clock import Clock
from edge.cloud_client import CloudClient
from edge.journal import Journal
from edge.kept import Columns, Kept
from edge.series import SeriesTable
from edge.uplink import Uplink
from edge.writer import RETRY_S
from tests.edge.broken_disk import BrokenDisk
from tests.edge.journal_world import KEY, SERIES, SmallLog, World
from tests.edge.small_cloud import small_cloud


@pytest.fixture
def disk() -> BrokenDisk:
    return BrokenDisk()


def recover(world: World) -> None:
    """The time of waiting is over: the disk is tried again."""
    for writer in world.writers.values():
        writer.retry_s = 0.0
        writer.recover()


def test_frames_in_memory_are_marked_have_an_epoch_of_their_own_and_are_signed(
    tmp_path: Path, disk: BrokenDisk
) -> None:
    world = World(tmp_path, disk)
    on_disk = [world.seal(Lane.EVENTS) for _ in range(3)][-1]
    disk.read_only = True

    first, second = world.seal(Lane.EVENTS), world.seal(Lane.EVENTS)

    journal = world.journal.lane(Lane.EVENTS)
    assert (first.origin, first.seq, second.seq) == (Origin.RAM, 1, 2)
    assert first.epoch == second.epoch != on_disk.epoch
    assert first.previous_epoch is not None
    assert (first.previous_epoch.epoch, first.previous_epoch.last_seq) == (on_disk.epoch, 3)
    assert first.previous_epoch.last_hash == journal.last_hash
    assert journal.ranges() == [(on_disk.epoch, 1, 3), (first.epoch, 1, 2)]
    verify_frame(journal.read(second.epoch, 2), KEY.public_key())
    assert decode_frame(journal.read(first.epoch, 1)).hash == second.previous_hash
    assert "Read-only" in world.counters[Lane.EVENTS].problem


@pytest.mark.parametrize("fault", ["read_only", "full"])
def test_when_the_disk_takes_frames_again_those_in_memory_are_written_as_they_are(
    tmp_path: Path, disk: BrokenDisk, fault: str
) -> None:
    world, log = World(tmp_path, disk), SmallLog()
    before = world.seal(Lane.TELEMETRY)
    setattr(disk, fault, True)
    while not len(world.journal.lane(Lane.TELEMETRY).ram) > 3:
        world.seal(Lane.TELEMETRY)
    setattr(disk, fault, False)

    recover(world)
    after = world.seal(Lane.TELEMETRY)
    world.reopen()
    log.take(world)

    assert len(world.journal.lane(Lane.TELEMETRY).ram) == 0
    assert after.epoch == before.epoch == world.journal.lane(Lane.TELEMETRY).epoch
    assert set(log.frames) == set(world.accepted)
    assert log.losses == []


def test_a_start_right_after_frames_from_memory_were_written_goes_on_in_the_old_epoch(
    tmp_path: Path, disk: BrokenDisk
) -> None:
    world = World(tmp_path, disk)
    before = world.seal(Lane.EVENTS)
    disk.read_only = True
    world.seal(Lane.EVENTS)
    disk.read_only = False
    recover(world)

    world.reopen()

    assert world.seal(Lane.EVENTS).epoch == before.epoch
    assert len(list(world.held(Lane.EVENTS))) == 3


def test_what_was_delivered_from_memory_is_not_written(tmp_path: Path, disk: BrokenDisk) -> None:
    world, log = World(tmp_path, disk), SmallLog()
    world.seal(Lane.TELEMETRY)
    disk.read_only = True
    in_memory = world.seal(Lane.TELEMETRY)
    log.take(world)
    disk.read_only = False
    recover(world)

    assert [epoch for epoch, _, _ in world.journal.lane(Lane.TELEMETRY).ranges() if epoch == in_memory.epoch] == []


async def test_while_the_disk_takes_nothing_frames_reach_the_cloud_from_memory(
    tmp_path: Path, disk: BrokenDisk
) -> None:
    clock, table = Clock(), SeriesTable()
    pump = table.id_of(SERIES)
    disk.read_only = True
    journal = Journal.open(tmp_path / "journal", "gw-1", KEY, clock, table, disk=disk)
    async with small_cloud(KEY.public_key(), lambda: clock.now().utc_ms) as cloud:
        client = CloudClient(cloud.url, "gw-1", KEY, clock)
        tasks = [
            asyncio.create_task(one)
            for one in (journal.run(), Uplink(journal, client, clock, Random(1), spread_s=0.0).run())
        ]
        now = clock.now()
        journal.put(Kept(Columns(Numbers.of([pump], [now.utc_ms], [7.0], [0])), None, urgent=True), now)
        await cloud.until(lambda: 7.0 in [v for one in cloud.frames(Lane.EVENTS) for v in one.content.numbers.value])
        problem, unstored = journal.problem, journal.sealing[Lane.EVENTS].counters.problem
        disk.read_only = False
        await cloud.until(lambda: {one.header.origin for one in cloud.frames(Lane.EVENTS)} == set(Origin) - IMPORT)
        journal.stop()
        await tasks[0]
        tasks[1].cancel()
        await asyncio.wait(tasks)
        await client.close()
        journal.close()

    assert "frames kept in memory" in problem
    assert "Read-only" in unstored
    assert cloud.frames(Lane.EVENTS)[0].header.origin is Origin.RAM


IMPORT = {Origin.IMPORT}


def test_memory_has_a_bound_and_what_goes_is_told(
    tmp_path: Path, disk: BrokenDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ram_buffer.RamBuffer.__init__, "__defaults__", (10_000,))
    world, log = World(tmp_path, disk), SmallLog()
    world.seal(Lane.EVENTS)
    disk.read_only = True
    for _ in range(60):
        world.seal(Lane.TELEMETRY)
    memory = world.journal.lane(Lane.TELEMETRY).ram

    assert memory.size_bytes <= 10_000
    disk.read_only = False
    recover(world)
    world.seal(Lane.EVENTS)
    log.take(world)
    assert {loss.reason for loss in log.losses} == {LossReason.MEMORY}
    assert set(world.accepted) == set(log.frames) | log.lost()
    assert world.counters[Lane.TELEMETRY].dropped_readings == sum(loss.count or 0 for loss in log.losses)


def test_the_disk_is_left_alone_for_a_second_after_it_failed(tmp_path: Path, disk: BrokenDisk) -> None:
    world = World(tmp_path, disk)
    world.seal(Lane.EVENTS)
    disk.read_only = True
    tried: list[str] = []
    disk.before = lambda call, _: tried.append(call)

    for _ in range(20):
        world.seal(Lane.EVENTS)

    assert RETRY_S == 1.0
    assert len(tried) < 20


def test_an_agent_that_starts_on_a_disk_that_takes_nothing_goes_on_and_writes_when_it_can(
    tmp_path: Path, disk: BrokenDisk
) -> None:
    disk.read_only = True
    world, log = World(tmp_path / "journal", disk), SmallLog()

    frames = [world.seal(lane) for lane in (*Lane, *Lane)]

    assert {frame.origin for frame in frames} == {Origin.RAM}
    disk.read_only = False
    recover(world)
    later = world.seal(Lane.EVENTS)
    world.reopen()
    log.take(world)
    assert later.origin is Origin.LIVE
    assert set(log.frames) == set(world.accepted)


def test_an_agent_that_starts_on_a_read_only_disk_sends_what_is_there(tmp_path: Path, disk: BrokenDisk) -> None:
    world, log = World(tmp_path, disk), SmallLog()
    before = [world.seal(Lane.EVENTS) for _ in range(3)]
    world.journal.close()
    disk.read_only = True

    world.open()
    world.seal(Lane.EVENTS)
    log.take(world)

    assert {(Lane.EVENTS, one.epoch, one.seq) for one in before} <= set(log.frames)
    assert set(log.frames) == set(world.accepted)
    disk.read_only = False
    recover(world)
    assert world.seal(Lane.EVENTS).epoch == before[0].epoch


def test_an_epoch_that_could_not_begin_on_a_broken_disk_begins_when_it_works(tmp_path: Path, disk: BrokenDisk) -> None:
    world = World(tmp_path, disk)
    before = world.seal(Lane.EVENTS)
    disk.read_only = True
    world.journal.lane(Lane.EVENTS).want_epoch()
    world.seal(Lane.EVENTS)
    disk.read_only = False
    recover(world)

    after = world.seal(Lane.EVENTS)

    assert (after.epoch != before.epoch, after.seq) == (True, 1)
    assert after.previous_epoch is not None
    assert after.previous_epoch.epoch == before.epoch


@pytest.fixture
def small_file_system(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB, where one may be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if mount is None or os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs a user who may mount")
    yield folder
    subprocess.run([str(shutil.which("umount")), "--lazy", str(folder)], check=True)


def test_on_a_real_file_system_that_others_fill_and_then_leave_everything_arrives(small_file_system: Path) -> None:
    world, log = World(small_file_system / "journal"), SmallLog()
    world.seal(Lane.EVENTS)
    other = small_file_system / "other"
    with other.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    while not world.counters[Lane.TELEMETRY].problem:
        world.seal(Lane.TELEMETRY)
    for _ in range(5):
        world.seal(Lane.TELEMETRY)

    other.unlink()
    recover(world)
    world.seal(Lane.TELEMETRY)
    world.seal(Lane.EVENTS)
    journal: Journal = world.reopen()
    log.take(world)

    assert journal.problem == ""
    assert log.lost() == set()
    assert set(log.frames) == set(world.accepted)
