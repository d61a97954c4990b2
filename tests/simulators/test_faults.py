"""The wire that misbehaves, over real sockets: each fate does what its name says, and a seed repeats it."""

import asyncio
import re
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from simulators.faults import NO_FAULTS, Fate, FaultProxy, Faults, fault_proxy
from simulators.wires import Protocol
from tests.simulators.test_cli import SIM
from tests.waiting import until

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
PATIENCE_S = 10.0


class Echo:
    """A server that answers each Modbus-like message with itself, and remembers what came."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(6)
                message = head + await reader.readexactly(int.from_bytes(head[4:6], "big"))
                self.got.append(message)
                writer.write(message)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def message(number: int) -> bytes:
    return struct.pack(">HHH", number, 0, 6) + b"\x01\x03\x00\x00\x00\x01"


@asynccontextmanager
async def serving(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    serving_now: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving_now.add(asyncio.create_task(one(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in serving_now:
            task.cancel()
        if serving_now:
            await asyncio.wait(serving_now)
        await asyncio.sleep(0)


@asynccontextmanager
async def modbus_wire(seed: int = 1) -> AsyncIterator[tuple[FaultProxy, Echo, Streams]]:
    echo = Echo()
    async with serving(echo.serve) as port, fault_proxy(FaultProxy("127.0.0.1", port, Protocol.MODBUS, seed)) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.listen_port)
        try:
            yield proxy, echo, (reader, writer)
        finally:
            writer.close()


async def ask(streams: Streams, number: int) -> bytes:
    streams[1].write(message(number))
    async with asyncio.timeout(PATIENCE_S):
        return await streams[0].readexactly(12)


async def test_without_faults_everything_passes() -> None:
    async with modbus_wire() as (proxy, _, streams):
        answers = [await ask(streams, number) for number in range(20)]

    assert answers == [message(number) for number in range(20)]
    assert proxy.counts == {Fate.PASS: 40}


async def test_a_dropped_answer_leaves_the_next_one_whole() -> None:
    async with modbus_wire() as (proxy, echo, streams):
        proxy.answers = Faults(drop=1.0)
        streams[1].write(message(1))
        await until(lambda: proxy.counts[Fate.DROP] == 1, "the answer to be dropped")
        proxy.answers = NO_FAULTS

        answer = await ask(streams, 2)

    assert answer == message(2)
    assert echo.got == [message(1), message(2)]


async def test_a_lost_acknowledgement_is_one_whose_request_arrived() -> None:
    async with modbus_wire() as (proxy, echo, streams):
        proxy.requests = proxy.answers = Faults(lose_ack=1.0)
        streams[1].write(message(1))
        await until(lambda: proxy.counts[Fate.LOSE_ACK] == 1, "the answer to be lost")

    assert echo.got == [message(1)]


async def test_a_duplicated_request_arrives_twice() -> None:
    async with modbus_wire() as (proxy, echo, streams):
        proxy.requests = Faults(duplicate=1.0)

        await ask(streams, 1)
        await until(lambda: len(echo.got) == 2, "the double")

    assert echo.got == [message(1)] * 2


async def test_a_late_answer_comes_after_the_next_one() -> None:
    async with modbus_wire() as (proxy, _, streams):
        proxy.answers = Faults(late=1.0, late_s=0.3)
        streams[1].write(message(1))
        await until(lambda: proxy.counts[Fate.LATE] == 1, "the late answer")
        proxy.answers = NO_FAULTS

        first = await ask(streams, 2)
        async with asyncio.timeout(PATIENCE_S):
            second = await streams[0].readexactly(12)

    assert [first, second] == [message(2), message(1)]


async def test_answers_are_reordered() -> None:
    async with modbus_wire() as (proxy, _, streams):
        proxy.answers = Faults(reorder=1.0)
        streams[1].write(message(1))
        await until(lambda: proxy.counts[Fate.REORDER] == 1, "the held answer")
        proxy.answers = NO_FAULTS
        streams[1].write(message(2))
        async with asyncio.timeout(PATIENCE_S):
            both = await streams[0].readexactly(24)

    assert both == message(2) + message(1)


async def test_a_truncated_modbus_answer_is_half_of_it() -> None:
    async with modbus_wire() as (proxy, _, streams):
        proxy.answers = Faults(truncate=1.0)
        streams[1].write(message(1))
        async with asyncio.timeout(PATIENCE_S):
            half = await streams[0].read(100)

    assert half == message(1)[:6]


async def test_a_reset_breaks_the_connection() -> None:
    async with modbus_wire() as (proxy, _, streams):
        proxy.answers = Faults(reset=1.0)
        streams[1].write(message(1))
        with pytest.raises(ConnectionResetError):
            await streams[0].readexactly(1)


async def test_a_cut_link_takes_no_connections_until_it_is_mended() -> None:
    async with modbus_wire() as (proxy, _, (reader, _)):
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        again, writer = await asyncio.open_connection("127.0.0.1", proxy.listen_port)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await again.readexactly(1)
        writer.close()

        proxy.mend()
        streams = await asyncio.open_connection("127.0.0.1", proxy.listen_port)
        answer = await ask(streams, 3)
        streams[1].close()

    assert answer == message(3)


async def test_delays_keep_the_order() -> None:
    async with modbus_wire() as (proxy, echo, streams):
        proxy.requests = Faults(delay_s=0.1)
        for number in range(10):
            streams[1].write(message(number))
        await until(lambda: len(echo.got) == 10, "all requests")

    assert echo.got == [message(number) for number in range(10)]


async def test_the_same_seed_gives_the_same_fates() -> None:
    async def fates(seed: int) -> list[bytes]:
        async with modbus_wire(seed) as (proxy, echo, streams):
            proxy.requests = Faults(drop=0.5)
            for number in range(50):
                streams[1].write(message(number))
            await until(lambda: proxy.counts[Fate.DROP] + proxy.counts[Fate.PASS] >= 50 + len(echo.got), "all")
            return echo.got

    once, again, other = await fates(7), await fates(7), await fates(8)

    assert 10 < len(once) < 40
    assert once == again
    assert once != other


async def one_http_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) if b"POST" in head else 0
            body = await reader.readexactly(size)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def test_http_is_answered_500_without_asking_the_server() -> None:
    async with (
        serving(one_http_answer) as port,
        fault_proxy(FaultProxy("127.0.0.1", port, Protocol.HTTP)) as proxy,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{proxy.listen_port}", trust_env=False) as client,
    ):
        whole = await client.post("/", content=b"x" * 100_000)
        proxy.requests = Faults(refuse=1.0, status=429, retry_after_s=3)
        refused = await client.post("/", content=b"y")

    assert whole.content == b"x" * 100_000
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "3")


async def test_an_http_answer_that_is_lost_ends_its_connection() -> None:
    async with (
        serving(one_http_answer) as port,
        fault_proxy(FaultProxy("127.0.0.1", port, Protocol.HTTP)) as proxy,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{proxy.listen_port}", trust_env=False) as client,
    ):
        proxy.answers = Faults(lose_ack=1.0)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/", content=b"x")


async def test_mqtt_loses_only_acknowledgements() -> None:
    connack, puback, publish = b"\x20\x02\x00\x00", b"\x40\x02\x00\x07", b"\x30\x05\x00\x01axy"

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2)
        writer.write(connack + puback + publish)
        await writer.drain()
        writer.close()

    async with serving(broker) as port, fault_proxy(FaultProxy("127.0.0.1", port, Protocol.MQTT)) as proxy:
        proxy.answers = Faults(lose_ack=1.0)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.listen_port)
        writer.write(b"\xc0\x00")
        async with asyncio.timeout(PATIENCE_S):
            got = await reader.read()
        writer.close()

    assert got == connack + publish


async def test_the_bandwidth_is_shared_by_all_connections() -> None:
    async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(1) + b"z" * 49_999)
        await writer.drain()
        writer.close()

    async with serving(sink) as port, fault_proxy(FaultProxy("127.0.0.1", port)) as proxy:
        proxy.bandwidth_bytes_s = 200_000

        async def fetch() -> int:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.listen_port)
            writer.write(b"a")
            got = await reader.read(-1)
            writer.close()
            return len(got)

        began_s = asyncio.get_running_loop().time()
        sizes = set(await asyncio.gather(fetch(), fetch()))
        took_s = asyncio.get_running_loop().time() - began_s

    assert sizes == {50_000}
    assert took_s >= 0.49  # 100,000 bytes at 200,000 a second


def test_shares_above_one_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 1"):
        Faults(drop=0.6, reset=0.6)


async def test_the_command_puts_a_wire_between_two_parts(tmp_path: Path) -> None:
    echo = Echo()
    log = tmp_path / "proxy.log"
    async with serving(echo.serve) as port:
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *SIM, "faults", "--to", f"127.0.0.1:{port}", "--protocol", "modbus", "--on", "requests",
                "--duplicate", "1", stdout=file, stderr=file,
            )  # fmt: skip
        try:
            await until(lambda: b"fault proxy ready" in log.read_bytes(), "the proxy")
            plain = re.sub(r"\x1b\[\d*m", "", log.read_text(encoding="utf-8"))
            found = re.search(r"port=(\d+)", plain)
            assert found, plain
            streams = await asyncio.open_connection("127.0.0.1", int(found[1]))
            await ask(streams, 1)
            await until(lambda: len(echo.got) == 2, "the double")
            streams[1].close()
        finally:
            process.terminate()
            code = await process.wait()

    assert code == 0
