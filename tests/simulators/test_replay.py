import json
import math
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from devices.errors import Permanent
from devices.messages.decode import MessageDecoder
from devices.profile import load_profiles
from devices.reading import PoseFlag
from simulators.mqtt import Broker, publish_recording
from simulators.replay import (
    FIRST_EUI,
    CarPark,
    car_parks,
    drive_poses,
    machine_temperature,
    park_as_spaces,
    robot_drive,
    sensors_of,
)
from simulators.site import demo_site
from simulators.world import SimulatedClock
from tests.simulators.test_mqtt import listening
from tests.waiting import until

RECORDINGS = Path(__file__).parent.parent / "golden" / "recordings"
DRIVE = RECORDINGS / "freiburg-079_poses.csv"
MACHINE = RECORDINGS / "machine_temperature_system_failure.csv"
PARKING = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "parking"
START_MS = 1_767_225_600_000
ROBOT = demo_site().robots[0]
PROFILES = load_profiles()


def test_a_drive_becomes_positions_that_decode_to_the_recording() -> None:
    poses = drive_poses(DRIVE)
    decoder = MessageDecoder(PROFILES["vda5050-robot"])
    seen = [
        (observation.source_time_ms, observation.pose)
        for message in robot_drive(poses, ROBOT, START_MS, "079", (20.0, 10.0))
        if message.topic.endswith("/visualization")
        for observation in decoder.decode(message.topic, message.payload, message.time_ms)
    ]

    assert len(seen) == len(poses) == 1667
    for (time_ms, pose), recorded in zip(seen, poses, strict=True):
        assert time_ms == START_MS + round(recorded.time_s * 1000)
        assert pose is not None
        assert pose[0] == pytest.approx(recorded.x_m + 20.0, abs=0.0006)
        assert pose[1] == pytest.approx(recorded.y_m + 10.0, abs=0.0006)
        assert pose[3] == "079"


def test_the_drive_counts_as_patrol_from_its_first_state_on() -> None:
    decoder = MessageDecoder(PROFILES["vda5050-robot"])
    flags = set()
    for message in robot_drive(drive_poses(DRIVE), ROBOT, START_MS, "079"):
        for observation in decoder.decode(message.topic, message.payload, message.time_ms):
            if observation.pose is not None:
                flags.add(PoseFlag(observation.pose[4]) & (PoseFlag.LOCALIZED | PoseFlag.AUTOMATIC | PoseFlag.CHARGING))

    assert flags == {PoseFlag.LOCALIZED | PoseFlag.AUTOMATIC}


def test_messages_of_a_drive_are_in_order_of_time() -> None:
    times = [message.time_ms for message in robot_drive(drive_poses(DRIVE), ROBOT, START_MS, "079")]

    assert times == sorted(times)
    assert times[-1] - times[0] == pytest.approx(1_061_000, abs=1000)


def test_a_drive_is_no_longer_than_it_was() -> None:
    poses = drive_poses(DRIVE)

    assert sum(math.hypot(b.x_m - a.x_m, b.y_m - a.y_m) for a, b in pairwise(poses)) == pytest.approx(400, abs=5)


async def test_the_first_minute_of_the_drive_is_played_at_sixty_times_its_speed(broker: Broker) -> None:
    poses = [pose for pose in drive_poses(DRIVE) if pose.time_s <= 60]
    clock = SimulatedClock(START_MS, 60.0)
    async with listening(broker) as heard:
        sent = await publish_recording(robot_drive(poses, ROBOT, START_MS, "079"), clock, broker)
        await until(lambda: len(heard) == sent, "every message")
    positions = [said["agvPosition"]["x"] for topic, said in heard if topic.endswith("/visualization")]

    assert positions == [pytest.approx(pose.x_m, abs=0.0006) for pose in poses]
    assert clock.now_ms() - START_MS >= 59_000


def test_the_machine_is_played_every_five_minutes_from_any_row() -> None:
    values = list(machine_temperature(MACHINE, 1, 3, START_MS))

    assert [one.value for one in values] == [74.93588199999998, 76.12416182, 78.14070732]
    assert [one.time_ms - START_MS for one in values] == [0, 300_000, 600_000]


def test_the_whole_machine_recording_is_there() -> None:
    assert sum(1 for _ in machine_temperature(MACHINE, 0, 100_000, START_MS)) == 22_695


def test_a_counted_car_park_becomes_spaces_that_add_up_again() -> None:
    minute = 60_000
    park = CarPark("small", 4, ((0, 4), (5 * minute, 1), (10 * minute, -3), (15 * minute, 9), (20 * minute, 2)))
    sensors = sensors_of(park, demo_site().application, FIRST_EUI)
    taken: dict[str, float] = {}
    counts = {}
    decoders = {sensor.topic: MessageDecoder(PROFILES["nwave-nps405"]) for sensor in sensors}
    for message in park_as_spaces(park, sensors, 0, 25 * minute, START_MS):
        (found,) = decoders[message.topic].decode(message.topic, message.payload, message.time_ms)
        taken[message.topic] = found.numbers["occupied"]
        counts[(message.time_ms - START_MS) // minute] = sum(taken.values())

    assert counts == {0: 0, 5: 3, 10: 4, 15: 0, 20: 2}


@pytest.mark.skipif(not PARKING.exists(), reason="the licence of these recordings is unknown: only read where they are")
def test_a_recorded_car_park_becomes_spaces_that_add_up_again() -> None:
    parks = car_parks(PARKING / "car_parks_2024-05.csv.gz", PARKING / "car_parks_2024-05_places.json")
    park = parks["mobilitaet-jena-Neue-Mitte"]
    from_ms = int(datetime(2024, 5, 14, 6, tzinfo=UTC).timestamp() * 1000)
    to_ms = from_ms + 12 * 3_600_000
    sensors = sensors_of(park, demo_site().application, FIRST_EUI)
    taken: dict[str, int] = {}
    counted: dict[int, int] = {}
    for message in park_as_spaces(park, sensors, from_ms, to_ms, START_MS):
        payload = json.loads(message.payload)
        decoded = MessageDecoder(PROFILES["nwave-nps405"]).decode(message.topic, message.payload, message.time_ms)
        taken[payload["deviceInfo"]["devEui"]] = int(decoded[0].numbers["occupied"])
        counted[message.time_ms - START_MS + from_ms] = sum(taken.values())
    wanted = {
        time_ms: park.capacity - min(max(free, 0), park.capacity)
        for time_ms, free in park.changes
        if from_ms < time_ms < to_ms
    }

    assert len(counted) > 50
    assert {time_ms: counted.get(time_ms, wanted[time_ms]) for time_ms in wanted} == wanted


@pytest.mark.parametrize("text", ["", "t_s,x_m\n1,2\n", "t_s,x_m,y_m,theta_rad\n1,2,three,4\n"])
def test_a_file_that_is_no_drive_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "drive.csv"
    path.write_text(text)
    if text:
        with pytest.raises(Permanent, match="is not a drive"):
            drive_poses(path)
    else:
        assert drive_poses(path) == []
