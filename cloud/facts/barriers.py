"""Occupancy of places that only count who comes in and who goes out. Pure; times are Unix ms UTC. domain.md 4.

Such a balance drifts: each tail-gater and each reset of a counter stays in it. Therefore it is an estimate and says so,
is kept within 0 and the capacity (what is cut off is added up as `drift`), and begins anew at a time of day when the
place is known to be empty. Before the first such time nothing is known. While a barrier does not answer nothing is
known either; when it answers again its counters tell what passed meanwhile, and an empty time that fell into its
silence counts only if nobody passed there in it: else nothing is known until the next one.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

import numpy as np

from cloud.facts.days import days_between
from cloud.facts.ledger_parking import Counted
from cloud.facts.timelines import Steps
from devices.reading import Int64s

UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Barrier:
    """What one barrier's counters showed over time. `reversed`: its way in is this place's way out."""

    entered: Steps
    left: Steps
    reversed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Balance:
    """From `starts[i]` on so many are inside (`UNKNOWN`: nobody knows), until `end_ms`.

    `drift` adds up what was cut off since the last empty time: how far the counters were wrong at least. `resets`
    counts readings that could not continue the one before.
    """

    starts: Int64s
    inside: Int64s
    end_ms: int
    drift: int
    resets: int

    def at(self, time_ms: int) -> int:
        """How many are inside at a moment."""
        index = int(np.searchsorted(self.starts, time_ms, "right")) - 1
        return int(self.inside[index]) if index >= 0 else UNKNOWN

    def over(self, from_ms: int, to_ms: int) -> tuple[int, int]:
        """Taken space-ms, and ms in which it is known how many are taken, within [from_ms, to_ms)."""
        ends = np.append(self.starts[1:], self.end_ms)
        lengths = np.clip(np.minimum(ends, to_ms) - np.maximum(self.starts, from_ms), 0, None)
        known = self.inside != UNKNOWN
        return int((lengths * self.inside)[known].sum()), int(lengths[known].sum())


@dataclass(slots=True)
class _Count:
    """The state of the count between two moments. `last`: the counters of each barrier as last seen."""

    last: list[tuple[float, float] | None]
    silent: list[bool]
    net: int = 0  # who came in less who went out, ever
    net_when_empty: int | None = None  # at an empty time that fell into silence, while it may still be used
    inside: int | None = None
    drift: int = 0
    resets: int = 0


def balance(barriers: Sequence[Barrier], place: Counted, empty_ms: Iterable[int], end_ms: int) -> Balance:
    """How many are inside, from the beginning of the barriers' steps to `end_ms`. `empty_ms` ascend."""
    series = [steps for barrier in barriers for steps in (barrier.entered, barrier.left)]
    empty = np.array(list(empty_ms), np.int64)
    times = np.unique(np.concatenate([*(steps.starts for steps in series), empty]))
    columns = [steps.values[np.searchsorted(steps.starts, times, "right") - 1] for steps in series]
    table = np.column_stack(columns).tolist()
    count = _Count([None] * len(barriers), [False] * len(barriers))
    inside = [
        _step(count, barriers, place, row, is_empty=is_empty)
        for row, is_empty in zip(table, np.isin(times, empty).tolist(), strict=True)
    ]
    return Balance(times, np.array(inside, np.int64), end_ms, count.drift, count.resets)


def _step(count: _Count, barriers: Sequence[Barrier], place: Counted, row: Sequence[float], *, is_empty: bool) -> int:
    blurred = False  # passages on both sides of an empty time cannot be told apart
    for index, barrier in enumerate(barriers):
        entered, left = row[2 * index], row[2 * index + 1]
        was_silent, count.silent[index] = count.silent[index], math.isnan(entered) or math.isnan(left)
        if count.silent[index]:
            continue
        before, count.last[index] = count.last[index], (entered, left)
        if before is not None:
            came, went = _passages(count, before[0], entered, place), _passages(count, before[1], left, place)
            _pass(count, place, went - came if barrier.reversed else came - went)
        blurred = blurred or (was_silent and before != (entered, left))
    if blurred:
        count.net_when_empty = None
    answers = not any(count.silent)
    if is_empty:
        # without it the answer would hang on how far back one looks
        count.net_when_empty, count.inside = count.net, None
    if count.net_when_empty is not None and answers:
        since = count.net - count.net_when_empty
        count.net, count.net_when_empty = count.net_when_empty, None
        count.inside, count.drift = 0, 0
        _pass(count, place, since)
    return UNKNOWN if count.inside is None or not answers else count.inside


def _pass(count: _Count, place: Counted, more: int) -> None:
    count.net += more
    if count.inside is None:
        return
    raw = count.inside + more
    count.inside = min(max(raw, 0), place.capacity)
    count.drift += abs(raw - count.inside)


def _passages(count: _Count, before: float, after: float, place: Counted) -> int:
    """How many passed between two readings of a counter; none can be told when it began anew."""
    passed = round(after - before)
    if passed < 0 and place.counts_to is not None:
        passed += place.counts_to
    if 0 <= passed <= place.passages_max:
        return passed
    count.resets += 1
    return 0


def empty_times(place: Counted, zone: ZoneInfo, from_ms: int, to_ms: int) -> Iterator[int]:
    """Every moment of [from_ms, to_ms) at which the place is known to be empty, ascending."""
    at = time.fromisoformat(place.empty_at)
    for day in days_between(from_ms, to_ms, zone):
        moment = round(datetime.combine(date.fromordinal(day), at, zone).timestamp() * 1000)
        if from_ms <= moment < to_ms:
            yield moment
