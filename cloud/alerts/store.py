"""Alerts on disk: each as it stands, and its append-only history, in one transaction. Records, never recomputed."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from cloud.alerts.alert import Alert, Entry, Handling, Key
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
    """Which alerts are wanted. An empty set asks for all; `open_only` leaves out what concerns nobody any more."""

    sites: frozenset[str] = frozenset()
    conditions: frozenset[str] = frozenset()
    handlings: frozenset[str] = frozenset()
    severities: frozenset[str] = frozenset()
    open_only: bool = True


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

    def page(self, wanted: Filter, limit: int, before: str | None = None) -> list[Alert]:
        """Give at most `limit` alerts, newest first, older than the one named `before`."""
        query = sa.select(alert_records.c.body).order_by(alert_records.c.id.desc()).limit(min(limit, PAGE_MAX))
        if wanted.open_only:
            query = query.where(
                alert_records.c.handling != Handling.RESOLVED.value, alert_records.c.historical == sa.false()
            )
        choices: tuple[tuple[sa.Column[str], Collection[str]], ...] = (
            (alert_records.c.site, wanted.sites),
            (alert_records.c.condition, wanted.conditions),
            (alert_records.c.handling, wanted.handlings),
            (alert_records.c.severity, wanted.severities),
        )
        for column, values in choices:
            if values:
                query = query.where(column.in_(sorted(values)))
        if before is not None:
            query = query.where(alert_records.c.id < before)
        return self._alerts(query)

    def _alerts(self, query: sa.Select[Any]) -> list[Alert]:
        with asking("alerts"), reading(self._engine) as connection:
            return [_decoder.decode(body) for body in connection.execute(query).scalars()]


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
