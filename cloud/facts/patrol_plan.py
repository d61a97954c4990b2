"""What robots are to see, by local day: each day goes by the ledger that is valid at its end."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

import numpy as np

from cloud.facts.claims import QUARTER_MS
from cloud.facts.coverage import PoseSet, Sight
from cloud.facts.coverage_zones import Raster, plan_version, rasters_of
from cloud.facts.days import day_bounds, day_of
from cloud.facts.ledger import Floor, Ledger
from cloud.facts.ledger_patrol import Gps, Robot
from cloud.facts.visits import POINT, Disc, discs_of
from devices.positions import ACCURACY_SHIFT, accuracy_class, from_plane, gps_origin, to_plane, turned

VERSIONS_KEPT_MAX = 64  # of ledgers whose plans are kept, all sites together
INACCURATE = "gps:inaccurate"  # the map of positions that are worse than the floor's limit
_FIRST_DAY, _LAST_DAY = 1, 3_000_000  # of the calendar that days are counted in

Stretch = tuple[int, str]  # first local day, version


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One version of the ledger as the sweep needs it. Rasters are by the name that robots give their map."""

    ledger: Ledger
    version: str
    rasters: dict[str, Raster]
    discs: tuple[Disc, ...]
    nodes: dict[str, tuple[str, ...]]  # node -> places
    robots: dict[str, Robot]  # by device

    def robot_version(self, device: str) -> str:
        """Changes when what is derived from this robot's poses may; empty for what is no robot."""
        robot = self.robots.get(device)
        return "" if robot is None else f"{self.version}/{robot.radius_mm}/{robot.speed_max_mm_s}"

    def sight(self, device: str) -> Sight | None:
        """How far a robot sees; None for what is no robot."""
        robot = self.robots.get(device)
        return None if robot is None else Sight(robot.radius_mm, robot.speed_max_mm_s)

    def placed(self, poses: PoseSet) -> PoseSet:
        """Poses in the frame of their floor.

        Positions on WGS 84 are put on the first floor they lie on, those worse than its limit on the map INACCURATE.
        """
        poses = self._moved(poses)
        floors = [(floor, floor.gps) for floor in self.ledger.floors if floor.gps is not None]
        chosen = {index: origin for index, name in enumerate(poses.maps) if (origin := gps_origin(name))}
        if not floors or not chosen:
            return poses
        maps = [*poses.maps, INACCURATE, *(floor.map for floor, _ in floors)]
        placed = replace(poses, maps=tuple(maps), x_mm=poses.x_mm.copy(), y_mm=poses.y_mm.copy(), map=poses.map.copy())
        for index, origin in chosen.items():
            rows = np.flatnonzero(poses.map == index)
            lat, lon = from_plane(poses.x_mm[rows] / 1000, poses.y_mm[rows] / 1000, origin)
            for place, (floor, gps) in enumerate(floors):
                x_m, y_m = turned(*to_plane(lat, lon, (gps.lat, gps.lon)), gps.rotation)
                free = placed.map[rows] == index
                here = free & (x_m >= 0) & (y_m >= 0) & (x_m <= floor.width_m) & (y_m <= floor.height_m)
                grade = poses.flags[rows] >> ACCURACY_SHIFT
                good = (grade > 0) & (grade <= accuracy_class(gps.accuracy_m))
                placed.map[rows[here]] = np.where(good, len(poses.maps) + 1 + place, len(poses.maps))[here]
                placed.x_mm[rows[here]] = np.rint(x_m[here] * 1000).astype(np.int64)
                placed.y_mm[rows[here]] = np.rint(y_m[here] * 1000).astype(np.int64)
        return _with_distinct_maps(placed)

    def _moved(self, poses: PoseSet) -> PoseSet:
        """From the robots' maps to floors whose corner lies elsewhere than at (0, 0) of the map."""
        floors = [self.ledger.floor_of_map.get(name) for name in poses.maps]
        if not any(floor is not None and any(floor.origin) for floor in floors):
            return poses
        shift = np.array([_origin_mm(floor) for floor in floors], np.int64)[poses.map]
        return replace(poses, x_mm=poses.x_mm - shift[:, 0], y_mm=poses.y_mm - shift[:, 1])


def _origin_mm(floor: Floor | None) -> tuple[int, int]:
    return (0, 0) if floor is None else (round(floor.origin[0] * 1000), round(floor.origin[1] * 1000))


def _with_distinct_maps(poses: PoseSet) -> PoseSet:
    names = tuple(dict.fromkeys(poses.maps))
    index = np.array([names.index(name) for name in poses.maps], np.int64)
    return replace(poses, maps=names, map=index[poses.map])


def place_on_floors(
    floors: Sequence[Floor], map_id: str, x_mm: int, y_mm: int
) -> tuple[Floor, float, float] | None:  # fmt: skip
    """The floor that a pose lies on and its place in metres there, however accurate; None for an unknown map."""
    origin = gps_origin(map_id)
    if origin is None:
        found = next((floor for floor in floors if floor.map == map_id), None)
        if found is None:
            return None
        origin_x, origin_y = _origin_mm(found)
        return found, (x_mm - origin_x) / 1000, (y_mm - origin_y) / 1000
    lat, lon = from_plane(x_mm / 1000, y_mm / 1000, origin)
    for floor in floors:
        if floor.gps is not None:
            x_m, y_m = metres_on(floor.gps, float(lat), float(lon))
            if 0 <= x_m <= floor.width_m and 0 <= y_m <= floor.height_m:
                return floor, x_m, y_m
    return None


def metres_on(gps: Gps, lat: float, lon: float) -> tuple[float, float]:
    """A position in degrees in the metres of a floor."""
    x_m, y_m = turned(*to_plane(lat, lon, (gps.lat, gps.lon)), gps.rotation)
    return float(x_m), float(y_m)


def degrees_of(gps: Gps, x_m: float, y_m: float) -> tuple[float, float]:
    """(latitude, longitude) of a place on a floor: the reverse of `metres_on`."""
    east, north = turned(np.asarray(x_m), np.asarray(y_m), -gps.rotation)
    lat, lon = from_plane(east, north, (gps.lat, gps.lon))
    return float(lat), float(lon)


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The plans of a site: `plans[i]` from local day `first_days[i]` on; the first one before, too."""

    zone: ZoneInfo
    first_days: tuple[int, ...]
    plans: tuple[Plan, ...]

    @property
    def site(self) -> str:
        """Its id."""
        return self.plans[-1].ledger.site.id

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device that ever was a robot's."""
        return tuple(sorted({device for plan in self.plans for device in plan.robots}))

    def on(self, day: int) -> Plan:
        """The plan of a local day."""
        return self.plans[self.index_on(day)]

    def index_on(self, day: int) -> int:
        """Which of the plans is that of a local day."""
        return max(bisect_right(self.first_days, day) - 1, 0)

    def of_quarter(self, utc_quarter: int) -> Plan:
        """The plan of a quarter hour."""
        return self.on(day_of(utc_quarter * QUARTER_MS, self.zone)) if len(self.plans) > 1 else self.plans[0]

    def head(self, device: str) -> str:
        """What a device's derived rows were made for, as text."""
        stretches: list[Stretch] = []
        for first, plan in zip((_FIRST_DAY, *self.first_days[1:]), self.plans, strict=True):
            version = plan.robot_version(device)
            if not stretches or stretches[-1][1] != version:
                stretches.append((first, version))
        return json.dumps([self.zone.key, stretches])

    def outdated(self, device: str, head: str | None) -> list[range]:
        """Quarter hours whose rows were made for something else."""
        known = _stretches(head) if head is not None else None
        zone, now = _stretches(self.head(device))
        if known is None or known[0] != zone:
            return [range(2**62)]
        edges = sorted({_FIRST_DAY, *(first for first, _ in known[1]), *(first for first, _ in now)})
        days = [
            (begin, end)
            for begin, end in zip(edges, [*edges[1:], _LAST_DAY], strict=True)
            if _version_on(known[1], begin) != _version_on(now, begin)
        ]
        return [range(self._first_quarter(begin), self._first_quarter(end)) for begin, end in days]

    def _first_quarter(self, day: int) -> int:
        if day == _FIRST_DAY:
            return 0
        return 2**62 if day == _LAST_DAY else day_bounds(day, self.zone)[0] // QUARTER_MS


def _stretches(head: str) -> tuple[str, list[Stretch]]:
    try:
        zone, stretches = json.loads(head)
        return str(zone), [(int(first), str(version)) for first, version in stretches]
    except (ValueError, TypeError):
        return "", []  # of an older version of this software


def _version_on(stretches: Sequence[Stretch], day: int) -> str | None:
    return next((version for first, version in reversed(stretches) if first <= day), None)


@dataclass(slots=True)
class Plans:
    """Plans of ledgers, kept while the ledgers are."""

    known: dict[int, Plan] = field(default_factory=dict)  # by the identity of the ledger, which the plan holds

    def of(self, ledger: Ledger) -> Plan:
        """The plan of one ledger."""
        kept = self.known.get(id(ledger))
        if kept is None or kept.ledger is not ledger:
            if len(self.known) >= VERSIONS_KEPT_MAX:
                self.known.clear()
            kept = self.known[id(ledger)] = _plan(ledger)
        return kept

    def history(self, versions: Sequence[tuple[int, Ledger]]) -> History:
        """The plans of ledgers, each valid from a moment (Unix ms UTC) on, ascending; at least one."""
        zone = versions[-1][1].site.time_zone
        by_day = {day_of(max(from_ms, 0), zone): ledger for from_ms, ledger in versions}
        days = sorted(by_day)
        return History(zone, tuple(days), tuple(self.of(by_day[day]) for day in days))


def _plan(ledger: Ledger) -> Plan:
    nodes: dict[str, tuple[str, ...]] = {}
    for point in ledger.checkpoints:
        if point.node is not None:
            nodes[point.node] = (*nodes.get(point.node, ()), POINT + point.id)
    robots = {robot.device: robot for robot in ledger.robots}
    return Plan(ledger, plan_version(ledger), rasters_of(ledger), discs_of(ledger), nodes, robots)
