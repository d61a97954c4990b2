"""Asks the rules that look at indicators, dates and repeats, every hour, day or week, and what integrity noted.

A rule is asked once a period and site, soon after a start at the latest; asking again changes nothing.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import sqlalchemy as sa
import structlog

from cloud.alerts.alert import Key
from cloud.alerts.engine import AlertEngine
from cloud.alerts.findings import Asking, Finding, before, findings, last_final
from cloud.alerts.turns import Seen
from cloud.facts.database import reading, writing
from cloud.facts.days import day_of
from cloud.facts.failures import asking
from cloud.facts.ledger import Ledger
from cloud.facts.store import FactStore
from cloud.facts.tables_alerts import rule_positions
from cloud.history.store import HistoryReader
from cloud.indicators.definition import UnknownIndicator
from cloud.indicators.registry import compute_indicator
from cloud.ingest.integrity import IntegrityRecord
from cloud.live import LiveState
from devices.errors import Permanent, StorageUnavailable
from devices.rule_kinds import Change, Consecutive, EventRule, IndicatorLimit, Overdue, Periodic, Rank
from devices.rules import Rule

LOOK_S = 2.0  # integrity events are told this soon
ASK_S = 30.0  # a period that has begun is asked about this soon
SETTLE_S = 5.0  # for each site, to derive what is missing before it is asked about
HOUR_MS = 3_600_000
EVENTS_MAX = 1_000
INTEGRITY = "integrity"
EVERYWHERE = "*"
_log = structlog.get_logger(__name__)


@dataclass
class Sources:
    """What is asked."""

    store: FactStore
    live: LiveState
    history: HistoryReader | None = None
    integrity: IntegrityRecord | None = None
    settle_s: float = SETTLE_S  # to derive what is missing; 0: answer from what there is
    _ranked: dict[tuple[str, str, int, int], Mapping[str, Fraction]] = field(default_factory=dict)

    def asking(self, ledger: Ledger, now_ms: int) -> Asking:
        """Everything that can be asked about one site at one moment."""
        measures: dict[str, dict[str, str]] = {}
        for device in list(self.live.site(ledger.site.id).devices.values()):
            for measure, point in (device.profile.profile.measures if device.profile is not None else {}).items():
                measures.setdefault(measure, {})[device.id] = point
        return Asking(
            self.store, ledger, now_ms, self.history, measures,
            lambda indicator, period, back: self._values(indicator, period, back, now_ms),
        )  # fmt: skip

    def _values(self, indicator: str, period: str, back: int, now_ms: int) -> Mapping[str, Fraction]:
        """An indicator of every site over its newest final period but `back`; looked up once a day."""
        place = (indicator, period, back, now_ms // (24 * HOUR_MS))
        if place in self._ranked:
            return self._ranked[place]
        values: dict[str, Fraction] = {}
        for ledger in self.store.sites():
            window = last_final(period, now_ms, ledger.site.time_zone)
            for _ in range(back):
                window = before(period, window, ledger.site.time_zone)
            try:
                value = compute_indicator(self.store, ledger, indicator, window, now_ms).value
            except UnknownIndicator:
                continue
            if value is not None:
                values[ledger.site.id] = value
        if len(self._ranked) > EVENTS_MAX:
            self._ranked.clear()
        self._ranked[place] = values
        return values


class PeriodicRules:
    """The evaluator. Belongs to the event loop; facts are asked in threads."""

    def __init__(self, engine: AlertEngine, sources: Sources, now: Callable[[], int]) -> None:
        self._engine = engine
        self._sources = sources
        self._now = now
        self._asked: dict[tuple[str, str], int] = {}
        self._truths: dict[Key, tuple[bool | None, int]] = {}

    async def run(self) -> None:
        """Ask until cancelled."""
        await self._engine.loaded.wait()
        waited_s = ASK_S
        while True:
            await asyncio.sleep(LOOK_S)
            waited_s += LOOK_S
            try:
                await self.take_events()
                if waited_s >= ASK_S:
                    waited_s = 0.0
                    for ledger in await asyncio.to_thread(self._ledgers):
                        await self.ask(ledger)
            except StorageUnavailable as error:
                _log.warning("rules are asked later", problem=str(error))

    async def ask(self, ledger: Ledger) -> None:
        """Ask the rules of one site whose period has begun. Raises StorageUnavailable."""
        now_ms, site = self._now(), ledger.site.id
        due = [rule for rule in self._engine.view(site).rules.values() if self._is_due(rule, ledger, now_ms)]
        if not due:
            return
        question = await asyncio.to_thread(self._prepared, ledger, now_ms)
        for rule in due:  # one at a time: pages and frames go on in between
            try:
                of_rule = await asyncio.to_thread(_found, rule, question)
            except (Permanent, ValueError) as error:  # an input that this version cannot read: others are asked
                _log.warning("rule cannot be asked", site=site, rule=rule.id, problem=str(error))
                self._asked[site, rule.id] = _period(rule, ledger, now_ms)
                continue
            for one in of_rule:
                await self._take(rule, Key(site, rule.id, one.thing), one)
            await self._end_others(rule, site, {one.thing for one in of_rule}, now_ms)
            self._asked[site, rule.id] = _period(rule, ledger, now_ms)

    async def take_events(self) -> int:
        """Turn what integrity noted since into alerts; how many that was. Raises StorageUnavailable."""
        record = self._sources.integrity
        if record is None:
            return 0
        after = await asyncio.to_thread(self._position)
        events = await asyncio.to_thread(record.events, after, EVENTS_MAX)
        for event in events:
            for rule in self._engine.view(event.site).rules.values():
                if isinstance(rule.when, EventRule) and (not rule.when.events or event.kind in rule.when.events):
                    said = {
                        "event": f"{event.kind} ({event.lane} {event.epoch.hex()} {event.seq})",
                        "id": str(event.id),
                    }
                    key = Key(event.site, rule.id, event.gateway)
                    known = self._engine.book.get(key)
                    if known is None or int(known.parameters.get("id", "0")) < event.id:
                        await self._engine.happened(rule, key, event.at_ms, said)
            await asyncio.to_thread(self._keep_position, event.id)
        return len(events)

    def _ledgers(self) -> Sequence[Ledger]:
        with asking("ledgers"):
            return self._sources.store.sites()

    def _is_due(self, rule: Rule, ledger: Ledger, now_ms: int) -> bool:
        if not isinstance(rule.when, Periodic):
            return False
        return self._asked.get((ledger.site.id, rule.id)) != _period(rule, ledger, now_ms)

    def _prepared(self, ledger: Ledger, now_ms: int) -> Asking:
        with asking("facts"):
            if self._sources.settle_s:
                self._sources.store.settle(ledger, now_ms, self._sources.settle_s)
            return self._sources.asking(ledger, now_ms)

    async def _take(self, rule: Rule, key: Key, found: Finding) -> None:
        """A truth counts from when it was first found, however often it is found again."""
        known = self._truths.get(key)
        since_ms = known[1] if known is not None and known[0] is found.truth else found.since_ms
        self._truths[key] = found.truth, since_ms
        parameters = tuple(found.parameters.items())
        await self._engine.observe(rule, key, Seen(found.truth, since_ms, self._now(), parameters))

    async def _end_others(self, rule: Rule, site: str, things: set[str], now_ms: int) -> None:
        """What is no longer found at all (a point that was taken out of the ledger) is over."""
        for key in self._engine.active_of(site, rule.id):
            if key.thing not in things:
                self._truths.pop(key, None)
                await self._engine.observe(rule, key, Seen(truth=False, since_ms=now_ms, seen_ms=now_ms))

    def _position(self) -> int:
        mine = (rule_positions.c.site == EVERYWHERE) & (rule_positions.c.source == INTEGRITY)
        with asking("alerts"), reading(self._sources.store.engine) as connection:
            return connection.execute(sa.select(rule_positions.c.position).where(mine)).scalar() or 0

    def _keep_position(self, position: int) -> None:
        mine = (rule_positions.c.site == EVERYWHERE) & (rule_positions.c.source == INTEGRITY)
        row = {"site": EVERYWHERE, "source": INTEGRITY, "position": position}
        with asking("alerts"), writing(self._sources.store.engine) as connection:
            if not connection.execute(rule_positions.update().where(mine).values(row)).rowcount:
                connection.execute(rule_positions.insert(), row)


def _found(rule: Rule, question: Asking) -> list[Finding]:
    with asking("facts"):
        return list(findings(rule, question))


def _period(rule: Rule, ledger: Ledger, now_ms: int) -> int:
    """The number of the period in which a rule is asked once: an hour, or a local day or week."""
    when, zone = rule.when, ledger.site.time_zone
    every = when.every if isinstance(when, IndicatorLimit) else "hour"
    if isinstance(when, Consecutive | Overdue | Rank):
        every = "day"
    if isinstance(when, Change):
        every = "week"
    if every == "hour":
        return now_ms // HOUR_MS
    day = day_of(now_ms, zone)
    return day if every == "day" else (day - 1) // 7
