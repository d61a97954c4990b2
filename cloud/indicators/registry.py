"""Every indicator by its id, and the states that pages show. Reads facts through `FactStore`; `now_ms` is an argument.

All functions block. A site is named by its ledger (`FactStore.ledger`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from cloud.facts.database import reading
from cloud.facts.days import day_bounds, day_of, days_between
from cloud.facts.ledger import Ledger
from cloud.facts.sessions import states_at
from cloud.facts.store import FactStore
from cloud.facts.timelines import Timeline
from cloud.indicators.asking import Asked, once
from cloud.indicators.catalogue import COMPUTATIONS, DEFINITIONS
from cloud.indicators.counted import all_equipment
from cloud.indicators.definition import (
    Better,
    Definition,
    IndicatorResult,
    UnknownGrouping,
    UnknownIndicator,
    Window,
    judge,
)
from cloud.indicators.equipment import HOUR_MS, INTACT_RATE, STRIP_HOURS, Overview, Tally, intact_rate, overviews_of
from cloud.indicators.groups import members_by
from cloud.indicators.imported import Told, imported_result, told
from cloud.indicators.patrol_days import patrol_days
from cloud.indicators.robots import COVERAGE, coverage_result
from cloud.indicators.terms import Terms, terms_at
from cloud.indicators.windows import named_window
from devices.states import SpaceState

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
    """Every indicator that is computed; those that are imported are the site's own."""
    return tuple(COMPUTATIONS)


def definitions_at(store: FactStore, ledger: Ledger, now_ms: int) -> dict[str, Definition]:
    """What every indicator of a site is, by id."""
    imported = terms_at(store.engine, ledger, now_ms).imported
    return {**{one.id: one.definition for one in imported.values()}, **DEFINITIONS}


def compute_indicator(
    store: FactStore, ledger: Ledger, indicator: str, window: AnyWindow, now_ms: int
) -> IndicatorResult:
    """One indicator of a site.

    `window` is a name (`24h`, `today`, `month`, `now`), [from, to) in Unix ms UTC, or None for the indicator's own
    default. It is not final while something of its window is still to be derived. Raises UnknownIndicator or BadWindow.
    """
    return answered(indicator, asked_about(store, ledger, indicator, window, now_ms))


def compute_site_indicators(store: FactStore, ledger: Ledger, window: AnyWindow, now_ms: int) -> list[IndicatorResult]:
    """Every indicator of a site over one window (None: each over its own default)."""
    known: dict[object, Any] = {}
    return [
        answered(indicator, asked_about(store, ledger, indicator, window, now_ms, known=known))
        for indicator in definitions_at(store, ledger, now_ms)
    ]


def compute_over(
    store: FactStore, ledger: Ledger, indicators: Iterable[str], window: Window, now_ms: int
) -> list[IndicatorResult]:
    """Several indicators over one window, from one look at the facts."""
    known: dict[object, Any] = {}
    return [answered(one, asked_about(store, ledger, one, window, now_ms, known=known)) for one in indicators]


def compute_groups(
    store: FactStore, ledger: Ledger, indicator: str, window: AnyWindow, now_ms: int, *, by: str
) -> list[IndicatorResult]:
    """One indicator for each group of a site's things, from one look at the facts. Raises also UnknownGrouping."""
    definition = _definition(store, ledger, indicator, now_ms)
    if by not in definition.by:
        raise UnknownGrouping(f"{indicator} is not asked by {by!r}; there are: {', '.join(definition.by) or 'none'}")
    whole = asked_about(store, ledger, indicator, window, now_ms)
    machines = [one.equipment for one in once(whole, all_equipment)] or None
    return [
        replace(answered(indicator, replace(whole, members=members)), group=(by, name))
        for name, members in members_by(ledger, by, machines).items()
    ]


def asked_about(
    store: FactStore, ledger: Ledger, indicator: str, window: AnyWindow, now_ms: int, *,
    known: dict[object, Any] | None = None,
) -> Asked:  # fmt: skip
    """The question for an indicator, under the terms that hold at the beginning of its window.

    `known` is what questions about the same site at the same moment have looked up already.
    """
    known = {} if known is None else known
    definition = _definition(store, ledger, indicator, now_ms)
    wanted = _window(ledger, definition, window, now_ms)
    key = ("terms", wanted.from_ms)
    if key not in known:
        known[key] = terms_at(store.engine, ledger, min(wanted.from_ms, now_ms))
    return Asked(store, ledger, wanted, now_ms, known, known[key].policy)


def judged(result: IndicatorResult, terms: Terms, better: Better) -> IndicatorResult:
    """The result held against the target of the terms."""
    target = terms.targets.of(result.id)
    if target is None:
        return replace(result, target=None, verdict=None, target_version="")
    verdict = judge(result.low, result.high, target.value, target.better or better)
    return replace(result, target=target.value, verdict=verdict, target_version=target.version)


def target_of(store: FactStore, ledger: Ledger, indicator: str, time_ms: int) -> Fraction | None:
    """The target of an indicator at a moment."""
    target = terms_at(store.engine, ledger, time_ms).targets.of(indicator)
    return None if target is None else target.value


def _definition(store: FactStore, ledger: Ledger, indicator: str, now_ms: int) -> Definition:
    if indicator in DEFINITIONS:
        return DEFINITIONS[indicator]
    imported = terms_at(store.engine, ledger, now_ms).imported.get(indicator)
    if imported is None:
        raise UnknownIndicator(f"there is no indicator {indicator!r}; there are {', '.join(COMPUTATIONS)}")
    return imported.definition


def answered(indicator: str, asked: Asked) -> IndicatorResult:
    """The indicator that `asked_about` asks for, judged."""
    terms: Terms = asked.known["terms", asked.window.from_ms]
    if indicator in COMPUTATIONS:
        result = COMPUTATIONS[indicator](asked)
        better = DEFINITIONS[indicator].better
    else:
        definition = terms.imported[indicator]
        result = imported_result(definition, once(asked, _told).get(indicator, []), asked.window, asked.now_ms)
        better = definition.better
    result = replace(judged(result, terms, better), policy_version=asked.policy.version)
    if result.final and not once(asked, _is_settled):
        return replace(result, final=False)
    return result


def _told(asked: Asked) -> dict[str, list[Told]]:
    with reading(asked.store.engine) as connection:
        return told(connection, asked.ledger.site.id, asked.window)


def _is_settled(asked: Asked) -> bool:
    return asked.store.is_settled(asked.ledger, asked.window.to_ms)


def equipment_overview(store: FactStore, ledger: Ledger, now_ms: int) -> list[Overview]:
    """State, since when, the strip of the last 24 h and the share up in them, of each equipment."""
    return overviews_of(store.equipment(ledger, now_ms - STRIP_HOURS * HOUR_MS, now_ms, now_ms), now_ms)


def space_states(store: FactStore, ledger: Ledger, now_ms: int) -> dict[str, SpaceState]:
    """Each parking space now, by space id."""
    return states_at(ledger.spaces, _spaces(store, ledger, now_ms - 1, now_ms), now_ms)


def coverage_cells(store: FactStore, ledger: Ledger, day: int | None, now_ms: int) -> list[CoverageCells]:
    """What was seen on a local day (its ordinal; None: today) up to now, for each floor that has zones."""
    begin, end = day_bounds(day_of(now_ms, ledger.site.time_zone) if day is None else day, ledger.site.time_zone)
    end = max(min(end, now_ms), begin + 1)
    days = store.covered_days(ledger, begin, end, now_ms, passes=True)
    found = []
    for name, raster in days[0].plan.rasters.items():
        passes = days[0].passes.get(name)
        seen = np.flatnonzero(passes) if passes is not None else np.empty(0, np.int64)
        counts = passes.ravel()[seen].tolist() if passes is not None else []
        cells = tuple(zip(seen.tolist(), counts, strict=True))
        found.append(CoverageCells(raster.floor, raster.cell_mm / 1000, raster.columns, raster.rows, cells))
    return found


def intact_days(store: FactStore, ledger: Ledger, from_ms: int, to_ms: int, now_ms: int) -> list[IndicatorResult]:
    """The intact rate of each local day that [from_ms, to_ms) touches, for trends; the last one up to now."""
    whole = Window(from_ms, min(to_ms, now_ms))
    asked = asked_about(store, ledger, INTACT_RATE, whole, now_ms)
    equipment = once(asked, all_equipment)
    target = target_of(store, ledger, INTACT_RATE, from_ms)
    results = []
    for day in days_between(whole.from_ms, whole.to_ms, ledger.site.time_zone):
        begin, end = day_bounds(day, ledger.site.time_zone)
        window = Window(max(begin, whole.from_ms), min(end, whole.to_ms))
        tallies = [one.within(window.from_ms, window.to_ms) or Tally() for one in equipment]
        results.append(intact_rate(tallies, window, target, now_ms))
    return results


def coverage_by_day(store: FactStore, ledger: Ledger, from_ms: int, to_ms: int, now_ms: int) -> list[IndicatorResult]:
    """The area coverage of each local day that [from_ms, to_ms) touches, for trends; the last one up to now."""
    asked = Asked(store, ledger, Window(from_ms, min(to_ms, now_ms)), now_ms)
    zone, target = ledger.site.time_zone, target_of(store, ledger, COVERAGE, from_ms)
    results = []
    for day, patrol in zip(days_between(from_ms, asked.window.to_ms, zone), patrol_days(asked), strict=True):
        begin, end = day_bounds(day, zone)
        window = Window(max(begin, from_ms), min(end, asked.window.to_ms))
        results.append(coverage_result([patrol], window, target, now_ms))
    return results


def _window(ledger: Ledger, definition: Definition, window: AnyWindow, now_ms: int) -> Window:
    if window is None:
        window = definition.default_window
    if isinstance(window, str):
        return named_window(window, ledger.site.time_zone, now_ms)
    return window if isinstance(window, Window) else Window(*window)


def _spaces(store: FactStore, ledger: Ledger, from_ms: int, to_ms: int) -> Mapping[str, Timeline]:
    return store.timelines(ledger, from_ms, to_ms, [one.sensor for one in ledger.spaces if one.sensor])
