"""Alerts on disk: each as it stands, and its append-only history, in one transaction. Records, never recomputed."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from cloud.alerts.lifecycle import Alert, Entry, Handling, Key
from cloud.facts.database import reading, writing
from cloud.facts.failures import asking
from devices.errors import Permanent

PAGE_MAX = 500

METADATA = sa.MetaData()
ALERTS = sa.Table(
    "alert_records",
    METADATA,
    sa.Column("site", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("rule", sa.String, nullable=False),
    sa.Column("thing", sa.String, nullable=False),
    sa.Column("severity", sa.String, nullable=False),
    sa.Column("condition", sa.String, nullable=False),
    sa.Column("handling", sa.String, nullable=False),
    sa.Column("historical", sa.Boolean, nullable=False),
    sa.Column("last_ms", sa.BigInteger, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("alert_records_by_id", "id"),
    sa.Index("alert_records_by_handling", "handling", "historical", "id"),
)
ENTRIES = sa.Table(
    "alert_entries",
    METADATA,
    sa.Column("site", sa.String, primary_key=True),
    sa.Column("alert", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("recorded_ms", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.String, nullable=False),
    sa.Column("note", sa.String, nullable=False),
)
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
        with asking("alerts"), writing(engine) as connection:
            METADATA.create_all(connection)

    def save(self, alert: Alert, entries: Sequence[Entry]) -> None:
        """Keep the alert with its new entries, all or none.

        Raises VersionMismatch when an entry of that version exists already, StorageUnavailable when the disk
        does not take it.
        """
        site = alert.key.site
        row = {
            "site": site,
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
        }
        history = [{"site": site, "alert": alert.id, **msgspec.structs.asdict(entry)} for entry in entries]
        try:
            with asking("alerts"), writing(self._engine) as connection:
                connection.execute(ENTRIES.insert(), history)
                where = (ALERTS.c.site == site) & (ALERTS.c.id == alert.id)
                if not connection.execute(ALERTS.update().where(where).values(row)).rowcount:
                    connection.execute(ALERTS.insert(), row)
        except IntegrityError as error:
            raise VersionMismatch("The alert was changed by somebody else in between.") from error

    def standing(self, since_ms: int) -> list[Alert]:
        """Give every alert that is open, and those closed that last changed after `since_ms`, oldest first."""
        unresolved = ALERTS.c.handling != Handling.RESOLVED.value
        where = (ALERTS.c.historical == sa.false()) & (unresolved | (ALERTS.c.last_ms > since_ms))
        return self._alerts(sa.select(ALERTS.c.body).where(where).order_by(ALERTS.c.id))

    def latest(self, key: Key) -> Alert | None:
        """Give the newest alert of this key that is not historical."""
        where = (ALERTS.c.site == key.site) & (ALERTS.c.rule == key.rule) & (ALERTS.c.thing == key.thing)
        query = sa.select(ALERTS.c.body).where(where, ALERTS.c.historical == sa.false())
        found = self._alerts(query.order_by(ALERTS.c.id.desc()).limit(1))
        return found[0] if found else None

    def of_key(self, key: Key) -> list[Alert]:
        """Give every alert of this key, historical ones too, oldest first."""
        where = (ALERTS.c.site == key.site) & (ALERTS.c.rule == key.rule) & (ALERTS.c.thing == key.thing)
        return self._alerts(sa.select(ALERTS.c.body).where(where).order_by(ALERTS.c.id))

    def find(self, alert: str) -> Alert | None:
        """Give the alert of this id."""
        found = self._alerts(sa.select(ALERTS.c.body).where(ALERTS.c.id == alert))
        return found[0] if found else None

    def history(self, alert: Alert) -> list[Entry]:
        """Give every change of the alert, oldest first."""
        columns = [ENTRIES.c[name] for name in Entry.__struct_fields__]
        where = (ENTRIES.c.site == alert.key.site) & (ENTRIES.c.alert == alert.id)
        with asking("alerts"), reading(self._engine) as connection:
            rows = connection.execute(sa.select(*columns).where(where).order_by(ENTRIES.c.version))
            return [Entry(*row) for row in rows]

    def page(self, wanted: Filter, limit: int, before: str | None = None) -> list[Alert]:
        """Give at most `limit` alerts, newest first, older than the one named `before`."""
        query = sa.select(ALERTS.c.body).order_by(ALERTS.c.id.desc()).limit(min(limit, PAGE_MAX))
        if wanted.open_only:
            query = query.where(ALERTS.c.handling != Handling.RESOLVED.value, ALERTS.c.historical == sa.false())
        choices: tuple[tuple[sa.Column[str], Collection[str]], ...] = (
            (ALERTS.c.site, wanted.sites),
            (ALERTS.c.condition, wanted.conditions),
            (ALERTS.c.handling, wanted.handlings),
            (ALERTS.c.severity, wanted.severities),
        )
        for column, values in choices:
            if values:
                query = query.where(column.in_(sorted(values)))
        if before is not None:
            query = query.where(ALERTS.c.id < before)
        return self._alerts(query)

    def _alerts(self, query: sa.Select[Any]) -> list[Alert]:
        with asking("alerts"), reading(self._engine) as connection:
            return [_decoder.decode(body) for body in connection.execute(query).scalars()]
