"""Where a robot's JSON message says that it is."""

from collections.abc import Iterable

from pydantic import Field

from devices.document import Section


class PoseMapping(Section):
    """json: where a robot's message says that it is: paths of metres on a map, and of the angle in radians.

    The map is named by the message (`map`) or is always the same (`map_id`). Outdoors `lat` and `lon` (degrees, WGS 84)
    take the place of x, y and map, with `accuracy` in metres: a position without one counts nowhere. Without
    `localized` a pose is trusted.
    """

    x: str | None = None
    y: str | None = None
    lat: str | None = None
    lon: str | None = None
    accuracy: str | None = None
    theta: str | None = None
    map: str | None = None
    map_id: str | None = Field(default=None, min_length=1, max_length=200)
    localized: str | None = None

    @property
    def paths(self) -> dict[str, str]:
        """Every path that is given, by its key."""
        keys = ("x", "y", "lat", "lon", "accuracy", "theta", "map", "localized")
        return {key: path for key in keys if (path := getattr(self, key)) is not None}

    def complaints(self) -> Iterable[str]:
        """What is wrong with the choice of keys."""
        on_map = [key for key in ("x", "y", "map", "map_id") if getattr(self, key) is not None]
        on_earth = [key for key in ("lat", "lon", "accuracy") if getattr(self, key) is not None]
        if on_map and on_earth:
            yield f"expected either x, y and a map, or lat, lon and accuracy, not {on_map[0]} and {on_earth[0]}"
        elif on_earth and len(on_earth) < 3:
            yield "expected lat, lon and accuracy together"
        elif not on_earth and (self.x is None or self.y is None):
            yield "expected x and y, or lat, lon and accuracy"
        elif not on_earth and (self.map is None) == (self.map_id is None):
            yield "expected either map (a path) or map_id"
