"""Parking: occupancy, its peak, turnover, dwell, load, and sensors that say nothing. Formulas: domain.md 4."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np

from cloud.facts.barriers import Balance
from cloud.facts.sessions import (
    FLICKER_MS,
    FREE,
    OCCUPIED,
    Occupancy,
    counted_at,
    counted_over,
    occupancy_at,
    occupancy_over,
)
from cloud.facts.timelines import STATE_BITS, Timeline
from cloud.indicators.asking import Asked, once
from cloud.indicators.definition import Better, Definition, IndicatorResult, Window, is_final, ratio
from cloud.indicators.equipment import facts_window
from cloud.indicators.parked import Parked, Session, chosen_spaces, sessions_of, space_times, unknown_stretches
from cloud.indicators.parking import OCCUPANCY
from cloud.indicators.pooling import Parts, Pooled, result_of, share
from devices.instants import format_instant

PEAK, TURNOVER, DWELL = "parking.peak", "parking.turnover", "parking.dwell"
LOAD, SILENT_SENSORS = "parking.load", "parking.sensors_silent"
PEAK_MS = 15 * 60_000
GROUPS = ("parking", "floor", "vehicle", "space")
_ISSUED = ("day", "month")

OCCUPANCY_DEFINITION = Definition(OCCUPANCY, by=GROUPS, recorded=_ISSUED, moment_unit="spaces")
PEAK_DEFINITION = Definition(PEAK, "today", better=Better.LOWER, by=GROUPS, recorded=("day",), decomposes=False)
TURNOVER_DEFINITION = Definition(
    TURNOVER, unit="session_ms", value_unit="sessions_per_space", by=GROUPS, recorded=_ISSUED
)  # fmt: skip
DWELL_DEFINITION = Definition(DWELL, value_unit="ms", better=Better.LOWER, by=GROUPS, recorded=_ISSUED)
LOAD_DEFINITION = Definition(LOAD, by=GROUPS, recorded=_ISSUED)
SILENT_DEFINITION = Definition(SILENT_SENSORS, "now", unit="spaces", better=Better.LOWER, by=GROUPS)


def occupancy_parts(asked: Asked) -> Parts:
    """Spaces at a moment, or their time over a window in ms: by sensors, and of barriers that are counted."""
    ledger, window = asked.ledger, asked.until_now
    spaces = [one for one in ledger.sensed_spaces if asked.counts(one.id)]
    groups = [one for one in ledger.parking if asked.counts(one.id)]
    timelines, balances = once(asked, _said)
    if window.from_ms == window.to_ms:
        moment = min(window.to_ms, asked.now_ms)
        found = occupancy_at(spaces, timelines, moment) + counted_at(groups, balances, moment)
    else:
        found = occupancy_over(spaces, timelines, window.from_ms, window.to_ms)
        found += counted_over(groups, balances, window.from_ms, window.to_ms)
    return {
        "occupied": found.occupied, "free": found.free, "unknown": found.unknown, "estimated": found.estimated,
    }  # fmt: skip


def _said(asked: Asked) -> tuple[Mapping[str, Timeline], Mapping[str, Balance]]:
    """What sensors and barriers of the site said around the window."""
    ledger, window = asked.ledger, asked.until_now
    if not ledger.parking:
        return {}, {}
    wanted = [one.sensor for one in ledger.spaces if one.sensor]
    if window.from_ms == window.to_ms:
        moment = min(window.to_ms, asked.now_ms)
        begin, end = moment - 1, moment
        return asked.store.timelines(ledger, begin, end, wanted), asked.store.balances(ledger, begin, end)
    begin, end = facts_window(window, asked.now_ms, FLICKER_MS)
    balances = asked.store.balances(ledger, window.from_ms, window.to_ms)
    return asked.store.timelines(ledger, begin, end, wanted), balances


def occupancy_made(definition: Definition, parts: Parts) -> IndicatorResult:
    """OCC: occupied / known; low as if all unknown were free, high as if all were taken."""
    result = share(definition, yes=parts["occupied"], no=parts["free"], unknown=parts["unknown"])
    estimated = parts.get("estimated", 0)
    return replace(result, details={"estimated": estimated} if estimated else {})


def load_made(definition: Definition, parts: Parts) -> IndicatorResult:
    """Load: occupied time / (capacity x window), so unknown counts as free; `high` as if it were taken."""
    occupied, unknown = parts["occupied"], parts["unknown"]
    everything = occupied + parts["free"] + unknown
    value = ratio(occupied, everything)
    return result_of(
        definition,
        (value, value, ratio(occupied + unknown, everything)),
        coverage=ratio(everything - unknown, everything),
        made=(occupied, everything),
    )


def _sessions(asked: Asked) -> list[tuple[Parked, list[Session]]]:
    return [(one, sessions_of(one)) for one in once(asked, _everywhere)]


def _everywhere(asked: Asked) -> list[Parked]:
    return chosen_spaces(replace(asked, members=None))


def chosen_sessions(asked: Asked) -> list[tuple[Parked, list[Session]]]:
    """Sessions of the spaces that are asked about."""
    return [one for one in once(asked, _sessions) if asked.counts(one[0].space.id)]


def turnover_parts(asked: Asked) -> Parts:
    """Sessions that began in the window times its length, and the time of the spaces."""
    window = asked.until_now
    length = window.to_ms - window.from_ms
    chosen = chosen_sessions(asked)
    begun = [
        one for _, sessions in chosen for one in sessions
        if one.is_begun and window.from_ms <= one.from_ms < window.to_ms
    ]  # fmt: skip
    times = space_times([one for one, _ in chosen], window)
    return {
        **times, "sessions": len(begun), "session_ms": len(begun) * length,
        "hidden_ms": sum(unknown_stretches(one) for one, _ in chosen) * length,
    }  # fmt: skip


def turnover_made(definition: Definition, parts: Parts) -> IndicatorResult:
    """Sessions begun / mean number of spaces that are not closed. Each unknown stretch may have hidden one."""
    spaces = parts["occupied"] + parts["free"] + parts["unknown"]
    value = ratio(parts["session_ms"], spaces)
    return result_of(
        definition,
        (value, value, ratio(parts["session_ms"] + parts["hidden_ms"], spaces)),
        coverage=ratio(spaces - parts["unknown"], spaces),
        made=(parts["session_ms"], spaces),
        details={"sessions": parts["sessions"]},
    )


def dwells(asked: Asked) -> tuple[list[int], list[tuple[int, int]]]:
    """How long those stayed who left in the window, and the bounds of those of whom that is not known, in ms."""
    window = asked.until_now
    certain: list[int] = []
    uncertain: list[tuple[int, int]] = []
    for parked, sessions in chosen_sessions(asked):
        states = parked.around
        for one in sessions:
            if states is None or not window.from_ms < one.to_ms <= window.to_ms or one.to_ms == states.end_ms:
                continue  # it ended elsewhere, or it goes on
            if one.is_begun and one.is_ended:
                certain.append(one.to_ms - one.from_ms)
                continue
            index = int(np.searchsorted(states.starts, one.from_ms))
            begin = one.from_ms if one.is_begun else int(states.starts[max(index - 1, 0)])
            end = one.to_ms if one.is_ended else int(states.ends[min(index + 1, len(states.codes) - 1)])
            uncertain.append((one.to_ms - one.from_ms, end - begin))
    return sorted(certain), uncertain


def dwell_parts(asked: Asked) -> Parts:
    """Sums of stays in ms; of uncertain ones the least and the most."""
    certain, uncertain = dwells(asked)
    return {
        "stay": sum(certain), "stays": len(certain), "uncertain": len(uncertain),
        "uncertain_low": sum(low for low, _ in uncertain), "uncertain_high": sum(high for _, high in uncertain),
    }  # fmt: skip


def dwell_made(definition: Definition, parts: Parts) -> IndicatorResult:
    """Mean stay of the sessions that ended in the window and of which beginning and end are known."""
    stay, stays, everything = parts["stay"], parts["stays"], parts["stays"] + parts["uncertain"]
    value = ratio(stay, stays)
    bounds = [ratio(stay + parts["uncertain_low"], everything), ratio(stay + parts["uncertain_high"], everything)]
    known = [one for one in (value, *bounds) if one is not None]
    return result_of(
        definition,
        (value, min(known, default=None), max(known, default=None)),
        coverage=ratio(stays, everything),
        made=(stay, stays),
    )


def dwell(asked: Asked) -> IndicatorResult:
    """The mean stay with median and 90th percentile (nearest rank) beside it, which cannot be pooled."""
    certain, _ = dwells(asked)
    details = {"median_ms": _rank(certain, 50), "p90_ms": _rank(certain, 90)} if certain else {}
    return replace(DWELL_POOLED(asked), details=details)


def _rank(ascending: list[int], percent: int) -> int:
    return ascending[-(-len(ascending) * percent // 100) - 1]


def peak(asked: Asked) -> IndicatorResult:
    """The highest mean occupancy of a quarter of an hour of the window, and when it was. The first of equals."""
    window, definition = asked.until_now, PEAK_DEFINITION
    chosen = chosen_spaces(asked)
    edges = np.array([*range(window.from_ms, window.to_ms, PEAK_MS), window.to_ms], np.int64)
    groups = [one for one in asked.ledger.parking if one.counted is not None and asked.counts(one.id)]
    if not (chosen or groups) or len(edges) < 2:
        empty = result_of(definition, (None, None, None), coverage=None, made=(0, 0))
        return replace(empty, window=asked.window, final=is_final(asked.window, asked.now_ms))
    taken, free = (_by_edge(chosen, edges, code) for code in (OCCUPIED, FREE))
    whole = np.diff(edges) * len(chosen)
    _, balances = once(asked, _said)
    quarters = [
        Occupancy(*row) + counted_over(groups, balances, begin, end)
        for row, (begin, end) in zip(
            zip(taken, free, (whole - taken - free).tolist(), strict=True), pairwise(edges.tolist()), strict=True
        )
    ]
    known = [(index, Fraction(one.occupied, one.known)) for index, one in enumerate(quarters) if one.known]
    at, value = max(known, key=lambda one: (one[1], -one[0]), default=(0, None))
    lows = [Fraction(one.occupied, one.open) for one in quarters]
    highs = [Fraction(one.occupied + one.unknown, one.open) for one in quarters]
    result = result_of(
        definition,
        (value, max(lows), max(highs)),
        coverage=ratio(sum(one.known for one in quarters), sum(one.open for one in quarters)),
        made=(quarters[at].occupied, quarters[at].known) if value is not None else (0, 0),
        details={"at": format_instant(int(edges[at])) if value is not None else None},
    )
    return replace(result, window=asked.window, final=is_final(asked.window, asked.now_ms))


def _by_edge(parked: list[Parked], edges: "np.ndarray[tuple[int], np.dtype[np.int64]]", code: int) -> list[int]:
    total = np.zeros(len(edges) - 1, np.int64)
    for one in parked:
        if one.states is None or not len(one.states.starts):
            continue
        chosen = (one.states.codes & STATE_BITS) == code
        starts, ends = one.states.starts[chosen], one.states.ends[chosen]
        total += np.diff(np.clip(edges[:, None] - starts, 0, ends - starts).sum(axis=1))
    counted: list[int] = total.tolist()
    return counted


def silent_made(definition: Definition, parts: Parts) -> IndicatorResult:
    """Spaces of which nothing is known now / spaces that are not closed."""
    everything = parts["occupied"] + parts["free"] + parts["unknown"]
    value = ratio(parts["unknown"], everything)
    return result_of(
        definition, (value, value, value), coverage=None if value is None else Fraction(1),
        made=(parts["unknown"], everything),
    )  # fmt: skip


def silent_parts(asked: Asked) -> Parts:
    """Spaces at the end of the window, or now, by what is known of them."""
    moment = min(asked.window.to_ms, asked.now_ms)
    return occupancy_parts(replace(asked, window=Window(moment, moment)))


DWELL_POOLED = Pooled(DWELL_DEFINITION, dwell_parts, dwell_made)
PARKING = (
    Pooled(OCCUPANCY_DEFINITION, occupancy_parts, occupancy_made),
    Pooled(TURNOVER_DEFINITION, turnover_parts, turnover_made),
    Pooled(LOAD_DEFINITION, occupancy_parts, load_made),
    Pooled(SILENT_DEFINITION, silent_parts, silent_made),
)
