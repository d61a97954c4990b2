"""How often the same thing had the same fault, by the histories of its alerts."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from cloud.facts.database import reading
from cloud.facts.failures import asking
from cloud.facts.tables_alerts import alert_entries, alert_records

MERGE_MS = 5 * 60_000  # a fault that is back so soon is the same one (domain.md 1.4)
_KINDS = ("opened", "reopened", "cleared")


def repeats(engine: sa.Engine, site: str, rules: Sequence[str], since_ms: int) -> dict[tuple[str, str], list[int]]:
    """When each (rule, thing) began since a moment, ascending, Unix ms UTC. Drills do not count. Blocks."""
    mine = (alert_records.c.site == site) & alert_records.c.rule.in_(rules) & (alert_records.c.drill == sa.false())
    chosen = (
        sa.select(alert_records.c.rule, alert_records.c.thing, alert_entries.c.kind, alert_entries.c.at_ms)
        .join(
            alert_entries,
            (alert_entries.c.site == alert_records.c.site) & (alert_entries.c.alert == alert_records.c.id),
        )
        .where(mine, alert_records.c.last_ms >= since_ms, alert_entries.c.kind.in_(_KINDS))
        .order_by(alert_entries.c.at_ms, alert_entries.c.version)
    )
    with asking("alerts"), reading(engine) as connection:
        rows = connection.execute(chosen).all()
    by_key: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for rule, thing, kind, at_ms in rows:
        by_key.setdefault((rule, thing), []).append((kind, at_ms))
    counted = {key: [at_ms for at_ms in beginnings(found) if at_ms >= since_ms] for key, found in by_key.items()}
    return {key: found for key, found in counted.items() if found}


def beginnings(entries: Iterable[tuple[str, int]]) -> list[int]:
    """Of (kind, time) in order: when faults began; one that is back within five minutes after its end is the same."""
    found: list[int] = []
    ended_ms: int | None = None
    for kind, at_ms in entries:
        if kind == "cleared":
            ended_ms = at_ms
        elif ended_ms is None or at_ms - ended_ms >= MERGE_MS:
            found.append(at_ms)
    return found
