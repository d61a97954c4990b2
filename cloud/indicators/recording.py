"""Issues results in the background, site by site, and judges periods when they are final."""

import asyncio
from collections.abc import Callable
from time import monotonic

import structlog

from cloud.facts.failures import asking
from cloud.facts.ledger import Ledger
from cloud.facts.store import FactStore
from cloud.indicators.assessment import assess
from cloud.indicators.issuing import issue
from devices.errors import StorageUnavailable

HOUR_MS = 3_600_000
LOOK_S = 60.0  # days end once a day; late data may take this long to make a revision
REST_SHARE = 2.0  # of the time that a step took: whoever asks comes first
_log = structlog.get_logger(__name__)


class Recorder:
    """Belongs to the event loop; the store is called in threads."""

    def __init__(self, store: FactStore, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now
        self._judged: dict[str, int] = {}  # the hour in which each site's periods were last looked at

    async def run(self) -> None:
        """Issue until cancelled."""
        while True:
            try:
                for ledger in await asyncio.to_thread(self._ledgers):
                    await self._settle_alone(ledger)
            except StorageUnavailable as error:
                _log.warning("results are issued later", problem=str(error))
            await asyncio.sleep(LOOK_S)

    async def _settle_alone(self, ledger: Ledger) -> None:
        """What cannot be worked out at one site keeps no other site waiting. Raises StorageUnavailable."""
        try:
            await self.settle(ledger)
        except (ValueError, ArithmeticError, LookupError, TypeError) as error:
            _log.error("results of a site cannot be issued", site=ledger.site.id, problem=str(error), exc_info=True)

    async def settle(self, ledger: Ledger) -> None:
        """Issue all that is due of a site, step by step. Raises StorageUnavailable."""
        more = True
        while more:
            began = monotonic()
            more = await asyncio.to_thread(self._step, ledger)
            await asyncio.sleep(REST_SHARE * (monotonic() - began))

    def _ledgers(self) -> list[Ledger]:
        with asking("ledgers"):
            return self._store.sites()

    def _step(self, ledger: Ledger) -> bool:
        with asking("results"):
            now_ms = self._now()
            done = issue(self._store, ledger, now_ms)
            site, hour = ledger.site.id, now_ms // HOUR_MS
            if not done.more and (done.rows or self._judged.get(site) != hour):
                assess(self._store, ledger, now_ms)
                self._judged[site] = hour
            return done.more
