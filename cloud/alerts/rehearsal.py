"""What a set of rules would have said: the frames of the last days once more, through the same engine, calling nobody.

Frames come in the order and at the times at which they were received. What lies before them is known from the hour
before (keyframes) and from what the facts say the site consists of. Nothing is written.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cloud.alerts.engine import AlertEngine
from cloud.alerts.findings import HOUR_MS
from cloud.alerts.periodic import PeriodicRules, Sources
from cloud.alerts.store import AlertStore
from cloud.alerts.turns import Turn
from cloud.alerts.view import SiteView, Watch
from cloud.alerts.watch import SiteWatch
from cloud.facts.database import open_database
from cloud.facts.newest import Newest, newest
from cloud.facts.store import FactStore
from cloud.history.embedded import EmbeddedHistory
from cloud.history.store import HistoryReader
from cloud.ingest.gateways import GatewayKeys, GatewayRegister
from cloud.ingest.identities import Identities
from cloud.ingest.log import FrameLog, LogEntry
from cloud.ingest.log_segments import SegmentLog
from cloud.live import LiveState
from devices.errors import FrameError
from devices.frame import Frame, decode_frame
from devices.reading import Lane
from devices.rules import Mode, Rule

WARM_UP_MS = 2 * HOUR_MS  # keyframes come every hour
READ_FRAMES = 500
DAYS_MAX = 366


@dataclass(frozen=True, slots=True)
class Fired:
    """A rule would have raised an alert about a thing at `from_ms`; `to_ms` is None while it went on at the end."""

    site: str
    rule: str
    severity: str
    thing: str
    from_ms: int
    to_ms: int | None


@dataclass(frozen=True, slots=True)
class Past:
    """Where the past is kept."""

    log: FrameLog
    keys: GatewayKeys
    store: FactStore
    history: HistoryReader | None = None


@contextmanager
def opened(log: Path, gateways: Path, facts: Path, history: Path) -> Iterator[tuple[Past, Watch]]:
    """The stores of an aggregator that does not run, by their places. Raises StorageUnavailable."""
    with ExitStack() as stack:
        frames = SegmentLog(log)
        stack.callback(frames.close)
        keys = GatewayRegister(gateways)
        stack.callback(keys.close)
        engine = open_database(facts)
        stack.callback(engine.dispose)
        charts = EmbeddedHistory(history, frames.log_id)
        stack.callback(charts.close)
        store = FactStore(engine, eager=False)
        watch = SiteWatch(store, keys, Identities.of_log(frames))
        watch.refresh()
        yield Past(frames, keys, store, charts), watch


class _Collected:
    """`cloud.alerts.trials.Trials` in memory."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []

    def note(self, turns: Sequence[Turn], now_ms: int) -> None:  # noqa: ARG002 - a protocol
        """Keep them."""
        self.turns += turns


class _TrialWatch:
    """What there is to watch, by other rules, none of which calls anybody."""

    def __init__(self, watch: Watch, rules: Mapping[str, Rule]) -> None:
        self._watch = watch
        self._rules = {name: rule.model_copy(update={"mode": Mode.SHADOW}) for name, rule in rules.items()}
        self._views: dict[str, SiteView] = {}

    def refresh(self) -> None:
        """Nothing is entered in the past."""

    def sites(self) -> list[str]:
        """Every site."""
        return list(self._watch.sites())

    def view(self, site: str) -> SiteView:
        """As it is today, under the rules on trial."""
        if site not in self._views:
            self._views[site] = replace(self._watch.view(site), rules=self._rules)
        return self._views[site]

    def gateways(self, site: str) -> list[str]:
        """Those of a site."""
        return list(self._watch.gateways(site))


async def rehearse(
    past: Past, watch: Watch, rules: Mapping[str, Rule], window: tuple[int, int], sites: Sequence[str]
) -> list[Fired]:
    """What these rules would have raised at these sites in [from, to), Unix ms UTC, in order of time."""
    clock = [window[0] - WARM_UP_MS]

    def now() -> int:
        return clock[0]

    live, collected = LiveState(), _Collected()
    engine = AlertEngine(AlertStore(past.store.engine), live, _TrialWatch(watch, rules), now, trials=collected)
    periodic = PeriodicRules(engine, Sources(past.store, live, past.history, settle_s=0), now)
    for site in sites:
        known = newest(past.store.engine, site)
        live.site(site).restore(Newest(known.profiles, known.inventories, {}, {}))
        engine.view(site)
    for received_ms, site, frame in _frames(past, window, frozenset(sites)):
        await _ask_until(received_ms, clock, engine, periodic, past.store, sites, window[0])
        clock[0] = max(clock[0], received_ms)
        live.frames_arrived(site, [frame], clock[0])
        await engine.step()
    await _ask_until(window[1], clock, engine, periodic, past.store, sites, window[0])
    clock[0] = window[1]
    await engine.step()
    return [one for one in fired(collected.turns) if one.to_ms is None or one.to_ms >= window[0]]


async def _ask_until(  # noqa: PLR0917 - one loop's state
    until_ms: int, clock: list[int], engine: AlertEngine, periodic: PeriodicRules, store: FactStore,
    sites: Sequence[str], from_ms: int,
) -> None:  # fmt: skip
    """Let the time up to a moment pass: delays end when they do, and rules are asked every hour."""
    while (hour_ms := (clock[0] // HOUR_MS + 1) * HOUR_MS) <= until_ms or _due_ms(engine, clock[0]) <= until_ms:
        if (due_ms := _due_ms(engine, clock[0])) < hour_ms:
            clock[0] = due_ms
            await engine.step()
            continue
        clock[0] = hour_ms
        await engine.step()
        if hour_ms < from_ms:
            continue
        for site in sites:
            ledger = store.ledger(site)
            if ledger is not None:
                await periodic.ask(ledger)


def _due_ms(engine: AlertEngine, now_ms: int) -> int:
    """When the engine wants to look again, after now; an hour from now at the latest."""
    due_ms, latest_ms = engine.due_ms, now_ms + HOUR_MS
    return latest_ms if due_ms is None else min(max(due_ms, now_ms + 1), latest_ms)


def fired(turns: Sequence[Turn]) -> list[Fired]:
    """Turns as stretches, by their beginning."""
    begun: dict[object, int] = {}
    found: list[Fired] = []
    for turn in turns:
        if turn.active:
            begun[turn.key] = len(found)
            key, severity = turn.key, turn.rule.severity.value
            found.append(Fired(key.site, key.rule, severity, key.thing, turn.since_ms, None))
        elif turn.key in begun:
            place = begun.pop(turn.key)
            found[place] = replace(found[place], to_ms=turn.since_ms)
    return sorted(found, key=lambda one: (one.from_ms, one.site, one.rule, one.thing))


def _frames(past: Past, window: tuple[int, int], sites: frozenset[str]) -> Iterator[tuple[int, str, Frame]]:
    begin_ms = window[0] - WARM_UP_MS
    lanes = [_entries(past.log, lane, past.log.since(lane, begin_ms)) for lane in Lane]
    for entry in heapq.merge(*lanes, key=_received):
        if not begin_ms <= entry.received_ms < window[1]:
            continue
        try:
            frame = decode_frame(entry.data)
        except FrameError:
            continue  # it was set aside, so no rule saw it either
        gateway = past.keys.get(frame.header.gateway)
        if gateway is not None and gateway.site in sites:
            yield entry.received_ms, gateway.site, frame


def _entries(log: FrameLog, lane: Lane, after: int) -> Iterator[LogEntry]:
    while read := log.read(lane, after, READ_FRAMES):
        yield from read
        after = read[-1].position


_received: Callable[[LogEntry], int] = lambda entry: entry.received_ms  # noqa: E731 - a key
