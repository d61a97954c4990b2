"""Deadlines instead of queues: what is due, the earliest first; what was missed is counted, never made up for. Pure."""

import hashlib
import heapq
import math
from dataclasses import dataclass
from typing import Generic, TypeVar

FIRST_TICK_S = 1.0  # within this everything is asked once; after that each keeps its place in its interval
T = TypeVar("T")


def phase_of(name: str) -> float:
    """A place in the interval, from 0 up to 1, that is always the same for a name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big") / 2**32


@dataclass(slots=True)
class _Entry(Generic[T]):
    what: T
    interval_s: float
    grid_s: float
    due_s: float


@dataclass(frozen=True, slots=True)
class Due(Generic[T]):
    """Something to be done now: `late_s` after its deadline, with `missed` further deadlines behind it."""

    what: T
    late_s: float
    missed: int


class Schedule(Generic[T]):
    """Deadlines at fixed distances from a start; times in seconds of any one clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, float, int, _Entry[T]]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, what: T, interval_s: float, phase: float, now_s: float) -> None:
        """Begin within `FIRST_TICK_S`, then go on at `phase` of each interval."""
        due_s = now_s + phase * min(interval_s, FIRST_TICK_S)
        entry = _Entry(what, interval_s, now_s + phase * interval_s, due_s)
        self._push(entry)

    @property
    def next_s(self) -> float:
        """The earliest deadline; infinity when there is nothing to do."""
        return self._heap[0][0] if self._heap else math.inf

    def pop(self, now_s: float) -> Due[T] | None:
        """What is due, the earliest deadline first and the shorter interval at equal ones; sets its next deadline."""
        if now_s < self.next_s:
            return None
        *_, entry = heapq.heappop(self._heap)
        late_s = now_s - entry.due_s
        missed = math.floor(late_s / entry.interval_s)
        passed = max(math.floor((now_s - entry.grid_s) / entry.interval_s), -1)
        entry.due_s = entry.grid_s + (passed + 1) * entry.interval_s
        self._push(entry)
        return Due(entry.what, late_s, missed)

    def _push(self, entry: _Entry[T]) -> None:
        self._count += 1  # entries themselves are not compared
        heapq.heappush(self._heap, (entry.due_s, entry.interval_s, self._count, entry))
