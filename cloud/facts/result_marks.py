"""Days of which issued results must be looked at again: written where days are computed, read where they are issued."""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from cloud.facts.tables_results import result_marks

_new = insert(result_marks)
_MARK = _new.on_conflict_do_update(set_={"version": result_marks.c.version + 1})


def mark_results(connection: sa.Connection, site: str, days: Iterable[int]) -> None:
    """Something that results of these local days stand on was computed again."""
    rows = [{"site": site, "day": day, "version": 1} for day in sorted(set(days))]
    if rows:
        connection.execute(_MARK, rows)


def marked_days(connection: sa.Connection, site: str) -> dict[int, int]:
    """Days that were marked, ascending, with the version of each mark."""
    mine = sa.select(result_marks.c.day, result_marks.c.version).where(result_marks.c.site == site)
    return {row.day: row.version for row in connection.execute(mine.order_by(result_marks.c.day))}


def settle_marks(connection: sa.Connection, site: str, seen: dict[int, int]) -> None:
    """These marks are dealt with; one that was raised meanwhile stays."""
    for day, version in seen.items():
        mine = (result_marks.c.site == site) & (result_marks.c.day == day) & (result_marks.c.version == version)
        connection.execute(sa.delete(result_marks).where(mine))
