"""Zones -> rasters: which zones the centre of each cell lies in. shapely is asked once per version of the zones."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray

from cloud.facts.ledger import Floor, Ledger
from cloud.facts.ledger_patrol import Zone
from devices.reading import Int64s

Mask = NDArray[np.bool_]


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

    @property
    def rows(self) -> int:
        """Cells from bottom to top."""
        return int(self.zones.shape[0])

    @property
    def columns(self) -> int:
        """Cells from left to right."""
        return int(self.zones.shape[1])

    def required(self, bits: int | None = None) -> Mask:
        """Cells of zones that require patrol (of these zones among them)."""
        chosen = self.requiring if bits is None else self.requiring & bits
        return np.asarray(self.zones & chosen != 0, np.bool_)

    def seen_from(self, bits: int) -> int:
        """Bits of the zones that are seen from a place in zones `bits`."""
        seen = 0
        for index, open_to in enumerate(self.open_to):
            if bits >> index & 1:
                seen |= open_to
        return seen


def zones_version(ledger: Ledger) -> str:
    """Changes exactly when covered cells may: with floors, zones, or the sight and speed of robots."""
    floors = [(floor.id, floor.map, floor.width_m, floor.height_m, floor.cell_m) for floor in ledger.floors]
    zones = [zone.model_dump(mode="json", exclude={"name", "required_hours"}) for zone in ledger.zones]
    robots = [(robot.device, robot.radius_mm, robot.speed_max_mm_s) for robot in ledger.robots]
    return hashlib.sha256(repr((floors, zones, robots)).encode()).hexdigest()[:16]


def rasters_of(ledger: Ledger) -> dict[str, Raster]:
    """The raster of each floor by the name that robots give it; floors without zones are left out."""
    found = {}
    for floor in ledger.floors:
        zones = tuple(zone for zone in ledger.zones if zone.floor == floor.id)
        if zones:
            found[floor.map] = _raster(floor, zones)
    return found


@lru_cache(maxsize=256)
def _raster(floor: Floor, zones: tuple[Zone, ...]) -> Raster:
    cell_mm = round(floor.cell_m * 1000)
    columns, rows = (-(-round(size_m * 1000) // cell_mm) for size_m in (floor.width_m, floor.height_m))
    centre_x, centre_y = np.meshgrid(_centres_m(columns, cell_mm), _centres_m(rows, cell_mm))
    cells = np.zeros((rows, columns), np.int64)
    for index, zone in enumerate(zones):
        polygon = shapely.Polygon(zone.geometry.coordinates[0], zone.geometry.coordinates[1:])
        shapely.prepare(polygon)
        cells |= np.where(shapely.contains_xy(polygon, centre_x, centre_y), np.int64(1) << index, np.int64(0))
    cells.flags.writeable = False
    return Raster(
        floor=floor.id,
        cell_mm=cell_mm,
        zones=cells,
        zone_ids=tuple(zone.id for zone in zones),
        open_to=tuple(_open_to(zones, index) for index in range(len(zones))),
        requiring=sum(1 << index for index, zone in enumerate(zones) if zone.requires_patrol),
    )


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
