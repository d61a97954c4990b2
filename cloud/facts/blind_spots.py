"""What no robot saw: cells and points that were never visited, or longer ago than their interval (R2-32, R1-2).

Looks back over whole quarter hours, at most LOOK_BACK_DAYS; what was not seen in them counts as never seen.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import shapely
import sqlalchemy as sa
from numpy.typing import NDArray

from cloud.facts.claims import QUARTER_MS
from cloud.facts.coverage import unpacked
from cloud.facts.coverage_days import Quarters, quarters_of
from cloud.facts.coverage_zones import Mask, Raster
from cloud.facts.ledger_patrol import Zone
from cloud.facts.patrol_plan import History, Plan

LOOK_BACK_DAYS = 31
DEFAULT_INTERVAL_MIN = 24 * 60  # of cells in a zone that has no interval
PATCHES_MAX = 200  # the greatest ones of a zone are told one by one
NEVER = 0
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Patch:
    """Neighbouring cells of a zone that are all unseen, or all stale. The polygon is in metres of the floor."""

    zone: str
    floor: str
    cells: int
    area_m2: float
    seen_ms: int | None  # the end of the last quarter hour in which the cell that waited longest was seen
    weight: int
    polygon: "shapely.Polygon"


def last_seen(engine: sa.Engine, history: History, now_ms: int) -> dict[str, NDArray[np.int64]]:
    """The end of the last quarter hour (Unix ms) in which each cell of today's plan was seen, by map; 0 for never.

    Quarters of days on which the floor had another grid say nothing about today's cells.
    """
    running = now_ms // QUARTER_MS
    first = running - LOOK_BACK_DAYS * _DAY_MS // QUARTER_MS
    plan = history.of_quarter(running)
    robots = quarters_of(engine, history, range(first, running + 1), now_ms)
    found = {name: np.zeros(raster.zones.shape, np.int64) for name, raster in plan.rasters.items()}
    for quarter in range(first, running + 1):
        then, end_ms = history.of_quarter(quarter).rasters, min((quarter + 1) * QUARTER_MS, now_ms)
        for name, bits in _cells_of(robots.values(), quarter):
            if name in found and then[name].is_grid_of(plan.rasters[name]):
                found[name][unpacked(bits, plan.rasters[name])] = end_ms
    return found


def _cells_of(robots: Iterable[Quarters], quarter: int) -> Iterable[tuple[str, bytes]]:
    for quarters in robots:
        yield from quarters.get(quarter, {}).items()


def stale_patches(plan: Plan, seen: Mapping[str, NDArray[np.int64]], now_ms: int) -> list[Patch]:
    """Patches of unseen and of stale cells, the heaviest and oldest first."""
    zones = {zone.id: zone for zone in plan.ledger.zones if zone.requires_patrol}
    found: list[Patch] = []
    for name, raster in plan.rasters.items():
        for index, zone_id in enumerate(raster.zone_ids):
            if zone_id in zones:
                zone = zones[zone_id]
                mine, at = raster.of_zone(index), seen[name]
                never = mine & (at == NEVER)
                interval_ms = (zone.max_interval_min or DEFAULT_INTERVAL_MIN) * 60_000
                stale = mine & ~never & (now_ms - at > interval_ms)
                for mask, oldest in ((never, False), (stale, True)):
                    patches = sorted(_patches(mask, raster, zone, at if oldest else None), key=_greatest)
                    found += patches[:PATCHES_MAX]
    return sorted(found, key=rank)


def rank(patch: Patch) -> tuple[int, int, float]:
    """By weight, then by age (never is oldest), then by size."""
    return -patch.weight, patch.seen_ms or NEVER, -patch.area_m2


def _greatest(patch: Patch) -> float:
    return -patch.area_m2


def _patches(mask: Mask, raster: Raster, zone: Zone, seen: NDArray[np.int64] | None) -> Iterable[Patch]:
    """Cells that touch along a side are one patch."""
    for rows, columns in _groups(mask):
        cell_m = raster.cell_mm / 1000
        boxes = [shapely.box(begin * cell_m, row * cell_m, end * cell_m, (row + 1) * cell_m)
                 for row, begin, end in _runs(rows, columns)]  # fmt: skip
        polygon = shapely.union_all(boxes)
        oldest = None if seen is None else int(seen[rows, columns].min())
        yield Patch(zone.id, raster.floor, len(rows), len(rows) * cell_m**2, oldest, zone.weight, polygon)


def _runs(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Iterable[tuple[int, int, int]]:
    """(row, first column, one after the last) of neighbours within a row; cells come sorted by row and column."""
    breaks = np.flatnonzero((np.diff(rows) != 0) | (np.diff(columns) != 1))
    begins, ends = np.append(0, breaks + 1), np.append(breaks, len(rows) - 1)
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        yield int(rows[begin]), int(columns[begin]), int(columns[end]) + 1


def _groups(mask: Mask) -> Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows and columns of the cells of each connected part of a mask (side by side), by runs of rows that overlap."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return
    runs = list(_runs(rows, columns))
    parent = list(range(len(runs)))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    before = 0
    for index, (row, begin, end) in enumerate(runs):
        while runs[before][0] < row - 1 or (runs[before][0] == row - 1 and runs[before][2] <= begin):
            before += 1
        other = before
        while other < index and runs[other][0] == row - 1 and runs[other][1] < end:
            parent[root(index)] = root(other)
            other += 1
    labels = np.repeat([root(index) for index in range(len(runs))], [end - begin for _, begin, end in runs])
    order = np.argsort(labels, kind="stable")
    bounds = np.flatnonzero(np.diff(labels[order])) + 1
    for chosen in np.split(order, bounds):
        yield rows[chosen], columns[chosen]
