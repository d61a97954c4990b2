import asyncio
import math

import numpy as np
import pytest
from pymodbus.client import AsyncModbusTcpClient

from devices.errors import RegisterError
from devices.point import Function, Point
from devices.profile import LoadedProfile, load_profiles
from devices.registers import decode_registers
from simulators.modbus import SimulatedDevice, serve

PROFILES = {name: profile for name, profile in load_profiles().items() if profile.profile.modbus is not None}
UNIT = 3


async def read(client: AsyncModbusTcpClient, point: Point, unit: int = UNIT) -> float:
    """The value of a point, by a client that knows nothing of the simulator."""
    assert point.function is not None
    assert point.address is not None
    if point.function.is_bits:
        ask = client.read_coils if point.function is Function.COIL else client.read_discrete_inputs
        bits = await ask(point.address, count=1, device_id=unit)
        assert not bits.isError()
        return float(bits.bits[0])
    reader = client.read_holding_registers if point.function is Function.HOLDING else client.read_input_registers
    answer = await reader(point.address, count=point.registers, device_id=unit)
    assert not answer.isError()
    return decode_registers(point, answer.registers)


def some_values(profile: LoadedProfile) -> dict[str, float]:
    """A value for every number, such as its registers can hold; scale factors are 0."""
    rng = np.random.default_rng(5)
    factors = {point.scale_from for point in profile.points.values()}
    values: dict[str, float] = {}
    for point in profile.points.values():
        if point.is_text or point.id in factors:
            continue
        raw = int(rng.integers(0, 2 if point.type in {"bool", "bit"} else 100))
        if point.type in {"f32", "f64"}:
            values[point.id] = float(raw)
        elif point.type == "bit":
            values[point.id] = raw
        else:
            values[point.id] = decode_registers(point, [0] * (point.registers - 1) + [raw])
    return values


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES.keys())
async def test_every_packaged_profile_is_served_as_any_client_reads_it(profile: LoadedProfile) -> None:
    device = SimulatedDevice("it", UNIT, profile)
    values = some_values(profile)
    for point, value in values.items():
        device.set(point, value)

    async with serve([device]) as port, AsyncModbusTcpClient("127.0.0.1", port=port) as client:
        found = {point: await read(client, profile.points[point]) for point in values}

    assert found == pytest.approx(values, rel=1e-6)


async def test_two_units_behind_one_port_answer_for_themselves() -> None:
    drive = PROFILES["abb-acs580"]
    first, second = SimulatedDevice("a", 1, drive), SimulatedDevice("b", 2, drive)
    first.set("status", 8)

    async with serve([first, second]) as port, AsyncModbusTcpClient("127.0.0.1", port=port) as client:
        status = drive.points["status"]

        assert await read(client, status, 1) == 8
        assert await read(client, status, 2) == 0


async def test_holes_writes_and_unknown_units_are_refused_as_devices_do() -> None:
    device = SimulatedDevice("a", 1, PROFILES["abb-acs580"])

    async with serve([device]) as port, AsyncModbusTcpClient("127.0.0.1", port=port) as client:
        hole = await client.read_holding_registers(0, count=8, device_id=1)
        write = await client.write_register(3, 1, device_id=1)
        nobody = await client.read_holding_registers(3, count=1, device_id=99)

    assert (hole.exception_code, write.exception_code, nobody.exception_code) == (2, 1, 11)


async def test_a_silent_device_does_not_answer_and_speaks_again() -> None:
    device = SimulatedDevice("a", 1, PROFILES["abb-acs580"])
    status = device.profile.points["status"]
    async with serve([device]) as port, AsyncModbusTcpClient("127.0.0.1", port=port, timeout=10, retries=0) as client:
        device.silent = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await read(client, status, 1)
        device.silent = False

        assert await read(client, status, 1) == 0


def test_what_was_set_stays_until_it_is_released() -> None:
    device = SimulatedDevice("a", 1, PROFILES["abb-acs580"])
    device.set("status", 8)
    device.behave({"status": 7})
    held = device.words(Function.HOLDING, 3, 1)
    device.release("status")
    device.behave({"status": 7})

    assert (held, device.words(Function.HOLDING, 3, 1)) == ([8], [7])


@pytest.mark.parametrize(("point", "value"), [("nothing", 1.0), ("status", 70_000.0), ("status", math.inf)])
def test_an_impossible_value_is_refused(point: str, value: float) -> None:
    device = SimulatedDevice("a", 1, PROFILES["abb-acs580"])

    with pytest.raises(RegisterError):
        device.set(point, value)
