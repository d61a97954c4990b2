"""Asks devices one by one: which unit ids answer, what a register holds. Function codes 3 and 4 only, or as told."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from devices.errors import LinkDown, Transient
from devices.point import Function
from devices.reading import Quality
from edge.config import ModbusServer
from edge.drivers.modbus_link import ModbusLink, Question, Reply

_TABLES = (Function.HOLDING, Function.INPUT)  # nearly every device has one of them
_ILLEGAL_ADDRESS = 2
_HINT = "try the other table (--function input), fewer registers (--count 1), or one less: 40001 in a manual is 0"
EXCEPTIONS = {
    1: "illegal function",
    2: "illegal address",
    3: "illegal value",
    4: "device failure",
    5: "acknowledge: still working",
    6: "device busy",
    8: "memory parity error",
    10: "gateway: no path to the device",
    11: "gateway: the device did not answer",
}


@dataclass(frozen=True, slots=True)
class FoundUnit:
    """A unit id and what it said: a value of a register, or the exception it answered with."""

    unit: int
    answer: str


@dataclass(frozen=True, slots=True)
class Searched:
    """A unit id was asked. `found` is None when nobody answered."""

    unit: int
    found: FoundUnit | None


async def scan(server: ModbusServer, units: Iterable[int], address: int = 0) -> AsyncIterator[Searched]:
    """Ask each unit id for one register; any answer counts, an exception too. Raises LinkDown."""
    link = ModbusLink(server)
    await link.connect()
    try:
        for unit in units:
            if not link.connected:  # some servers hang up on unit ids that they do not have
                await link.connect()
            yield Searched(unit, await _found(link, unit, address))
    finally:
        link.close()


async def _found(link: ModbusLink, unit: int, address: int) -> FoundUnit | None:
    said = None
    for table in _TABLES:
        reply = await link.ask(Question(unit, table, address, 1))
        if reply.quality.is_good:
            value = int.from_bytes(reply.data, "big")
            return FoundUnit(unit, f"{table.value} register {address} holds {value} (0x{value:04X})")
        if reply.quality is Quality.BAD_EXCEPTION and said is None:
            said = FoundUnit(unit, f"answers with exception {reply.exception} ({exception_text(reply.exception)})")
        if reply.quality not in {Quality.BAD_EXCEPTION, Quality.GOOD}:
            break  # a unit that is silent once is not asked twice
    return said


async def read_registers(server: ModbusServer, unit: int, function: Function, address: int, count: int) -> list[int]:
    """The words of some registers. Raises LinkDown, or Transient with the device's own reason."""
    link = ModbusLink(server)
    await link.connect()
    try:
        reply = await link.ask(Question(unit, function, address, count))
    finally:
        link.close()
    if not reply.quality.is_good:
        raise _why(server, unit, reply)
    if len(reply.data) != 2 * count:
        raise Transient(f"{count} registers were asked for, {len(reply.data) // 2} came")
    return [int.from_bytes(reply.data[place : place + 2], "big") for place in range(0, len(reply.data), 2)]


def _why(server: ModbusServer, unit: int, reply: Reply) -> Transient:
    where = f"unit {unit} at {server.name}"
    if reply.quality is Quality.BAD_UNDECODABLE:
        return Transient(f"{where} sent an answer that is no Modbus")
    if reply.quality is Quality.BAD_EXCEPTION:
        hint = f": {_HINT}" if reply.exception == _ILLEGAL_ADDRESS else ""
        return Transient(f"{where} answered with exception {reply.exception} ({exception_text(reply.exception)}){hint}")
    said = f" ({exception_text(reply.exception)})" if reply.exception else ""
    return LinkDown(f"{where} did not answer{said}: is it the right unit id, and is the device on?")


def exception_text(code: int) -> str:
    """What an exception code means (Modbus application protocol 1.1b3, 7)."""
    return EXCEPTIONS.get(code, "unknown to the standard")
