"""Runs the rules over what each site is like now. What becomes of an alert is the book's matter.

A device is judged at each moment at which it changes, and what waits for a delay when the delay ends: the cost is in
proportion to what changed. Turns of conditions are kept in order until the book has stored them.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic

import structlog

from cloud.alerts.alert import CLOUD, Alert, Key
from cloud.alerts.book import AlertBook
from cloud.alerts.checks import Check, DevicePlan, Planner
from cloud.alerts.handling import Acknowledged, Resolved
from cloud.alerts.lifecycle import Cleared, Event, Passed
from cloud.alerts.silences import Lookout, Lookouts
from cloud.alerts.store import AlertStore, VersionMismatch
from cloud.alerts.trials import Trials
from cloud.alerts.turns import Conditions, Seen, Turn, events_of, passed, runs_of
from cloud.alerts.view import SiteView, Watch
from cloud.live import LiveDevice, LiveState
from devices.conditions import Condition
from devices.errors import StorageUnavailable
from devices.rule_kinds import EquipmentState, Live, MissingData
from devices.rule_truth import concerns
from devices.rules import Mode, Rule, Severity

TICK_S = 1.0  # a storage that failed is tried again this soon
WATCH_S = 5.0  # a changed ledger is watched this soon
RUN_MAX = 500  # changes of alerts stored in one transaction
_log = structlog.get_logger(__name__)


class AlertEngine:
    """The rules of this process, and the book of their alerts. Belongs to one event loop."""

    def __init__(
        self,
        store: AlertStore,
        live: LiveState,
        watch: Watch,
        now: Callable[[], int],
        trials: Trials | None = None,
    ) -> None:
        self._store = store
        self._live = live
        self._watch = watch
        self._now = now
        self._trials = trials
        self.book = AlertBook(store, now)
        self._planner = Planner()
        self._plans: dict[tuple[str, str], DevicePlan] = {}
        self._views: dict[str, SiteView] = {}
        self._gateways: dict[str, tuple[str, ...]] = {}
        self._conditions = Conditions()
        self._lookouts = Lookouts(now())
        self._poked: dict[Key, Lookout] = {}
        self._turns: list[Turn] = []
        self._events: deque[tuple[Key, Event]] = deque()
        self._tried: deque[Turn] = deque()
        self._wake = asyncio.Event()
        self.loaded = asyncio.Event()
        self._draining = asyncio.Lock()
        live.observe(self._changed)
        live.listen(self._frames_taken)

    def listen(self, listener: Callable[[Alert], None]) -> None:
        """Call `listener` with each alert after it changed."""
        self.book.listen(listener)

    def open_alerts(self, site: str) -> list[Alert]:
        """Give the open alerts of a site, worst first, then newest."""
        return self.book.open_alerts(site)

    def view(self, site: str) -> SiteView:
        """What the rules of a site look at."""
        known = self._views.get(site)
        return known if known is not None else self._take_view(site)

    def active_of(self, site: str, rule: str) -> list[Key]:
        """What a rule says about a site now."""
        return [key for key in self._conditions.active_of(site) if key.rule == rule]

    async def load(self) -> None:
        """Take up what the last process left. Before this nothing may be evaluated."""
        await asyncio.to_thread(self._watch.refresh)
        for alert in await self.book.load():
            self._take_up(alert)
        for site in self._watch.sites():
            self._take_view(site)
            await asyncio.sleep(0)  # a thousand sites take a while
        self.loaded.set()

    async def run(self) -> None:
        """Evaluate until cancelled."""
        await self.load()
        refreshed = monotonic()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience_s()):  # not wait_for, which may swallow a cancellation
                    await self._wake.wait()
            self._wake.clear()
            if monotonic() - refreshed >= WATCH_S:
                refreshed = monotonic()
                await self._refresh_watch()
            self._tick(self._now())
            await self._drain_if_possible()

    @property
    def due_ms(self) -> int | None:
        """When time alone may change something next, Unix ms UTC; None when only what is heard can."""
        return min((due for due in (self._conditions.due_ms, self._lookouts.due_ms) if due is not None), default=None)

    async def step(self) -> None:
        """Take up what is due by now, of every site. Raises StorageUnavailable; nothing is lost then."""
        self._tick(self._now())
        await self._drain()

    async def evaluate(self, site: str) -> None:
        """Let time pass for one site and store what turned. Raises StorageUnavailable; nothing is lost then."""
        self.view(site)
        now_ms = self._now()
        for one in self._lookouts.due(now_ms, site):
            self._look(one, now_ms)
        self._tick(now_ms)
        await self._drain()

    async def acknowledge(self, alert: Alert, event: Acknowledged, version: int | None = None) -> Alert:
        """Acknowledge. Raises AlreadyAcknowledged, AlreadyResolved, VersionMismatch (of If-Match)."""
        return await self.book.handle(alert, event, version)

    async def resolve(self, alert: Alert, event: Resolved, version: int | None = None) -> Alert:
        """Resolve. Raises ConditionActive, AlreadyResolved, VersionMismatch."""
        return await self.book.handle(alert, event, version)

    async def observe(self, rule: Rule, key: Key, seen: Seen) -> None:
        """Take in what an evaluator that asks from time to time has found. Raises StorageUnavailable."""
        self._observe(rule, key, seen)
        await self.step()

    async def happened(self, rule: Rule, key: Key, at_ms: int, parameters: Mapping[str, str]) -> None:
        """Take in something that has no duration. Raises StorageUnavailable."""
        turn = Turn(key, rule, True, at_ms, at_ms, tuple(parameters.items()))
        if rule.mode is Mode.SHADOW:
            self._tried.append(turn)
        else:
            self._sort_turns()
            self._events.extend(events_of([turn]))
            self._events.append((key, Cleared(at_ms)))
        await self._drain()

    async def record_passed(self, site: str, spans: Mapping[str, Sequence[tuple[int, int]]]) -> int:
        """Put into the record what was over before anybody here could know, and count it.

        `spans` are stretches of FAULT [from, to) in Unix ms UTC by equipment, as the facts know them. Those that
        an alert covers already are left alone, so this can be called again with the same spans.
        """
        view, added = self.view(site), 0
        for one in view.equipment:
            for rule in view.rules.values():
                when = rule.when
                if not isinstance(when, EquipmentState) or "fault" not in when.states:
                    continue
                if one.id in spans and concerns(when, one.class_, one.criticality):
                    added += await self.record_spans(rule, Key(site, rule.id, one.id), spans[one.id])
        return added

    async def record_spans(self, rule: Rule, key: Key, spans: Sequence[tuple[int, int]]) -> int:
        """As `record_passed`, for stretches in which what one rule looks at was true of one thing."""
        ended = [span for span in spans if span[1] - span[0] >= rule.delays.on_ms]
        if not ended or rule.mode is not Mode.LIVE:
            return 0
        view = self.view(key.site)
        known = await asyncio.to_thread(self._store.of_key, key)
        added = 0
        for from_ms, to_ms in ended:
            if not any(_covers(alert, from_ms, to_ms) for alert in known):
                turn = Turn(key, rule, True, from_ms, to_ms, drill=view.is_drill(key.thing, from_ms))
                added += await self.book.record(passed(turn, to_ms))
        return added

    def _changed(self, site: str, device: LiveDevice, time_ms: int, received_ms: int) -> None:
        """Judge a device at one moment; called between two changes of it."""
        place = (site, device.id)
        plan = self._plans.get(place)
        view = self._views.get(site)
        if view is None:
            return
        if plan is None or plan.profile is not device.profile or plan.view is not view:
            plan = self._plans[place] = self._planner.plan(view, device, plan)
        if plan.checks:
            values = {point: held.value for point, held in device.held.items()}
            for check in plan.checks:
                self._ask(check, values, device, time_ms, received_ms)
        for one in self._lookouts.announced(site, device.id):
            self._poked[one.key] = one

    def _ask(
        self, check: Check, values: Mapping[str, float], device: LiveDevice, time_ms: int, received_ms: int
    ) -> None:
        truth = check.look(values, device)
        if truth is check.truth:
            return
        first, check.truth = check.truth is None, truth
        since_ms = check.true_since_ms(device.held, device) if first else time_ms
        parameters = tuple(check.judge.parameters(values).items()) if truth else ()
        self._observe(check.judge.rule, check.key, Seen(truth, since_ms, received_ms or self._now(), parameters))

    def _observe(self, rule: Rule, key: Key, seen: Seen) -> None:
        self._wake.set()  # a delay may have ended already
        for condition in self._conditions.observe(rule, key, seen, self._now()):
            self._turn(rule, key, condition, seen.seen_ms, seen.parameters)

    def _turn(
        self, rule: Rule, key: Key, condition: Condition, seen_ms: int, parameters: tuple[tuple[str, str], ...] = ()
    ) -> None:
        view = self._views.get(key.site)
        drill = condition.active and view is not None and view.is_drill(key.thing, condition.since_ms)
        turn = Turn(key, rule, condition.active, condition.since_ms, seen_ms, parameters, drill)
        self._turns.append(turn)
        self._wake.set()

    def _look(self, one: Lookout, now_ms: int) -> int:
        looked = one.look(self._live.site(one.key.site), now_ms)
        self._observe(one.rule, one.key, Seen(looked.truth, looked.since_ms, now_ms))
        return looked.again_ms

    def _frames_taken(self, site: str) -> None:
        for one in self._lookouts.gateways(site):
            if self._conditions.of(one.key).active:
                self._poked[one.key] = one
        if self._turns or self._poked:
            self._wake.set()

    def _tick(self, now_ms: int) -> None:
        """Whatever is due by now, and what changes have announced."""
        poked, self._poked = self._poked, {}
        for one in poked.values():
            self._look(one, now_ms)
        for one in self._lookouts.due(now_ms):
            self._lookouts.again(one, self._look(one, now_ms))
        for rule, key, condition, parameters in self._conditions.ripen(now_ms):
            self._turn(rule, key, condition, now_ms, parameters)

    def _patience_s(self) -> float:
        due_ms = self.due_ms
        until_s = (due_ms - self._now()) / 1000 if due_ms is not None else TICK_S
        return min(max(until_s, 0.0), TICK_S)

    async def _drain_if_possible(self) -> None:
        try:
            await self._drain()
        except StorageUnavailable as error:
            _log.warning("alerts wait for the disk", waiting=len(self._events), problem=str(error))
            await asyncio.sleep(TICK_S)

    async def _drain(self) -> None:
        """Store what turned, in order. What could not be stored stays first in line."""
        async with self._draining:
            self._sort_turns()
            while self._events:
                run = next(runs_of(self._events, RUN_MAX))
                await self._store_run(run)
                for _ in run:
                    self._events.popleft()
                self._sort_turns()
            while self._tried:
                tried = list(self._tried)[:RUN_MAX]
                if self._trials is not None:
                    await asyncio.to_thread(self._trials.note, tried, self._now())
                for _ in tried:
                    self._tried.popleft()

    async def _store_run(self, run: Sequence[tuple[Key, Event]]) -> None:
        over = [event for _, event in run if isinstance(event, Passed)]
        if over:
            await self.book.record_all(over)
            return
        try:
            await self.book.apply(run)
        except VersionMismatch:
            if len(run) > 1:
                for one in run:
                    await self._store_run([one])
            else:  # its alert is in the record as one of the past already: a second one would be the same
                _log.warning("alert is in the record already", key=run[0][0], event=type(run[0][1]).__name__)

    def _sort_turns(self) -> None:
        """What rules on trial say is written down apart."""
        turned, self._turns = self._turns, []
        self._tried.extend(turn for turn in turned if turn.rule.mode is Mode.SHADOW)
        self._events.extend(events_of([turn for turn in turned if turn.rule.mode is not Mode.SHADOW]))

    async def _refresh_watch(self) -> None:
        try:
            await asyncio.to_thread(self._watch.refresh)
        except StorageUnavailable as error:
            _log.warning("what is watched may be out of date", problem=str(error))
        # a ledger that was imported just now may name a device that is in FAULT already
        for site in self._watch.sites():
            known, gateways = self._views.get(site), tuple(self._watch.gateways(site))
            if known is not self._watch.view(site) or gateways != self._gateways.get(site):
                self._take_view(site)

    def _take_view(self, site: str) -> SiteView:
        """Look at a site by its newest view: judge every device of it once, end what is no longer looked at."""
        view, now_ms = self._watch.view(site), self._now()
        self._views[site] = view
        self._gateways[site] = tuple(self._watch.gateways(site))
        self._lookouts.plan(view, self._gateways[site], now_ms)
        for device in list(self._live.site(site).devices.values()):
            self._changed(site, device, device.state_since_ms, now_ms)
        things = view.things | set(self._gateways[site])
        for key in self._conditions.active_of(site):
            rule = view.rules.get(key.rule)
            if rule is None or (isinstance(rule.when, Live) and key.thing not in things):
                self._observe(_gone(key), key, Seen(truth=False, since_ms=now_ms, seen_ms=now_ms))
        return view

    def _take_up(self, alert: Alert) -> None:
        active = alert.active_by(CLOUD)
        since_ms = alert.opened_ms if active else (alert.cleared_ms or alert.opened_ms)
        self._conditions.put(alert.key, Condition(active=active, since_ms=since_ms))


def _covers(alert: Alert, from_ms: int, to_ms: int) -> bool:
    return alert.opened_ms < to_ms and (alert.cleared_ms is None or from_ms < alert.cleared_ms)


def _gone(key: Key) -> Rule:
    """Stand in for a rule that is no longer there, or no longer about this thing."""
    when = MissingData(kind="missing-data", of="gateway")
    return Rule(id=key.rule, severity=Severity.YELLOW, when=when, text="alert.gateway_silent")
