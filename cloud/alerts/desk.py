"""Sees to the alerts of every site as time goes by: shelves end, causes are found, duties fall due, people are told.

Each look decides from what is stored, so a process that dies in the middle does at its next start what was left to
do, and nothing twice: an alert's change and its entries are one transaction, and so are a message and the note that
it was written. Belongs to one event loop.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

import msgspec
import sqlalchemy as sa
import structlog

from cloud.alerts.alert import HOLD_MS, Alert, Key
from cloud.alerts.book import AlertBook
from cloud.alerts.duties import DUTIES, overdue, plan_due_ms
from cloud.alerts.handling import Unshelved
from cloud.alerts.items import ItemBook
from cloud.alerts.lifecycle import Event
from cloud.alerts.notices import SiteTold, decide
from cloud.alerts.outbox import Notification, Outbox
from cloud.alerts.people import Roster
from cloud.alerts.rectification import Followed, Item, Late, Step, Withdrawn, item_id, item_of
from cloud.alerts.storms import CHATTER_WINDOW_MS, Silences, Topology, inhibitions, is_chattering, is_flooded
from cloud.facts.database import reading, writing
from cloud.facts.failures import asking
from cloud.facts.tables_alerts import site_told
from devices.errors import StorageUnavailable

TICK_S = 1.0
LATE_LEVEL = 2  # of the ladder: who is told of an item whose date has passed, besides its owner
RAISES_KEPT = 64  # of each site, and of each alert: enough for every limit of storms.py
_log = structlog.get_logger(__name__)


class Places(Topology, Protocol):
    """What the desk has to know of a site besides its alerts. Answers from memory, but for `refresh`."""

    def is_due(self, site: str, now_ms: int) -> bool:
        """Whether what is known of a site is too old to decide by."""
        ...

    def refresh(self, site: str, now_ms: int) -> None:
        """Look again. Blocks. Raises StorageUnavailable."""

    def criticality(self, site: str, thing: str) -> str:
        """Give the class (A, B, C) of an equipment, empty for anything else."""
        ...

    def roster(self, site: str) -> Roster:
        """Give everybody of a site."""
        ...


class AlertDesk:
    """One for a database. `now` is Unix ms UTC."""

    def __init__(
        self,
        engine: sa.Engine,
        book: AlertBook,
        *,
        items: ItemBook,
        outbox: Outbox,
        places: Places,
        silences: Silences,
        now: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._book = book
        self._items = items
        self._outbox = outbox
        self._places = places
        self._silences = silences
        self._now = now
        self._told: dict[str, SiteTold] = {}
        self._flooded: set[str] = set()
        self._raises: dict[str, deque[tuple[int, str]]] = {}
        self._counts: dict[str, tuple[str, int]] = {}
        book.listen(self._changed)

    async def run(self) -> None:
        """Look at every site once a second until cancelled. The book is loaded by whoever runs the rules."""
        await self._items.load()
        await self._book.loaded.wait()
        for site in self._book.sites():
            for alert in self._book.of_site(site):
                self._changed(alert)
        while True:
            await asyncio.sleep(TICK_S)
            for site in self._book.sites():
                try:
                    await self.attend(site)
                except StorageUnavailable as error:
                    _log.warning("alerts of a site wait for the disk", site=site, problem=str(error))

    async def attend(self, site: str) -> None:
        """Do what is due at one site now. Raises StorageUnavailable; what was not stored is found again."""
        now_ms = self._now()
        told = await self._told_of(site)
        if not told.alerts and not self._book.has_open(site) and not self._items.open_items(site):
            return
        if self._places.is_due(site, now_ms):
            await asyncio.to_thread(self._places.refresh, site, now_ms)
        await self._book.apply([*self._shelves_over(site, now_ms), *self._inhibited(site, now_ms)])
        await self._book.apply(list(self._overdue(site, now_ms)))
        await self._see_to_items(site, now_ms)
        await self._tell(site, told, now_ms)

    def is_flooded(self, site: str) -> bool:
        """Whether a site has more alerts than a person can see to."""
        now_ms, was = self._now(), site in self._flooded
        times = [time_ms for time_ms, _ in self._raises.get(site, ())]
        if is_flooded(times, now_ms, was=was):
            self._flooded.add(site)
        else:
            self._flooded.discard(site)
        return site in self._flooded

    def chattering(self, site: str) -> list[str]:
        """Give the ids of the alerts that come and go all the time."""
        now_ms = self._now()
        times: dict[str, list[int]] = {}
        for time_ms, alert in self._raises.get(site, ()):
            if now_ms - time_ms < CHATTER_WINDOW_MS:
                times.setdefault(alert, []).append(time_ms)
        return sorted(name for name, found in times.items() if is_chattering(found, now_ms))

    def muted(self, alert: Alert) -> int:
        """Count what is told with this alert: the things behind it where they are known, else their alerts."""
        suppressed = sum(one.suppressed_by == alert.id and one.is_open for one in self._book.of_site(alert.key.site))
        if alert.key.rule in self._silences.rules and alert.is_active:
            return max(suppressed, self._places.behind(alert.key.site, alert.key.thing))
        return suppressed

    def _changed(self, alert: Alert) -> None:
        """Note a raise. Drills and the past flood nobody."""
        raised = (alert.id, alert.count)
        if not alert.is_active or alert.drill or alert.historical or self._counts.get(str(alert.key)) == raised:
            return
        self._counts[str(alert.key)] = raised
        kept = self._raises.setdefault(alert.key.site, deque(maxlen=RAISES_KEPT))
        kept.append((alert.new_ms, alert.id))

    def _shelves_over(self, site: str, now_ms: int) -> Iterable[tuple[Key, Event]]:
        for alert in self._book.of_site(site):
            if alert.is_open and alert.shelved_until_ms is not None and alert.shelved_until_ms <= now_ms:
                yield alert.key, Unshelved()

    def _inhibited(self, site: str, now_ms: int) -> Iterable[tuple[Key, Event]]:
        return inhibitions(self._book.of_site(site), self._places, self._silences, now_ms)

    def _overdue(self, site: str, now_ms: int) -> Iterable[tuple[Key, Event]]:
        for alert in self._book.of_site(site):
            if not alert.is_open:
                continue
            item = self._items.get(item_id(alert.id))
            for event in overdue(alert, now_ms, planned=item is not None and item.is_planned):
                yield alert.key, event

    async def _see_to_items(self, site: str, now_ms: int) -> None:
        alerts = {alert.id: alert for alert in self._book.of_site(site)}
        for alert in alerts.values():
            if _needs_item(alert) and not _has_item(alert, self._items.get(item_id(alert.id))):
                criticality = self._places.criticality(site, alert.key.thing)
                await self._items.report(item_of(alert, criticality, now_ms))
        for item in self._items.open_items(site):
            cause = alerts.get(item.alert)
            over = cause is not None and (not cause.is_open or cause.suppressed_by is not None)
            if over and item.step is Step.REPORTED and not item.is_planned:
                await self._items.handle(item.id, Withdrawn())
                continue
            if cause is not None and cause.is_open and _is_behind(item, cause):
                await self._items.handle(item.id, Followed(cause.severity, plan_due_ms(cause)))
            if item.due_ms is not None and item.due_ms <= now_ms and not item.overdue:
                people = self._places.roster(site).to_tell(LATE_LEVEL, now_ms, red=False)
                await self._items.handle(item.id, Late(), people=people)

    async def _tell(self, site: str, told: SiteTold, now_ms: int) -> None:
        alerts = [one for one in self._book.of_site(site) if one.is_open or _may_come_back(one, told, now_ms)]
        if not alerts and not told.alerts:
            return
        roster, flood = self._places.roster(site), self.is_flooded(site)
        messages, after = decide(site, alerts, told, roster, now_ms, muted=self.muted, flood=flood)
        if messages or after != told:
            await asyncio.to_thread(self._keep, site, messages, after)
            self._told[site] = after

    async def _told_of(self, site: str) -> SiteTold:
        if site not in self._told:
            self._told[site] = await asyncio.to_thread(self._stored, site)
        return self._told[site]

    def _stored(self, site: str) -> SiteTold:
        with asking("what was told"), reading(self._engine) as connection:
            body = connection.execute(sa.select(site_told.c.body).where(site_told.c.site == site)).scalar()
        return msgspec.json.decode(body, type=SiteTold) if body is not None else SiteTold()

    def _keep(self, site: str, messages: Collection[Notification], told: SiteTold) -> None:
        body = msgspec.json.encode(told)
        with asking("messages"), writing(self._engine) as connection:
            self._outbox.add(connection, messages)
            change = site_told.update().where(site_told.c.site == site).values(body=body)
            if not connection.execute(change).rowcount:
                connection.execute(site_told.insert(), {"site": site, "body": body})
        if messages:
            self._outbox.added()


def _may_come_back(alert: Alert, told: SiteTold, now_ms: int) -> bool:
    known = told.alerts.get(alert.id)
    return known is not None and (not known.over or now_ms - (alert.cleared_ms or 0) < HOLD_MS)


def _needs_item(alert: Alert) -> bool:
    plans = DUTIES[alert.severity].plan_ms is not None
    return plans and alert.is_open and alert.is_active and not alert.is_quiet


def _is_behind(item: Item, alert: Alert) -> bool:
    """Whether an item does not yet say what its alert says: its colour, or by when it has to be planned."""
    moved = not item.is_planned and plan_due_ms(alert) not in {None, item.plan_due_ms}
    return alert.severity is not item.severity or moved


def _has_item(alert: Alert, item: Item | None) -> bool:
    """Whether there is one for this time: what was withdrawn by itself, or verified before it came back, is not."""
    if item is None:
        return False
    return not item.is_closed or (item.withdrawn and bool(item.closed_by)) or alert.new_ms <= (item.closed_ms or 0)
