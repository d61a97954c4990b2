"""How well alerts can be worked with: rate, floods, chattering, bad actors, colours, time to react.

Definitions of domain.md section 6 (EEMUA 191, ISA-18.2). Pure; times are Unix ms UTC, windows are [from, to). What
counts is each call (`Raise`); who collects them leaves drills out, and what was over before anybody could know.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from devices.rules import Severity

TEN_MIN_MS = 600_000
MINUTE_MS = 60_000
RATE_STEADY = 1  # alerts per operator in 10 minutes that can be worked with; 2 is the manageable limit
FLOOD_ABOVE, FLOOD_BELOW = 10, 5  # a flood begins above the first and ends below the second, in 10 minutes
CHATTERING_FROM = 3  # raises of one alert within a minute
BAD_ACTORS = 10
ACKNOWLEDGE_MS: Mapping[Severity, int] = {Severity.ORANGE: 30 * MINUTE_MS, Severity.RED: 15 * MINUTE_MS}

Window = tuple[int, int]
Key = tuple[str, str, str]  # site, rule, thing


@dataclass(frozen=True, slots=True)
class Raise:
    """An alert called somebody at `at_ms`. `acknowledged_ms` is when somebody took notice of this call, if ever."""

    at_ms: int
    key: Key
    severity: Severity
    acknowledged_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Flood:
    """More alerts than a person can see to, in [from_ms, to_ms); None: it goes on at the end of what is known."""

    from_ms: int
    to_ms: int | None
    count: int
    peak: int  # most alerts in 10 minutes


@dataclass(frozen=True, slots=True)
class Rate:
    """Alerts per operator and 10 minutes: the mean over the window, and the worst 10 minutes."""

    mean: Fraction | None
    peak: Fraction | None


def rate(raises: Iterable[Raise], window: Window, operators: int) -> Rate:
    """Alerts per operator and 10 minutes; nothing without an operator or a window."""
    times = sorted(_within(raises, window))
    if operators <= 0 or window[1] <= window[0]:
        return Rate(None, None)
    mean = Fraction(len(times) * TEN_MIN_MS, (window[1] - window[0]) * operators)
    return Rate(mean, Fraction(max((count for _, count in _sliding(times)), default=0), operators))


def floods(raises: Iterable[Raise], now_ms: int) -> list[Flood]:
    """Each flood: begins with more than 10 alerts in 10 minutes, ends when there are fewer than 5 in 10 minutes."""
    times = sorted(one.at_ms for one in raises)
    found: list[Flood] = []
    start: int | None = None
    recent: deque[int] = deque()
    count = peak = 0
    for time_ms in times:
        if start is not None:
            end_ms = _ebbed_ms(recent, time_ms)
            if end_ms is not None:
                found.append(Flood(start, end_ms, count, peak))
                start = None
        recent.append(time_ms)
        while recent[0] <= time_ms - TEN_MIN_MS:
            recent.popleft()
        if start is not None:
            count, peak = count + 1, max(peak, len(recent))
        elif len(recent) > FLOOD_ABOVE:
            start, count, peak = recent[0], len(recent), len(recent)
    if start is not None:
        found.append(Flood(start, _ebbed_ms(recent, now_ms), count, peak))
    return found


def flooded(found: Iterable[Flood], window: Window) -> Fraction | None:
    """Share of the window in flood; below 1 % is good."""
    if window[1] <= window[0]:
        return None
    spans = ((one.from_ms, window[1] if one.to_ms is None else one.to_ms) for one in found)
    inside = sum(max(0, min(end, window[1]) - max(begin, window[0])) for begin, end in spans)
    return Fraction(inside, window[1] - window[0])


def chattering(raises: Iterable[Raise]) -> list[tuple[Key, int]]:
    """Alerts that came at least 3 times within a minute, with the most in any minute; worst first."""
    by_key: dict[Key, list[int]] = defaultdict(list)
    for one in raises:
        by_key[one.key].append(one.at_ms)
    worst = {key: max(count for _, count in _sliding(sorted(times), MINUTE_MS)) for key, times in by_key.items()}
    found = [(key, count) for key, count in worst.items() if count >= CHATTERING_FROM]
    return sorted(found, key=lambda one: (-one[1], one[0]))


def bad_actors(raises: Iterable[Raise], most: int = BAD_ACTORS) -> tuple[list[tuple[Key, int]], Fraction | None]:
    """The alerts that came most often with their counts, and their share of all."""
    counts = Counter(one.key for one in raises)
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:most]
    total = counts.total()
    return ordered, Fraction(sum(count for _, count in ordered), total) if total else None


def split(raises: Iterable[Raise]) -> dict[Severity, Fraction]:
    """Share of each colour; about 80 % yellow, 15 % orange, 5 % red is good. Empty without alerts."""
    counts = Counter(one.severity for one in raises)
    total = counts.total()
    return {severity: Fraction(counts[severity], total) for severity in Severity} if total else {}


def acknowledged_in_time(
    raises: Iterable[Raise], now_ms: int, allowed_ms: Mapping[Severity, int] = ACKNOWLEDGE_MS
) -> Fraction | None:
    """Share acknowledged within the time of their colour, of those of which that can be said by now."""
    decided = in_time = 0
    for one in raises:
        limit_ms = allowed_ms.get(one.severity)
        if limit_ms is None:
            continue
        taken_ms = one.acknowledged_ms
        if taken_ms is None and now_ms - one.at_ms <= limit_ms:
            continue  # there is time left
        decided += 1
        in_time += taken_ms is not None and taken_ms - one.at_ms <= limit_ms
    return Fraction(in_time, decided) if decided else None


def mean_to_acknowledge_ms(raises: Iterable[Raise]) -> Fraction | None:
    """MTTA: mean time from the call until somebody took notice, of those of which somebody did."""
    waits = [one.acknowledged_ms - one.at_ms for one in raises if one.acknowledged_ms is not None]
    return Fraction(sum(waits), len(waits)) if waits else None


def _within(raises: Iterable[Raise], window: Window) -> list[int]:
    return [one.at_ms for one in raises if window[0] <= one.at_ms < window[1]]


def _sliding(times: Sequence[int], width_ms: int = TEN_MIN_MS) -> Iterable[tuple[int, int]]:
    """For each time how many there were in the width that ends with it."""
    recent: deque[int] = deque()
    for time_ms in times:
        recent.append(time_ms)
        while recent[0] <= time_ms - width_ms:
            recent.popleft()
        yield time_ms, len(recent)


def _ebbed_ms(recent: Sequence[int], until_ms: int) -> int | None:
    """When there were fewer than 5 in the 10 minutes before, if that was before or at a moment."""
    if len(recent) < FLOOD_BELOW:
        return recent[-1]
    ebbed_ms = recent[len(recent) - FLOOD_BELOW] + TEN_MIN_MS
    return ebbed_ms if ebbed_ms <= until_ms else None
