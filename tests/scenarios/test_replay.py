"""Recordings of real devices through the whole path, and their numbers worked out apart from it.

The expected values come straight from the recordings, with shapely and plain sums; nothing of `cloud` is used.
"""

import asyncio
import csv
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import shapely

from devices.instants import format_instant
from devices.profile import LoadedProfile, load_profiles, parse_profile
from edge.clock import Clock
from edge.config import SiteConfig, site_of
from edge.enrol import load_key
from edge.gateway import Gateway
from simulators.modbus import SimulatedDevice, serve
from simulators.mqtt import Broker, publish_recording
from simulators.replay import (
    DrivePose,
    car_parks,
    drive_poses,
    machine_temperature,
    park_as_spaces,
    play,
    robot_drive,
    sensors_of,
)
from simulators.site import Robot
from simulators.world import SimulatedClock
from tests.brokers import mosquitto
from tests.scenarios.site import GATEWAY, SITE, SmallSite, command, free_port
from tests.waiting import eventually, until

RECORDINGS = Path(__file__).parent.parent / "golden" / "recordings"
PARKS = Path(__file__).parents[3] / "shared" / "data" / "parking"
ZONE = ZoneInfo("Asia/Shanghai")
HEAD = (
    "site: {id: test-site, name: {en: T, zh-CN: 测}, type: commercial, zone: Asia/Shanghai, commissioned: 2020-01-01}\n"
)


def yesterday_at(hour: int) -> int:
    """Unix ms of an hour of yesterday at the site: replayed time must stay behind the cloud's."""
    today = datetime.now(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    return round((today - timedelta(days=1) + timedelta(hours=hour)).timestamp() * 1000)


@asynccontextmanager
async def replaying(
    folder: Path, ledger: str, connection: dict[str, Any], clock: Clock, profiles: Mapping[str, LoadedProfile]
) -> AsyncIterator[SmallSite]:
    """Cloud as a child; the agent in this process, by the clock of the recording."""
    port = free_port()
    (folder / "ledger.yaml").write_text(HEAD + ledger, encoding="utf-8")
    config = SiteConfig.model_validate(
        {
            "site": SITE,
            "gateway": GATEWAY,
            "key_file": "gw.key",
            "data_dir": "edge-data",
            "cloud": {"url": f"http://127.0.0.1:{port}"},
            "connections": [connection],
        },
        strict=False,
    )
    public = (await command(folder, "edge", "key", "gw.key")).strip()
    data = ("--data-dir", "cloud-data")
    await command(folder, "cloud", "gateway", "add", GATEWAY, "--site", SITE, "--public-key", public, *data)
    await command(folder, "cloud", "ledger", "import", "ledger.yaml", *data)
    site = SmallSite(folder, {}, port)
    try:
        await site.start_cloud()
        load_key(folder / "gw.key")
        gateway = Gateway.open(site_of(config, folder, profiles), clock)
        stop = asyncio.Event()
        agent = asyncio.create_task(gateway.run(stop), name="agent")
        try:
            yield site
        finally:
            stop.set()
            await agent
            await gateway.close()
    finally:
        await site.close()


async def indicator(site: SmallSite, name: str, from_ms: int, to_ms: int) -> dict[str, Any]:
    window = {"from": format_instant(from_ms), "to": format_instant(to_ms)}
    found: dict[str, Any] = await site.api(f"/api/v1/sites/{SITE}/indicators/{name}", **window)
    return found


def covered_by_shapely(poses: list[DrivePose], offset: tuple[float, float], zone: Any, radius_m: float) -> Any:
    """The area that a robot with this radius passed, as a polygon: the definition, without any grid."""
    legs = [
        shapely.LineString([(a.x_m + offset[0], a.y_m + offset[1]), (b.x_m + offset[0], b.y_m + offset[1])])
        for a, b in pairwise(poses)
        if b.time_s - a.time_s <= 5.0
    ]
    return shapely.intersection(shapely.union_all([leg.buffer(radius_m, quad_segs=64) for leg in legs]), zone)


@pytest.mark.parametrize("seconds", [240, pytest.param(1_061, marks=pytest.mark.soak)])
async def test_a_recorded_drive_covers_what_shapely_says(tmp_path: Path, seconds: int) -> None:
    poses = [pose for pose in drive_poses(RECORDINGS / "freiburg-079_poses.csv") if pose.time_s <= seconds]
    offset, radius_m, cell_m, rate = (26.0, 10.0), 1.5, 0.5, 60.0
    zone = shapely.box(0, 0, 44, 22)
    assert all(zone.contains(shapely.Point(pose.x_m + offset[0], pose.y_m + offset[1])) for pose in poses)
    ledger = f"""
floors: [{{id: b1, name: {{en: B1, zh-CN: B1}}, map: B1, width_m: 44.0, height_m: 22.0, walls: []}}]
robots: [{{id: r1, name: {{en: R1, zh-CN: R1}}, device: r1, radius_m: {radius_m}, speed_max_m_s: 1.5}}]
zones:
  - {{id: hall, name: {{en: Hall, zh-CN: 大厅}}, floor: b1, requires_patrol: true, required_hours: ["00:00-24:00"],
     geometry: {{type: Polygon, coordinates: [[[0, 0], [44, 0], [44, 22], [0, 22], [0, 0]]]}}}}
targets: {{robot.coverage: 0.60}}
"""
    day_ms, start_ms = yesterday_at(0), yesterday_at(10)
    robot = Robot("r1", "r-01", "acme", "r-01", 0, 0.0, 0.0)
    async with mosquitto(tmp_path) as broker:
        connection = {
            "id": "broker",
            "mqtt": {"host": "127.0.0.1", "port": broker.port},
            "devices": [{"id": "r1", "profile": "vda5050-robot", "topic": robot.topic}],
        }
        clock = Clock(rate=rate, start_ms=start_ms)
        async with replaying(tmp_path, ledger, connection, clock, load_profiles()) as site:
            await eventually(site.stored_seq, "the agent in the cloud")
            drive = list(robot_drive(poses, robot, start_ms + 60_000, "B1", offset))
            await publish_recording(drive, SimulatedClock(start_ms + 60_000, rate), Broker(broker.port, "127.0.0.1"))

            end_ms = start_ms + 60_000 + math.floor(poses[-1].time_s * 1000)

            def end_in_log() -> bool:
                return any(time_ms >= end_ms for frame in site.log_frames() for time_ms in frame.content.poses.time_ms)

            await until(end_in_log, "the end of the drive in the log")
            kept = sum(len(frame.content.poses) for frame in site.log_frames())
            area = covered_by_shapely(poses, offset, zone, radius_m)

            async def covered() -> dict[str, Any] | None:
                found = await indicator(site, "robot.coverage", day_ms, day_ms + 86_400_000)
                return found if found["value"] and found["value"] > 0.9 * area.area / zone.area else None

            found = await eventually(covered, "the coverage of the whole drive")

    rows, columns = np.mgrid[0 : round(22 / cell_m), 0 : round(44 / cell_m)]
    centres = shapely.contains_xy(area, (columns + 0.5) * cell_m, (rows + 0.5) * cell_m)
    share = found["numerator"] / found["denominator"]
    assert kept < 0.5 * len(poses)  # what a straight line tells as well was left out
    assert share == found["value"] == found["low"]
    assert abs(share - centres.sum() / centres.size) <= 0.002  # a cell whose centre is on the edge may fall either way
    assert abs(share - area.area / zone.area) <= 0.01  # the cell error that docs/coverage.md states


@pytest.mark.skipif(not PARKS.exists(), reason="the car parks have no stated licence and are read from ../shared only")
@pytest.mark.parametrize("hours", [4, pytest.param(12, marks=pytest.mark.soak)])
async def test_a_recorded_car_park_is_as_full_as_it_was(tmp_path: Path, hours: int) -> None:
    rate = 3_600.0
    park = min(car_parks(PARKS / "car_parks_2024-05.csv.gz", PARKS / "car_parks_2024-05_places.json").values(),
               key=lambda one: one.capacity)  # fmt: skip
    from_ms = round(datetime(2024, 5, 15, 6, tzinfo=ZoneInfo("UTC")).timestamp() * 1000)
    to_ms = from_ms + hours * 3_600_000
    start_ms = yesterday_at(8)
    sensors = sensors_of(park, "app-1", 0x70B3_D57E_D100_0000)
    spaces = "\n".join(
        f"  - {{id: s{n}, group: cars, device: {sensor.device}, rect: [{n % 40}, {n // 40}, 1, 1]}}"
        for n, sensor in enumerate(sensors)
    )
    ledger = f"""
floors: [{{id: b1, name: {{en: B1, zh-CN: B1}}, map: B1, width_m: 44.0, height_m: 60.0, walls: []}}]
parking: [{{id: cars, name: {{en: Cars, zh-CN: 车}}, floor: b1, vehicle: car}}]
spaces:
{spaces}
"""
    async with mosquitto(tmp_path) as broker:
        connection = {
            "id": "broker",
            "mqtt": {"host": "127.0.0.1", "port": broker.port},
            "devices": [{"id": one.device, "profile": "nwave-nps405", "topic": one.topic} for one in sensors],
        }
        clock = Clock(rate=rate, start_ms=start_ms - 3_600_000)
        async with replaying(tmp_path, ledger, connection, clock, load_profiles()) as site:
            await eventually(site.stored_seq, "the agent in the cloud")
            begin_ms = clock.now().utc_ms
            messages = list(park_as_spaces(park, sensors, from_ms, to_ms, begin_ms))
            await publish_recording(messages, SimulatedClock(begin_ms, rate), Broker(broker.port, "127.0.0.1"))
            await until(lambda: clock.now().utc_ms > begin_ms + (to_ms - from_ms) + 60_000, "the end of the stretch")

            def everything_in_log() -> bool:
                contents = (frame.content for frame in site.log_frames())
                seen = [one.series[row].point for one in contents for row in one.numbers.series.tolist()]
                return seen.count("occupied") >= len(messages)

            await until(everything_in_log, "every message in the log")
            expected = taken_seconds(park.changes, park.capacity, from_ms, to_ms) / (
                park.capacity * (to_ms - from_ms) / 1000
            )

            async def settled() -> dict[str, Any] | None:
                found = await indicator(site, "parking.occupancy", begin_ms, begin_ms + to_ms - from_ms)
                return found if found["value"] and math.isclose(found["value"], expected, abs_tol=1e-4) else None

            found = await eventually(settled, f"an occupancy of {expected}")

    assert found["coverage"] > 0.999  # a stamp may be off by what a millisecond of the real clock is at this rate
    assert found["low"] <= expected <= found["high"]


def taken_seconds(changes: tuple[tuple[int, int], ...], capacity: int, from_ms: int, to_ms: int) -> float:
    """The integral of taken spaces over the stretch, straight from the recorded counts."""
    before = [free for time_ms, free in changes if time_ms <= from_ms][-1]
    steps = [(from_ms, before), *((t, free) for t, free in changes if from_ms < t < to_ms), (to_ms, 0)]
    return sum(
        (capacity - min(max(free, 0), capacity)) * (end - begin) / 1000 for (begin, free), (end, _) in pairwise(steps)
    )


MACHINE = """
id: machine
source: {document: "recorded machine temperature, numenta/NAB", verified: unverified}
modbus: {}
poll: {state: 30s}
points:
  - {id: temperature, function: holding, address: 0, type: u16, scale: 0.01, unit: degC, deadband: 0.5, poll: state}
states:
  fault: temperature < LIMIT
  run: temperature >= LIMIT
"""


@pytest.mark.parametrize("rows", [30, pytest.param(48 * 12, marks=pytest.mark.soak)])
async def test_a_recorded_failure_costs_the_machine_its_time(tmp_path: Path, rows: int) -> None:
    recording = RECORDINGS / "machine_temperature_system_failure.csv"
    values = [float(row["value"]) for row in csv.DictReader(recording.read_text(encoding="utf-8").splitlines())]
    rate, limit = 1_200.0, 60.0
    first = crossing_stretch(values, limit, rows)
    stretch = values[first : first + rows]
    profile = parse_profile(MACHINE.replace("LIMIT", str(limit)), "machine")
    device = SimulatedDevice("m1", 1, profile)
    device.set("temperature", stretch[0])
    ledger = """
floors: [{id: b1, name: {en: B1, zh-CN: B1}, map: B1, width_m: 44.0, height_m: 60.0, walls: []}]
equipment:
  - {id: m1, name: {en: Machine, zh-CN: 机器}, code: M1, class: machine, criticality: B, device: m1,
     floor: b1, position: [1, 1]}
targets: {equipment.intact_rate: 0.98}
"""
    start_ms = yesterday_at(6)
    async with serve([device]) as modbus_port:
        connection = {
            "id": "bus",
            "modbus": {"host": "127.0.0.1", "port": modbus_port},
            "devices": [{"id": "m1", "profile": "machine", "unit": 1}],
        }
        clock = Clock(rate=rate, start_ms=start_ms)
        async with replaying(tmp_path, ledger, connection, clock, {"machine": profile}) as site:
            await eventually(site.stored_seq, "the agent in the cloud")
            begin_ms = clock.now().utc_ms
            end_ms = begin_ms + rows * 300_000

            async def change(value: Any) -> None:
                device.set("temperature", value.value)

            await play(
                machine_temperature(recording, first, rows, begin_ms),
                lambda one: one.time_ms,
                SimulatedClock(begin_ms, rate),
                change,
            )
            await until(lambda: clock.now().utc_ms > end_ms + 120_000, "the end of the stretch")

            async def known() -> dict[str, Any] | None:
                found = await indicator(site, "equipment.intact_rate", begin_ms, end_ms)
                return found if found["coverage"] is not None and found["coverage"] > 0.6 else None

            found = await eventually(known, "the machine's state over the stretch")

    truth = sum(value >= limit for value in stretch) / rows
    changes = sum((a >= limit) != (b >= limit) for a, b in pairwise(stretch))
    slack = (changes + 1) * 90_000 / (rows * 300_000)  # each change is seen at the next poll, three at worst
    assert 0.1 < truth < 0.9
    assert found["low"] - slack <= truth <= found["high"] + slack


def crossing_stretch(values: list[float], limit: float, rows: int) -> int:
    """The first row of a stretch in which the machine is about half the time below the limit."""
    below = np.cumsum([0, *(value < limit for value in values)])
    share = (below[rows:] - below[:-rows]) / rows
    return int(np.argmin(np.abs(share - 0.5)))
