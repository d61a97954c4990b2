"""How soon a local alert is at the site's broker: a real agent, real registers over Modbus TCP, a real Mosquitto.

Counted from the time of the reading that shows it, from the change of the register, and from the end of a delay.
"""

import asyncio
import contextlib
import json
import logging
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiomqtt
import structlog

from benchmarks.figures import Figure
from devices.instants import parse_instant
from devices.profile import packaged_profile
from edge.clock import Clock
from edge.config import load_site
from edge.enrol import make_key
from edge.gateway import Gateway
from simulators.modbus import SimulatedDevice, serve
from tests.brokers import mosquitto

CHANGES = 20  # of each contact
DELAY_S = 1.0
PATIENCE_S = 10.0
PROFILES = {"panel": ("fire-alarm-contact", "fire", "fire-alarm"), "leak": ("leak-contact", "leak", "water-leak")}
SITE = """
site: s
gateway: g
connections:
  - id: bus
    modbus: {{host: 127.0.0.1, port: {modbus}}}
    devices: [{{id: panel, profile: fire-alarm-contact, unit: 1}}, {{id: leak, profile: leak-contact, unit: 2}}]
  - id: broker
    mqtt: {{host: 127.0.0.1, port: {mqtt}}}
    devices: [{{id: r1, profile: vda5050-robot, topic: nobody}}]
local_alerts:
  overrides:
    - {{rule: fire-alarm, off_delay: 0s}}
    - {{rule: water-leak, on_delay: {delay}s, off_delay: 0s}}
"""


def measure() -> list[Figure]:
    """p50 and p99 of every way."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    from_read, from_change, from_delay = asyncio.run(_measure())
    return [
        *_figures("local alert: read that shows it -> broker", from_read, "<= 1 s"),
        *_figures("local alert: register change -> broker, 1 s polls", from_change, ""),
        *_figures("local alert: end of its delay -> broker", from_delay, "<= 1 s"),
    ]


def _figures(what: str, taken_ms: list[float], goal: str) -> list[Figure]:
    ordered = sorted(taken_ms)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    return [Figure(f"{what}, p50", [ordered[len(ordered) // 2]], "ms"), Figure(f"{what}, p99", [p99], "ms", goal)]


async def _measure() -> tuple[list[float], list[float], list[float]]:
    devices = {
        name: SimulatedDevice(name, unit, packaged_profile(profile))
        for unit, (name, (profile, _, _)) in enumerate(PROFILES.items(), 1)
    }
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as name:
        folder = Path(name)
        make_key(folder / "gateway.key")
        async with mosquitto(folder) as broker, serve(devices.values()) as modbus:
            text = SITE.format(modbus=modbus, mqtt=broker.port, delay=DELAY_S)
            (folder / "site.yaml").write_text(text)
            async with _agent(folder), _listening(broker.port) as heard:
                return await _toggle(devices, heard)


async def _toggle(
    devices: dict[str, SimulatedDevice], heard: "asyncio.Queue[tuple[float, dict[str, str]]]"
) -> tuple[list[float], list[float], list[float]]:
    from_read: list[float] = []
    from_change: list[float] = []
    from_delay: list[float] = []
    for number in range(CHANGES):
        for name, (_, point, rule) in PROFILES.items():
            for value, condition in ((1.0, "active"), (0.0, "cleared")):
                await asyncio.sleep((number * 37 % 100) / 200)  # anywhere between two polls
                changed_ms = time.time() * 1000
                devices[name].set(point, value)
                at_ms, body = await _wait_for(heard, rule, condition)
                late_ms = at_ms - parse_instant(body["since"])
                if name == "panel":
                    from_read.append(late_ms)
                    from_change.append(at_ms - changed_ms)
                elif condition == "active":
                    from_delay.append(late_ms - 1000 * DELAY_S)
    return from_read, from_change, from_delay


async def _wait_for(
    heard: "asyncio.Queue[tuple[float, dict[str, str]]]", rule: str, condition: str
) -> tuple[float, dict[str, str]]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            at_ms, body = await heard.get()
            if (body["rule"], body["condition"]) == (rule, condition):
                return at_ms, body


@contextlib.asynccontextmanager
async def _agent(folder: Path) -> AsyncIterator[None]:
    gateway, stop = Gateway.open(load_site(folder / "site.yaml"), Clock()), asyncio.Event()
    running = asyncio.create_task(gateway.run(stop), name="agent")
    try:
        yield
    finally:
        stop.set()
        await running
        await gateway.close()


@contextlib.asynccontextmanager
async def _listening(port: int) -> "AsyncIterator[asyncio.Queue[tuple[float, dict[str, str]]]]":
    heard: asyncio.Queue[tuple[float, dict[str, str]]] = asyncio.Queue()

    async def listen() -> None:
        async with aiomqtt.Client("127.0.0.1", port) as client:
            await client.subscribe("gatehouse/v1/s/g/alerts/#")
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                heard.put_nowait((time.time() * 1000, json.loads(message.payload)))

    listening = asyncio.create_task(listen(), name="listener")
    try:
        yield heard
    finally:
        listening.cancel()
        await asyncio.wait({listening})
