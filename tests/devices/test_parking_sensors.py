import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import MessageError
from devices.messages.chirpstack import decode_chirpstack
from devices.messages.parking_sensors import (
    ParkingUplink,
    decode_parking,
    encode_nps405_heartbeat,
    encode_nps405_status,
)
from devices.messages.things_stack import decode_things_stack
from tests.devices.golden import GOLDEN

VECTORS = json.loads((GOLDEN / "lorawan" / "parking_payload_vectors.json").read_text("utf-8"))
EVENTS = json.loads((GOLDEN / "lorawan" / "parking_uplink_events.json").read_text("utf-8"))


OUR_NAMES = {
    "temperature": "temperature",
    "counter_value": "vehicles",
    "battery": "charge",
    "battery_voltage": "battery",
}
CODECS = {"TPS110": "bosch-tps110", "Parking_Lot": "bosch-tps110", "NPS310": "nwave-nps310", "NCC405": "nwave-ncc405"}
CODECS |= {"NPS": "nwave-nps405", "R719A": "netvox-r719a", "VS34x": "milesight-vs34x"}


def codec_of(vector: dict[str, Any]) -> str:
    return next(codec for part, codec in CODECS.items() if part in vector["device"])


def as_ours(decoded: dict[str, Any]) -> ParkingUplink:
    """The vendor's field names and units in ours."""
    numbers: dict[str, float] = {}
    if "occupied" in decoded or "occupancy" in decoded:
        numbers["occupied"] = float(decoded.get("occupied", decoded.get("occupancy")) in {True, "on", "occupied"})
    if "previous_state_duration" in decoded:
        numbers["previous_state_s"] = 60.0 * decoded["previous_state_duration"]
    for theirs, ours in OUR_NAMES.items():
        if theirs in decoded:
            numbers[ours] = float(decoded[theirs])
    texts = {}
    if decoded.get("type") == "startup":
        texts["firmware"] = decoded.get("firmware_version") or decoded["firmwareVersion"]
        texts["reset_cause"] = (decoded.get("reset_cause") or decoded["resetCause"]).replace(" ", "_")
    return ParkingUplink(numbers, texts)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['device']} {vector['payload_hex']}")
def test_the_vendors_examples_decode_as_the_vendors_say(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["payload_hex"])

    assert decode_parking(codec_of(vector), vector["f_port"], data) == as_ours(vector["decoded"])


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: f"{event['network_server']} {event['payload_hex']}")
def test_whole_uplinks_of_both_network_servers_are_unwrapped(event: dict[str, Any]) -> None:
    payload = json.dumps(event["uplink"]).encode()
    unwrap = decode_chirpstack if event["network_server"].startswith("ChirpStack") else decode_things_stack

    uplink = unwrap(payload)

    assert (uplink.f_port, uplink.data.hex()) == (event["f_port"], event["payload_hex"])
    assert uplink.time_ms == event["expected_time_ms"]
    assert decode_parking(codec_of(event), uplink.f_port, uplink.data) == as_ours(event["expected"])


@pytest.mark.parametrize(
    ("codec", "f_port", "payload", "numbers"),
    [
        ("nwave-nps405", 1, "b7", {"occupied": 1.0, "previous_state_s": 5700.0}),
        ("nwave-nps405", 1, "f0", {"occupied": 0.0, "previous_state_s": 14400.0}),
        ("nwave-nps405", 1, "b4", {"occupied": 0.0, "previous_state_s": 5400.0}),
        ("nwave-nps405", 1, "ee", {"occupied": 0.0, "previous_state_s": 14100.0}),
        ("nwave-nps405", 1, "ff", {"occupied": 1.0, "previous_state_s": 39_600.0}),
        ("nwave-nps405", 10, "d1201f345678", {"occupied": 1.0, "previous_state_s": 9600.0}),
        ("nwave-nps405", 10, "d0201f345678", {}),
        ("nwave-nps405", 6, "00", {}),
        (
            "nwave-nps405",
            2,
            "00d3d800590b",
            {"occupied": 0.0, "hardware_health": 0.0, "battery": 3.344, "temperature": -10.0},
        ),
        ("nwave-nps405-v1", 1, "b7", {"occupied": 1.0, "previous_state_s": 3300.0}),
        ("nwave-nps405-v1", 1, "78", {"occupied": 0.0, "previous_state_s": 14400.0}),
        ("nwave-nps405-v1", 10, "c5201f345678", {"occupied": 1.0, "previous_state_s": 4140.0}),
        ("bosch-tps110", 2, "01f6", {"occupied": 1.0, "temperature": -10.0}),
        ("nwave-nps310", 1, "01", {"occupied": 1.0}),
        ("milesight-vs34x", 85, "017564ff0b01", {"charge": 100.0}),
        ("milesight-vs34x", 84, "030001", {}),
        ("netvox-r719a", 6, "0158012401", {}),
    ],
)
def test_payload_bytes_have_the_meaning_that_the_codec_says(
    codec: str, f_port: int, payload: str, numbers: dict[str, float]
) -> None:
    assert decode_parking(codec, f_port, bytes.fromhex(payload)).numbers == numbers


@given(st.booleans(), st.integers(0, 2000))
def test_what_the_simulator_sends_decodes_to_what_it_meant(occupied: bool, minutes: int) -> None:  # noqa: FBT001
    sent = encode_nps405_status(occupied=occupied, previous_minutes=minutes)

    numbers = decode_parking("nwave-nps405", 1, sent).numbers

    assert numbers["occupied"] == occupied
    assert 0 <= min(minutes, 660) - numbers["previous_state_s"] / 60 < 60


def test_a_heartbeat_survives_the_round_trip() -> None:
    sent = encode_nps405_heartbeat(occupied=True, battery_v=3.3, temperature_c=-12.5)

    assert decode_parking("nwave-nps405", 2, sent).numbers == {
        "occupied": 1.0,
        "hardware_health": 0.0,
        "battery": 3.3,
        "temperature": -12.5,
    }


def test_missing_default_values_count_as_zero() -> None:
    chirpstack = decode_chirpstack(b'{"deviceInfo":{"devEui":"70B3"}}')
    things_stack = decode_things_stack(b'{"end_device_ids":{"device_id":"p"},"uplink_message":{}}')

    assert (chirpstack.f_count, chirpstack.f_port, chirpstack.data) == (0, 0, b"")
    assert (things_stack.f_count, things_stack.f_port, things_stack.data) == (0, 0, b"")
    assert chirpstack.device_eui == "70b3"


def test_the_gateways_time_stands_in_for_a_missing_network_time() -> None:
    uplink = decode_chirpstack(
        b'{"deviceInfo":{},"rxInfo":[{"time":null},{"time":"2026-05-01T08:00:01Z"},{"time":"2026-05-01T08:00:00Z"}]}'
    )

    assert uplink.time_ms == 1777622400000


@given(
    st.sampled_from(["nwave-nps405", "nwave-nps405-v1", "nwave-nps310", "bosch-tps110"]),
    st.integers(0, 255),
    st.binary(max_size=300),
)
def test_any_bytes_are_decoded_or_refused(codec: str, f_port: int, data: bytes) -> None:
    with suppress(MessageError):
        decode_parking(codec, f_port, data)
