"""Modbus TCP on pymodbus: connect, ask, close. Reads only: no function that writes is called here.

The collector owns retries, back-off and schedule; one task uses a driver at a time.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusIOException
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from devices.errors import LinkDown, RegisterError
from devices.point import Function
from devices.reading import Block, Quality, Text
from edge.clock import Moment
from edge.config import ModbusServer
from edge.drivers.modbus_device import DevicePlan, Request

SILENT_IN_A_ROW_MAX = 2  # requests of one poll; a unit that misses two is not asked for the rest
SPLITS_MAX = 64  # requests that a poll may spend on finding illegal addresses; the next poll goes on
RECEIVE_BYTES = 4096  # asyncio takes 256 KiB from the heap at each receive, a Modbus answer has at most 260
_NEVER_DISCONNECT = 1 << 30  # silent units behind a gateway are no reason to drop the others' connection
_ILLEGAL_ADDRESS, _ILLEGAL_VALUE = 2, 3
_NO_PATH, _NO_RESPONSE = 10, 11  # a gateway speaks for a unit that did not answer

logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # what fails is in the readings' quality


class _RawAnswer(ModbusPDU):
    """An answer as bytes: pymodbus would turn each register into an int, one by one."""

    raw: bytes = b""

    def decode(self, data: bytes) -> None:
        """Keep everything behind the function code."""
        self.raw = bytes(data)


class _RawCoils(_RawAnswer):
    function_code = 1


class _RawDiscrete(_RawAnswer):
    function_code = 2


class _RawHolding(_RawAnswer):
    function_code = 3


class _RawInput(_RawAnswer):
    function_code = 4


_ANSWERS = (_RawCoils, _RawDiscrete, _RawHolding, _RawInput)
_REQUESTS: dict[Function, Callable[..., ModbusPDU]] = {
    Function.COIL: ReadCoilsRequest,
    Function.DISCRETE: ReadDiscreteInputsRequest,
    Function.HOLDING: ReadHoldingRegistersRequest,
    Function.INPUT: ReadInputRegistersRequest,
}


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


@dataclass(frozen=True, slots=True)
class _Answer:
    quality: Quality
    time_ms: int
    data: bytes = b""
    refused: bool = False


class ModbusDriver:
    """One socket to a Modbus TCP server. `now` gives moments, for the times of readings."""

    def __init__(self, server: ModbusServer, now: Callable[[], Moment]) -> None:
        self._server = server
        self._now = now
        self._client: AsyncModbusTcpClient | None = None
        self._asking = False

    @property
    def connected(self) -> bool:
        """Whether requests can be sent."""
        return self._client is not None and self._client.connected

    async def connect(self) -> None:
        """Open the connection. Raises LinkDown."""
        self.close()
        client = AsyncModbusTcpClient(
            self._server.host,
            port=self._server.port,
            timeout=self._server.timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_connect=self._connection_changed,
        )
        client.set_max_no_responses(_NEVER_DISCONNECT)
        for answer in _ANSWERS:
            client.register(answer)
        if not await client.connect():
            client.close()
            raise LinkDown(f"no Modbus server answers at {self._server.host}:{self._server.port}")
        transport: Any = client.ctx.transport
        if hasattr(transport, "max_size"):  # of asyncio's own transports; uvloop's need it not
            transport.max_size = RECEIVE_BYTES
        self._client = client

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def poll(self, plan: DevicePlan) -> Polled:
        """Ask for everything in the plan, one request after the other."""
        polled = Polled()
        silent_in_a_row = 0
        retried = plan.retry(self._now().monotonic_ms) if plan.illegal else None
        for request in tuple(plan.requests):
            if silent_in_a_row >= SILENT_IN_A_ROW_MAX or not self.connected:
                quality = Quality.BAD_NO_ANSWER if self.connected else Quality.BAD_CONNECTION
                polled.items.append(request.bad(self._now().utc_ms, quality))
                continue
            answer = await self._ask(plan, request, polled)
            silent_in_a_row = silent_in_a_row + 1 if answer.quality is Quality.BAD_NO_ANSWER else 0
            if answer.refused:
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
        if plan.pause_s:
            await asyncio.sleep(plan.pause_s)
        before = self._now()
        quality, data, refused = await self._exchange(plan.device.unit, request)
        after = self._now()
        # within one clock run the midpoint; across a step only the later reading of the clock is worth anything
        time_ms = after.utc_ms - (after.monotonic_ms - before.monotonic_ms) // 2
        if quality in {Quality.BAD_NO_ANSWER, Quality.BAD_CONNECTION}:
            polled.silent += 1
        else:
            polled.answered += 1
        return _Answer(quality, time_ms, data, refused)

    async def _exchange(self, unit: int, request: Request) -> tuple[Quality, bytes, bool]:
        """Quality, data bytes, and whether the device refused the address."""
        client = self._client
        if client is None or not client.connected:
            return Quality.BAD_CONNECTION, b"", False
        question = _REQUESTS[request.function](address=request.read.address, count=request.read.count, dev_id=unit)
        self._asking = True
        try:
            answer = await client.ctx.execute(False, question)
        except ConnectionException:
            self.close()
            return Quality.BAD_CONNECTION, b"", False
        except ModbusIOException:
            return self._silent(client), b"", False
        finally:
            self._asking = False
        if answer.transaction_id != question.transaction_id or answer.dev_id != unit:
            self.close()  # a peer that does not name what it answers cannot be trusted with the next question
            return Quality.BAD_UNDECODABLE, b"", False
        if answer.isError():
            return _exception(answer.exception_code)
        if not isinstance(answer, _RawAnswer) or answer.function_code != question.function_code or not answer.raw:
            return Quality.BAD_UNDECODABLE, b"", False
        if answer.raw[0] != len(answer.raw) - 1:
            return Quality.BAD_UNDECODABLE, b"", False
        return Quality.GOOD, answer.raw[1:], False

    def _silent(self, client: AsyncModbusTcpClient) -> Quality:
        """No answer in time. Half an answer would be taken for the head of the next one: begin anew."""
        if not client.connected:
            self.close()
            return Quality.BAD_CONNECTION
        if client.ctx.recv_buffer:
            self.close()
        return Quality.BAD_NO_ANSWER

    def _connection_changed(self, connected: bool) -> None:  # noqa: FBT001 - pymodbus calls it so
        """Wake whoever waits for an answer that cannot come any more."""
        if connected or self._client is None or not self._asking:
            return
        future = self._client.ctx.response_future
        if not future.done():
            future.set_exception(ConnectionException("the connection was lost"))


def _exception(code: int) -> tuple[Quality, bytes, bool]:
    if code in {_NO_PATH, _NO_RESPONSE}:
        return Quality.BAD_NO_ANSWER, b"", False
    return Quality.BAD_EXCEPTION, b"", code in {_ILLEGAL_ADDRESS, _ILLEGAL_VALUE}


def _items(request: Request, answer: _Answer) -> list[Block | Text]:
    if not answer.quality.is_good:
        return [request.bad(answer.time_ms, answer.quality)]
    try:
        return request.items(answer.data, answer.time_ms)
    except RegisterError:
        return [request.bad(answer.time_ms, Quality.BAD_UNDECODABLE)]
