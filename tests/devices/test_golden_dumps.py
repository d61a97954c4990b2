"""Walks every packaged profile: it parses, and each of its golden dumps decodes to the readings and state expected."""

import json
import math
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from devices.dumps import decode_reads, differences, load_dump
from devices.point import PointType
from devices.profile import LoadedProfile, load_profiles, packaged_ids
from devices.registers import decode_registers, encode_registers, encode_text
from devices.states import EquipmentState
from tests.devices.golden import GOLDEN, dump_paths, load

PROFILES = load_profiles()
DUMPS = [path for profile in PROFILES.values() for path in dump_paths(profile.id)]
POLLED = [path for path in DUMPS if not PROFILES[path.parent.name].pushes]


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.id)
def test_every_profile_has_a_golden_dump_a_source_and_tags(profile: LoadedProfile) -> None:
    assert profile.id in packaged_ids()
    assert dump_paths(profile.id)
    assert profile.profile.product
    assert profile.profile.source.document
    assert profile.profile.tags.haystack
    assert profile.profile.tags.brick


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.id)
def test_the_dumps_of_a_profile_show_every_point_and_of_equipment_a_fault(profile: LoadedProfile) -> None:
    dumps = [load_dump(path) for path in dump_paths(profile.id)]
    if not profile.pushes:
        assert {point for dump in dumps for point in (*dump.expected, *dump.texts)} == profile.points.keys()
    if profile.kind == "equipment":
        assert EquipmentState.FAULT in {dump.state for dump in dumps}


@pytest.mark.parametrize("path", DUMPS, ids=name)
def test_recordings_decode_to_the_readings_and_state_expected(path: Path) -> None:
    assert differences(PROFILES[path.parent.name], load_dump(path)) == []


@pytest.mark.parametrize("path", POLLED, ids=name)
def test_recorded_registers_are_what_the_codec_writes(path: Path) -> None:
    profile, dump = PROFILES[path.parent.name], load_dump(path)
    for read in dump.reads:
        recorded = list(read.bits) or [int(word, 16) for word in read.words]
        values, texts = decode_reads(profile, [read])
        for point in (profile.points[point] for point in (*values, *texts)):
            at = (point.address or 0) - read.address
            words = recorded[at : at + point.registers]
            if point.is_text:
                assert encode_text(point, texts[point.id]) == words
            elif point.type is PointType.BIT:
                assert encode_registers(point, values[point.id])[0] == words[0] & 1 << (point.bit or 0)
            elif math.isnan(values[point.id]):
                assert math.isnan(decode_registers(point, encode_registers(point, math.nan)))
            else:
                factor = values[point.scale_from] if point.scale_from is not None else 0.0
                assert encode_registers(point, values[point.id] / 10.0**factor) == words


@pytest.mark.parametrize("path", dump_paths("vda5050-robot"), ids=name)
def test_our_robot_messages_are_valid_by_the_standards_schemas(path: Path) -> None:
    dump = load(path)
    for message in dump["messages"]:
        schema = GOLDEN / "vda5050" / dump["schemas"] / f"{message['schema']}.schema"
        validator = Draft202012Validator(json.loads(schema.read_text("utf-8-sig")))

        assert [error.message for error in validator.iter_errors(message["payload"])] == []
