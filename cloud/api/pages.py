"""Keeps the picture of every site that somebody looks at, and tells what changed once a second.

A site that nobody looks at costs nothing. Facts are asked at most every `PAST_S`, in a thread; the rest comes
from memory. Belongs to one event loop.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Protocol

import msgspec
import structlog

from cloud.alerts.alert import Alert
from cloud.alerts.engine import AlertEngine
from cloud.api.painting import Past, alert_json, paint, shown_value, thing_names
from cloud.api.picture import Json, Picture, difference
from cloud.api.stream import DeltaStream, Position
from cloud.facts.ledger import Ledger
from cloud.live import LiveSite, LiveState
from devices.errors import Transient
from devices.instants import format_instant

TICK_S = 1.0
PAST_S = 5.0  # how old what the facts say may be on a page
PAST_SHARE = 5  # where asking takes long (an import is running), ask less often: at most a fifth of the time
FIRST_PATIENCE_S = 2.0  # a first snapshot waits this long for the facts, then shows what is known without them
PATIENCE_S = 0.25
LOOKED_AT_S = 60.0  # a page without a stream is kept fresh this long after its last snapshot
_log = structlog.get_logger(__name__)


class FactsView(Protocol):
    """What the page asks of the facts. Methods block; they are called in threads."""

    def ledger(self, site: str) -> Ledger | None:
        """Give the newest ledger of a site; the same object while there is no newer one."""
        ...

    def past(self, site: str, now_ms: int) -> Past:
        """Give what the facts say about a site up to `now_ms`."""
        ...


class SitePage:
    """One site: its picture, and the stream of its changes."""

    def __init__(self, site: str, facts: FactsView, live: LiveSite, engine: AlertEngine, epoch: str) -> None:
        self.stream = DeltaStream(epoch)
        self._site = site
        self._facts = facts
        self._live = live
        self._engine = engine
        self._ledger: Ledger | None = None
        self._past = Past()
        self._past_at = 0.0  # monotonic, 0 for never
        self._past_took_s = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._looked_at = monotonic()
        self._painted: tuple[object, ...] = ()
        self._picture: Picture | None = None
        self._time = ""
        self._closed: dict[str, Alert] = {}
        self._alerts_changed = 0
        self._encoded: tuple[Position, bytes] | None = None
        self._busy = asyncio.Lock()

    @property
    def is_watched(self) -> bool:
        """Whether anybody looks."""
        return self.stream.readers > 0 or monotonic() - self._looked_at < LOOKED_AT_S

    def alert_changed(self, alert: Alert) -> None:
        """Take note of an alert that the next delta has to tell."""
        self._alerts_changed += 1
        if not alert.is_open:
            self._closed[alert.id] = alert

    async def tick(self, now_ms: int) -> None:
        """Publish what changed since the last tick. Raises Transient when the facts cannot be read."""
        async with self._busy:
            await self._refresh(now_ms)

    async def snapshot(self, now_ms: int) -> tuple[Position, bytes]:
        """Give the whole picture as encoded JSON, not older than a tick, and its position."""
        self._looked_at = monotonic()
        async with self._busy:
            await self._refresh(now_ms)
            position = self.stream.position
            if self._encoded is None or self._encoded[0] != position:
                assert self._picture is not None  # noqa: S101  painted by the refresh
                whole = self._picture.snapshot(position.epoch, position.seq, self._time)
                self._encoded = (position, msgspec.json.encode(whole))
            return self._encoded

    async def past(self, now_ms: int) -> Past:
        """Give what the facts say, as old as `PAST_S` where they answer quickly."""
        async with self._busy:
            await self._ask_facts_if_due(now_ms)
            return self._past

    async def close(self) -> None:
        """End the streams and wait for a thread that still asks the facts."""
        self.stream.close_all()
        if self._asking is not None:
            await asyncio.wait({self._asking})

    async def _refresh(self, now_ms: int) -> None:
        await self._ask_facts_if_due(now_ms)
        if self._ledger is None:
            self._ledger = await asyncio.to_thread(self._facts.ledger, self._site)
        now = (id(self._ledger), self._past_at, self._live.revision, self._alerts_changed)
        if self._ledger is None or (now == self._painted and self._picture is not None):
            return
        self._painted = now
        before = self._picture
        after = paint(self._ledger, self._live, self._past, self._engine.open_alerts(self._site), now_ms)
        names = thing_names(self._ledger)
        closed = {name: alert_json(alert, names) for name, alert in self._closed.items()}
        said = difference(before, after, closed) if before is not None else None
        self._closed.clear()
        self._picture = after
        if said == {}:
            return
        self._time = format_instant(now_ms)
        if said is not None:
            self._publish(said)
        elif before is not None:
            self.stream.restart()

    async def _ask_facts_if_due(self, now_ms: int) -> None:
        """Ask in a task of its own: a page does not stand still while the facts are slow."""
        rest_s = max(PAST_S, PAST_SHARE * self._past_took_s)
        if self._asking is None and (not self._past_at or monotonic() - self._past_at >= rest_s):
            self._asking = asyncio.create_task(self._ask_facts(now_ms), name=f"facts of {self._site}")
        if self._asking is None:
            return
        patience_s = PATIENCE_S if self._past_at else FIRST_PATIENCE_S
        done, _ = await asyncio.wait({self._asking}, timeout=patience_s)
        if done:
            asked, self._asking = self._asking, None
            asked.result()

    async def _ask_facts(self, now_ms: int) -> None:
        began = monotonic()
        self._ledger = await asyncio.to_thread(self._facts.ledger, self._site)
        past = await asyncio.to_thread(self._facts.past, self._site, now_ms)
        devices = self._live.devices.items()
        shown = {name: value for name, device in devices if (value := shown_value(device, now_ms)) is not None}
        self._past = past.with_values(shown)
        self._past_at = monotonic()
        self._past_took_s = self._past_at - began

    def _publish(self, said: Json) -> None:
        at = self.stream.position
        delta = {"epoch": at.epoch, "seq": at.seq + 1, "t": self._time, **said}
        self.stream.publish(at.seq + 1, msgspec.json.encode(delta))


class SitePages:
    """The pages of all sites, and the ticker behind them."""

    def __init__(
        self, facts: FactsView, live: LiveState, engine: AlertEngine, epoch: str, now: Callable[[], int]
    ) -> None:
        self._facts = facts
        self._live = live
        self._engine = engine
        self._epoch = epoch
        self._now = now
        self._pages: dict[str, SitePage] = {}
        self._stopped = False
        engine.listen(self._alert_changed)

    def page(self, site: str) -> SitePage:
        """Give the page of a site that exists."""
        page = self._pages.get(site)
        if page is None:
            page = SitePage(site, self._facts, self._live.site(site), self._engine, self._epoch)
            self._pages[site] = page
        return page

    @property
    def is_stopped(self) -> bool:
        """Whether streams are no longer opened."""
        return self._stopped

    async def run(self) -> None:
        """Tick once a second until cancelled."""
        try:
            while True:
                await asyncio.sleep(TICK_S)
                for site, page in tuple(self._pages.items()):
                    if page.is_watched:
                        await self._tick(site, page)
        finally:
            for page in self._pages.values():
                await page.close()

    async def _tick(self, site: str, page: SitePage) -> None:
        try:
            await page.tick(self._now())
        except Transient as error:
            _log.warning("page of a site is not fresh", site=site, problem=str(error))

    def stop(self) -> None:
        """End every stream, so that the server can stop. Call this before the server waits for its connections."""
        self._stopped = True
        for page in self._pages.values():
            page.stream.close_all()

    def _alert_changed(self, alert: Alert) -> None:
        page = self._pages.get(alert.key.site)
        if page is not None:
            page.alert_changed(alert)
