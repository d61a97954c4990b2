"""Past days of devices: computed again when something about them changed.

A fact marks the days that it touches; a marked day is computed again from what the day before carries into it,
and so are the days after it for as long as what is carried differs. Computing reads one picture of the store and
holds no lock; what came in meanwhile has raised the version of its mark, which then stays for the next step. That
takes that only one step at a time is done in the whole store (`deriving.Derivation`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from cloud.facts.claims import DAY_MS
from cloud.facts.database import claims, device_days, device_heads, device_infos, marks, reaches, reading, writing
from cloud.facts.days import day_bounds, day_of, days_between
from cloud.facts.intake import WHOLE_SITE, WIDEN_MARK, day_mark
from cloud.facts.result_marks import mark_results
from cloud.facts.rows import DeviceFacts, Profiles, Run, load_devices, runs_from
from cloud.facts.timelines import Carry, DeviceDay, Timeline, device_day

DEVICE_DAYS_PER_STEP = 200  # bounds how long a step takes
DAYS_AHEAD_MAX = 32  # of facts loaded at once
NO_CARRY = Carry()

_encode = msgspec.msgpack.Encoder().encode
_decode_carry = msgspec.msgpack.Decoder(Carry).decode

Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class _Work:
    """Days of a device to compute: those marked, and all after `last_day` up to the day before today."""

    device: str
    first_day: int
    last_day: int
    marked: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Done:
    """What a step has to write down of one device. `seen` are the marks it answers: UTC day and version."""

    device: str
    days: Sequence[Row]
    head: Row | None
    seen: Sequence[tuple[int, int]]
    spills: bool  # into today


def step_days(engine: sa.Engine, site: str, zone: ZoneInfo, today: int, known: Profiles) -> bool:
    """Compute some of what is missing or marked of the days before `today`; False when nothing was."""
    start_ms = day_bounds(today, zone)[0]
    with reading(engine) as connection:
        if not has_days_to_compute(connection, site, zone, today, start_ms):
            return False
        prepared = not _whole_site(connection, site, start_ms) and not _of_other_zones(connection, site, zone)
    if not prepared:
        with writing(engine) as connection:
            _spread(connection, site, start_ms)
            _forget_other_zones(connection, site, zone)
    with reading(engine) as connection:
        done = _compute(connection, site, zone, today, known)
    with writing(engine) as connection:
        version = days_version(connection, site) + 1
        for one in done:
            _write(connection, site, one, start_ms, version)
    return True


def has_days_to_compute(connection: sa.Connection, site: str, zone: ZoneInfo, today: int, before_ms: int) -> bool:
    """Whether anything that begins before a moment is marked, or a day before today is missing."""
    marked = sa.select(marks.c.device).where(marks.c.site == site, marks.c.from_ms < before_ms).limit(1)
    heads = device_heads
    behind = sa.select(heads.c.device).where(
        heads.c.site == site, (heads.c.last_day < today - 1) | (heads.c.zone != zone.key)
    )
    return connection.execute(marked).first() is not None or connection.execute(behind.limit(1)).first() is not None


def computed_day(facts: DeviceFacts, carry: Carry, from_ms: int, to_ms: int) -> DeviceDay:
    """One local day of a device."""
    columns, confirming = facts.day(carry, from_ms, to_ms)
    return device_day(columns, confirming, facts.described.rules, from_ms, to_ms, faulty=carry.faulty)


def carries_into(connection: sa.Connection, site: str, devices: Sequence[str], day: int) -> dict[str, Carry]:
    """What the day before hands to a day, for each device where that is known."""
    found = connection.execute(
        sa.select(device_days.c.device, device_days.c.carry).where(
            device_days.c.site == site, device_days.c.device.in_(devices), device_days.c.day == day - 1
        )
    )
    return {row.device: _decode_carry(row.carry) for row in found}


def sensor(device: str, point: str) -> str:
    """The name under which the days of one point of a bank of parking sensors are kept."""
    return f"{device}/{point}"


def all_devices(connection: sa.Connection, site: str) -> list[str]:
    """Devices that an inventory ever named; any other has no rules and is unknown."""
    mine = device_infos.c.site == site
    return sorted(connection.execute(sa.select(device_infos.c.device).where(mine).distinct()).scalars())


def _compute(connection: sa.Connection, site: str, zone: ZoneInfo, today: int, known: Profiles) -> list[_Done]:
    start_ms = day_bounds(today, zone)[0]
    done: list[_Done] = []
    computed = 0
    earliest_ms: int | None = None
    by_epoch: Mapping[bytes, Sequence[Run]] = {}
    for device in _behind(connection, site, today, start_ms):
        seen = _seen(connection, site, device, start_ms)
        work = _work(connection, site, device, zone, start_ms)
        days: list[Row] = []
        head: Row | None = None
        spills = False
        if work is not None:
            begin = min([*work.marked, work.last_day + 1])
            begin_ms = day_bounds(begin, zone)[0]
            if earliest_ms is None or begin_ms < earliest_ms:
                earliest_ms, by_epoch = begin_ms, runs_from(connection, site, begin_ms)
            days, spills = _catch_up(connection, site, zone, work, today, known=known, by_epoch=by_epoch)
            if begin < today:
                head = {
                    "site": site,
                    "device": device,
                    "zone": zone.key,
                    "first_ms": begin_ms,
                    "last_day": max(work.last_day, today - 1),
                }
        done.append(_Done(device, days, head, seen, spills))
        computed += len(days)
        if computed >= DEVICE_DAYS_PER_STEP:
            break
    return done


def _whole_site(connection: sa.Connection, site: str, before_ms: int) -> "Sequence[sa.Row[tuple[object, ...]]]":
    mine = (marks.c.site == site) & (marks.c.device == WHOLE_SITE) & (marks.c.from_ms < before_ms)
    return connection.execute(sa.select(marks).where(mine)).all()


def _spread(connection: sa.Connection, site: str, before_ms: int) -> None:
    """A mark for the whole site becomes one for each of its devices, so that they can be settled one by one."""
    found = _whole_site(connection, site, before_ms)
    rows = [
        day_mark(site, device, one.utc_day, (one.from_ms, one.to_ms))
        for device in all_devices(connection, site)
        for one in found
    ]
    if rows:
        connection.execute(WIDEN_MARK, rows)
    _settle(connection, site, WHOLE_SITE, [(one.utc_day, one.version) for one in found], before_ms)


def _seen(connection: sa.Connection, site: str, device: str, before_ms: int) -> list[tuple[int, int]]:
    mine = (marks.c.site == site) & (marks.c.device == device) & (marks.c.from_ms < before_ms)
    return [
        (row.utc_day, row.version)
        for row in connection.execute(sa.select(marks.c.utc_day, marks.c.version).where(mine))
    ]


_ANSWERED = (
    (marks.c.site == sa.bindparam("of_site"))
    & (marks.c.device == sa.bindparam("of_device"))
    & (marks.c.utc_day == sa.bindparam("of_day"))
    & (marks.c.version == sa.bindparam("of_version"))
)
_DROP_MARK = sa.delete(marks).where(_ANSWERED, marks.c.to_ms <= sa.bindparam("of_ms"))
_CUT_MARK = sa.update(marks).where(_ANSWERED).values(from_ms=sa.bindparam("of_ms"))


def _settle(connection: sa.Connection, site: str, device: str, seen: Iterable[tuple[int, int]], before_ms: int) -> None:
    """What lies before today is done; what a mark says of today stays, and so does one that changed meanwhile."""
    rows = [
        {"of_site": site, "of_device": device, "of_day": day, "of_version": version, "of_ms": before_ms}
        for day, version in seen
    ]
    if rows:
        connection.execute(_DROP_MARK, rows)
        connection.execute(_CUT_MARK, rows)


def _of_other_zones(connection: sa.Connection, site: str, zone: ZoneInfo) -> list[str]:
    other = (device_heads.c.site == site) & (device_heads.c.zone != zone.key)
    return list(connection.execute(sa.select(device_heads.c.device).where(other)).scalars())


def _forget_other_zones(connection: sa.Connection, site: str, zone: ZoneInfo) -> None:
    for device in _of_other_zones(connection, site, zone):
        connection.execute(sa.delete(device_days).where(device_days.c.site == site, device_days.c.device == device))
        connection.execute(sa.delete(device_days).where(_spaces_of(site, device)))
        connection.execute(sa.delete(device_heads).where(device_heads.c.site == site, device_heads.c.device == device))
        connection.execute(WIDEN_MARK, day_mark(site, device, 0, (0, 1)))


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
        day for from_ms, to_ms in found for day in days_between(max(from_ms, first_ms), min(to_ms + 1, start_ms), zone)
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
) -> tuple[list[Row], bool]:
    """Days of one device, computed; whether `today`, which a later question had stored, is carried something else."""
    begin = min([*work.marked, work.last_day + 1])
    if begin >= today:
        return [], False
    carry = carries_into(connection, site, [work.device], begin).get(work.device, NO_CARRY)
    stored = _stored_carries(connection, site, work.device, begin)
    rows: list[Row] = []
    differs = False
    # Most often one marked day is all, so look ahead carefully; not so when nothing was computed yet.
    facts, loaded_to, ahead = None, begin, 1 if begin <= work.last_day else DAYS_AHEAD_MAX
    for day in range(begin, today):
        if not differs and day in stored and day not in work.marked:
            carry = _decode_carry(stored[day])
            continue
        if facts is None or day >= loaded_to:
            loaded_to, ahead = min(day + ahead, today), min(ahead * 2, DAYS_AHEAD_MAX)
            window = (day_bounds(day, zone)[0], day_bounds(loaded_to - 1, zone)[1])
            facts = load_devices(connection, site, [work.device], window, known=known, by_epoch=by_epoch)[work.device]
        computed = computed_day(facts, carry, *day_bounds(day, zone))
        carry = computed.carry
        body = _encode(carry)
        differs = stored.get(day) != body
        rows.append(_row(site, work.device, day, computed.timeline, body))
        rows += [_row(site, sensor(work.device, point), day, space, b"") for point, space in computed.spaces.items()]
    return rows, differs and today in stored


def _row(site: str, device: str, day: int, timeline: Timeline, carry: bytes) -> Row:
    starts = timeline.starts.astype("<i8").tobytes()
    return {
        "site": site, "device": device, "day": day, "starts": starts, "codes": timeline.codes.tobytes(), "carry": carry,
    }  # fmt: skip


def _spaces_of(site: str, device: str) -> "sa.ColumnElement[bool]":
    """Days of the points of a bank: their names begin with that of the device and a slash."""
    after_slash = chr(ord("/") + 1)
    name = device_days.c.device
    return (device_days.c.site == site) & (name >= sensor(device, "")) & (name < device + after_slash)


def days_version(connection: sa.Connection, site: str) -> int:
    """Grows with every change of the states of any past day of a site."""
    newest = connection.execute(sa.select(sa.func.max(device_heads.c.version)).where(device_heads.c.site == site))
    return int(newest.scalar_one() or 0)


def _differ(connection: sa.Connection, site: str, done: _Done) -> bool:
    """Whether any state of the device is another than what is stored."""
    computed = {row["day"]: (row["starts"], row["codes"]) for row in done.days if row["device"] == done.device}
    stored = sa.select(device_days.c.day, device_days.c.starts, device_days.c.codes).where(
        device_days.c.site == site, device_days.c.device == done.device, device_days.c.day.in_(computed)
    )
    return {row.day: (row.starts, row.codes) for row in connection.execute(stored)} != computed


def _changed(connection: sa.Connection, site: str, done: _Done, computed: Sequence[int]) -> set[int]:
    """Days of which anything is other than it was: a frame that closes a gap marks many days and may change few."""
    table, mine = device_days, (device_days.c.device == done.device) | _spaces_of(site, done.device)
    columns = (table.c.device, table.c.day, table.c.starts, table.c.codes)
    stored = connection.execute(sa.select(*columns).where(table.c.site == site, table.c.day.in_(computed), mine))
    before = {(row.device, row.day): (row.starts, row.codes) for row in stored}
    after = {(row["device"], row["day"]): (row["starts"], row["codes"]) for row in done.days}
    days = {key[1] for key in {*before, *after} if before.get(key) != after.get(key)}
    return {day for day in days if isinstance(day, int)}


def _write(connection: sa.Connection, site: str, done: _Done, before_ms: int, version: int) -> None:
    differ = False
    if done.days:
        computed = [day for row in done.days if row["device"] == done.device and isinstance(day := row["day"], int)]
        mark_results(connection, site, _changed(connection, site, done, computed))
        connection.execute(sa.delete(device_days).where(_spaces_of(site, done.device), device_days.c.day.in_(computed)))
        differ = _differ(connection, site, done)
        connection.execute(_REPLACE_DAY, list(done.days))
    if done.head is not None:
        connection.execute(_REPLACE_HEAD, done.head | {"version": version if differ else 0})
    _settle(connection, site, done.device, done.seen, before_ms)
    if done.spills:
        connection.execute(WIDEN_MARK, day_mark(site, done.device, before_ms // DAY_MS, (before_ms, before_ms)))


_day = insert(device_days)
_REPLACE_DAY = _day.on_conflict_do_update(set_={name: _day.excluded[name] for name in ("starts", "codes", "carry")})
_head = insert(device_heads)
_REPLACE_HEAD = _head.on_conflict_do_update(
    set_={name: _head.excluded[name] for name in ("last_day", "zone")}
    | {"version": sa.func.max(device_heads.c.version, _head.excluded.version)}
)


def _stored_carries(connection: sa.Connection, site: str, device: str, from_day: int) -> dict[int, bytes]:
    found = connection.execute(
        sa.select(device_days.c.day, device_days.c.carry).where(
            device_days.c.site == site, device_days.c.device == device, device_days.c.day >= from_day
        )
    )
    return {row.day: row.carry for row in found}
