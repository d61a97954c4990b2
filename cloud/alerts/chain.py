"""The chain of a site's alert entries: each is bound by its hash to all that were written before it.

hash = SHA-256(hash of the one before, or nothing; JSON of [site, alert, version, kind, at_ms, recorded_ms, actor,
note, detail]). So nobody changes, removes or inserts an entry unseen, not even of an alert that is gone altogether.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256

import msgspec
import sqlalchemy as sa

from cloud.alerts.alert import Entry
from cloud.facts.tables_alerts import alert_chain, alert_entries


class _Listed(Entry, frozen=True, array_like=True):
    """An entry as its columns lie."""

    def entry(self) -> Entry:
        return Entry(**msgspec.structs.asdict(self))


def linked(before: bytes, site: str, alert: str, entry: Entry) -> bytes:
    """The hash of an entry that follows the one with the hash `before`."""
    detail = dict(sorted(entry.detail.items()))
    said = [
        site, alert, entry.version, entry.kind, entry.at_ms, entry.recorded_ms, entry.actor, entry.note, detail,
    ]  # fmt: skip
    return sha256(before + msgspec.json.encode(said)).digest()


def append(connection: sa.Connection, site: str, entries: Sequence[tuple[str, Entry]]) -> None:
    """Bind these entries (alert id, entry) of a site in this order. Belongs to the transaction that keeps them."""
    newest = sa.select(alert_chain.c.position, alert_chain.c.hash).where(alert_chain.c.site == site)
    last = connection.execute(newest.order_by(alert_chain.c.position.desc()).limit(1)).one_or_none()
    position, digest = (last.position, last.hash) if last is not None else (0, b"")
    rows = []
    for number, (alert, entry) in enumerate(entries, position + 1):
        digest = linked(digest, site, alert, entry)
        rows.append({"site": site, "position": number, "alert": alert, "version": entry.version, "hash": digest})
    connection.execute(alert_chain.insert(), rows)


def head(connection: sa.Connection, site: str) -> tuple[int, bytes]:
    """How many entries a site's chain has, and the hash of the last; what an audit package names."""
    newest = sa.select(alert_chain.c.position, alert_chain.c.hash).where(alert_chain.c.site == site)
    last = connection.execute(newest.order_by(alert_chain.c.position.desc()).limit(1)).one_or_none()
    return (last.position, last.hash) if last is not None else (0, b"")


def breaks(connection: sa.Connection, site: str) -> Iterator[int]:
    """Positions at which the chain does not fit the entries; nothing when all is as it was written.

    An entry that no link binds is told as position 0.
    """
    both = (
        (alert_entries.c.site == alert_chain.c.site)
        & (alert_entries.c.alert == alert_chain.c.alert)
        & (alert_entries.c.version == alert_chain.c.version)
    )
    columns = [alert_entries.c[name] for name in Entry.__struct_fields__]
    query = sa.select(alert_chain.c.position, alert_chain.c.alert, alert_chain.c.hash, *columns)
    query = query.select_from(alert_chain.outerjoin(alert_entries, both)).where(alert_chain.c.site == site)
    before, number = b"", 0
    for position, alert, digest, *values in connection.execute(query.order_by(alert_chain.c.position)):
        number += 1
        gone = values[0] is None or position != number
        if gone or linked(before, site, alert, entry_of(values)) != digest:
            yield position
        before, number = digest, position
    kept = sa.select(sa.func.count()).select_from(alert_entries).where(alert_entries.c.site == site)
    if connection.execute(kept).scalar_one() > number:
        yield 0


def entry_of(values: Sequence[object]) -> Entry:
    """An entry of its columns, the detail among them as JSON."""
    *plain, detail = values
    return msgspec.convert([*plain, msgspec.json.decode(str(detail))], _Listed).entry()


def row_of(site: str, alert: str, entry: Entry) -> dict[str, object]:
    """The columns of an entry."""
    detail = msgspec.json.encode(dict(sorted(entry.detail.items()))).decode()
    return {"site": site, "alert": alert, **msgspec.structs.asdict(entry), "detail": detail}
