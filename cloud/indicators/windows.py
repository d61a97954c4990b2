"""Named windows. Days and months are those of the site's zone; windows end now at the latest."""

from zoneinfo import ZoneInfo

from cloud.facts.days import day_bounds, day_of, month_start
from cloud.indicators.definition import BadWindow, Window

NAMES = ("24h", "today", "month", "now")
_DAY_MS = 24 * 3_600_000


def named_window(name: str, zone: ZoneInfo, now_ms: int) -> Window:
    """`24h`, `today`, `month` up to now, or the empty window `now`. Raises BadWindow."""
    if name == "24h":
        return Window(now_ms - _DAY_MS, now_ms)
    if name == "today":
        return Window(day_bounds(day_of(now_ms, zone), zone)[0], now_ms)
    if name == "month":
        return Window(month_start(now_ms, zone), now_ms)
    if name == "now":
        return Window(now_ms, now_ms)
    raise BadWindow(f"{name!r} is no window; there are {', '.join(NAMES)} and from/to")
