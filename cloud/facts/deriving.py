"""Keeps what is derived from facts up to date in the background, so that whoever asks need not wait for it.

Late frames and imports make days and quarter hours worth computing again. They are computed in small steps with a
rest after each, because frames that arrive and pages that ask come first.
"""

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic

import structlog

from cloud.facts.failures import asking
from cloud.facts.ledger import Ledger
from cloud.facts.store import FactStore
from devices.errors import StorageUnavailable

LOOK_S = 2.0  # what arrived is taken up this soon
LOOK_EVERYWHERE_S = 60.0  # midnights and quarter hours pass without frames, too
STEP_S = 0.2
REST_SHARE = 1.5  # of the time that a step took
ROUND_REST_SHARE = 1.0  # of the time that everything took: while an import runs, later days are computed many times
_log = structlog.get_logger(__name__)


class Deriver:
    """Belongs to the event loop; the store is called in threads."""

    def __init__(self, store: FactStore, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now
        self._due: set[str] = set()

    def frames_arrived(self, site: str, _: object, __: int) -> None:
        """Take note that facts of a site came in."""
        self._due.add(site)

    async def run(self) -> None:
        """Derive until cancelled."""
        looked_everywhere = 0.0
        while True:
            began = monotonic()
            everywhere = not looked_everywhere or began - looked_everywhere >= LOOK_EVERYWHERE_S
            if everywhere:
                looked_everywhere = began
            due, self._due = self._due, set()
            try:
                for ledger in await asyncio.to_thread(self._ledgers, None if everywhere else due):
                    await self.settle(ledger)
            except StorageUnavailable as error:
                self._due |= due
                _log.warning("facts are derived later", problem=str(error))
            await asyncio.sleep(max(LOOK_S, ROUND_REST_SHARE * (monotonic() - began)))

    async def settle(self, ledger: Ledger) -> None:
        """Derive all that there is of a site, step by step. Raises StorageUnavailable."""
        while True:
            began = monotonic()
            if await asyncio.to_thread(self._step, ledger):
                return
            await asyncio.sleep(REST_SHARE * (monotonic() - began))

    def _ledgers(self, sites: Iterable[str] | None) -> list[Ledger]:
        with asking("ledgers"):
            if sites is None:
                return self._store.sites()
            return [ledger for ledger in map(self._store.ledger, sorted(sites)) if ledger is not None]

    def _step(self, ledger: Ledger) -> bool:
        with asking("facts"):
            return self._store.settle(ledger, self._now(), STEP_S)
