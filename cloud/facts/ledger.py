"""The ledger: what a site consists of. One YAML document, checked as a whole.

Lengths are metres in the floor's own frame (origin lower left, y upwards). Ids are unique per kind.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Annotated, Protocol
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from cloud.facts.ledger_duty import Building, Calendar, Redundancy, duty_mistakes
from cloud.facts.ledger_equipment import PATROL_ROBOT, Equipment, equipment_mistakes
from cloud.facts.ledger_parking import ParkingGroup, Space, parking_mistakes
from cloud.facts.ledger_patrol import Checkpoint, Gps, NoGo, Robot, Zone, grid_mistakes, patrol_mistakes, zone_mistakes
from cloud.facts.ledger_values import FLOOR_M_MAX, Name, PointM, known_zone
from devices.document import Mistake, Path_, Section, load_document, parse_document
from devices.point import Id

THINGS_MAX = 50_000
_DEFAULT_TARGETS = {"equipment.intact_rate": 0.98, "robot.coverage": 0.60}


def _cell(size_m: float) -> float:
    if size_m not in {0.5, 1.0}:
        raise ValueError("cells are 0.5 m or 1.0 m wide")
    return size_m


class Site(Section):
    """The property itself; days and weeks are those of `zone`."""

    id: Id
    name: Name
    type: str = "commercial"
    zone: Annotated[str, AfterValidator(known_zone)]
    commissioned: date | None = None
    calendar: Id | None = None  # required hours of all equipment that has no other; none: always
    group: Id | None = None  # of sites that are pooled together, such as a region
    company: Id | None = None

    @property
    def time_zone(self) -> ZoneInfo:
        """`zone` as the standard library knows it."""
        return ZoneInfo(self.zone)


class Floor(Section):
    """A plan, its lower left corner at (0, 0). `map` is the name that robots give it."""

    id: Id
    name: Name
    map: str = Field(min_length=1, max_length=200)
    width_m: float = Field(gt=0, le=FLOOR_M_MAX)
    height_m: float = Field(gt=0, le=FLOOR_M_MAX)
    walls: tuple[Annotated[tuple[PointM, ...], Field(max_length=10_000)], ...] = Field(default=(), max_length=10_000)
    cell_m: Annotated[float, AfterValidator(_cell)] = 0.5  # 1 m outdoors
    origin: PointM = (0.0, 0.0)  # of the floor's lower left corner on the robots' map
    gps: Gps | None = None  # outdoors, where robots tell their position on WGS 84
    building: Id | None = None


class _Named(Protocol):
    @property
    def id(self) -> str: ...


class Ledger(Section):
    """Everything about one site. `targets` are ratios by indicator id."""

    site: Site
    buildings: tuple[Building, ...] = Field(default=(), max_length=500)
    floors: tuple[Floor, ...] = Field(default=(), max_length=500)
    calendars: tuple[Calendar, ...] = Field(default=(), max_length=500)
    class_calendars: dict[str, Id] = Field(default_factory=dict, max_length=500)  # by class of equipment
    redundancy: tuple[Redundancy, ...] = Field(default=(), max_length=5_000)
    equipment: tuple[Equipment, ...] = Field(default=(), max_length=THINGS_MAX)
    parking: tuple[ParkingGroup, ...] = Field(default=(), max_length=1_000)
    spaces: tuple[Space, ...] = Field(default=(), max_length=THINGS_MAX)
    robots: tuple[Robot, ...] = Field(default=(), max_length=1_000)
    zones: tuple[Zone, ...] = Field(default=(), max_length=5_000)
    no_go: tuple[NoGo, ...] = Field(default=(), max_length=5_000)
    checkpoints: tuple[Checkpoint, ...] = Field(default=(), max_length=5_000)
    targets: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)

    def target(self, indicator: str) -> Fraction | None:
        """The target of an indicator, exact as written (0.98 is 49/50)."""
        value = self.targets.get(indicator, _DEFAULT_TARGETS.get(indicator))
        return None if value is None else Fraction(str(value))

    @cached_property
    def floor_of_map(self) -> dict[str, Floor]:
        """Floors by the name that robots give them."""
        return {floor.map: floor for floor in self.floors}

    @cached_property
    def machines(self) -> tuple[Equipment, ...]:
        """The equipment and the robots, which are equipment of class patrol-robot (domain.md 3.1).

        A robot that stands among the equipment, by its id or its device, is what it is said to be there.
        """
        listed = {one.id for one in self.equipment} | {one.device for one in self.equipment}
        robots = (one for one in self.robots if one.id not in listed and one.device not in listed)
        return (*self.equipment, *map(robot_as_equipment, robots))

    @cached_property
    def sensed_spaces(self) -> tuple[Space, ...]:
        """The spaces that are counted one by one: all but those of groups with counted barriers."""
        counted = {group.id for group in self.parking if group.counted is not None}
        return tuple(space for space in self.spaces if space.group not in counted)

    @property
    def devices(self) -> frozenset[str]:
        """Every device the ledger names."""
        named: tuple[Sequence[Equipment | Space | Robot], ...] = (self.equipment, self.spaces, self.robots)
        barriers = [one.device for group in self.parking if group.counted for one in group.counted.barriers]
        return frozenset([*barriers, *(one.device for things in named for one in things if one.device)])

    def mistakes(self) -> Iterable[Mistake]:
        """What single values cannot show."""
        kinds: dict[str, Sequence[_Named]] = {
            "buildings": self.buildings, "calendars": self.calendars, "redundancy": self.redundancy,
            "floors": self.floors, "equipment": self.equipment, "parking": self.parking,
            "spaces": self.spaces, "robots": self.robots, "zones": self.zones, "no_go": self.no_go,
            "checkpoints": self.checkpoints,
        }  # fmt: skip
        for kind, things in kinds.items():
            yield from _twice(kind, "id", [one.id for one in things])
        yield from _twice("floors", "map", [floor.map for floor in self.floors])
        yield from _twice("robots", "device", [one.device for one in self.robots])
        yield from parking_mistakes(self.parking, self.spaces)
        yield from self._references()
        yield from equipment_mistakes(self.equipment)
        yield from duty_mistakes(
            self.equipment, self.calendars, self.redundancy,
            [(("site", "calendar"), self.site.calendar),
             *((("class_calendars", name), calendar) for name, calendar in self.class_calendars.items())],
        )  # fmt: skip
        sizes_m = {floor.id: (floor.width_m, floor.height_m) for floor in self.floors}
        yield from zone_mistakes(self.zones, sizes_m)
        cells_mm = {floor.id: round(floor.cell_m * 1000) for floor in self.floors}
        yield from grid_mistakes(self.zones, self.no_go, cells_mm, sizes_m)
        yield from patrol_mistakes(self.zones, self.robots, self.no_go, self.checkpoints, sizes_m)

    def _references(self) -> Iterable[Mistake]:
        floors, buildings = {floor.id for floor in self.floors}, {building.id for building in self.buildings}
        groups = {group.id for group in self.parking}
        zones = {zone.id for zone in self.zones}
        for index, floor in enumerate(self.floors):
            yield from _unknown(("floors", index, "building"), "building", floor.building, buildings)
        for index, equipment in enumerate(self.equipment):
            yield from _unknown(("equipment", index, "floor"), "floor", equipment.floor, floors)
            yield from _unknown(("equipment", index, "building"), "building", equipment.building, buildings)
            yield from _unknown(("equipment", index, "zone"), "zone", equipment.zone, zones)
        for index, group in enumerate(self.parking):
            yield from _unknown(("parking", index, "floor"), "floor", group.floor, floors)
        for index, space in enumerate(self.spaces):
            yield from _unknown(("spaces", index, "group"), "parking group", space.group, groups)
        for index, zone in enumerate(self.zones):
            yield from _unknown(("zones", index, "floor"), "floor", zone.floor, floors)
            for place, other in enumerate(zone.open_to):
                yield from _unknown(("zones", index, "open_to", place), "zone", other, zones)


def robot_as_equipment(robot: Robot) -> Equipment:
    """A robot as the intact rate sees it."""
    return Equipment.model_construct(
        id=robot.id, name=robot.name, code=robot.id, class_=PATROL_ROBOT, criticality=robot.criticality,
        device=robot.device,
    )  # fmt: skip


def load_ledger(path: Path) -> Ledger:
    """Read and check a file. Raises ConfigurationError with every problem found."""
    return load_document(path, Ledger)


def parse_ledger(text: str, file_name: str) -> Ledger:
    """Check a document's text. Raises ConfigurationError with every problem found."""
    return parse_document(text, file_name, Ledger)


def _twice(kind: str, key: str, names: Sequence[str]) -> Iterable[Mistake]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield Mistake((kind, index, key), f"{name!r} stands here twice")
        seen.add(name)


def _unknown(place: Path_, what: str, name: str | None, known: Iterable[str]) -> Iterable[Mistake]:
    if name is not None and name not in known:
        yield Mistake(place, f"there is no {what} {name!r}")
