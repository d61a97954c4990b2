"""Covered cells by robot and UTC quarter hour: past quarters from the store, the running one when asked for.

A quarter's cells are a pure function of its poses and of the last pose of the 5 s before, for one version of the
zones. They are never merged incrementally: a quarter whose poses changed is computed again.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.sqlite import insert

from cloud.facts.claims import QUARTER_MS, decode_poses
from cloud.facts.coverage import Sight, covered_cells, packed, pose_set, union, unpacked
from cloud.facts.coverage_zones import Mask, Raster, rasters_of, zones_version
from cloud.facts.database import coverage_heads, pose_marks, poses, quarter_cells, reading, writing
from cloud.facts.days import Span, clipped, day_bounds, merged, required_spans
from cloud.facts.intake import MARK_QUARTER, quarter_mark
from cloud.facts.ledger import Ledger
from cloud.facts.ledger_patrol import Robot, Zone
from cloud.facts.ledger_values import minutes_of_hours

QUARTERS_PER_STEP = 200  # bounds how long a step takes
Quarters = dict[int, dict[str, bytes]]  # quarter -> map -> packed cells
_cells = insert(quarter_cells)
_REPLACE_CELLS = _cells.on_conflict_do_update(set_={"body": _cells.excluded.body})
_DROP_MARK = sa.delete(pose_marks).where(
    pose_marks.c.site == sa.bindparam("of_site"),
    pose_marks.c.device == sa.bindparam("of_device"),
    pose_marks.c.utc_quarter == sa.bindparam("of_quarter"),
    pose_marks.c.version == sa.bindparam("of_version"),
)
_decode_cells = msgspec.msgpack.Decoder(dict[str, bytes]).decode


@dataclass(slots=True)
class Plans:
    """Rasters by version of the zones; a site has one at a time."""

    known: dict[str, tuple[str, dict[str, Raster]]] = field(default_factory=dict)

    def of(self, ledger: Ledger) -> tuple[str, dict[str, Raster]]:
        """Version and rasters (by map) of a ledger."""
        version = zones_version(ledger)
        kept = self.known.get(ledger.site.id)
        if kept is None or kept[0] != version:
            kept = self.known[ledger.site.id] = version, rasters_of(ledger)
        return kept


@dataclass(frozen=True, slots=True, eq=False)
class CoveredDay:
    """What robots saw on one local day within the required hours, by map."""

    day: int
    required_ms: int  # of the zones' required hours, as far as the window reaches
    covered: Mapping[str, Mask]
    passes: Mapping[str, NDArray[np.int64]]  # per cell, robots times quarter hours in which it was seen
    cells_covered: int
    cells_required: int


def step_cells(engine: sa.Engine, ledger: Ledger, plans: Plans, before_quarter: int) -> bool:
    """Compute some of what is missing or marked before a quarter, newest first; False when nothing was.

    Computes without a lock, as `day_work` does, and under the same condition.
    """
    site = ledger.site.id
    version, rasters = plans.of(ledger)
    with reading(engine) as connection:
        if not has_cells_to_compute(connection, ledger, version, before_quarter):
            return False
        outdated = [robot.device for robot in ledger.robots if not _is_of(connection, site, robot.device, version)]
    if outdated:
        with writing(engine) as connection:
            for device in outdated:
                _begin_version(connection, site, device, version)
    with reading(engine) as connection:
        found = _marked(connection, ledger, before_quarter, QUARTERS_PER_STEP)
        by_device = {robot.device: robot for robot in ledger.robots}
        rows = []
        for mark in found:
            cells = _compute(connection, site, by_device[mark.device], mark.utc_quarter, rasters)
            body = msgspec.msgpack.encode({name: zlib.compress(bits, 1) for name, bits in cells.items()})
            rows.append({"site": site, "device": mark.device, "utc_quarter": mark.utc_quarter, "body": body})
    if rows:
        done = [
            {"of_site": site, "of_device": one.device, "of_quarter": one.utc_quarter, "of_version": one.version}
            for one in found
        ]
        with writing(engine) as connection:
            connection.execute(_REPLACE_CELLS, rows)
            connection.execute(_DROP_MARK, done)
    return True


def has_cells_to_compute(connection: sa.Connection, ledger: Ledger, version: str, before_quarter: int) -> bool:
    """Whether a quarter before this one is marked, or the zones are others than those computed for."""
    outdated = (not _is_of(connection, ledger.site.id, robot.device, version) for robot in ledger.robots)
    return any(outdated) or bool(_marked(connection, ledger, before_quarter, 1))


def quarters_of(engine: sa.Engine, ledger: Ledger, plans: Plans, wanted: range, now_ms: int) -> list[Quarters]:
    """Cells of each robot of the ledger in these quarters, the running one included.

    Quarters before it are as they were last computed (`step_cells`).
    """
    running = now_ms // QUARTER_MS
    _, rasters = plans.of(ledger)
    found = []
    with reading(engine) as connection:
        for robot in ledger.robots:
            mine = (quarter_cells.c.site == ledger.site.id) & (quarter_cells.c.device == robot.device)
            within = quarter_cells.c.utc_quarter.between(wanted.start, wanted.stop - 1)
            rows = connection.execute(sa.select(quarter_cells.c.utc_quarter, quarter_cells.c.body).where(mine, within))
            cells = {row.utc_quarter: _unfold(row.body) for row in rows if row.utc_quarter < running}
            if running in wanted:
                cells[running] = _compute(connection, ledger.site.id, robot, running, rasters)
            found.append({quarter: by_map for quarter, by_map in cells.items() if by_map})
    return found


def covered_day(
    ledger: Ledger, rasters: Mapping[str, Raster], day: int, window: Span, robots: Iterable[Quarters], *, passes: bool
) -> CoveredDay:
    """One local day, as far as the window reaches. Counts what was seen of a zone in its required hours."""
    begin, end = day_bounds(day, ledger.site.time_zone)
    begin, end = max(begin, window[0]), min(end, window[1])
    hours = {zone.id: _hours(zone, day, ledger) for zone in ledger.zones if zone.requires_patrol}
    required = clipped(merged(span for spans in hours.values() for span in spans), begin, end)
    by_bits: dict[tuple[str, int], list[bytes]] = {}
    for quarters in robots:
        for quarter in quarters.keys() & range(begin // QUARTER_MS, -(-end // QUARTER_MS)):
            for name, cells in quarters[quarter].items():
                bits = _active(rasters[name], hours, quarter * QUARTER_MS)
                if bits:
                    by_bits.setdefault((name, bits), []).append(cells)
    covered: dict[str, Mask] = {}
    seen: dict[str, NDArray[np.int64]] = {}
    for (name, bits), parts in by_bits.items():
        raster = rasters[name]
        counting = raster.required(bits)
        mask = unpacked(union(parts), raster) & counting
        covered[name] = covered[name] | mask if name in covered else mask
        if passes:
            total = np.sum([unpacked(part, raster) for part in parts], axis=0, dtype=np.int64) * counting
            seen[name] = seen[name] + total if name in seen else total
    return CoveredDay(
        day=day,
        required_ms=sum(to_ms - from_ms for from_ms, to_ms in required),
        covered=covered,
        passes=seen,
        cells_covered=sum(int(mask.sum()) for mask in covered.values()),
        cells_required=sum(int(raster.required().sum()) for raster in rasters.values()),
    )


def required_of_day(ledger: Ledger, day: int) -> tuple[Span, ...]:
    """When any zone of the site requires patrol on a local day."""
    zones = [zone for zone in ledger.zones if zone.requires_patrol]
    return merged(span for zone in zones for span in _hours(zone, day, ledger))


def _hours(zone: Zone, day: int, ledger: Ledger) -> tuple[Span, ...]:
    return required_spans(day, [minutes_of_hours(text) for text in zone.required_hours], ledger.site.time_zone)


def _active(raster: Raster, hours: Mapping[str, tuple[Span, ...]], time_ms: int) -> int:
    """Bits of the zones whose required hours a quarter lies in; hours begin and end on quarter hours."""
    return sum(
        1 << index
        for index, zone in enumerate(raster.zone_ids)
        if any(begin <= time_ms < end for begin, end in hours.get(zone, ()))
    )


def _is_of(connection: sa.Connection, site: str, device: str, version: str) -> bool:
    mine = (coverage_heads.c.site == site) & (coverage_heads.c.device == device)
    return connection.execute(sa.select(coverage_heads.c.version).where(mine)).scalar_one_or_none() == version


def _begin_version(connection: sa.Connection, site: str, device: str, version: str) -> None:
    """New zones: all that was computed is forgotten and every quarter with poses is marked."""
    connection.execute(sa.delete(quarter_cells).where(quarter_cells.c.site == site, quarter_cells.c.device == device))
    quarters = sa.select(poses.c.utc_quarter).where(poses.c.site == site, poses.c.device == device).distinct()
    rows = [
        quarter_mark(site, device, one)
        for quarter in connection.execute(quarters).scalars().all()
        for one in (quarter, quarter + 1)
    ]
    if rows:
        connection.execute(MARK_QUARTER, rows)
    statement = insert(coverage_heads)
    connection.execute(
        statement.on_conflict_do_update(set_={"version": version}),
        {"site": site, "device": device, "version": version},
    )


def _marked(
    connection: sa.Connection, ledger: Ledger, before_quarter: int, limit: int
) -> "Sequence[sa.Row[tuple[object, ...]]]":
    """Marks of the robots of the ledger, newest first."""
    mine = (pose_marks.c.site == ledger.site.id) & pose_marks.c.device.in_([one.device for one in ledger.robots])
    chosen = sa.select(pose_marks).where(mine, pose_marks.c.utc_quarter < before_quarter)
    return connection.execute(chosen.order_by(pose_marks.c.utc_quarter.desc()).limit(limit)).all()


def _compute(
    connection: sa.Connection, site: str, robot: Robot, quarter: int, rasters: Mapping[str, Raster]
) -> dict[str, bytes]:
    """Cells of one quarter, packed, by map."""
    mine = (poses.c.site == site) & (poses.c.device == robot.device)
    within = poses.c.utc_quarter.between(quarter - 1, quarter)
    bodies = connection.execute(sa.select(poses.c.utc_quarter, poses.c.body).where(mine, within)).all()
    if not any(row.utc_quarter == quarter for row in bodies):
        return {}
    found = pose_set(decode_poses(row.body) for row in bodies)
    sight = Sight(robot.radius_mm, robot.speed_max_mm_s)
    cells = covered_cells(found, quarter * QUARTER_MS, (quarter + 1) * QUARTER_MS, rasters, sight)
    return {name: packed(mask) for name, mask in cells.items()}


def _unfold(body: bytes) -> dict[str, bytes]:
    return {name: zlib.decompress(bits) for name, bits in _decode_cells(body).items()}
