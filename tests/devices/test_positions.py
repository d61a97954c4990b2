"""Projection of WGS 84 against distances in space, and positions in messages of robots."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import ConfigurationError, MessageError
from devices.messages.decode import MessageDecoder
from devices.positions import (
    ACCURACY_SHIFT,
    EQUATOR_M,
    FLATTENING,
    accuracy_bits,
    accuracy_class,
    from_plane,
    gps_map,
    gps_origin,
    to_plane,
    turned,
)
from devices.profile import load_profiles, parse_profile
from devices.reading import PoseFlag

Latitude = st.floats(-70, 70)
Longitude = st.floats(-180, 180)
Metres = st.floats(-3_000, 3_000)


def in_space(lat: float, lon: float) -> tuple[float, float, float]:
    """Earth-centred coordinates in metres: the definition of the ellipsoid, without any projection."""
    phi, lam, e2 = math.radians(lat), math.radians(lon), FLATTENING * (2 - FLATTENING)
    across = EQUATOR_M / math.sqrt(1 - e2 * math.sin(phi) ** 2)
    return (
        across * math.cos(phi) * math.cos(lam),
        across * math.cos(phi) * math.sin(lam),
        across * (1 - e2) * math.sin(phi),
    )


@given(Latitude, Longitude, st.tuples(Metres, Metres), st.tuples(Metres, Metres))
def test_distances_on_the_plane_are_those_in_space(
    lat: float, lon: float, one: tuple[float, float], other: tuple[float, float]
) -> None:
    a, b = (tuple(map(float, from_plane(*place, (lat, lon)))) for place in (one, other))
    chord = math.dist(in_space(*a), in_space(*b))

    assert math.dist(one, other) == pytest.approx(chord, abs=0.005)


@given(Latitude, Longitude, Metres, Metres)
def test_there_and_back_is_the_same_place(lat: float, lon: float, x_m: float, y_m: float) -> None:
    there = from_plane(x_m, y_m, (lat, lon))
    back = to_plane(float(there[0]), float(there[1]), (lat, lon))

    assert math.dist(back, (x_m, y_m)) < 1e-6


def test_north_is_up_and_a_plan_may_be_turned() -> None:
    x_m, y_m = to_plane(31.301, 120.7, (31.3, 120.7))
    east, north = turned(np.asarray(0.0), np.asarray(1.0), 90.0)  # the plan's y axis points east

    assert abs(float(x_m)) < 1e-6
    assert float(y_m) == pytest.approx(110.86, abs=0.1)
    assert (float(east), float(north)) == pytest.approx((-1.0, 0.0), abs=1e-12)


@given(st.floats(-85, 85), Longitude)
def test_a_map_tells_its_origin(lat: float, lon: float) -> None:
    origin = gps_origin(gps_map(lat, lon))

    assert origin is not None
    assert max(abs(origin[0] - lat), abs(origin[1] - lon)) <= 0.0501
    assert gps_origin("B1") is None


@given(st.floats(0, 100), st.floats(0.1, 60))
def test_an_accuracy_within_the_limit_is_never_worse_than_it(accuracy_m: float, limit_m: float) -> None:
    good = 0 < accuracy_bits(accuracy_m) >> ACCURACY_SHIFT <= accuracy_class(limit_m)

    assert not good or accuracy_m <= limit_m
    assert accuracy_bits(accuracy_m) <= 0xF0
    assert accuracy_bits(None) == 0


OUTDOOR = """
id: outdoor-robot
kind: robot
source: {document: "made up", verified: unverified}
mqtt: {message: json, pose: {lat: gps.lat, lon: gps.lon, accuracy: gps.acc}}
hold_s: 90s
points:
"""


def outdoor_robot(pose: str = "") -> str:
    points = load_profiles()["json-robot"].text.split("points:\n")[1]
    return (OUTDOOR if not pose else OUTDOOR.replace("{lat: gps.lat, lon: gps.lon, accuracy: gps.acc}", pose)) + points


def test_a_position_on_earth_is_a_pose_with_its_accuracy() -> None:
    decoder = MessageDecoder(parse_profile(outdoor_robot(), "outdoor-robot"))
    payload = json.dumps({"gps": {"lat": 31.3005, "lon": 120.7011, "acc": 0.8}, "mode": 0}).encode()
    [found] = decoder.decode("t", payload, 0)
    assert found.pose is not None
    x_m, y_m, _, map_id, flags = found.pose

    assert map_id == "gps:31.3,120.7"
    assert (x_m, y_m) == pytest.approx((104.7, 55.4), abs=0.2)
    assert flags & 15 == PoseFlag.LOCALIZED | PoseFlag.AUTOMATIC
    assert int(flags) >> ACCURACY_SHIFT == 5  # 0.8 m lies within 1 m


def test_a_position_that_is_nowhere_is_refused() -> None:
    decoder = MessageDecoder(parse_profile(outdoor_robot(), "outdoor-robot"))

    with pytest.raises(MessageError, match="out of range"):
        decoder.decode("t", b'{"gps": {"lat": 91, "lon": 0, "acc": 1}}', 0)


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        ("{lat: a, lon: b}", "lat, lon and accuracy together"),
        ("{lat: a, lon: b, accuracy: c, x: d}", "not x and lat"),
        ("{x: a}", "expected x and y"),
        ("{x: a, y: b}", "either map"),
    ],
)
def test_a_mapping_that_is_neither_is_refused(pose: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_profile(outdoor_robot(pose), "outdoor-robot")
