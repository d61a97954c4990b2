"""Runs the rules over what each site is like now. What becomes of an alert is the book's matter.

A site is evaluated when frames of it arrive and whenever a delay ends.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

import structlog

from cloud.alerts.alert import CLOUD, Alert, Key, terms_of
from cloud.alerts.book import AlertBook
from cloud.alerts.handling import Acknowledged, Resolved
from cloud.alerts.lifecycle import Cleared, Event, Passed, Raised
from cloud.alerts.rules import DEFAULT_RULES, EquipmentState, GatewaySilent, Rule
from cloud.alerts.store import AlertStore
from cloud.live import LiveState
from devices import conditions
from devices.conditions import Condition
from devices.errors import StorageUnavailable
from devices.instants import format_instant

TICK_S = 1.0  # delays end at most this much late
WATCH_S = 5.0  # a changed ledger is watched this soon
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Watched:
    """One equipment as the rules see it."""

    id: str
    device: str
    criticality: str


class Watch(Protocol):
    """What there is to watch. Answers at once, from memory; `refresh` blocks and is called in a thread."""

    def refresh(self) -> None:
        """Take up what was entered since."""

    def sites(self) -> Iterable[str]:
        """Every site."""

    def equipment(self, site: str) -> Sequence[Watched]:
        """Equipment of a site that has a device; the same object while nothing changed."""

    def gateways(self, site: str) -> Iterable[str]:
        """Gateways of a site that were heard at least once since they were registered."""


class AlertEngine:
    """The rules of this process, and the book of their alerts. Belongs to one event loop."""

    def __init__(
        self,
        store: AlertStore,
        live: LiveState,
        watch: Watch,
        now: Callable[[], int],
        rules: Sequence[Rule] = DEFAULT_RULES,
    ) -> None:
        self._store = store
        self._live = live
        self._watch = watch
        self._now = now
        self._rules = {rule.id: rule for rule in rules}
        self._started_ms = now()
        self.book = AlertBook(store, now)
        self._conditions: dict[Key, Condition] = {}
        self._plans: dict[str, tuple[object, list[tuple[Rule, Key, str]]]] = {}
        self._due: set[str] = set()
        self._wake = asyncio.Event()
        live.listen(self._frames_taken)

    def listen(self, listener: Callable[[Alert], None]) -> None:
        """Call `listener` with each alert after it changed."""
        self.book.listen(listener)

    def open_alerts(self, site: str) -> list[Alert]:
        """Give the open alerts of a site, worst first, then newest."""
        return self.book.open_alerts(site)

    async def load(self) -> None:
        """Take up what the last process left. Before this nothing may be evaluated."""
        await asyncio.to_thread(self._watch.refresh)
        for alert in await self.book.load():
            self._take_up(alert)
        self._due.update(self._watch.sites())

    async def run(self) -> None:
        """Evaluate until cancelled."""
        await self.load()
        ticked = refreshed = monotonic()
        while True:
            try:
                await asyncio.wait_for(self._wake.wait(), max(0.0, ticked + TICK_S - monotonic()))
            except TimeoutError:
                ticked = monotonic()
                self._due.update(self._sites_waiting())
            self._wake.clear()
            if monotonic() - refreshed >= WATCH_S:
                refreshed = monotonic()
                await self._refresh_watch()
            due, self._due = self._due, set()
            for site in due:
                await self._evaluate_if_possible(site)

    async def _refresh_watch(self) -> None:
        try:
            await asyncio.to_thread(self._watch.refresh)
        except StorageUnavailable as error:
            _log.warning("what is watched may be out of date", problem=str(error))
        # a ledger that was imported just now may name a device that is in FAULT already
        self._due.update(site for site in self._watch.sites() if self._is_news(site))

    async def _evaluate_if_possible(self, site: str) -> None:
        try:
            await self.evaluate(site)
        except StorageUnavailable as error:
            _log.warning("alerts of a site wait for the disk", site=site, problem=str(error))
            self._due.add(site)

    def _is_news(self, site: str) -> bool:
        planned = self._plans.get(site)
        return planned is None or planned[0] is not self._watch.equipment(site)

    async def evaluate(self, site: str) -> None:
        """Run the rules of one site now. Raises StorageUnavailable; what was not stored is found again."""
        now_ms = self._now()
        devices = self._live.site(site).devices
        for rule, key, device in self._plan(site):
            known = devices.get(device)
            if known is None or not isinstance(rule.when, EquipmentState):
                continue
            state = known.state.name
            truth = None if state == "UNKNOWN" else state in rule.when.states
            await self._observe(rule, key, truth, known.state_since_ms, now_ms)
        for rule in self._rules.values():
            if isinstance(rule.when, GatewaySilent):
                for gateway in self._watch.gateways(site):
                    truth, since_ms = self._silence(site, gateway, rule, now_ms)
                    await self._observe(rule, Key(site, rule.id, gateway), truth, since_ms, now_ms)

    async def acknowledge(self, alert: Alert, event: Acknowledged, version: int | None = None) -> Alert:
        """Acknowledge. Raises AlreadyAcknowledged, AlreadyResolved, VersionMismatch (of If-Match)."""
        return await self.book.handle(alert, event, version)

    async def resolve(self, alert: Alert, event: Resolved, version: int | None = None) -> Alert:
        """Resolve. Raises ConditionActive, AlreadyResolved, VersionMismatch."""
        return await self.book.handle(alert, event, version)

    async def record_passed(self, site: str, spans: Mapping[str, Sequence[tuple[int, int]]]) -> int:
        """Put into the record what was over before anybody here could know, and count it.

        `spans` are stretches of FAULT [from, to) in Unix ms UTC by equipment, as the facts know them. Those that
        an alert covers already are left alone, so this can be called again with the same spans.
        """
        added = 0
        for rule, key, _ in self._plan(site):
            ended = [span for span in spans.get(key.thing, ()) if span[1] - span[0] >= rule.delays.on_ms]
            if not ended or not isinstance(rule.when, EquipmentState):
                continue
            known = await asyncio.to_thread(self._store.of_key, key)
            for from_ms, to_ms in ended:
                if any(_covers(alert, from_ms, to_ms) for alert in known):
                    continue
                event = Passed(key, terms_of(rule), from_ms, to_ms, _parameters(key, from_ms))
                added += await self.book.record(event)
        return added

    def _frames_taken(self, site: str) -> None:
        self._due.add(site)
        self._wake.set()

    def _sites_waiting(self) -> set[str]:
        """Give the sites where time alone may change something: a delay runs, or a gateway may be silent."""
        waiting = {key.site for key, condition in self._conditions.items() if condition.pending_ms is not None}
        now_ms = self._now()
        for site in self._watch.sites():
            if site in waiting:
                continue
            for rule in self._rules.values():
                if isinstance(rule.when, GatewaySilent) and any(
                    self._silence(site, gateway, rule, now_ms)[0]
                    and not self._condition(Key(site, rule.id, gateway)).active
                    for gateway in self._watch.gateways(site)
                ):
                    waiting.add(site)
        return waiting

    def _silence(self, site: str, gateway: str, rule: Rule, now_ms: int) -> tuple[bool | None, int]:
        """Whether a gateway is silent, and since when. Just after a start nobody can tell."""
        heard = self._live.site(site).gateways.get(gateway)
        if heard is not None and heard.last_frame_ms:
            return now_ms - heard.last_frame_ms >= rule.delays.on_ms, heard.last_frame_ms
        return True if now_ms - self._started_ms >= rule.delays.on_ms else None, self._started_ms

    def _plan(self, site: str) -> list[tuple[Rule, Key, str]]:
        equipment = self._watch.equipment(site)
        cached = self._plans.get(site)
        if cached is not None and cached[0] is equipment:
            return cached[1]
        plan = [
            (rule, Key(site, rule.id, one.id), one.device)
            for one in equipment
            for rule in self._rules.values()
            if isinstance(rule.when, EquipmentState) and one.criticality in rule.when.criticalities
        ]
        self._plans[site] = (equipment, plan)
        return plan

    def _condition(self, key: Key) -> Condition:
        return self._conditions.get(key, Condition())

    async def _observe(self, rule: Rule, key: Key, truth: bool | None, since_ms: int, now_ms: int) -> None:  # noqa: FBT001
        before = self._condition(key)
        after = conditions.step(before, rule.delays, truth=truth, since_ms=since_ms, now_ms=now_ms)
        if after is before:
            return
        if after.active == before.active:
            self._conditions[key] = after
            return
        began_ms = after.since_ms
        terms, parameters = terms_of(rule), _parameters(key, began_ms)
        event: Event = Raised(key, terms, began_ms, parameters) if after.active else Cleared(began_ms)
        await self.book.apply([(key, event)])
        self._conditions[key] = after

    def _take_up(self, alert: Alert) -> None:
        active = alert.active_by(CLOUD)
        if self._condition(alert.key).active != active:
            since_ms = alert.opened_ms if active else (alert.cleared_ms or alert.opened_ms)
            self._conditions[alert.key] = Condition(active=active, since_ms=since_ms)


def _parameters(key: Key, since_ms: int) -> dict[str, str]:
    return {"thing": key.thing, "since": format_instant(since_ms)}


def _covers(alert: Alert, from_ms: int, to_ms: int) -> bool:
    return alert.opened_ms < to_ms and (alert.cleared_ms is None or from_ms < alert.cleared_ms)
