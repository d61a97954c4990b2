"""What the API is built upon. The aggregator makes one of these and hands it to `build_api`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cloud.access.door import Door
from cloud.alerts.engine import AlertEngine
from cloud.alerts.office import Office
from cloud.alerts.store import AlertStore
from cloud.api.pages import FactsView, SitePages
from cloud.facts.ledger import Ledger
from cloud.history.store import HistoryReader
from cloud.indicators.definition import IndicatorResult
from cloud.ingest.gateways import GatewayKeys
from cloud.ingest.identities import Identities
from cloud.live import LiveState


class Numbers(FactsView, Protocol):
    """What the routes ask of facts and indicators. Methods block; they are called in threads."""

    def sites(self) -> Sequence[Ledger]:
        """Give the newest ledger of every site, by site id."""
        ...

    def indicator(
        self, site: str, indicator: str, window: str | tuple[int, int] | None, now_ms: int
    ) -> IndicatorResult:
        """Give one indicator over a named window, over [from, to) in Unix ms UTC, or over its own default.

        Raises UnknownIndicator or BadWindow.
        """
        ...

    def indicators(self, site: str, window: str | tuple[int, int] | None, now_ms: int) -> Sequence[IndicatorResult]:
        """Give every indicator over a window as for one, None: each over its own default. Raises BadWindow."""
        ...

    def trend(self, site: str, indicator: str, days: int | None, now_ms: int) -> "TrendLine":
        """Give the indicator by site day or by hour, the last bucket unfinished. Raises UnknownIndicator."""
        ...


@dataclass(frozen=True, slots=True)
class TrendLine:
    """Start of each bucket (Unix ms UTC) and value; `step` is day or hour."""

    step: str
    target: float | None
    items: Sequence[tuple[int, float | None]]


@dataclass(frozen=True, slots=True)
class Services:
    """Everything the routes use. `now` is Unix ms UTC."""

    now: Callable[[], int]
    live: LiveState
    alerts: AlertEngine
    alert_store: AlertStore
    pages: SitePages
    numbers: Numbers
    history: HistoryReader
    gateways: GatewayKeys
    identities: Identities
    version: str = "0"
    office: Office | None = None  # without it alerts can be handled, but nothing falls due and no key is remembered
    door: Door | None = None  # None: everybody may do everything

    def site_of(self, kind: str, thing: str) -> str | None:
        """The site of a thing whose address does not say it; None when there is no such thing. Blocks."""
        if kind == "rectification":
            item = self.office.item_store.find(thing) if self.office is not None else None
            return None if item is None else item.site
        alert = self.alert_store.find(thing) if kind == "alert" else None
        return None if alert is None else alert.key.site
