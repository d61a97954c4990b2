"""What the uplink does when the cloud is in trouble, or finds one frame or many too much."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from devices.errors import StorageUnavailable
from devices.reading import Lane
from devices.receipt import Status
from edge.backoff import LASTED_MIN_S, Backoff
from edge.clock import Clock
from tests.edge.filled import seqs
from tests.edge.small_cloud import SmallCloud, small_cloud
from tests.edge.test_uplink import KEY
from tests.edge.test_uplink_bounds import PATIENCE_S, filled
from tests.waiting import until


@pytest.fixture
async def cloud() -> AsyncIterator[SmallCloud]:
    clock = Clock()
    async with small_cloud(KEY.public_key(), lambda: clock.now().utc_ms) as one:
        yield one


async def test_a_cloud_that_fails_at_every_frame_is_asked_ever_more_rarely_although_signs_of_life_pass(
    tmp_path: Path, cloud: SmallCloud
) -> None:
    edge = filled(tmp_path, 30)
    cloud.fault_at = lambda _: "503"
    async with edge.sending(cloud.url) as uplink:
        uplink._backoff = Backoff(Random(5), first_s=0.001, cap_s=60.0)
        await cloud.until(lambda: cloud.requests >= 30)

        assert uplink._backoff._failures >= 5
    edge.journal.close()


async def test_refused_frames_by_the_hundred_neither_hide_what_else_the_cloud_lacks_nor_make_it_asked_for_ever(
    tmp_path: Path, cloud: SmallCloud
) -> None:
    edge = filled(tmp_path, 400)
    refused = set(range(2, 242, 2))
    cloud.verdicts = {(Lane.EVENTS, seq): [Status.REFUSED] * 100 for seq in refused}
    taken = sorted(set(range(1, 401)) - refused)
    async with edge.sending(cloud.url) as uplink:
        await cloud.until(lambda: seqs(cloud.stored) == taken)
    for name in [name for name in cloud.stored if name[2] > 350]:
        del cloud.stored[name]  # restored from a backup
    async with edge.sending(cloud.url) as uplink:
        await cloud.until(lambda: seqs(cloud.stored) == taken)
        await uplink._compare_now()
        async with asyncio.timeout(PATIENCE_S):
            await uplink.drained(backlog=True)
        before = cloud.requests
        for _ in range(20):
            await uplink._client.receipt()

        assert cloud.requests <= before + 20 + 3  # of the uplink itself
        assert edge.journal.backlog_frames() == len(refused)
    edge.journal.close()


async def test_a_comparison_observes_the_pause_that_the_cloud_asked_for(tmp_path: Path, cloud: SmallCloud) -> None:
    edge = filled(tmp_path, 3)
    loop = asyncio.get_running_loop()
    async with edge.sending(cloud.url) as uplink:
        await cloud.until(lambda: len(cloud.stored) == 3)
        uplink._slow_down(0.5)
        until_s = loop.time() + 0.5
        await uplink._compare_now()

        assert loop.time() >= until_s - 0.01
    edge.journal.close()


@pytest.mark.parametrize("bad", [1, 37, 60])
async def test_a_frame_that_makes_the_cloud_fail_stays_and_all_others_pass(
    tmp_path: Path, cloud: SmallCloud, bad: int
) -> None:
    edge = filled(tmp_path, 60)
    cloud.fault_at = lambda seqs: "500" if bad in seqs else ""
    async with edge.sending(cloud.url) as uplink:
        await cloud.until(lambda: seqs(cloud.stored) == [seq for seq in range(1, 61) if seq != bad])
        await until(lambda: f"/{bad}: the cloud answered 500" in uplink.alarms, "the alarm")
    cloud.fault_at = lambda _: ""
    async with edge.sending(cloud.url):
        await cloud.until(lambda: seqs(cloud.stored) == list(range(1, 61)))
    edge.journal.close()


async def test_no_frame_is_set_apart_while_the_cloud_fails_at_all(tmp_path: Path, cloud: SmallCloud) -> None:
    edge = filled(tmp_path, 8)
    cloud.fault_at = lambda _: "500"
    async with edge.sending(cloud.url) as uplink:
        await cloud.until(lambda: cloud.requests >= 60)
        assert uplink.alarms == ""
        cloud.fault_at = lambda _: ""
        await cloud.until(lambda: seqs(cloud.stored) == list(range(1, 9)))
    edge.journal.close()


async def test_frames_that_could_not_be_read_once_are_sent_within_the_same_session(
    tmp_path: Path, cloud: SmallCloud
) -> None:
    edge = filled(tmp_path, 50)
    lane = edge.journal.lane(Lane.EVENTS)
    failing = {(lane.epoch, 10), (lane.epoch, 11)}
    whole = lane.read

    def read(epoch: bytes, seq: int) -> bytes:
        if (epoch, seq) in failing:
            failing.discard((epoch, seq))
            raise StorageUnavailable("Input/output error")
        return whole(epoch, seq)

    lane.read = read  # type: ignore[method-assign]
    async with edge.sending(cloud.url):
        await cloud.until(lambda: seqs(cloud.stored) == list(range(1, 51)))
    edge.journal.close()


def test_a_session_without_frames_shortens_the_waits_only_when_it_lasted() -> None:
    backoff = Backoff(Random(3))
    for _ in range(6):
        backoff.next_s()
    backoff.lasted(LASTED_MIN_S)
    still = backoff._failures
    backoff.lasted(31.0)  # the bound is 0.5 s * 2 ** 6
    long = backoff._failures
    backoff.lasted(33.0)

    assert (still, long, backoff._failures) == (6, 6, 0)
