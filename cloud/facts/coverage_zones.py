"""Zones -> rasters: which zones the centre of each cell lies in. shapely is asked once per version of the zones."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray

from cloud.facts.ledger import Floor, Ledger
from cloud.facts.ledger_patrol import NoGo, Polygon, Zone
from devices.reading import Int64s

Mask = NDArray[np.bool_]
SMALLEST_CELL_MM = 500  # what all areas are told in, whatever the grid of a floor


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """A floor in square cells, row 0 at the bottom; cell (row, column) has its centre half a cell further.

    Bit i of `zones[row, column]` is set when that centre lies in zone i; `open_to[i]` are the bits seen from zone i.
    """

    floor: str
    cell_mm: int
    zones: Int64s
    zone_ids: tuple[str, ...]
    open_to: tuple[int, ...]
    requiring: int  # bits of the zones that require patrol
    edges: "Edges | None" = None  # what decides in cells that an outline runs through; None: their centre does

    @property
    def quarters_m2(self) -> int:
        """The area of a cell in quarter square metres: 1 of a cell of 0.5 m, 4 of one of 1 m."""
        return (self.cell_mm // SMALLEST_CELL_MM) ** 2

    @property
    def rows(self) -> int:
        """Cells from bottom to top."""
        return int(self.zones.shape[0])

    @property
    def columns(self) -> int:
        """Cells from left to right."""
        return int(self.zones.shape[1])

    def is_grid_of(self, other: "Raster") -> bool:
        """Whether the cells are the same ones."""
        return self.cell_mm == other.cell_mm and self.zones.shape == other.zones.shape

    def required(self, bits: int | None = None) -> Mask:
        """Cells of zones that require patrol (of these zones among them)."""
        chosen = self.requiring if bits is None else self.requiring & bits
        return np.asarray(self.zones & chosen != 0, np.bool_)

    def of_zone(self, index: int) -> Mask:
        """Cells of one zone."""
        return np.asarray(self.zones >> index & 1 != 0, np.bool_)

    def zones_at(self, x_mm: Int64s, y_mm: Int64s) -> Int64s:
        """Bits of the zones that places lie in: by their cell, exactly where an outline runs through it."""
        column, row = x_mm // self.cell_mm, y_mm // self.cell_mm
        inside = (column >= 0) & (column < self.columns) & (row >= 0) & (row < self.rows)
        column, row = np.where(inside, column, 0), np.where(inside, row, 0)
        found = np.where(inside, self.zones[row, column], 0)
        if self.edges is not None:
            near = np.flatnonzero(inside & self.edges.cells[row, column])
            if len(near):
                found[near] = self.edges.zones_at(x_mm[near], y_mm[near])
        return found

    def seen_from(self, bits: int) -> int:
        """Bits of the zones that are seen from a place in zones `bits`."""
        seen = 0
        for index, open_to in enumerate(self.open_to):
            if bits >> index & 1:
                seen |= open_to
        return seen


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Outlines of zones and of the areas left out of them, in whole millimetres: rings as (from, to) columns."""

    cells: Mask  # those that an outline runs through
    zones: tuple[tuple[Int64s, Int64s, Int64s, Int64s], ...]  # of each zone: x, y of where its edges begin and end
    without: tuple[Int64s, Int64s, Int64s, Int64s]  # of no-go areas, each counted for itself

    def zones_at(self, x_mm: Int64s, y_mm: Int64s) -> Int64s:
        """Bits of the zones that places lie in: an odd number of edges lies to their right. Exact in int64."""
        found = np.zeros(len(x_mm), np.int64)
        for index, edges in enumerate(self.zones):
            found |= np.where(_is_within(edges, x_mm, y_mm), np.int64(1) << index, np.int64(0))
        return np.where(_is_within(self.without, x_mm, y_mm), 0, found)


def _is_within(edges: tuple[Int64s, Int64s, Int64s, Int64s], x_mm: Int64s, y_mm: Int64s) -> Mask:
    odd = np.zeros(len(x_mm), np.bool_)
    for begin_x, begin_y, end_x, end_y in zip(*(column.tolist() for column in edges), strict=True):
        if begin_y == end_y:
            continue
        crosses = (begin_y > y_mm) != (end_y > y_mm)
        side = (x_mm - begin_x) * (end_y - begin_y) - (end_x - begin_x) * (y_mm - begin_y)
        odd ^= crosses & ((side < 0) if end_y > begin_y else (side > 0))
    return odd


FORMAT = 3  # of what is derived from poses; another number makes all of it be derived again


def plan_version(ledger: Ledger) -> str:
    """Changes when what is derived from poses may: with floors, zones, no-go areas and checkpoints."""
    floors = [floor.model_dump(mode="json", exclude={"name", "walls"}) for floor in ledger.floors]
    zones = [zone.model_dump(mode="json", include={"id", "floor", "requires_patrol", "open_to", "geometry"})
             for zone in ledger.zones]  # fmt: skip
    no_go = [area.model_dump(mode="json", exclude={"name"}) for area in ledger.no_go]
    points = [point.model_dump(mode="json", include={"id", "zone", "position", "node", "radius_m"})
              for point in ledger.checkpoints]  # fmt: skip
    return hashlib.sha256(repr((FORMAT, floors, zones, no_go, points)).encode()).hexdigest()[:16]


def rasters_of(ledger: Ledger) -> dict[str, Raster]:
    """The raster of each floor by the name that robots give it; floors without zones are left out."""
    found = {}
    for floor in ledger.floors:
        zones = tuple(zone for zone in ledger.zones if zone.floor == floor.id)
        if zones:
            found[floor.map] = _raster(floor, zones, tuple(area for area in ledger.no_go if area.floor == floor.id))
    return found


@lru_cache(maxsize=256)
def _raster(floor: Floor, zones: tuple[Zone, ...], no_go: tuple[NoGo, ...]) -> Raster:
    cell_mm = round(floor.cell_m * 1000)
    columns, rows = (-(-round(size_m * 1000) // cell_mm) for size_m in (floor.width_m, floor.height_m))
    centre_x, centre_y = np.meshgrid(_centres_m(columns, cell_mm), _centres_m(rows, cell_mm))
    cells = np.zeros((rows, columns), np.int64)
    for index, zone in enumerate(zones):
        cells |= np.where(_contains(zone.geometry, centre_x, centre_y), np.int64(1) << index, np.int64(0))
    for area in no_go:
        cells[_contains(area.geometry, centre_x, centre_y)] = 0
    cells.flags.writeable = False
    return Raster(
        floor=floor.id,
        cell_mm=cell_mm,
        zones=cells,
        zone_ids=tuple(zone.id for zone in zones),
        open_to=tuple(_open_to(zones, index) for index in range(len(zones))),
        requiring=sum(1 << index for index, zone in enumerate(zones) if zone.requires_patrol),
        edges=_edges(zones, no_go, (rows, columns), cell_mm),
    )


def _contains(area: Polygon, x_m: NDArray[np.float64], y_m: NDArray[np.float64]) -> Mask:
    polygon = shapely.Polygon(area.coordinates[0], area.coordinates[1:])
    shapely.prepare(polygon)
    return np.asarray(shapely.contains_xy(polygon, x_m, y_m), np.bool_)


def _edges(zones: Sequence[Zone], no_go: Sequence[NoGo], shape: tuple[int, int], cell_mm: int) -> Edges:
    columns = [_columns([zone.geometry]) for zone in zones]
    # Of overlapping no-go areas an even number of edges would lie to the right: unite them first.
    united = shapely.union_all(
        [shapely.Polygon(one.geometry.coordinates[0], one.geometry.coordinates[1:]) for one in no_go]
    )
    without = _columns(
        [(part.exterior.coords, *(ring.coords for ring in part.interiors))
         for part in shapely.get_parts(united).tolist() if isinstance(part, shapely.Polygon)]
    )  # fmt: skip
    cells = np.zeros(shape, np.bool_)
    for begin_x, begin_y, end_x, end_y in (*columns, without):
        for x_0, y_0, x_1, y_1 in zip(*(one.tolist() for one in (begin_x, begin_y, end_x, end_y)), strict=True):
            # every cell of the rows that the edge passes, as far as it gets in them
            for row in range(min(y_0, y_1) // cell_mm, max(y_0, y_1) // cell_mm + 1):
                low, high = _reach((x_0, y_0, x_1, y_1), row * cell_mm, (row + 1) * cell_mm)
                if 0 <= row < shape[0]:
                    cells[row, max(low // cell_mm, 0) : high // cell_mm + 1] = True
    return Edges(cells, tuple(columns), without)


def _reach(edge: tuple[int, int, int, int], low_y: int, high_y: int) -> tuple[int, int]:
    """The x range, a millimetre wider, of the part of an edge between two heights."""
    x_0, y_0, x_1, y_1 = edge
    if y_0 == y_1:
        return min(x_0, x_1) - 1, max(x_0, x_1) + 1
    ends = [
        x_0 + (x_1 - x_0) * (min(max(y, min(y_0, y_1)), max(y_0, y_1)) - y_0) // (y_1 - y_0) for y in (low_y, high_y)
    ]
    return min(ends) - 1, max(ends) + 1


def _columns(
    areas: "Iterable[Polygon | Iterable[Iterable[tuple[float, float]]]]",
) -> tuple[Int64s, Int64s, Int64s, Int64s]:
    """Edges of all rings of polygons in whole millimetres: x and y of where they begin, x and y of where they end."""
    rows = []
    for area in areas:
        for ring in area.coordinates if isinstance(area, Polygon) else area:
            corners = [(round(x_m * 1000), round(y_m * 1000)) for x_m, y_m in ring]
            rows += [(*begin, *end) for begin, end in pairwise([*corners, corners[0]])]
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return columns[0], columns[1], columns[2], columns[3]


def _centres_m(count: int, cell_mm: int) -> NDArray[np.float64]:
    return (np.arange(count) * cell_mm + cell_mm // 2) / 1000


def _open_to(zones: Sequence[Zone], index: int) -> int:
    """Open is mutual: there is no wall on either side."""
    one = zones[index]
    return sum(
        1 << place
        for place, other in enumerate(zones)
        if place == index or other.id in one.open_to or one.id in other.open_to
    )
