"""Walks every packaged profile: it parses, and each of its golden dumps decodes to the readings and state expected."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from devices.instants import format_instant, parse_instant
from devices.messages.decode import MessageDecoder
from devices.messages.observation import Observation
from devices.profile import Function, LoadedProfile, load_profiles
from devices.registers import BitDecoder, RegisterDecoder, encode_registers
from devices.states import equipment_state, robot_state, space_state
from tests.devices.golden import GOLDEN, dump_paths, load

PROFILES = load_profiles()
POLLED = [path for profile in PROFILES.values() if not profile.pushes for path in dump_paths(profile.id)]
PUSHED = [path for profile in PROFILES.values() if profile.pushes for path in dump_paths(profile.id)]
RECEIVED_MS = parse_instant("2026-05-01T08:00:00.000Z")


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def decode_reads(profile: LoadedProfile, reads: list[dict[str, Any]]) -> dict[str, float]:
    values: dict[str, float] = {}
    for read in reads:
        function, first = Function(read["function"]), read["address"]
        count = len(read.get("bits", read.get("words", [])))
        inside = [
            point
            for point in profile.profile.points
            if point.function is function
            and point.address is not None
            and first <= point.address <= first + count - point.registers
        ]
        if function.is_bits:
            decoded = BitDecoder(inside, first).decode(np.array(read["bits"], np.bool_))
        else:
            words = np.array([int(word, 16) for word in read["words"]], np.uint16)
            decoded = RegisterDecoder(inside, first).decode(words)
        values.update(zip([point.id for point in inside], decoded.tolist(), strict=True))
    return values


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.id)
def test_every_profile_has_a_golden_dump_a_source_and_tags(profile: LoadedProfile) -> None:
    assert dump_paths(profile.id)
    assert profile.profile.source.document
    assert profile.profile.tags.haystack
    assert profile.profile.tags.brick


@pytest.mark.parametrize("path", POLLED, ids=name)
def test_recorded_registers_decode_to_the_readings_and_state_expected(path: Path) -> None:
    profile, dump = PROFILES[path.parent.name], load(path)
    expected = {point: math.nan if value is None else value for point, value in dump["expected"].items()}

    values = decode_reads(profile, dump["reads"])

    assert values == pytest.approx(expected, rel=1e-6, nan_ok=True)
    assert equipment_state(profile, values) == dump["state"]


@pytest.mark.parametrize("path", POLLED, ids=name)
def test_recorded_registers_are_what_the_codec_writes(path: Path) -> None:
    profile, dump = PROFILES[path.parent.name], load(path)
    for read in dump["reads"]:
        values = decode_reads(profile, [read])
        for point in (profile.points[point] for point in values):
            at = (point.address or 0) - read["address"]
            recorded = read.get("bits") or [int(word, 16) for word in read["words"]]

            assert encode_registers(point, values[point.id]) == recorded[at : at + point.registers]


def shown(observation: Observation) -> dict[str, Any]:
    time_ms, pose = observation.source_time_ms, observation.pose
    return {
        "time": None if time_ms is None else format_instant(time_ms),
        "numbers": observation.numbers,
        "texts": observation.texts,
        "pose": None if pose is None else [*pose[:4], int(pose[4])],
        "sequence": observation.sequence,
    }


@pytest.mark.parametrize("path", PUSHED, ids=name)
def test_recorded_messages_decode_to_the_observations_and_state_expected(path: Path) -> None:
    profile, dump = PROFILES[path.parent.name], load(path)
    decoder, values = MessageDecoder(profile), {}
    for message in dump["messages"]:
        payload = json.dumps(message["payload"]).encode()

        observations = decoder.decode(message["topic"], payload, RECEIVED_MS)

        assert [shown(observation) for observation in observations] == [
            {"pose": None, **expected} for expected in message["expected"]
        ]
        for observation in observations:
            values.update(observation.numbers)
    assert equipment_state(profile, values) == dump["state"]
    if profile.kind == "robot":
        assert robot_state(values) == dump["robot_state"]
    if profile.kind == "space":
        assert space_state(values) == dump["space_state"]


@pytest.mark.parametrize("path", dump_paths("vda5050-robot"), ids=name)
def test_our_robot_messages_are_valid_by_the_standards_schemas(path: Path) -> None:
    dump = load(path)
    for message in dump["messages"]:
        schema = GOLDEN / "vda5050" / dump["schemas"] / f"{message['schema']}.schema"
        validator = Draft202012Validator(json.loads(schema.read_text("utf-8-sig")))

        assert [error.message for error in validator.iter_errors(message["payload"])] == []
