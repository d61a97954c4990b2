"""Rectification items on disk and in memory, with what each change tells a work-order system.

A change, its entries, their links in the chain and the message are one transaction. Belongs to one event loop.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from cloud.alerts.alert import Entry
from cloud.alerts.chain import append, entry_of, row_of
from cloud.alerts.outbox import Notification, Outbox, notification_id
from cloud.alerts.rectification import Event, Item, Reported, step
from cloud.alerts.store import VersionMismatch
from cloud.facts.database import reading, writing
from cloud.facts.failures import asking
from cloud.facts.tables_alerts import alert_entries
from cloud.facts.tables_handling import rectification_items
from devices.instants import format_instant

PAGE_MAX = 500
KEPT_MAX = 20_000  # items in memory, beyond which closed ones are forgotten
WORK_ORDER = "work-order"
EVENT_PREFIX = "io.gatehouse.rectification."
_decoder = msgspec.json.Decoder(Item)


class ItemFilter(msgspec.Struct, frozen=True):
    """Which items are wanted. An empty set asks for all."""

    sites: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    overdue_at_ms: int | None = None  # only those whose date, or that of their plan, has passed by then
    open_only: bool = True


class ItemStore:
    """Items in the database of the facts. Every method blocks; call them from a thread."""

    def __init__(self, engine: sa.Engine, outbox: Outbox) -> None:
        self._engine = engine
        self._outbox = outbox

    def save(self, item: Item, entries: Sequence[Entry], people: Sequence[str] = ()) -> None:
        """Keep an item with its new entries and tell of them its owner and `people`, all or nothing.

        Raises VersionMismatch when an entry of that version exists already, StorageUnavailable.
        """
        row = _row(item)
        where = (rectification_items.c.site == item.site) & (rectification_items.c.id == item.id)
        try:
            with asking("rectification items"), writing(self._engine) as connection:
                connection.execute(alert_entries.insert(), [row_of(item.site, item.id, entry) for entry in entries])
                append(connection, item.site, [(item.id, entry) for entry in entries])
                if not connection.execute(rectification_items.update().where(where).values(row)).rowcount:
                    connection.execute(rectification_items.insert(), row)
                self._outbox.add(connection, [_message(item, entry, people) for entry in entries])
        except IntegrityError as error:
            raise VersionMismatch("The item was changed by somebody else in between.") from error
        self._outbox.added()

    def open_items(self) -> list[Item]:
        """Give every item that is not closed."""
        return self._found(sa.select(rectification_items.c.body).where(rectification_items.c.closed == sa.false()))

    def find(self, item: str) -> Item | None:
        """Give the item of this id."""
        found = self._found(sa.select(rectification_items.c.body).where(rectification_items.c.id == item))
        return found[0] if found else None

    def history(self, item: Item) -> list[Entry]:
        """Give every change of an item, oldest first."""
        columns = [alert_entries.c[name] for name in Entry.__struct_fields__]
        where = (alert_entries.c.site == item.site) & (alert_entries.c.alert == item.id)
        with asking("rectification items"), reading(self._engine) as connection:
            rows = connection.execute(sa.select(*columns).where(where).order_by(alert_entries.c.version))
            return [entry_of(row) for row in rows]

    def page(self, wanted: ItemFilter, limit: int, before: str | None = None) -> list[Item]:
        """Give at most `limit` items, the newest first by id, after the one named `before`."""
        columns = rectification_items.c
        query = sa.select(columns.body).order_by(columns.id.desc()).limit(limit)
        if wanted.open_only:
            query = query.where(columns.closed == sa.false())
        for column, values in (
            (columns.site, wanted.sites),
            (columns.step, wanted.steps),
            (columns.owner, wanted.owners),
        ):
            if values:
                query = query.where(column.in_(sorted(values)))
        if wanted.overdue_at_ms is not None:
            at_ms = wanted.overdue_at_ms
            query = query.where(
                columns.closed == sa.false(), (columns.plan_due_ms <= at_ms) | (columns.due_ms <= at_ms)
            )
        if before is not None:
            query = query.where(columns.id < before)
        return self._found(query)

    def _found(self, query: "sa.Select[Any]") -> list[Item]:
        with asking("rectification items"), reading(self._engine) as connection:
            return [_decoder.decode(body) for body in connection.execute(query).scalars()]


class ItemBook:
    """The items that are open, in memory as on disk: every change of one goes through here."""

    def __init__(self, store: ItemStore, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now
        self._items: dict[str, Item] = {}
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Take up what the last process left."""
        for item in await asyncio.to_thread(self._store.open_items):
            self._items[item.id] = item

    def open_items(self, site: str) -> list[Item]:
        """Give the open items of a site, oldest first."""
        mine = (one for one in self._items.values() if one.site == site and not one.is_closed)
        return sorted(mine, key=lambda one: one.id)

    def get(self, item: str) -> Item | None:
        """Give the item of this id, if it is open or was closed not long ago."""
        return self._items.get(item)

    async def report(self, item: Item, actor: str = "", note: str = "") -> Item:
        """Open an item, or open it again; one that a person withdrew stays so."""
        async with self._writing:
            return await self._apply(await self._current(item.id), Reported(item, actor, note))

    async def handle(
        self, item: str, event: Event, version: int | None = None, *, people: Sequence[str] = ()
    ) -> Item | None:
        """Let something happen to an item; the item afterwards, None when there is none.

        `version` is the one that a person saw (of If-Match); `people` are told besides the
        owner. Raises VersionMismatch and what `step` raises.
        """
        async with self._writing:
            current = await self._current(item)
            if current is None:
                return None
            if version is not None and version != current.version:
                raise VersionMismatch(f"The item is at version {current.version}, not {version}.")
            return await self._apply(current, event, people)

    async def _current(self, item: str) -> Item | None:
        known = self._items.get(item)
        return known if known is not None else await asyncio.to_thread(self._store.find, item)

    async def _apply(self, item: Item | None, event: Event, people: Sequence[str] = ()) -> Item:
        after, entries = step(item, event, self._now())
        if entries:
            await asyncio.to_thread(self._store.save, after, entries, people)
        if len(self._items) >= KEPT_MAX:
            self._items = {name: one for name, one in self._items.items() if not one.is_closed}
        self._items[after.id] = after
        return after


def _message(item: Item, entry: Entry, people: Sequence[str]) -> Notification:
    """What a work-order system is told: the item after its change, and the change."""
    kind = EVENT_PREFIX + entry.kind
    return Notification(
        id=notification_id(item.site, entry.recorded_ms, item.id, str(entry.version)),
        site=item.site,
        kind=WORK_ORDER,
        at_ms=entry.recorded_ms,
        severity=item.severity,
        level=2 if entry.kind == "overdue" else 1,
        people=tuple(dict.fromkeys([item.owner, *people] if item.owner else people)),
        drill=item.drill,
        event=kind,
        data={
            "id": item.id,
            "site": item.site,
            "alert": item.alert or None,
            "thing": item.thing or None,
            "rule": item.rule or None,
            "severity": item.severity.value,
            "step": item.step.value,
            "title": item.title,
            "plan": item.plan,
            "owner": item.owner or None,
            "due": format_instant(item.due_ms) if item.due_ms else None,
            "progress": item.progress,
            "ticket": item.ticket or None,
            "closed": item.is_closed,
            "drill": item.drill,
            "version": item.version,
            "actor": entry.actor or None,
            "note": entry.note or None,
        },
    )


def _row(item: Item) -> dict[str, object]:
    return {
        "site": item.site,
        "id": item.id,
        "alert": item.alert,
        "step": item.step.value,
        "owner": item.owner,
        "closed": item.is_closed,
        "plan_due_ms": None if item.is_planned else item.plan_due_ms,
        "due_ms": item.due_ms,
        "version": item.version,
        "body": msgspec.json.encode(item),
    }
