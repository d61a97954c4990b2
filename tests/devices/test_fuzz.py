"""Hostile input: every decoder and the register codec answer with a value or with their own error, nothing else."""

import json
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from devices.errors import MessageError, RegisterError
from devices.messages.chirpstack import decode_chirpstack
from devices.messages.decode import MessageDecoder
from devices.messages.observation import Observation
from devices.messages.parking_sensors import decode_parking
from devices.messages.payload import PAYLOAD_BYTES_MAX, TIME_MS_MAX
from devices.messages.things_stack import decode_things_stack
from devices.messages.vda5050 import decode_connection, decode_state, decode_visualization
from devices.point import Function, Point, PointType
from devices.profile import LoadedProfile, load_profiles
from devices.reading import PoseFlag
from devices.registers import RegisterDecoder, decode_registers, encode_registers
from devices.units import CONVERSIONS

NOW_MS = 1_777_622_400_000
PUSHING = [profile for profile in load_profiles().values() if profile.pushes]
DECODERS: list[Callable[[bytes], object]] = [
    decode_state,
    lambda payload: decode_visualization(payload, PoseFlag(0)),
    decode_connection,
    decode_chirpstack,
    decode_things_stack,
]
GOOD = [
    {
        "headerId": 7, "timestamp": "2026-05-01T08:00:00.000Z", "version": "2.1.0", "driving": True, "orderId": "p1",
        "operatingMode": "AUTOMATIC", "nodeStates": [], "edgeStates": [], "errors": [{"errorLevel": "WARNING"}],
        "actionStates": [{"actionStatus": "RUNNING"}], "batteryState": {"batteryCharge": 81.0, "charging": False},
        "safetyState": {"eStop": "NONE"}, "lastNodeId": "c12",
        "agvPosition": {"x": 12.5, "y": -3.0, "theta": 0.0, "mapId": "B1", "positionInitialized": True},
    },
    {"headerId": 7, "timestamp": "2026-05-01T08:00:00.000Z", "version": "3.0.0", "connectionState": "HIBERNATING"},
    {
        "deduplicationId": "3ac7", "time": "2026-05-01T08:00:00Z", "deviceInfo": {"devEui": "70b3"}, "fCnt": 41,
        "fPort": 1, "data": "tw==", "rxInfo": [{"time": "2026-05-01T08:00:00Z"}],
    },
    {
        "end_device_ids": {"device_id": "p-017", "dev_eui": "70B3"}, "received_at": "2026-05-01T08:00:00Z",
        "uplink_message": {"f_port": 2, "f_cnt": 42, "frm_payload": "AfY=", "received_at": "2026-05-01T08:00:00Z"},
    },
]  # fmt: skip
WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e308, -1e308, 1e400, 5e-324]),
    st.sampled_from(
        ["", "9999-12-31T23:59:60Z", "0000-00-00T00:00:00Z", "+10000-01-01T00:00:00Z", "\ud800", "x" * 300]
    ),
    st.text(max_size=20),
    st.just([]),
    st.just({}),
    st.lists(st.integers(), max_size=3),
)


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A good message with some of its values exchanged, taken away, or its bytes damaged."""
    message = json.loads(json.dumps(draw(st.sampled_from(GOOD))))
    for _ in range(draw(st.integers(1, 3))):
        _spoil(draw, message)
    payload = json.dumps(message).encode()
    if draw(st.booleans()):
        at = draw(st.integers(0, len(payload)))
        payload = payload[:at] + draw(st.binary(max_size=4)) + payload[at + draw(st.integers(0, 4)) :]
    return payload


def _spoil(draw: st.DrawFn, message: Any) -> None:
    while isinstance(message, dict | list) and message:
        key = draw(st.sampled_from(list(message) if isinstance(message, dict) else range(len(message))))
        if isinstance(message[key], dict | list) and message[key] and draw(st.booleans()):
            message = message[key]
            continue
        if draw(st.integers(0, 3)):
            message[key] = draw(WRONG)
        else:
            del message[key]
        return


@settings(max_examples=600, deadline=None)
@given(spoilt())
def test_a_spoilt_message_is_decoded_or_refused(payload: bytes) -> None:
    for decode in DECODERS:
        with suppress(MessageError):
            decode(payload)
    for profile in PUSHING:
        decoder = MessageDecoder(profile)
        for topic in ("a/state", "a/connection", "a/visualization", "a/factsheet", "a/event/up", "a/event/join"):
            with suppress(MessageError):
                for found in decoder.decode(topic, payload, NOW_MS):
                    _assert_sane(found, profile)


def _assert_sane(found: Observation, profile: LoadedProfile) -> None:
    assert found.numbers.keys() | found.texts.keys() <= profile.points.keys()
    assert found.source_time_ms is None or -TIME_MS_MAX <= found.source_time_ms <= TIME_MS_MAX
    assert all(math.isnan(value) or abs(value) < 1e21 for value in found.numbers.values())
    assert all(len(text) <= 256 for text in found.texts.values())
    assert found.pose is None or all(math.isfinite(value) for value in found.pose[:3])


@pytest.mark.parametrize("decode", DECODERS)
def test_a_megabyte_is_refused_before_it_is_parsed(decode: Callable[[bytes], object]) -> None:
    for payload in (
        b'{"headerId":1,"x":"' + b"x" * (1 << 20) + b'"}',
        b"[" * (1 << 20),
        b" " * (PAYLOAD_BYTES_MAX + 1),
    ):
        with pytest.raises(MessageError, match="bytes"):
            decode(payload)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(PUSHING), st.integers(-1000, 1000), st.binary(max_size=300))
def test_any_application_payload_is_decoded_or_refused(profile: LoadedProfile, f_port: int, data: bytes) -> None:
    codec = profile.profile.mqtt.codec if profile.profile.mqtt is not None else None
    with suppress(MessageError):
        decoded = decode_parking(codec or "nobody's", f_port, data)

        assert all(math.isfinite(value) for value in decoded.numbers.values())


NUMERIC = [kind for kind in PointType if kind not in {PointType.STRING, PointType.NUMBER, PointType.BOOL}]


@st.composite
def points(draw: st.DrawFn) -> Point:
    kind = draw(st.sampled_from(NUMERIC))
    bits = 0 if kind in {PointType.BIT, PointType.F32, PointType.F64} else int(kind.value[1:])
    sentinels = st.sampled_from([0x7FFF, 0x8000, 0xFFFF, 0x80000000, -1, 0])
    return Point(
        id="p",
        type=kind,
        function=Function.HOLDING,
        address=draw(st.integers(0, 65_535)),
        bit=draw(st.integers(0, 15)) if kind is PointType.BIT else None,
        word_order=draw(st.sampled_from(["big", "little"])),
        byte_order=draw(st.sampled_from(["big", "little"])),
        scale=draw(st.sampled_from([1.0, 0.1, -2.5, 1e-9, 1e9])),
        offset=draw(st.sampled_from([0.0, -273.15, 1e6])),
        unit=draw(st.sampled_from(["", *CONVERSIONS])),
        invalid=tuple(raw for raw in draw(st.lists(sentinels, max_size=2)) if bits and -1 <= raw < 1 << bits),
    )


@settings(max_examples=500, deadline=None)
@given(points(), st.lists(st.integers(0, 65_535), max_size=6))
def test_any_register_words_are_a_number_or_no_value_or_refused(point: Point, words: list[int]) -> None:
    with suppress(RegisterError):
        alone = decode_registers(point, words)
        (together,) = RegisterDecoder([point], point.address or 0).decode(np.array(words, np.uint16)).tolist()

        assert not math.isinf(alone) or point.type in {PointType.F32, PointType.F64}
        assert alone == together or (math.isnan(alone) and math.isnan(together))


@settings(max_examples=500, deadline=None)
@given(points(), st.floats())
def test_any_number_is_written_or_refused(point: Point, value: float) -> None:
    with suppress(RegisterError):
        words = encode_registers(point, value)

        assert len(words) == point.registers
        assert all(0 <= word <= 0xFFFF for word in words)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["id", "type", "address", "bit", "scale", "unit", "invalid"]), WRONG))
def test_a_point_of_nonsense_is_refused_by_its_model(content: dict[str, Any]) -> None:
    with suppress(ValidationError):
        Point.model_validate({"id": "p", "type": "u16", **content})
