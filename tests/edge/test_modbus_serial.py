"""Modbus RTU on a serial line and over TCP: two slaves that are not ours, and one that misbehaves."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random

import pytest
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from devices.errors import LinkDown
from devices.point import Function
from edge.config import ModbusServer
from edge.drivers.modbus import ModbusDriver
from edge.drivers.modbus_device import DevicePlan, plans_of
from edge.drivers.modbus_link import ModbusLink, Question
from tests.edge.builders import device, moment, qualities, registers_profile, values
from tests.edge.serial_bus import REQUEST_BYTES, RtuPeer, RtuQuestion, Wire, converter_peer, null_modem, serial_peer
from tests.waiting import until

BAUD = 115_200
TIMEOUT_S = 0.1
PATIENT_S = 5.0  # for slaves that are not ours and share this machine
RIGHT = {f"r{at}": 100.0 + at for at in range(50)}


def plan(count: int = 50, *, extra: str = "", modbus: str = "{}", unit: int = 1) -> DevicePlan:
    (only,) = plans_of(device(registers_profile(count, extra=extra, modbus=modbus), unit=unit))
    return only


def line(path: str, timeout_s: float = TIMEOUT_S) -> ModbusServer:
    return ModbusServer(serial=path, baudrate=BAUD, timeout_s=timeout_s)


@asynccontextmanager
async def driving(server: ModbusServer) -> AsyncIterator[ModbusDriver]:
    driver = ModbusDriver(server, moment)
    await driver.connect()
    with closing(driver):
        yield driver


@asynccontextmanager
async def pymodbus_slave(path: str) -> AsyncIterator[None]:
    content = SimDevice(1, simdata=[SimData(0, values=list(range(100, 150)), datatype=DataType.REGISTERS)])
    server = ModbusSerialServer(content, port=path, baudrate=BAUD)
    await server.serve_forever(background=True)
    try:
        yield
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


@asynccontextmanager
async def umodbus_slave(path: str) -> AsyncIterator[None]:
    serving = pytest.importorskip("umodbus.server.serial", reason="umodbus is not installed (pip install umodbus)")
    rtu = pytest.importorskip("umodbus.server.serial.rtu")
    serial = pytest.importorskip("serial")
    with closing(serial.Serial(path, BAUD)) as port:
        server = serving.get_server(rtu.RTUServer, port)

        @server.route(slave_ids=[1], function_codes=[3], addresses=list(range(50)))  # type: ignore[untyped-decorator]
        def read(slave_id: int, function_code: int, address: int) -> int:
            return 100 + address

        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            await asyncio.to_thread(thread.join)


SLAVES = [pytest.param(pymodbus_slave, id="pymodbus"), pytest.param(umodbus_slave, id="umodbus")]


def codes(wire: Wire) -> set[int]:
    """The function code of every frame that was asked on the wire."""
    asked = bytes(wire.asked)
    assert len(asked) % REQUEST_BYTES == 0
    return {asked[place + 1] for place in range(0, len(asked), REQUEST_BYTES)}


@pytest.mark.parametrize("slave", SLAVES)
async def test_reads_a_slave_on_a_serial_line(slave: type) -> None:
    async with null_modem() as wire, slave(wire.slave), driving(line(wire.master, PATIENT_S)) as driver:
        polled = await driver.poll(plan())

    assert values(polled.items) == RIGHT
    assert codes(wire) == {3}


@pytest.mark.parametrize("slave", SLAVES)
async def test_an_illegal_register_of_a_slave_on_a_serial_line_is_found(slave: type) -> None:
    extra = "  - {id: absent, function: holding, address: 55, type: u16, unit: V}\n"
    async with null_modem() as wire, slave(wire.slave), driving(line(wire.master, PATIENT_S)) as driver:
        polled = await driver.poll(plan(extra=extra))

    assert values(polled.items) == RIGHT
    assert qualities(polled.items) == {"absent": "BAD_ILLEGAL_ADDRESS"}


async def test_reads_a_bus_behind_a_converter() -> None:
    peer = RtuPeer()
    async with converter_peer(peer) as server, driving(server) as driver:
        polled = await driver.poll(plan(3))

    assert values(polled.items) == {"r0": 0.0, "r1": 1.0, "r2": 2.0}


async def test_a_serial_line_is_read_on_uvloop_too() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def reading() -> dict[str, float]:
        async with serial_peer(RtuPeer()) as path, driving(line(path, PATIENT_S)) as driver:
            return values((await driver.poll(plan(3))).items)

    def run() -> dict[str, float]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(reading())

    assert await asyncio.to_thread(run) == {"r0": 0.0, "r1": 1.0, "r2": 2.0}


async def test_no_function_but_the_four_that_read_is_ever_sent() -> None:
    extra = (
        "  - {id: on, function: coil, address: 3, type: bool}\n"
        "  - {id: off, function: discrete, address: 4, type: bool}\n"
        "  - {id: level, function: input, address: 5, type: u16}\n"
    )
    peer = RtuPeer(illegal={7}, plan=lambda question, answer: [] if question.count == 5 else [(0.0, answer)])
    async with serial_peer(peer) as path, driving(line(path)) as driver:
        asked = plan(20, extra=extra)
        for _ in range(4):
            await driver.poll(asked)
            await driver.probe(asked)

    assert {question.function for question in peer.questions} == {1, 2, 3, 4}
    assert peer.strange == []


def test_the_driver_names_no_function_that_writes() -> None:
    folder = Path(__file__).parent.parent.parent / "edge" / "drivers"
    sources = {path.name: path.read_text("utf-8").lower() for path in folder.glob("modbus*.py")}

    assert len(sources) >= 4
    assert [name for name, text in sources.items() if "write" in text.replace("functions that write", "")] == []
    assert {function.code for function in Function} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("rounds", "punctual"),
    [(25, 3), pytest.param(12_500, 100, marks=[pytest.mark.soak, pytest.mark.timeout(1800)], id="a million values")],
)
async def test_a_late_answer_is_never_taken_for_another_question(rounds: int, punctual: int) -> None:
    """B7: answers come up to three time-outs late, in order; every register holds its own address."""
    chance = Random(7)
    timeout_s = 0.02
    busy_until_s: dict[int, float] = {}

    def late(question: RtuQuestion, answer: bytes) -> list[tuple[float, bytes]]:
        now_s = asyncio.get_running_loop().time()
        began_s = max(now_s, busy_until_s.get(question.unit, 0.0))
        busy_until_s[question.unit] = began_s + chance.choice([0.0] * punctual + [1.3, 2.2, 3.1]) * timeout_s
        return [(busy_until_s[question.unit] - now_s, answer)]

    wrong: dict[str, float] = {}
    right = 0
    peer = RtuPeer(plan=late)
    async with serial_peer(peer) as path, driving(line(path, timeout_s)) as driver:
        plans = [plan(40, modbus="{max_registers: 10}", unit=unit) for unit in (1, 2)]
        for _ in range(rounds):
            for one in plans:
                got = values((await driver.poll(one)).items)
                wrong |= {point: value for point, value in got.items() if value != float(point[1:])}
                right += len(got)

    assert wrong == {}
    assert right > 100


async def test_a_unit_that_missed_a_question_is_asked_for_another_shape_first() -> None:
    lost = [True]

    def deaf_once(question: RtuQuestion, answer: bytes) -> list[tuple[float, bytes]]:
        return [] if lost and lost.pop() else [(0.0, answer)]

    peer = RtuPeer(plan=deaf_once)
    async with serial_peer(peer) as path, driving(line(path)) as driver:
        await driver.poll(plan(10))
        again = await driver.poll(plan(10))

    assert len(values(again.items)) == 10
    assert [question.count for question in peer.questions] == [10, 1, 10]


@pytest.mark.parametrize("spoilt", [b"\x00", b"\x01\x03\x14", b"\xff" * 30, bytes([9, 3, 2, 0, 1, 0, 0])])
async def test_noise_before_an_answer_costs_nothing(spoilt: bytes) -> None:
    peer = RtuPeer(plan=lambda _, answer: [(0.0, spoilt + answer)])
    async with serial_peer(peer) as path, driving(line(path)) as driver:
        polled = await driver.poll(plan(10))

    assert values(polled.items) == {f"r{at}": float(at) for at in range(10)}


async def test_a_wrong_check_gives_no_value_and_the_next_poll_is_right_again() -> None:
    flipped = [True]

    def noisy(_: RtuQuestion, answer: bytes) -> list[tuple[float, bytes]]:
        return [(0.0, answer[:5] + bytes([answer[5] ^ 1]) + answer[6:] if flipped and flipped.pop() else answer)]

    async with serial_peer(RtuPeer(plan=noisy)) as path, driving(line(path)) as driver:
        first = await driver.poll(plan(10))
        second = await driver.poll(plan(10))

    assert qualities(first.items) == {f"r{at}": "BAD_NO_ANSWER" for at in range(10)}
    assert values(second.items) == {f"r{at}": float(at) for at in range(10)}


async def test_an_answer_in_pieces_is_put_together() -> None:
    peer = RtuPeer(plan=lambda _, answer: [(0.0, answer[:2]), (0.01, answer[2:9]), (0.02, answer[9:])])
    async with serial_peer(peer) as path, driving(line(path, PATIENT_S)) as driver:
        polled = await driver.poll(plan(10))

    assert len(values(polled.items)) == 10


async def test_the_frame_pause_of_a_profile_is_kept_before_and_after_its_device() -> None:
    """APC: 35 ms of silence around its frames."""
    peer = RtuPeer()
    async with serial_peer(peer) as path, driving(line(path, PATIENT_S)) as driver:
        for _ in range(3):
            await driver.poll(plan(4, modbus="{frame_pause_ms: 35, max_registers: 2}"))
            await driver.poll(plan(2, unit=2))

    gaps_s = [after - before for before, after in zip(peer.times_s, peer.times_s[1:], strict=False)]
    assert len(gaps_s) == 8
    assert min(gaps_s) >= 0.035


async def test_a_device_is_given_the_time_its_profile_asks_for() -> None:
    """DSE: answers are corrupt below a time-out of 1 s."""
    peer = RtuPeer(plan=lambda _, answer: [(3 * TIMEOUT_S, answer)])
    async with serial_peer(peer) as path, driving(line(path)) as driver:
        impatient = await driver.poll(plan(3))
        patient = await driver.poll(plan(3, modbus="{timeout_s: 1}", unit=2))

    assert values(impatient.items) == {}
    assert len(values(patient.items)) == 3


async def test_exact_blocks_and_forbidden_registers_are_kept_on_the_wire() -> None:
    """ComAp: an error for a read that takes part of the ident block or crosses an undefined register."""
    peer = RtuPeer(illegal={4})
    async with serial_peer(peer) as path, driving(line(path)) as driver:
        extra = "  - {id: far, function: holding, address: 22, type: u16, unit: V}\n"
        polled = await driver.poll(plan(4, extra=extra, modbus="{forbidden: [[4, 1]], exact_blocks: [[16, 16]]}"))

    assert qualities(polled.items) == {}
    assert [(question.address, question.count) for question in peer.questions] == [(0, 4), (16, 16)]


async def test_a_serial_port_that_goes_away_ends_a_poll_at_once() -> None:
    peer = RtuPeer(dead_units={1})
    async with serial_peer(peer) as path:
        driver = ModbusDriver(line(path, 30), moment)
        await driver.connect()
        polling = asyncio.create_task(driver.poll(plan(3)))
        await until(lambda: peer.questions, "a question")
    async with asyncio.timeout(10):
        polled = await polling

    assert qualities(polled.items) == dict.fromkeys(("r0", "r1", "r2"), "BAD_CONNECTION")
    assert not driver.connected


async def test_a_port_that_is_not_there_is_a_link_down_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(LinkDown, match="tty-none cannot be opened"):
        await ModbusDriver(line(str(tmp_path / "tty-none")), moment).connect()


async def test_two_masters_cannot_open_one_port() -> None:
    async with serial_peer(RtuPeer()) as path, driving(line(path)):
        with pytest.raises(LinkDown, match="cannot be opened"):
            await ModbusDriver(line(path), moment).connect()


async def test_an_exception_that_may_be_a_late_one_teaches_nothing() -> None:
    """The first question is answered too late, with an exception, while the second one waits."""
    first = [True]

    def late_exception(question: RtuQuestion, answer: bytes) -> list[tuple[float, bytes]]:
        refusal = RtuPeer(illegal={question.address}).frame(question)
        return [(1.5 * TIMEOUT_S, refusal)] if first and first.pop() else [(TIMEOUT_S * 0.9, answer)]

    async with serial_peer(RtuPeer(plan=late_exception)) as path:
        link = ModbusLink(line(path))
        await link.connect()
        with closing(link):
            replies = [await link.ask(Question(1, Function.HOLDING, 0, count)) for count in (10, 5, 10)]

    assert [reply.quality.is_good for reply in replies[:2]] == [False, False]
    assert replies[2].data == b"".join(at.to_bytes(2, "big") for at in range(10))
