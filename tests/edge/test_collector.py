import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random

from devices.profile import LoadedProfile, parse_profile
from devices.reading import Block, Quality
from devices.records import Link
from edge.clock import Moment
from edge.collector import Collector
from edge.config import SiteConfig, site_of
from edge.items import Item
from edge.polling import PollingStatus
from tests.brokers import free_port
from tests.edge.builders import moment
from tests.edge.modbus_peer import ModbusPeer, modbus_peer
from tests.waiting import until

INTERVAL_S = 0.1
TIMEOUT_S = 0.15


def profile() -> LoadedProfile:
    """A device with one discrete state input and one value, polled ten times a second."""
    return parse_profile(
        f"""
id: small
source: {{document: none, verified: unverified}}
modbus: {{}}
poll: {{state: {INTERVAL_S}, value: {INTERVAL_S}}}
hold_s: 1
points:
  - {{id: fault, function: holding, address: 5, type: u16, poll: state}}
  - {{id: power, function: holding, address: 7, type: u16, unit: W}}
states: {{fault: fault == 1}}
""",
        "small.yaml",
    )


class Watched:
    """A running collector and what it handed on."""

    def __init__(self, connections: Mapping[str, tuple[int, int]], timeout_s: float, rate: float) -> None:
        entries = [
            {
                "id": name,
                "modbus": {"host": "127.0.0.1", "port": port, "timeout_s": timeout_s},
                "devices": [{"id": f"{name}-{unit}", "profile": "small", "unit": unit} for unit in range(1, units + 1)],
            }
            for name, (port, units) in connections.items()
        ]
        config = SiteConfig.model_validate({"site": "s", "gateway": "g", "connections": entries}, strict=False)
        site = site_of(config, Path(), {"small": profile()})
        self.blocks: dict[str, list[Block]] = defaultdict(list)
        self.links: list[Link] = []
        self.collector = Collector(site, self.sink, moment, rng=Random(7), rate=rate)
        self.slow: asyncio.Event | None = None

    async def sink(self, items: Sequence[Item], _: Moment) -> None:
        for item in items:
            if isinstance(item, Block):
                self.blocks[item.device].append(item)
            elif isinstance(item, Link):
                self.links.append(item)
        if self.slow is not None:
            await self.slow.wait()

    def good(self, device: str) -> list[Block]:
        return [block for block in self.blocks[device] if block.quality.is_good]

    def status(self, name: str) -> PollingStatus:
        status = self.collector.status[name]
        assert isinstance(status, PollingStatus)
        return status


@asynccontextmanager
async def collecting(
    connections: Mapping[str, tuple[int, int]], *, timeout_s: float = TIMEOUT_S, rate: float = 1.0
) -> AsyncIterator[Watched]:
    watched = Watched(connections, timeout_s, rate)
    task = asyncio.create_task(watched.collector.run())
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_every_device_is_polled_and_its_link_is_good() -> None:
    async with modbus_peer(ModbusPeer(registers={5: 0, 7: 230})) as peer, collecting({"a": (peer.port, 3)}) as watched:
        await until(lambda: all(len(watched.good(f"a-{unit}")) >= 3 for unit in (1, 2, 3)), "three polls of each")

    assert watched.good("a-2")[0].values.tolist() == [0.0, 230.0]
    assert sorted((link.device, link.good) for link in watched.links) == [(f"a-{unit}", True) for unit in (1, 2, 3)]


async def test_two_requests_are_never_under_way_at_once() -> None:
    peer = ModbusPeer(delay_s=dict.fromkeys(range(1, 6), 0.01))
    async with modbus_peer(peer), collecting({"a": (peer.port, 5)}):
        await until(lambda: len(peer.questions) >= 50, "fifty requests")

    assert peer.in_flight_max == 1


async def test_a_unit_slower_than_its_interval_queues_nothing_and_delays_no_other_connection() -> None:
    slow_peer, quick_peer = ModbusPeer(delay_s={1: 3 * INTERVAL_S}), ModbusPeer()
    async with modbus_peer(slow_peer), modbus_peer(quick_peer):
        connections = {"slow": (slow_peer.port, 1), "quick": (quick_peer.port, 1)}
        async with collecting(connections, timeout_s=2) as watched:
            await until(lambda: len(watched.good("slow-1")) >= 8, "eight slow polls")

    assert watched.status("slow").missed > 0
    times_ms = [block.time_ms for block in watched.good("quick-1")][2:]
    gaps_ms = sorted(after - before for before, after in pairwise(times_ms))
    assert gaps_ms[len(gaps_ms) // 2] < 1500 * INTERVAL_S  # its neighbour takes three times the interval


async def test_three_dead_units_of_ten_leave_the_others_their_polls() -> None:
    dead = {3, 6, 9}
    async with modbus_peer(ModbusPeer(dead_units=dead)) as peer, collecting({"bus": (peer.port, 10)}) as watched:
        await until(lambda: len(watched.status("bus").open_units) == 3, "three open breakers")
        peer.questions.clear()
        began_s = asyncio.get_running_loop().time()
        await until(lambda: peer.asked()[1] >= 60, "sixty polls")
        elapsed_s = asyncio.get_running_loop().time() - began_s

    scheduled = elapsed_s / INTERVAL_S
    asked = peer.asked()
    assert all(asked[unit] >= 0.95 * scheduled - 1 for unit in range(1, 11) if unit not in dead)
    assert sum(asked[unit] for unit in dead) * TIMEOUT_S <= 0.05 * elapsed_s + TIMEOUT_S


async def test_a_unit_that_comes_back_is_polled_in_full_again() -> None:
    async with modbus_peer(ModbusPeer(dead_units={1})) as peer, collecting({"bus": (peer.port, 2)}) as watched:
        await until(lambda: watched.status("bus").open_units == [1], "the breaker to open")
        peer.dead_units.clear()
        await until(lambda: len(watched.good("bus-1")) >= 3, "good values again")

    assert watched.status("bus").open_units == []


async def test_an_unplugged_device_gets_bad_qualities_and_then_a_bad_link_that_says_since_when() -> None:
    async with modbus_peer() as peer, collecting({"a": (peer.port, 1)}) as watched:
        await until(lambda: len(watched.good("a-1")) >= 3, "good values")
        peer.dead_units.add(1)
        await until(lambda: any(not link.good for link in watched.links), "a bad link")
        peer.dead_units.clear()
        await until(lambda: len(watched.links) == 3, "the good link")

    up, down, again = watched.links
    before = [block for block in watched.good("a-1") if block.time_ms < down.time_ms]
    assert (up.good, down.good, again.good) == (True, False, True)
    assert down.last_ok_ms == before[-1].time_ms
    assert 1000 <= down.time_ms - before[-1].time_ms <= 2000
    assert {block.quality for block in watched.blocks["a-1"]} == {Quality.GOOD, Quality.BAD_NO_ANSWER}


async def test_a_server_that_is_away_gives_bad_connection_and_is_found_again() -> None:
    port = free_port()
    async with collecting({"a": (port, 1)}) as watched:
        await until(lambda: watched.blocks["a-1"], "a report of the missing server")
        reported = list(watched.blocks["a-1"])
        async with modbus_peer(port=port):
            await until(lambda: watched.good("a-1"), "good values")

    assert {block.quality for block in reported} == {Quality.BAD_CONNECTION}
    assert watched.status("a").error == ""


async def test_a_slow_journal_holds_polls_back_instead_of_queueing_them() -> None:
    async with modbus_peer() as peer, collecting({"a": (peer.port, 1)}) as watched:
        watched.slow = asyncio.Event()
        await until(lambda: watched.blocks["a-1"], "the first poll")
        asked = len(peer.questions)
        loop = asyncio.get_running_loop()
        end_s = loop.time() + 5 * INTERVAL_S
        await until(lambda: loop.time() >= end_s, "five intervals")

        assert len(peer.questions) == asked
        watched.slow.set()
        await until(lambda: watched.status("a").missed >= 3, "the missed ticks to be counted")


async def test_a_clock_that_runs_quicker_polls_quicker() -> None:
    async with modbus_peer() as peer, collecting({"a": (peer.port, 1)}, rate=10) as watched:
        await until(lambda: len(watched.good("a-1")) >= 60, "sixty polls")

    times_ms = [block.time_ms for block in watched.good("a-1")]
    assert times_ms[-1] - times_ms[0] < 0.5 * 59 * 1000 * INTERVAL_S


async def test_the_links_can_be_asked_for_at_any_time() -> None:
    async with modbus_peer() as peer, collecting({"a": (peer.port, 1)}) as watched:
        assert watched.collector.links(moment()) == ()
        await until(lambda: watched.good("a-1"), "good values")

        assert [(link.device, link.good) for link in watched.collector.links(moment())] == [("a-1", True)]


async def test_a_collector_ends_when_it_is_cancelled_whatever_it_does() -> None:
    async with modbus_peer() as peer:
        for round_trips in range(40):
            async with collecting({"a": (peer.port, 4)}, rate=1000) as watched:
                await until(lambda: watched.status("a").polls > round_trips, "some polls")  # noqa: B023
