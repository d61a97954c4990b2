"""Faults and signals that were over before anybody here could know: found in the facts, recorded, never paged.

Frames that arrive late or are imported are looked through once they have stopped coming for a while; after a
start everything of the last weeks is, because nobody remembers what came last.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from cloud.alerts.engine import AlertEngine
from cloud.alerts.past_signals import signal_spans
from cloud.facts.failures import asking
from cloud.facts.ledger import Ledger
from cloud.facts.store import FactStore
from cloud.facts.timelines import COUNTING, STATE_BITS
from cloud.indicators.definition import Window
from cloud.indicators.equipment import equipment_timeline, facts_window, lifetime
from cloud.live import LiveState
from devices.errors import StorageUnavailable
from devices.states import Counts

LOOK_S = 10.0
SETTLED_MS = 30_000  # without a late frame for this long: the rest of a backlog may say how a fault ended
LOOK_BACK_MS = 35 * 24 * 3_600_000  # at a start
_log = structlog.get_logger(__name__)

Spans = Mapping[str, Sequence[tuple[int, int]]]


def fault_spans(store: FactStore, ledger: Ledger, window: Window, now_ms: int) -> Spans:
    """Stretches of FAULT [from, to) by equipment that began and ended within the window.

    Blocks. Raises StorageUnavailable.
    """
    around = facts_window(window, now_ms)
    with asking("states"):
        store.settle(ledger, now_ms)
        devices = store.timelines(ledger, *around, [one.device for one in ledger.equipment])
    down = set(COUNTING[Counts.DOWN])
    found: dict[str, list[tuple[int, int]]] = {}
    for one in ledger.equipment:
        timeline = equipment_timeline(devices.get(one.device), lifetime(one, ledger.site), window)
        columns = (timeline.starts.tolist(), timeline.ends.tolist(), (timeline.codes & STATE_BITS).tolist())
        for begin, end, code in zip(*columns, strict=True):
            if code not in down:
                continue
            spans = found.setdefault(one.id, [])
            goes_on = spans and spans[-1][1] == begin  # the same fault, heard or not
            spans.append((spans.pop()[0] if goes_on else begin, end))
    whole = {
        name: [span for span in spans if window.from_ms < span[0] and span[1] < window.to_ms]
        for name, spans in found.items()
    }
    return {name: spans for name, spans in whole.items() if spans}


class PastAlerts:
    """Looks through what came late. Belongs to the event loop."""

    def __init__(self, engine: AlertEngine, live: LiveState, store: FactStore, now: Callable[[], int]) -> None:
        self._engine = engine
        self._live = live
        self._store = store
        self._now = now

    async def run(self) -> None:
        """Look until cancelled."""
        started = False
        while True:
            await asyncio.sleep(LOOK_S)
            started = started or await self._mark_everything()
            for live in self._live.sites():
                late = live.take_late(self._now() - SETTLED_MS)
                if late is None:
                    continue
                try:
                    await self.look(live.id, late)
                except StorageUnavailable as error:
                    live.mark_late(late, self._now())
                    _log.warning("late frames are looked through later", site=live.id, problem=str(error))

    async def _mark_everything(self) -> bool:
        now_ms = self._now()
        try:
            ledgers = await asyncio.to_thread(self._ledgers)
        except StorageUnavailable:
            return False  # tried again at the next look
        for ledger in ledgers:
            self._live.site(ledger.site.id).mark_late(now_ms - LOOK_BACK_MS, now_ms)
        return True

    def _ledgers(self) -> list[Ledger]:
        with asking("ledgers"):
            return self._store.sites()

    async def look(self, site: str, from_ms: int) -> int:
        """Record what was over by now and began after `from_ms`; how many alerts that was."""
        ledger = await asyncio.to_thread(self._store.ledger, site)
        now_ms = self._now()
        if ledger is None or from_ms >= now_ms:
            return 0
        # a fault that goes on lies open at the end of its window, so it is left to the live rules
        spans = await asyncio.to_thread(fault_spans, self._store, ledger, Window(from_ms - 1, now_ms), now_ms)
        added = await self._engine.record_passed(site, spans)
        added += await self._record_signals(site, from_ms - 1, now_ms)
        if added:
            _log.info("alerts of the past recorded", site=site, count=added)
        return added

    async def _record_signals(self, site: str, from_ms: int, to_ms: int) -> int:
        view, added = self._engine.view(site), 0
        with asking("signals"):
            found = await asyncio.to_thread(signal_spans, self._store, view, from_ms, to_ms)
        for key, spans in found.items():
            added += await self._engine.record_spans(view.rules[key.rule], key, spans)
        return added
