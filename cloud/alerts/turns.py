"""Conditions of all rules, and the order in which they turned. Pure: times are Unix ms UTC and are arguments.

An alert is historical only if its condition had ended (its off-delay included) before the frame that shows it was
received: such a pair of turns is one `Passed`.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from cloud.alerts.alert import Key, terms_of
from cloud.alerts.lifecycle import Cleared, Event, Passed, Raised
from devices.conditions import Condition, ripened, turns
from devices.instants import format_instant
from devices.rules import Rule

Parameters = tuple[tuple[str, str], ...]


class Seen(NamedTuple):
    """What was found to be true (None: nobody knows) since a time, known since `seen_ms`, all in Unix ms UTC.

    `parameters` are what an alert's sentence may say of it.
    """

    truth: bool | None
    since_ms: int
    seen_ms: int
    parameters: Parameters = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """A condition became active or ceased to be, at `since_ms`; known since `seen_ms`, when its frame was received."""

    key: Key
    rule: Rule
    active: bool
    since_ms: int
    seen_ms: int
    parameters: tuple[tuple[str, str], ...] = ()
    drill: bool = False

    @property
    def ended_ms(self) -> int:
        """Of the end of a condition: when it counted as ended."""
        return self.since_ms + self.rule.delays.off_ms


class Conditions:
    """Where the condition of each key stands, and which ones wait for a delay."""

    def __init__(self) -> None:
        self._known: dict[Key, Condition] = {}
        self._waiting: list[tuple[int, int, Key, Rule]] = []
        self._order = count()
        self._said: dict[Key, Parameters] = {}  # of what waits for its on-delay

    def of(self, key: Key) -> Condition:
        """Where it stands."""
        return self._known.get(key, _NEVER)

    def put(self, key: Key, condition: Condition) -> None:
        """Take up where it stood in the last process."""
        self._known[key] = condition

    def active_of(self, site: str) -> list[Key]:
        """What is active at a site."""
        return [key for key, one in self._known.items() if key.site == site and one.active]

    def observe(self, rule: Rule, key: Key, seen: Seen, now_ms: int) -> Iterator[Condition]:
        """Take in what was seen; every change of the condition up to then, in order. `ripen` does the rest."""
        before = self._known.get(key, _NEVER)
        if seen.truth is before.active and before.pending_ms is None:
            return
        since_ms = min(seen.since_ms, max(now_ms, seen.seen_ms))
        for after in turns(before, rule.delays, truth=seen.truth, since_ms=since_ms):
            if after.active != before.active:
                yield after
            before = after
        self._known[key] = before
        if seen.truth and before.pending_ms is not None and seen.parameters:
            self._said[key] = seen.parameters
        else:
            self._said.pop(key, None)
        self._wait(rule, key, before)

    def ripen(self, now_ms: int) -> Iterator[tuple[Rule, Key, Condition, Parameters]]:
        """What time alone has changed, and what the sentence of an alert may say of it."""
        while self._waiting and self._waiting[0][0] <= now_ms:
            _, _, key, rule = heapq.heappop(self._waiting)
            before = self.of(key)
            after = ripened(before, rule.delays, now_ms)
            if after is not before:
                self._known[key] = after
                yield rule, key, after, self._said.pop(key, ())

    @property
    def due_ms(self) -> int | None:
        """When the next delay ends, at the earliest."""
        return self._waiting[0][0] if self._waiting else None

    def _wait(self, rule: Rule, key: Key, condition: Condition) -> None:
        due_ms = condition.due_ms(rule.delays)
        if due_ms is not None:
            heapq.heappush(self._waiting, (due_ms, next(self._order), key, rule))


_NEVER = Condition()


def events_of(waiting: Sequence[Turn]) -> list[tuple[Key, Event]]:
    """Turns as what happens to alerts, in the same order; what was over before it was seen as one `Passed`."""
    raised: dict[Key, int] = {}
    events: list[tuple[Key, Event] | None] = []
    for turn in waiting:
        if turn.active:
            raised[turn.key] = len(events)
            events.append((turn.key, _raised(turn)))
            continue
        begun = raised.pop(turn.key, None)
        opened = events[begun] if begun is not None else None
        start = waiting[begun] if begun is not None else None
        if begun is not None and opened is not None and start is not None and turn.ended_ms <= start.seen_ms:
            events[begun] = None
            events.append((turn.key, passed(start, turn.since_ms)))
        else:
            events.append((turn.key, Cleared(turn.since_ms)))
    return [event for event in events if event is not None]


def _raised(turn: Turn) -> Raised:
    return Raised(turn.key, terms_of(turn.rule), turn.since_ms, said(turn), drill=turn.drill)


def passed(turn: Turn, to_ms: int) -> Passed:
    """What began with a turn and was over at `to_ms`."""
    return Passed(turn.key, terms_of(turn.rule), turn.since_ms, to_ms, said(turn), drill=turn.drill)


def said(turn: Turn) -> dict[str, str]:
    """The parameters of an alert's sentence."""
    own = {"rule_name": turn.rule.name} if turn.rule.name else {}
    flag = {"flag": turn.rule.flag} if turn.rule.flag else {}
    fixed = {"thing": turn.key.thing, "since": format_instant(turn.since_ms)}
    return fixed | own | flag | dict(turn.parameters)


def runs_of(events: Iterable[tuple[Key, Event]], most: int) -> Iterator[list[tuple[Key, Event]]]:
    """Events in order, cut so that a run holds either only `Passed` or none, and at most so many."""
    run: list[tuple[Key, Event]] = []
    for one in events:
        if run and (len(run) >= most or isinstance(run[0][1], Passed) != isinstance(one[1], Passed)):
            yield run
            run = []
        run.append(one)
    if run:
        yield run
