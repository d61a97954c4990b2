"""One connection to Modbus devices, on pymodbus: TCP, RTU over TCP, RTU on a serial line.

Reads only. Functions that write are neither imported nor can they be asked for: `Function` has none.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusIOException
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from devices.errors import LinkDown
from devices.point import Function
from devices.reading import Quality
from edge.bus_time import data_bytes, silent_s, transfer_s
from edge.config import ModbusServer
from edge.drivers.modbus_rtu import BUFFER_BYTES_MAX, Owed, RtuFramer, shape_of

RECEIVE_BYTES = 4096  # asyncio takes 256 KiB from the heap at each receive, a Modbus answer has at most 260
SETTLING_MAX = 3  # questions spent on finding out what a unit still owes, before it counts as silent
_NEVER_DISCONNECT = 1 << 30  # silent units behind a gateway are no reason to drop the others' connection
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
Client = AsyncModbusTcpClient | AsyncModbusSerialClient


class Question(msgspec.Struct, frozen=True):
    """One read. `pause_s` of silence before it; an answer takes at most the larger of `timeout_s` and the site's."""

    unit: int
    function: Function
    address: int
    count: int
    pause_s: float = 0.0
    timeout_s: float = 0.0


class Reply(msgspec.Struct, frozen=True):
    """What came: the data bytes behind the byte count, or why there are none. `exception` is Modbus's code or 0."""

    quality: Quality
    data: bytes = b""
    exception: int = 0


class ModbusLink:
    """One socket or serial line. One task asks, one question at a time."""

    def __init__(self, server: ModbusServer) -> None:
        self._server = server
        self._client: Client | None = None
        self._framer: RtuFramer | None = None
        self._owed = Owed()
        self._asking = False
        self._silent_s = silent_s(server) if server.serial is not None else 0.0
        self._ended_s = 0.0  # loop time of the end of the last exchange ...
        self._pause_s = 0.0  # ... and the pause that its unit needs

    @property
    def connected(self) -> bool:
        """Whether questions can be sent."""
        return self._client is not None and self._client.connected

    async def connect(self) -> None:
        """Open the connection. Raises LinkDown."""
        self.close()
        try:
            client = _client(self._server, self._connection_changed)
        except RuntimeError as error:  # pymodbus, where pyserial is not installed
            raise LinkDown(f"{self._server.name}: {error}") from error
        client.set_max_no_responses(_NEVER_DISCONNECT)
        for answer in _ANSWERS:
            client.register(answer)
        if self._server.is_rtu:
            self._framer = client.ctx.framer = RtuFramer(client.ctx.framer.decoder)
            client.ctx.max_buffer_size = BUFFER_BYTES_MAX
        try:
            opened = await client.connect()
        except ValueError as error:  # pyserial, for a rate that the port cannot do
            raise LinkDown(f"{_why_not(self._server)} ({error})") from error
        if not opened:
            client.close()
            raise LinkDown(_why_not(self._server))
        transport: Any = client.ctx.transport
        if hasattr(transport, "max_size"):  # of asyncio's own transports; uvloop's need it not
            transport.max_size = RECEIVE_BYTES
        self._client = client

    def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def ready(self, question: Question) -> bool:
        """Wait until the question may be sent; whether it may. If not, the unit is silent still."""
        if self._framer is not None:
            for _ in range(SETTLING_MAX):
                if not self._is_owed(question):
                    break
                if not await self._settle(question):
                    return False
            if self._is_owed(question):
                return False
        await self._turn(question)
        return True

    async def read(self, question: Question) -> Reply:
        """Send a question that is `ready`, and wait for its answer."""
        reply = await self._exchange(question)
        self._ended_s, self._pause_s = asyncio.get_running_loop().time(), question.pause_s
        return reply if self._framer is None else self._reconciled(question, reply)

    async def ask(self, question: Question) -> Reply:
        """`ready` and `read`."""
        return await self.read(question) if await self.ready(question) else Reply(Quality.BAD_NO_ANSWER)

    async def _turn(self, question: Question) -> None:
        """Keep the silence that the last unit and the next one need between two frames."""
        pause_s = max(self._silent_s, self._pause_s, question.pause_s)
        if not pause_s:
            return
        wait_s = self._ended_s + pause_s - asyncio.get_running_loop().time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def _is_owed(self, question: Question) -> bool:
        shape = shape_of(question.function, question.count)
        return shape in self._owed.shapes(question.unit, asyncio.get_running_loop().time())

    async def _settle(self, question: Question) -> bool:
        """Ask for something of another shape, so that what comes late cannot be taken for it."""
        now_s = asyncio.get_running_loop().time()
        count = self._owed.other_count(question.unit, question.function, now_s)
        other = Question(
            question.unit, question.function, question.address, count, question.pause_s, question.timeout_s
        )
        await self._turn(other)
        reply = await self.read(other)
        return reply.quality.is_good or reply.exception != 0

    def _reconciled(self, question: Question, reply: Reply) -> Reply:
        """Keep the account of what this unit owes; an exception that may be a late one says nothing."""
        now_s = asyncio.get_running_loop().time()
        shape = shape_of(question.function, question.count)
        if reply.exception:
            certain = self._owed.refused(question.unit, shape, now_s)
            return reply if certain else Reply(Quality.BAD_NO_ANSWER, b"", reply.exception)
        if reply.quality.is_good:
            self._owed.answered(question.unit)
        else:
            self._owed.unanswered(question.unit, shape, now_s)
        return reply

    async def _exchange(self, question: Question) -> Reply:
        client = self._client
        if client is None or not client.connected:
            return Reply(Quality.BAD_CONNECTION)
        asked = _REQUESTS[question.function](address=question.address, count=question.count, dev_id=question.unit)
        client.ctx.comm_params.timeout_connect = self._timeout_s(question)
        self._asking = True
        if self._framer is not None:
            self._framer.expected = shape_of(question.function, question.count)
        try:
            answer = await client.ctx.execute(False, asked)
        except ConnectionException:
            self.close()
            return Reply(Quality.BAD_CONNECTION)
        except ModbusIOException:
            return Reply(self._silent(client))
        finally:
            self._asking = False
            if self._framer is not None:
                self._framer.expected = None
        if answer.transaction_id != asked.transaction_id or answer.dev_id != question.unit:
            self.close()  # a peer that does not name what it answers cannot be trusted with the next question
            return Reply(Quality.BAD_UNDECODABLE)
        if answer.isError():
            silent = answer.exception_code in {_NO_PATH, _NO_RESPONSE}
            return Reply(Quality.BAD_NO_ANSWER if silent else Quality.BAD_EXCEPTION, b"", answer.exception_code)
        if not isinstance(answer, _RawAnswer) or answer.function_code != asked.function_code or not answer.raw:
            return Reply(Quality.BAD_UNDECODABLE)
        if answer.raw[0] != len(answer.raw) - 1:
            return Reply(Quality.BAD_UNDECODABLE)
        return Reply(Quality.GOOD, answer.raw[1:])

    def _timeout_s(self, question: Question) -> float:
        """How long an answer may take; on a line, its way counts on top."""
        timeout_s = max(self._server.timeout_s, question.timeout_s)
        if not self._server.is_rtu:
            return timeout_s
        return timeout_s + transfer_s(self._server, data_bytes(question.count, bits=question.function.is_bits))

    def _silent(self, client: Client) -> Quality:
        """No answer in time. On TCP half an answer would be taken for the head of the next one: begin anew."""
        if not client.connected:
            self.close()
            return Quality.BAD_CONNECTION
        if client.ctx.recv_buffer and self._framer is None:
            self.close()
        return Quality.BAD_NO_ANSWER

    def _connection_changed(self, connected: bool) -> None:  # noqa: FBT001 - pymodbus calls it so
        """Wake whoever waits for an answer that cannot come any more."""
        if connected or self._client is None or not self._asking:
            return
        future = self._client.ctx.response_future
        if not future.done():
            future.set_exception(ConnectionException("the connection was lost"))


def _client(server: ModbusServer, changed: Callable[[bool], None]) -> Client:
    if server.serial is not None:
        return AsyncModbusSerialClient(
            server.serial,
            baudrate=server.baudrate,
            parity=server.parity,
            stopbits=server.stopbits,
            timeout=server.timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_connect=changed,
        )
    return AsyncModbusTcpClient(
        server.host or "",
        port=server.port,
        framer=FramerType.RTU if server.is_rtu else FramerType.SOCKET,
        timeout=server.timeout_s,
        retries=0,
        reconnect_delay=0,
        trace_connect=changed,
    )


def _why_not(server: ModbusServer) -> str:
    if server.serial is None:
        return f"no Modbus server answers at {server.name}"
    return f"the serial port {server.name} cannot be opened: is it there, free, and may this user use it?"
