"""Occupancy from counting barriers: who came in less who went out. Pure; times are Unix ms UTC.

Such a balance drifts: each tail-gater, each reset of a counter and each passage during an outage stays in it for ever.
Therefore it is an estimate and says so, is kept within 0 and the capacity (what is cut off is added up as `drift`),
and begins anew at a time when the place is known to be empty. Before the first such time nothing is known.
"""

from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from devices.instants import format_instant

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Barriers:
    """A place with counted entrances.

    `empty_at` is the local time of day (in `zone`, IANA) at which it is known to be empty, None if there is none.
    Counters go round at `modulus` (65536 for one register), None if they do not; more than `passages_max` between two
    readings is no traffic but a counter that was reset.
    """

    capacity: int
    zone: str = "UTC"
    empty_at: time | None = None
    modulus: int | None = None
    passages_max: int = 1_000

    def __post_init__(self) -> None:
        """Refuse what cannot be counted with."""
        if self.capacity < 0 or self.passages_max < 0 or (self.modulus is not None and self.modulus <= 0):
            raise ValueError("capacity and passages_max are not negative, modulus is positive")


@dataclass(frozen=True, slots=True)
class Counters:
    """What the barriers show: passages in and out since some beginning."""

    time_ms: int
    entered: int
    left: int


@dataclass(frozen=True, slots=True)
class Balance:
    """The estimate after a reading. `occupied` is None while nothing is known; `since_ms` is the known beginning.

    `drift` adds up what was cut off since then: how far the counters were wrong at least. `resets` counts readings
    that could not be the continuation of the one before.
    """

    counters: Counters
    occupied: int | None = None
    since_ms: int | None = None
    drift: int = 0
    resets: int = 0

    @property
    def is_estimate(self) -> bool:
        """Whether passages were counted since it was known: always, but at the known moment itself."""
        return self.since_ms != self.counters.time_ms

    def __str__(self) -> str:
        """For people."""
        since = "nothing known" if self.since_ms is None else f"estimated since {format_instant(self.since_ms)}"
        return f"{'?' if self.occupied is None else self.occupied} ({since}, drift {self.drift})"


def set_known(balance: Balance, occupied: int, barriers: Barriers) -> Balance:
    """Somebody looked: this many are inside at the last reading's time. Raises ValueError outside 0 and capacity."""
    if not 0 <= occupied <= barriers.capacity:
        raise ValueError(f"{occupied} of {barriers.capacity} cannot be")
    return replace(balance, occupied=occupied, since_ms=balance.counters.time_ms, drift=0)


def count(balance: Balance | None, read: Counters, barriers: Barriers) -> Balance:
    """The estimate after one more reading. Readings that are not later than the last one change nothing."""
    if balance is None:
        return Balance(read)
    before = balance.counters
    if read.time_ms <= before.time_ms:
        return balance
    entered = _passages(before.entered, read.entered, barriers)
    left = _passages(before.left, read.left, barriers)
    resets = balance.resets + (entered is None) + (left is None)
    known = replace(balance, counters=read, resets=resets)
    empty_ms = last_empty_ms(barriers, read.time_ms)
    if empty_ms is not None and empty_ms > before.time_ms:
        # What passed since the empty moment cannot be told from what passed before it.
        return replace(known, occupied=0, since_ms=empty_ms, drift=0)
    if balance.occupied is None:
        return known
    raw = balance.occupied + (entered or 0) - (left or 0)
    kept = min(max(raw, 0), barriers.capacity)
    return replace(known, occupied=kept, drift=balance.drift + abs(raw - kept))


def last_empty_ms(barriers: Barriers, now_ms: int) -> int | None:
    """The last moment up to now at which the place was known to be empty."""
    if barriers.empty_at is None:
        return None
    now = datetime.fromtimestamp(now_ms / 1000, ZoneInfo(barriers.zone))
    at = now.replace(
        hour=barriers.empty_at.hour, minute=barriers.empty_at.minute, second=barriers.empty_at.second, microsecond=0
    )
    if at > now:
        at -= DAY
    return round(at.timestamp() * 1000)


def _passages(before: int, after: int, barriers: Barriers) -> int | None:
    """How many passed between two readings of a counter, None when it began anew: then nobody can tell."""
    passed = after - before
    if passed < 0 and barriers.modulus is not None:
        passed += barriers.modulus
    return passed if 0 <= passed <= barriers.passages_max else None
