import base64
import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import MessageError, Permanent
from devices.instants import format_instant
from devices.messages.decode import MessageDecoder
from devices.messages.parking_sensors import encode_nps405_status
from devices.messages.payload import PAYLOAD_BYTES_MAX
from devices.profile import load_profiles, parse_profile
from devices.reading import PoseFlag

PROFILES = load_profiles()
NOW_MS = 1_777_622_400_000
ROBOT = "uagv/v2/acme/r-01"
STATE: dict[str, Any] = {
    "headerId": 1,
    "timestamp": "2026-05-01T08:00:00.000Z",
    "version": "2.1.0",
    "driving": True,
    "operatingMode": "SEMIAUTOMATIC",
    "safetyState": {"eStop": "NONE"},
    "batteryState": {"batteryCharge": 50, "charging": False},
    "agvPosition": {"x": 1, "y": 2, "theta": 0, "mapId": "B1", "positionInitialized": True},
}
SEEN = {"headerId": 1, "agvPosition": STATE["agvPosition"]}
GENERIC = """\
id: box
source: {document: none, verified: unverified}
mqtt: {message: json, time: meta.ts}
hold_s: 600
points:
  - {id: temperature, type: number, unit: degF, field: "values[1].t"}
  - {id: door, type: bool, enum: {0: closed, 1: open}, field: door.state}
  - {id: humidity, type: number, unit: percent, invalid: [255]}
  - {id: firmware, type: string, field: meta.fw}
"""


def robot() -> MessageDecoder:
    return MessageDecoder(PROFILES["vda5050-robot"])


def numbers_of(change: dict[str, Any]) -> dict[str, float]:
    payload = json.dumps({**STATE, **change}).encode()
    return robot().decode(f"{ROBOT}/state", payload, NOW_MS)[0].numbers


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"operatingMode": "TEACHIN"}, {"mode": 4}),
        ({"operatingMode": "TEACH_IN"}, {"mode": 4}),
        ({"operatingMode": "INTERVENED"}, {"mode": 6}),
        ({"safetyState": {"eStop": "AUTOACK"}}, {"estop": 1}),
        ({"safetyState": {"eStop": "A_NEW_ONE"}}, {"estop": 1}),
        ({"safetyState": {"activeEmergencyStop": "REMOTE"}}, {"estop": 1}),
        ({"errors": [{"errorLevel": "WARNING"}, {"errorLevel": "URGENT"}]}, {"error_level": 2}),
        ({"errors": [{"errorLevel": "A_NEW_ONE"}]}, {"error_level": 3}),
        ({"driving": False, "orderId": "p1"}, {"driving": 0, "order_active": 0}),
        ({"driving": True, "orderId": "p1"}, {"order_active": 1}),
        ({"driving": False, "nodeStates": [{"nodeId": "n"}]}, {"order_active": 1}),
        ({"actionStates": [{"actionStatus": "FINISHED"}]}, {"order_active": 0, "action_running": 0}),
        ({"actionStates": [{"actionStatus": "WAITING"}]}, {"order_active": 1, "action_running": 0}),
        ({"actionStates": [{"actionStatus": "RUNNING"}]}, {"order_active": 1, "action_running": 1}),
        ({"batteryState": {"batteryCharge": 7.5, "charging": True}}, {"battery": 7.5, "charging": 1}),
        ({"batteryState": None, "powerSupply": {"stateOfCharge": 9, "charging": True}}, {"battery": 9, "charging": 1}),
    ],
)
def test_fields_of_a_robots_state_have_one_meaning_in_all_versions(
    change: dict[str, Any], expected: dict[str, float]
) -> None:
    numbers = numbers_of(change)

    assert {point: numbers[point] for point in expected} == expected


@pytest.mark.parametrize(
    ("change", "point"),
    [
        ({"operatingMode": "DANCING"}, "mode"),
        ({"operatingMode": ""}, "mode"),
        ({"safetyState": None}, "estop"),
        ({"batteryState": None}, "battery"),
        ({"batteryState": {"batteryCharge": -5}}, "battery"),
        ({"batteryState": {"batteryCharge": 1e9}}, "battery"),
    ],
)
def test_what_a_robot_does_not_say_has_no_value(change: dict[str, Any], point: str) -> None:
    assert str(numbers_of(change)[point]) == "nan"


def test_a_position_has_the_flags_of_the_state_before_it_while_that_is_held() -> None:
    decoder, seen = robot(), json.dumps(SEEN).encode()

    def flags(at_ms: int) -> PoseFlag:
        pose = decoder.decode(f"{ROBOT}/visualization", seen, at_ms)[0].pose
        assert pose is not None
        return pose[4]

    assert flags(NOW_MS) == PoseFlag.LOCALIZED
    decoder.decode(f"{ROBOT}/state", json.dumps(STATE).encode(), NOW_MS)
    assert flags(NOW_MS + 90_000) == PoseFlag.LOCALIZED | PoseFlag.AUTOMATIC | PoseFlag.DRIVING
    assert flags(NOW_MS + 90_001) == PoseFlag.LOCALIZED
    decoder.decode(f"{ROBOT}/state", json.dumps(STATE).encode(), NOW_MS)
    decoder.decode(f"{ROBOT}/connection", b'{"connectionState":"CONNECTIONBROKEN"}', NOW_MS)
    assert flags(NOW_MS) == PoseFlag.LOCALIZED


def test_a_state_tells_that_the_robot_is_online_unless_it_hibernates() -> None:
    decoder, state = robot(), json.dumps(STATE).encode()
    decoder.decode(f"{ROBOT}/connection", b'{"connectionState":"OFFLINE"}', NOW_MS)
    assert decoder.decode(f"{ROBOT}/state", state, NOW_MS)[0].numbers["connection"] == 1

    decoder.decode(f"{ROBOT}/connection", b'{"connectionState":"HIBERNATING"}', NOW_MS)
    assert "connection" not in decoder.decode(f"{ROBOT}/state", state, NOW_MS)[0].numbers


def test_a_robots_topics_are_its_four_channels_and_others_say_nothing() -> None:
    kinds = ("connection", "state", "visualization", "factsheet")

    assert robot().topics(ROBOT) == [f"{ROBOT}/{kind}" for kind in kinds]
    assert robot().decode(f"{ROBOT}/order", b"{}", NOW_MS) == []


@pytest.mark.parametrize("speed", ["speedMax", "maximumSpeed"])
def test_a_factsheet_names_the_product_and_its_top_speed(speed: str) -> None:
    sheet = {"typeSpecification": {"seriesName": "Patrol 3"}, "physicalParameters": {speed: 1.5}}

    (found,) = robot().decode(f"{ROBOT}/factsheet", json.dumps(sheet).encode(), NOW_MS)

    assert (found.numbers, found.texts, found.at_receipt) == ({"speed_max": 1.5}, {"model": "Patrol 3"}, True)


@pytest.mark.parametrize("timestamp", ["", "yesterday", "2026-05-01T08:00:00", "9999-99-99T00:00:00Z", None])
def test_a_stamp_that_cannot_be_read_is_no_stamp(timestamp: str | None) -> None:
    payload = json.dumps({**STATE, "timestamp": timestamp}).encode()

    assert robot().decode(f"{ROBOT}/state", payload, NOW_MS)[0].source_time_ms is None


def test_a_profile_without_a_point_leaves_it_out() -> None:
    text = PROFILES["nwave-nps405"].text.replace("  - {id: previous_state_s, type: number, unit: s}\n", "")
    decoder = MessageDecoder(parse_profile(text, "p"))

    found = decoder.decode("t", b'{"deviceInfo":{"devEui":"1"},"fPort":1,"data":"tw=="}', NOW_MS)

    assert found[0].numbers == {"occupied": 1.0}


def uplink(f_count: int, data: bytes, at_ms: int = NOW_MS, name: str = "a") -> bytes:
    """A ChirpStack uplink of a Nwave sensor; a frame count of 0 is left out, as ChirpStack does."""
    counted = {"fCnt": f_count} if f_count else {}
    message = {"deduplicationId": name, "time": format_instant(at_ms), "deviceInfo": {"devEui": "1"}, "fPort": 1}
    return json.dumps({**message, **counted, "data": base64.b64encode(data).decode()}).encode()


def changes(decoder: MessageDecoder, *payloads: bytes) -> list[tuple[float, int, bool]]:
    found = [one for payload in payloads for one in decoder.decode("a/event/up", payload, NOW_MS)]
    return [(one.numbers["occupied"], (one.source_time_ms or 0) - NOW_MS, one.is_estimate) for one in found]


def test_a_copy_of_an_uplink_is_taken_once_whatever_its_id() -> None:
    decoder = MessageDecoder(PROFILES["nwave-nps405"])
    copies = (uplink(7, b"\xb7"), uplink(7, b"\xb7"), uplink(7, b"\xb7", NOW_MS + 800, "b"))

    assert changes(decoder, *copies) == [(1.0, 0, False)]


def test_a_frame_counter_that_starts_again_is_not_a_copy() -> None:
    decoder = MessageDecoder(PROFILES["nwave-nps405"])
    hour_ms = 3_600_000

    assert len(changes(decoder, uplink(0, b"\xb7"), uplink(0, b"\xb7", NOW_MS + hour_ms, "b"))) == 2
    decoder.decode("a/event/join", b"{}", NOW_MS)
    assert len(changes(decoder, uplink(0, b"\xb7", NOW_MS + hour_ms, "b"))) == 1


def test_one_lost_uplink_is_told_by_the_next() -> None:
    """Occupied, [free, lost], occupied after 10 minutes of being free."""
    decoder = MessageDecoder(PROFILES["nwave-nps405"])
    half_hour_ms = 1_800_000
    after = uplink(7, encode_nps405_status(occupied=True, previous_minutes=10), NOW_MS + half_hour_ms)

    found = changes(decoder, uplink(5, b"\x01"), after)

    assert found == [(1.0, 0, False), (0.0, half_hour_ms - 600_000, True), (1.0, half_hour_ms, False)]


@pytest.mark.parametrize(
    ("f_count", "occupied", "minutes"),
    [
        (6, True, 10),  # none is missing
        (8, True, 10),  # two are missing
        (2, True, 10),  # the counter began anew
        (7, False, 10),  # the other state: what was lost changed nothing
        (7, True, 30),  # the state before would have begun before the uplink that says otherwise
        (7, True, 0),
        (7, True, 700),  # "11 hours or longer"
    ],
)
def test_nothing_is_made_up_for_what_the_next_uplink_does_not_tell(f_count: int, occupied: bool, minutes: int) -> None:  # noqa: FBT001
    decoder = MessageDecoder(PROFILES["nwave-nps405"])
    half_hour_ms = 1_800_000
    after = uplink(f_count, encode_nps405_status(occupied=occupied, previous_minutes=minutes), NOW_MS + half_hour_ms)

    assert len(changes(decoder, uplink(5, b"\x01"), after)) == 2


def test_a_robot_that_starts_up_says_nothing_but_that() -> None:
    """VDA 5050 3.0: in STARTUP the other content may be invalid."""
    payload = json.dumps({**STATE, "operatingMode": "STARTUP", "safetyState": {"eStop": "MANUAL"}}).encode()

    (found,) = robot().decode(f"{ROBOT}/state", payload, NOW_MS)

    assert {point for point, value in found.numbers.items() if not math.isnan(value)} == {"connection", "mode"}
    assert (found.numbers["mode"], found.pose, found.texts) == (5, None, {})


def test_a_polled_profile_has_no_messages() -> None:
    with pytest.raises(Permanent, match="does not describe messages"):
        MessageDecoder(PROFILES["abb-acs580"])


DECODERS = [
    *((PROFILES["vda5050-robot"], f"{ROBOT}/{kind}") for kind in ("state", "visualization", "connection")),
    (PROFILES["nwave-nps405"], "application/a/device/b/event/up"),
    (parse_profile(GENERIC, "box.yaml"), "box"),
]
HOSTILE = [
    b"",
    b"null",
    b"[]",
    b"7",
    b"\xff\xfe",
    b'{"a":NaN}',
    b'{"headerId":1e999}',
    b'{"headerId":-1}',
    b'{"headerId":' + b"9" * 5000 + b"}",
    b'{"humidity":' + b"9" * 5000 + b"}",
    b'{"version":"7.0.0"}',
    b'{"a":"' + b"x" * PAYLOAD_BYTES_MAX + b'"}',
    b"[" * 100_000,
    b'{"nodeStates":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"x":' + b"[" * 2_000 + b"]" * 2_000 + b"}",
    b'{"agvPosition":{"x":1e12,"y":0,"theta":0,"mapId":"B1"}}',
    b'{"agvPosition":{"x":0,"y":0,"theta":1e12,"mapId":"B1"}}',
    b'{"lastNodeId":"' + b"n" * 300 + b'","agvPosition":{"x":0,"y":0,"theta":0,"mapId":"' + b"m" * 300 + b'"}}',
    b'{"deviceInfo":{"devEui":5},"end_device_ids":7}',
    b'{"deviceInfo":{},"fPort":1,"data":"***"}',
    b'{"deviceInfo":{},"fPort":1,"data":"\\u00e9"}',
    b'{"deviceInfo":{},"fPort":1,"data":""}',
    b'{"deviceInfo":{},"fPort":2,"data":"AA=="}',
]


@pytest.mark.parametrize("payload", HOSTILE, ids=lambda payload: repr(payload[:30]))
def test_hostile_payloads_are_refused_by_every_decoder_or_say_nothing(payload: bytes) -> None:
    for profile, topic in DECODERS:
        with suppress(MessageError):
            MessageDecoder(profile).decode(topic, payload, NOW_MS)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
    | st.sampled_from(["2026-05-01T08:00:00Z", "NONE", "FATAL", "AUTOMATIC", "ONLINE", "tw==", "2.1.0", "B1", "/w=="])
)
KEYS = st.sampled_from(
    [
        "headerId",
        "timestamp",
        "version",
        "driving",
        "paused",
        "operatingMode",
        "nodeStates",
        "actionStates",
        "errors",
        "errorLevel",
        "safetyState",
        "eStop",
        "agvPosition",
        "mobileRobotPosition",
        "x",
        "y",
        "theta",
        "mapId",
        "localized",
        "batteryState",
        "batteryCharge",
        "charging",
        "connectionState",
        "deviceInfo",
        "devEui",
        "data",
        "fPort",
        "fCnt",
        "time",
        "rxInfo",
        "end_device_ids",
        "uplink_message",
        "f_port",
        "frm_payload",
        "received_at",
        "values",
        "door",
        "state",
        "humidity",
        "meta",
        "ts",
        "fw",
        "t",
        "lastNodeId",
        "actionStatus",
        "deduplicationId",
    ]
)
JSONS = st.recursive(SCALARS, lambda part: st.lists(part, max_size=3) | st.dictionaries(KEYS, part, max_size=8))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(DECODERS), JSONS | st.dictionaries(KEYS, JSONS, max_size=12))
def test_any_json_is_decoded_or_refused(decoder: tuple[Any, str], message: Any) -> None:
    profile, topic = decoder
    with suppress(MessageError):
        for found in MessageDecoder(profile).decode(topic, json.dumps(message).encode(), NOW_MS):
            assert found.numbers.keys() <= profile.points.keys()
            assert found.source_time_ms is None or 0 <= found.source_time_ms < 1 << 48
            assert all(abs(value) < 1e21 or str(value) == "nan" for value in found.numbers.values())


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(DECODERS), st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(decoder: tuple[Any, str], payload: bytes) -> None:
    profile, topic = decoder
    with pytest.raises(MessageError):
        MessageDecoder(profile).decode(topic, payload, NOW_MS)
