"""The owner of one socket of polled devices: every request goes through its task, one at a time."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import structlog

from devices.errors import LinkDown
from devices.reading import Block, Quality, Text
from devices.records import Link
from edge.backoff import Backoff
from edge.breakers import Breakers, Mode
from edge.clock import Moment
from edge.drivers.modbus import Driver
from edge.drivers.modbus_device import DevicePlan
from edge.items import Sink
from edge.links import LinkWatch
from edge.schedule import Schedule, phase_of

CONNECT_CAP_S = 30.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class PollingStatus:
    """What a socket did so far."""

    connected: bool = False
    polls: int = 0
    missed: int = 0  # ticks that fell into a longer poll; coalesced, never queued
    late_s_max: float = 0.0
    open_units: list[int] = field(default_factory=list)
    error: str = ""


def is_cancelled() -> bool:
    """Whether the running task was asked to end.

    Python 3.11's `asyncio.wait_for`, which pymodbus and paho's wrappers use, swallows a cancellation that comes
    together with the answer; who loops for ever must ask.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Polling:
    """Polls some devices over one driver. `rate` is that of the clock: polls are as many times faster."""

    def __init__(
        self,
        name: str,
        driver: Driver,
        plans: Sequence[DevicePlan],
        sink: Sink,
        *,
        now: Callable[[], Moment],
        rng: Random,
        rate: float = 1.0,
    ) -> None:
        self._name = name
        self._driver = driver
        self._plans = plans
        self._sink = sink
        self._now = now
        self._rate = rate
        self._breakers = Breakers(rng)
        self._backoff = Backoff(rng, cap_s=CONNECT_CAP_S)
        self._connect_s = -math.inf
        self._schedule: Schedule[DevicePlan] = Schedule()
        started = now()
        self._run = started.run
        self._links = {plan.device.id: LinkWatch(plan.device, started) for plan in plans}
        self.status = PollingStatus()

    async def run(self) -> None:
        """Poll until cancelled; close the connection on the way out."""
        loop = asyncio.get_running_loop()
        for plan in self._plans:
            name = f"{plan.device.id}/{plan.interval_s}"
            self._schedule.add(plan, plan.interval_s / self._rate, phase_of(name), loop.time())
        try:
            while not is_cancelled():
                await self._step(loop)
        finally:
            self._driver.close()

    def links(self, moment: Moment) -> list[Link]:
        """The links as last recorded, for a keyframe."""
        return [link for watch in self._links.values() for link in watch.current(moment)]

    def restart_links(self) -> None:
        """Record the links afresh with the next answers."""
        for watch in self._links.values():
            watch.restart()

    async def _step(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        connected = self._driver.connected
        if not connected and now_s >= self._connect_s:
            await self._connect(loop)
            return
        unit = self._breakers.to_probe(now_s) if connected else None
        if unit is not None:
            await self._probe(unit, loop)
        due = self._schedule.pop(now_s)
        if due is not None:
            self.status.missed += due.missed
            self.status.late_s_max = max(self.status.late_s_max, due.late_s)
            await self._tick(due.what, loop)
        elif unit is None:
            wake_s = min(self._schedule.next_s, self._breakers.next_probe_s() if connected else self._connect_s)
            await asyncio.sleep(max(wake_s - loop.time(), 0.0))

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            await self._driver.connect()
        except LinkDown as error:
            if not self.status.error:
                log.warning("connection lost", connection=self._name, reason=str(error))
            self.status.error = str(error)
            self._connect_s = loop.time() + self._backoff.next_s()
        else:
            if self.status.error:
                log.info("connection is back", connection=self._name)
            self.status.error = ""
            self._connect_s = loop.time() + self._backoff.next_s()  # should it be dropped at once
        self.status.connected = self._driver.connected

    async def _tick(self, plan: DevicePlan, loop: asyncio.AbstractEventLoop) -> None:
        mode = self._breakers.mode(plan.device.unit)
        if not self._driver.connected:
            await self._report(plan, plan.bad(self._now().utc_ms, Quality.BAD_CONNECTION))
        elif mode is Mode.SKIP:
            await self._report(plan, plan.bad(self._now().utc_ms, Quality.BAD_NO_ANSWER))
        elif mode is Mode.POLL or await self._answers(plan, loop):
            await self._poll(plan, loop)
        else:
            await self._report(plan, plan.bad(self._now().utc_ms, Quality.BAD_NO_ANSWER))

    async def _poll(self, plan: DevicePlan, loop: asyncio.AbstractEventLoop) -> None:
        began_s = loop.time()
        polled = await self._driver.poll(plan)
        self.status.polls += 1
        if polled.answered:
            self._backoff.reset()
        if polled.answered or polled.silent:  # some servers hang up on units that do not exist
            self._record(plan.device.unit, began_s, loop, answered=polled.answered > 0)
        await self._report(plan, polled.items)

    async def _answers(self, plan: DevicePlan, loop: asyncio.AbstractEventLoop) -> bool:
        began_s = loop.time()
        probed = await self._driver.probe(plan)
        self._record(plan.device.unit, began_s, loop, answered=probed.answered > 0)
        return probed.answered > 0

    async def _probe(self, unit: int, loop: asyncio.AbstractEventLoop) -> None:
        """Probe a unit whose breaker is open; poll all of it as soon as it answers."""
        plans = [plan for plan in self._plans if plan.device.unit == unit]
        if await self._answers(plans[0], loop):
            for plan in plans:
                await self._poll(plan, loop)

    def _record(self, unit: int, began_s: float, loop: asyncio.AbstractEventLoop, *, answered: bool) -> None:
        now_s = loop.time()
        self._breakers.record(unit, now_s, now_s - began_s, answered=answered)
        self.status.open_units = self._breakers.open_units

    async def _report(self, plan: DevicePlan, items: Sequence[Block | Text]) -> None:
        moment = self._now()
        if moment.run != self._run:
            self._run = moment.run
            self.restart_links()
        watch = self._links[plan.device.id]
        links = [link for item in items if isinstance(item, Block) for link in watch.hear(item, moment)]
        links += watch.check(moment)
        await self._sink([*links, *items], moment)
        self.status.connected = self._driver.connected
