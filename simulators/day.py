"""Local days of a site: where they begin, in Unix ms UTC."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY_S = 86_400


def day_of(time_ms: int, zone: ZoneInfo) -> date:
    """The local calendar day that contains an instant."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(zone).date()


def start_of(day: date, zone: ZoneInfo) -> int:
    """Unix ms UTC of local midnight at the beginning of `day`."""
    return int(datetime.combine(day, time(), zone).timestamp()) * 1000


def days_between(from_ms: int, to_ms: int, zone: ZoneInfo) -> list[date]:
    """The local days that `[from_ms, to_ms)` touches, in order."""
    if to_ms <= from_ms:
        return []
    first, last = day_of(from_ms, zone), day_of(to_ms - 1, zone)
    return [first + timedelta(days=index) for index in range((last - first).days + 1)]
