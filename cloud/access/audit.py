"""The record of changes: who did what to what, when. Append-only; each entry holds the hash of the one before it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from cloud.facts.tables_access import audit_entries

DEPLOYMENT = ""
START = bytes(32)
PAGE_MAX = 500


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change. `of_site` is empty for what concerns the whole deployment; `detail` is JSON."""

    number: int
    at_ms: int
    actor: str
    act: str
    of_site: str
    subject: str
    detail: str
    hash: bytes

    def hashed(self, previous: bytes) -> bytes:
        """SHA-256 over the previous hash and everything but the own one."""
        content = (self.number, self.at_ms, self.actor, self.act, self.of_site, self.subject, self.detail)
        return hashlib.sha256(previous + msgspec.json.encode(content)).digest()


def record(
    connection: sa.Connection, actor: str, act: str, subject: str, *, now_ms: int, of_site: str = "",
    detail: Mapping[str, object] | None = None,
) -> AuditEntry:  # fmt: skip
    """Append an entry, in the transaction of the change itself. Passwords and secrets never belong into `detail`."""
    last = connection.execute(
        sa.select(audit_entries.c.number, audit_entries.c.hash)
        .where(audit_entries.c.site == DEPLOYMENT)
        .order_by(audit_entries.c.number.desc())
        .limit(1)
    ).one_or_none()
    number, previous = (last.number + 1, last.hash) if last is not None else (1, START)
    body = msgspec.json.encode(dict(detail or {})).decode()
    open_entry = AuditEntry(number, now_ms, actor, act, of_site, subject, body, b"")
    entry = AuditEntry(number, now_ms, actor, act, of_site, subject, body, open_entry.hashed(previous))
    columns = {name: getattr(entry, name) for name in entry.__slots__}
    connection.execute(sa.insert(audit_entries), {"site": DEPLOYMENT, **columns})
    return entry


def entries(connection: sa.Connection, *, after: int = 0, limit: int = PAGE_MAX) -> Sequence[AuditEntry]:
    """Entries behind a number, in order."""
    found = connection.execute(
        sa.select(*(audit_entries.c[name] for name in AuditEntry.__slots__))
        .where(audit_entries.c.site == DEPLOYMENT, audit_entries.c.number > after)
        .order_by(audit_entries.c.number)
        .limit(min(limit, PAGE_MAX))
    )
    return [AuditEntry(*row) for row in found]


def first_broken(chain: Sequence[AuditEntry], previous: bytes = START) -> AuditEntry | None:
    """The first entry that does not continue the one before it, None when the chain holds."""
    for index, entry in enumerate(chain):
        follows = index == 0 or entry.number == chain[index - 1].number + 1
        if not follows or entry.hash != entry.hashed(previous):
            return entry
        previous = entry.hash
    return None
