"""Units that do not answer must not cost the others their polls: a breaker per unit of one bus. Pure.

After the first silence a unit is only probed with one cheap request at its ticks; after `FAILURES_MAX` its
breaker opens and probes are rare: each unit by its own back-off, all together within a share of the bus time.
"""

import math
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from edge.backoff import Backoff

FAILURES_MAX = 3
PROBE_SHARE = 0.04  # of the bus time may go to units that do not answer; promised are 5 %
PROBE_FIRST_S = 1.0
PROBE_CAP_S = 60.0


class Mode(Enum):
    """How a unit is to be treated at its tick."""

    POLL = "poll"
    PROBE = "probe"  # suspicious: one request first
    SKIP = "skip"  # open


@dataclass(slots=True)
class _Unit:
    backoff: Backoff
    failures: int = 0
    next_probe_s: float = field(default=math.inf)  # finite while open


class Breakers:
    """The breakers of one bus or socket; times in seconds of any one clock."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._units: dict[int, _Unit] = {}
        self._quiet_until_s = -math.inf

    @property
    def open_units(self) -> list[int]:
        """Units that are only probed now and then."""
        return [number for number, unit in self._units.items() if unit.failures >= FAILURES_MAX]

    def mode(self, number: int) -> Mode:
        """How to treat a unit at its tick."""
        unit = self._units.get(number)
        if unit is None or not unit.failures:
            return Mode.POLL
        return Mode.PROBE if unit.failures < FAILURES_MAX else Mode.SKIP

    def record(self, number: int, now_s: float, cost_s: float, *, answered: bool) -> None:
        """What came of asking a unit, at the end of it; `cost_s` is how long the bus was busy with it."""
        if answered:
            self._units.pop(number, None)
            return
        unit = self._units.get(number)
        if unit is None:
            unit = self._units[number] = _Unit(Backoff(self._rng, PROBE_FIRST_S, PROBE_CAP_S))
        was_open = unit.failures >= FAILURES_MAX
        unit.failures += 1
        if unit.failures >= FAILURES_MAX:
            unit.next_probe_s = now_s + unit.backoff.next_s()
            if was_open:
                self._quiet_until_s = now_s + cost_s * (1 / PROBE_SHARE - 1)

    def next_probe_s(self) -> float:
        """When the next probe may be made; infinity while no breaker is open."""
        earliest_s = min((unit.next_probe_s for unit in self._units.values()), default=math.inf)
        return max(earliest_s, self._quiet_until_s) if earliest_s < math.inf else math.inf

    def to_probe(self, now_s: float) -> int | None:
        """The unit that waits longest for its probe, if one may be made now."""
        if now_s < self.next_probe_s():
            return None
        return min(self._units, key=lambda number: self._units[number].next_probe_s)
