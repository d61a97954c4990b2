"""Versions of the ledger: append-only, each valid from a moment on. A day is that of the version valid at its end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from cloud.facts.database import ledgers, writing
from cloud.facts.days import date_start, days_between
from cloud.facts.inputs import EARLIEST_MS, LATEST_MS, SHOWN, is_shown
from cloud.facts.ledger import Ledger, parse_ledger
from cloud.facts.result_marks import mark_results
from cloud.facts.rows import first_run_ms
from devices.errors import ConfigurationError, Problem

VALID_SINCE_BEGINNING_MS = 0


@dataclass(frozen=True, slots=True)
class LedgerVersion:
    """A version and from when it holds, up to when the next one of the list does. Unix ms UTC."""

    valid_from_ms: int
    ledger: Ledger
    version: int


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What was entered when by whom and why: a line of the audit trail."""

    version: int
    recorded_ms: int
    actor: str
    reason: str
    valid_from_ms: int


def import_ledger(
    engine: sa.Engine, text: str, file_name: str, *, actor: str, now_ms: int, reason: str = "",
    valid_from: date | None = None,
) -> Ledger:  # fmt: skip
    """Check a ledger document and make it the site's newest version. Raises ConfigurationError.

    It is valid from the beginning of a local day: of `valid_from`, else for a site's first version of the day on
    which the site was commissioned (else since ever), for a later one from now on. From then on it takes the place
    of every version entered before. Importing the same text again adds no version, unless with another day.
    """
    ledger = parse_ledger(text, file_name)
    site = ledger.site
    with writing(engine) as connection:
        newest = _newest(connection, site.id)
        if valid_from is not None and not is_shown(date_start(valid_from, site.time_zone)):
            raise ConfigurationError([Problem(file_name, 0, 0, f"valid from {valid_from}: {SHOWN}")])
        wanted_ms = None if valid_from is None else date_start(valid_from, site.time_zone)
        if newest is not None and newest.document == text and wanted_ms in {None, newest.valid_from_ms}:
            return ledger
        first_ms = date_start(site.commissioned, site.time_zone) if site.commissioned else VALID_SINCE_BEGINNING_MS
        if wanted_ms is None:
            wanted_ms = now_ms if newest else min(max(first_ms, EARLIEST_MS), LATEST_MS)
        row = {
            "site": site.id, "version": newest.version + 1 if newest else 1, "recorded_ms": now_ms, "actor": actor,
            "reason": reason, "valid_from_ms": wanted_ms, "document": text,
        }  # fmt: skip
        connection.execute(sa.insert(ledgers), row)
        if newest is not None:
            mark_results_of(connection, site.id, wanted_ms, now_ms)
    return ledger


def mark_results_of(connection: sa.Connection, site: str, from_ms: int, to_ms: int) -> None:
    """Mark the days of [from_ms, to_ms) for `result_marks`, as far as anything was ever heard of the site."""
    first_ms, newest = first_run_ms(connection, site), _newest(connection, site)
    if first_ms is not None and newest is not None:
        zone = _parsed(site, newest.version, newest.document).site.time_zone
        mark_results(connection, site, days_between(max(from_ms, first_ms), to_ms, zone))


def ledger_version(connection: sa.Connection, site: str) -> int:
    """The newest version, 0 when the site has no ledger."""
    newest = connection.execute(sa.select(sa.func.max(ledgers.c.version)).where(ledgers.c.site == site)).scalar_one()
    return int(newest or 0)


def current_ledger(connection: sa.Connection, site: str) -> Ledger | None:
    """The newest version of a site's ledger."""
    newest = _newest(connection, site)
    return None if newest is None else _parsed(site, newest.version, newest.document)


def ledger_text(connection: sa.Connection, site: str, version: int) -> str | None:
    """A version as it was entered."""
    mine = (ledgers.c.site == site) & (ledgers.c.version == version)
    return connection.execute(sa.select(ledgers.c.document).where(mine)).scalar_one_or_none()


def versions_in_force(connection: sa.Connection, site: str) -> list[tuple[int, int]]:
    """[(valid_from_ms, version)], ascending: which version holds from when on, seen from now.

    A version takes the place of every older one from its own beginning on.
    """
    columns = sa.select(ledgers.c.valid_from_ms, ledgers.c.version).where(ledgers.c.site == site)
    found: list[tuple[int, int]] = []
    for row in connection.execute(columns.order_by(ledgers.c.version)):
        found = [one for one in found if one[0] < row.valid_from_ms]
        found.append((row.valid_from_ms, row.version))
    return found


def ledger_history(connection: sa.Connection, site: str) -> list[LedgerEntry]:
    """Who entered which version when and why, oldest first."""
    columns = (ledgers.c.version, ledgers.c.recorded_ms, ledgers.c.actor, ledgers.c.reason, ledgers.c.valid_from_ms)
    mine = sa.select(*columns).where(ledgers.c.site == site).order_by(ledgers.c.version)
    return [LedgerEntry(*row) for row in connection.execute(mine)]


def parsed_versions(
    connection: sa.Connection, site: str, known: Sequence[LedgerVersion] = ()
) -> tuple[LedgerVersion, ...]:
    """The versions in force, parsed; those of `known` are not parsed again. The first holds for all time before it."""
    ledger_by_version = {one.version: one.ledger for one in known}
    found = []
    for valid_from_ms, version in versions_in_force(connection, site):
        ledger = ledger_by_version.get(version)
        if ledger is None:
            text = ledger_text(connection, site, version)
            ledger = _parsed(site, version, text or "")
        found.append(LedgerVersion(valid_from_ms, ledger, version))
    return tuple(found)


def sites_with_ledger(connection: sa.Connection) -> list[str]:
    """Every site that was ever entered, by id."""
    return list(connection.execute(sa.select(ledgers.c.site).distinct().order_by(ledgers.c.site)).scalars())


def _parsed(site: str, version: int, text: str) -> Ledger:
    return parse_ledger(text, f"ledger of {site}, version {version}")


def _newest(connection: sa.Connection, site: str) -> "sa.Row[tuple[object, ...]] | None":
    mine = sa.select(ledgers).where(ledgers.c.site == site).order_by(ledgers.c.version.desc()).limit(1)
    return connection.execute(mine).one_or_none()
