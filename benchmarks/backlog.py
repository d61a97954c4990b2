"""A backlog of hours drains while live goes on, over a slow link and without one; many gateways come back together.

The cloud is the real one in a process of its own, the slow link a proxy with the bandwidth of one. `BACKLOG_S`
seconds of a site of 400 readings a second wait at the start; GATEHOUSE_BENCH_BACKLOG_S takes another number. The
herd shares one process with its proxy, so its times are those of a busy core; how often it connects is its own.
"""

import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.figures import Figure
from benchmarks.frames import content
from cloud.ingest.gateways import GatewayRegister
from devices.columns import Numbers
from devices.frame import Content, Header, Origin, encode_body, key_id, open_frame, seal_frame
from devices.reading import Lane, Series
from devices.receipt import Receipt
from edge.bandwidth import Bandwidth
from edge.clock import Clock
from edge.cloud_client import CloudClient
from edge.journal import Journal
from edge.kept import Columns, Kept
from edge.lane_journal import LaneJournal
from edge.series import SeriesTable
from edge.uplink import Uplink
from simulators.faults import FaultProxy, fault_proxy
from simulators.wires import Protocol

BACKLOG_S = int(os.environ.get("GATEHOUSE_BENCH_BACKLOG_S", "21600"))
READINGS_PER_S = 400
EVENTS_EVERY_S = 5
LIVE_FRAMES = 5  # may always be under way
LINK_BYTES_S = 125_000  # 1 Mbit/s
GATEWAYS = 500
FRAMES_EACH = 20
OUTAGE_S = 5.0
SAMPLE_S = 0.1
SMALL_SEGMENT_BYTES = 64 * 1024
PATIENCE_S = 1_800.0
KEY = Ed25519PrivateKey.generate()
MEMORY = Path("/dev/shm")  # noqa: S108  a disk that does not matter here: the journal has a benchmark of its own


def measure() -> list[Figure]:
    """Live latency and speed on 1 Mbit/s and on loopback; connects a second and times of 500 gateways."""
    shaped = asyncio.run(_drain(LINK_BYTES_S))
    free = asyncio.run(_drain(None))
    herd = asyncio.run(_herd())
    hours = f"{BACKLOG_S / 3600:g} h backlog"
    return [
        Figure(f"{hours}, 1 Mbit/s: live, sealed to receipted, p95", [_p95(shaped.live_s)], "s", "<= 2"),
        Figure(f"{hours}, 1 Mbit/s: live, median", [statistics.median(shaped.live_s)], "s"),
        Figure(f"{hours}, 1 Mbit/s: drained, times real time", [BACKLOG_S / shaped.took_s], "x", ">= 20"),
        Figure(f"{hours}, 1 Mbit/s: share of the link in frames", [shaped.bytes / shaped.took_s / LINK_BYTES_S], "",
               ">= 0.8 if not 20 x"),
        Figure(f"{hours}, loopback: drained, times real time", [BACKLOG_S / free.took_s], "x", ">= 500"),
        Figure(f"{hours}, loopback: live, sealed to receipted, p95", [_p95(free.live_s)], "s", "<= 2"),
        Figure(f"{GATEWAYS} gateways start: connects in the busiest second", [herd.start_peak], "", "bounded"),
        Figure(f"{GATEWAYS} gateways start: all drained after", [herd.start_s], "s"),
        Figure(f"{GATEWAYS} gateways, link returns: connects, busiest second", [herd.return_peak], "", "bounded"),
        Figure(f"{GATEWAYS} gateways, link returns: half are connected after", [herd.half_s], "s"),
        Figure(f"{GATEWAYS} gateways, link returns: all are connected after", [herd.return_s], "s"),
    ]  # fmt: skip


@dataclass
class Drained:
    """One backlog. `live_s` are seconds from the fsync of a live frame to its Receipt."""

    took_s: float = 0.0
    bytes: int = 0
    live_s: list[float] = field(default_factory=list)


class Watching(CloudClient):
    """Notes when each frame was receipted."""

    sealed_s: dict[tuple[Lane, int], float]
    drained: Drained

    async def post(self, frames: Sequence[bytes], bandwidth: Bandwidth | None = None, *, live: bool = True) -> Receipt:
        """As always."""
        receipt = await super().post(frames, bandwidth or Bandwidth(), live=live)
        now_s = time.monotonic()
        for data in frames:
            header = open_frame(data).header
            self.drained.bytes += len(data)
            sealed_s = self.sealed_s.pop((header.lane, header.seq), None)
            if sealed_s is not None:
                self.drained.live_s.append(now_s - sealed_s)
        return receipt


async def _drain(bytes_s: float | None) -> Drained:
    clock = Clock()
    drained = Drained()
    sealed_s: dict[tuple[Lane, int], float] = {}
    with _folder() as folder:
        now_ms = time.time_ns() // 1_000_000
        _fill_site(folder / "journal", now_ms - BACKLOG_S * 1000)
        table = SeriesTable()
        journal = Journal.open(folder / "journal", "gw-0", KEY, clock, table)
        journal.subscribe(lambda frame: sealed_s.__setitem__((frame.header.lane, frame.header.seq), time.monotonic()))
        waiting = journal.backlog_frames()
        async with _cloud(folder, ["gw-0"]) as port, _link(port, bytes_s) as proxy:
            client = Watching(f"http://127.0.0.1:{proxy.listen_port}", "gw-0", KEY, clock)
            client.sealed_s, client.drained = sealed_s, drained
            uplink = Uplink(journal, client, clock, Random(1))
            started_s = time.monotonic()
            tasks = [asyncio.create_task(work) for work in (journal.run(), uplink.run(), _live(journal, table, clock))]
            while time.monotonic() - started_s < PATIENCE_S:
                await asyncio.sleep(SAMPLE_S)
                if uplink.state.delivered_frames >= waiting and journal.backlog_frames() <= LIVE_FRAMES:
                    break
            drained.took_s = time.monotonic() - started_s
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await client.close()
        journal.close()
    return drained


async def _live(journal: Journal, table: SeriesTable, clock: Clock) -> None:
    """The site goes on: values every second, a state every few."""
    values = content(READINGS_PER_S, READINGS_PER_S)
    ids = [table.id_of(one) for one in values.series]
    switch = table.id_of(Series("pump", "run", "", 60))
    for second in range(10**9):
        now = clock.now()
        times = [now.utc_ms] * READINGS_PER_S
        numbers = Numbers.of(ids, times, values.numbers.value.tolist(), [0] * READINGS_PER_S)
        journal.put(Kept(None, Columns(numbers)), now)
        if second % EVENTS_EVERY_S == 0:
            state = Numbers.of([switch], [now.utc_ms], [float(second)], [0])
            journal.put(Kept(Columns(state), None, urgent=True), now)
        await asyncio.sleep(1.0)


def _fill_site(folder: Path, start_ms: int) -> None:
    journal = Journal.open(folder, "gw-0", KEY, Clock(), SeriesTable())
    values = [encode_body(content(READINGS_PER_S, READINGS_PER_S, seed)) for seed in range(20)]
    states = [encode_body(content(50, 50, seed)) for seed in range(20)]
    for second in range(BACKLOG_S):
        _append(journal.lane(Lane.TELEMETRY), "gw-0", values[second % 20], READINGS_PER_S, start_ms + 1000 * second)
        if second % EVENTS_EVERY_S == 0:
            _append(journal.lane(Lane.EVENTS), "gw-0", states[second % 20], 50, start_ms + 1000 * second)
    journal.close()


def _append(lane: LaneJournal, gateway: str, body: bytes, readings: int, from_ms: int) -> None:
    header = Header(
        gateway, lane.lane, lane.epoch, lane.next_seq, key_id(KEY.public_key()), b"run-1---", from_ms, from_ms,
        from_ms + 1000, trusted=True, uncertainty_ms=0, keyframe=False, origin=Origin.LIVE,
        previous_hash=lane.last_hash, previous_epoch=lane.previous_epoch, readings=readings, body_bytes=len(body),
    )  # fmt: skip
    lane.append(seal_frame(header, body, KEY))


@dataclass
class Herd:
    """Many gateways at once."""

    start_peak: float
    start_s: float
    return_peak: float
    half_s: float
    return_s: float


async def _herd() -> Herd:
    names = [f"gw-{number}" for number in range(GATEWAYS)]
    body = encode_body(Content())
    now_ms = time.time_ns() // 1_000_000
    with _folder() as folder:
        for name in names:
            journal = Journal.open(folder / name, name, KEY, Clock(), SeriesTable(), segment_bytes=SMALL_SEGMENT_BYTES)
            for number in range(FRAMES_EACH):
                _append(journal.lane(Lane.EVENTS), name, body, 0, now_ms + 1000 * (number - FRAMES_EACH))
            journal.close()
        async with _cloud(folder, names) as port:
            async with _link(port, None) as proxy:
                agents = [_Agent(folder, name, number, proxy.listen_port) for number, name in enumerate(names)]
                samples = asyncio.create_task(_sample(proxy))
                started_s = time.monotonic()
                for agent in agents:
                    agent.start()
                await _all(agents, lambda agent: agent.drained)
                start_s, start_peak = time.monotonic() - started_s, _peak(await _end(samples))
            await _all(agents, lambda agent: not agent.uplink.state.connected)
            await asyncio.sleep(OUTAGE_S)
            async with _link(port, None, proxy.listen_port) as proxy:
                back_s = time.monotonic()
                samples = asyncio.create_task(_sample(proxy))
                await _all(agents, lambda agent: agent.uplink.state.connected, GATEWAYS // 2)
                half_s = time.monotonic() - back_s
                await _all(agents, lambda agent: agent.uplink.state.connected)
                return_s, return_peak = time.monotonic() - back_s, _peak(await _end(samples))
                for agent in agents:
                    await agent.stop()
    return Herd(start_peak, start_s, return_peak, half_s, return_s)


class _Agent:
    """One gateway of the herd: its journal and its uplink."""

    def __init__(self, folder: Path, name: str, number: int, port: int) -> None:
        clock = Clock()
        self.journal = Journal.open(folder / name, name, KEY, clock, SeriesTable(), segment_bytes=SMALL_SEGMENT_BYTES)
        self.client = CloudClient(f"http://127.0.0.1:{port}", name, KEY, clock)
        self.uplink = Uplink(self.journal, self.client, clock, Random(number))

    @property
    def drained(self) -> bool:
        return self.uplink.state.delivered_frames >= FRAMES_EACH

    def start(self) -> None:
        self._task = asyncio.create_task(self.uplink.run())

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.client.close()
        self.journal.close()


async def _all(agents: list[_Agent], condition: Callable[[_Agent], bool], count: int = GATEWAYS) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while sum(condition(agent) for agent in agents) < count:  # noqa: ASYNC110  they tell nobody
            await asyncio.sleep(SAMPLE_S)


async def _sample(proxy: FaultProxy) -> list[int]:
    """How many connections there were, ten times a second until cancelled."""
    found = [proxy.connections]
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(SAMPLE_S)
            found.append(proxy.connections)
    return found


async def _end(samples: "asyncio.Task[list[int]]") -> list[int]:
    samples.cancel()
    return await samples


def _peak(samples: list[int]) -> float:
    second = round(1 / SAMPLE_S)
    return float(
        max(later - earlier for earlier, later in zip(samples, [*samples[second:], samples[-1]], strict=False))
    )


def _p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-", dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


@contextlib.asynccontextmanager
async def _link(port: int, bytes_s: float | None, listen_port: int = 0) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy("127.0.0.1", port, Protocol.RAW, bandwidth_bytes_s=bytes_s, listen_port=listen_port)
    async with fault_proxy(proxy):
        yield proxy


@contextlib.asynccontextmanager
async def _cloud(folder: Path, gateways: list[str]) -> AsyncIterator[int]:
    """The aggregator in a process of its own; its port once it serves."""
    data = folder / "cloud"
    data.mkdir()
    register = GatewayRegister(data / "gateways.sqlite")
    for name in gateways:
        register.add(name, "site", KEY.public_key(), 0)
    register.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "gatehouse", "cloud", "run", "--data-dir", str(data), "--port", str(port)]
    log = (folder / "cloud.log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log) as process:  # noqa: ASYNC220  nothing else runs yet
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client, asyncio.timeout(30):
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        if (await client.get("/healthz")).status_code == httpx.codes.OK:
                            break
                    await asyncio.sleep(SAMPLE_S)
            yield port
        finally:
            process.terminate()
