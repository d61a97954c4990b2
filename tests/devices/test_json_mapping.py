"""JSON messages mapped by a profile: values at paths, and where a robot is."""

import json

import pytest

from devices.errors import ConfigurationError, MessageError
from devices.messages.decode import MessageDecoder
from devices.messages.json_mapping import parse_path
from devices.profile import packaged_profile, parse_profile
from devices.reading import PoseFlag
from tests.devices.test_messages import GENERIC, NOW_MS

ROBOT = packaged_profile("json-robot")


def test_mapped_json_becomes_canonical_values() -> None:
    decoder = MessageDecoder(parse_profile(GENERIC, "box.yaml"))
    payload = b'{"meta":{"ts":1777622400.25,"fw":"1.2"},"values":[{},{"t":212}],"door":{"state":"open"},"humidity":255}'

    (found,) = decoder.decode("t", payload, NOW_MS)

    assert found.source_time_ms == NOW_MS + 250
    assert found.numbers["temperature"] == pytest.approx(100.0)
    assert (found.numbers["door"], str(found.numbers["humidity"])) == (1.0, "nan")
    assert found.texts == {"firmware": "1.2"}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"{}", "none of the profile's fields"),
        (b"[1]", "none of the profile's fields"),
        (b'{"humidity":"wet"}', "neither a number nor a label"),
        (b'{"humidity":[1]}', "expected a number"),
        (b'{"humidity":1e300}', "absurd"),
        (b'{"meta":{"fw":7}}', "expected a text"),
        (b'{"meta":{"fw":"' + b"x" * 300 + b'"}}', "at most 256"),
    ],
)
def test_mapped_json_that_does_not_fit_is_refused(payload: bytes, message: str) -> None:
    with pytest.raises(MessageError, match=message):
        MessageDecoder(parse_profile(GENERIC, "box.yaml")).decode("t", payload, NOW_MS)


@pytest.mark.parametrize(
    ("position", "problem"),
    [
        ({"x": "far", "y": 1, "map": "B1"}, "x: expected a number"),
        ({"x": 1, "y": 1e9, "map": "B1"}, "y: expected a number"),
        ({"x": 1, "y": 1, "theta": [], "map": "B1"}, "theta: expected a number"),
        ({"x": 1, "y": 1}, "name of a map"),
        ({"x": 1, "y": 1, "map": "m" * 300}, "at most 256"),
    ],
)
def test_a_mapped_position_that_is_none_is_refused(position: object, problem: str) -> None:
    payload = json.dumps({"mode": "automatic", "position": position}).encode()

    with pytest.raises(MessageError, match=problem):
        MessageDecoder(ROBOT).decode("t", payload, NOW_MS)


def test_a_position_alone_ends_no_emergency_stop() -> None:
    decoder = MessageDecoder(ROBOT)
    (stopped,) = decoder.decode("t", b'{"mode":"automatic","estop":true}', NOW_MS)
    (placed,) = decoder.decode("t", b'{"position":{"x":1,"y":2,"map":"B1"}}', NOW_MS + 1)

    assert (stopped.numbers["estop"], placed.numbers) == (1.0, {})


@pytest.mark.parametrize("payload", ['{"connection":7}', '{"error_level":-1}', '{"error_level":2.5}', '{"mode":99}'])
def test_a_number_that_no_label_names_is_refused(payload: str) -> None:
    with pytest.raises(MessageError, match="is none of its enum"):
        MessageDecoder(ROBOT).decode("t", payload.encode(), NOW_MS)


def test_a_mapped_position_without_a_known_mode_covers_nothing() -> None:
    payload = json.dumps({"position": {"x": 1, "y": 2, "map": "B1", "localized": True}}).encode()

    (found,) = MessageDecoder(ROBOT).decode("t", payload, NOW_MS)

    assert found.pose == (1.0, 2.0, 0.0, "B1", PoseFlag.LOCALIZED)


@pytest.mark.parametrize(
    ("pose", "problem"),
    [
        ("{x: a, y: b}", "either map"),
        ("{x: a, y: b, map: m, map_id: B1}", "either map"),
        ("{x: a, y: '', map: m}", "is not a path"),
    ],
)
def test_a_mapping_of_positions_that_cannot_work_is_a_mistake_in_the_profile(pose: str, problem: str) -> None:
    text = ROBOT.text
    lines = [f"  pose: {pose}" if line.startswith("  pose:") else line for line in text.splitlines()]

    with pytest.raises(ConfigurationError, match=problem):
        parse_profile("\n".join(lines), "robot.yaml")


def test_paths_name_keys_and_indices() -> None:
    assert parse_path("values[1].t") == ("values", 1, "t")
    with pytest.raises(ValueError, match="is not a path"):
        parse_path("a..b")
