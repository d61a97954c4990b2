"""A wire that misbehaves: a proxy between any two parts that speak Modbus TCP, MQTT or HTTP over real sockets.

It cuts what passes into messages and gives each a fate drawn from a seeded generator: the n-th message of the
c-th connection in one direction meets the same fate again under the same seed.
"""

import asyncio
import contextlib
import heapq
import itertools
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from typing import Any

import structlog

from simulators.wires import READ_BYTES, Protocol, Wire, is_ack, messages

SOCKET_BUFFER_BYTES = 64 * 1024  # what a sender may believe sent although the wire has not carried it
WAITING_MAX = 1_000  # messages under way on one connection in one direction; further ones wait in their sender
REORDER_S = 0.2  # how long a message waits to be overtaken
CONNECT_TIMEOUT_S = 5.0

log = structlog.get_logger(__name__)


class Fate(StrEnum):
    """What becomes of a message."""

    PASS = "pass"  # noqa: S105  not a password
    DROP = "drop"
    DUPLICATE = "duplicate"
    TRUNCATE = "truncate"
    REORDER = "reorder"
    RESET = "reset"
    LATE = "late"
    REFUSE = "refuse"
    LOSE_ACK = "lose-ack"


@dataclass(frozen=True, slots=True)
class Faults:
    """How often messages of one direction meet each fate (0 to 1 each, 1 together), and how long they take.

    `truncate` passes the first half: a Modbus device stops there, on other wires the connection ends there.
    `reorder` lets the next message overtake; `late` delivers after `late_s`, whatever came meanwhile. `refuse`
    (requests over HTTP) answers `status` without asking the server, with `retry_after_s` where given. `lose_ack`
    drops answers only: Modbus answers, MQTT acknowledgements, and HTTP answers, whose connection ends then.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    truncate: float = 0.0
    reorder: float = 0.0
    reset: float = 0.0
    late: float = 0.0
    refuse: float = 0.0
    lose_ack: float = 0.0
    delay_s: float = 0.0  # each message waits from 0 to this, order is kept
    late_s: float = 2.0
    status: int = 500
    retry_after_s: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no probability. Raises ValueError."""
        shares = [share for _, share in self._shares()]
        if min(shares) < 0 or sum(shares) > 1 + 1e-9 or self.delay_s < 0 or self.late_s < 0:
            raise ValueError("faults are shares from 0 to 1, at most 1 together; times are not negative")

    def with_share(self, fate: Fate, share: float) -> "Faults":
        """The same with another share of one fate. Raises ValueError."""
        changed: dict[str, Any] = {fate.value.replace("-", "_"): share}
        return replace(self, **changed)

    def fate(self, drawn: float) -> Fate:
        """The fate of a message that drew a number from [0, 1)."""
        for fate, share in self._shares():
            if drawn < share:
                return fate
            drawn -= share
        return Fate.PASS

    def _shares(self) -> list[tuple[Fate, float]]:
        return [
            (Fate.DROP, self.drop), (Fate.DUPLICATE, self.duplicate), (Fate.TRUNCATE, self.truncate),
            (Fate.REORDER, self.reorder), (Fate.RESET, self.reset), (Fate.LATE, self.late),
            (Fate.REFUSE, self.refuse), (Fate.LOSE_ACK, self.lose_ack),
        ]  # fmt: skip


NO_FAULTS = Faults()


@dataclass(slots=True, eq=False)
class FaultProxy:
    """Between clients and the server at `host`:`port`. `requests`, `answers` and `bandwidth_bytes_s` may change.

    `bandwidth_bytes_s` is that of each direction, shared fairly by all connections; None is no limit. `counts`
    says how many messages met which fate.
    """

    host: str
    port: int
    protocol: Protocol = Protocol.RAW
    seed: int = 0
    requests: Faults = NO_FAULTS
    answers: Faults = NO_FAULTS
    bandwidth_bytes_s: float | None = None
    is_cut: bool = False
    listen_port: int = 0
    connections: int = 0
    counts: Counter[Fate] = field(default_factory=Counter)
    _up: Wire = field(default_factory=Wire)
    _down: Wire = field(default_factory=Wire)
    _open: set["_Connection"] = field(default_factory=set)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    def cut(self) -> None:
        """Break every connection and take no more, until `mend`."""
        self.is_cut = True
        self.reset()

    def mend(self) -> None:
        """Take connections again."""
        self.is_cut = False

    def reset(self) -> None:
        """Break every connection now."""
        for connection in tuple(self._open):
            connection.abort()

    async def close(self) -> None:
        """Break every connection and wait until nothing is left of them."""
        serving = tuple(self._serving)
        for task in serving:
            task.cancel()
        if serving:
            await asyncio.wait(serving)
            await asyncio.sleep(0)  # sockets close in the loop's next turn

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin to serve a client."""
        task = asyncio.create_task(self._serve(reader, writer), name="fault-proxy-client")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client until either side leaves."""
        self.connections += 1
        if self._refuses():
            _reset(writer)
            return
        name = self.connections
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                far = await asyncio.open_connection(self.host, self.port, limit=READ_BYTES)
        except (OSError, TimeoutError):
            _reset(writer)
            return
        rngs = Random(f"{self.seed}/{name}/requests"), Random(f"{self.seed}/{name}/answers")
        connection = _Connection(self, (reader, writer), far, rngs)
        if self._refuses():  # it was cut meanwhile
            connection.abort()
            return
        self._open.add(connection)
        try:
            await connection.run()
        finally:
            self._open.discard(connection)

    def _refuses(self) -> bool:
        return self.is_cut

    def wire(self, *, up: bool) -> Wire:
        """One direction of the link that all connections share."""
        wire = self._up if up else self._down
        wire.bytes_s = self.bandwidth_bytes_s
        return wire


@asynccontextmanager
async def fault_proxy(proxy: FaultProxy, listen_host: str = "127.0.0.1") -> AsyncIterator[FaultProxy]:
    """Listen at `proxy.listen_port` (0: any, then it is filled in) while the context is open."""
    with socket.create_server((listen_host, proxy.listen_port), backlog=1024) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
        server = await asyncio.start_server(proxy.accept, sock=listening, limit=READ_BYTES)
        proxy.listen_port = listening.getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            await proxy.close()
            await server.wait_closed()


async def run_fault_proxy(proxy: FaultProxy, listen_host: str) -> None:
    """Serve until cancelled, then say what became of the messages."""
    async with fault_proxy(proxy, listen_host):
        log.info("fault proxy ready", port=proxy.listen_port, to=f"{proxy.host}:{proxy.port}", seed=proxy.seed)
        try:
            await asyncio.Event().wait()
        finally:
            log.info("fault proxy ends", connections=proxy.connections, **{str(k): v for k, v in proxy.counts.items()})


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Connection:
    """A client and its server."""

    def __init__(self, proxy: FaultProxy, near: Streams, far: Streams, rngs: tuple[Random, Random]) -> None:
        self._proxy = proxy
        self._writers = (near[1], far[1])
        self._up = _Direction(self, proxy, near[0], far[1], rngs[0], up=True)
        self._down = _Direction(self, proxy, far[0], near[1], rngs[1], up=False)

    async def run(self) -> None:
        """Until one side has left and what was under way is delivered."""
        pumps = [
            asyncio.create_task(work, name="fault-proxy")
            for one in (self._up, self._down)
            for work in (one.take(), one.deliver())
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            await self._flush()
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)
            for pump in pumps:
                if not pump.cancelled() and (error := pump.exception()) and not isinstance(error, ConnectionError):
                    raise error
            for writer in self._writers:
                writer.close()

    def abort(self) -> None:
        """Reset both sides."""
        for writer in self._writers:
            _reset(writer)

    def answer(self, data: bytes) -> None:
        """Say something to the client in the server's place."""
        self._down.put(data, 0.0)

    async def _flush(self) -> None:
        for one in (self._up, self._down):
            await one.flushed()


class _Direction:
    """Takes messages from one side and delivers them to the other when they are due."""

    def __init__(
        self, connection: _Connection, proxy: FaultProxy, reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter, rng: Random, *, up: bool,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._rng = rng
        self._is_up = up
        self._waiting: list[tuple[float, int, bytes]] = []
        self._numbers = itertools.count()
        self._last_due_s = 0.0
        self._changed = asyncio.Event()

    async def take(self) -> None:
        """Read messages until the sender leaves or a fate ends the connection."""
        loop = asyncio.get_running_loop()
        async for message in messages(self._reader, self._proxy.protocol):
            await self._proxy.wire(up=self._is_up).carry(len(message), loop)
            while len(self._waiting) >= WAITING_MAX:
                self._changed.clear()
                await self._changed.wait()
            if not self._meet_fate(message):
                return

    async def deliver(self) -> None:
        """Write what is due, in the order of due times."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                left_s = self._waiting[0][0] - loop.time() if self._waiting else None
                if left_s is not None and left_s <= 0:
                    *_, data = heapq.heappop(self._waiting)
                    self._writer.write(data)
                    await self._writer.drain()
                    self._changed.set()
                    continue
                self._changed.clear()
                with contextlib.suppress(TimeoutError):  # then something is due
                    async with asyncio.timeout(left_s):
                        await self._changed.wait()
        finally:
            self._changed.set()

    async def flushed(self) -> None:
        """Wait until nothing is under way, unless the receiver has gone."""
        while self._waiting and not self._writer.transport.is_closing():
            self._changed.clear()
            await self._changed.wait()

    def put(self, data: bytes, delay_s: float, *, overtaken: bool = False) -> None:
        """Deliver after a delay: behind everything before it, or wherever that is."""
        due_s = asyncio.get_running_loop().time() + delay_s
        if not overtaken:
            due_s = self._last_due_s = max(due_s, self._last_due_s)
        heapq.heappush(self._waiting, (due_s, next(self._numbers), data))
        self._changed.set()

    def _meet_fate(self, message: bytes) -> bool:
        """Give a message its fate; False when the connection ends with it."""
        faults = self._proxy.requests if self._is_up else self._proxy.answers
        drawn, waited = self._rng.random(), self._rng.random()  # always both: a fate depends on nothing before it
        fate = faults.fate(drawn)
        if fate is Fate.LOSE_ACK and not is_ack(message, self._proxy.protocol, up=self._is_up):
            fate = Fate.PASS
        if fate is Fate.REFUSE and not (self._is_up and self._proxy.protocol is Protocol.HTTP):
            fate = Fate.PASS
        self._proxy.counts[fate] += 1
        delay_s = faults.delay_s * waited
        match fate:
            case Fate.PASS:
                self.put(message, delay_s)
            case Fate.DUPLICATE:
                self.put(message + message, delay_s)
            case Fate.REORDER:
                self.put(message, delay_s + REORDER_S, overtaken=True)
            case Fate.LATE:
                self.put(message, delay_s + faults.late_s, overtaken=True)
            case Fate.REFUSE:
                self._connection.answer(_refusal(faults))
            case Fate.TRUNCATE:
                self.put(message[: max(len(message) // 2, 1)], delay_s)
                return self._proxy.protocol is Protocol.MODBUS
            case Fate.LOSE_ACK:
                return self._proxy.protocol is not Protocol.HTTP
            case Fate.RESET:
                self._connection.abort()
                return False
            case Fate.DROP:
                pass
        return True


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once and tell the peer so (RST), whatever was under way."""
    connected = writer.transport.get_extra_info("socket")
    if not writer.transport.is_closing():
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _refusal(faults: Faults) -> bytes:
    wait = "" if faults.retry_after_s is None else f"Retry-After: {faults.retry_after_s}\r\n"
    return f"HTTP/1.1 {faults.status} Fault\r\nContent-Length: 0\r\n{wait}\r\n".encode()
