"""Indicators of how alerts are dealt with: time to acknowledge and to resolve, share in time, time in flood.

They read the records of alerts through their tables: alerts stand to the right of indicators. A call is each time an
alert opened or opened again; drills are in no figure, nor is what was over before anybody could know, nor what was
told with its cause (nobody was called for it). Definitions of domain.md sections 6 and 8.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from cloud.facts.database import reading
from cloud.facts.tables_alerts import alert_entries, alert_records
from cloud.indicators.alarm_figures import ACKNOWLEDGE_MS, Raise, flooded, floods
from cloud.indicators.asking import Asked, Computation, once
from cloud.indicators.definition import FINAL_AFTER_MS, Better, Definition, IndicatorResult, ratio
from cloud.indicators.pooling import Parts, Pooled, result_of, share
from devices.rules import Severity

MTTA, MTTA_EQUIPMENT = "alarm.mtta", "equipment.mtta"
RESOLVE = "alarm.mttr"
IN_TIME, FLOOD = "alarm.acknowledged_in_time", "alarm.flood"
FLOOD_LOOK_BACK_MS = 3_600_000  # a flood that began before the window
_CALLS = ("opened", "reopened")
_KINDS = (*_CALLS, "acknowledged", "resolved", "suppressed", "escalated")


@dataclass(frozen=True, slots=True)
class Call:
    """An alert called somebody. `resolved_ms` is when it was closed, None while it is not."""

    raised: Raise
    resolved_ms: int | None


def calls(asked: Asked) -> list[Call]:
    """Every call of the site from a little before the window on, in order of time."""
    begin, end = asked.window.from_ms - FLOOD_LOOK_BACK_MS, asked.until_now.to_ms
    # what was done about a call counts until the number is final, so that it does not change for ever
    known_ms = min(asked.now_ms, asked.window.to_ms + FINAL_AFTER_MS)
    site = asked.ledger.site.id
    entries, records = alert_entries.c, alert_records.c
    mine = (entries.site == site) & (records.site == site) & (records.id == entries.alert)
    real = (records.drill == sa.false()) & (records.historical == sa.false())
    called = sa.select(entries.alert).where(
        entries.site == site, entries.kind.in_(_CALLS), entries.recorded_ms >= begin, entries.recorded_ms < end
    )
    query = (
        sa.select(
            entries.alert,
            records.rule,
            records.thing,
            records.severity,
            entries.kind,
            entries.recorded_ms,
            entries.detail,
        )
        .where(mine, real, entries.alert.in_(called), entries.kind.in_(_KINDS), entries.recorded_ms <= known_ms)
        .order_by(entries.alert, entries.version)
    )
    with reading(asked.store.engine) as connection:
        rows = connection.execute(query).all()
    found = [
        call
        for _, group in groupby(rows, key=lambda row: row.alert)
        for call in _calls_of(site, list(group))
        if begin <= call.raised.at_ms < end
    ]
    return sorted(found, key=lambda call: (call.raised.at_ms, call.raised.key))


def _calls_of(site: str, rows: Sequence[Any]) -> Iterator[Call]:
    """The calls of one alert by its entries, without those that were told with their cause."""
    starts = [index for index, row in enumerate(rows) if row.kind in _CALLS]
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        first: dict[str, Any] = {}
        for row in rows[start:end]:
            first.setdefault(row.kind, row)
        acknowledged, muted = first.get("acknowledged"), first.get("suppressed")
        if muted is not None and (acknowledged is None or muted.recorded_ms <= acknowledged.recorded_ms):
            continue
        worse, resolved = first.get("escalated"), first.get("resolved")
        # it called in the colour that it had then
        severity = Severity(json.loads(worse.detail)["from"] if worse is not None else rows[start].severity)
        raised = Raise(
            rows[start].recorded_ms,
            (site, rows[start].rule, rows[start].thing),
            severity,
            acknowledged.recorded_ms if acknowledged is not None else None,
        )
        yield Call(raised, resolved.recorded_ms if resolved is not None else None)


def _in_window(asked: Asked) -> list[Call]:
    window = asked.until_now
    return [call for call in once(asked, calls) if window.from_ms <= call.raised.at_ms < window.to_ms]


def _equipment_calls(asked: Asked) -> list[Call]:
    things = {one.id for one in asked.ledger.equipment}
    return [call for call in _in_window(asked) if call.raised.key[2] in things and asked.counts(call.raised.key[2])]


def _mtta_parts(asked: Asked) -> Parts:
    return _waits(_in_window(asked))


def _equipment_mtta_parts(asked: Asked) -> Parts:
    return _waits(_equipment_calls(asked))


def _waits(found: Sequence[Call]) -> Parts:
    waits = [one.raised.acknowledged_ms - one.raised.at_ms for one in found if one.raised.acknowledged_ms is not None]
    return {"ms": sum(waits), "count": len(waits), "open": len(found) - len(waits)}


def _resolve_parts(asked: Asked) -> Parts:
    found = _in_window(asked)
    times = [one.resolved_ms - one.raised.at_ms for one in found if one.resolved_ms is not None]
    return {"ms": sum(times), "count": len(times), "open": len(found) - len(times)}


def _mean_made(definition: Definition, parts: Parts) -> IndicatorResult:
    """Sum of the times / their number; what still waits stands beside it."""
    value = ratio(parts["ms"], parts["count"])
    everything = parts["count"] + parts["open"]
    return result_of(
        definition,
        (value, value, None if parts["open"] else value),  # nobody knows how long the others will take
        coverage=ratio(parts["count"], everything),
        made=(parts["ms"], parts["count"]),
        details={"open": parts["open"]},
    )


def _in_time_parts(asked: Asked) -> Parts:
    yes = no = waiting = 0
    for one in _in_window(asked):
        raised = one.raised
        limit_ms = ACKNOWLEDGE_MS.get(raised.severity)
        if limit_ms is None:
            continue
        taken_ms = raised.acknowledged_ms if raised.acknowledged_ms is not None else one.resolved_ms
        if taken_ms is None and asked.now_ms - raised.at_ms <= limit_ms:
            waiting += 1
        elif taken_ms is not None and taken_ms - raised.at_ms <= limit_ms:
            yes += 1
        else:
            no += 1
    return {"in_time": yes, "late": no, "waiting": waiting}


def _in_time_made(definition: Definition, parts: Parts) -> IndicatorResult:
    return share(definition, yes=parts["in_time"], no=parts["late"], unknown=parts["waiting"])


def _flood_parts(asked: Asked) -> Parts:
    window = asked.until_now
    found = floods([one.raised for one in once(asked, calls)], window.to_ms)
    inside = flooded(found, (window.from_ms, window.to_ms)) or Fraction(0)
    length = window.to_ms - window.from_ms
    flood_ms = int(inside * length)
    return {"flood": flood_ms, "calm": length - flood_ms}


def _flood_made(definition: Definition, parts: Parts) -> IndicatorResult:
    return share(definition, yes=parts["flood"], no=parts["calm"], unknown=0)


_LOWER = Better.LOWER
_POOLED = (
    Pooled(Definition(MTTA, "month", value_unit="ms", better=_LOWER, recorded=("month",)), _mtta_parts, _mean_made),
    Pooled(
        Definition(MTTA_EQUIPMENT, "month", value_unit="ms", better=_LOWER, recorded=("month",)),
        _equipment_mtta_parts,
        _mean_made,
    ),
    Pooled(
        Definition(RESOLVE, "month", value_unit="ms", better=_LOWER, recorded=("month",)), _resolve_parts, _mean_made
    ),
    Pooled(Definition(IN_TIME, "month", unit="calls", recorded=("month",)), _in_time_parts, _in_time_made),
    Pooled(Definition(FLOOD, "month", better=_LOWER, recorded=("month",)), _flood_parts, _flood_made),
)
ALARMS: dict[str, Computation] = {one.definition.id: one for one in _POOLED}
ALARMS_DEFINITIONS: tuple[Definition, ...] = tuple(one.definition for one in _POOLED)
