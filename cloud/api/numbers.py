"""Facts and indicators as the routes and pages ask for them. Blocks; safe to call from several threads."""

from collections.abc import Sequence
from threading import Lock
from time import monotonic

from cloud.api.painting import EquipmentPast, Past
from cloud.api.picture import Json
from cloud.api.services import TrendLine
from cloud.facts.days import day_bounds, day_of
from cloud.facts.ledger import Ledger
from cloud.facts.sessions import occupancy_over
from cloud.facts.store import FactStore
from cloud.indicators.definition import IndicatorResult, UnknownIndicator, Window
from cloud.indicators.equipment import INTACT_RATE, facts_window
from cloud.indicators.parking import OCCUPANCY, occupancy_result
from cloud.indicators.registry import (
    compute_indicator,
    coverage_by_day,
    coverage_cells,
    equipment_overview,
    indicator_ids,
    intact_days,
)
from cloud.indicators.robots import COVERAGE
from devices.errors import Permanent

CARDS = ((INTACT_RATE, "24h"), (COVERAGE, "today"), (OCCUPANCY, "now"))
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
        return self._store.sites()

    def ids(self) -> Sequence[str]:
        """Give the id of every indicator."""
        return indicator_ids()

    def ledger(self, site: str) -> Ledger | None:
        """Give the newest ledger of a site; the same object while there is no newer one."""
        return self._store.ledger(site)

    def past(self, site: str, now_ms: int) -> Past:
        """Give what the facts say about a site up to `now_ms`. Raises UnknownSite."""
        ledger = self._ledger(site)
        rows = {
            one.equipment.id: EquipmentPast(one.state, one.since_ms, one.strip, one.intact_24h)
            for one in equipment_overview(self._store, ledger, now_ms)
        }
        grids: dict[str, Json] = {}
        cells: dict[str, dict[int, int]] = {}
        for floor in coverage_cells(self._store, ledger, None, now_ms):
            grids[floor.floor] = {"cell_m": floor.cell_m, "columns": floor.columns, "rows": floor.rows}
            cells[floor.floor] = dict(floor.cells)
        cards = [compute_indicator(self._store, ledger, name, window, now_ms) for name, window in CARDS]
        return Past(rows, grids, cells, [one for one in cards if _concerns(ledger, one)])

    def indicator(
        self, site: str, indicator: str, window: str | tuple[int, int] | None, now_ms: int
    ) -> IndicatorResult:
        """Give one indicator. Raises UnknownSite, UnknownIndicator or BadWindow."""
        return compute_indicator(self._store, self._ledger(site), indicator, window, now_ms)

    def trend(self, site: str, indicator: str, days: int | None, now_ms: int) -> TrendLine:
        """Give an indicator by day or by hour. Raises UnknownSite or UnknownIndicator."""
        if indicator not in TREND_DAYS:
            raise UnknownIndicator(f"there is no trend of {indicator!r}; there is one of {', '.join(TREND_DAYS)}")
        key = (site, indicator, days or TREND_DAYS[indicator])
        with self._lock:
            kept = self._trends.get(key)
        if kept is not None and monotonic() - kept[0] < TREND_KEPT_S:
            return kept[1]
        line = self._trend(self._ledger(site), indicator, key[2], now_ms)
        with self._lock:
            if len(self._trends) >= TRENDS_KEPT_MAX:
                self._trends.clear()
            self._trends[key] = (monotonic(), line)
        return line

    def _trend(self, ledger: Ledger, indicator: str, days: int, now_ms: int) -> TrendLine:
        target = ledger.target(indicator)
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
        devices = [one.device for one in ledger.spaces if one.device]
        timelines = self._store.timelines(ledger, *around, devices)
        results = []
        for begin in range(first, now_ms, _HOUR_MS):
            window = Window(begin, min(begin + _HOUR_MS, now_ms))
            counted = occupancy_over(ledger.spaces, timelines, window.from_ms, window.to_ms)
            results.append(occupancy_result(counted, window, None, now_ms))
        return results

    def _ledger(self, site: str) -> Ledger:
        ledger = self._store.ledger(site)
        if ledger is None:
            raise UnknownSite(f"there is no site {site!r}")
        return ledger


def _concerns(ledger: Ledger, result: IndicatorResult) -> bool:
    """Whether a site has what the indicator is about: no card for parking where there are no spaces."""
    return bool({INTACT_RATE: ledger.equipment, COVERAGE: ledger.zones, OCCUPANCY: ledger.spaces}[result.id])
