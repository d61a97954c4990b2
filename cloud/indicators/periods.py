"""Periods of a site's calendar in which results are issued and judged: days, months, quarters, half-years."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from cloud.facts.days import date_start, day_bounds
from cloud.indicators.definition import BadWindow, Window

MONTHS_OF = {"month": 1, "quarter": 3, "half-year": 6}
NAMES = ("day", *MONTHS_OF)


def period_around(name: str, time_ms: int, zone: ZoneInfo) -> Window:
    """The period that holds a moment, from local midnight to local midnight. Raises BadWindow for an unknown name."""
    day = datetime.fromtimestamp(time_ms / 1000, zone).date()
    if name == "day":
        return Window(*day_bounds(day.toordinal(), zone))
    if name not in MONTHS_OF:
        raise BadWindow(f"{name!r} is no period; there are {', '.join(NAMES)}")
    months = MONTHS_OF[name]
    begin = day.replace(month=(day.month - 1) // months * months + 1, day=1)
    return Window(date_start(begin, zone), date_start(months_after(begin, months), zone))


def period_before(name: str, window: Window, zone: ZoneInfo) -> Window:
    """The period before another one of the same name."""
    return period_around(name, window.from_ms - 1, zone)


def period_name(window: Window, zone: ZoneInfo) -> str | None:
    """Which period a window is exactly; None for any other window."""
    return next((name for name in NAMES if period_around(name, window.from_ms, zone) == window), None)


def months_after(day: date, months: int) -> date:
    """The same day so many months later; the last of its month where that one is shorter."""
    index = day.year * 12 + day.month - 1 + months
    year, month = divmod(index, 12)
    for last in (day.day, 30, 29, 28):
        try:
            return date(year, month + 1, min(day.day, last))
        except ValueError:
            continue
    raise BadWindow("no such month")
