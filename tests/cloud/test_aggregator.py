import asyncio
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path

import httpx
import pytest

from cloud.aggregator import Aggregator, rebuild
from cloud.facts.database import open_database
from cloud.facts.ledgers import import_ledger
from cloud.facts.parked import parked_frames
from cloud.facts.progress import frames_set_aside
from cloud.history.embedded import EmbeddedHistory
from cloud.history.store import Row
from cloud.ingest.gateways import GatewayRegister
from cloud.ingest.log_segments import SegmentLog
from cloud.settings import InUse, Places, owning
from devices.frame import Content, SealedFrame
from devices.instants import format_instant
from devices.reading import Lane
from devices.receipt import Status
from devices.records import ClockFix, Inventory, Loss, LossReason
from tests.cloud.running import RunningCloud, running
from tests.cloud.sealed import SealingGateway, now_ms
from tests.cloud.serving import Uplink
from tests.waiting import eventually

READINGS = 50  # in each frame
FRAMES = 240
STOP_S_MAX = 15.0  # five times what is asked: the machine may be busy
LEDGER = Path(__file__).parent.parent.parent / "examples" / "ledger.yaml"


def register(data_dir: Path, gateway: SealingGateway) -> None:
    keys = GatewayRegister(Places(data_dir).gateways)
    keys.add(gateway.name, "jinji-lake", gateway.key.public_key(), now_ms())
    keys.close()


def enter_ledger(data_dir: Path) -> None:
    facts = open_database(Places(data_dir).facts)
    import_ledger(facts, LEDGER.read_text(encoding="utf-8"), "ledger.yaml", actor="test", now_ms=now_ms())
    facts.dispose()


def contents(data_dir: Path) -> tuple[list[tuple[object, ...]], list[Row]]:
    """Claims, runs and rows of history, as they are kept."""
    with sqlite3.connect(Places(data_dir).facts) as facts:
        queries = ("SELECT * FROM claims", "SELECT * FROM runs", "SELECT * FROM positions")
        found = [row for query in queries for row in facts.execute(query)]
    facts.close()
    history = EmbeddedHistory(Places(data_dir).history, SegmentLog(Places(data_dir).log).log_id)
    rows = history.rows("jinji-lake", "ahu-1", "speed", 0, 2**60)
    history.close()
    return sorted(found, key=repr), rows


async def deliver(
    cloud: RunningCloud,
    gateway: SealingGateway,
    waiting: list[SealedFrame],
    receipted: set[bytes],
    ending: tuple[int, Callable[[RunningCloud], Coroutine[object, object, int]]] | None = None,
) -> None:
    """Send what waits, several requests at a time, until nothing does or the cloud is gone.

    When so many frames are receipted as `ending` says, it ends the cloud while others are under way.
    """
    enough = asyncio.Event()

    async def carry(client: httpx.AsyncClient) -> None:
        uplink = Uplink(client, gateway)
        while waiting:
            frame = waiting.pop()
            try:
                receipt = await uplink.post(frame.data)
            except httpx.HTTPError:
                waiting.append(frame)
                return
            assert receipt.results[0].status in {Status.STORED, Status.DUPLICATE}
            receipted.add(frame.data)
            if ending is not None and len(receipted) >= ending[0]:
                enough.set()

    async with httpx.AsyncClient(base_url=cloud.address, timeout=5) as client, asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(carry(client))
        if ending is not None:
            await enough.wait()
            await ending[1](cloud)


async def catch_up(aggregator: Aggregator) -> None:
    while await aggregator.processor.step():
        pass
    for feed in aggregator.feeds:
        while await asyncio.to_thread(feed.step):
            pass


@pytest.mark.parametrize("seed", range(3))
async def test_a_killed_aggregator_has_every_receipted_frame_once(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    gateway = SealingGateway(start_ms=now_ms() - 3_600_000)
    register(tmp_path, gateway)
    waiting = [
        gateway.values([float(rng.random()) for _ in range(READINGS)], rng.choice(list(Lane))) for _ in range(FRAMES)
    ]
    every = [frame.data for frame in waiting]
    rng.shuffle(waiting)
    receipted: set[bytes] = set()
    async with running(tmp_path) as cloud:
        endings = (RunningCloud.stop, RunningCloud.kill) if seed == 0 else (RunningCloud.kill,)
        for how in endings:
            goal = len(receipted) + rng.randint(5, FRAMES // 5)
            await deliver(cloud, gateway, waiting, receipted, (goal, how))
            await cloud.start()
        await deliver(cloud, gateway, waiting, receipted)
        assert receipted == set(every)
        await cloud.kill()

    with owning(tmp_path) as places:
        aggregator = Aggregator(places)
        await catch_up(aggregator)
        stored = Counter(entry.data for lane in Lane for entry in aggregator.log.read(lane, 0, 10 * FRAMES))
        assert stored == Counter(every)
        assert aggregator.history.count() == FRAMES * READINGS
        rows = aggregator.history.rows("jinji-lake", "ahu-1", "speed", 0, 2**60)
        assert len({(row.time_ms, row.epoch, row.seq, row.index, row.value) for row in rows}) == FRAMES * READINGS
        aggregator.close()


async def test_the_processor_sets_aside_what_it_cannot_use_and_goes_on(tmp_path: Path) -> None:
    gateway = SealingGateway(start_ms=now_ms() - 3_600_000)
    register(tmp_path, gateway)
    ahead = gateway.seal_ahead(now_ms() + 3_600_000)
    huge = gateway.records(Inventory(2**63 + 5, "1", "", ()))
    fine = gateway.values([1.0], Lane.EVENTS)
    with owning(tmp_path) as places:
        aggregator = Aggregator(places)
        heard: list[int] = []
        aggregator.processor.listen(lambda _, frames, __: heard.extend(one.header.seq for one in frames))
        site = aggregator.keys.all()[0]
        receipt = await aggregator.admission.take(site, [ahead.data, huge.data, gateway.undecodable(), fine.data])
        await catch_up(aggregator)
        aside = frames_set_aside(aggregator.facts)
        waiting = [one.identity.seq for one in parked_frames(aggregator.facts)]
        assert {result.status for result in receipt.results} == {Status.STORED}
        assert aggregator.processor.is_current()
        assert sorted(one.reason.split(":")[0] for one in aside) == ["UnknownVersion", "UnusableFacts"]
        assert waiting == [ahead.header.seq]
        assert heard == [fine.header.seq]
        aggregator.close()


async def test_a_frame_from_before_the_clock_was_trusted_waits_for_its_fix_and_is_then_heard(tmp_path: Path) -> None:
    gateway = SealingGateway(start_ms=now_ms() - 300)
    register(tmp_path, gateway)
    early = gateway.seal(Content(), trusted=False)
    fix = ClockFix(early.header.clock_run, 0, now_ms(), 20, "cloud", shown_ms=now_ms())
    with owning(tmp_path) as places:
        aggregator = Aggregator(places)
        heard: list[int] = []
        aggregator.processor.listen(lambda _, frames, __: heard.extend(one.header.seq for one in frames))
        await aggregator.admission.take(aggregator.keys.all()[0], [early.data])
        await catch_up(aggregator)
        before = list(heard)
        await aggregator.admission.take(aggregator.keys.all()[0], [gateway.records(fix).data])
        await catch_up(aggregator)

        assert before == []
        assert sorted(heard) == [early.header.seq, early.header.seq + 1]
        assert frames_set_aside(aggregator.facts) == []
        aggregator.close()


async def test_history_that_pours_in_while_figures_are_asked_finds_no_locked_store(tmp_path: Path) -> None:
    gateway = SealingGateway(start_ms=now_ms() - 30 * 86_400_000)
    register(tmp_path, gateway)
    waiting = [gateway.wide(200, 2000, Lane.EVENTS, seed=seed) for seed in range(FRAMES)]
    receipted: set[bytes] = set()
    enter_ledger(tmp_path)
    answers: list[httpx.Response] = []
    async with (
        running(tmp_path) as cloud,
        httpx.AsyncClient(base_url=cloud.address, timeout=10) as client,
        asyncio.TaskGroup() as group,
    ):
        delivery = group.create_task(deliver(cloud, gateway, waiting, receipted))
        while not delivery.done() or not answers:
            answers.append(await client.get("/api/v1/sites/jinji-lake/indicators?window=month"))

    assert len(receipted) == FRAMES
    assert {answer.status_code for answer in answers} == {200}
    assert not [line for line in cloud.said if "locked" in line or "Traceback" in line]


async def test_an_operator_can_stop_it_quickly_while_a_page_is_open_and_start_it_again(tmp_path: Path) -> None:
    enter_ledger(tmp_path)
    async with running(tmp_path) as cloud, httpx.AsyncClient(base_url=cloud.address) as client:
        healthy = await client.get("/healthz")
        async with client.stream("GET", "/api/v1/sites/jinji-lake/stream", timeout=30) as stream:
            begun = time.monotonic()
            code = await cloud.stop()
            took_s = time.monotonic() - begun
            await stream.aread()
        await cloud.start()

    assert healthy.status_code == 200
    assert code == 0
    assert took_s < STOP_S_MAX


async def test_what_was_delivered_is_in_charts_and_lists_before_and_after_a_restart(tmp_path: Path) -> None:
    enter_ledger(tmp_path)
    start_ms = now_ms() - 60_000
    gateway = SealingGateway(start_ms=start_ms)
    register(tmp_path, gateway)
    frames = [gateway.values([1.0, 2.0, 6.0], lane, device="pump-3") for lane in Lane for _ in range(2)]
    question = {
        "device": "pump-3",
        "point": "speed",
        "from": format_instant(start_ms),
        "to": format_instant(start_ms + 10_000),
        "points": "10",
    }

    async def charted(address: str) -> list[tuple[float, float, float, int]]:
        async def complete() -> list[tuple[float, float, float, int]]:
            answer = await client.get("/api/v1/sites/jinji-lake/series", params=question)
            assert answer.status_code == 200, answer.text
            items = [tuple(item[1:]) for item in answer.json()["items"] if item[4]]
            return items if sum(item[3] for item in items) == 12 else []

        async with httpx.AsyncClient(base_url=address) as client:
            return await eventually(complete, "history to follow the Receipt")

    async with running(tmp_path) as cloud:
        async with httpx.AsyncClient(base_url=cloud.address) as client:
            await Uplink(client, gateway).post(*(frame.data for frame in frames))
        before = await charted(cloud.address)
        await cloud.kill()
        after = await charted(await cloud.start())
        async with httpx.AsyncClient(base_url=cloud.address) as client:
            (listed,) = (await client.get("/api/v1/gateways")).json()["items"]

    assert before == after
    assert min(item[0] for item in before) == 1.0
    assert max(item[2] for item in before) == 6.0
    assert {lane: state["stored_seq"] for lane, state in listed["lanes"].items()} == {"events": 2, "telemetry": 2}


def test_a_rebuild_finds_the_same_facts_and_history(tmp_path: Path) -> None:
    gateway = SealingGateway(start_ms=now_ms() - 3_600_000)
    register(tmp_path, gateway)
    frames = [gateway.values([float(value)] * 3, lane) for value in range(5) for lane in Lane]

    async def deliver_all() -> None:
        with owning(tmp_path) as places:
            aggregator = Aggregator(places)
            await aggregator.admission.take(aggregator.keys.all()[0], [frame.data for frame in frames])
            await catch_up(aggregator)
            aggregator.history.flush()
            aggregator.close()

    asyncio.run(deliver_all())
    before = contents(tmp_path)

    read, _ = rebuild(tmp_path)

    assert read == len(frames)
    assert contents(tmp_path) == before


async def test_what_a_loss_record_accounts_for_is_not_asked_for_again_and_still_taken_if_it_comes(
    tmp_path: Path,
) -> None:
    gateway = SealingGateway(start_ms=now_ms() - 3_600_000)
    register(tmp_path, gateway)
    frames = [gateway.values([float(value)]) for value in range(5)]
    epoch = gateway.epoch_of(Lane.TELEMETRY)
    unheard_of = Loss("gossip", epoch, 1, 9, 0, 1, LossReason.SPACE)
    lost = gateway.records(unheard_of, Loss("telemetry", epoch, 2, 4, 0, 1, LossReason.SPACE))

    def telemetry(aggregator: Aggregator) -> tuple[int, tuple[tuple[int, int], ...]]:
        states = {state.lane: state for state in aggregator.admission.identities.states(gateway.name)}
        return states[Lane.TELEMETRY].contiguous_seq, states[Lane.TELEMETRY].gaps

    with owning(tmp_path) as places:
        aggregator = Aggregator(places)
        site = aggregator.keys.all()[0]
        await aggregator.admission.take(site, [frames[0].data, frames[4].data])
        before = telemetry(aggregator)
        await aggregator.admission.take(site, [lost.data])
        await catch_up(aggregator)
        after = telemetry(aggregator)
        aggregator.close()
        aggregator = Aggregator(places)
        restarted = telemetry(aggregator)
        late = await aggregator.admission.take(site, [frames[2].data])
        aggregator.close()

    assert before == (1, ((2, 4),))
    assert after == restarted == (5, ())
    assert late.results[0].status is Status.STORED


def test_two_aggregators_cannot_work_in_one_folder(tmp_path: Path) -> None:
    with owning(tmp_path), pytest.raises(InUse), owning(tmp_path):
        pass


async def test_a_gateway_is_added_while_the_aggregator_runs(tmp_path: Path) -> None:
    gateway = SealingGateway()
    async with running(tmp_path) as cloud, httpx.AsyncClient(base_url=cloud.address) as client:
        uplink = Uplink(client, gateway)
        before = await uplink.post_bytes(b"")
        register(tmp_path, gateway)
        receipt = await uplink.post(gateway.values([1.0]).data)

    assert before.status_code == 401
    assert receipt.results[0].status is Status.STORED
