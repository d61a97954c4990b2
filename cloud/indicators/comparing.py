"""A rebuild compared with what was there: what is derived must be equal bit by bit, records that differ are listed.

Records are never changed by a rebuild. One differs where somebody's inputs came after it, or where a formula did.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import sqlalchemy as sa

from cloud.facts.database import device_days, open_database, quarter_cells, reading
from cloud.facts.days import day_of
from cloud.facts.ledger import Ledger
from cloud.facts.progress import forget_facts
from cloud.facts.store import FactStore
from cloud.facts.tables_results import results
from cloud.indicators.definition import IndicatorResult, Window
from cloud.indicators.registry import compute_over, definitions_at
from cloud.indicators.written import read_back, signature

_DERIVED = (
    (device_days, ("site", "device", "day", "starts", "codes", "carry")),
    (quarter_cells, ("site", "device", "utc_quarter", "body")),
)
Digests = Mapping[tuple[str, str, str], str]  # table, site, device -> digest of all its rows


@dataclass(frozen=True, slots=True)
class Difference:
    """A kept result that is computed otherwise now. None: it is not computed any more."""

    site: str
    indicator: str
    window: Window
    revision: int
    kept: IndicatorResult
    now: IndicatorResult | None

    @property
    def values(self) -> tuple[Fraction | None, Fraction | None]:
        """Kept and computed."""
        return self.kept.value, None if self.now is None else self.now.value


@dataclass(frozen=True, slots=True)
class Compared:
    """What a rebuild found. `changed`: table, site and device whose derived rows are not what they were."""

    results: int
    differences: tuple[Difference, ...]
    changed: tuple[tuple[str, str, str], ...]


def derived_digests(engine: sa.Engine) -> Digests:
    """A digest of what is derived, by table, site and device. Blocks for as long as everything takes to read."""
    found: dict[tuple[str, str, str], str] = {}
    with reading(engine) as connection:
        for table, names in _DERIVED:
            columns = [table.c[name] for name in names]
            digest, last = hashlib.sha256(), None
            rows = connection.execution_options(yield_per=1_000).execute(sa.select(*columns).order_by(*columns[:3]))
            for row in rows:
                key = (table.name, row.site, row.device)
                if key != last:
                    digest, last = hashlib.sha256(), key
                for cell in row[2:]:
                    body = cell if isinstance(cell, bytes) else str(cell).encode()
                    digest.update(len(body).to_bytes(8, "big") + body)
                found[key] = digest.hexdigest()
    return found


def forget_derived(path: Path) -> Digests:
    """Delete from the store in this file all that the log tells; what there was of it."""
    engine = open_database(path)
    try:
        before = derived_digests(engine)
        forget_facts(engine)
    finally:
        engine.dispose()
    return before


def compared_with(path: Path, before: Digests, now_ms: int) -> Compared:
    """As `compared`, for the store in this file."""
    engine = open_database(path)
    try:
        return compared(FactStore(engine), before, now_ms)
    finally:
        engine.dispose()


def compared(store: FactStore, before: Digests, now_ms: int) -> Compared:
    """Derive everything, then compare it with what was there and with the results that are kept. Blocks."""
    count, differences = 0, []
    for ledger in store.sites():
        store.settle(ledger, now_ms)
        kept = _kept(store, ledger)
        count += len(kept)
        differences += _differences(store, ledger, kept, now_ms)
    after = derived_digests(store.engine)
    changed = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
    return Compared(count, tuple(differences), tuple(changed))


def _kept(store: FactStore, ledger: Ledger) -> list[IndicatorResult]:
    """The newest revision of every window, by window."""
    mine = sa.select(results.c.body, results.c.revision).where(results.c.site == ledger.site.id)
    with reading(store.engine) as connection:
        rows = connection.execute(mine.order_by(results.c.revision)).all()
    last = {}
    for row in rows:
        one = read_back(row.body, revision=row.revision, final=False)
        last[one.window.from_ms, one.window.to_ms, one.id] = one
    return [last[key] for key in sorted(last)]


def _differences(store: FactStore, ledger: Ledger, kept: list[IndicatorResult], now_ms: int) -> list[Difference]:
    by_window: dict[Window, list[IndicatorResult]] = {}
    for one in kept:
        by_window.setdefault(one.window, []).append(one)
    site, zone = ledger.site.id, ledger.site.time_zone
    found = []
    for window, mine in by_window.items():
        held = store.ledger_on(site, day_of(window.to_ms - 1, zone)) or ledger
        known = definitions_at(store, held, window.from_ms)
        wanted = [one.id for one in mine if one.id in known]
        now = {one.id: one for one in compute_over(store, held, wanted, window, now_ms)}
        for one in mine:
            again = now.get(one.id)
            if again is None or signature(again) != signature(one):
                found.append(Difference(site, one.id, window, one.revision, one, again))
    return found
