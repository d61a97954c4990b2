"""Frames into the aggregator over HTTP: readings per second of its CPU until the durable Receipt.

The whole aggregator runs, so that what it derives meanwhile counts as well; a second figure waits until
facts and history have everything.
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
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.figures import Figure
from benchmarks.frames import content, sealed
from devices.batches import CONTENT_TYPE, join_frames
from devices.reading import Lane
from devices.receipt import decode_receipt

RUNS = 3
IN_FLIGHT = 4
CASES = (
    (1_000, 400, "1,000-reading frames", ">= 300,000"),
    (10_000, 120, "10,000-reading frames", ">= 1,500,000"),
)
FRAMES_PER_REQUEST = 8


def measure() -> list[Figure]:
    """Rates per second of server CPU, and latency of a request, for each size of frame."""
    figures = []
    for readings, frames, what, goal in CASES:
        runs = [asyncio.run(_run(readings, frames)) for _ in range(RUNS)]
        figures += [
            Figure(f"{what}: to durable receipt, per CPU second", [run[0] for run in runs], "readings/s", goal),
            Figure(f"{what}: to durable receipt, wall", [run[1] for run in runs], "readings/s"),
            Figure(f"{what}: request of {FRAMES_PER_REQUEST} frames, p50", [run[2] for run in runs], "ms"),
        ]
    return figures


async def _run(readings: int, frames: int) -> tuple[float, float, float]:
    key = Ed25519PrivateKey.generate()
    what = content(readings, 1_000)
    made = [sealed(what, Lane.TELEMETRY, seq, key=key).data for seq in range(1, frames + 1)]
    bodies = [join_frames(made[at : at + FRAMES_PER_REQUEST]) for at in range(0, frames, FRAMES_PER_REQUEST)]
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as name, _cloud(Path(name), key) as (port, pid):
        now_s = int(time.time())
        token = jwt.encode({"sub": "gw-1", "aud": "gatehouse-cloud", "exp": now_s + 300, "iat": now_s}, key, "EdDSA")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": CONTENT_TYPE}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
            await _until_up(client)
            waits: list[float] = []
            queue = iter(bodies)

            async def send() -> None:
                for body in queue:
                    start = time.perf_counter()
                    answer = await client.post("/api/v1/gateways/gw-1/frames", content=body)
                    waits.append((time.perf_counter() - start) * 1000)
                    stored = decode_receipt(answer.raise_for_status().content).results
                    if {one.status for one in stored} != {"stored"}:
                        raise AssertionError(stored)

            used, started = _cpu_s(pid), time.perf_counter()
            await asyncio.gather(*(send() for _ in range(IN_FLIGHT)))
            cpu_s, wall_s = _cpu_s(pid) - used, time.perf_counter() - started
    total = readings * frames
    return total / cpu_s, total / wall_s, statistics.median(waits)


@contextlib.contextmanager
def _cloud(folder: Path, key: Ed25519PrivateKey) -> Iterator[tuple[int, int]]:
    import base64

    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    gatehouse = [sys.executable, "-m", "gatehouse", "cloud"]
    data = ["--data-dir", str(folder)]
    subprocess.run(
        [*gatehouse, "gateway", "add", "gw-1", "--site", "s", "--public-key", public, *data],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (folder / "cloud.log").open("wb")
    with log, subprocess.Popen([*gatehouse, "run", *data, "--port", str(port)], stdout=log, stderr=log) as process:
        try:
            yield port, process.pid
        finally:
            process.terminate()


async def _until_up(client: httpx.AsyncClient) -> None:
    while True:
        with contextlib.suppress(httpx.TransportError):
            if (await client.get("/healthz")).status_code == 200:
                return
        await asyncio.sleep(0.1)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
