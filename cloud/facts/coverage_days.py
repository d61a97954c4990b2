"""Covered cells by robot and UTC quarter hour: past quarters from the store, the running one when asked for.

A quarter's cells are a pure function of its poses and of the last pose of the 5 s before, for one version of the
zones. They are never merged incrementally: a quarter whose poses changed is computed again.
"""

import zlib
from collections.abc import Iterable, Mapping
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
from cloud.facts.ledger import Ledger, Robot, Zone, minutes_of_hours

QUARTERS_PER_TRANSACTION = 300  # bounds how long the processor waits for a reader's computation
Quarters = dict[int, dict[str, bytes]]  # quarter -> map -> packed cells
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


def bring_cells_up_to_date(engine: sa.Engine, ledger: Ledger, plans: Plans, before_quarter: int) -> int:
    """Compute what is missing or marked before a quarter; -> how many quarters were computed."""
    computed = 0
    while True:
        with reading(engine) as connection:
            if not _has_work(connection, ledger, plans, before_quarter):
                return computed
        with writing(engine) as connection:
            computed += _refresh(connection, ledger, plans, before_quarter)


def quarters_of(engine: sa.Engine, ledger: Ledger, plans: Plans, wanted: range, now_ms: int) -> list[Quarters]:
    """Cells of each robot of the ledger in these quarters, the running one included."""
    running = now_ms // QUARTER_MS
    bring_cells_up_to_date(engine, ledger, plans, min(running, wanted.stop))
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


def _has_work(connection: sa.Connection, ledger: Ledger, plans: Plans, before_quarter: int) -> bool:
    site = ledger.site.id
    version, _ = plans.of(ledger)
    for robot in ledger.robots:
        head = sa.select(coverage_heads.c.version).where(
            coverage_heads.c.site == site, coverage_heads.c.device == robot.device
        )
        if connection.execute(head).scalar_one_or_none() != version:
            return True
        if _marked(connection, site, robot.device, before_quarter, 1):
            return True
    return False


def _refresh(connection: sa.Connection, ledger: Ledger, plans: Plans, before_quarter: int) -> int:
    site = ledger.site.id
    version, rasters = plans.of(ledger)
    computed = 0
    for robot in ledger.robots:
        _begin_version(connection, site, robot.device, version)
        quarters = _marked(connection, site, robot.device, before_quarter, QUARTERS_PER_TRANSACTION - computed)
        rows = []
        for quarter in quarters:
            cells = _compute(connection, site, robot, quarter, rasters)
            body = msgspec.msgpack.encode({name: zlib.compress(bits, 1) for name, bits in cells.items()})
            rows.append({"site": site, "device": robot.device, "utc_quarter": quarter, "body": body})
        if rows:
            statement = insert(quarter_cells)
            connection.execute(statement.on_conflict_do_update(set_={"body": statement.excluded.body}), rows)
            done = [{"q_site": site, "q_device": robot.device, "q_quarter": quarter} for quarter in quarters]
            connection.execute(
                sa.delete(pose_marks).where(
                    pose_marks.c.site == sa.bindparam("q_site"),
                    pose_marks.c.device == sa.bindparam("q_device"),
                    pose_marks.c.utc_quarter == sa.bindparam("q_quarter"),
                ),
                done,
            )
        computed += len(rows)
        if computed >= QUARTERS_PER_TRANSACTION:
            break
    return computed


def _begin_version(connection: sa.Connection, site: str, device: str, version: str) -> None:
    """New zones: all that was computed is forgotten and every quarter with poses is marked."""
    mine = (coverage_heads.c.site == site) & (coverage_heads.c.device == device)
    if connection.execute(sa.select(coverage_heads.c.version).where(mine)).scalar_one_or_none() == version:
        return
    connection.execute(sa.delete(quarter_cells).where(quarter_cells.c.site == site, quarter_cells.c.device == device))
    quarters = sa.select(poses.c.utc_quarter).where(poses.c.site == site, poses.c.device == device).distinct()
    rows = [
        {"site": site, "device": device, "utc_quarter": one}
        for quarter in connection.execute(quarters).scalars().all()
        for one in (quarter, quarter + 1)
    ]
    if rows:
        connection.execute(insert(pose_marks).on_conflict_do_nothing(), rows)
    statement = insert(coverage_heads)
    connection.execute(
        statement.on_conflict_do_update(set_={"version": version}),
        {"site": site, "device": device, "version": version},
    )


def _marked(connection: sa.Connection, site: str, device: str, before_quarter: int, limit: int) -> list[int]:
    where = (pose_marks.c.site == site) & (pose_marks.c.device == device) & (pose_marks.c.utc_quarter < before_quarter)
    chosen = sa.select(pose_marks.c.utc_quarter).where(where).order_by(pose_marks.c.utc_quarter).limit(limit)
    return list(connection.execute(chosen).scalars())


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
