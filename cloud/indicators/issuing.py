"""Which results are issued, and when: those of whole days and months in site time, once all before is derived.

A day is looked at again when its facts were computed otherwise (`result_marks`) or when a policy, target or value that
is valid then was entered, so late data cost in proportion to the days they touch. What a look finds is written only
where it says something new. 72 hours after its end a result is final; what comes later still makes a new revision.
Results up to now are live: they are computed when asked for and never stored.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from cloud.facts.database import reading, writing
from cloud.facts.days import day_bounds, day_of
from cloud.facts.frame_ranges import frames_about
from cloud.facts.inputs import EVERY_SITE, changed_spans, revision
from cloud.facts.ledger import Ledger
from cloud.facts.ledgers import ledger_version
from cloud.facts.result_marks import mark_results, marked_days, settle_marks
from cloud.facts.store import FactStore
from cloud.facts.tables_results import result_heads, result_newest, result_progress
from cloud.indicators.definition import FINAL_AFTER_MS, FrameRange, IndicatorResult, Window
from cloud.indicators.imported import VALUE_KIND, first_told_ms
from cloud.indicators.periods import period_around
from cloud.indicators.registry import compute_over, definitions_at
from cloud.indicators.results import record
from cloud.indicators.terms import KINDS

DAYS_PER_STEP = 8  # bounds how long a step takes
DAYS_BACK_MAX = 800  # results of days longer ago are not issued
_new = insert(result_progress)
_KEEP = _new.on_conflict_do_update(
    set_={name: _new.excluded[name] for name in ("last_day", "input_entry", "shared_entry", "ledger_version")}
)


@dataclass(frozen=True, slots=True)
class Issued:
    """What a step did: rows written, whether there is more to do now, and how many days it looked at."""

    rows: int
    more: bool
    days: int = 0


@dataclass(frozen=True, slots=True)
class _Seen:
    """How far results are issued, and which inputs they know."""

    last_day: int
    input_entry: int
    shared_entry: int
    ledger_version: int


def issue(store: FactStore, ledger: Ledger, now_ms: int, days_max: int = DAYS_PER_STEP) -> Issued:
    """Issue results of some of the days that are due, oldest first, and of the months they complete. Blocks."""
    site, zone = ledger.site.id, ledger.site.time_zone
    yesterday = day_of(now_ms, zone) - 1
    seen = _take_notice(store, ledger, yesterday)
    if seen is None:
        return Issued(0, more=False)
    with reading(store.engine) as connection:
        marks = {day: mark for day, mark in marked_days(connection, site).items() if day <= yesterday}
    pending = sorted({*marks, *range(seen.last_day + 1, yesterday + 1)})
    chosen = pending[:days_max]
    until_ms = day_bounds(chosen[-1] if chosen else yesterday, zone)[1]
    if not store.is_settled(ledger, until_ms):
        return Issued(0, more=False)
    found = [result for window, period in _windows(ledger, chosen, pending, now_ms)
             for result in _results(store, ledger, window, period, now_ms)]  # fmt: skip
    with writing(store.engine) as connection:
        rows = record(connection, site, found, now_ms)
        settle_marks(connection, site, {day: marks[day] for day in chosen if day in marks})
        _keep(connection, site, replace(seen, last_day=max([seen.last_day, *chosen])))
        _finish(connection, site, until_ms if chosen else now_ms, now_ms)
    return Issued(rows, more=len(chosen) < len(pending), days=len(chosen))


def frames_of(store: FactStore, ledger: Ledger, window: Window) -> tuple[FrameRange, ...]:
    """The frames that results of a window stand on."""
    with reading(store.engine) as connection:
        found = frames_about(connection, ledger.site.id, (window.from_ms, window.to_ms), ledger.devices)
    return tuple(FrameRange(one.gateway, one.lane, one.epoch.hex(), one.first_seq, one.last_seq) for one in found)


def began_ms(store: FactStore, site: str) -> int | None:
    """The earliest moment of which anything is told about a site, by its devices or by people; None: nothing was."""
    heard_ms = store.first_heard_ms(site)
    with reading(store.engine) as connection:
        told_ms = first_told_ms(connection, site)
    return min((one for one in (heard_ms, told_ms) if one is not None), default=None)


def _take_notice(store: FactStore, ledger: Ledger, yesterday: int) -> _Seen | None:
    """Mark the days that newly entered inputs are valid in. None: nothing was ever heard or entered."""
    site, zone = ledger.site.id, ledger.site.time_zone
    begin_ms = began_ms(store, site)
    with reading(store.engine) as connection:
        row = connection.execute(sa.select(result_progress).where(result_progress.c.site == site)).one_or_none()
        now = (revision(connection, site), revision(connection, EVERY_SITE), ledger_version(connection, site))
        before = _Seen(row.last_day, row.input_entry, row.shared_entry, row.ledger_version) if row else None
        entries = (before.input_entry, before.shared_entry) if before else (0, 0)
        changed = changed_spans(connection, site, entries[0]) + changed_spans(connection, EVERY_SITE, entries[1])
    spans = [span for kind, span in changed if kind in KINDS]
    values = [span for kind, span in changed if kind == VALUE_KIND]
    if begin_ms is None:
        return None
    earliest = max(day_of(begin_ms, zone), yesterday - DAYS_BACK_MAX)
    if before is None:
        before = _Seen(min(earliest, yesterday) - 1, *now)
    if before.ledger_version != now[2]:
        spans += [(one.valid_from_ms, 2**62) for one in store.ledgers(site) if one.version > before.ledger_version]
    seen = _Seen(before.last_day, *now)
    if seen != before or row is None:
        with writing(store.engine) as connection:
            days = _days(ledger, spans, earliest, yesterday)
            days |= _one_a_month(_days(ledger, values, earliest, yesterday))
            mark_results(connection, site, days)
            _keep(connection, site, seen)
    return seen


def _days(ledger: Ledger, spans: Iterable[tuple[int, int]], first: int, last: int) -> set[int]:
    """Local days within [first, last] that spans touch."""
    zone = ledger.site.time_zone
    begin, end = day_bounds(first, zone)[0], day_bounds(last, zone)[1]
    found: set[int] = set()
    for from_ms, to_ms in spans:
        low, high = max(from_ms, begin), min(to_ms, end)
        if low < high:
            found.update(range(day_of(low, zone), day_of(high - 1, zone) + 1))
    return found


def _one_a_month(days: set[int]) -> set[int]:
    """Imported values are issued by month: looking at one day of it makes the whole month be looked at."""
    return set({date.fromordinal(day).replace(day=1): day for day in sorted(days)}.values())


def _windows(
    ledger: Ledger, chosen: list[int], pending: list[int], now_ms: int
) -> Iterable[tuple[Window, str]]:  # fmt: skip
    """Days, and each whole month of which no further day is waiting."""
    zone = ledger.site.time_zone
    waiting = {period_around("month", day_bounds(day, zone)[0], zone) for day in pending[len(chosen) :]}
    months: dict[Window, None] = {}
    for day in chosen:
        window = Window(*day_bounds(day, zone))
        yield window, "day"
        months[period_around("month", window.from_ms, zone)] = None
    for month in months:
        if month.to_ms <= now_ms and month not in waiting:
            yield month, "month"


def _results(
    store: FactStore, ledger: Ledger, window: Window, period: str, now_ms: int
) -> list[IndicatorResult]:  # fmt: skip
    """What is issued of a window, by the ledger of its last day."""
    site, zone = ledger.site.id, ledger.site.time_zone
    held = store.ledger_on(site, day_of(window.to_ms - 1, zone)) or ledger
    definitions = definitions_at(store, held, window.from_ms)
    wanted = [one.id for one in definitions.values() if period in one.recorded]
    frames = frames_of(store, held, window)
    return [
        replace(one, inputs=frames if definitions[one.id].source == "frames" else ())
        for one in compute_over(store, held, wanted, window, now_ms)
    ]


def _finish(connection: sa.Connection, site: str, until_ms: int, now_ms: int) -> None:
    """What was looked at after its 72 hours is final."""
    for table, more in ((result_heads, {"checked_ms": now_ms}), (result_newest, {})):
        over = table.c.to_ms <= min(until_ms, now_ms - FINAL_AFTER_MS)
        due = (table.c.site == site) & table.c.final.is_(False) & over
        connection.execute(sa.update(table).where(due).values(final=True, **more))


def _keep(connection: sa.Connection, site: str, seen: _Seen) -> None:
    row: Mapping[str, object] = {
        "site": site, "last_day": seen.last_day, "input_entry": seen.input_entry, "shared_entry": seen.shared_entry,
        "ledger_version": seen.ledger_version,
    }  # fmt: skip
    connection.execute(_KEEP, row)
