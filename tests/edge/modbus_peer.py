"""A Modbus TCP server that misbehaves on request: raw sockets, nothing of pymodbus."""

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

EXCEPTION, ILLEGAL_ADDRESS = 0x80, 2


@dataclass(frozen=True, slots=True)
class Question:
    """One request as it came."""

    transaction: int
    unit: int
    function: int
    address: int
    count: int


@dataclass
class ModbusPeer:
    """Answers reads of every unit from `registers` (a register not listed holds its own address)."""

    registers: dict[int, int] = field(default_factory=dict)
    illegal: set[int] = field(default_factory=set)
    dead_units: set[int] = field(default_factory=set)
    delay_s: dict[int, float] = field(default_factory=dict)  # by unit
    rewrite: Callable[[Question, bytes], Awaitable[bytes]] | None = None
    questions: list[Question] = field(default_factory=list)
    in_flight_max: int = 0
    port: int = 0
    _in_flight: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def asked(self) -> Counter[int]:
        """Requests by unit."""
        return Counter(question.unit for question in self.questions)

    def hang_up(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request after the other."""
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readexactly(7)
                transaction, _, length, unit = struct.unpack(">HHHB", head)
                function, address, count = struct.unpack(">BHH", await reader.readexactly(length - 1))
                question = Question(transaction, unit, function, address, count)
                self.questions.append(question)
                self._in_flight += 1
                self.in_flight_max = max(self.in_flight_max, self._in_flight)
                await self._answer(question, writer)
                self._in_flight -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is gone
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, question: Question, writer: asyncio.StreamWriter) -> None:
        if question.unit in self.dead_units:
            return
        if delay_s := self.delay_s.get(question.unit):
            loop = asyncio.get_running_loop()
            ready = loop.create_future()
            loop.call_later(delay_s, ready.set_result, None)  # a slow device, not a test that sleeps
            await ready
        answer = self.frame(question)
        if self.rewrite is not None:
            answer = await self.rewrite(question, answer)
        writer.write(answer)
        await writer.drain()

    def frame(self, question: Question) -> bytes:
        """The right answer to a question."""
        wanted = range(question.address, question.address + question.count)
        if self.illegal & set(wanted):
            body = bytes([question.function | EXCEPTION, ILLEGAL_ADDRESS])
        elif question.function in {1, 2}:
            bits = sum(1 << place for place, one in enumerate(wanted) if self.registers.get(one, 0))
            size = (question.count + 7) // 8
            body = bytes([question.function, size]) + bits.to_bytes(size, "little")
        else:
            values = [self.registers.get(one, one) for one in wanted]
            body = bytes([question.function, 2 * question.count]) + struct.pack(f">{question.count}H", *values)
        return struct.pack(">HHHB", question.transaction, 0, len(body) + 1, question.unit) + body


@asynccontextmanager
async def modbus_peer(peer: ModbusPeer | None = None, port: int = 0) -> AsyncIterator[ModbusPeer]:
    """A peer that listens on a port of the system's choice."""
    peer = peer or ModbusPeer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", port)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        peer.hang_up()
        await server.wait_closed()
