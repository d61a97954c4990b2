import json
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from devices.messages.decode import MessageDecoder
from devices.messages.parking_sensors import STATUS, encode_nps405_status
from devices.profile import load_profiles
from devices.reading import PoseFlag
from simulators.behaviour import Behaviour, RobotState
from simulators.payloads import Sensor, chirpstack_uplink, encode
from simulators.site import demo_site
from simulators.voices import ParkingVoice, RobotVoice

SITE = demo_site()
PROFILES = load_profiles()
SCHEMAS = Path(__file__).parent.parent / "golden" / "vda5050" / "2.1.0"
NOON_MS = 1_794_974_400_000
PATROLLING = RobotState(12.5, 9.6, 1.25, 64.2, True, False, False, "2026-11-18-12", "d0", 8)
LOOKING = RobotState(12.5, 9.6, 1.25, 64.2, False, False, False, "2026-11-18-12", "d0", 8)
BROKEN = RobotState(1.4, 9.6, 0.0, 80.0, False, False, True, "", "d0", 0)


def validate(kind: str, payload: bytes) -> None:
    schema = json.loads((SCHEMAS / f"{kind}.schema").read_text("utf-8"))
    Draft202012Validator(schema).validate(json.loads(payload))


@pytest.mark.parametrize("state", [PATROLLING, LOOKING, BROKEN], ids=["patrolling", "looking", "broken"])
def test_robot_messages_keep_the_schemas_of_vda_5050(state: RobotState) -> None:
    voice = RobotVoice(SITE.robots[0])

    for topic, payload in voice.messages(NOON_MS, state):
        validate(topic.rsplit("/", 1)[1], payload)
    for word in ("ONLINE", "OFFLINE", "CONNECTIONBROKEN"):
        validate("connection", voice.connection(NOON_MS, word))


def test_robot_messages_say_what_the_robot_does() -> None:
    decoder = MessageDecoder(PROFILES["vda5050-robot"])
    found = [
        observation
        for topic, payload in RobotVoice(SITE.robots[0]).messages(NOON_MS, PATROLLING)
        for observation in decoder.decode(topic, payload, NOON_MS + 40)
    ]

    state, seen = found
    assert state.source_time_ms == NOON_MS
    assert state.numbers["driving"] == 1
    assert state.numbers["order_active"] == 1
    assert state.numbers["error_level"] == 0
    assert state.numbers["battery"] == pytest.approx(64.2)
    assert state.texts["last_node"] == "d0"
    assert seen.pose is not None
    assert seen.pose[:4] == (12.5, 9.6, 1.25, "B1")
    assert seen.pose[4] == PoseFlag.LOCALIZED | PoseFlag.AUTOMATIC | PoseFlag.DRIVING


def test_a_state_is_told_on_change_and_every_ten_seconds_a_position_always() -> None:
    voice = RobotVoice(SITE.robots[0])
    told = [len(voice.messages(NOON_MS + second * 1000, PATROLLING)) for second in range(12)]
    changed = voice.messages(NOON_MS + 12_000, BROKEN)

    assert told == [2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1]
    assert len(changed) == 2


def test_an_uplink_decodes_to_what_the_sensor_saw() -> None:
    sensor = Sensor("p-017", "70b3d57ed0000011", SITE.application)
    data = encode_nps405_status(occupied=True, previous_minutes=55)
    decoder = MessageDecoder(PROFILES["nwave-nps405"])
    found = [
        decoder.decode(sensor.topic, encode(chirpstack_uplink(sensor, NOON_MS, counter, STATUS, data)), NOON_MS)[0]
        for counter in (0, 1)
    ]

    assert [one.sequence for one in found] == [0, 1]
    assert {one.source_time_ms for one in found} == {NOON_MS}
    assert found[0].numbers == {"occupied": 1.0, "previous_state_s": 3300.0}


def test_every_sensor_reports_after_an_announcement_and_every_change_at_once() -> None:
    behaviour, rng = Behaviour(SITE, 7), np.random.default_rng(7)
    voice = ParkingVoice(SITE.spaces, SITE.application)
    state = behaviour.begin(NOON_MS, rng)
    voice.messages(state, 0)
    topics = {topic for _ in range(6) for topic, _ in voice.messages(state, 1)}
    later = behaviour.step(state, 600.0, rng)
    changed = sum(bool(space.device) and later.taken[i] != state.taken[i] for i, space in enumerate(SITE.spaces))
    statuses = [payload for _, payload in voice.messages(later, 1) if b'"fPort":1,' in payload]

    assert len(topics) == len(SITE.sensed_spaces)
    assert len(statuses) == changed > 0
