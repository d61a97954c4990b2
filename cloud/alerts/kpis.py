"""What of alerts enters the figures of `cloud.indicators.alarm_figures`, and what can be said of those that stand.

Drills are in no figure, nor is what was over before anybody could know: neither called anyone. Times are Unix ms UTC.
"""

from collections.abc import Iterable, Sequence

from cloud.alerts.alert import Alert, Entry
from cloud.indicators.alarm_figures import Raise

STALE_MS = 86_400_000  # active for longer than a day; fewer than 5 on any day is good
_RAISES = frozenset({"opened", "reopened"})


def raises_of(alert: Alert, history: Sequence[Entry]) -> list[Raise]:
    """When an alert called somebody, by its history; nothing for drills and for what was over before it was known."""
    if alert.drill or alert.historical:
        return []
    found: list[Raise] = []
    key = (alert.key.site, alert.key.rule, alert.key.thing)
    for entry in history:
        if entry.kind in _RAISES:
            found.append(Raise(entry.recorded_ms, key, alert.severity))
        elif entry.kind == "acknowledged" and found and found[-1].acknowledged_ms is None:
            last = found[-1]
            found[-1] = Raise(last.at_ms, last.key, last.severity, entry.recorded_ms)
    return found


def stale(alerts: Iterable[Alert], now_ms: int) -> list[Alert]:
    """What has been active for more than a day, oldest first."""
    found = [one for one in alerts if one.is_open and one.is_active and not one.drill]
    return sorted((one for one in found if now_ms - one.opened_ms > STALE_MS), key=lambda one: (one.opened_ms, one.id))


def put_aside(alerts: Iterable[Alert]) -> tuple[int, int]:
    """How many open alerts are shelved, and how many are told with their cause."""
    standing = [one for one in alerts if one.is_open and not one.drill]
    return sum(one.is_shelved for one in standing), sum(one.suppressed_by is not None for one in standing)
