"""Patrol in the ledger: robots, and the zones that they are to see."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import shapely
from pydantic import AfterValidator, Field

from cloud.facts.ledger_values import Name, PointM, Ring, hours_of_day
from devices.document import Mistake, Section
from devices.point import Id

ZONES_PER_FLOOR_MAX = 63  # a cell knows its zones as bits of an int64
CELLS_MAX = 4_000_000  # of all floors with zones: bounds the memory of rasters and of a day's passes
INTERVAL_MIN_MAX = 31 * 24 * 60
ROUNDS_MAX = 96  # of a day
ROBOT_RADIUS_M_MAX = 20.0  # with the next one keeps the sweep's products within int64
ROBOT_SPEED_M_S_MAX = 20.0


def _time_of_day(text: str) -> str:
    if re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text) is None:
        raise ValueError("expected a time of day like 08:30")
    return text


IntervalMin = Annotated[int, Field(ge=1, le=INTERVAL_MIN_MAX)]
Weight = Annotated[int, Field(ge=1, le=1_000)]


class Gps(Section):
    """Where a floor's origin lies on WGS 84, and how far its y axis is turned from north, clockwise, in degrees.

    Positions whose accuracy is worse than `accuracy_m` count nowhere (domain.md 3.4: r_c).
    """

    lat: float = Field(ge=-85, le=85)
    lon: float = Field(ge=-180, le=180)
    rotation: float = Field(default=0.0, ge=-360, le=360)
    accuracy_m: float = Field(default=2.0, gt=0, le=50)


class Robot(Section):
    """A patrol robot, and how far around itself it sees: its sensors' radius, a camera's only where surveyed."""

    id: Id
    name: Name
    device: Id
    criticality: Literal["A", "B", "C"] = "B"  # as equipment of class patrol-robot
    radius_m: float = Field(default=3.0, gt=0, le=ROBOT_RADIUS_M_MAX)
    footprint_m: tuple[float, float] | None = None  # length and width of its body
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
    """An area that is to be patrolled, in its required hours.

    Its points are to be visited at least every `max_interval_min`, and at the `rounds` (times of day), which may be
    early or late by so many minutes. Without rounds, each interval of the required hours is a slot. `robots` are
    those assigned to it; it needs `min_agents` of them.
    """

    id: Id
    name: Name
    floor: Id
    requires_patrol: bool = True
    required_hours: Annotated[tuple[Annotated[str, AfterValidator(hours_of_day)], ...], Field(min_length=1)] = (
        "00:00-24:00",
    )
    open_to: tuple[Id, ...] = ()  # zones that are seen from here: no wall between
    max_interval_min: IntervalMin | None = None
    rounds: Annotated[tuple[Annotated[str, AfterValidator(_time_of_day)], ...], Field(max_length=ROUNDS_MAX)] = ()
    early_min: int = Field(default=15, ge=0, le=720)
    late_min: int = Field(default=15, ge=0, le=720)
    min_agents: int = Field(default=1, ge=1, le=10)
    robots: tuple[Id, ...] = ()
    weight: Weight = 1  # in the ranking of blind spots
    geometry: Polygon

    @property
    def round_minutes(self) -> list[int]:
        """Minutes of the local day, ascending."""
        return sorted(int(text[:2]) * 60 + int(text[3:]) for text in self.rounds)


class NoGo(Section):
    """An area where no robot is to be: it belongs to no zone."""

    id: Id
    name: Name
    floor: Id
    geometry: Polygon


class Checkpoint(Section):
    """A point that a robot visits: within the radius for the dwell time, or at the node of this id (VDA 5050)."""

    id: Id
    name: Name
    zone: Id
    position: PointM | None = None
    node: str | None = Field(default=None, min_length=1, max_length=200)
    radius_m: float = Field(default=2.0, gt=0, le=ROBOT_RADIUS_M_MAX)
    dwell_s: int = Field(default=0, ge=0, le=3_600)
    weight: Weight = 1
    max_interval_min: IntervalMin | None = None  # that of its zone, unless it has one of its own


def zone_mistakes(zones: Sequence[Zone], sizes_m: Mapping[str, tuple[float, float]]) -> Iterable[Mistake]:
    """What is wrong with zones on floors of these sizes (width and height in metres by floor id)."""
    for floor, count in Counter(zone.floor for zone in zones).items():
        if count > ZONES_PER_FLOOR_MAX:
            yield Mistake(("zones",), f"floor {floor!r} has {count} zones, at most {ZONES_PER_FLOOR_MAX} are possible")
    for index, zone in enumerate(zones):
        yield from area_mistakes(("zones", index), zone.geometry, sizes_m.get(zone.floor))
        begins = zone.round_minutes
        if len(set(begins)) < len(begins):
            yield Mistake(("zones", index, "rounds"), "a round stands here twice")


def area_mistakes(place: tuple[str | int, ...], area: Polygon, size_m: tuple[float, float] | None) -> Iterable[Mistake]:
    """What is wrong with a polygon on a floor of this size (None: the floor is not known)."""
    place = (*place, "geometry", "coordinates")
    polygon = _polygon(area)
    if not polygon.is_valid:
        yield Mistake(place, f"not a polygon: {shapely.is_valid_reason(polygon)}")
    elif size_m is not None and not shapely.box(0, 0, *size_m).covers(polygon):
        yield Mistake(place, f"reaches beyond the floor of {size_m[0]} m x {size_m[1]} m")


def grid_mistakes(
    zones: Sequence[Zone],
    no_go: Sequence[NoGo],
    cells_mm: Mapping[str, int],
    sizes_m: Mapping[str, tuple[float, float]],
) -> Iterable[Mistake]:
    """Floors with more cells than there may be, and zones that require patrol but hold none (widths by floor id)."""
    used = {zone.floor for zone in zones} & cells_mm.keys()
    cells = sum(math.prod(math.ceil(size * 1000 / cells_mm[floor]) for size in sizes_m[floor]) for floor in used)
    if cells > CELLS_MAX:
        yield Mistake(("floors",), f"the floors with zones have {cells} cells, at most {CELLS_MAX} are possible")
        return
    without = {floor: [_polygon(one.geometry) for one in no_go if one.floor == floor] for floor in used}
    for index, zone in enumerate(zones):
        if zone.requires_patrol and zone.floor in used:
            area = _polygon(zone.geometry)
            if area.is_valid and not _holds_cell(area, without[zone.floor], cells_mm[zone.floor]):
                yield Mistake(
                    ("zones", index, "geometry"),
                    "holds no cell of the grid, so nobody could cover it: it is too small, or all no-go",
                )


def _holds_cell(area: shapely.Polygon, without: Sequence[shapely.Polygon], cell_mm: int) -> bool:
    """Whether the centre of a cell lies in an area and in none of the others."""
    shapely.prepare(area)
    left, low, right, high = (round(edge * 1000) // cell_mm for edge in area.bounds)
    x_m = (np.arange(left, right + 1) * cell_mm + cell_mm // 2) / 1000
    for row in range(low, high + 1):
        y_m = np.full(len(x_m), (row * cell_mm + cell_mm // 2) / 1000)
        inside = shapely.contains_xy(area, x_m, y_m)
        for other in without if inside.any() else ():
            inside &= ~shapely.contains_xy(other, x_m, y_m)
        if inside.any():
            return True
    return False


def _polygon(area: Polygon) -> shapely.Polygon:
    return shapely.Polygon(area.coordinates[0], area.coordinates[1:])


def patrol_mistakes(
    zones: Sequence[Zone], robots: Sequence[Robot], no_go: Sequence[NoGo], checkpoints: Sequence[Checkpoint],
    sizes_m: Mapping[str, tuple[float, float]],
) -> Iterable[Mistake]:  # fmt: skip
    """What is wrong with robots, no-go areas and checkpoints, and with what they refer to."""
    known_robots, zone_by_id = {robot.id for robot in robots}, {zone.id: zone for zone in zones}
    for index, robot in enumerate(robots):
        if robot.footprint_m is not None and not 0 < math.hypot(*robot.footprint_m) / 2 <= robot.radius_m:
            yield Mistake(("robots", index, "footprint_m"), "the robot is larger than the radius that it sees")
    for index, zone in enumerate(zones):
        for place, robot_id in enumerate(zone.robots):
            if robot_id not in known_robots:
                yield Mistake(("zones", index, "robots", place), f"there is no robot {robot_id!r}")
    for index, area in enumerate(no_go):
        if area.floor not in sizes_m:
            yield Mistake(("no_go", index, "floor"), f"there is no floor {area.floor!r}")
        yield from area_mistakes(("no_go", index), area.geometry, sizes_m.get(area.floor))
    for index, checkpoint in enumerate(checkpoints):
        found = zone_by_id.get(checkpoint.zone)
        if checkpoint.position is None and checkpoint.node is None:
            yield Mistake(("checkpoints", index), "a checkpoint has a position, a node, or both")
        if found is None:
            yield Mistake(("checkpoints", index, "zone"), f"there is no zone {checkpoint.zone!r}")
        elif checkpoint.position is not None and found.floor in sizes_m:
            width_m, height_m = sizes_m[found.floor]
            x_m, y_m = checkpoint.position
            if not (0 <= x_m <= width_m and 0 <= y_m <= height_m):
                yield Mistake(
                    ("checkpoints", index, "position"), f"lies beyond the floor of {width_m} m x {height_m} m"
                )
