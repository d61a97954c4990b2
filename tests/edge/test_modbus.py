import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from devices.errors import LinkDown
from devices.reading import Block
from edge.config import ModbusServer
from edge.drivers.modbus import ModbusDriver
from edge.drivers.modbus_device import DevicePlan, plans_of
from tests.edge.builders import START_MS, device, moment, qualities, registers_profile, texts, values
from tests.edge.modbus_peer import ModbusPeer, Question, modbus_peer

TIMEOUT_S = 0.2
ALL = {f"r{at}": float(at) for at in range(100)}


@asynccontextmanager
async def connected(port: int, timeout_s: float = TIMEOUT_S) -> AsyncIterator[ModbusDriver]:
    driver = ModbusDriver(ModbusServer(host="127.0.0.1", port=port, timeout_s=timeout_s), moment)
    await driver.connect()
    try:
        yield driver
    finally:
        driver.close()


def plan(count: int = 100, *, extra: str = "", modbus: str = "{}") -> DevicePlan:
    (only,) = plans_of(device(registers_profile(count, extra=extra, modbus=modbus)))
    return only


async def test_reads_a_real_server() -> None:
    simulated = SimDevice(1, simdata=[SimData(0, values=list(range(100, 150)), datatype=DataType.REGISTERS)])
    server = ModbusTcpServer(simulated, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    transport: Any = server.transport  # an asyncio.Server
    port = transport.sockets[0].getsockname()[1]
    try:
        async with connected(port) as driver:
            polled = await driver.poll(plan(50))
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]

    assert values(polled.items) == {f"r{at}": 100.0 + at for at in range(50)}


async def test_one_illegal_register_among_a_hundred_leaves_99_good_values_in_the_same_cycle() -> None:
    async with modbus_peer(ModbusPeer(illegal={37})) as peer, connected(peer.port) as driver:
        polled = await driver.poll(plan())

    assert values(polled.items) == {point: value for point, value in ALL.items() if point != "r37"}
    assert qualities(polled.items) == {"r37": "BAD_ILLEGAL_ADDRESS"}


async def test_an_illegal_register_is_remembered() -> None:
    async with modbus_peer(ModbusPeer(illegal={37})) as peer, connected(peer.port) as driver:
        remembered = plan()
        await driver.poll(remembered)
        peer.questions.clear()
        polled = await driver.poll(remembered)

    assert [(question.address, question.count) for question in peer.questions] == [(0, 37), (38, 62)]
    assert len(values(polled.items)) == 99
    assert qualities(polled.items) == {"r37": "BAD_ILLEGAL_ADDRESS"}


async def test_an_illegal_hole_costs_no_point() -> None:
    far = "  - {id: far, function: holding, address: 20, type: u16, unit: V}\n"
    async with modbus_peer(ModbusPeer(illegal={15})) as peer, connected(peer.port) as driver:
        remembered = plan(10, extra=far)
        first = await driver.poll(remembered)
        peer.questions.clear()
        second = await driver.poll(remembered)

    assert len(values(first.items)) == len(values(second.items)) == 11
    assert [(question.address, question.count) for question in peer.questions] == [(0, 10), (20, 1)]


async def test_a_range_that_becomes_legal_again_is_found() -> None:
    async with modbus_peer(ModbusPeer(illegal={37})) as peer, connected(peer.port) as driver:
        remembered = plan()
        await driver.poll(remembered)
        peer.illegal.clear()
        remembered._retry_ms = 0
        polled = await driver.poll(remembered)

    assert values(polled.items) == ALL
    assert len(remembered.requests) == 1


async def test_a_lost_middle_request_shifts_no_value() -> None:
    async def dropped(question: Question, answer: bytes) -> bytes:
        return b"" if question.address == 40 else answer

    async with modbus_peer(ModbusPeer(rewrite=dropped)) as peer, connected(peer.port) as driver:
        polled = await driver.poll(plan(modbus="{max_registers: 40}"))

    assert values(polled.items) == {f"r{at}": float(at) for at in range(100) if not 40 <= at < 80}
    assert qualities(polled.items) == {f"r{at}": "BAD_NO_ANSWER" for at in range(40, 80)}
    assert (polled.answered, polled.silent) == (2, 1)


async def test_a_late_answer_is_not_taken_for_the_next_one() -> None:
    held = asyncio.Event()

    async def late(question: Question, answer: bytes) -> bytes:
        if not held.is_set():
            held.set()
            return b""
        stale = struct.pack(">HHHBBB", question.transaction - 1, 0, 23, question.unit, 3, 20) + b"\xee" * 20
        return stale + answer

    async with modbus_peer(ModbusPeer(rewrite=late)) as peer, connected(peer.port) as driver:
        asked = plan(10)
        first = await driver.poll(asked)
        second = await driver.poll(asked)

    assert qualities(first.items) == {f"r{at}": "BAD_NO_ANSWER" for at in range(10)}
    assert values(second.items) == {f"r{at}": float(at) for at in range(10)}


@pytest.mark.parametrize("transaction", [0, 999])
async def test_an_answer_to_another_question_gives_no_value(transaction: int) -> None:
    async def renamed(question: Question, answer: bytes) -> bytes:
        return struct.pack(">H", transaction) + answer[2:]

    async with modbus_peer(ModbusPeer(rewrite=renamed)) as peer, connected(peer.port) as driver:
        polled = await driver.poll(plan(10))

    assert values(polled.items) == {}
    assert len(qualities(polled.items)) == 10


async def test_half_an_answer_is_not_completed_by_the_next() -> None:
    async def halved(question: Question, answer: bytes) -> bytes:
        return answer[:15] if question.transaction == 1 else answer

    async with modbus_peer(ModbusPeer(rewrite=halved)) as peer, connected(peer.port) as driver:
        asked = plan(10)
        polled = await driver.poll(asked)
        await driver.connect()
        peer.rewrite = None
        again = await driver.poll(asked)

    assert values(polled.items) == {}
    assert values(again.items) == {f"r{at}": float(at) for at in range(10)}


@pytest.mark.parametrize(
    "body",
    [
        bytes([3, 4, 0, 1, 0, 2]),  # fewer registers than asked for
        bytes([3, 20]),  # a byte count without bytes
        bytes([4, 20]) + bytes(20),  # another function's answer
        bytes([3]),
    ],
)
async def test_an_answer_of_the_wrong_shape_is_undecodable(body: bytes) -> None:
    async def reshaped(question: Question, answer: bytes) -> bytes:
        return struct.pack(">HHHB", question.transaction, 0, len(body) + 1, question.unit) + body

    async with modbus_peer(ModbusPeer(rewrite=reshaped)) as peer, connected(peer.port) as driver:
        polled = await driver.poll(plan(10))

    assert qualities(polled.items) == {f"r{at}": "BAD_UNDECODABLE" for at in range(10)}


@pytest.mark.parametrize(
    ("code", "quality"), [(1, "BAD_EXCEPTION"), (4, "BAD_EXCEPTION"), (6, "BAD_EXCEPTION"), (11, "BAD_NO_ANSWER")]
)
async def test_an_exception_has_a_reason(code: int, quality: str) -> None:
    async def excepted(question: Question, answer: bytes) -> bytes:
        return struct.pack(">HHHBBB", question.transaction, 0, 3, question.unit, 0x83, code)

    async with modbus_peer(ModbusPeer(rewrite=excepted)) as peer, connected(peer.port) as driver:
        polled = await driver.poll(plan(3))

    assert qualities(polled.items) == dict.fromkeys(("r0", "r1", "r2"), quality)


async def test_a_broken_connection_ends_a_poll_at_once() -> None:
    async def cut(question: Question, answer: bytes) -> bytes:
        peer.hang_up()
        return b""

    async with modbus_peer(ModbusPeer(rewrite=cut)) as peer, connected(peer.port, timeout_s=30) as driver:
        async with asyncio.timeout(10):
            polled = await driver.poll(plan(modbus="{max_registers: 40}"))

        assert not driver.connected

    assert qualities(polled.items) == dict.fromkeys(ALL, "BAD_CONNECTION")


async def test_nobody_listening_is_a_link_down() -> None:
    async with modbus_peer() as peer:
        port = peer.port
    driver = ModbusDriver(ModbusServer(host="127.0.0.1", port=port, timeout_s=TIMEOUT_S), moment)

    with pytest.raises(LinkDown, match=f"127.0.0.1:{port}"):
        await driver.connect()


async def test_a_reading_was_true_in_the_middle_of_its_request() -> None:
    async with modbus_peer(ModbusPeer(delay_s={1: 0.1})) as peer, connected(peer.port, timeout_s=5) as driver:
        before_ms = moment().utc_ms
        (block,) = (await driver.poll(plan(10))).items
        after_ms = moment().utc_ms

    assert isinstance(block, Block)
    assert START_MS < before_ms + 40 <= block.time_ms <= after_ms - 40


async def test_bits_and_texts_are_read_too() -> None:
    extra = (
        "  - {id: on, function: coil, address: 3, type: bool}\n"
        "  - {id: off, function: discrete, address: 4, type: bool}\n"
        "  - {id: name, function: holding, address: 10, type: string, length: 2}\n"
    )
    content = {3: 1, 4: 0, 10: 0x4742, 11: 0x4800}
    async with modbus_peer(ModbusPeer(registers=content)) as peer, connected(peer.port) as driver:
        polled = await driver.poll(plan(2, extra=extra))

    assert values(polled.items) == {"r0": 0.0, "r1": 1.0, "on": 1.0, "off": 0.0}
    assert texts(polled.items) == {"name": "GBH"}


async def test_the_driver_only_ever_reads() -> None:
    extra = "  - {id: on, function: coil, address: 3, type: bool}\n"
    async with modbus_peer(ModbusPeer(illegal={7})) as peer, connected(peer.port) as driver:
        await driver.poll(plan(20, extra=extra))

    assert {question.function for question in peer.questions} <= {1, 2, 3, 4}
