"""Serial lines without hardware: pairs of pseudo-terminals, and a slave that misbehaves on request."""

import asyncio
import os
import struct
import tty
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from edge.config import ModbusServer

EXCEPTION, ILLEGAL_ADDRESS = 0x80, 2
REQUEST_BYTES = 8


def check(data: bytes) -> bytes:
    """The CRC of RTU, written from the specification (Modbus over serial line V1.02, 6.2.2)."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return struct.pack("<H", value)


@dataclass(frozen=True, slots=True)
class RtuQuestion:
    """One request as it came, sound or not."""

    unit: int
    function: int
    address: int
    count: int


@dataclass
class RtuPeer:
    """Answers reads of every unit from `registers` (a register not listed holds its own address).

    `plan` may say when which bytes go out instead of the right answer at once.
    """

    registers: dict[int, int] = field(default_factory=dict)
    illegal: set[int] = field(default_factory=set)
    dead_units: set[int] = field(default_factory=set)
    plan: Callable[[RtuQuestion, bytes], list[tuple[float, bytes]]] | None = None
    questions: list[RtuQuestion] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    strange: list[bytes] = field(default_factory=list)  # what was no read with a right check

    def asked(self) -> Counter[int]:
        """Requests by unit."""
        return Counter(question.unit for question in self.questions)

    def hear(self, data: bytes, write: Callable[[bytes], object]) -> None:
        """Take whole requests, as a line with silences between them delivers."""
        for place in range(0, len(data), REQUEST_BYTES):
            request = data[place : place + REQUEST_BYTES]
            if len(request) != REQUEST_BYTES or check(request[:-2]) != request[-2:]:
                self.strange.append(request)
                continue
            question = RtuQuestion(*struct.unpack(">BBHH", request[:-2]))
            self.questions.append(question)
            loop = asyncio.get_running_loop()
            self.times_s.append(loop.time())
            if question.unit in self.dead_units:
                continue
            answer = self.frame(question)
            for delay_s, sent in [(0.0, answer)] if self.plan is None else self.plan(question, answer):
                if delay_s:
                    loop.call_later(delay_s, write, sent)
                else:
                    write(sent)

    def frame(self, question: RtuQuestion) -> bytes:
        """The right answer to a question."""
        wanted = range(question.address, question.address + question.count)
        body = bytes([question.unit, question.function])
        if self.illegal & set(wanted):
            body = bytes([question.unit, question.function | EXCEPTION, ILLEGAL_ADDRESS])
        elif question.function in {1, 2}:
            bits = sum(1 << place for place, one in enumerate(wanted) if self.registers.get(one, 0))
            size = (question.count + 7) // 8
            body += bytes([size]) + bits.to_bytes(size, "little")
        else:
            values = [self.registers.get(one, one) for one in wanted]
            body += bytes([2 * question.count]) + struct.pack(f">{question.count}H", *values)
        return body + check(body)


@contextmanager
def terminal() -> Iterator[tuple[int, str]]:
    """A raw pseudo-terminal: our end, and the path that a program opens as its serial port."""
    ours, theirs = os.openpty()
    try:
        tty.setraw(theirs)
        os.set_blocking(ours, False)
        yield ours, os.ttyname(theirs)
    finally:
        os.close(ours)
        os.close(theirs)


@asynccontextmanager
async def serial_peer(peer: RtuPeer) -> AsyncIterator[str]:
    """The peer behind a serial port, whose path is given."""
    loop = asyncio.get_running_loop()
    with terminal() as (ours, path):
        listening = [True]

        def write(data: bytes) -> None:
            if listening:
                os.write(ours, data)

        loop.add_reader(ours, lambda: peer.hear(os.read(ours, 4096), write))
        try:
            yield path
        finally:
            listening.clear()
            loop.remove_reader(ours)


@asynccontextmanager
async def converter_peer(peer: RtuPeer, timeout_s: float = 5.0) -> AsyncIterator[ModbusServer]:
    """The peer behind a converter that carries RTU frames over TCP."""
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        while data := await reader.read(4096):
            peer.hear(data, writer.write)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield ModbusServer(host="127.0.0.1", port=port, framer="rtu", timeout_s=timeout_s)
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


@dataclass
class Wire:
    """Two serial ports joined by a null modem that writes down what passes."""

    master: str
    slave: str
    asked: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)


@asynccontextmanager
async def null_modem() -> AsyncIterator[Wire]:
    """A wire between two serial ports."""
    loop = asyncio.get_running_loop()
    with terminal() as (left, master), terminal() as (right, slave):
        wire = Wire(master, slave)

        def carry(source: int, target: int, log: bytearray) -> None:
            data = os.read(source, 4096)
            log += data
            os.write(target, data)

        loop.add_reader(left, carry, left, right, wire.asked)
        loop.add_reader(right, carry, right, left, wire.answered)
        try:
            yield wire
        finally:
            loop.remove_reader(left)
            loop.remove_reader(right)
