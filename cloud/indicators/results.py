"""Issued results: every revision is kept, each chained to the one before of its window and of its site.

A row is written only when the value or the version of something that it stands on changed. The old value stays.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from cloud.facts.database import reading
from cloud.facts.tables_results import result_heads, result_newest, results
from cloud.indicators.definition import IndicatorResult, Window, is_final
from cloud.indicators.written import read_back, signature, text_of

START = b""  # what the first of a chain follows


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a result. `recorded_ms`: when it was written, Unix ms UTC."""

    site: str
    entry: int
    recorded_ms: int
    result: IndicatorResult
    hash: bytes
    previous_revision: bytes
    previous_entry: bytes

    @property
    def is_after_final(self) -> bool:
        """Whether it came when the result was final already: from data later than 72 h, or changed inputs."""
        return self.result.revision > 1 and is_final(self.result.window, self.recorded_ms)


def record(
    connection: sa.Connection, site: str, found: Sequence[IndicatorResult], now_ms: int, *, settled: bool = True
) -> int:  # fmt: skip
    """Write those of one site that say something new; how many rows that were. The caller's transaction decides.

    Not `settled`: something of their windows is still to be derived, so that none of them is final.
    """
    heads = _heads(connection, site, [one.window for one in found])
    entry, last = _last(connection, site)
    rows: list[dict[str, object]] = []
    for one in found:
        key = (one.id, one.window.from_ms, one.window.to_ms)
        mark, before = signature(one), heads.get(key)
        if before is None and one.value is None and one.low is None:
            continue  # the site has nothing of the kind
        revision = before[0] if before else 0
        if before is None or before[1] != mark:
            entry, revision = entry + 1, revision + 1
            row, last = _row(connection, site, one, revision, entry=entry, recorded_ms=now_ms, previous_entry=last)
            rows.append(row)
        final = settled and is_final(one.window, now_ms)
        shown = _head_row(site, one) | {"revision": revision, "final": final}
        connection.execute(_REPLACE_HEAD, shown | {"signature": mark, "checked_ms": now_ms})
        connection.execute(_REPLACE_NEWEST, shown)
    if rows:
        connection.execute(sa.insert(results), rows)
    return len(rows)


def issued(connection: sa.Connection, site: str, indicator: str, window: Window) -> list[Revision]:
    """Every revision of a result, oldest first."""
    mine = (results.c.site == site) & (results.c.indicator == indicator)
    mine &= (results.c.from_ms == window.from_ms) & (results.c.to_ms == window.to_ms)
    rows = connection.execute(sa.select(results).where(mine).order_by(results.c.revision)).all()
    final = _finals(connection, site, [window]).get((indicator, window.from_ms, window.to_ms), False)
    return [_revision(row, final=final and row is rows[-1]) for row in rows]


def newest_result(connection: sa.Connection, site: str, indicator: str, window: Window) -> Revision | None:
    """The revision that counts now."""
    found = issued(connection, site, indicator, window)
    return found[-1] if found else None


def issued_within(connection: sa.Connection, site: str, indicator: str, from_ms: int, to_ms: int) -> list[Revision]:
    """The newest revision of every window within [from_ms, to_ms), by window."""
    mine = (results.c.site == site) & (results.c.indicator == indicator)
    mine &= (results.c.from_ms >= from_ms) & (results.c.to_ms <= to_ms)
    rows = connection.execute(sa.select(results).where(mine).order_by(results.c.revision)).all()
    last = {(row.from_ms, row.to_ms): row for row in rows}
    finals = _finals(connection, site, [Window(*window) for window in last])
    return [_revision(last[key], final=finals.get((indicator, *key), False)) for key in sorted(last)]


def broken_entries(engine: sa.Engine, site: str) -> list[int]:
    """Entries whose hash or link is wrong, or that lack: what was changed by hand."""
    wrong: list[int] = []
    expected, last = 1, START
    of_window: dict[tuple[str, int, int], bytes] = {}
    with reading(engine) as connection:
        for row in connection.execute(sa.select(results).where(results.c.site == site).order_by(results.c.entry)):
            key = (row.indicator, row.from_ms, row.to_ms)
            previous = of_window.get(key, START)
            sound = row.entry == expected and row.previous_entry == last and row.previous_revision == previous
            if not sound or row.hash != entry_hash(row.body, row.revision, row.recorded_ms, previous, last):
                wrong.append(row.entry)
            expected, last = row.entry + 1, row.hash
            of_window[key] = row.hash
    return wrong


def _row(
    connection: sa.Connection, site: str, one: IndicatorResult, revision: int, *, entry: int, recorded_ms: int,
    previous_entry: bytes,
) -> tuple[dict[str, object], bytes]:  # fmt: skip
    previous = START
    if revision > 1:
        mine = (results.c.site == site) & (results.c.indicator == one.id) & (results.c.revision == revision - 1)
        mine &= (results.c.from_ms == one.window.from_ms) & (results.c.to_ms == one.window.to_ms)
        previous = connection.execute(sa.select(results.c.hash).where(mine)).scalar_one()
    body = text_of(one)
    digest = entry_hash(body, revision, recorded_ms, previous, previous_entry)
    row = {
        "site": site, "indicator": one.id, "from_ms": one.window.from_ms, "to_ms": one.window.to_ms,
        "revision": revision, "entry": entry, "recorded_ms": recorded_ms, "body": body,
        "previous_revision": previous, "previous_entry": previous_entry, "hash": digest,
    }  # fmt: skip
    return row, digest


def entry_hash(body: str, revision: int, recorded_ms: int, previous_revision: bytes, previous_entry: bytes) -> bytes:
    """What chains a revision to the one before of its window and of its site."""
    text = f"{previous_entry.hex()}\n{previous_revision.hex()}\n{revision}\n{recorded_ms}\n{body}"
    return hashlib.sha256(text.encode()).digest()


_head = insert(result_heads)
_REPLACE_HEAD = _head.on_conflict_do_update(
    set_={
        name: _head.excluded[name]
        for name in ("revision", "signature", "value", "coverage", "verdict", "checked_ms", "final")
    }
)

_newest = insert(result_newest)
_REPLACE_NEWEST = _newest.on_conflict_do_update(
    set_={
        name: _newest.excluded[name]
        for name in ("from_ms", "to_ms", "value", "coverage", "verdict", "revision", "final")
    },
    where=(_newest.excluded.to_ms > result_newest.c.to_ms)
    | ((_newest.excluded.to_ms == result_newest.c.to_ms) & (_newest.excluded.from_ms >= result_newest.c.from_ms)),
)


def _head_row(site: str, one: IndicatorResult) -> dict[str, object]:
    return {
        "site": site, "indicator": one.id, "from_ms": one.window.from_ms, "to_ms": one.window.to_ms,
        "value": None if one.value is None else float(one.value),
        "coverage": None if one.coverage is None else float(one.coverage),
        "verdict": None if one.verdict is None else one.verdict.value,
    }  # fmt: skip


def _heads(
    connection: sa.Connection, site: str, windows: Sequence[Window]
) -> dict[tuple[str, int, int], tuple[int, bytes]]:  # fmt: skip
    found = {}
    for window in set(windows):
        mine = (result_heads.c.site == site) & (result_heads.c.from_ms == window.from_ms)
        for row in connection.execute(sa.select(result_heads).where(mine, result_heads.c.to_ms == window.to_ms)):
            found[row.indicator, row.from_ms, row.to_ms] = (row.revision, row.signature)
    return found


def _finals(
    connection: sa.Connection, site: str, windows: Sequence[Window]
) -> dict[tuple[str, int, int], bool]:  # fmt: skip
    found = {}
    for window in set(windows):
        mine = (result_heads.c.site == site) & (result_heads.c.from_ms == window.from_ms)
        for row in connection.execute(sa.select(result_heads).where(mine, result_heads.c.to_ms == window.to_ms)):
            found[row.indicator, row.from_ms, row.to_ms] = bool(row.final)
    return found


def _last(connection: sa.Connection, site: str) -> tuple[int, bytes]:
    newest = sa.select(results.c.entry, results.c.hash).where(results.c.site == site)
    row = connection.execute(newest.order_by(results.c.entry.desc()).limit(1)).one_or_none()
    return (0, START) if row is None else (row.entry, row.hash)


def _revision(row: "sa.Row[tuple[object, ...]]", *, final: bool) -> Revision:
    return Revision(
        row.site, row.entry, row.recorded_ms, read_back(row.body, revision=row.revision, final=final), row.hash,
        row.previous_revision, row.previous_entry,
    )  # fmt: skip
