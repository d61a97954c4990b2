"""Polls Modbus devices: asks what a plan says, splits what a device refuses, says why values are missing.

The collector owns retries, back-off and schedule; one task uses a driver at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from devices.errors import RegisterError
from devices.modbus_habits import SunSpec
from devices.point import Function
from devices.reading import Block, Quality, Text
from edge.clock import Moment
from edge.config import ModbusServer
from edge.drivers.modbus_device import ILLEGAL_RETRY_MS, DevicePlan, Request
from edge.drivers.modbus_link import ModbusLink, Question, Reply
from edge.drivers.modbus_sunspec import Layout, find_layout

SILENT_IN_A_ROW_MAX = 2  # requests of one poll; a unit that misses two is not asked for the rest
SPLITS_MAX = 64  # requests that a poll may spend on finding illegal addresses; the next poll goes on
_ILLEGAL_ADDRESS, _ILLEGAL_VALUE = 2, 3


@dataclass(slots=True)
class Polled:
    """What a poll brought. `answered` counts requests with any answer, `silent` those without."""

    items: list[Block | Text] = field(default_factory=list)
    answered: int = 0
    silent: int = 0


class Driver(Protocol):
    """A connection to polled devices. It decides nothing and retries nothing."""

    @property
    def connected(self) -> bool:
        """Whether requests can be sent."""

    async def connect(self) -> None:
        """Open the connection. Raises LinkDown."""

    async def poll(self, plan: DevicePlan) -> Polled:
        """Ask for everything in the plan. Failures are in the qualities, never raised."""

    async def probe(self, plan: DevicePlan) -> Polled:
        """Ask the plan's first request only, to see whether the device is there again."""

    def close(self) -> None:
        """Close the connection."""


class Link(Protocol):
    """One way to devices, one question at a time; `ModbusLink` is the real one."""

    @property
    def connected(self) -> bool:
        """Whether questions can be sent."""

    async def connect(self) -> None:
        """Open the connection. Raises LinkDown."""

    async def ready(self, question: Question) -> bool:
        """Wait until the question may be sent; False when it cannot be."""

    async def read(self, question: Question) -> Reply:
        """Ask; failures are in the reply."""

    def close(self) -> None:
        """Close the connection."""


@dataclass(frozen=True, slots=True)
class _Answer:
    quality: Quality
    time_ms: int
    data: bytes = b""
    refused: bool = False


class ModbusDriver:
    """Polls over one socket or serial line. `now` gives moments, for the times of readings."""

    def __init__(self, server: ModbusServer, now: Callable[[], Moment], link: Link | None = None) -> None:
        self._link: Link = link if link is not None else ModbusLink(server)
        self._now = now
        self._layouts: dict[str, Layout] = {}  # of SunSpec devices, by device; found anew on every connection
        self._unfound: dict[str, int] = {}  # monotonic ms from which to look again for the models of a device

    @property
    def connected(self) -> bool:
        """Whether requests can be sent."""
        return self._link.connected

    async def connect(self) -> None:
        """Open the connection. Raises LinkDown."""
        self._layouts.clear()
        self._unfound.clear()
        await self._link.connect()

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    async def poll(self, plan: DevicePlan) -> Polled:
        """Ask for everything in the plan, one request after the other."""
        polled = Polled()
        silent_in_a_row = 0
        if plan.sunspec is not None and plan.device.id not in self._layouts:
            quality = await self._find_models(plan, plan.sunspec, polled)
            if not quality.is_good:
                polled.items += plan.bad(self._now().utc_ms, quality)
                return polled
        retried = plan.retry(self._now().monotonic_ms) if plan.illegal else None
        for request in tuple(plan.requests):
            if silent_in_a_row >= SILENT_IN_A_ROW_MAX or not self.connected:
                quality = Quality.BAD_NO_ANSWER if self.connected else Quality.BAD_CONNECTION
                polled.items.append(request.bad(self._now().utc_ms, quality))
                continue
            answer = await self._ask(plan, request, polled)
            silent_in_a_row = silent_in_a_row + 1 if answer.quality is Quality.BAD_NO_ANSWER else 0
            if answer.quality.is_good and not _is_the_model(plan.sunspec, request, answer.data):
                self._layouts.pop(plan.device.id, None)  # the models have moved: what was read is something else
                polled.items.append(request.bad(answer.time_ms, Quality.BAD_ILLEGAL_ADDRESS))
            elif answer.refused:
                self._layouts.pop(plan.device.id, None)
                await self._narrow(plan, request, polled)
            else:
                polled.items += _items(request, answer)
        if retried is not None and self.connected and not silent_in_a_row:
            answer = await self._ask(plan, retried, polled)
            if answer.quality.is_good:
                plan.forget()
                return await self.poll(plan)
        if plan.illegal:
            time_ms = self._now().utc_ms
            polled.items += [request.bad(time_ms, Quality.BAD_ILLEGAL_ADDRESS) for request in plan.illegal]
        return polled

    async def probe(self, plan: DevicePlan) -> Polled:
        """Ask the plan's first request only."""
        polled = Polled()
        for request in (plan.requests or plan.illegal)[:1]:
            polled.items += _items(request, await self._ask(plan, request, polled))
        return polled

    async def _find_models(self, plan: DevicePlan, sunspec: SunSpec, polled: Polled) -> Quality:
        """Find out where a SunSpec device keeps its models; good once that is known.

        A device without the model is not asked through its whole chain at every poll.
        """
        if self._now().monotonic_ms < self._unfound.get(plan.device.id, 0):
            return Quality.BAD_ILLEGAL_ADDRESS
        silence: list[Quality] = []

        async def ask(address: int) -> bytes | None:
            if silence:
                return None  # a unit that is not there is not asked for three bases
            question = Question(plan.device.unit, Function.HOLDING, address, 2, plan.pause_s, plan.timeout_s)
            answer = await self._put(question, polled)
            if answer.quality in {Quality.BAD_NO_ANSWER, Quality.BAD_CONNECTION}:
                silence.append(answer.quality)
            return answer.data if answer.quality.is_good else None

        layout = await find_layout(sunspec, ask)
        if layout is not None:
            self._layouts[plan.device.id] = layout
            return Quality.GOOD
        if silence:
            return silence[0]
        self._unfound[plan.device.id] = self._now().monotonic_ms + ILLEGAL_RETRY_MS
        return Quality.BAD_ILLEGAL_ADDRESS

    async def _narrow(self, plan: DevicePlan, refused: Request, polled: Polled) -> None:
        """Split a refused request until what the device does allow is known, and remember it."""
        todo, allowed, illegal = [refused], list[Request](), list[Request]()
        asked = 0
        while todo:
            halves = plan.halves(one := todo.pop())
            if halves is None:
                illegal.append(one)
                continue
            for half in halves:
                if asked >= SPLITS_MAX or not self.connected:
                    allowed.append(half)  # not known yet: the next poll will ask for it
                    quality = Quality.BAD_ILLEGAL_ADDRESS if self.connected else Quality.BAD_CONNECTION
                    polled.items.append(half.bad(self._now().utc_ms, quality))
                    continue
                asked += 1
                answer = await self._ask(plan, half, polled)
                if answer.refused:
                    todo.append(half)
                else:
                    allowed.append(half)
                    polled.items += _items(half, answer)
        plan.learn(refused, allowed, illegal, self._now().monotonic_ms)

    async def _ask(self, plan: DevicePlan, request: Request, polled: Polled) -> _Answer:
        read, layout = request.read, self._layouts.get(plan.device.id)
        address = read.address if layout is None else layout.moved(read.address)
        question = Question(plan.device.unit, request.function, address, read.count, plan.pause_s, plan.timeout_s)
        return await self._put(question, polled)

    async def _put(self, question: Question, polled: Polled) -> _Answer:
        ready = await self._link.ready(question)
        before = self._now()
        reply = await self._link.read(question) if ready else Reply(self._silence())
        after = self._now()
        # within one clock run the midpoint; across a step only the later reading of the clock is worth anything
        time_ms = after.utc_ms - (after.monotonic_ms - before.monotonic_ms) // 2
        if reply.quality in {Quality.BAD_NO_ANSWER, Quality.BAD_CONNECTION}:
            polled.silent += 1
        else:
            polled.answered += 1
        refused = reply.quality is Quality.BAD_EXCEPTION and reply.exception in {_ILLEGAL_ADDRESS, _ILLEGAL_VALUE}
        return _Answer(reply.quality, time_ms, reply.data, refused)

    def _silence(self) -> Quality:
        return Quality.BAD_NO_ANSWER if self.connected else Quality.BAD_CONNECTION


def _is_the_model(sunspec: SunSpec | None, request: Request, data: bytes) -> bool:
    """Whether an answer that holds a SunSpec model's id holds the right one."""
    read = request.read
    if sunspec is None or not read.address <= sunspec.address < read.end:
        return True
    at = 2 * (sunspec.address - read.address)
    return int.from_bytes(data[at : at + 2], "big") == sunspec.model


def _items(request: Request, answer: _Answer) -> list[Block | Text]:
    if not answer.quality.is_good:
        return [request.bad(answer.time_ms, answer.quality)]
    try:
        return request.items(answer.data, answer.time_ms)
    except RegisterError:
        return [request.bad(answer.time_ms, Quality.BAD_UNDECODABLE)]
