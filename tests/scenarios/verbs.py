"""The verbs of scenario tests: given a site, when this breaks, then that holds. Every wire is a fault proxy."""

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from devices.frame import Frame
from devices.reading import Int32s, Int64s
from simulators.faults import NO_FAULTS, FaultProxy, Faults, fault_proxy
from simulators.wires import Protocol
from tests.scenarios.accounts import accounts_of
from tests.scenarios.site import SmallSite, changing_values, small_site
from tests.waiting import eventually, until

CHANGING = "meter-1/power"  # see `changing_values`
DELIVERED_S = 90.0  # after the last fault; an agent may have backed off


@dataclass
class FaultySite:
    """A small site whose bus and uplink run through proxies; `seed` decides what is random."""

    site: SmallSite
    uplink: FaultProxy
    bus: FaultProxy
    seed: int
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def now_ms(self) -> int:
        """The time of this machine, by which the agent stamps."""
        return time.time_ns() // 1_000_000


@asynccontextmanager
async def given_a_site(folder: Path, seed: int) -> AsyncIterator[FaultySite]:
    """Edge and cloud run as processes, values change, frames flow."""
    print(f"seed {seed}")
    async with small_site(folder) as site:
        path = folder / "site.yaml"
        text = path.read_text()
        ports = re.search(r":(\d+)\".*?port: (\d+)", text, re.DOTALL)
        assert ports, text
        cloud_port, bus_port = map(int, ports.groups())
        uplink = FaultProxy("127.0.0.1", cloud_port, Protocol.HTTP, seed)
        bus = FaultProxy("127.0.0.1", bus_port, Protocol.MODBUS, seed + 1)
        async with fault_proxy(uplink), fault_proxy(bus):
            text = text.replace(f":{cloud_port}", f":{uplink.listen_port}")
            path.write_text(text.replace(f"port: {bus_port}", f"port: {bus.listen_port}"))
            one = FaultySite(site, uplink, bus, seed)
            await site.start_cloud()
            await started(one)
            async with changing_values(site, one.rng):
                await when_frames_flow(one, 2)
                yield one
                await when_everything_is_mended(one)


async def when_frames_flow(one: FaultySite, more: int = 3) -> None:
    """So many more frames arrive."""
    start = await one.site.stored_seq()

    async def stored() -> bool:
        return await one.site.stored_seq() >= start + more

    await eventually(stored, f"{more} more frames in the cloud", DELIVERED_S)


async def when_frames_are_sealed(one: FaultySite, more: int = 3) -> None:
    """So many more frames are on the gateway's disk, whatever becomes of them."""
    start = len(one.site.journal_frames())
    await until(lambda: len(one.site.journal_frames()) >= start + more, f"{more} more frames in the journal")


def when_the_uplink_is_cut(one: FaultySite) -> None:
    """Nobody takes connections any more; those that there are break."""
    one.uplink.cut()


def when_the_uplink_has_faults(one: FaultySite, *, requests: Faults = NO_FAULTS, answers: Faults = NO_FAULTS) -> None:
    """From now on messages between agent and cloud meet these."""
    one.uplink.requests, one.uplink.answers = requests, answers


def when_the_bus_has_faults(one: FaultySite, *, requests: Faults = NO_FAULTS, answers: Faults = NO_FAULTS) -> None:
    """From now on messages between agent and devices meet these."""
    one.bus.requests, one.bus.answers = requests, answers


async def started(one: FaultySite) -> None:
    """The agent runs: it takes signals."""
    starts = one.site.edge.log.count("running")
    await one.site.edge.start()
    await until(lambda: one.site.edge.log.count("running") > starts, "the agent to run")


async def when_the_edge_is_killed(one: FaultySite) -> None:
    """SIGKILL and a new start."""
    await one.site.edge.kill()
    await started(one)


async def when_the_cloud_is_killed(one: FaultySite) -> None:
    """SIGKILL and a new start."""
    await one.site.cloud.kill()
    await one.site.start_cloud()


async def when_the_edge_restarts(one: FaultySite, change: Callable[[str], str] = lambda text: text) -> None:
    """A clean stop and start, with a changed site.yaml perhaps."""
    await one.site.edge.stop()
    path = one.site.folder / "site.yaml"
    path.write_text(change(path.read_text()))
    await started(one)


async def when_everything_is_mended(one: FaultySite) -> None:
    """No more faults."""
    for proxy in (one.uplink, one.bus):
        proxy.mend()
        proxy.requests = proxy.answers = NO_FAULTS
        proxy.bandwidth_bytes_s = None


async def then_everything_arrived_once(one: FaultySite) -> None:
    """What the journal accepted is in the cloud's log and facts, each frame once, or under a loss record."""
    await when_everything_is_mended(one)
    await one.site.edge.stop()
    if not accounts_of(one.site).balanced:  # what was not delivered is at the next start
        await started(one)
        await until(lambda: accounts_of(one.site).balanced, "balanced accounts", DELIVERED_S)
        await one.site.edge.stop()
    await one.site.cloud.stop()
    accounts = accounts_of(one.site)
    print(accounts)
    assert accounts.balanced, accounts


def then_no_reading_is_missing(one: FaultySite, from_ms: int, to_ms: int, gap_ms: int) -> None:
    """The series of a register that changes all the time has no gap longer than this in the cloud's log."""
    times = sorted(
        time_ms
        for frame in one.site.log_frames()
        for series, time_ms in zip(*(column.tolist() for column in _numbers(frame)), strict=True)
        if frame.content.series[series].name == CHANGING
    )
    inside = [from_ms, *(time_ms for time_ms in times if from_ms <= time_ms < to_ms), to_ms]
    longest_ms = max(after - before for before, after in pairwise(inside))
    assert longest_ms <= gap_ms, f"{longest_ms} ms without a reading"


def _numbers(frame: Frame) -> tuple[Int32s, Int64s]:
    return frame.content.numbers.series, frame.content.numbers.time_ms


async def pause(seconds: float) -> None:
    """Let real time pass: faults last a while."""
    await asyncio.sleep(seconds)
