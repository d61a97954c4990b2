"""What people enter: versions of the ledger. Append-only, with the time from which each is valid."""

import sqlalchemy as sa

from cloud.facts.database import ledgers, writing
from cloud.facts.days import date_start
from cloud.facts.ledger import Ledger, parse_ledger

VALID_SINCE_BEGINNING_MS = 0


def import_ledger(engine: sa.Engine, text: str, file_name: str, *, actor: str, now_ms: int) -> Ledger:
    """Check a ledger document and make it the site's newest version. Raises ConfigurationError.

    A site's first version is valid since the site was commissioned (else since ever), a later one from now on.
    Importing the same text again adds no version.
    """
    ledger = parse_ledger(text, file_name)
    site = ledger.site
    with writing(engine) as connection:
        newest = _newest(connection, site.id)
        if newest is not None and newest.document == text:
            return ledger
        first_ms = date_start(site.commissioned, site.time_zone) if site.commissioned else VALID_SINCE_BEGINNING_MS
        row = {
            "site": site.id, "version": newest.version + 1 if newest else 1, "recorded_ms": now_ms, "actor": actor,
            "valid_from_ms": now_ms if newest else first_ms, "document": text,
        }  # fmt: skip
        connection.execute(sa.insert(ledgers), row)
    return ledger


def ledger_version(connection: sa.Connection, site: str) -> int:
    """The newest version, 0 when the site has no ledger."""
    newest = connection.execute(sa.select(sa.func.max(ledgers.c.version)).where(ledgers.c.site == site)).scalar_one()
    return int(newest or 0)


def current_ledger(connection: sa.Connection, site: str) -> Ledger | None:
    """The newest version of a site's ledger."""
    newest = _newest(connection, site)
    return None if newest is None else parse_ledger(newest.document, f"ledger of {site}, version {newest.version}")


def sites_with_ledger(connection: sa.Connection) -> list[str]:
    """Every site that was ever entered, by id."""
    return list(connection.execute(sa.select(ledgers.c.site).distinct().order_by(ledgers.c.site)).scalars())


def _newest(connection: sa.Connection, site: str) -> "sa.Row[tuple[object, ...]] | None":
    mine = sa.select(ledgers).where(ledgers.c.site == site).order_by(ledgers.c.version.desc()).limit(1)
    return connection.execute(mine).one_or_none()
