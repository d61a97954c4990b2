"""Patrol in the ledger: robots, and the zones that they are to see."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

import shapely
from pydantic import AfterValidator, Field

from cloud.facts.ledger_values import Name, Ring, hours_of_day
from devices.document import Mistake, Section
from devices.point import Id

ZONES_PER_FLOOR_MAX = 63  # a cell knows its zones as bits of an int64
ROBOT_RADIUS_M_MAX = 20.0  # with the next one keeps the sweep's products within int64
ROBOT_SPEED_M_S_MAX = 20.0


class Robot(Section):
    """A patrol robot and what it sees around itself."""

    id: Id
    name: Name
    device: Id
    radius_m: float = Field(default=3.0, gt=0, le=ROBOT_RADIUS_M_MAX)
    speed_max_m_s: float = Field(default=1.5, gt=0, le=ROBOT_SPEED_M_S_MAX)

    @property
    def radius_mm(self) -> int:
        """Whole millimetres."""
        return round(self.radius_m * 1000)

    @property
    def speed_max_mm_s(self) -> int:
        """Whole millimetres per second."""
        return round(self.speed_max_m_s * 1000)


class Polygon(Section):
    """GeoJSON, in floor metres; the first ring is the outline, the others are holes."""

    type: Literal["Polygon"]
    coordinates: Annotated[tuple[Ring, ...], Field(min_length=1, max_length=200)]


class Zone(Section):
    """An area that is to be patrolled, in its required hours."""

    id: Id
    name: Name
    floor: Id
    requires_patrol: bool = True
    required_hours: tuple[Annotated[str, AfterValidator(hours_of_day)], ...] = ("00:00-24:00",)
    open_to: tuple[Id, ...] = ()  # zones that are seen from here: no wall between
    geometry: Polygon


def zone_mistakes(zones: Sequence[Zone], sizes_m: Mapping[str, tuple[float, float]]) -> Iterable[Mistake]:
    """What is wrong with zones on floors of these sizes (width and height in metres by floor id)."""
    for floor, count in Counter(zone.floor for zone in zones).items():
        if count > ZONES_PER_FLOOR_MAX:
            yield Mistake(("zones",), f"floor {floor!r} has {count} zones, at most {ZONES_PER_FLOOR_MAX} are possible")
    for index, zone in enumerate(zones):
        place = ("zones", index, "geometry", "coordinates")
        polygon = shapely.Polygon(zone.geometry.coordinates[0], zone.geometry.coordinates[1:])
        if not polygon.is_valid:
            yield Mistake(place, f"not a polygon: {shapely.is_valid_reason(polygon)}")
        elif zone.floor in sizes_m:
            width_m, height_m = sizes_m[zone.floor]
            if not shapely.box(0, 0, width_m, height_m).covers(polygon):
                yield Mistake(place, f"reaches beyond the floor of {width_m} m x {height_m} m")
