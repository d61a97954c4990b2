"""Recordings of real devices, played over the real protocols.

The iterators are pure: they turn a recording into (time, what is sent) with times moved so that the recording
begins at `start_ms` (Unix ms UTC). `play` sends each at its time by a clock that may run many times too fast.
"""

import asyncio
import csv
import gzip
import json
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from devices.errors import Permanent
from devices.instants import parse_instant
from devices.messages.parking_sensors import STATUS, encode_nps405_status
from simulators.behaviour import RobotState
from simulators.payloads import Sensor, chirpstack_uplink, encode
from simulators.site import Robot
from simulators.voices import RobotVoice
from simulators.world import SimulatedClock

FIRST_EUI = 0x70B3_D57E_D100_0000
MACHINE_EVERY_S = 300  # its clock was set back once; the rows themselves never skipped
ROBOT_MOVES_M = 0.02  # SLAM corrections shift a standing robot by less
ROBOT_BATTERY_PERCENT = 80.0  # not recorded

Sent = TypeVar("Sent")


@dataclass(frozen=True, slots=True)
class Published:
    """One MQTT message of a recording."""

    time_ms: int
    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a register, in the unit of the recording."""

    time_ms: int
    value: float


@dataclass(frozen=True, slots=True)
class DrivePose:
    """One pose of a recorded drive: seconds from its start, metres, radians."""

    time_s: float
    x_m: float
    y_m: float
    theta_rad: float


def drive_poses(path: Path) -> list[DrivePose]:
    """The poses of `t_s,x_m,y_m,theta_rad`. Raises Permanent when the file is something else."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                DrivePose(float(row["t_s"]), float(row["x_m"]), float(row["y_m"]), float(row["theta_rad"]))
                for row in csv.DictReader(file)
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise Permanent(f"{path} is not a drive with t_s, x_m, y_m, theta_rad: {error}") from error


def robot_drive(
    poses: Iterable[DrivePose], robot: Robot, start_ms: int, map_id: str, offset_m: tuple[float, float] = (0.0, 0.0)
) -> Iterator[Published]:
    """A drive as VDA 5050 2.1: online, a position for each pose, the state on change and every ten seconds, offline.

    `offset_m` moves the recording's origin to a place on the floor.
    """
    voice = RobotVoice(robot, map_id)
    topic = f"{robot.topic}/connection"
    yield Published(start_ms, topic, voice.connection(start_ms, "ONLINE"), retain=True)
    listed = list(poses)
    end_ms = start_ms
    for pose, following in pairwise([*listed, *listed[-1:]]):
        end_ms = start_ms + round(pose.time_s * 1000)
        moves = math.hypot(following.x_m - pose.x_m, following.y_m - pose.y_m) > ROBOT_MOVES_M
        state = RobotState(
            pose.x_m + offset_m[0], pose.y_m + offset_m[1], pose.theta_rad, ROBOT_BATTERY_PERCENT,
            driving=moves, charging=False, broken=False, order="recorded", last_node="start", last_node_sequence=0,
        )  # fmt: skip
        for sent_to, payload in voice.messages(end_ms, state):
            yield Published(end_ms, sent_to, payload)
    yield Published(end_ms, topic, voice.connection(end_ms, "OFFLINE"), retain=True)


@dataclass(frozen=True, slots=True)
class CarPark:
    """One recorded car park: how many spaces it has and (Unix ms UTC, free spaces) of every change."""

    id: str
    capacity: int
    changes: tuple[tuple[int, int], ...]


def car_parks(readings: Path, places: Path) -> dict[str, CarPark]:
    """The car parks of `time_utc,place_id,free` (gzip) and their list, by id. Raises Permanent."""
    try:
        capacities = {place["place_id"]: int(place["capacity"]) for place in json.loads(places.read_text("utf-8"))}
        changes: dict[str, list[tuple[int, int]]] = {name: [] for name in capacities}
        with gzip.open(readings, "rt", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                changes[row["place_id"]].append((parse_instant(row["time_utc"]), int(row["free"])))
    except (KeyError, TypeError, ValueError) as error:
        raise Permanent(f"{readings} is not a recording of car parks: {error}") from error
    return {name: CarPark(name, capacities[name], tuple(sorted(found))) for name, found in changes.items()}


def sensors_of(park: CarPark, application: str, first_eui: int) -> list[Sensor]:
    """One sensor for each space of a car park; device ids are `PREFIX-0001` upwards."""
    prefix = park.id.lower().replace("_", "-")[:50]
    return [
        Sensor(f"{prefix}-{index + 1:04d}", f"{first_eui + index:016x}", application) for index in range(park.capacity)
    ]


def park_as_spaces(
    park: CarPark, sensors: list[Sensor], from_ms: int, to_ms: int, start_ms: int
) -> Iterator[Published]:
    """`[from_ms, to_ms)` of a car park as messages of single spaces, moved to begin at `start_ms`.

    The recording only counts: the first n spaces are taken when n cars stand there. Counts beyond the capacity,
    and glitches below 0, are cut. At the start every sensor reports.
    """
    counters = dict.fromkeys(range(len(sensors)), 0)
    since_ms = dict.fromkeys(range(len(sensors)), from_ms)
    before = [free for time_ms, free in park.changes if time_ms <= from_ms]
    if not before:
        raise Permanent(f"the recording of {park.id} begins after the wanted stretch")
    steps = [(from_ms, before[-1]), *((t, free) for t, free in park.changes if from_ms < t < to_ms)]
    taken: int | None = None
    for time_ms, free in steps:
        now = park.capacity - min(max(free, 0), park.capacity)
        changed = range(len(sensors)) if taken is None else range(min(taken, now), max(taken, now))
        for index in changed:
            minutes = (time_ms - since_ms[index]) // 60_000
            data = encode_nps405_status(occupied=index < now, previous_minutes=minutes)
            sent_ms = time_ms - from_ms + start_ms
            payload = chirpstack_uplink(sensors[index], sent_ms, counters[index], STATUS, data)
            counters[index] += 1
            since_ms[index] = time_ms
            yield Published(sent_ms, sensors[index].topic, encode(payload))
        taken = now


def machine_temperature(path: Path, from_row: int, rows: int, start_ms: int) -> Iterator[Value]:
    """`rows` rows of `timestamp,value` from `from_row` (0 is the first) on, five minutes apart. Raises Permanent."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for index, row in enumerate(csv.DictReader(file)):
                if index >= from_row + rows:
                    return
                if index >= from_row:
                    yield Value(start_ms + (index - from_row) * MACHINE_EVERY_S * 1000, float(row["value"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Permanent(f"{path} is not a recording with timestamp and value: {error}") from error


async def play(
    recording: Iterable[Sent],
    time_of: Callable[[Sent], int],
    clock: SimulatedClock,
    send: Callable[[Sent], Awaitable[None]],
) -> int:
    """Send everything at its time by `clock`; what is late goes at once. Gives how many were sent."""
    count = 0
    for one in recording:
        left_ms = time_of(one) - clock.now_ms()
        if left_ms > 0:
            await asyncio.sleep(left_ms / 1000 / clock.rate)
        await send(one)
        count += 1
    return count
