import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt

from devices.profile import load_profiles
from simulators.broker import run_broker
from simulators.demonstration import free_port
from simulators.mqtt import Broker, run_messages
from simulators.site import demo_site
from simulators.world import SimulatedClock, World
from tests.simulators.conftest import answers
from tests.waiting import until

NOON_MS = 1_794_974_400_000
SITE = demo_site()
Heard = list[tuple[str, dict[str, Any]]]


@asynccontextmanager
async def listening(broker: Broker) -> AsyncIterator[Heard]:
    """Every message of the broker, as (topic, payload), by a client that knows nothing of the simulator."""
    heard: Heard = []
    async with aiomqtt.Client(broker.host, broker.port) as client:
        await client.subscribe("#")

        async def listen() -> None:
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                heard.append((str(message.topic), json.loads(message.payload)))

        task = asyncio.ensure_future(listen())
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def living(broker: Broker, rate: float = 20.0) -> AsyncIterator[World]:
    """The simulated site on a broker."""
    world = World(SITE, 7, SimulatedClock(NOON_MS, rate), load_profiles())
    tasks = [asyncio.ensure_future(work) for work in (world.run(), run_messages(world, broker))]
    try:
        yield world
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)


def some(heard: Heard, ending: str, wanted: Callable[[dict[str, Any]], bool] = lambda _: True) -> Callable[[], bool]:
    return lambda: any(topic.endswith(ending) and wanted(payload) for topic, payload in heard)


async def test_robots_and_sensors_are_heard_on_a_real_broker(broker: Broker) -> None:
    async with listening(broker) as heard, living(broker) as world:
        world.announce()
        for robot in SITE.robots:
            for kind in ("connection", "state", "visualization"):
                await until(some(heard, f"{robot.topic}/{kind}"), f"{kind} of {robot.id}")
        await until(lambda: len({t for t, _ in heard if t.endswith("/up")}) == len(SITE.sensed_spaces), "sensors")


async def test_a_connection_is_retained_and_says_offline_after_the_end(broker: Broker) -> None:
    async with living(broker), listening(broker) as heard:
        await until(some(heard, "r-01/connection", lambda said: said["connectionState"] == "ONLINE"))
    async with listening(broker) as heard:
        await until(some(heard, "r-01/connection", lambda said: said["connectionState"] == "OFFLINE"))


async def test_what_a_person_breaks_is_heard(broker: Broker) -> None:
    async with listening(broker) as heard, living(broker) as world:
        world.fail("r2")
        await until(some(heard, "r-02/state", lambda said: bool(said["errors"])), "the fault of r2")
        world.mend("r2")
        heard.clear()
        await until(some(heard, "r-02/state", lambda said: not said["errors"]), "r2 mended")
        taken = bool(world.state.taken[16])
        world.set("p-017", "occupied", float(not taken))
        eui = SITE.spaces[16].dev_eui
        await until(some(heard, f"{eui}/event/up", lambda said: said["fPort"] == 1), "the change of p-017")


async def test_the_site_goes_on_when_its_broker_comes_back() -> None:
    where = Broker(free_port())
    first = asyncio.ensure_future(run_broker(where.port))
    await until(lambda: answers(where), "the broker")
    async with living(where):
        async with listening(where) as heard:
            await until(some(heard, "/visualization"))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        second = asyncio.ensure_future(run_broker(where.port))
        await until(lambda: answers(where), "the second broker")
        async with listening(where) as heard:
            await until(some(heard, "/visualization"), "a position on the second broker")
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
