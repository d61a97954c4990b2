"""Modbus TCP polling with the durable journal: values are counted in the frames that were fsynced."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure
from devices.frame import decode_frame
from devices.reading import Lane
from devices.segments import Record, scan

RUNS = 3
WARM_UP_S = 2.0
SECONDS = 8.0
CASES = (
    ("50 devices x 100 registers, flat out", 50, 100, 0.005, ">= 500,000 values/s"),
    ("500 devices x 30 points, 1 s", 500, 30, 1.0, "15,000 values/s, <= 1 core, <= 150 MB"),
)
_SERVER = '''
import asyncio, struct, sys
class Answers(asyncio.Protocol):
    """Every register changes at every poll; writes nothing down, parses nothing but what it must."""
    def connection_made(self, transport): self.transport, self.count = transport, 0
    def data_received(self, data):
        out = []
        for at in range(0, len(data) - 11, 12):
            request = data[at:at + 12]
            registers = request[10] << 8 | request[11]
            self.count = self.count + 1 & 0xFF
            out.append(request[:4] + struct.pack(">HBBB", 3 + 2 * registers, request[6], request[7], 2 * registers))
            out.append(bytes([self.count]) * (2 * registers))
        self.transport.write(b"".join(out))
async def main():
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Answers, "127.0.0.1", 0, backlog=1024) for _ in range(int(sys.argv[1]))]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.Event().wait()
import uvloop; uvloop.run(main())
'''


def measure() -> list[Figure]:
    """Values per second, CPU and memory of the agent, for each case."""
    figures = []
    for what, devices, points, interval_s, goal in CASES:
        runs = [run_agent(devices, points, interval_s) for _ in range(RUNS)]
        figures += [
            Figure(f"{what}: durable", [run["values"] / run["seconds"] for run in runs], "values/s", goal),
            Figure(f"{what}: CPU", [run["cpu"] / run["seconds"] for run in runs], "cores"),
            Figure(f"{what}: CPU per value", [run["cpu"] / run["values"] * 1e6 for run in runs], "us"),
            Figure(f"{what}: CPU per request", [run["cpu"] / run["values"] * points * 1e6 for run in runs], "us"),
            Figure(f"{what}: distance of polls, p50", [run["distance_p50"] for run in runs], "ms"),
            Figure(f"{what}: distance of polls, p99", [run["distance_p99"] for run in runs], "ms"),
            Figure(f"{what}: memory", [run["rss_mb"] for run in runs], "MB"),
        ]
    return figures


def run_agent(devices: int, points: int, interval_s: float) -> dict[str, float]:
    """One run of the agent on one core: `values` durable in `seconds`, `cpu` seconds, `rss_mb`."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gatehouse-bench-")))
        (port,) = stack.enter_context(modbus_server(1))
        arguments = [str(folder), *map(str, (port, devices, points, interval_s))]
        agent = subprocess.run(
            [sys.executable, "-m", "benchmarks.polling", *arguments], stdout=subprocess.PIPE, text=True, check=True
        )
        told: dict[str, float] = json.loads(agent.stdout.splitlines()[-1])
        return told | _measured(folder, int(told["from_ms"]), int(told["to_ms"]))


@contextlib.contextmanager
def modbus_server(ports: int) -> Iterator[list[int]]:
    """A server that is not the bottleneck, on so many ports of this host (a peer opens one connection per port)."""
    with subprocess.Popen([sys.executable, "-c", _SERVER, str(ports)], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield [int(port) for port in server.stdout.readline().split()]
        finally:
            server.kill()


def _measured(folder: Path, from_ms: int, to_ms: int) -> dict[str, float]:
    """Readings of that time in frames on disk, and how far apart the polls of a device were."""
    found = 0
    polls: dict[str, list[int]] = {}
    for lane in Lane:
        for record in scan(folder / "data" / "journal" / lane):
            if isinstance(record, Record):
                content = decode_frame(record.payload).content
                times = content.numbers.time_ms
                inside = (times >= from_ms) & (times < to_ms)
                found += int(inside.sum())
                firsts = [index for index, one in enumerate(content.series) if one.point == "p0"]
                for row in np.flatnonzero(inside & np.isin(content.numbers.series, firsts)).tolist():
                    device = content.series[content.numbers.series[row]].device
                    polls.setdefault(device, []).append(int(times[row]))
    distances = np.concatenate([np.diff(np.sort(times)) for times in polls.values()])
    p50, p99 = np.percentile(distances, (50, 99)).tolist()
    return {"values": found, "distance_p50": p50, "distance_p99": p99}


async def _agent(folder: Path, port: int, devices: int, points: int, interval_s: float) -> None:
    from devices.profile import parse_profile
    from edge.clock import Clock
    from edge.config import SiteConfig, site_of
    from edge.enrol import make_key
    from edge.gateway import Gateway

    lines = [f"  - {{id: p{n}, function: holding, address: {n}, type: u16, unit: V}}" for n in range(points)]
    head = "id: bench\nsource: {document: benchmark, verified: unverified}\nmodbus: {}\n"
    profile = parse_profile(head + f"poll: {{value: {interval_s}}}\n" + "points:\n" + "\n".join(lines) + "\n", "bench")
    connections = [
        {
            "id": f"c{n}",
            "modbus": {"host": "127.0.0.1", "port": port},
            "devices": [{"id": f"d{n}", "profile": "bench", "unit": 1}],
        }
        for n in range(devices)
    ]
    config = SiteConfig.model_validate(
        {"site": "s", "gateway": "g", "key_file": "g.key", "data_dir": "data", "connections": connections}, strict=False
    )
    site = site_of(config, folder, {"bench": profile})
    make_key(site.key_path)
    clock = Clock()
    gateway = Gateway.open(site, clock)
    stop = asyncio.Event()
    running = asyncio.create_task(gateway.run(stop), name="gateway")
    await asyncio.sleep(WARM_UP_S)
    from_ms, used, started = clock.now().utc_ms, _cpu_s(), asyncio.get_running_loop().time()
    await asyncio.sleep(SECONDS)
    told = {
        "from_ms": from_ms,
        "to_ms": clock.now().utc_ms,
        "cpu": _cpu_s() - used,
        "seconds": asyncio.get_running_loop().time() - started,
        "rss_mb": _rss_mb(),
    }
    stop.set()
    await running
    await gateway.close()
    print(json.dumps(told))


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    import uvloop

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core for the agent
    _folder, _port, _devices, _points, _interval = sys.argv[1:]
    uvloop.run(_agent(Path(_folder), int(_port), int(_devices), int(_points), float(_interval)))
