"""What rules on trial (`mode: shadow`) would have said: written down, and nobody is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa

from cloud.alerts.turns import Turn
from cloud.facts.database import reading, writing
from cloud.facts.failures import asking
from cloud.facts.tables_alerts import rule_trials

TRIALS_MAX = 10_000  # of one rule at one site; older ones make room
PAGE_MAX = 500


@dataclass(frozen=True, slots=True)
class Trial:
    """A condition that began (`active`) or ended at `since_ms`, recorded at `recorded_ms`, Unix ms UTC."""

    rule: str
    thing: str
    since_ms: int
    active: bool
    recorded_ms: int


class Trials(Protocol):
    """Where what rules on trial say is written down. Blocks."""

    def note(self, turns: Sequence[Turn], now_ms: int) -> None:
        """Keep turns, each once. Raises StorageUnavailable."""


class TrialRecord:
    """In the database of the facts. Every method blocks."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def note(self, turns: Sequence[Turn], now_ms: int) -> None:
        """Keep turns, each once. Raises StorageUnavailable."""
        rows = {
            (turn.key.site, turn.key.rule, turn.key.thing, turn.since_ms, turn.active): {
                "site": turn.key.site, "rule": turn.key.rule, "thing": turn.key.thing, "since_ms": turn.since_ms,
                "active": turn.active, "recorded_ms": now_ms,
            } for turn in turns
        }  # fmt: skip
        with asking("trials of rules"), writing(self._engine) as connection:
            for row in rows.values():
                connection.execute(sa.insert(rule_trials).prefix_with("OR IGNORE"), row)
            for site, rule in {(row["site"], row["rule"]) for row in rows.values()}:
                self._make_room(connection, str(site), str(rule))

    def of_rule(self, site: str, rule: str, limit: int = PAGE_MAX) -> list[Trial]:
        """What a rule on trial said, newest first."""
        mine = (rule_trials.c.site == site) & (rule_trials.c.rule == rule)
        columns = [rule_trials.c[name] for name in Trial.__dataclass_fields__]
        chosen = sa.select(*columns).where(mine).order_by(rule_trials.c.since_ms.desc(), rule_trials.c.active)
        with asking("trials of rules"), reading(self._engine) as connection:
            return [Trial(*row) for row in connection.execute(chosen.limit(min(limit, PAGE_MAX)))]

    def _make_room(self, connection: sa.Connection, site: str, rule: str) -> None:
        mine = (rule_trials.c.site == site) & (rule_trials.c.rule == rule)
        kept = sa.select(rule_trials.c.since_ms).where(mine).order_by(rule_trials.c.since_ms.desc()).offset(TRIALS_MAX)
        oldest = connection.execute(kept.limit(1)).scalar()
        if oldest is not None:
            connection.execute(sa.delete(rule_trials).where(mine, rule_trials.c.since_ms <= oldest))
