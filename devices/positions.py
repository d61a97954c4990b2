"""Positions on WGS 84 as metres on a plane: a transverse Mercator projection about an origin, and its reverse.

A robot outdoors knows latitude and longitude; a pose carries millimetres. So the gateway projects about the nearest
tenth of a degree and names that origin as the pose's map (`gps:31.3,120.7`); the cloud turns it back and projects about
the origin of the floor, which only the ledger knows. Within 5 km of the origin distances are true to a centimetre.
x points east, y north.
"""

import math
import re

import numpy as np

from devices.reading import Floats

Degrees = float | Floats

EQUATOR_M = 6_378_137.0
FLATTENING = 1 / 298.257223563
_E2 = FLATTENING * (2 - FLATTENING)
LAT_MAX = 85.0
# A pose's accuracy travels as a class in the upper half of its flags: the first of these bounds (metres) that holds.
ACCURACY_BOUNDS_M = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 20.0, 50.0)
ACCURACY_SHIFT = 4
ACCURACY_UNKNOWN = 0
_MAP = re.compile(r"gps:(-?\d{1,2}\.\d),(-?\d{1,3}\.\d)")


def to_plane(lat: Degrees, lon: Degrees, origin: tuple[float, float]) -> tuple[Floats, Floats]:
    """(x, y) in metres of positions in degrees about an origin (latitude, longitude in degrees)."""
    phi, phi_0 = np.radians(lat), np.radians(origin[0])
    away = np.radians((np.asarray(lon) - origin[1] + 180.0) % 360.0 - 180.0)
    across = _transverse_m(phi)
    eta2 = _E2 / (1 - _E2) * np.cos(phi) ** 2
    tan2 = np.tan(phi) ** 2
    a = away * np.cos(phi)
    x_m = across * (a + (1 - tan2 + eta2) * a**3 / 6)
    bend = a**2 / 2 + (5 - tan2 + 9 * eta2) * a**4 / 24
    y_m = _meridian_m(phi) - _meridian_m(phi_0) + across * np.tan(phi) * bend
    return x_m, y_m


def from_plane(x_m: Degrees, y_m: Degrees, origin: tuple[float, float]) -> tuple[Floats, Floats]:
    """(latitude, longitude) in degrees: the reverse of `to_plane`, to a thousandth of a millimetre."""
    lat = np.full(np.shape(x_m), origin[0])
    lon = np.full(np.shape(x_m), origin[1])
    for _ in range(5):  # each round leaves about a thousandth of the error
        at_x, at_y = to_plane(lat, lon, origin)
        phi = np.radians(lat)
        lat = lat + np.degrees((y_m - at_y) / _along_m(phi))
        lon = lon + np.degrees((x_m - at_x) / (_transverse_m(phi) * np.cos(phi)))
    return lat, lon


def gps_map(lat: float, lon: float) -> str:
    """The name of the map that a position is told on. Raises ValueError beyond the latitudes that are projected."""
    if not (abs(lat) <= LAT_MAX and abs(lon) <= 180):
        raise ValueError("latitude and longitude are out of range")
    return f"gps:{round(lat, 1) + 0.0:.1f},{round(lon, 1) + 0.0:.1f}"


def gps_origin(map_id: str) -> tuple[float, float] | None:
    """The origin (degrees) that such a map's name tells, None for any other map."""
    match = _MAP.fullmatch(map_id)
    return None if match is None else (float(match[1]), float(match[2]))


def accuracy_bits(accuracy_m: float | None) -> int:
    """The bits of a pose's flags that tell an accuracy in metres; None is unknown."""
    if accuracy_m is None or not accuracy_m >= 0:
        return ACCURACY_UNKNOWN
    place = next((at for at, bound_m in enumerate(ACCURACY_BOUNDS_M) if accuracy_m <= bound_m), len(ACCURACY_BOUNDS_M))
    return (place + 1) << ACCURACY_SHIFT


def accuracy_class(limit_m: float) -> int:
    """The greatest class whose bound does not exceed a limit; 0 when none does."""
    return sum(bound_m <= limit_m for bound_m in ACCURACY_BOUNDS_M)


def turned(x_m: Floats, y_m: Floats, degrees: float) -> tuple[Floats, Floats]:
    """East and north -> the axes of a plan whose y axis points `degrees` clockwise from north."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return x_m * cos - y_m * sin, x_m * sin + y_m * cos


def _along_m(phi: Floats) -> Floats:
    """Radius of curvature along the meridian."""
    return np.asarray(EQUATOR_M * (1 - _E2) / (1 - _E2 * np.sin(phi) ** 2) ** 1.5)


def _transverse_m(phi: Floats) -> Floats:
    """Radius of curvature across it."""
    return np.asarray(EQUATOR_M / np.sqrt(1 - _E2 * np.sin(phi) ** 2))


def _meridian_m(phi: Floats) -> Floats:
    """Length of the meridian from the equator; Snyder, Map Projections, equation 3-21."""
    e2, e4, e6 = _E2, _E2**2, _E2**3
    return np.asarray(
        EQUATOR_M
        * (
            (1 - e2 / 4 - 3 * e4 / 64 - 5 * e6 / 256) * phi
            - (3 * e2 / 8 + 3 * e4 / 32 + 45 * e6 / 1024) * np.sin(2 * phi)
            + (15 * e4 / 256 + 45 * e6 / 1024) * np.sin(4 * phi)
            - (35 * e6 / 3072) * np.sin(6 * phi)
        )
    )
