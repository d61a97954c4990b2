"""Everything behind the API of one process, put together: live state, alerts, numbers, pages, routes."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI

from cloud.alerts.engine import AlertEngine
from cloud.alerts.past import PastAlerts
from cloud.alerts.store import AlertStore
from cloud.alerts.watch import SiteWatch
from cloud.api.app import build_api
from cloud.api.numbers import SiteNumbers
from cloud.api.pages import SitePages
from cloud.api.services import Services
from cloud.facts.newest import newest
from cloud.facts.store import FactStore
from cloud.history.store import HistoryReader
from cloud.ingest.gateways import GatewayKeys
from cloud.ingest.identities import Identities
from cloud.live import LiveState

Work = Callable[[], Coroutine[None, None, None]]


@dataclass(frozen=True, slots=True)
class Sources:
    """What the front is put upon. `now` is Unix ms UTC; `epoch` names this run of the process in the streams."""

    facts: FactStore
    live: LiveState
    keys: GatewayKeys
    identities: Identities
    history: HistoryReader
    now: Callable[[], int]
    epoch: str
    version: str = "0"


class Front:
    """Build it in the event loop's thread; `restore`, then run `work`, and `stop` before the server stops."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        live, now = sources.live, sources.now
        store = AlertStore(sources.facts.engine)
        self.alerts = AlertEngine(store, live, SiteWatch(sources.facts, sources.keys, sources.identities), now)
        self._past = PastAlerts(self.alerts, live, sources.facts, now)
        numbers = SiteNumbers(sources.facts)
        self.pages = SitePages(numbers, live, self.alerts, sources.epoch, now)
        self._services = Services(
            now=now,
            live=live,
            alerts=self.alerts,
            alert_store=store,
            pages=self.pages,
            numbers=numbers,
            history=sources.history,
            gateways=sources.keys,
            identities=sources.identities,
            version=sources.version,
        )

    def app(self, *more: APIRouter) -> FastAPI:
        """The application: the API and the routers of `more` (uplink, page files, health)."""
        return build_api(self._services, *more)

    async def restore(self) -> None:
        """Take up the live state from the facts. Call it before frames are processed or just after."""
        facts = self._sources.facts
        for ledger in await asyncio.to_thread(facts.sites):
            site = ledger.site.id
            self._sources.live.site(site).restore(await asyncio.to_thread(newest, facts.engine, site))

    @property
    def work(self) -> dict[str, Work]:
        """What runs in the background until it is cancelled, by the name of the task."""
        return {"alerts": self.alerts.run, "past alerts": self._past.run, "pages": self.pages.run}

    def stop(self) -> None:
        """End the open streams: a server waits for them."""
        self.pages.stop()
