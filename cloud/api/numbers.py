"""Facts and indicators as the routes and pages ask for them. Blocks; safe to call from several threads."""

import itertools
from collections.abc import Iterator, Sequence
from threading import Lock
from time import monotonic

from cloud.api.painting import EquipmentPast, Past
from cloud.api.picture import Json
from cloud.api.services import TrendLine
from cloud.facts.days import day_bounds, day_of
from cloud.facts.failures import asking
from cloud.facts.ledger import Ledger
from cloud.facts.sessions import counted_over, occupancy_between
from cloud.facts.store import FactStore
from cloud.indicators.definition import IndicatorResult, UnknownIndicator, Window
from cloud.indicators.equipment import (
    INTACT_RATE,
    STRIP_HOURS,
    facts_window,
    overviews_of,
)
from cloud.indicators.parking import OCCUPANCY, occupancy_result
from cloud.indicators.registry import (
    compute_indicator,
    compute_site_indicators,
    coverage_by_day,
    coverage_cells,
    intact_days,
    target_of,
)
from cloud.indicators.robots import COVERAGE
from devices.errors import Permanent

PATIENCE_S = 0.5  # a request helps to derive what is missing for this long, then answers from what there is
TREND_DAYS = {INTACT_RATE: 7, COVERAGE: 14, OCCUPANCY: 2}
HOURLY_DAYS_MAX = 14
TREND_KEPT_S = 60.0
TRENDS_KEPT_MAX = 256
_HOUR_MS = 3_600_000


class UnknownSite(Permanent):
    """A site without a ledger."""


class SiteNumbers:
    """`cloud.api.services.Numbers` over the store of facts. Trends are kept for a minute: they look far back."""

    def __init__(self, store: FactStore) -> None:
        self._store = store
        self._trends: dict[tuple[str, str, int], tuple[float, TrendLine]] = {}
        self._lock = Lock()

    def sites(self) -> Sequence[Ledger]:
        """Give the newest ledger of every site, by site id."""
        with asking("ledgers"):
            return self._store.sites()

    def ledger(self, site: str) -> Ledger | None:
        """Give the newest ledger of a site; the same object while there is no newer one."""
        with asking("ledgers"):
            return self._store.ledger(site)

    def past(self, site: str, now_ms: int) -> Past:
        """Give what the facts say about a site up to `now_ms`. Raises UnknownSite or StorageUnavailable."""
        ledger = self._ledger(site)
        with asking("facts"):
            self._store.settle(ledger, now_ms, PATIENCE_S)
            return self._past(ledger, now_ms)

    def indicator(
        self, site: str, indicator: str, window: str | tuple[int, int] | None, now_ms: int
    ) -> IndicatorResult:
        """Give one indicator. Raises UnknownSite, UnknownIndicator, BadWindow or StorageUnavailable."""
        ledger = self._ledger(site)
        with asking("facts"):
            self._store.settle(ledger, now_ms, PATIENCE_S)
            return compute_indicator(self._store, ledger, indicator, window, now_ms)

    def indicators(self, site: str, window: str | tuple[int, int] | None, now_ms: int) -> list[IndicatorResult]:
        """Give every indicator, all from one look. Raises UnknownSite, BadWindow or StorageUnavailable."""
        ledger = self._ledger(site)
        with asking("facts"):
            self._store.settle(ledger, now_ms, PATIENCE_S)
            return compute_site_indicators(self._store, ledger, window, now_ms)

    def trend(self, site: str, indicator: str, days: int | None, now_ms: int) -> TrendLine:
        """Give an indicator by day or by hour. Raises UnknownSite or UnknownIndicator."""
        if indicator not in TREND_DAYS:
            raise UnknownIndicator(f"there is no trend of {indicator!r}; there is one of {', '.join(TREND_DAYS)}")
        key = (site, indicator, days or TREND_DAYS[indicator])
        with self._lock:
            kept = self._trends.get(key)
        if kept is not None and monotonic() - kept[0] < TREND_KEPT_S:
            return kept[1]
        ledger = self._ledger(site)
        with asking("facts"):
            settled = self._store.settle(ledger, now_ms, PATIENCE_S)
            line = self._trend(ledger, indicator, key[2], now_ms)
        if not settled:
            return line
        with self._lock:
            if len(self._trends) >= TRENDS_KEPT_MAX:
                self._trends.clear()
            self._trends[key] = (monotonic(), line)
        return line

    def _past(self, ledger: Ledger, now_ms: int) -> Past:
        day = Window(now_ms - STRIP_HOURS * _HOUR_MS, now_ms)
        timelines = self._store.equipment(ledger, day.from_ms, day.to_ms, now_ms)
        rows = {
            one.equipment.id: EquipmentPast(one.state, one.since_ms, one.strip, one.intact_24h)
            for one in overviews_of(timelines, now_ms)
        }
        grids: dict[str, Json] = {}
        cells: dict[str, dict[int, int]] = {}
        for floor in coverage_cells(self._store, ledger, None, now_ms):
            grids[floor.floor] = {"cell_m": floor.cell_m, "columns": floor.columns, "rows": floor.rows}
            cells[floor.floor] = dict(floor.cells)
        return Past(rows, grids, cells, list(self._cards(ledger, now_ms)))

    def _cards(self, ledger: Ledger, now_ms: int) -> Iterator[IndicatorResult]:
        """No card for what a site does not have."""
        if ledger.equipment or ledger.robots:
            yield compute_indicator(self._store, ledger, INTACT_RATE, "24h", now_ms)
        if ledger.zones:
            yield compute_indicator(self._store, ledger, COVERAGE, "today", now_ms)
        if ledger.parking:
            yield compute_indicator(self._store, ledger, OCCUPANCY, "now", now_ms)

    def _trend(self, ledger: Ledger, indicator: str, days: int, now_ms: int) -> TrendLine:
        target = target_of(self._store, ledger, indicator, now_ms)
        step = "hour" if indicator == OCCUPANCY else "day"
        if indicator == OCCUPANCY:
            results = self._occupancy_by_hour(ledger, min(days, HOURLY_DAYS_MAX) * 24, now_ms)
        else:
            zone = ledger.site.time_zone
            from_ms, _ = day_bounds(day_of(now_ms, zone) - days + 1, zone)
            by_day = intact_days if indicator == INTACT_RATE else coverage_by_day
            results = by_day(self._store, ledger, from_ms, now_ms, now_ms)
        items = [(one.window.from_ms, None if one.value is None else float(one.value)) for one in results]
        return TrendLine(step, None if target is None else float(target), items)

    def _occupancy_by_hour(self, ledger: Ledger, hours: int, now_ms: int) -> list[IndicatorResult]:
        last = now_ms // _HOUR_MS * _HOUR_MS
        first = last - (hours - 1) * _HOUR_MS
        around = facts_window(Window(first, now_ms), now_ms)
        devices = [one.sensor for one in ledger.spaces if one.sensor]
        timelines = self._store.timelines(ledger, *around, devices)
        edges = [*range(first, now_ms, _HOUR_MS), now_ms]
        windows = [Window(begin, end) for begin, end in itertools.pairwise(edges)]
        balances = self._store.balances(ledger, first, now_ms)
        counted = [
            sensed + counted_over(ledger.parking, balances, window.from_ms, window.to_ms)
            for sensed, window in zip(occupancy_between(ledger.sensed_spaces, timelines, edges), windows, strict=True)
        ]
        return [occupancy_result(one, window, None, now_ms) for one, window in zip(counted, windows, strict=True)]

    def _ledger(self, site: str) -> Ledger:
        ledger = self.ledger(site)
        if ledger is None:
            raise UnknownSite(f"there is no site {site!r}")
        return ledger
