"""All sites at a glance: the newest issued result of each indicator of each site, and the sums that pool them.

Read from the newest of the issued results; live numbers are asked for site by site.
"""

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa

from cloud.facts.database import reading
from cloud.facts.tables_results import result_heads, results
from cloud.indicators.catalogue import POOLED
from cloud.indicators.definition import IndicatorResult, Window
from cloud.indicators.written import read_back

_NEWEST = (
    "SELECT site, indicator, from_ms, to_ms, value, coverage, verdict, revision, final FROM result_newest"
    " ORDER BY site, indicator"
)


class Line(msgspec.Struct, array_like=True, frozen=True):
    """One indicator of one site, as a list shows it."""

    indicator: str
    from_ms: int
    to_ms: int
    value: float | None
    coverage: float | None
    verdict: str | None
    revision: int
    final: bool


def portfolio(engine: sa.Engine) -> dict[str, list[Line]]:
    """The newest line of each indicator of each site, by site. Not through the mapper: there are 20,000 rows."""
    found: dict[str, list[Line]] = {}
    with reading(engine) as connection:
        for row in connection.exec_driver_sql(_NEWEST).cursor.fetchall():
            site, name, from_ms, to_ms, value, coverage, verdict, revision, final = row
            line = Line(name, from_ms, to_ms, value, coverage, verdict, revision, bool(final))
            found.setdefault(site, []).append(line)
    return found


def pooled_over(
    engine: sa.Engine, sites: Iterable[str], indicator: str, window: Window, now_ms: int
) -> IndicatorResult | None:
    """One indicator of several sites as one number: the ratio of their sums over issued results of the same days.

    Windows are those of each site's zone, so that they begin up to 15 h apart. None where it is not made of sums.
    """
    pool = POOLED.get(indicator)
    if pool is None:
        return None
    apart_ms = 15 * 3_600_000
    heads = result_heads
    chosen = (
        sa.select(results.c.body, results.c.revision, heads.c.final)
        .join(
            results,
            (results.c.site == heads.c.site)
            & (results.c.indicator == heads.c.indicator)
            & (results.c.from_ms == heads.c.from_ms)
            & (results.c.to_ms == heads.c.to_ms)
            & (results.c.revision == heads.c.revision),
        )
        .where(
            heads.c.indicator == indicator,
            heads.c.site.in_(sorted(sites)),
            heads.c.from_ms.between(window.from_ms - apart_ms, window.from_ms + apart_ms),
            heads.c.to_ms.between(window.to_ms - apart_ms, window.to_ms + apart_ms),
        )
    )
    with reading(engine) as connection:
        rows = connection.execute(chosen).all()
    found = [read_back(row.body, revision=row.revision, final=bool(row.final)) for row in rows]
    return pool.together(found, window, now_ms) if found else None
