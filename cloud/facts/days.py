"""Local days: where they begin and end, and their required hours. A day may have 23 or 25 hours.

A day is named by its proleptic ordinal (`datetime.date.toordinal`); moments are Unix ms UTC.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

Span = tuple[int, int]  # [from_ms, to_ms)


@lru_cache(maxsize=4096)
def day_bounds(day: int, zone: ZoneInfo) -> Span:
    """From local midnight to the next one."""
    return _midnight(day, zone), _midnight(day + 1, zone)


def day_of(time_ms: int, zone: ZoneInfo) -> int:
    """The local day of a moment."""
    return datetime.fromtimestamp(time_ms / 1000, zone).toordinal()


def days_between(from_ms: int, to_ms: int, zone: ZoneInfo) -> range:
    """Every local day that [from_ms, to_ms) touches."""
    return range(day_of(from_ms, zone), day_of(to_ms - 1, zone) + 1) if from_ms < to_ms else range(0)


def month_start(time_ms: int, zone: ZoneInfo) -> int:
    """Local midnight of the first of the month."""
    return _midnight(datetime.fromtimestamp(time_ms / 1000, zone).date().replace(day=1).toordinal(), zone)


def date_start(day: date, zone: ZoneInfo) -> int:
    """Local midnight at the beginning of a date."""
    return _midnight(day.toordinal(), zone)


def required_spans(day: int, hours: Sequence[tuple[int, int]], zone: ZoneInfo) -> tuple[Span, ...]:
    """Required hours of a local day (minutes of wall time) as disjoint spans, ascending."""
    spans = [(_wall(day, begin, zone), _wall(day, end, zone)) for begin, end in hours]
    return merged(span for span in spans if span[0] < span[1])


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The union of spans, disjoint and ascending."""
    result: list[Span] = []
    for begin, end in sorted(spans):
        if result and begin <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((begin, end))
    return tuple(result)


def clipped(spans: Iterable[Span], from_ms: int, to_ms: int) -> tuple[Span, ...]:
    """The part of spans within [from_ms, to_ms)."""
    cut = ((max(begin, from_ms), min(end, to_ms)) for begin, end in spans)
    return tuple(span for span in cut if span[0] < span[1])


def length_ms(spans: Iterable[Span]) -> int:
    """Total time of disjoint spans."""
    return sum(end - begin for begin, end in spans)


def _midnight(day: int, zone: ZoneInfo) -> int:
    return _instant(datetime.combine(date.fromordinal(day), time(), zone))


def _wall(day: int, minutes: int, zone: ZoneInfo) -> int:
    moment = datetime.combine(date.fromordinal(day), time(), zone) + timedelta(minutes=minutes)
    return _instant(moment)


def _instant(moment: datetime) -> int:
    return round(moment.timestamp()) * 1000
