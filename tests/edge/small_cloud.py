"""A cloud of one file: takes frames over real HTTP, answers Receipts, misbehaves on demand."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from devices.batches import split_frames
from devices.frame import Frame, decode_frame, open_frame
from devices.instants import format_instant
from devices.reading import Lane
from devices.receipt import FrameResult, LaneState, Receipt, Status, encode_receipt
from devices.sequences import SeqRanges

WAIT_S = 15.0
Fault = str  # "", "drop" (store, no answer), "break" (nothing stored, no answer), a status, "nonsense"


ACCEPTING_TURNS = 5  # of the event loop, from accept to the handler's first line


class SmallCloud:
    """Stores each frame once, in memory, before it answers."""

    def __init__(self, key: Ed25519PublicKey, now_ms: Callable[[], int]) -> None:
        self.key, self.now_ms = key, now_ms
        self.stored: dict[tuple[Lane, str, int], bytes] = {}
        self.batches: list[list[tuple[Lane, str, int]]] = []
        self.arrivals = self.requests = self.signs_of_life = 0
        self.fault: Callable[[int], Fault] = lambda _: ""
        self.verdicts: dict[tuple[Lane, int], list[Status]] = {}
        self.changed = asyncio.Event()
        self.delay_s = 0.0
        self.retry_after_s: int | None = None
        self.fault_at: Callable[[set[int]], Fault] = lambda _: ""  # a status by the seqs of a request with frames
        self.poison: set[int] = set()  # a request with one of these seqs is answered 400, nothing looked at
        self.connected_s: list[float] = []  # when each connection was made, by the loop
        self.arrived_s: dict[tuple[Lane, str, int], float] = {}
        self.tls: ssl.SSLContext | None = None
        self.tokens: list[str] = []  # of each request, as it was sent
        self.url = ""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for _ in range(ACCEPTING_TURNS):  # a connection that was just accepted has no handler yet
            await asyncio.sleep(0)
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def until(self, condition: Callable[[], bool], wait_s: float = WAIT_S) -> None:
        async with asyncio.timeout(wait_s):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def frames(self, lane: Lane) -> list[Frame]:
        return [decode_frame(data) for (one, _, _), data in self.stored.items() if one is lane]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connected_s.append(asyncio.get_running_loop().time())
        try:
            while await self._answer_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the other side went away, as it may
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = {k.lower(): v for k, _, v in (line.partition(": ") for line in head.split("\r\n")[1:])}
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        self.requests += 1
        self.tokens.append(fields.get("authorization", ""))
        sent = {open_frame(data).header.seq for data in split_frames(body)}
        fault = self.fault(self.requests) or (self.fault_at(sent) if sent else "")
        status, answer = 200, b""
        await self._slowly()
        if not self._authorised(fields.get("authorization", "")):
            status, answer = 401, b'{"server_time": "%s"}' % format_instant(self.now_ms()).encode()
        elif fault.isdecimal():
            status = int(fault)
        elif self.poison & sent:
            status = 400
        elif fault != "break":
            answer = self._receipt(split_frames(body))
            self.signs_of_life += head.startswith("POST") and not body
        self.changed.set()
        if fault in {"drop", "break"}:
            return False
        answer = b"<html>" if fault == "nonsense" else answer
        wait = b"" if self.retry_after_s is None or status == 200 else b"Retry-After: %d\r\n" % self.retry_after_s
        writer.write(b"HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n" % (status, wait, len(answer)) + answer)
        await writer.drain()
        return True

    async def _slowly(self) -> None:
        """Answer like a cloud behind a slow link."""
        arrived = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(self.delay_s, arrived.set_result, None)
        await arrived

    def _authorised(self, header: str) -> bool:
        if not header:
            return False
        options = {"verify_exp": False}
        claims = jwt.decode(header[7:], self.key, ["EdDSA"], audience="gatehouse-cloud", options=options)  # type: ignore[arg-type]
        return bool(claims["sub"] == "gw-1" and self.now_ms() / 1000 <= claims["exp"] <= self.now_ms() / 1000 + 301)

    def _receipt(self, frames: list[bytes]) -> bytes:
        self.arrivals += len(frames)
        batch: list[tuple[Lane, str, int]] = []
        results = [self._take(data, batch) for data in frames]
        if batch:
            self.batches.append(batch)
        return encode_receipt(Receipt(format_instant(self.now_ms()), "log-1", tuple(results), self._lanes()))

    def _take(self, data: bytes, batch: list[tuple[Lane, str, int]]) -> FrameResult:
        frame = open_frame(data)
        header = frame.header
        name = (header.lane, header.epoch.hex(), header.seq)
        batch.append(name)
        verdicts = self.verdicts.get((header.lane, header.seq), [])
        known = self.stored.get(name)
        status = verdicts.pop(0) if verdicts else Status.STORED
        if status is Status.STORED and known is not None:
            status = Status.DUPLICATE if known == data else Status.FORK
        if status is Status.STORED:
            self.stored[name] = data
            self.arrived_s[name] = asyncio.get_running_loop().time()
        return FrameResult(header.lane, name[1], header.seq, frame.hash.hex(), status)

    def _lanes(self) -> tuple[LaneState, ...]:
        known: dict[tuple[Lane, str], SeqRanges] = {}
        for lane, epoch, seq in self.stored:
            known.setdefault((lane, epoch), SeqRanges()).add(seq, seq)
        return tuple(
            LaneState(lane, epoch, ranges.contiguous, ranges.highest, ranges.gaps(100))
            for (lane, epoch), ranges in known.items()
        )


@asynccontextmanager
async def small_cloud(key: Ed25519PublicKey, now_ms: Callable[[], int]) -> AsyncIterator[SmallCloud]:
    cloud = SmallCloud(key, now_ms)
    await cloud.start()
    try:
        yield cloud
    finally:
        await cloud.stop()
