"""Idleness of points and punctuality of rounds, from visits. Pure, whole milliseconds; formulas: domain.md 3.4.

A visit is a span [first, last] of milliseconds. The idleness of a point at a moment is the time since its last visit,
0 during one. Gaps that are open at an edge of the window count: the last visit before it (or the beginning of
patrolling) is carried in, and a point that is not visited again goes on ageing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from cloud.facts.days import Span, clipped

Visit = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch [from_ms, to_ms) without a visit; the last one ended at `last_ms`."""

    last_ms: int
    from_ms: int
    to_ms: int

    def within(self, from_ms: int, to_ms: int) -> "Gap | None":
        """The part of it in [from_ms, to_ms), None when there is none."""
        begin, end = max(self.from_ms, from_ms), min(self.to_ms, to_ms)
        return Gap(self.last_ms, begin, end) if begin < end else None

    @property
    def twice_integral(self) -> int:
        """Twice the time integral of idleness, ms^2."""
        return (self.to_ms - self.last_ms) ** 2 - (self.from_ms - self.last_ms) ** 2

    def beyond(self, interval_ms: int) -> Span:
        """The part in which the point was older than its interval; may be empty (begin >= end)."""
        return max(self.from_ms, self.last_ms + interval_ms), self.to_ms


def gaps(visits: Iterable[Visit], last_ms: int, from_ms: int, to_ms: int) -> list[Gap]:
    """The stretches of [from_ms, to_ms) between visits. `last_ms` ended the last one before it, or patrolling began."""
    found: list[Gap] = []
    at = from_ms
    for begin, end in sorted(visits):
        if begin >= to_ms:
            break
        if begin > at:
            found.append(Gap(last_ms, at, begin))
        at, last_ms = max(at, end), max(last_ms, end)
    if at < to_ms:
        found.append(Gap(last_ms, at, to_ms))
    return found


def late_spans(found: Iterable[Gap], interval_ms: int, required: Sequence[Span]) -> list[Span]:
    """The parts of the required time in which a point was older than its interval."""
    late: list[Span] = []
    for gap in found:
        begin, end = gap.beyond(interval_ms)
        if begin < end:
            late += clipped(required, begin, end)
    return late


def overlap_ms(spans: Iterable[Span], others: Sequence[Span]) -> int:
    """Time that lies in both; each side disjoint in itself."""
    return sum(end - begin for from_ms, to_ms in spans for begin, end in clipped(others, from_ms, to_ms))


def served_slots(slots: Sequence[Span], visits: Iterable[Visit]) -> list[bool]:
    """Which slots (first and last ms, by both ascending) a visit can be given to; one visit serves one slot.

    The greatest possible number: of the visits that meet a slot it takes the one that ends first (Glover 1967).
    """
    waiting: list[tuple[int, int]] = []
    coming = sorted(visits)
    at = 0
    served = []
    for begin, end in slots:
        while at < len(coming) and coming[at][0] <= end:
            heappush(waiting, (coming[at][1], coming[at][0]))
            at += 1
        while waiting and waiting[0][0] < begin:
            heappop(waiting)
        served.append(bool(waiting))
        if waiting:
            heappop(waiting)
    return served


def meets(visits: Iterable[Visit], slot: Span) -> bool:
    """Whether any visit has a millisecond in a slot (first and last ms)."""
    return any(begin <= slot[1] and end >= slot[0] for begin, end in visits)


def long_enough(stays: Iterable[Visit], dwell_ms: int) -> list[Visit]:
    """The stays that are visits."""
    return [stay for stay in stays if stay[1] - stay[0] >= dwell_ms]
