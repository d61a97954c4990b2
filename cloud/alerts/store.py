"""Alerts on disk: each as it stands, and its append-only history, in one transaction. Records, never recomputed."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from cloud.alerts.alert import Alert, Entry, Handling, Key, Machine
from cloud.alerts.chain import append, entry_of, row_of
from cloud.facts.database import reading, writing
from cloud.facts.failures import asking
from cloud.facts.tables_alerts import alert_entries, alert_records
from devices.errors import Permanent

PAGE_MAX = 500

_decoder = msgspec.json.Decoder(Alert)


class VersionMismatch(Permanent):
    """Somebody else changed the alert in between."""


class Filter(msgspec.Struct, frozen=True):
    """Which alerts are wanted. An empty set and None ask for all; `open_only` leaves out what concerns nobody any more.

    An assignee `""` is nobody.
    """

    sites: frozenset[str] = frozenset()
    conditions: frozenset[str] = frozenset()
    handlings: frozenset[str] = frozenset()
    severities: frozenset[str] = frozenset()
    rules: frozenset[str] = frozenset()
    things: frozenset[str] = frozenset()
    assignees: frozenset[str] = frozenset()
    shelved: bool | None = None
    suppressed: bool | None = None
    drill: bool | None = None
    historical: bool | None = None
    open_only: bool = True


SORTS: Mapping[str, "sa.Column[Any]"] = MappingProxyType(
    {
        "opened_at": alert_records.c.opened_ms,
        "last_at": alert_records.c.last_ms,
        "severity": alert_records.c.rank,
        "site": alert_records.c.site,
        "rule": alert_records.c.rule,
        "thing": alert_records.c.thing,
        "assignee": alert_records.c.assignee,
    }
)


class AlertStore:
    """Alerts in the database of the facts. Every method blocks; call them from a thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def save(self, changes: Sequence[tuple[Alert, Sequence[Entry]]]) -> None:
        """Keep alerts with their new entries, all or none, in this order.

        Raises VersionMismatch when an entry of that version exists already, StorageUnavailable when the disk
        does not take it.
        """
        latest = {(alert.key.site, alert.id): alert for alert, _ in changes}
        by_site: dict[str, list[tuple[str, Entry]]] = {}
        for alert, entries in changes:
            by_site.setdefault(alert.key.site, []).extend((alert.id, entry) for entry in entries)
        try:
            with asking("alerts"), writing(self._engine) as connection:
                for site, written in by_site.items():
                    connection.execute(alert_entries.insert(), [row_of(site, *one) for one in written])
                    append(connection, site, written)
                for (site, name), alert in latest.items():
                    where = (alert_records.c.site == site) & (alert_records.c.id == name)
                    row = _row(alert)
                    if not connection.execute(alert_records.update().where(where).values(row)).rowcount:
                        connection.execute(alert_records.insert(), row)
        except IntegrityError as error:
            raise VersionMismatch("The alert was changed by somebody else in between.") from error

    def standing(self, since_ms: int) -> list[Alert]:
        """Give every alert that is open, and those closed that last changed after `since_ms`, oldest first."""
        unresolved = alert_records.c.handling != Handling.RESOLVED.value
        where = (alert_records.c.historical == sa.false()) & (unresolved | (alert_records.c.last_ms > since_ms))
        return self._alerts(sa.select(alert_records.c.body).where(where).order_by(alert_records.c.id))

    def latest(self, key: Key) -> Alert | None:
        """Give the newest alert of this key that is not historical."""
        where = (
            (alert_records.c.site == key.site)
            & (alert_records.c.rule == key.rule)
            & (alert_records.c.thing == key.thing)
        )
        query = sa.select(alert_records.c.body).where(where, alert_records.c.historical == sa.false())
        found = self._alerts(query.order_by(alert_records.c.id.desc()).limit(1))
        return found[0] if found else None

    def of_key(self, key: Key) -> list[Alert]:
        """Give every alert of this key, historical ones too, oldest first."""
        where = (
            (alert_records.c.site == key.site)
            & (alert_records.c.rule == key.rule)
            & (alert_records.c.thing == key.thing)
        )
        return self._alerts(sa.select(alert_records.c.body).where(where).order_by(alert_records.c.id))

    def find(self, alert: str) -> Alert | None:
        """Give the alert of this id."""
        found = self._alerts(sa.select(alert_records.c.body).where(alert_records.c.id == alert))
        return found[0] if found else None

    def history(self, alert: Alert) -> list[Entry]:
        """Give every change of the alert, oldest first."""
        columns = [alert_entries.c[name] for name in Entry.__struct_fields__]
        where = (alert_entries.c.site == alert.key.site) & (alert_entries.c.alert == alert.id)
        with asking("alerts"), reading(self._engine) as connection:
            rows = connection.execute(sa.select(*columns).where(where).order_by(alert_entries.c.version))
            return [entry_of(row) for row in rows]

    def lived_within(self, site: str, from_ms: int, to_ms: int, limit: int) -> list[tuple[Alert, list[Entry]]]:
        """Give what stood at a site in [from_ms, to_ms), each with its history; at most so many, newest first."""
        records = alert_records.c
        there = (records.last_ms >= from_ms) | (records.condition == Machine.ACTIVE.value)
        mine = (records.site == site) & (records.opened_ms < to_ms) & there
        query = sa.select(alert_records.c.body).where(mine).order_by(alert_records.c.opened_ms.desc()).limit(limit)
        found = self._alerts(query)
        return [(alert, self.history(alert)) for alert in found]

    def page(self, wanted: Filter, limit: int, before: str | None = None) -> list[Alert]:
        """Give at most `limit` alerts, newest first, older than the one named `before`."""
        query = sa.select(alert_records.c.body).where(*_conditions(wanted))
        if before is not None:
            query = query.where(alert_records.c.id < before)
        return self._alerts(query.order_by(alert_records.c.id.desc()).limit(min(limit, PAGE_MAX + 1)))

    def ids(self, wanted: Filter, sort: Sequence[tuple[str, bool]], limit: int) -> list[str]:
        """Give the ids of at most `limit` alerts, sorted by these names of `SORTS` (True: the greatest first)."""
        columns = [SORTS[name].desc() if down else SORTS[name].asc() for name, down in sort]
        query = sa.select(alert_records.c.id).where(*_conditions(wanted))
        with asking("alerts"), reading(self._engine) as connection:
            found = connection.execute(query.order_by(*columns, alert_records.c.id.desc()).limit(limit))
            return list(found.scalars())

    def of_ids(self, ids: Sequence[str]) -> list[Alert]:
        """Give these alerts, at most `PAGE_MAX`, in this order."""
        query = sa.select(alert_records.c.body).where(alert_records.c.id.in_(list(ids[:PAGE_MAX])))
        found = {alert.id: alert for alert in self._alerts(query)}
        return [found[name] for name in ids if name in found]

    def count(self, wanted: Filter) -> int:
        """How many alerts there are of this kind."""
        query = sa.select(sa.func.count()).select_from(alert_records).where(*_conditions(wanted))
        with asking("alerts"), reading(self._engine) as connection:
            return connection.execute(query).scalar_one()

    def _alerts(self, query: sa.Select[Any]) -> list[Alert]:
        with asking("alerts"), reading(self._engine) as connection:
            return [_decoder.decode(body) for body in connection.execute(query).scalars()]


def _conditions(wanted: Filter) -> Iterator["sa.ColumnElement[bool]"]:
    columns = alert_records.c
    if wanted.open_only:
        yield columns.handling != Handling.RESOLVED.value
        yield columns.historical == sa.false()
    choices: tuple[tuple[sa.Column[str], Collection[str]], ...] = (
        (columns.site, wanted.sites),
        (columns.condition, wanted.conditions),
        (columns.handling, wanted.handlings),
        (columns.severity, wanted.severities),
        (columns.rule, wanted.rules),
        (columns.thing, wanted.things),
        (columns.assignee, wanted.assignees),
    )
    for column, values in choices:
        if values:
            yield column.in_(sorted(values))
    flags = ("shelved", "suppressed", "drill", "historical")
    for name in flags:
        asked = getattr(wanted, name)
        if asked is not None:
            yield columns[name].is_(asked)


def _row(alert: Alert) -> dict[str, object]:
    return {
        "site": alert.key.site,
        "id": alert.id,
        "rule": alert.key.rule,
        "thing": alert.key.thing,
        "severity": alert.severity.value,
        "condition": alert.condition.value,
        "handling": alert.handling.value,
        "historical": alert.historical,
        "last_ms": alert.last_ms,
        "version": alert.version,
        "body": msgspec.json.encode(alert),
        "rank": alert.severity.rank,
        "opened_ms": alert.opened_ms,
        "assignee": alert.assignee or "",
        "shelved": alert.is_shelved,
        "suppressed": alert.suppressed_by is not None,
        "drill": alert.drill,
    }
