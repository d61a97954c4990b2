"""What the uplink does not do: block, flood, send again what is there, or take more of the link than it may."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from random import Random

import httpx
import pytest

from devices.reading import Lane
from edge.bandwidth import Bandwidth
from edge.clock import Clock
from edge.cloud_client import RETRY_AFTER_S_MAX, CloudClient, _retry_after_s
from edge.uplink import DEPTH_MAX, Uplink
from simulators.faults import FaultProxy, fault_proxy
from simulators.wires import Protocol
from tests.edge.filled import fill, seqs
from tests.edge.small_cloud import SmallCloud, small_cloud
from tests.edge.test_uplink import KEY, Edge
from tests.waiting import until

PATIENCE_S = 15.0


@pytest.fixture
async def cloud() -> AsyncIterator[SmallCloud]:
    clock = Clock()
    async with small_cloud(KEY.public_key(), lambda: clock.now().utc_ms) as one:
        yield one


def filled(folder: Path, frames: int, *, rows: int = 1) -> Edge:
    edge = Edge(folder)
    fill(edge.journal.lane(Lane.EVENTS), frames, KEY, start_ms=edge.clock.now().utc_ms - 1000 * frames, rows=rows)
    edge.journal.close()
    return Edge(folder)  # started again: what is there was made by another process


async def test_exactly_what_the_cloud_lacks_is_sent_also_when_it_lacks_more_than_it_can_list(
    tmp_path: Path, cloud: SmallCloud
) -> None:
    edge = filled(tmp_path, 330)
    lane = edge.journal.lane(Lane.EVENTS)
    for seq in range(2, 331, 2):
        cloud.stored[Lane.EVENTS, lane.epoch.hex(), seq] = lane.read(lane.epoch, seq)
        edge.journal.receipts.add(Lane.EVENTS, lane.epoch, seq, seq)  # and was told so
    async with edge.sending(cloud.url):
        await cloud.until(lambda: seqs(cloud.stored) == list(range(1, 331)))

    assert cloud.arrivals == 165
    edge.journal.close()


async def test_a_comparison_in_the_middle_of_a_backlog_sends_nothing_twice(tmp_path: Path, cloud: SmallCloud) -> None:
    edge = filled(tmp_path, 200)
    cloud.delay_s = 0.3
    async with edge.sending(cloud.url) as uplink:
        uplink._backlog_bytes = 8_000  # a dozen frames a request, four requests under way
        await cloud.until(lambda: len(cloud.stored) >= 20)
        await uplink._compare_now()
        async with asyncio.timeout(PATIENCE_S):
            await uplink.drained(backlog=True)

    assert cloud.arrivals == len(cloud.stored) == 200
    edge.journal.close()


async def test_a_request_that_one_frame_spoils_is_taken_apart_and_only_that_frame_stays(
    tmp_path: Path, cloud: SmallCloud
) -> None:
    edge = filled(tmp_path, 100)
    cloud.poison = {37}
    rest = [seq for seq in range(1, 101) if seq != 37]
    async with edge.sending(cloud.url) as uplink:
        await cloud.until(lambda: seqs(cloud.stored) == rest)
        await until(lambda: "37" in uplink.alarms, "the alarm")
        before = cloud.requests
        await uplink._compare_now()
        assert uplink._outbox.next_backlog(10) == []
        assert cloud.requests == before + 1
    cloud.poison = set()
    async with edge.sending(cloud.url):
        await cloud.until(lambda: seqs(cloud.stored) == list(range(1, 101)))
    edge.journal.close()


async def test_a_cloud_that_asks_for_a_pause_gets_it_from_every_request(tmp_path: Path, cloud: SmallCloud) -> None:
    edge = filled(tmp_path, 50)
    times: list[float] = []
    loop = asyncio.get_running_loop()

    def fault(number: int) -> str:
        times.append(loop.time())
        return "429" if number == 3 else ""

    cloud.fault, cloud.retry_after_s = fault, 1
    async with edge.sending(cloud.url) as uplink:
        uplink._backlog_bytes = 1
        await cloud.until(lambda: len(cloud.stored) == 50)
        depth = uplink._depth
    pause_s = max(later - earlier for earlier, later in pairwise(times))

    assert pause_s >= 0.9
    assert depth == DEPTH_MAX / 2
    assert cloud.arrivals == 50
    edge.journal.close()


async def test_connections_are_kept_and_used_again(tmp_path: Path, cloud: SmallCloud) -> None:
    edge = filled(tmp_path, 30)
    cloud.delay_s = 0.3
    async with edge.sending(cloud.url) as uplink:
        uplink._backlog_bytes = 1  # one frame a request
        await cloud.until(lambda: len(cloud.stored) == 30)

    assert cloud.requests > 30
    assert len(cloud.connected_s) <= DEPTH_MAX + 2
    edge.journal.close()


async def test_the_bandwidth_limit_is_kept_and_live_frames_do_not_wait_for_it(
    tmp_path: Path, cloud: SmallCloud
) -> None:
    edge = filled(tmp_path, 40, rows=400)
    size = sum(len(edge.journal.lane(Lane.EVENTS).read(edge.journal.lane(Lane.EVENTS).epoch, n)) for n in range(1, 41))
    limit = size // 3  # three seconds
    client = CloudClient(cloud.url, "gw-1", KEY, edge.clock)
    uplink = Uplink(edge.journal, client, edge.clock, Random(1), limit, spread_s=0.0)
    loop = asyncio.get_running_loop()
    async with edge.sealing():
        started_s = loop.time()
        task = asyncio.create_task(uplink.run())
        await cloud.until(lambda: len(cloud.stored) >= 2)
        put_s = loop.time()
        edge.put(1, Lane.TELEMETRY)
        await cloud.until(lambda: Lane.TELEMETRY in {lane for lane, _, _ in cloud.stored})
        live_s, then = loop.time() - put_s, len(seqs(cloud.stored))
        await cloud.until(lambda: len(seqs(cloud.stored)) >= 40)
        taken_s = loop.time() - started_s
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()

    assert taken_s >= 2.0
    assert then < 40
    assert live_s < taken_s


async def test_a_limit_counts_over_requests_that_run_side_by_side() -> None:
    bandwidth = Bandwidth(20_000)
    loop = asyncio.get_running_loop()
    started_s = loop.time()

    async def send(*, live: bool) -> float:
        body = bandwidth.body(bytes(15_000), live=live)
        assert not isinstance(body, bytes)
        sizes = [len(chunk) async for chunk in body]
        assert sum(sizes) == 15_000
        return loop.time() - started_s

    live_s, backlog_s = await asyncio.gather(send(live=True), send(live=False))

    assert live_s < backlog_s
    assert backlog_s >= 1.2


async def test_a_backlog_over_a_slow_link_leaves_room_for_live_frames(tmp_path: Path, cloud: SmallCloud) -> None:
    edge = filled(tmp_path, 120, rows=400)  # two minutes of a site, 4 s of the link
    proxy = FaultProxy("127.0.0.1", cloud.port, Protocol.HTTP, bandwidth_bytes_s=125_000.0)
    loop = asyncio.get_running_loop()
    waits: list[float] = []
    async with fault_proxy(proxy), edge.sealing(), edge.sending(f"http://127.0.0.1:{proxy.listen_port}"):
        began_s = loop.time()
        while len(seqs(cloud.stored)) < 120:
            put_s, before = loop.time(), len(seqs(cloud.stored, Lane.TELEMETRY))
            edge.put(1, Lane.TELEMETRY)
            await cloud.until(lambda: len(seqs(cloud.stored, Lane.TELEMETRY)) > before, PATIENCE_S)  # noqa: B023
            waits.append(loop.time() - put_s)
        drained_s = loop.time() - began_s

    assert sorted(waits)[len(waits) // 2] < 5.0  # with the second that telemetry is collected for
    assert drained_s < 60.0  # twice as fast as it came, where the bench asks for 20 times


async def test_gateways_that_start_together_do_not_all_connect_at_once(tmp_path: Path, cloud: SmallCloud) -> None:
    count = 30
    edges = [filled(tmp_path / str(number), 3) for number in range(count)]
    async with AsyncExitStack() as stack:
        tasks = []
        for number, edge in enumerate(edges):
            client = CloudClient(cloud.url, "gw-1", KEY, edge.clock)
            stack.push_async_callback(client.close)
            tasks.append(asyncio.create_task(Uplink(edge.journal, client, edge.clock, Random(number)).run()))
        await cloud.until(lambda: len(cloud.stored) == 3 * count)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    begun_s = min(cloud.connected_s)
    at_once = sum(one - begun_s < 0.1 for one in cloud.connected_s)

    assert at_once <= count  # of some 60 connections over a second
    assert cloud.arrivals == 3 * count
    for edge in edges:
        edge.journal.close()


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0), ("Mon, 01 Mar 2027 00:00:09 GMT", 9.0), ("Sun, 28 Feb 2027 00:00:00 GMT", 0.0),
        ("99999999", RETRY_AFTER_S_MAX), ("soon", 0.0), ("", 0.0),
    ],
)  # fmt: skip
def test_how_long_the_cloud_asks_to_wait_is_read_in_both_forms_and_has_a_bound(said: str, seconds: float) -> None:
    answer = httpx.Response(503, headers={"Retry-After": said})

    assert _retry_after_s(answer, 1_803_859_200_000) == seconds
