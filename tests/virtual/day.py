"""A day at a site in simulated time: the real agent and the real cloud in one process, with memory in between."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx

from cloud.aggregator import Aggregator
from cloud.facts.ledgers import import_ledger
from cloud.facts.store import FactStore
from cloud.settings import Places
from devices.frame import Frame, SealedFrame, decode_frame
from devices.instants import format_instant
from devices.profile import parse_profile
from devices.reading import Lane
from edge.clock import Clock
from edge.config import Site, SiteConfig, site_of
from edge.enrol import make_key
from edge.gateway import Gateway, World
from simulators.modbus import SimulatedDevice
from tests.edge.broken_disk import BrokenDisk
from tests.virtual.loop import VirtualLoop, run_virtually
from tests.virtual.plan import MACHINES, Plan
from tests.virtual.wires import MemoryLink, Network, client_over

START_MS = 1_772_460_000_000  # 2026-03-02T14:00:00Z, two hours before midnight in Shanghai
BOOT_1970_MS = 1_000
SITE, GATEWAY = "test-site", "gw-test"
POLL_S, HOLD_S = 20, 60
FRAMES_MAX = 1_000_000
PEACE_S = 300.0  # after the last fault: longer than any wait of the agent and any late request
MACHINE = f"""
id: machine
source: {{document: none, verified: unverified}}
modbus: {{}}
poll: {{state: {POLL_S}s, value: 60s}}
points:
  - {{id: alarm, function: holding, address: 0, type: u16, poll: state}}
  - {{id: running, function: holding, address: 1, type: u16, poll: state}}
  - {{id: load, function: holding, address: 10, type: u16, unit: percent, deadband: 1.0, poll: value}}
states:
  fault: alarm != 0
  run: running != 0
"""
LEDGER = """
site: {id: test-site, name: {en: Test site, zh-CN: 测试项目}, type: commercial, zone: Asia/Shanghai,
       commissioned: 2026-01-01}
floors: [{id: b1, name: {en: B1, zh-CN: B1}, map: B1, width_m: 40.0, height_m: 20.0, walls: []}]
equipment:
""" + "\n".join(
    f"  - {{id: e-{name}, name: {{en: {name}, zh-CN: {name}}}, code: {name.upper()}, class: machine, criticality: B,\n"
    f"     device: {name}, floor: b1, position: [1, {place}]}}"
    for place, name in enumerate(MACHINES)
)  # fmt: skip


class SteadySources:
    """A machine whose clock is right from a moment on, and says so; before it is in 1970."""

    def __init__(self, loop: VirtualLoop, known_s: float = 0.0) -> None:
        self._loop = loop
        self._known_s = known_s

    def monotonic_ms(self) -> int:
        return 1_000_000 + round(self._loop.time() * 1000)

    def wall_ms(self) -> int:
        return (START_MS if self._knows() else BOOT_1970_MS) + round(self._loop.time() * 1000)

    def ntp_uncertainty_ms(self) -> int | None:
        return 5 if self._knows() else None

    def _knows(self) -> bool:
        return self._loop.time() >= self._known_s


Pieces = list[tuple[int, int]]  # (from Unix ms UTC, code of the state)


@dataclass
class Outcome:
    """What came of a day: the frames that the journal accepted, and what the cloud made of them."""

    accepted: list[SealedFrame] = field(default_factory=list)
    timelines: dict[str, Pieces] = field(default_factory=dict)
    indicators: list[dict[str, Any]] = field(default_factory=list)
    window: tuple[int, int] = (0, 0)
    backlog_frames: int = 0
    stored_frames: int = 0
    logged: list[Frame] = field(default_factory=list)  # what the cloud's log holds
    asked_s: list[float] = field(default_factory=list)  # when the agent asked the cloud, and when it was answered
    answered_s: list[float] = field(default_factory=list)


class _Cloud:
    """The aggregator behind the network; goes down and comes back."""

    def __init__(self, loop: VirtualLoop, folder: Path, network: Network) -> None:
        self._loop = loop
        self._places = Places(folder)
        self._network = network
        self.aggregator: Aggregator | None = None

    def start(self) -> Aggregator:
        aggregator = self.aggregator = Aggregator(self._places)
        append = aggregator.log.append

        async def held(frames: Any) -> None:
            with self._loop.held():  # the log writes in a thread of its own
                await append(frames)

        aggregator.log.append = held  # type: ignore[method-assign]
        self._network.app = aggregator.app
        return aggregator

    async def stop(self) -> None:
        await self._network.cut()
        if self.aggregator is not None:
            while await self.aggregator.processor.step():
                pass
            self.aggregator.close()
            self.aggregator = None


class _Day:
    def __init__(self, loop: VirtualLoop, folder: Path, plan: Plan) -> None:
        self._loop = loop
        self._folder = folder
        self._plan = plan
        profiles = {"machine": parse_profile(MACHINE, "machine.yaml")}
        self._devices = {
            name: SimulatedDevice(name, unit, profiles["machine"]) for unit, name in enumerate(MACHINES, 1)
        }
        self._network = Network(plan, loop.time)
        self._cloud = _Cloud(loop, folder / "cloud", self._network)
        self._site = _site(folder, profiles)
        self._disk = BrokenDisk()
        self._outcome = Outcome(asked_s=self._network.asked_s, answered_s=self._network.answered_s)

    async def run(self) -> Outcome:
        key = make_key(self._site.key_path)
        aggregator = self._cloud.start()
        aggregator.keys.add(GATEWAY, SITE, key.public_key(), START_MS)
        import_ledger(aggregator.facts, LEDGER, "ledger.yaml", actor="test", now_ms=START_MS)
        restarting = asyncio.create_task(self._restart_cloud(), name="restarts")
        breaking = asyncio.create_task(self._break_disk(), name="disk")
        until_s = 0.0
        for number, off in enumerate([*self._plan.kills, None]):
            end_s = self._plan.length_s + PEACE_S if off is None else off.from_s
            await self._one_life(number, end_s, killed=off is not None)
            until_s = end_s if off is None else off.to_s
            await asyncio.sleep(max(until_s - self._loop.time(), 0.0))
        await restarting
        await breaking
        await self._judge()
        await self._cloud.stop()
        return self._outcome

    async def _one_life(self, number: int, end_s: float, *, killed: bool) -> None:
        """The agent from a start to a power cut, or to the end of the day."""
        world = World(
            link_to=lambda _: MemoryLink(self._devices, self._plan, self._loop.time),
            client=client_over(self._network),
            rng=Random(self._plan.seed * 1009 + number),
            disk=self._disk,
        )
        gateway = Gateway.open(self._site, Clock(SteadySources(self._loop, self._plan.clock_known_s)), world=world)
        gateway.journal.subscribe(self._outcome.accepted.append)
        stop = asyncio.Event()
        life = asyncio.create_task(gateway.run(stop), name="agent")
        await asyncio.wait({life}, timeout=end_s - self._loop.time())
        if life.done():
            life.result()
        if killed:
            life.cancel()
        else:
            self._outcome.backlog_frames = gateway.journal.backlog_frames()
            stop.set()
        await asyncio.wait({life})
        await gateway.close()

    async def _restart_cloud(self) -> None:
        rng = Random(self._plan.seed * 7 + 3)
        for at_s in self._plan.cloud_restarts_s:
            await asyncio.sleep(max(at_s - self._loop.time(), 0.0))
            await self._cloud.stop()
            await asyncio.sleep(rng.uniform(1.0, 300.0))
            self._cloud.start()

    async def _break_disk(self) -> None:
        for spell in self._plan.disk:
            await asyncio.sleep(max(spell.from_s - self._loop.time(), 0.0))
            self._disk.full, self._disk.read_only = spell.what == "full", spell.what == "read-only"
            await asyncio.sleep(spell.to_s - self._loop.time())
            self._disk.full = self._disk.read_only = False

    async def _judge(self) -> None:
        aggregator = self._cloud.aggregator
        assert aggregator is not None
        while await aggregator.processor.step():
            pass
        store = FactStore(aggregator.facts)
        ledger = store.ledger(SITE)
        assert ledger is not None
        window = START_MS + 60_000, START_MS + round(self._plan.length_s * 1000) + 60_000
        self._outcome.window = window
        for device, timeline in store.timelines(ledger, *window).items():
            piece = timeline.clipped(*window)
            self._outcome.timelines[device] = list(zip(piece.starts.tolist(), piece.codes.tolist(), strict=True))
        asked = {"from": format_instant(window[0]), "to": format_instant(window[1])}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(aggregator.app), base_url="http://cloud") as http:
            answer = await http.get(f"/api/v1/sites/{SITE}/indicators/equipment.intact_rate", params=asked)
            assert answer.status_code == 200, answer.text
            self._outcome.indicators.append(answer.json())
        self._outcome.logged = [
            decode_frame(entry.data) for lane in Lane for entry in aggregator.log.read(lane, 0, FRAMES_MAX)
        ]
        states = aggregator.admission.identities.states(GATEWAY, None)
        self._outcome.stored_frames = sum(one.contiguous_seq for one in states)


def _site(folder: Path, profiles: Mapping[str, Any]) -> Site:
    devices = [{"id": name, "profile": "machine", "unit": unit} for unit, name in enumerate(MACHINES, 1)]
    config = {
        "site": SITE,
        "gateway": GATEWAY,
        "key_file": "gw.key",
        "data_dir": "edge-data",
        "cloud": {"url": "http://127.0.0.1:1"},
        "connections": [{"id": "bus", "modbus": {"host": "127.0.0.1"}, "devices": devices}],
    }
    return site_of(SiteConfig.model_validate(config, strict=False), folder, profiles)


def run_day(folder: Path, plan: Plan, hourly: Callable[[], None] = lambda: None) -> Outcome:
    """Simulate a day in an empty folder; `hourly` is called when an hour of it has passed."""
    folder.mkdir(parents=True, exist_ok=True)

    async def every_hour() -> None:
        while True:
            await asyncio.sleep(3600)
            hourly()

    async def work(loop: VirtualLoop) -> Outcome:
        clock = asyncio.create_task(every_hour(), name="hourly")
        try:
            return await _Day(loop, folder, plan).run()
        finally:
            clock.cancel()
            await asyncio.wait({clock})

    return run_virtually(START_MS, work)


def words_of(timeline: Pieces) -> str:
    """A timeline for people."""
    return ", ".join(f"{(start - START_MS) / 1000:.3f}s:{code}" for start, code in timeline)
