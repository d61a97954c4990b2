"""Simulated devices on Modbus TCP: serves any profile, values encoded by the very codec the edge decodes with.

A server answers for several unit ids. Registers that no point uses are illegal addresses, writes are illegal
functions: the devices are read-only, like the gateway.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from devices.errors import RegisterError
from devices.point import Function, Point, PointType
from devices.profile import LoadedProfile
from devices.registers import decode_registers, encode_registers, encode_text

SILENCE_S = 3600.0  # an answer that never comes: longer than any client waits
_TABLES = (Function.COIL, Function.DISCRETE, Function.HOLDING, Function.INPUT)
_CODES = {1: Function.COIL, 2: Function.DISCRETE, 3: Function.HOLDING, 4: Function.INPUT}
_ADDRESSES = 65_536
_UNUSED_ADDRESS = (_ADDRESSES - 1) // 16 * 16  # pymodbus wants every table to hold something


class SimulatedDevice:
    """One device behind a unit id. Starts with 0 everywhere; values are canonical, as the edge will report them.

    `set` is what a test or a drill says; `behave` is what the simulation says, and does not touch points that
    were set, until they are released.
    """

    def __init__(self, device: str, unit: int, profile: LoadedProfile) -> None:
        self.id = device
        self.unit = unit
        self.profile = profile
        self.silent = False
        self._words: dict[Function, dict[int, int]] = {table: {} for table in _TABLES}
        self._held: set[str] = set()
        self._changed = asyncio.Event()
        for first, count in profile.profile.modbus.exact_blocks if profile.profile.modbus is not None else ():
            for table in (Function.HOLDING, Function.INPUT):
                self._words[table].update(dict.fromkeys(range(first, first + count), 0))
        for point in profile.points.values():
            self._write(point, 0.0)
        self._words[Function.HOLDING].update(_sunspec_frame(profile))

    def set(self, point: str, value: float) -> None:
        """Make a point read `value` from now on. Raises RegisterError for an unknown point or a bad value."""
        self._write(self._point(point), value)
        self._held.add(point)

    def set_text(self, point: str, text: str) -> None:
        """Make a text point read `text`. Raises RegisterError."""
        found = self._point(point)
        self._store(found, encode_text(found, text))
        self._held.add(point)

    def release(self, point: str | None = None) -> None:
        """Give a point, or all of them, back to the simulation."""
        if point is None:
            self._held.clear()
        else:
            self._held.discard(self._point(point).id)

    def behave(self, values: Mapping[str, float]) -> None:
        """Take over what the simulation says, except for points that were set. Raises RegisterError."""
        for point, value in values.items():
            if point not in self._held:
                self._write(self._point(point), value)

    def words(self, function: Function, address: int, count: int) -> list[int]:
        """What a read answers: registers, or bits as 0 and 1. Raises KeyError for an address without a point."""
        table = self._words[function]
        return [table[place] for place in range(address, address + count)]

    def _point(self, name: str) -> Point:
        point = self.profile.points.get(name)
        if point is None:
            raise RegisterError(f"{self.id} has no point {name!r}: expected one of {', '.join(self.profile.points)}")
        return point

    def _write(self, point: Point, value: float) -> None:
        if point.is_text:
            self._store(point, encode_text(point, ""))
            return
        if point.scale_from is not None:
            value /= 10.0 ** self._factor(self._point(point.scale_from))
        self._store(point, encode_registers(point, value))

    def _factor(self, point: Point) -> float:
        """What a scale factor reads now; 0 before it was written."""
        table = self._words[point.function or Function.HOLDING]
        at = point.address or 0
        words = [table.get(place, 0) for place in range(at, at + point.registers)]
        return decode_registers(point, words)

    def _store(self, point: Point, words: Sequence[int]) -> None:
        if point.function is None or point.address is None:
            raise RegisterError(f"{self.profile.id} is not a Modbus profile")
        table = self._words[point.function]
        if point.type is PointType.BIT:
            mask = 1 << (point.bit or 0)
            table[point.address] = table.get(point.address, 0) & ~mask | words[0] & mask
            return
        table.update(zip(range(point.address, point.address + len(words)), words, strict=True))

    async def answer(  # noqa: PLR0917 - pymodbus's signature
        self, code: int, start: int, address: int, count: int, registers: list[int], written: object | None
    ) -> ExcCodes | None:
        """Fills in pymodbus's own registers just before it answers from them."""
        if self.silent:
            await asyncio.sleep(SILENCE_S)
        table = _CODES.get(code)
        if table is None or written is not None:
            return ExcCodes.ILLEGAL_FUNCTION
        words = self._words[table]
        if table.is_bits:
            for place, value in words.items():
                mask, word = 1 << place % 16, place // 16 - start
                registers[word] = registers[word] | mask if value else registers[word] & ~mask
            return None
        if any(place not in words for place in range(address, address + count)):
            return ExcCodes.ILLEGAL_ADDRESS
        for place in range(address, address + count):
            registers[place - start] = words[place]
        return None

    def sim_device(self) -> SimDevice:
        """The device in pymodbus's terms."""
        tables = []
        for table in _TABLES:
            places = sorted(self._words[table])
            kind = DataType.BITS if table.is_bits else DataType.REGISTERS
            empty: bool | int = False if table.is_bits else 0
            tables.append([SimData(place, values=empty, datatype=kind) for place in places or [_UNUSED_ADDRESS]])
        coils, discretes, holdings, inputs = tables
        return SimDevice(self.unit, simdata=(coils, discretes, holdings, inputs), action=self.answer)


def _sunspec_frame(profile: LoadedProfile) -> dict[int, int]:
    """Marker, head of each model and end of the chain, in the layout that the profile is written for."""
    modbus = profile.profile.modbus
    if modbus is None or modbus.sunspec is None:
        return {}
    sunspec = modbus.sunspec
    common, model = sunspec.common_address, sunspec.address
    end = max(first + count for first, count in modbus.exact_blocks)
    words = (
        (common - 2, (0x5375, 0x6E53)),
        (common, (1, model - common - 2)),
        (model, (sunspec.model, end - model - 2)),
        (end, (0xFFFF, 0)),
    )
    return {address + place: word for address, pair in words for place, word in enumerate(pair)}


@asynccontextmanager
async def serve(devices: Iterable[SimulatedDevice], host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
    """Serve devices with different unit ids on one TCP port while the context is open; gives the port."""
    behind = [device.sim_device() for device in devices]
    nobody = SimDevice(0, simdata=SimData(0, count=_ADDRESSES, datatype=DataType.REGISTERS), action=_no_such_unit)
    server = ModbusTcpServer([*behind, nobody], address=(host, port))
    await server.serve_forever(background=True)
    try:
        yield _port(server)
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]


async def _no_such_unit(*_request: object) -> ExcCodes:
    """What a gateway in front of a bus says for a unit id that nobody has. pymodbus sends all of them to unit 0."""
    return ExcCodes.GATEWAY_NO_RESPONSE


def _port(server: ModbusTcpServer) -> int:
    listening = server.transport
    if not isinstance(listening, asyncio.Server):
        raise TypeError("pymodbus keeps its listening socket elsewhere now")
    return int(listening.sockets[0].getsockname()[1])
