"""States of devices by local day: past days from the store, today worked out when asked for.

A fact marks the days that it touches; a marked day is computed again from what the day before carries into it,
and so are the days after it for as long as what is carried differs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from cloud.facts.claims import DAY_MS
from cloud.facts.database import claims, device_days, device_heads, device_infos, marks, reaches, reading, writing
from cloud.facts.days import day_bounds, day_of, days_between
from cloud.facts.intake import WHOLE_SITE, WIDEN_MARK
from cloud.facts.rows import DeviceFacts, Profiles, Run, load_devices, runs_from
from cloud.facts.timelines import UNKNOWN, Carry, Timeline, device_day, joined

DEVICE_DAYS_PER_TRANSACTION = 400  # bounds how long the processor waits for a reader's computation
DAYS_AHEAD_MAX = 32  # of facts loaded at once
NO_CARRY = Carry()

_encode = msgspec.msgpack.Encoder().encode
_decode_carry = msgspec.msgpack.Decoder(Carry).decode


@dataclass(frozen=True, slots=True)
class _Work:
    """Days of a device to compute: those marked, and all after `last_day` up to the day before today."""

    device: str
    first_day: int
    last_day: int
    marked: frozenset[int]


def device_timelines(
    engine: sa.Engine, site: str, zone: ZoneInfo, window: tuple[int, int], *, known: Profiles,
    devices: Iterable[str] | None = None,
) -> dict[str, Timeline]:  # fmt: skip
    """State codes of each device from the beginning of the window's first local day to the window's end.

    `window` must end at or before now. Before a device's first fact it is unknown; devices without any fact
    are left out. FAULT that is kept in silence has the bit `timelines.SILENT`.
    """
    from_ms, to_ms = window
    today = day_of(max(to_ms - 1, from_ms), zone)
    bring_up_to_date(engine, site, zone, today, known)
    first = min(day_of(from_ms, zone), today)
    with reading(engine) as connection:
        wanted = sorted(_all_devices(connection, site) if devices is None else set(devices))
        past = _stored(connection, site, zone, range(first, today), None if devices is None else wanted)
        begin, end = day_bounds(today, zone)
        by_epoch = runs_from(connection, site, begin)
        carries = _carries_into(connection, site, wanted, today)
        loaded = load_devices(connection, site, wanted, (begin, end), known=known, by_epoch=by_epoch)
        timelines = {}
        for device in wanted:
            carry, facts = carries.get(device), loaded[device]
            if carry is None and not facts.blocks and not facts.crossing:
                continue
            now, _ = _compute(facts, carry or NO_CARRY, begin, end)
            timelines[device] = joined(list(_gapless(past.get(device, []), now, day_bounds(first, zone)[0])))
    return {device: timeline.clipped(int(timeline.starts[0]), to_ms) for device, timeline in timelines.items()}


def bring_up_to_date(engine: sa.Engine, site: str, zone: ZoneInfo, today: int, known: Profiles) -> int:
    """Compute what is missing or marked of the days before `today`; -> how many device-days were computed."""
    computed = 0
    while True:
        with reading(engine) as connection:
            if not _has_work(connection, site, zone, today):
                return computed
        with writing(engine) as connection:
            computed += _refresh(connection, site, zone, today, known)


def _has_work(connection: sa.Connection, site: str, zone: ZoneInfo, today: int) -> bool:
    start_ms = day_bounds(today, zone)[0]
    marked = sa.select(marks.c.device).where(marks.c.site == site, marks.c.from_ms < start_ms).limit(1)
    heads = device_heads
    behind = sa.select(heads.c.device).where(
        heads.c.site == site, (heads.c.last_day < today - 1) | (heads.c.zone != zone.key)
    )
    return connection.execute(marked).first() is not None or connection.execute(behind.limit(1)).first() is not None


def _refresh(connection: sa.Connection, site: str, zone: ZoneInfo, today: int, known: Profiles) -> int:
    """One transaction's worth of work."""
    start_ms = day_bounds(today, zone)[0]
    _spread(connection, site, start_ms)
    _forget_other_zones(connection, site, zone)
    computed = 0
    earliest_ms: int | None = None
    by_epoch: Mapping[bytes, Sequence[Run]] = {}
    for device in _behind(connection, site, today, start_ms):
        work = _work(connection, site, device, zone, start_ms)
        if work is not None:
            begin_ms = day_bounds(min([*work.marked, work.last_day + 1]), zone)[0]
            if earliest_ms is None or begin_ms < earliest_ms:
                earliest_ms, by_epoch = begin_ms, runs_from(connection, site, begin_ms)
            computed += _catch_up(connection, site, zone, work, today, known=known, by_epoch=by_epoch)
        _settle(connection, site, device, start_ms)
        if computed >= DEVICE_DAYS_PER_TRANSACTION:
            break
    return computed


def _spread(connection: sa.Connection, site: str, before_ms: int) -> None:
    """A mark for the whole site becomes one for each of its devices, so that they can be settled one by one."""
    mine = (marks.c.site == site) & (marks.c.device == WHOLE_SITE) & (marks.c.from_ms < before_ms)
    found = connection.execute(sa.select(marks).where(mine)).all()
    if not found:
        return
    rows = [
        {"site": site, "device": device, "utc_day": one.utc_day, "from_ms": one.from_ms, "to_ms": one.to_ms}
        for device in _all_devices(connection, site)
        for one in found
    ]
    if rows:
        connection.execute(WIDEN_MARK, rows)
    _settle(connection, site, WHOLE_SITE, before_ms)


def _settle(connection: sa.Connection, site: str, device: str, before_ms: int) -> None:
    """What lies before today is done; what a mark says of today stays."""
    mine = (marks.c.site == site) & (marks.c.device == device) & (marks.c.from_ms < before_ms)
    connection.execute(sa.delete(marks).where(mine, marks.c.to_ms <= before_ms))
    connection.execute(sa.update(marks).where(mine), {"from_ms": before_ms})


def _forget_other_zones(connection: sa.Connection, site: str, zone: ZoneInfo) -> None:
    other = (device_heads.c.site == site) & (device_heads.c.zone != zone.key)
    for device in connection.execute(sa.select(device_heads.c.device).where(other)).scalars().all():
        connection.execute(sa.delete(device_days).where(device_days.c.site == site, device_days.c.device == device))
        connection.execute(sa.delete(device_heads).where(device_heads.c.site == site, device_heads.c.device == device))
        row = {"site": site, "device": device, "utc_day": 0, "from_ms": 0, "to_ms": 1}
        connection.execute(insert(marks).on_conflict_do_nothing(), row)


def _behind(connection: sa.Connection, site: str, today: int, start_ms: int) -> list[str]:
    marked = sa.select(marks.c.device).where(
        marks.c.site == site, marks.c.from_ms < start_ms, marks.c.device != WHOLE_SITE
    )
    late = sa.select(device_heads.c.device).where(device_heads.c.site == site, device_heads.c.last_day < today - 1)
    return sorted(connection.execute(marked.union(late)).scalars())


def _work(connection: sa.Connection, site: str, device: str, zone: ZoneInfo, start_ms: int) -> _Work | None:
    first_ms = _first_fact_ms(connection, site, device)
    if first_ms is None or first_ms >= start_ms:
        return None
    first_day = day_of(first_ms, zone)
    head = connection.execute(
        sa.select(device_heads.c.last_day).where(device_heads.c.site == site, device_heads.c.device == device)
    ).scalar_one_or_none()
    last_day = first_day - 1 if head is None else int(head)
    found = connection.execute(
        sa.select(marks.c.from_ms, marks.c.to_ms).where(
            marks.c.site == site, marks.c.device == device, marks.c.from_ms < start_ms
        )
    )
    marked = {
        day
        for from_ms, to_ms in found
        for day in days_between(max(from_ms, first_ms), min(to_ms + 1, start_ms), zone)
        if day <= last_day
    }
    return _Work(device, first_day, last_day, frozenset(marked))


def _first_fact_ms(connection: sa.Connection, site: str, device: str) -> int | None:
    day = connection.execute(
        sa.select(sa.func.min(claims.c.utc_day)).where(claims.c.site == site, claims.c.device == device)
    ).scalar_one()
    reach = connection.execute(
        sa.select(sa.func.min(reaches.c.from_ms)).where(reaches.c.site == site, reaches.c.device == device)
    ).scalar_one()
    known = [moment for moment in (None if day is None else day * DAY_MS, reach) if moment is not None]
    return min(known, default=None)


def _catch_up(
    connection: sa.Connection,
    site: str,
    zone: ZoneInfo,
    work: _Work,
    today: int,
    *,
    known: Profiles,
    by_epoch: Mapping[bytes, Sequence[Run]],
) -> int:
    """Compute the days of one device; -> how many."""
    begin = min([*work.marked, work.last_day + 1])
    if begin >= today:
        return 0
    carry = _carries_into(connection, site, [work.device], begin).get(work.device, NO_CARRY)
    stored = _stored_carries(connection, site, work.device, begin)
    rows = []
    differs = False
    # Most often one marked day is all, so look ahead carefully; not so when nothing was computed yet.
    facts, loaded_to, ahead = None, begin, 1 if work.marked else DAYS_AHEAD_MAX
    for day in range(begin, today):
        if not differs and day in stored and day not in work.marked:
            carry = _decode_carry(stored[day])
            continue
        if facts is None or day >= loaded_to:
            loaded_to, ahead = min(day + ahead, today), min(ahead * 2, DAYS_AHEAD_MAX)
            window = (day_bounds(day, zone)[0], day_bounds(loaded_to - 1, zone)[1])
            facts = load_devices(connection, site, [work.device], window, known=known, by_epoch=by_epoch)[work.device]
        timeline, carry = _compute(facts, carry, *day_bounds(day, zone))
        body = _encode(carry)
        differs = stored.get(day) != body
        rows.append({
            "site": site, "device": work.device, "day": day, "starts": timeline.starts.astype("<i8").tobytes(),
            "codes": timeline.codes.tobytes(), "carry": body,
        })  # fmt: skip
    _replace_days(connection, rows)
    head = {
        "site": site,
        "device": work.device,
        "zone": zone.key,
        "first_ms": day_bounds(begin, zone)[0],
        "last_day": today - 1,
    }
    statement = insert(device_heads)
    connection.execute(
        statement.on_conflict_do_update(set_={"last_day": statement.excluded.last_day, "zone": zone.key}), head
    )
    return len(rows)


def _replace_days(connection: sa.Connection, rows: Sequence[Mapping[str, object]]) -> None:
    if rows:
        statement = insert(device_days)
        new = {name: statement.excluded[name] for name in ("starts", "codes", "carry")}
        connection.execute(statement.on_conflict_do_update(set_=new), list(rows))


def _compute(facts: DeviceFacts, carry: Carry, from_ms: int, to_ms: int) -> tuple[Timeline, Carry]:
    columns, confirming = facts.day(carry, from_ms, to_ms)
    return device_day(columns, confirming, facts.described.rules, from_ms, to_ms, faulty=carry.faulty)


def _carries_into(connection: sa.Connection, site: str, devices: Sequence[str], day: int) -> dict[str, Carry]:
    found = connection.execute(
        sa.select(device_days.c.device, device_days.c.carry).where(
            device_days.c.site == site, device_days.c.device.in_(devices), device_days.c.day == day - 1
        )
    )
    return {row.device: _decode_carry(row.carry) for row in found}


def _stored_carries(connection: sa.Connection, site: str, device: str, from_day: int) -> dict[int, bytes]:
    found = connection.execute(
        sa.select(device_days.c.day, device_days.c.carry).where(
            device_days.c.site == site, device_days.c.device == device, device_days.c.day >= from_day
        )
    )
    return {row.day: row.carry for row in found}


def _stored(
    connection: sa.Connection, site: str, zone: ZoneInfo, days: range, devices: Sequence[str] | None
) -> dict[str, list[Timeline]]:
    """Stored days of devices (None: all of the site), in order."""
    table = device_days
    where = (table.c.site == site) & table.c.day.between(days.start, days.stop - 1)
    if devices is not None:
        where &= table.c.device.in_(devices)
    columns = (table.c.device, table.c.day, table.c.starts, table.c.codes)
    found: dict[str, list[Timeline]] = {}
    for device, day, starts, codes in connection.execute(sa.select(*columns).where(where).order_by(*columns[:2])):
        end_ms = day_bounds(day, zone)[1]
        found.setdefault(device, []).append(
            Timeline(np.frombuffer(starts, "<i8"), np.frombuffer(codes, np.uint8), end_ms)
        )
    return found


def _gapless(past: Sequence[Timeline], now: Timeline, from_ms: int) -> Iterator[Timeline]:
    """The days before a device's first fact are unknown."""
    parts = [*past, now]
    first_ms = int(parts[0].starts[0])
    if first_ms > from_ms:
        yield Timeline(np.array([from_ms], np.int64), np.array([UNKNOWN], np.uint8), first_ms)
    yield from parts


def _all_devices(connection: sa.Connection, site: str) -> list[str]:
    """Devices that an inventory ever named; any other has no rules and is unknown."""
    mine = device_infos.c.site == site
    return sorted(connection.execute(sa.select(device_infos.c.device).where(mine).distinct()).scalars())
