"""The ledger: what a site consists of. One YAML document, checked as a whole.

Lengths are metres in the floor's own frame (origin lower left, y upwards). Ids are unique per kind.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import shapely
from pydantic import AfterValidator, Field

from devices.document import Mistake, Path_, Section, load_document, parse_document
from devices.point import Id
from devices.states import SpaceState

ZONES_PER_FLOOR_MAX = 63  # a cell knows its zones as bits of an int64
FLOOR_M_MAX = 2_000.0  # bounds the raster: 16 M cells of 0.5 m
ROBOT_RADIUS_M_MAX = 20.0  # with the next one keeps the sweep's products within int64
ROBOT_SPEED_M_S_MAX = 20.0
THINGS_MAX = 50_000
_HOURS = re.compile(r"([01]\d|2[0-4]):(00|15|30|45)-([01]\d|2[0-4]):(00|15|30|45)")
_DEFAULT_TARGETS = {"equipment.intact_rate": 0.98, "robot.coverage": 0.60}

Metres = Annotated[float, Field(ge=-FLOOR_M_MAX, le=FLOOR_M_MAX)]
PointM = tuple[Metres, Metres]
Ring = Annotated[tuple[PointM, ...], Field(min_length=4, max_length=2_000)]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"{name!r} is not an IANA time zone such as Asia/Shanghai") from error
    return name


def _cell(size_m: float) -> float:
    if size_m not in {0.5, 1.0}:
        raise ValueError("cells are 0.5 m or 1.0 m wide")
    return size_m


def _hours(text: str) -> str:
    match = _HOURS.fullmatch(text)
    if match is None or not minutes_of_hours(text)[0] < minutes_of_hours(text)[1] <= 24 * 60:
        raise ValueError("expected hours of a day on quarter hours, like 08:00-20:00 or 00:00-24:00")
    return text


def minutes_of_hours(text: str) -> tuple[int, int]:
    """`08:00-20:15` -> (480, 1215), minutes of the local day."""
    begin, end = ((int(part[:2]) * 60 + int(part[3:])) for part in text.split("-"))
    return begin, end


class Name(Section):
    """A name in both languages."""

    en: str = Field(min_length=1, max_length=200)
    zh: str = Field(min_length=1, max_length=200, alias="zh-CN")

    def in_languages(self) -> dict[str, str]:
        """As the API shows it."""
        return {"en": self.en, "zh-CN": self.zh}


class Site(Section):
    """The property itself; days and weeks are those of `zone`."""

    id: Id
    name: Name
    type: str = "commercial"
    zone: Annotated[str, AfterValidator(_zone)]
    commissioned: date | None = None

    @property
    def time_zone(self) -> ZoneInfo:
        """`zone` as the standard library knows it."""
        return ZoneInfo(self.zone)


class Floor(Section):
    """A plan. `map` is the name that robots give it."""

    id: Id
    name: Name
    map: str = Field(min_length=1, max_length=200)
    width_m: float = Field(gt=0, le=FLOOR_M_MAX)
    height_m: float = Field(gt=0, le=FLOOR_M_MAX)
    walls: tuple[Annotated[tuple[PointM, ...], Field(max_length=10_000)], ...] = Field(default=(), max_length=10_000)
    cell_m: Annotated[float, AfterValidator(_cell)] = 0.5  # 1 m outdoors


class Equipment(Section):
    """A machine whose state is that of one device, within [commissioned, retired) in local days."""

    id: Id
    name: Name
    code: str = Field(max_length=100)
    class_: str = Field(alias="class", max_length=100)
    criticality: Literal["A", "B", "C"]
    device: Id
    floor: Id | None = None
    position: PointM | None = None
    commissioned: date | None = None
    retired: date | None = None


class ParkingGroup(Section):
    """Spaces of one kind of vehicle on one floor."""

    id: Id
    name: Name
    floor: Id
    vehicle: str = Field(default="car", max_length=50)


class Space(Section):
    """A parking space; without a device it is never known. `rect` is x, y, width, height."""

    id: Id
    group: Id
    device: Id | None = None
    rect: tuple[Metres, Metres, Metres, Metres]
    state: Literal["closed", "reserved"] | None = None

    @property
    def ledger_state(self) -> SpaceState | None:
        """What the ledger says over the sensor's head."""
        return SpaceState(self.state) if self.state else None


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
    required_hours: tuple[Annotated[str, AfterValidator(_hours)], ...] = ("00:00-24:00",)
    open_to: tuple[Id, ...] = ()  # zones that are seen from here: no wall between
    geometry: Polygon


class Ledger(Section):
    """Everything about one site. `targets` are ratios by indicator id."""

    site: Site
    floors: tuple[Floor, ...] = Field(default=(), max_length=500)
    equipment: tuple[Equipment, ...] = Field(default=(), max_length=THINGS_MAX)
    parking: tuple[ParkingGroup, ...] = Field(default=(), max_length=1_000)
    spaces: tuple[Space, ...] = Field(default=(), max_length=THINGS_MAX)
    robots: tuple[Robot, ...] = Field(default=(), max_length=1_000)
    zones: tuple[Zone, ...] = Field(default=(), max_length=5_000)
    targets: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)

    def target(self, indicator: str) -> Fraction | None:
        """The target of an indicator, exact as written (0.98 is 49/50)."""
        value = self.targets.get(indicator, _DEFAULT_TARGETS.get(indicator))
        return None if value is None else Fraction(str(value))

    @cached_property
    def floor_of_map(self) -> dict[str, Floor]:
        """Floors by the name that robots give them."""
        return {floor.map: floor for floor in self.floors}

    @property
    def devices(self) -> frozenset[str]:
        """Every device the ledger names."""
        named: tuple[Sequence[Equipment | Space | Robot], ...] = (self.equipment, self.spaces, self.robots)
        return frozenset(one.device for things in named for one in things if one.device is not None)

    def mistakes(self) -> Iterable[Mistake]:
        """What single values cannot show."""
        kinds: dict[str, Sequence[Floor | Equipment | ParkingGroup | Space | Robot | Zone]] = {
            "floors": self.floors, "equipment": self.equipment, "parking": self.parking,
            "spaces": self.spaces, "robots": self.robots, "zones": self.zones,
        }  # fmt: skip
        for kind, things in kinds.items():
            yield from _twice(kind, "id", [one.id for one in things])
        yield from _twice("floors", "map", [floor.map for floor in self.floors])
        yield from _twice("robots", "device", [one.device for one in self.robots])
        yield from _twice("spaces", "device", [one.device for one in self.spaces if one.device])
        yield from self._references()
        yield from self._lifetimes()
        yield from self._zone_mistakes()

    def _references(self) -> Iterable[Mistake]:
        floors = {floor.id for floor in self.floors}
        groups = {group.id for group in self.parking}
        zones = {zone.id for zone in self.zones}
        for index, equipment in enumerate(self.equipment):
            yield from _unknown(("equipment", index, "floor"), "floor", equipment.floor, floors)
        for index, group in enumerate(self.parking):
            yield from _unknown(("parking", index, "floor"), "floor", group.floor, floors)
        for index, space in enumerate(self.spaces):
            yield from _unknown(("spaces", index, "group"), "parking group", space.group, groups)
        for index, zone in enumerate(self.zones):
            yield from _unknown(("zones", index, "floor"), "floor", zone.floor, floors)
            for place, other in enumerate(zone.open_to):
                yield from _unknown(("zones", index, "open_to", place), "zone", other, zones)

    def _lifetimes(self) -> Iterable[Mistake]:
        """An equipment takes its state from one device, and a device gives it to one equipment at a time."""
        lives: dict[str, list[tuple[date, date, str]]] = {}
        for index, one in enumerate(self.equipment):
            begin, end = one.commissioned or date.min, one.retired or date.max
            if begin > end:
                yield Mistake(("equipment", index, "retired"), "retired before it was commissioned")
            for other_begin, other_end, other in lives.setdefault(one.device, []):
                if begin < other_end and other_begin < end:
                    yield Mistake(("equipment", index, "device"), f"{one.device!r} already gives {other!r} its state")
            lives[one.device].append((begin, end, one.id))

    def _zone_mistakes(self) -> Iterable[Mistake]:
        floors = {floor.id: floor for floor in self.floors}
        for floor, count in Counter(zone.floor for zone in self.zones).items():
            if count > ZONES_PER_FLOOR_MAX:
                yield Mistake(
                    ("zones",), f"floor {floor!r} has {count} zones, at most {ZONES_PER_FLOOR_MAX} are possible"
                )
        for index, zone in enumerate(self.zones):
            place = ("zones", index, "geometry", "coordinates")
            polygon = shapely.Polygon(zone.geometry.coordinates[0], zone.geometry.coordinates[1:])
            if not polygon.is_valid:
                yield Mistake(place, f"not a polygon: {shapely.is_valid_reason(polygon)}")
            elif zone.floor in floors:
                floor_m = floors[zone.floor]
                if not shapely.box(0, 0, floor_m.width_m, floor_m.height_m).covers(polygon):
                    yield Mistake(place, f"reaches beyond the floor of {floor_m.width_m} m x {floor_m.height_m} m")


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
