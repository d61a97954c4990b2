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

LOOK_S = 20.0  # days end once a day; late data may take this long to make a revision
REST_SHARE = 2.0  # of the time that a step took: whoever asks comes first
_log = structlog.get_logger(__name__)


class Recorder:
    """Belongs to the event loop; the store is called in threads."""

    def __init__(self, store: FactStore, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now

    async def run(self) -> None:
        """Issue until cancelled."""
        while True:
            try:
                for ledger in await asyncio.to_thread(self._ledgers):
                    await self.settle(ledger)
            except StorageUnavailable as error:
                _log.warning("results are issued later", problem=str(error))
            await asyncio.sleep(LOOK_S)

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
            more = issue(self._store, ledger, now_ms).more
            if not more:
                assess(self._store, ledger, now_ms)
            return more
