"""What robots saw, by robot and UTC quarter hour: past quarters from the store, the running one when asked for.

A quarter's cells, stays and counts are a pure function of its poses and nodes, of the last pose of the 5 s before and
the last node named before, for the ledger of its day. They are never merged incrementally: a quarter whose poses
changed is computed again.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.sqlite import insert

from cloud.facts.claims import QUARTER_MS, decode_poses
from cloud.facts.coverage import Drive, PoseSet, cells_of, drive_of, packed, pose_set, union, unpacked
from cloud.facts.coverage_zones import Mask, Raster
from cloud.facts.database import coverage_heads, pose_marks, poses, quarter_cells, reading, writing
from cloud.facts.days import Span, clipped, day_bounds, day_of, merged, required_spans
from cloud.facts.intake import MARK_QUARTER, quarter_mark
from cloud.facts.ledger import Ledger
from cloud.facts.ledger_patrol import Zone
from cloud.facts.ledger_values import minutes_of_hours
from cloud.facts.patrol_plan import INACCURATE, History, Plan
from cloud.facts.result_marks import mark_results
from cloud.facts.tables_patrol import patrol_nodes, visits
from cloud.facts.visits import Stay, node_stays, pack_stays, stays_of
from devices.reading import PoseFlag

QUARTERS_PER_STEP = 200  # bounds how long a step takes
MAPS_COUNTED_MAX = 20  # names of unknown maps that one quarter lists; more are counted together
COUNTED, NOT_LOCALIZED, NOT_AUTOMATIC, CHARGING = "counted", "not localized", "not automatic", "charging"
TOO_INACCURATE = "too inaccurate"
BEYOND, UNKNOWN_MAP, OTHER_MAPS = "outside every zone", "unknown map:", "unknown map:*"
_cells = insert(quarter_cells)
_REPLACE_CELLS = _cells.on_conflict_do_update(set_={"body": _cells.excluded.body})
_DROP_STAYS = sa.delete(visits).where(
    visits.c.site == sa.bindparam("of_site"),
    visits.c.device == sa.bindparam("of_device"),
    visits.c.utc_quarter == sa.bindparam("of_quarter"),
)
_NEW_STAYS = sa.insert(visits)
_DROP_MARK = sa.delete(pose_marks).where(
    pose_marks.c.site == sa.bindparam("of_site"),
    pose_marks.c.device == sa.bindparam("of_device"),
    pose_marks.c.utc_quarter == sa.bindparam("of_quarter"),
    pose_marks.c.version == sa.bindparam("of_version"),
)


class QuarterBody(msgspec.Struct, frozen=True, array_like=True):
    """Packed cells by map, compressed, and how many poses counted or why they did not."""

    cells: dict[str, bytes] = {}
    poses: dict[str, int] = {}


_decode_body = msgspec.msgpack.Decoder(QuarterBody).decode


@dataclass(frozen=True, slots=True, eq=False)
class Quarter:
    """What one robot did in one quarter hour: packed cells by map, stays by place, poses by how they counted."""

    cells: dict[str, bytes] = field(default_factory=dict)
    stays: dict[str, list[Stay]] = field(default_factory=dict)
    poses: dict[str, int] = field(default_factory=dict)


Quarters = dict[int, dict[str, bytes]]  # quarter -> map -> packed cells


@dataclass(frozen=True, slots=True, eq=False)
class CoveredDay:
    """What robots saw on one local day within the required hours, by map, by the plan of that day."""

    day: int
    required_ms: int  # of the zones' required hours, as far as the window reaches
    covered: Mapping[str, Mask]
    passes: Mapping[str, NDArray[np.int64]]  # per cell, robots times quarter hours in which it was seen
    cells_covered: int  # quarter square metres: cells of 0.5 m; one of 1 m counts as four
    cells_required: int
    plan: Plan


def step_cells(engine: sa.Engine, history: History, before_quarter: int) -> bool:
    """Compute some of what is missing or marked before a quarter, newest first; False when nothing was.

    Computes without a lock, as `day_work` does, and under the same condition.
    """
    site = history.site
    with reading(engine) as connection:
        if not has_cells_to_compute(connection, history, before_quarter):
            return False
        outdated = _outdated(connection, history)
    if outdated:
        with writing(engine) as connection:
            for device, quarters in outdated.items():
                _begin_version(connection, history, device, quarters)
    with reading(engine) as connection:
        found = _marked(connection, history, before_quarter, QUARTERS_PER_STEP)
        rows, stays = [], []
        for mark in found:
            done = _compute(connection, site, mark.device, mark.utc_quarter, history.of_quarter(mark.utc_quarter))
            cells = {name: zlib.compress(bits, 1) for name, bits in done.cells.items()}
            body = msgspec.msgpack.encode(QuarterBody(cells, done.poses))
            key = {"site": site, "device": mark.device, "utc_quarter": mark.utc_quarter}
            rows.append({**key, "body": body})
            stays += [{**key, "place": name, "stays": pack_stays(spans)} for name, spans in done.stays.items()]
    if rows:
        done_marks = [
            {"of_site": site, "of_device": one.device, "of_quarter": one.utc_quarter, "of_version": one.version}
            for one in found
        ]
        with writing(engine) as connection:
            connection.execute(_REPLACE_CELLS, rows)
            mark_results(connection, site, {day_of(one.utc_quarter * QUARTER_MS, history.zone) for one in found})
            connection.execute(_DROP_STAYS, done_marks)
            if stays:
                connection.execute(_NEW_STAYS, stays)
            connection.execute(_DROP_MARK, done_marks)
    return True


def has_cells_to_compute(connection: sa.Connection, history: History, before_quarter: int) -> bool:
    """Whether a quarter before this one is marked, or the zones are others than those computed for."""
    return bool(_outdated(connection, history)) or bool(_marked(connection, history, before_quarter, 1))


def quarters_of(engine: sa.Engine, history: History, wanted: range, now_ms: int) -> dict[str, Quarters]:
    """Cells of each robot in these quarters, by device, the running one included.

    Quarters before it are as they were last computed (`step_cells`).
    """
    running = now_ms // QUARTER_MS
    found: dict[str, Quarters] = {}
    with reading(engine) as connection:
        outdated = _outdated(connection, history)
        for device in history.devices:
            bodies = _bodies(connection, history, device, wanted, outdated.get(device, ()))
            cells = {quarter: _unfold(body) for quarter, body in bodies if quarter < running}
            if running in wanted:
                cells[running] = running_quarter(connection, history, device, now_ms).cells
            found[device] = {quarter: by_map for quarter, by_map in cells.items() if by_map}
    return found


def pose_counts(engine: sa.Engine, history: History, wanted: range, now_ms: int) -> dict[str, Counter[str]]:
    """How many poses of each robot (by device) counted in these quarters, and why the others did not."""
    running = now_ms // QUARTER_MS
    found: dict[str, Counter[str]] = {}
    with reading(engine) as connection:
        outdated = _outdated(connection, history)
        for device in history.devices:
            total: Counter[str] = Counter()
            for quarter, body in _bodies(connection, history, device, wanted, outdated.get(device, ())):
                if quarter < running:
                    total.update(body.poses)
            if running in wanted:
                total.update(running_quarter(connection, history, device, now_ms).poses)
            found[device] = total
    return found


def running_quarter(connection: sa.Connection, history: History, device: str, now_ms: int) -> Quarter:
    """The quarter hour of now, as far as it is known."""
    quarter = now_ms // QUARTER_MS
    return _compute(connection, history.site, device, quarter, history.of_quarter(quarter))


def covered_day(
    plan: Plan, day: int, window: Span, robots: Mapping[str, Quarters], *, passes: bool
) -> CoveredDay:  # fmt: skip
    """One local day, as far as the window reaches. Counts what was seen of a zone in its required hours."""
    ledger, rasters = plan.ledger, plan.rasters
    begin, end = day_bounds(day, ledger.site.time_zone)
    begin, end = max(begin, window[0]), min(end, window[1])
    hours = {zone.id: zone_hours(zone, day, ledger) for zone in ledger.zones if zone.requires_patrol}
    required = clipped(merged(span for spans in hours.values() for span in spans), begin, end)
    by_bits: dict[tuple[str, int], list[bytes]] = {}
    for device in robots.keys() & plan.robots.keys():
        quarters = robots[device]
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
        cells_covered=sum(int(mask.sum()) * rasters[name].quarters_m2 for name, mask in covered.items()),
        cells_required=sum(int(raster.required().sum()) * raster.quarters_m2 for raster in rasters.values()),
        plan=plan,
    )


def required_of_day(ledger: Ledger, day: int) -> tuple[Span, ...]:
    """When any zone of the site requires patrol on a local day."""
    zones = [zone for zone in ledger.zones if zone.requires_patrol]
    return merged(span for zone in zones for span in zone_hours(zone, day, ledger))


def zone_hours(zone: Zone, day: int, ledger: Ledger) -> tuple[Span, ...]:
    """The required hours of a zone on a local day."""
    return required_spans(day, [minutes_of_hours(text) for text in zone.required_hours], ledger.site.time_zone)


def _active(raster: Raster, hours: Mapping[str, tuple[Span, ...]], time_ms: int) -> int:
    """Bits of the zones whose required hours a quarter lies in; hours begin and end on quarter hours."""
    return sum(
        1 << index
        for index, zone in enumerate(raster.zone_ids)
        if any(begin <= time_ms < end for begin, end in hours.get(zone, ()))
    )


def _outdated(connection: sa.Connection, history: History) -> dict[str, list[range]]:
    """Quarters, by device, whose rows were made for other zones or another sight."""
    mine = coverage_heads.c.site == history.site
    heads = connection.execute(sa.select(coverage_heads.c.device, coverage_heads.c.version).where(mine))
    known = {row.device: row.version for row in heads}
    return {
        device: history.outdated(device, known.get(device))
        for device in history.devices
        if known.get(device) != history.head(device)
    }


def _begin_version(connection: sa.Connection, history: History, device: str, quarters: Sequence[range]) -> None:
    """Other zones: what was computed for these quarters is forgotten, and those with poses or nodes are marked."""
    site = history.site
    for wanted in quarters:
        marked: set[int] = set()
        for table in (quarter_cells, visits):
            connection.execute(sa.delete(table).where(*_within(table, site, device, wanted)))
        for facts in (poses, patrol_nodes):
            told = sa.select(facts.c.utc_quarter).where(*_within(facts, site, device, wanted)).distinct()
            marked.update(one + step for one in connection.execute(told).scalars() for step in (0, 1))
        if marked:
            connection.execute(MARK_QUARTER, [quarter_mark(site, device, one) for one in sorted(marked)])
    statement = insert(coverage_heads)
    head = history.head(device)
    connection.execute(
        statement.on_conflict_do_update(set_={"version": head}), {"site": site, "device": device, "version": head}
    )


def _within(table: sa.Table, site: str, device: str, wanted: range) -> tuple["sa.ColumnElement[bool]", ...]:
    quarter = table.c.utc_quarter
    return table.c.site == site, table.c.device == device, quarter >= wanted.start, quarter < wanted.stop


def _bodies(
    connection: sa.Connection, history: History, device: str, wanted: range, outdated: Sequence[range]
) -> Iterable[tuple[int, QuarterBody]]:
    """Stored quarters of a robot but those made for other zones, whose cells would be taken for today's."""
    chosen = sa.select(quarter_cells.c.utc_quarter, quarter_cells.c.body)
    for row in connection.execute(chosen.where(*_within(quarter_cells, history.site, device, wanted))):
        if not any(row.utc_quarter in quarters for quarters in outdated):
            yield row.utc_quarter, _decode_body(row.body)


def _marked(
    connection: sa.Connection, history: History, before_quarter: int, limit: int
) -> "Sequence[sa.Row[tuple[object, ...]]]":
    """Marks of robots, newest first."""
    mine = (pose_marks.c.site == history.site) & pose_marks.c.device.in_(history.devices)
    chosen = sa.select(pose_marks).where(mine, pose_marks.c.utc_quarter < before_quarter)
    return connection.execute(chosen.order_by(pose_marks.c.utc_quarter.desc()).limit(limit)).all()


def _compute(connection: sa.Connection, site: str, device: str, quarter: int, plan: Plan) -> Quarter:
    """What the poses and nodes of one quarter prove."""
    sight = plan.sight(device)
    if sight is None:
        return Quarter()
    two = range(quarter - 1, quarter + 1)
    bodies = connection.execute(
        sa.select(poses.c.utc_quarter, poses.c.body).where(*_within(poses, site, device, two))
    ).all()
    named = _named(connection, site, device, two)
    found = plan.placed(pose_set(decode_poses(row.body) for row in bodies))
    from_ms, to_ms = quarter * QUARTER_MS, (quarter + 1) * QUARTER_MS
    drive = drive_of(found, from_ms, to_ms, plan.rasters, sight)
    stays = stays_of(drive, plan.rasters, plan.discs, from_ms, to_ms)
    for name, spans in node_stays(drive, named, plan.nodes, from_ms).items():
        stays[name] = sorted([*stays.get(name, ()), *spans])
    cells = {name: packed(mask) for name, mask in cells_of(drive, plan.rasters, sight).items()}
    return Quarter(cells, stays, _counts(drive, plan, from_ms, to_ms))


def _named(connection: sa.Connection, site: str, device: str, quarters: range) -> list[tuple[int, str]]:
    """The nodes that a robot named in these quarters, after the last one before them."""
    chosen = sa.select(patrol_nodes.c.time_ms, patrol_nodes.c.node)
    times = patrol_nodes.c.time_ms, patrol_nodes.c.node
    before = connection.execute(
        chosen.where(*_within(patrol_nodes, site, device, range(quarters.start)))
        .order_by(patrol_nodes.c.utc_quarter.desc(), *(column.desc() for column in times))
        .limit(1)
    ).all()
    within = connection.execute(chosen.where(*_within(patrol_nodes, site, device, quarters)).order_by(*times)).all()
    return [(row.time_ms, row.node) for row in (*before, *within)]


def _counts(drive: Drive, plan: Plan, from_ms: int, to_ms: int) -> dict[str, int]:
    """Poses by how they counted; each is in one count."""
    found: PoseSet = drive.poses
    mine = (found.time_ms >= from_ms) & (found.time_ms < to_ms)
    counts: Counter[str] = Counter()
    for index, name in enumerate(found.maps):
        here = mine & (found.map == index)
        raster = plan.rasters.get(name)
        if raster is None:
            known = name in plan.ledger.floor_of_map
            if name == INACCURATE:
                counts[TOO_INACCURATE] += int(here.sum())
                continue
            listed = sum(one.startswith(UNKNOWN_MAP) for one in counts) < MAPS_COUNTED_MAX
            counts[BEYOND if known else UNKNOWN_MAP + name if listed else OTHER_MAPS] += int(here.sum())
            continue
        for flag, wanted, reason in (
            (PoseFlag.LOCALIZED, True, NOT_LOCALIZED),
            (PoseFlag.AUTOMATIC, True, NOT_AUTOMATIC),
            (PoseFlag.CHARGING, False, CHARGING),
        ):
            refused = here & ((found.flags & int(flag) != 0) != wanted)
            counts[reason] += int(refused.sum())
            here &= ~refused
        within = raster.zones_at(found.x_mm[here], found.y_mm[here]) != 0
        counts[COUNTED] += int(within.sum())
        counts[BEYOND] += int(len(within) - within.sum())
    return {reason: count for reason, count in sorted(counts.items()) if count}


def _unfold(body: QuarterBody) -> dict[str, bytes]:
    return {name: zlib.decompress(bits) for name, bits in body.cells.items()}
