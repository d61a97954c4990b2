"""What one day of patrol looks like: paths and passes by cell, of one robot or all, in one zone or a whole floor."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
import sqlalchemy as sa
from numpy.typing import NDArray

from cloud.facts.claims import QUARTER_MS, decode_poses
from cloud.facts.coverage import drive_of, pose_set, unpacked
from cloud.facts.coverage_days import quarters_of
from cloud.facts.coverage_zones import Mask, Raster
from cloud.facts.database import poses, reading
from cloud.facts.days import day_bounds
from cloud.facts.patrol_plan import History, Plan
from devices.errors import Permanent
from devices.reading import Int64s

PASSES_MAX = 255  # more are told as this
PATH_M = 0.1  # how far a path may be from the one driven, to begin with


class NothingToShow(Permanent):
    """There is no such floor, zone or robot, or the floor has no zones on that day."""


@dataclass(frozen=True, slots=True, eq=False)
class PatrolPicture:
    """A cutting of the floor's grid: row 0 at the bottom, its lower left cell at (row, column) of the floor."""

    plan: Plan
    raster: Raster
    row: int
    column: int
    required: Mask  # cells that are to be seen
    passes: NDArray[np.uint8]  # robots times quarter hours in which each was seen
    paths: dict[str, list[Int64s]]  # by robot id: lines of (x, y) in mm, one for each unbroken drive


def patrol_picture(
    engine: sa.Engine, history: History, day: int, now_ms: int, *, floor: str | None = None, zone: str | None = None,
    robot: str | None = None,
) -> PatrolPicture:  # fmt: skip
    """The picture of a local day up to now. A zone names its floor; without either the first floor with zones.

    Raises NothingToShow.
    """
    plan = history.on(day)
    raster, bits = _chosen(plan, floor, zone)
    devices = [one.device for one in plan.ledger.robots if robot in {None, one.id}]
    if robot is not None and not devices:
        raise NothingToShow(f"there is no robot {robot!r}")
    name = next(one for one, candidate in plan.rasters.items() if candidate is raster)
    begin, end = day_bounds(day, history.zone)
    wanted = range(begin // QUARTER_MS, -(-min(end, now_ms) // QUARTER_MS))
    inside = raster.zones & bits != 0
    total = np.zeros(raster.zones.shape, np.int64)
    robots = quarters_of(engine, history, wanted, now_ms)
    for device in devices:
        for cells in robots.get(device, {}).values():
            if name in cells:
                total += unpacked(cells[name], raster)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        raise NothingToShow("the zone is smaller than a cell")
    cut = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    names = {one.device: one.id for one in plan.ledger.robots}
    paths = {names[one]: list(_path(engine, history, one, wanted, name)) for one in devices}
    paths = {one: kept for one, lines in paths.items() if (kept := _within(lines, raster, bits, whole=zone is None))}
    required = np.asarray(inside & raster.required())
    return PatrolPicture(
        plan, raster, int(rows[0]), int(columns[0]), required[cut],
        (np.minimum(total, PASSES_MAX) * inside)[cut].astype(np.uint8), paths,
    )  # fmt: skip


def simplified(paths: "dict[str, list[Int64s]]", tolerance_m: float) -> "dict[str, list[Int64s]]":
    """The same lines with fewer corners, no farther off than the tolerance (Douglas-Peucker)."""
    found = {}
    for robot, lines in paths.items():
        shorter = [shapely.simplify(shapely.LineString(line), tolerance_m * 1000, preserve_topology=False)
                   for line in lines if len(line) > 1]  # fmt: skip
        found[robot] = [np.rint(shapely.get_coordinates(line)).astype(np.int64) for line in shorter]
    return found


def _chosen(plan: Plan, floor: str | None, zone: str | None) -> tuple[Raster, int]:
    for raster in plan.rasters.values():
        if zone is not None and zone in raster.zone_ids and floor in {None, raster.floor}:
            return raster, 1 << raster.zone_ids.index(zone)
        if zone is None and floor in {None, raster.floor}:
            return raster, -1
    raise NothingToShow(
        f"there is no {'zone ' + repr(zone) if zone else 'floor ' + repr(floor)} with zones on that day"
    )


def _path(engine: sa.Engine, history: History, device: str, wanted: range, map_id: str) -> "list[Int64s]":
    """Unbroken drives of a robot on one map, as (x, y) in mm."""
    plan = history.of_quarter(wanted.start)
    sight = plan.sight(device)
    with reading(engine) as connection:
        bodies = connection.execute(
            sa.select(poses.c.body).where(
                poses.c.site == history.site, poses.c.device == device, poses.c.utc_quarter >= wanted.start - 1,
                poses.c.utc_quarter < wanted.stop,
            )
        ).scalars().all()  # fmt: skip
    if sight is None or not bodies:
        return []
    found = plan.placed(pose_set(decode_poses(body) for body in bodies))
    drive = drive_of(found, wanted.start * QUARTER_MS, wanted.stop * QUARTER_MS, plan.rasters, sight)
    if map_id not in found.maps:
        return []
    legs = drive.legs_on(found.maps.index(map_id))
    return [
        np.column_stack([column[np.append(part, part[-1] + 1)] for column in (found.x_mm, found.y_mm)])
        for part in np.split(legs, np.flatnonzero(np.diff(legs) != 1) + 1)
        if len(part)
    ]


def _within(lines: Sequence[Int64s], raster: Raster, bits: int, *, whole: bool) -> "list[Int64s]":
    """The parts of lines whose corners lie in the zones `bits`; everything when the whole floor is shown."""
    if whole:
        return list(lines)
    found = []
    for line in lines:
        inside = raster.zones_at(line[:, 0], line[:, 1]) & bits != 0
        edges = np.flatnonzero(np.diff(inside)) + 1
        found += [part for part, kept in zip(np.split(line, edges), np.split(inside, edges), strict=True) if kept[0]]
    return [part for part in found if len(part) > 1]
