"""Every packaged Modbus profile: planned by the edge, served by the simulator, polled over real Modbus TCP."""

import math
from pathlib import Path

import pytest

from devices.dumps import Dump, load_dump
from devices.profile import LoadedProfile, load_profiles
from devices.reading import Block
from devices.states import equipment_state
from edge.config import ModbusServer
from edge.drivers.modbus import ModbusDriver
from edge.drivers.modbus_device import DevicePlan, plans_of
from simulators.modbus import SimulatedDevice, serve
from tests.devices.golden import dump_paths
from tests.edge.builders import device, moment, texts

PROFILES = {name: profile for name, profile in load_profiles().items() if not profile.pushes}
# A SunSpec device without the profile's model is not read at all: tests/edge/test_modbus_sunspec.py.
DUMPS = [path for name in PROFILES for path in dump_paths(name) if path.stem != "wrong-address"]
UNIT = 5
TIMEOUT_S = 5.0


def quick_plans(profile: LoadedProfile) -> list[DevicePlan]:
    """The plans of a profile, without the silences that a real bus needs."""
    plans = plans_of(device(profile, unit=UNIT))
    for plan in plans:
        plan.pause_s = 0.0
    return plans


def simulated(profile: LoadedProfile, dump: Dump) -> SimulatedDevice:
    """A device that reads as the dump says; scale factors first, for what they scale."""
    served = SimulatedDevice("it", UNIT, profile)
    factors = {point.scale_from for point in profile.points.values()}
    for point in sorted(dump.expected, key=lambda point: point not in factors):
        value = dump.expected[point]
        served.set(point, math.nan if value is None else value)
    for point, text in dump.texts.items():
        served.set_text(point, text)
    return served


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES.keys())
def test_a_plan_fetches_every_point_once_within_what_the_device_allows(profile: LoadedProfile) -> None:
    modbus = profile.profile.modbus
    assert modbus is not None

    requests = [request for plan in plans_of(device(profile)) for request in plan.requests]

    assert sorted(point for request in requests for point in request.read.points) == sorted(profile.points)
    for request in requests:
        assert request.read.count <= (modbus.max_bits if request.function.is_bits else modbus.max_registers)


@pytest.mark.parametrize("path", DUMPS, ids=lambda path: f"{path.parent.name}/{path.stem}")
async def test_what_the_simulator_serves_is_what_the_edge_reads(path: Path) -> None:
    profile, dump = PROFILES[path.parent.name], load_dump(path)

    async with serve([simulated(profile, dump)]) as port:
        driver = ModbusDriver(ModbusServer(host="127.0.0.1", port=port, timeout_s=TIMEOUT_S), moment)
        await driver.connect()
        try:
            items = [item for plan in quick_plans(profile) for item in (await driver.poll(plan)).items]
        finally:
            driver.close()

    read = {reading.point: reading.value for item in items if isinstance(item, Block) for reading in item}
    expected = {point: math.nan if value is None else value for point, value in dump.expected.items()}
    assert {point: read[point] for point in expected} == pytest.approx(expected, rel=1e-6, nan_ok=True)
    assert texts(items) == dump.texts
    assert equipment_state(profile, read) == dump.state
