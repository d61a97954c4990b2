"""The intact rate in its three readings: by time (the headline), at a moment, and by days. domain.md 1.3."""

from dataclasses import replace

from cloud.facts.days import day_bounds, days_between
from cloud.indicators.asking import Asked
from cloud.indicators.counted import Counted, chosen_equipment, pooled
from cloud.indicators.definition import Definition, IndicatorResult, Window
from cloud.indicators.equipment import INTACT_RATE, Tally
from cloud.indicators.pooling import Parts, Pooled, share

SNAPSHOT = "equipment.intact_rate_snapshot"
BY_DAY = "equipment.intact_days"
GROUPS = ("class", "criticality", "building", "floor", "equipment")

RATE_DEFINITION = Definition(INTACT_RATE, by=GROUPS, recorded=("day", "month"))
SNAPSHOT_DEFINITION = Definition(SNAPSHOT, "now", unit="equipment", by=GROUPS, recorded=("month",))
DAYS_DEFINITION = Definition(BY_DAY, "month", unit="equipment_days", by=GROUPS, recorded=("month",))

_PARTS = ("intact", "down", "unknown", "excluded")


def rate_parts(asked: Asked) -> Parts:
    """Weighted times of what is asked about, in ms."""
    total = pooled(chosen_equipment(asked), asked.policy)
    return {
        "up": total.up_ms, "down": total.down_ms, "unknown": total.unknown_ms, "excluded": total.excluded_ms,
    }  # fmt: skip


def rate_made(definition: Definition, parts: Parts) -> IndicatorResult:
    """IR_time: up / (up + down)."""
    return share(definition, yes=parts["up"], no=parts["down"], unknown=parts["unknown"], excluded=parts["excluded"])


def snapshot_parts(asked: Asked) -> Parts:
    """Weighted numbers of equipment at the end of the window (or now): by what its state counts as."""
    parts = dict.fromkeys(_PARTS, 0)
    for one in chosen_equipment(_at_its_end(asked)):
        if len(one.timeline.starts):
            parts[_counts_as(one.tally)] += asked.policy.weights.of(one.equipment.criticality)
    return parts


def _counts_as(moment: Tally) -> str:
    """What one millisecond counts as."""
    times = (moment.up_ms, moment.down_ms, moment.unknown_ms, moment.excluded_ms)
    return _PARTS[max(range(len(times)), key=times.__getitem__)]


def snapshot_made(definition: Definition, parts: Parts) -> IndicatorResult:
    """IR_count: intact / (counted - excluded - unknown)."""
    return share(
        definition, yes=parts["intact"], no=parts["down"], unknown=parts["unknown"], excluded=parts["excluded"]
    )


def day_parts(asked: Asked) -> Parts:
    """Weighted equipment-days. Intact: at most the policy's down time, even if all unknown time was down."""
    parts = dict.fromkeys(_PARTS, 0)
    window, zone = asked.until_now, asked.ledger.site.time_zone
    days = [day_bounds(day, zone) for day in days_between(window.from_ms, window.to_ms, zone)]
    for one in chosen_equipment(asked):
        weight = asked.policy.weights.of(one.equipment.criticality)
        for begin, end in days:
            if (name := _day_counts_as(one, begin, end, asked.policy.intact_day_down_max_ms)) is not None:
                parts[name] += weight
    return parts


def day_made(definition: Definition, parts: Parts) -> IndicatorResult:
    """IR_day: intact days / counted days of which it is known."""
    return snapshot_made(definition, parts)


def _day_counts_as(one: Counted, begin: int, end: int, down_max_ms: int) -> str | None:
    day = one.within(begin, end)
    if day is None:
        return None
    if not day.up_ms + day.down_ms + day.unknown_ms:
        return "excluded"
    if day.down_ms > down_max_ms:
        return "down"
    return "intact" if day.down_ms + day.unknown_ms <= down_max_ms else "unknown"


def _at_its_end(asked: Asked) -> Asked:
    """The last millisecond of the window: a moment has no states, an instant before it has."""
    moment = min(asked.window.to_ms, asked.now_ms)
    return replace(asked, window=Window(moment - 1, moment))


RATES = (
    Pooled(RATE_DEFINITION, rate_parts, rate_made),
    Pooled(SNAPSHOT_DEFINITION, snapshot_parts, snapshot_made),
    Pooled(DAYS_DEFINITION, day_parts, day_made),
)
