"""Facts of a frame -> the store. Storing a frame's facts again, or in another order, changes nothing.

The work is in proportion to what the frame says; what it touches is marked and computed again when asked for.
"""

import json
from collections.abc import Iterable, Iterator

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from cloud.facts.claims import (
    DAY_MS,
    QUARTER_MS,
    Claim,
    ClaimBlock,
    FrameFacts,
    Stop,
    encode_claims,
    encode_info,
    encode_inventory,
    encode_poses,
    rank_of,
)
from cloud.facts.database import (
    claims,
    device_infos,
    inventories,
    losses,
    marks,
    pose_marks,
    poses,
    profiles,
    reaches,
    runs,
    stops,
)
from cloud.facts.tables_alerts import local_alerts
from cloud.facts.tables_patrol import patrol_nodes
from devices.reading import Lane
from devices.records import Loss

WHOLE_SITE = "*"  # the device of a mark that concerns every device of the site
BEGINNING_MS = 0  # marks from here
END_MS = 2**62  # to here: everything there is, whenever it arrived

Mark = tuple[str, int, int]

# Statements are made once: making one costs more than running it.
_INSERT = {
    table: insert(table).on_conflict_do_nothing()
    for table in (claims, poses, profiles, inventories, device_infos, stops, losses, patrol_nodes, local_alerts)
}
_NEW_RUN = sa.insert(runs)
_SAME_EPOCH = (
    (runs.c.site == sa.bindparam("of_site"))
    & (runs.c.gateway == sa.bindparam("of_gateway"))
    & (runs.c.epoch == sa.bindparam("of_epoch"))
)
_NEAR_RUNS = sa.select(runs).where(
    _SAME_EPOCH, runs.c.first_seq <= sa.bindparam("of_seq") + 1, runs.c.last_seq >= sa.bindparam("of_seq") - 1
)
_DROP_RUN = sa.delete(runs).where(_SAME_EPOCH, runs.c.first_seq == sa.bindparam("of_first_seq"))
_REACHED = sa.select(reaches.c.point, reaches.c.from_ms, reaches.c.value, reaches.c.to_ms).where(
    reaches.c.site == sa.bindparam("of_site"),
    reaches.c.device == sa.bindparam("of_device"),
    reaches.c.from_ms >= sa.bindparam("of_from_ms"),
)
_reach = insert(reaches)
_REACH = _reach.on_conflict_do_update(
    set_={
        "to_ms": sa.func.max(reaches.c.to_ms, _reach.excluded.to_ms),
        "rank": sa.func.max(reaches.c.rank, _reach.excluded.rank),
    }
)
_mark = insert(marks)
WIDEN_MARK = _mark.on_conflict_do_update(
    set_={
        "from_ms": sa.func.min(marks.c.from_ms, _mark.excluded.from_ms),
        "to_ms": sa.func.max(marks.c.to_ms, _mark.excluded.to_ms),
        "version": marks.c.version + 1,
    }
)
MARK_QUARTER = insert(pose_marks).on_conflict_do_update(set_={"version": pose_marks.c.version + 1})
FIRST_VERSION = 1  # of a mark


def store_facts(connection: sa.Connection, facts: FrameFacts) -> bool:
    """Write down what a frame proves; the caller's transaction decides when it counts.

    Returns False when this frame was stored before (nothing is changed then).
    """
    if facts.lane is not Lane.EVENTS or not _extend_runs(connection, facts):
        return False
    changed: list[Mark] = [(WHOLE_SITE, facts.from_ms, facts.to_ms)]
    changed += _store_claims(connection, facts)
    for pose in facts.poses:
        body = encode_poses(pose.rows)
        _insert(connection, poses, facts, device=pose.device, utc_quarter=pose.utc_quarter, body=body)
        _mark_quarters(connection, facts.site, pose.device, pose.utc_quarter)
    _store_nodes(connection, facts)
    changed.extend(_store_stops(connection, facts.site, facts.stops))
    changed.extend(_store_profiles(connection, facts))
    changed.extend(_store_inventories(connection, facts))
    store_losses(connection, facts.site, facts.gateway, facts.losses)
    _store_local_alerts(connection, facts)
    _store_marks(connection, facts.site, changed)
    return True


def _insert(connection: sa.Connection, table: sa.Table, facts: FrameFacts, **values: object) -> None:
    row = {"site": facts.site, "gateway": facts.gateway, "epoch": facts.epoch, "seq": facts.seq, **values}
    connection.execute(_INSERT[table], row)


def _extend_runs(connection: sa.Connection, facts: FrameFacts) -> bool:
    """Join the frame to the gap-free runs beside it. The result depends on the set of frames only."""
    here = {"of_site": facts.site, "of_gateway": facts.gateway, "of_epoch": facts.epoch}
    near = connection.execute(_NEAR_RUNS, {**here, "of_seq": facts.seq}).all()
    if any(run.first_seq <= facts.seq <= run.last_seq for run in near):
        return False
    same = [run for run in near if run.clock_run == facts.clock_run]
    before = next((run for run in same if run.last_seq == facts.seq - 1 and run.to_ms == facts.from_ms), None)
    after = next((run for run in same if run.first_seq == facts.seq + 1 and run.from_ms == facts.to_ms), None)
    for run in (before, after):
        if run is not None:
            connection.execute(_DROP_RUN, {**here, "of_first_seq": run.first_seq})
    connection.execute(
        _NEW_RUN,
        {
            "site": facts.site, "gateway": facts.gateway, "epoch": facts.epoch,
            "first_seq": before.first_seq if before else facts.seq,
            "last_seq": after.last_seq if after else facts.seq,
            "from_ms": before.from_ms if before else facts.from_ms,
            "to_ms": after.to_ms if after else facts.to_ms,
            "clock_run": facts.clock_run, "origin": facts.origin.value,
        },
    )  # fmt: skip
    return True


def _store_claims(connection: sa.Connection, facts: FrameFacts) -> list[Mark]:
    if not facts.claims:
        return []
    frame = {"site": facts.site, "gateway": facts.gateway, "epoch": facts.epoch, "seq": facts.seq}
    connection.execute(
        _INSERT[claims],
        [
            {**frame, "device": block.device, "utc_day": block.utc_day, "body": encode_claims(block.rows)}
            for block in facts.claims
        ],
    )
    changed = [(block.device, block.from_ms, block.to_ms) for block in facts.claims]
    crossing = [block for block in facts.claims if block.crossing]
    for block in crossing:
        changed += _news(connection, facts.site, block)
    if crossing:
        rows = [_reach_row(facts.site, block, claim) for block in crossing for claim in block.crossing]
        connection.execute(_REACH, rows)
    return changed


def _news(connection: sa.Connection, site: str, block: ClaimBlock) -> Iterator[Mark]:
    """Of claims that cross a midnight only what lies beyond the farthest end known so far is news."""
    earliest_ms = min(claim.from_ms for claim in block.crossing)
    wanted = {"of_site": site, "of_device": block.device, "of_from_ms": earliest_ms}
    known = connection.execute(_REACHED, wanted)
    reached = {(row.point, row.from_ms, row.value): row.to_ms for row in known}
    for claim in block.crossing:
        news_from_ms = reached.get((claim.point, claim.from_ms, claim.value), claim.from_ms)
        if claim.to_ms > news_from_ms:
            yield block.device, news_from_ms, claim.to_ms


def _reach_row(site: str, block: ClaimBlock, claim: Claim) -> dict[str, object]:
    return {
        "site": site, "device": block.device, "point": claim.point, "from_ms": claim.from_ms, "value": claim.value,
        "to_ms": claim.to_ms, "hold_ms": claim.hold_ms, "rank": rank_of(block.rows.key),
    }  # fmt: skip


def _store_nodes(connection: sa.Connection, facts: FrameFacts) -> None:
    for device, time_ms, node in facts.nodes:
        row = {"site": facts.site, "device": device, "utc_quarter": time_ms // QUARTER_MS, "time_ms": time_ms,
               "node": node}  # fmt: skip
        if connection.execute(_INSERT[patrol_nodes], row).rowcount:
            quarter = time_ms // QUARTER_MS
            _mark_quarters(connection, facts.site, device, quarter)
            # The next node that was named counts only when it is another one, however much later that was.
            mine = (patrol_nodes.c.site == facts.site) & (patrol_nodes.c.device == device)
            later = sa.select(sa.func.min(patrol_nodes.c.utc_quarter)).where(
                mine, patrol_nodes.c.utc_quarter > quarter + 1
            )
            following = connection.execute(later).scalar()
            if following is not None:
                connection.execute(MARK_QUARTER, quarter_mark(facts.site, device, following))


def _mark_quarters(connection: sa.Connection, site: str, device: str, quarter: int) -> None:
    # A quarter's first leg begins at the last pose of the quarter before.
    connection.execute(MARK_QUARTER, [quarter_mark(site, device, one) for one in (quarter, quarter + 1)])


def _store_stops(connection: sa.Connection, site: str, found: Iterable[Stop]) -> Iterator[Mark]:
    for stop in found:
        row = {"site": site, "device": stop.device, "point": stop.point, "time_ms": stop.time_ms,
               "stop_ms": stop.stop_ms}  # fmt: skip
        connection.execute(_INSERT[stops], row)
        yield stop.device, stop.stop_ms, stop.time_ms


def _store_profiles(connection: sa.Connection, facts: FrameFacts) -> Iterator[Mark]:
    """The arrival of a profile's text makes the days of every device that uses it worth computing."""
    for one in facts.profiles:
        row = {"site": facts.site, "hash": one.hash, "text": one.text}
        if connection.execute(_INSERT[profiles], row).rowcount:
            yield WHOLE_SITE, BEGINNING_MS, END_MS


def _store_inventories(connection: sa.Connection, facts: FrameFacts) -> Iterator[Mark]:
    for one in facts.inventories:
        _insert(connection, inventories, facts, time_ms=one.time_ms, body=encode_inventory(one))
        for info in one.devices:
            body = encode_info(info)
            mine = (device_infos.c.site == facts.site) & (device_infos.c.device == info.id)
            known = connection.execute(sa.select(device_infos.c.time_ms, device_infos.c.body).where(mine)).all()
            _insert(connection, device_infos, facts, device=info.id, time_ms=one.time_ms, body=body)
            if all(row.body == body for row in known) and known:
                continue
            # What came before the first inventory is read by it, so the first reaches back to the beginning.
            first = not known or one.time_ms < min(row.time_ms for row in known)
            yield info.id, BEGINNING_MS if first else one.time_ms, END_MS


def store_losses(connection: sa.Connection, site: str, gateway: str, found: Iterable[Loss]) -> None:
    """Keep loss records, each once. What they account for does not depend on the time of the frame they came in."""
    for one in found:
        row = {
            "site": site, "gateway": gateway, "lane": one.lane, "epoch": one.epoch, "first_seq": one.first_seq,
            "last_seq": one.last_seq, "from_ms": one.from_ms, "to_ms": one.to_ms, "reason": one.reason.value,
            "count": one.count,
        }  # fmt: skip
        connection.execute(_INSERT[losses], row)


def _store_local_alerts(connection: sa.Connection, facts: FrameFacts) -> None:
    for one in facts.local_alerts:
        row = {
            "site": facts.site, "gateway": facts.gateway, "rule": one.rule, "device": one.thing,
            "since_ms": one.since_ms, "condition": one.condition, "severity": one.severity, "latched": one.latched,
            "parameters": json.dumps(dict(one.parameters), sort_keys=True),
        }  # fmt: skip
        connection.execute(_INSERT[local_alerts], row)


def _store_marks(connection: sa.Connection, site: str, changed: Iterable[Mark]) -> None:
    merged: dict[tuple[str, int], tuple[int, int]] = {}
    for device, from_ms, to_ms in changed:
        place = (device, from_ms // DAY_MS)
        low, high = merged.get(place, (from_ms, to_ms))
        merged[place] = (min(low, from_ms), max(high, to_ms))
    rows = [day_mark(site, device, day, (low, high)) for (device, day), (low, high) in merged.items()]
    connection.execute(WIDEN_MARK, rows)


def day_mark(site: str, device: str, utc_day: int, span: tuple[int, int]) -> dict[str, object]:
    """A row for `WIDEN_MARK`."""
    return {"site": site, "device": device, "utc_day": utc_day, "from_ms": span[0], "to_ms": span[1],
            "version": FIRST_VERSION}  # fmt: skip


def quarter_mark(site: str, device: str, quarter: int) -> dict[str, object]:
    """A row for `MARK_QUARTER`."""
    return {"site": site, "device": device, "utc_quarter": quarter, "version": FIRST_VERSION}
