"""Every indicator by its id, and the states that pages show. Reads facts through `FactStore`; `now_ms` is an argument.

All functions block. A site is named by its ledger (`FactStore.ledger`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cloud.facts.coverage_days import required_of_day
from cloud.facts.days import clipped, date_start, day_bounds, day_of, days_between, length_ms
from cloud.facts.ledger import Ledger
from cloud.facts.sessions import (
    FLICKER_MS,
    Occupancy,
    counted_at,
    counted_over,
    occupancy_at,
    occupancy_over,
    states_at,
)
from cloud.facts.store import FactStore
from cloud.facts.timelines import Timeline
from cloud.indicators.alarms import ALARMS, ALARMS_DEFINITIONS
from cloud.indicators.asking import Asked, Computation, once
from cloud.indicators.definition import (
    Definition,
    IndicatorResult,
    UnknownIndicator,
    Window,
    is_final,
    judge,
    ratio,
)
from cloud.indicators.equipment import (
    INTACT_RATE,
    Overview,
    Tally,
    equipment_timeline,
    facts_window,
    intact_rate,
    lifetime,
    overviews,
    tally,
)
from cloud.indicators.parking import OCCUPANCY, occupancy_result
from cloud.indicators.patrol import PATROL, PATROL_DEFINITIONS
from cloud.indicators.robots import COVERAGE, PatrolDay, coverage_result, lost_ms
from cloud.indicators.windows import named_window
from devices.states import SpaceState

DATA_COVERAGE = "data.coverage"
DEFINITIONS = {
    one.id: one
    for one in (
        Definition(INTACT_RATE, recorded=("day", "month")),
        Definition(COVERAGE, "today", unit="cells", recorded=("day", "month"), decomposes=False),
        Definition(OCCUPANCY, recorded=("day", "month")),
        Definition(DATA_COVERAGE, recorded=("day", "month")),
        *PATROL_DEFINITIONS,
        *ALARMS_DEFINITIONS,
    )
}
AnyWindow = str | Window | tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class CoverageCells:
    """Cells of a floor seen on one day: index (row * columns + column, row 0 at the bottom) and passes."""

    floor: str
    cell_m: float
    columns: int
    rows: int
    cells: tuple[tuple[int, int], ...]


def indicator_ids() -> tuple[str, ...]:
    """Every indicator there is."""
    return tuple(_COMPUTE)


def compute_indicator(
    store: FactStore, ledger: Ledger, indicator: str, window: AnyWindow, now_ms: int
) -> IndicatorResult:
    """One indicator of a site.

    `window` is a name (`24h`, `today`, `month`, `now`), [from, to) in Unix ms UTC, or None for the indicator's own
    default. It is not final while something of its window is still to be derived. Raises UnknownIndicator or BadWindow.
    """
    return _computed(indicator, Asked(store, ledger, _window(ledger, indicator, window, now_ms), now_ms))


def compute_site_indicators(store: FactStore, ledger: Ledger, window: AnyWindow, now_ms: int) -> list[IndicatorResult]:
    """Every indicator of a site over one window (None: each over its own default)."""
    known: dict[object, Any] = {}
    return [
        _computed(indicator, Asked(store, ledger, _window(ledger, indicator, window, now_ms), now_ms, known))
        for indicator in _COMPUTE
    ]


def _computed(indicator: str, asked: Asked) -> IndicatorResult:
    result = _COMPUTE[indicator](asked)
    if result.final and not asked.store.is_settled(asked.ledger, asked.window.to_ms):
        return replace(result, final=False)
    return result


def equipment_overview(store: FactStore, ledger: Ledger, now_ms: int) -> list[Overview]:
    """State, since when, the strip of the last 24 h and the share up in them, of each equipment."""
    window = facts_window(Window(*_last_day(now_ms)), now_ms)
    devices = store.timelines(ledger, *window, [one.device for one in ledger.equipment])
    return overviews(ledger.equipment, ledger.site, devices, now_ms)


def space_states(store: FactStore, ledger: Ledger, now_ms: int) -> dict[str, SpaceState]:
    """Each parking space now, by space id."""
    return states_at(ledger.spaces, _spaces(store, ledger, now_ms - 1, now_ms), now_ms)


def coverage_cells(store: FactStore, ledger: Ledger, day: int | None, now_ms: int) -> list[CoverageCells]:
    """What was seen on a local day (its ordinal; None: today) up to now, for each floor that has zones."""
    begin, end = day_bounds(day_of(now_ms, ledger.site.time_zone) if day is None else day, ledger.site.time_zone)
    end = max(min(end, now_ms), begin + 1)
    days = store.covered_days(ledger, begin, end, now_ms, passes=True)
    found = []
    for name, raster in store.rasters(ledger).items():
        passes = days[0].passes.get(name)
        seen = np.flatnonzero(passes) if passes is not None else np.empty(0, np.int64)
        counts = passes.ravel()[seen].tolist() if passes is not None else []
        cells = tuple(zip(seen.tolist(), counts, strict=True))
        found.append(CoverageCells(raster.floor, raster.cell_mm / 1000, raster.columns, raster.rows, cells))
    return found


def intact_days(store: FactStore, ledger: Ledger, from_ms: int, to_ms: int, now_ms: int) -> list[IndicatorResult]:
    """The intact rate of each local day that [from_ms, to_ms) touches, for trends; the last one up to now."""
    whole = Window(from_ms, min(to_ms, now_ms))
    timelines = _equipment_timelines(Asked(store, ledger, whole, now_ms))
    target = ledger.target(INTACT_RATE)
    results = []
    for day in days_between(whole.from_ms, whole.to_ms, ledger.site.time_zone):
        begin, end = day_bounds(day, ledger.site.time_zone)
        window = Window(max(begin, whole.from_ms), min(end, whole.to_ms))
        tallies = [tally(one.clipped(window.from_ms, window.to_ms)) for one in timelines]
        results.append(intact_rate(tallies, window, target, now_ms))
    return results


def coverage_by_day(store: FactStore, ledger: Ledger, from_ms: int, to_ms: int, now_ms: int) -> list[IndicatorResult]:
    """The area coverage of each local day that [from_ms, to_ms) touches, for trends; the last one up to now."""
    asked = Asked(store, ledger, Window(from_ms, min(to_ms, now_ms)), now_ms)
    zone, target = ledger.site.time_zone, ledger.target(COVERAGE)
    results = []
    for day, patrol in zip(days_between(from_ms, asked.window.to_ms, zone), _patrol_days(asked), strict=True):
        begin, end = day_bounds(day, zone)
        window = Window(max(begin, from_ms), min(end, asked.window.to_ms))
        results.append(coverage_result([patrol], window, target, now_ms))
    return results


def _window(ledger: Ledger, indicator: str, window: AnyWindow, now_ms: int) -> Window:
    if indicator not in _COMPUTE:
        raise UnknownIndicator(f"there is no indicator {indicator!r}; there are {', '.join(_COMPUTE)}")
    if window is None:
        window = DEFINITIONS[indicator].default_window if indicator in DEFINITIONS else "24h"
    if isinstance(window, str):
        return named_window(window, ledger.site.time_zone, now_ms)
    return window if isinstance(window, Window) else Window(*window)


def _last_day(now_ms: int) -> tuple[int, int]:
    return now_ms - 24 * 3_600_000, now_ms


def _equipment_timelines(asked: Asked) -> list[Timeline]:
    ledger, window = asked.ledger, asked.until_now
    if window.from_ms >= asked.now_ms:
        return []
    around = facts_window(window, asked.now_ms)
    devices = asked.store.timelines(ledger, *around, [one.device for one in ledger.equipment])
    return [equipment_timeline(devices.get(one.device), lifetime(one, ledger.site), window) for one in ledger.equipment]


def _intact_rate(asked: Asked) -> IndicatorResult:
    tallies = [tally(timeline) for timeline in once(asked, _equipment_timelines)]
    return intact_rate(tallies, asked.window, asked.ledger.target(INTACT_RATE), asked.now_ms)


def _patrol_days(asked: Asked) -> list[PatrolDay]:
    ledger, window = asked.ledger, asked.until_now
    if window.from_ms >= window.to_ms:
        return []
    robots = asked.store.timelines(ledger, window.from_ms, window.to_ms, [robot.device for robot in ledger.robots])
    zone, began_ms = ledger.site.time_zone, _began_ms(asked)
    found = []
    for day in asked.store.covered_days(ledger, window.from_ms, window.to_ms, asked.now_ms):
        spans = clipped(required_of_day(ledger, day.day), window.from_ms, window.to_ms)
        lost = sum(lost_ms(robots.get(robot.device), spans) for robot in ledger.robots)
        robot_ms = length_ms(spans) * len(ledger.robots)
        begun = began_ms is not None and day_bounds(day.day, zone)[1] > began_ms
        found.append(PatrolDay(day.cells_covered, day.cells_required, day.required_ms, robot_ms, lost, begun))
    return found


def _began_ms(asked: Asked) -> int | None:
    """When the site was both commissioned and heard of; None while nothing was ever heard of it."""
    site = asked.ledger.site
    heard_ms = asked.store.first_heard_ms(site.id)
    if heard_ms is None or site.commissioned is None:
        return heard_ms
    return max(heard_ms, date_start(site.commissioned, site.time_zone))


def _robot_coverage(asked: Asked) -> IndicatorResult:
    return coverage_result(once(asked, _patrol_days), asked.window, asked.ledger.target(COVERAGE), asked.now_ms)


def _spaces(store: FactStore, ledger: Ledger, from_ms: int, to_ms: int) -> Mapping[str, Timeline]:
    return store.timelines(ledger, from_ms, to_ms, [one.sensor for one in ledger.spaces if one.sensor])


def _occupancy(asked: Asked) -> Occupancy:
    ledger, window = asked.ledger, asked.until_now
    if window.from_ms == window.to_ms:
        moment = min(window.to_ms, asked.now_ms)
        balances = asked.store.balances(ledger, moment - 1, moment)
        sensed = occupancy_at(ledger.sensed_spaces, _spaces(asked.store, ledger, moment - 1, moment), moment)
        return sensed + counted_at(ledger.parking, balances, moment)
    begin, end = facts_window(window, asked.now_ms, FLICKER_MS)
    timelines = _spaces(asked.store, ledger, begin, end)
    sensed = occupancy_over(ledger.sensed_spaces, timelines, window.from_ms, window.to_ms)
    balances = asked.store.balances(ledger, window.from_ms, window.to_ms)
    return sensed + counted_over(ledger.parking, balances, window.from_ms, window.to_ms)


def _parking(asked: Asked) -> IndicatorResult:
    return occupancy_result(once(asked, _occupancy), asked.window, asked.ledger.target(OCCUPANCY), asked.now_ms)


def _data_coverage(asked: Asked) -> IndicatorResult:
    """Known / (known + unknown) time of equipment, spaces, and robots in required hours, pooled."""
    equipment = sum((tally(timeline) for timeline in once(asked, _equipment_timelines)), Tally())
    spaces = once(asked, _occupancy) if asked.window.from_ms < asked.window.to_ms else Occupancy(0, 0, 0)
    robots = once(asked, _patrol_days)
    lost = sum(day.lost_ms for day in robots)
    known = equipment.up_ms + equipment.down_ms + spaces.known + sum(day.robot_ms for day in robots) - lost
    total = known + equipment.unknown_ms + spaces.unknown + lost
    value, target = ratio(known, total), asked.ledger.target(DATA_COVERAGE)
    return IndicatorResult(
        id=DATA_COVERAGE, value=value, low=value, high=value, coverage=value, verdict=judge(value, value, target),
        target=target, numerator=known, denominator=total, unit="ms", window=asked.window,
        final=is_final(asked.window, asked.now_ms),
    )  # fmt: skip


_COMPUTE: dict[str, Computation] = {
    INTACT_RATE: _intact_rate,
    COVERAGE: _robot_coverage,
    OCCUPANCY: _parking,
    DATA_COVERAGE: _data_coverage,
    **PATROL,
    **ALARMS,
}
