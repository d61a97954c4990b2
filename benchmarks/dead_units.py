"""An RTU bus at 9600 baud, of whose ten units three are dead; and how much of a line's speed is used."""

import asyncio
import tempfile
from contextlib import closing
from pathlib import Path
from random import Random

from benchmarks.figures import Figure
from devices.profile import LoadedProfile, parse_profile
from edge.bus_time import silent_s, transfer_s
from edge.clock import Clock
from edge.collector import Collector
from edge.config import ModbusServer, SiteConfig, site_of
from edge.drivers.modbus import ModbusDriver
from edge.drivers.modbus_device import plans_of
from tests.edge.serial_bus import RtuPeer, RtuQuestion, serial_peer

RUNS = 3
BAUD = 9600
UNITS, DEAD = 10, {3, 6, 9}
INTERVAL_S, TIMEOUT_S = 1.0, 1.0
OPENING_S = 15.0  # until every breaker is open
SECONDS = 60.0
REGISTERS = 10
FLAT_OUT_S = 10.0
FLAT_OUT_REGISTERS = 100


def measure() -> list[Figure]:
    """The share of polls that the living units keep, what the dead ones cost, and the throughput of a line."""
    runs = [asyncio.run(_bus(Random(seed))) for seed in range(RUNS)]
    flat = [asyncio.run(_flat_out()) for _ in range(RUNS)]
    singly = transfer_s(_server(""), 2) + silent_s(_server(""))
    whole = transfer_s(_server(""), 2 * FLAT_OUT_REGISTERS) + silent_s(_server(""))
    return [
        Figure(
            "3 of 10 units dead, 1 s: polls kept by the worst of the others", [run[0] for run in runs], "%", ">= 95"
        ),
        Figure("the same, from a cold start on", [run[1] for run in runs], "%"),
        Figure("bus time spent on the dead units", [run[2] for run in runs], "%", "<= 5"),
        Figure("100 registers flat out: share of the line's speed", [100 * share for share in flat], "%", ">= 90"),
        Figure(
            "the same in values, against one request a value",
            [share * FLAT_OUT_REGISTERS * singly / whole for share in flat],
            "times",
        ),
    ]


def _profile(registers: int) -> LoadedProfile:
    lines = [f"  - {{id: p{at}, function: holding, address: {at}, type: u16, unit: V}}" for at in range(registers)]
    head = "id: bench\nsource: {document: benchmark, verified: unverified}\nmodbus: {}\n"
    head += f"poll: {{value: {INTERVAL_S}}}\n"
    return parse_profile(head + "points:\n" + "\n".join(lines) + "\n", "bench")


def _server(path: str) -> ModbusServer:
    return ModbusServer(serial=path or "/dev/null", baudrate=BAUD, timeout_s=TIMEOUT_S)


def _on_the_line(question: RtuQuestion, answer: bytes) -> list[tuple[float, bytes]]:
    """The answer when a real line would have carried question and answer."""
    return [(transfer_s(_server(""), 2 * question.count), answer)]


async def _bus(rng: Random) -> tuple[float, float, float]:
    peer = RtuPeer(dead_units=DEAD, plan=_on_the_line)
    devices = [{"id": f"d{unit}", "profile": "bench", "unit": unit} for unit in range(1, UNITS + 1)]
    async with serial_peer(peer) as path:
        bus = {"id": "bus", "modbus": _server(path).model_dump(exclude_defaults=True), "devices": devices}
        config = SiteConfig.model_validate({"site": "s", "gateway": "g", "connections": [bus]}, strict=False)
        with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as folder:
            site = site_of(config, Path(folder), {"bench": _profile(REGISTERS)})
            collector = Collector(site, _nowhere, Clock().now, rng=rng)
            running = asyncio.create_task(collector.run())
            await asyncio.sleep(OPENING_S)
            opening = peer.asked()
            peer.questions.clear()
            await asyncio.sleep(SECONDS)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    asked = peer.asked()
    living = set(range(1, UNITS + 1)) - DEAD
    kept = min(asked[unit] for unit in living) * INTERVAL_S / SECONDS
    cold = min(asked[unit] + opening[unit] for unit in living) * INTERVAL_S / (SECONDS + OPENING_S)
    wasted_s = sum(asked[unit] for unit in DEAD) * (TIMEOUT_S + transfer_s(_server(""), 2 * REGISTERS))
    return 100 * kept, 100 * cold, 100 * wasted_s / SECONDS


async def _nowhere(*_: object) -> None:
    """Take what was read and forget it."""


async def _flat_out() -> float:
    peer = RtuPeer(plan=_on_the_line)
    config = SiteConfig.model_validate(
        {
            "site": "s",
            "gateway": "g",
            "connections": [
                {
                    "id": "bus",
                    "modbus": {"serial": "/dev/null"},
                    "devices": [{"id": "d", "profile": "bench", "unit": 1}],
                }
            ],
        },
        strict=False,
    )
    (device,) = site_of(config, Path(), {"bench": _profile(FLAT_OUT_REGISTERS)}).devices
    (plan,) = plans_of(device)
    async with serial_peer(peer) as path:
        driver = ModbusDriver(_server(path), Clock().now)
        await driver.connect()
        with closing(driver):
            loop = asyncio.get_running_loop()
            began_s, polls = loop.time(), 0
            while loop.time() - began_s < FLAT_OUT_S:
                polls += (await driver.poll(plan)).answered
            elapsed_s = loop.time() - began_s
    ideal_s = transfer_s(_server(""), 2 * FLAT_OUT_REGISTERS) + silent_s(_server(""))
    return polls * ideal_s / elapsed_s
