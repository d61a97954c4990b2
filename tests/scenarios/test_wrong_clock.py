"""A gateway that wakes up in another year, from its first reading to the facts, over TLS."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.aggregator import Aggregator
from cloud.facts.ledgers import import_ledger
from cloud.facts.parked import parked_frames
from cloud.facts.store import FactStore
from cloud.facts.timelines import EQUIPMENT_STATES
from cloud.settings import Places, owning
from devices.columns import Numbers
from devices.reading import Lane, Series
from devices.records import Inventory, ProfileText
from edge.clock import Clock
from edge.cloud_client import CloudClient
from edge.journal import Journal
from edge.kept import Columns, Kept
from edge.series import SeriesTable
from edge.uplink import Uplink
from tests.certificates import Authority
from tests.cloud.told import inventory, ledger_text
from tests.waiting import eventually, until

MINUTE_MS = 60_000
YEAR_MS = 365 * 24 * 60 * MINUTE_MS
EQUIPMENT = "equipment: [{id: pump, name: {en: N, zh-CN: N}, code: P-1, class: pump, criticality: A, device: pump}]"
ERROR_MS_MAX = 1_000
HOLD_S = 120  # the pump is read once a minute


def real_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Machine:
    """Clocks of a machine that a test moves on by minutes. `off_ms` is how wrong its clock is."""

    off_ms: int = 0
    ntp_ms: int | None = None
    passed_ms: int = -10 * MINUTE_MS  # the test begins ten minutes ago

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000 + self.passed_ms

    def wall_ms(self) -> int:
        return real_ms() + self.passed_ms + self.off_ms

    def ntp_uncertainty_ms(self) -> int | None:
        return self.ntp_ms


@dataclass
class Site:
    """A gateway with one pump, its journal and its way to the cloud."""

    name: str
    folder: Path
    machine: Machine
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def __post_init__(self) -> None:
        self.table = SeriesTable()
        self.boot()

    def boot(self) -> None:
        """Start the agent on what is there."""
        self.clock = Clock(self.machine)
        self.journal = Journal.open(self.folder / self.name, self.name, self.key, self.clock, self.table)
        infos, profile = inventory(["pump"], self.clock.now().utc_ms, hold_s=HOLD_S)
        assert isinstance(infos, Inventory)
        assert isinstance(profile, ProfileText)
        self.journal.announce(infos, [profile])

    def read(self, alarm: float, value: float) -> None:
        """The pump is read now: a state input and a value for charts."""
        now = self.clock.now()
        state, chart = self.table.id_of(Series("pump", "alarm", "", HOLD_S)), self.table.id_of(Series("pump", "speed"))
        events = Columns(Numbers.of([state], [now.utc_ms], [alarm], [0]))
        telemetry = Columns(Numbers.of([chart], [now.utc_ms], [value], [0]))
        self.journal.put(Kept(events, telemetry, urgent=True), now)

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
    async def sending(self, url: str, ca_file: Path) -> AsyncIterator[Uplink]:
        client = CloudClient(url, self.name, self.key, self.clock, ca_file)
        uplink = Uplink(self.journal, client, self.clock, Random(1), spread_s=0.0)
        task = asyncio.create_task(uplink.run())
        try:
            yield uplink
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await client.close()


@asynccontextmanager
async def aggregator(folder: Path, sites: list[Site]) -> AsyncIterator[tuple[Aggregator, str]]:
    """The real one, over TLS, in this process."""
    certificate, key = Authority.make(folder).issue("server")
    with owning(folder / "cloud") as places:
        cloud = Aggregator(Places(places.root))
        for site in sites:
            cloud.keys.add(site.name, site.name, site.key.public_key(), 0)
            text = ledger_text(EQUIPMENT, site=site.name)
            import_ledger(cloud.facts, text, "ledger.yaml", actor="test", now_ms=0)
        config = uvicorn.Config(
            cloud.app, port=0, log_config=None, lifespan="off", ssl_certfile=certificate, ssl_keyfile=key
        )
        server = uvicorn.Server(config)
        tasks = [
            asyncio.create_task(work)
            for work in (server.serve(), cloud.processor.run(), *(f.run() for f in cloud.feeds))
        ]
        await until(lambda: server.started, "the server")
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield cloud, f"https://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            cloud.processor.stop()
            for feed in cloud.feeds:
                feed.stop()
            await asyncio.gather(*tasks)
            cloud.close()


def states(cloud: Aggregator, site: str, from_ms: int, to_ms: int) -> list[tuple[int, str]]:
    """What the pump was since when."""
    store = FactStore(cloud.facts)
    ledger = store.ledger(site)
    assert ledger is not None
    timeline = store.timelines(ledger, from_ms, to_ms)["pump"].clipped(from_ms, to_ms)
    names = [EQUIPMENT_STATES[code].value for code in timeline.codes.tolist()]
    return list(zip(timeline.starts.tolist(), names, strict=True))


def charted(cloud: Aggregator, site: str, begin_ms: int) -> list[tuple[float, int]]:
    """Values of the chart, each with its time."""
    rows = cloud.history.rows(site, "pump", "speed", begin_ms - YEAR_MS, begin_ms + 20 * YEAR_MS)
    return [(row.value, row.time_ms) for row in rows]


async def drained(sites: list[Site], uplinks: list[Uplink]) -> None:
    async with asyncio.timeout(30):
        for site, uplink in zip(sites, uplinks, strict=True):
            await uplink.drained(backlog=True)
            assert site.journal.backlog_frames() == 0


async def test_a_boot_in_1970_and_a_sync_after_ten_minutes_give_the_facts_of_a_right_clock(tmp_path: Path) -> None:
    right = Site("right", tmp_path, Machine(ntp_ms=10))
    wrong = Site("wrong", tmp_path, Machine(off_ms=17_000 + 10 * MINUTE_MS - real_ms()))
    sites = [right, wrong]
    begin_ms = right.clock.now().utc_ms
    async with aggregator(tmp_path, sites) as (cloud, url), right.sealing(), wrong.sealing():
        for minute in range(10):
            for site in sites:
                site.read(float(minute in {3, 4}), float(minute))
            await asyncio.gather(*(site.journal.stored(0.0) for site in sites))
            for site in sites:
                site.machine.passed_ms += MINUTE_MS
        in_1970 = wrong.clock.now()
        async with right.sending(url, tmp_path / "ca.pem") as one, wrong.sending(url, tmp_path / "ca.pem") as two:
            await until(lambda: wrong.clock.now().trusted, "a trusted clock")
            for site in sites:
                site.read(0.0, 10.0)
            await asyncio.gather(*(site.journal.stored(0.0) for site in sites))
            await drained(sites, [one, two])
        await eventually(lambda: asyncio.to_thread(lambda: not parked_frames(cloud.facts)), "the fix")
        await until(lambda: len(charted(cloud, "wrong", begin_ms)) == 11, "the chart")
        end_ms = right.clock.now().utc_ms
        expected, found = (states(cloud, site.name, begin_ms, end_ms) for site in sites)
        charts = [charted(cloud, site.name, begin_ms) for site in sites]

    assert not in_1970.trusted
    assert in_1970.utc_ms < YEAR_MS
    assert [state for _, state in found] == [state for _, state in expected]
    assert "fault" in {state for _, state in found}
    assert max(abs(ours - theirs) for (ours, _), (theirs, _) in zip(found, expected, strict=True)) <= ERROR_MS_MAX
    assert [value for value, _ in charts[1]] == [value for value, _ in charts[0]]
    assert max(abs(ours - theirs) for (_, ours), (_, theirs) in zip(*charts, strict=True)) <= ERROR_MS_MAX


async def test_a_gateway_that_was_once_in_2035_comes_back(tmp_path: Path) -> None:
    site = Site("late", tmp_path, Machine(off_ms=9 * YEAR_MS, ntp_ms=10, passed_ms=0))  # and its NTP server agreed
    begin_ms = real_ms()
    async with aggregator(tmp_path, [site]) as (cloud, url):
        async with site.sealing():
            site.read(1.0, 1.0)
            await site.journal.stored(0.0)
            site.machine.off_ms = 0
            site.clock.check()
            site.read(0.0, 2.0)
            await site.journal.stored(0.0)
        site.boot()
        async with site.sealing(), site.sending(url, tmp_path / "ca.pem") as uplink:
            site.read(0.0, 3.0)
            await site.journal.stored(0.0)
            await drained([site], [uplink])
        await until(lambda: len(charted(cloud, "late", begin_ms)) == 3, "the chart")
        charts = charted(cloud, "late", begin_ms)
        parked = parked_frames(cloud.facts)

    assert parked == []
    assert [value for value, _ in charts] == [1.0, 2.0, 3.0]
    assert all(begin_ms - ERROR_MS_MAX <= time_ms <= real_ms() for _, time_ms in charts)


async def test_a_jump_of_a_day_reorders_and_expires_nothing(tmp_path: Path) -> None:
    site = Site("jumpy", tmp_path, Machine(ntp_ms=10, passed_ms=0))
    begin_ms = real_ms()
    day_ms = 24 * 60 * MINUTE_MS
    async with aggregator(tmp_path, [site]) as (cloud, url), site.sealing():
        async with site.sending(url, tmp_path / "ca.pem") as uplink:
            for number, jump_ms in enumerate((0, day_ms, -day_ms)):
                site.machine.off_ms += jump_ms
                site.clock.check()
                site.read(0.0, float(number))
                await site.journal.stored(0.0)
            await drained([site], [uplink])
        lanes = {lane: site.journal.lane(lane).ranges() for lane in Lane}
        await until(lambda: len(charted(cloud, "jumpy", begin_ms)) == 3, "the chart")
        charts = charted(cloud, "jumpy", begin_ms)

    assert [value for value, _ in charts] == [0.0, 1.0, 2.0]
    assert all(abs(time_ms - begin_ms) < MINUTE_MS for _, time_ms in charts)
    assert all(len(ranges) == 1 and ranges[0][1] == 1 for ranges in lanes.values())
