"""What the journal promises about what it was given."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.columns import Confirmations, Numbers, Poses
from devices.errors import ConfigurationError
from devices.frame import Frame, Origin, decode_frame, verify_frame
from devices.reading import Lane, Series
from devices.records import Inventory, Link, ProfileText
from edge.clock import Clock
from edge.journal import Journal
from edge.kept import Columns, Kept
from edge.series import SeriesTable
from tests.edge.broken_disk import BrokenDisk
from tests.waiting import until

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
WAIT_S = 15.0


class Site:
    """A running journal and everything it announced."""

    def __init__(self, journal: Journal, clock: Clock, table: SeriesTable) -> None:
        self.journal, self.clock, self.table = journal, clock, table
        self.frames: list[Frame] = []
        self.heard = asyncio.Event()
        journal.subscribe(self._hear)

    def _hear(self, frame: object) -> None:
        self.frames.append(decode_frame(frame.data))  # type: ignore[attr-defined]
        self.heard.set()

    def lane(self, lane: Lane) -> list[Frame]:
        return [frame for frame in self.frames if frame.header.lane is lane]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self.heard.clear()
                await self.heard.wait()

    async def frame_or_second(self) -> None:
        self.heard.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self.heard.wait()

    def put(self, lane: Lane, values: list[float], *, urgent: bool = False) -> None:
        now = self.clock.now()
        series = [self.table.id_of(Series("pump-3", "run"))] * len(values)
        columns = Columns(Numbers.of(series, [now.utc_ms] * len(values), values, [0] * len(values)))
        kept = Kept(columns, None, urgent) if lane is Lane.EVENTS else Kept(None, columns)
        self.journal.put(kept, now)


@asynccontextmanager
async def running(folder: Path, **options: object) -> AsyncIterator[Site]:
    clock, table = Clock(), SeriesTable()
    journal = Journal.open(folder, "gw-1", KEY, clock, table, **options)  # type: ignore[arg-type]
    site = Site(journal, clock, table)
    task = asyncio.create_task(journal.run())
    try:
        yield site
    finally:
        journal.stop()
        await task
        journal.close()


def values(frames: list[Frame]) -> list[float]:
    return [value for frame in frames for value in frame.content.numbers.value.tolist()]


async def test_the_first_events_frame_is_a_keyframe_with_inventory_and_profiles(tmp_path: Path) -> None:
    inventory = Inventory(1, "0.1.0", "abc", ())
    clock, table = Clock(), SeriesTable()
    journal = Journal.open(tmp_path, "gw-1", KEY, clock, table)
    journal.announce(inventory, [ProfileText("ff", "id: x")])
    journal.confirm_from(lambda: Confirmations.of([table.id_of(Series("a", "b", "", 60))], [1], [2], [1.0], [0]))
    site = Site(journal, clock, table)
    task = asyncio.create_task(journal.run())
    await site.until(lambda: bool(site.frames))
    journal.stop()
    await task
    journal.close()

    first = site.frames[0]

    assert first.header.keyframe
    assert first.content.records == (ProfileText("ff", "id: x"), inventory)
    assert first.content.series == (Series("a", "b", "", 60),)
    assert first.content.confirmations.confirmed_ms.tolist() == [2]


async def test_an_urgent_change_is_on_disk_at_once_and_the_rest_within_its_delay(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        await site.until(lambda: bool(site.frames))
        site.put(Lane.EVENTS, [1.0], urgent=True)
        site.put(Lane.TELEMETRY, [2.0])
        await site.until(lambda: values(site.lane(Lane.TELEMETRY)) == [2.0])

        assert values(site.frames) == [1.0, 2.0]


async def test_everything_put_in_comes_out_once_in_order_in_signed_chained_frames_with_contiguous_spans(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as site:
        for index in range(200):
            site.put(Lane.EVENTS, [float(index)], urgent=True)
            await asyncio.sleep(0)
            if index % 50 == 0:
                count = len(site.frames)
                await site.until(lambda count=count: len(site.frames) > count)  # type: ignore[misc]

    frames = site.lane(Lane.EVENTS)

    assert values(frames) == [float(index) for index in range(200)]
    for before, after in pairwise(frames):
        assert after.header.from_ms == before.header.to_ms
        assert after.header.previous_hash == before.hash
        assert after.header.seq == before.header.seq + 1
    for frame in frames:
        data = site.journal.lane(Lane.EVENTS).read(frame.header.epoch, frame.header.seq)
        verify_frame(data, KEY.public_key())


async def test_stopping_seals_what_was_still_waiting(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        await site.until(lambda: bool(site.frames))
        site.put(Lane.TELEMETRY, [7.0])
        site.put(Lane.EVENTS, [8.0])

    assert sorted(values(site.frames)) == [7.0, 8.0]


async def test_poses_and_links_travel_whole(tmp_path: Path) -> None:
    link = Link("pump-3", "", good=False, time_ms=5, last_ok_ms=None)
    async with running(tmp_path) as site:
        now = site.clock.now()
        one = np.array([site.table.id_of(Series("r1", "pose"))], np.int32)
        column = np.array([1500], np.int32)
        flags = np.array([3], np.uint8)
        poses = Poses(one, np.array([9], np.int64), column, column, column, one * 0, flags, flags * 0, ("B1",))
        other = Poses(one, np.array([10], np.int64), column, column, column, one * 0, flags, flags * 0, ("B2",))
        site.journal.put(Kept(Columns(poses=poses)), now)
        site.journal.put(Kept(Columns(poses=other, links=(link,)), urgent=True), now)

    contents = [frame.content for frame in site.lane(Lane.EVENTS)]
    maps = [content.poses.maps[index] for content in contents for index in content.poses.map.tolist()]

    assert maps == ["B1", "B2"]
    assert [record for content in contents for record in content.records] == [link]


async def test_a_second_process_on_the_same_journal_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path):
        with pytest.raises(ConfigurationError, match="another gatehouse process"):
            Journal.open(tmp_path, "gw-1", KEY, Clock(), SeriesTable(), origin=Origin.LIVE)


async def test_a_full_journal_that_may_lose_nothing_keeps_in_memory_and_goes_on_when_receipts_come(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, bytes_max=16384, segment_bytes=4096, origin=Origin.IMPORT) as site:
        noise = np.random.default_rng(1)
        while not site.journal.problem:
            site.put(Lane.TELEMETRY, noise.normal(size=120).tolist())
            site.journal.sealing[Lane.TELEMETRY].hurry()
            await site.frame_or_second()
            assert site.journal.space.bytes_on_disk <= 16384
        journal = site.journal.lane(Lane.TELEMETRY)
        in_memory = site.lane(Lane.TELEMETRY)[-1].header
        site.journal.receipts.add(Lane.TELEMETRY, journal.epoch, 1, journal.next_seq - 1)
        await until(lambda: site.journal.problem == "")

        assert in_memory.origin is Origin.RAM
        assert site.journal.sealing[Lane.TELEMETRY].counters.dropped_readings == 0
        assert site.journal.space.bytes_on_disk <= 16384


async def test_everything_is_said_again_when_the_disk_ceases_and_when_it_begins_to_take_frames(tmp_path: Path) -> None:
    disk = BrokenDisk()
    async with running(tmp_path, disk=disk) as site:
        site.journal.announce(Inventory(1, "0.1.0", "abc", ()), [])
        pump = site.table.id_of(Series("pump-3", "run"))
        site.journal.confirm_from(lambda: Confirmations.of([pump], [1], [2], [7.0], [0]))
        await site.until(lambda: bool(site.frames))
        disk.read_only = True
        site.put(Lane.EVENTS, [1.0], urgent=True)
        await site.until(lambda: len(keyframes(site, Origin.RAM)) == 1)
        disk.read_only = False
        await site.until(lambda: len(keyframes(site, Origin.LIVE)) == 2)

    again = [*keyframes(site, Origin.RAM), keyframes(site, Origin.LIVE)[1]]
    assert [len(one.content.confirmations) for one in again] == [1, 1]
    assert [len(one.content.records) for one in again] == [1, 1]


def keyframes(site: Site, origin: Origin) -> list[Frame]:
    return [one for one in site.lane(Lane.EVENTS) if one.header.keyframe and one.header.origin is origin]


async def test_no_frame_is_announced_before_its_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = bytearray()
    real = os.fdatasync

    def looking(file: int) -> None:
        real(file)
        synced[:] = os.pread(file, 1 << 20, 0)

    monkeypatch.setattr(os, "fdatasync", looking)
    async with running(tmp_path) as site:
        announced: list[bool] = []
        site.journal.subscribe(lambda frame: announced.append(frame.data in synced))
        for index in range(3):
            site.put(Lane.EVENTS, [float(index)], urgent=True)
            await site.until(lambda index=index: float(index) in values(site.frames))  # type: ignore[misc]

    assert len(announced) >= 3
    assert all(announced)


async def test_a_cursor_ahead_of_the_journal_begins_a_new_epoch(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        await site.until(lambda: bool(site.frames))
        epoch = site.journal.lane(Lane.EVENTS).epoch
        site.journal.receipts.add(Lane.EVENTS, epoch, 1, 1000)

    async with running(tmp_path) as again:
        assert again.journal.lane(Lane.EVENTS).epoch != epoch
