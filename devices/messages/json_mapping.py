"""Any JSON message whose values stand at fixed paths: `data.temp`, `values[0].reading`."""

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from devices.errors import MessageError
from devices.messages.observation import Observation
from devices.messages.payload import TIME_MS_MAX, parse_payload, short, stamp
from devices.messages.pose_mapping import PoseMapping
from devices.point import Point
from devices.positions import accuracy_bits, gps_map, gps_origin, to_plane
from devices.reading import PoseFlag
from devices.states import AUTOMATIC_MODES
from devices.units import DISCRETE, conversion

MAGNITUDE_MAX = 1e15  # beyond this no sensor measures
POSITION_M_MAX = 1e5  # farther out is no map of a site
_SECONDS_BELOW = 100_000_000_000  # a Unix time below this is in seconds (until the year 5138), above in milliseconds
_STEP = re.compile(r"([^.\[\]]+)|\[(\d{1,6})\]")
_PATH = re.compile(r"[^.\[\]]+(?:\.[^.\[\]]+|\[\d{1,6}\])*")

JsonPath = tuple[str | int, ...]


@lru_cache(maxsize=4096)
def parse_path(text: str) -> JsonPath:
    """Keys and indices of a path. Raises ValueError."""
    if not _PATH.fullmatch(text):
        raise ValueError(f"{text!r} is not a path like data.temp or values[0].reading")
    return tuple(key or int(index) for key, index in _STEP.findall(text))


def decode_json(
    payload: bytes, points: Sequence[Point], time_path: str | None, pose: PoseMapping | None = None
) -> Observation:
    """The points that the message holds; a path that leads nowhere is left out, null is "no value".

    What a point's absence means is said only of a message that has some other of the points. Raises MessageError when
    nothing is found, or a value is not what its point expects.
    """
    message: Any = parse_payload(payload)
    numbers: dict[str, float] = {}
    texts: dict[str, str] = {}
    for point in points:
        found, value = _look_up(message, parse_path(point.field or point.id))
        if not found:
            continue
        if point.is_text:
            texts[point.id] = _text(point, value)
        else:
            numbers[point.id] = _number(point, value)
    place = None if pose is None else _pose(message, pose)
    if not numbers and not texts and place is None:
        raise MessageError("none of the profile's fields is in the message")
    time_ms = None
    if time_path is not None:
        time_ms = _time(_look_up(message, parse_path(time_path))[1])
    if numbers or texts:  # a message that holds a place only says nothing by what it leaves out
        numbers |= {point.id: point.absent for point in points if point.absent is not None and point.id not in numbers}
    if place is None:
        return Observation(time_ms, numbers, texts)
    x_m, y_m, theta_rad, map_id, known = place
    return Observation(time_ms, numbers, texts, (x_m, y_m, theta_rad, map_id, _flags(numbers) | known))


def _pose(message: Any, pose: PoseMapping) -> tuple[float, float, float, str, PoseFlag] | None:
    """X and y in metres, angle in radians, map, and how well the robot knows its place; None without a position."""
    values = {key: _look_up(message, parse_path(path))[1] for key, path in pose.paths.items()}
    first, second = ("x", "y") if pose.lat is None else ("lat", "lon")
    if values[first] is None or values[second] is None:
        return None
    theta = values.get("theta")
    theta_rad = 0.0 if theta is None else _metre(theta, "theta")
    localized = values.get("localized") if pose.localized is not None else True
    known = PoseFlag.LOCALIZED if localized is True or localized == 1 else PoseFlag(0)
    if pose.lat is not None:
        x_m, y_m, map_id, accuracy = _on_earth(values)
        return x_m, y_m, theta_rad, map_id, known | accuracy
    named = values.get("map") if pose.map_id is None else pose.map_id
    if not isinstance(named, str) or not named:
        raise MessageError("map: expected the name of a map")
    return _metre(values["x"], "x"), _metre(values["y"], "y"), theta_rad, short(named, "map"), known


def _on_earth(values: Mapping[str, Any]) -> tuple[float, float, str, PoseFlag]:
    """A position on WGS 84 in metres about the nearest tenth of a degree, which its map is named by."""
    lat, lon = _metre(values["lat"], "lat"), _metre(values["lon"], "lon")
    try:
        map_id = gps_map(lat, lon)
    except ValueError as error:
        raise MessageError(str(error)) from error
    accuracy_m = None if values["accuracy"] is None else _metre(values["accuracy"], "accuracy")
    origin = gps_origin(map_id)
    assert origin is not None  # noqa: S101  it was just named
    x_m, y_m = to_plane(lat, lon, origin)
    return float(x_m), float(y_m), map_id, PoseFlag(accuracy_bits(accuracy_m))


def _metre(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= POSITION_M_MAX:
        raise MessageError(f"{key}: expected a number within {POSITION_M_MAX:.0f}")
    return float(value)


def _flags(numbers: Mapping[str, float]) -> PoseFlag:
    flags = PoseFlag(0)
    for point, flag in (("charging", PoseFlag.CHARGING), ("driving", PoseFlag.DRIVING)):
        if numbers.get(point) == 1:
            flags |= flag
    return flags | PoseFlag.AUTOMATIC if numbers.get("mode") in AUTOMATIC_MODES else flags


def _look_up(message: Any, path: JsonPath) -> tuple[bool, Any]:
    for step in path:
        match message, step:
            case dict(), str() if step in message:
                message = message[step]
            case list(), int() if step < len(message):
                message = message[step]
            case _:
                return False, None
    return True, message


def _text(point: Point, value: Any) -> str:
    if not isinstance(value, str):
        raise MessageError(f"{point.id}: expected a text")
    return short(value, point.id)


def _number(point: Point, value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, str):
        if value not in point.labels:
            raise MessageError(f"{point.id}: {value[:40]!r} is neither a number nor a label of its enum")
        return point.labels[value]
    if not isinstance(value, bool | int | float):
        raise MessageError(f"{point.id}: expected a number")
    try:
        raw = float(value)
    except OverflowError as error:
        raise MessageError(f"{point.id}: the number is too large") from error
    if not abs(raw) <= MAGNITUDE_MAX:
        raise MessageError(f"{point.id}: the number is absurd")
    if raw in point.invalid:
        return math.nan
    if point.enum and raw not in point.enum:
        raise MessageError(f"{point.id}: {raw:g} is none of its enum")
    unit = conversion(point.unit) if point.unit else DISCRETE
    return (raw * point.scale + point.offset) * unit.scale + unit.offset


def _time(value: Any) -> int | None:
    if isinstance(value, str):
        return stamp(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= TIME_MS_MAX:
        return None
    return int(value * 1000) if value < _SECONDS_BELOW else int(value)
