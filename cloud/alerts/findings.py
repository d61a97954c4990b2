"""What rules that ask from time to time find at one site: indicators, trends, dates, repeats. Reads facts; blocks.

Each function gives what is true of which thing now. Percentages are cut towards the unfavourable side.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from zoneinfo import ZoneInfo

from cloud.alerts.repeats import repeats
from cloud.facts.database import reading
from cloud.facts.days import date_start, day_bounds, day_of, length_ms, merged, required_spans
from cloud.facts.equipment_inputs import INSPECTION, WINDOW, entered_of
from cloud.facts.inputs import inputs_of
from cloud.facts.ledger import Ledger
from cloud.facts.ledger_equipment import Equipment
from cloud.facts.ledger_values import minutes_of_hours
from cloud.facts.store import FactStore
from cloud.history.store import HistoryReader
from cloud.indicators.asking import once
from cloud.indicators.definition import Better, IndicatorResult, UnknownIndicator, Verdict, Window
from cloud.indicators.patrol_look import looked
from cloud.indicators.periods import period_around, period_before
from cloud.indicators.registry import answered, asked_about, definitions_at
from devices.instants import format_instant
from devices.rule_kinds import (
    Abnormal,
    Change,
    Consecutive,
    Idleness,
    IndicatorLimit,
    Overdue,
    Projection,
    Rank,
    Repeat,
)
from devices.rule_truth import concerns
from devices.rules import Rule

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
WEEK_MS = 7 * DAY_MS
FINAL_MS = 3 * DAY_MS  # a period is assessed when late data are no longer let in
KNOWN_SHARE_MIN = Fraction(1, 2)  # of the data of a week; with less, a change says more about the data
MAD_TO_SIGMA = 1.4826  # of a normal distribution


@dataclass(frozen=True, slots=True)
class Finding:
    """What is true (None: nobody knows) of a thing, since when, and what the alert's sentence may say of it."""

    thing: str
    truth: bool | None
    since_ms: int
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Asking:
    """One site at one moment, with what was looked up for it already."""

    store: FactStore
    ledger: Ledger
    now_ms: int
    history: HistoryReader | None = None
    measures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # measure -> point, by device
    values_of: Callable[[str, str, int], Mapping[str, Fraction]] | None = None  # of all sites: indicator, period, index
    known: dict[object, object] = field(default_factory=dict)

    @cached_property
    def heard_ms(self) -> int:
        """How long the site has been heard of: of a new one nothing can be said about last week."""
        first_ms = self.store.first_heard_ms(self.ledger.site.id)
        return 0 if first_ms is None else max(self.now_ms - first_ms, 0)

    @property
    def zone(self) -> ZoneInfo:
        """Of the site."""
        return self.ledger.site.time_zone

    def result(self, indicator: str, window: str | Window) -> IndicatorResult:
        """An indicator over a window. Raises UnknownIndicator."""
        known = self.known
        return answered(indicator, asked_about(self.store, self.ledger, indicator, window, self.now_ms, known=known))

    def better(self, indicator: str) -> Better:
        """Which side of a limit it should lie on."""
        definition = definitions_at(self.store, self.ledger, self.now_ms).get(indicator)
        return Better.HIGHER if definition is None else definition.better


def findings(rule: Rule, asking: Asking) -> Iterable[Finding]:
    """What a rule finds. Raises StorageUnavailable; an indicator that is not there is not known."""
    when = rule.when
    try:
        match when:
            case IndicatorLimit():
                return [limit_finding(when, asking)]
            case Change():
                return list(change_findings(when, asking))
            case Consecutive():
                return [consecutive_finding(when, asking)]
            case Rank():
                return [rank_finding(when, asking)]
            case Repeat():
                return list(repeat_findings(when, asking))
            case Overdue():
                return list(overdue_findings(when, asking))
            case Abnormal():
                return list(abnormal_findings(when, asking))
            case Projection():
                return [projection_finding(when, asking)]
            case Idleness():
                return list(idleness_findings(when, asking))
    except UnknownIndicator:
        return []
    return []


def limit_finding(when: IndicatorLimit, asking: Asking) -> Finding:
    """An indicator against its target or a number, once the site has been heard for a day."""
    if asking.heard_ms < DAY_MS:
        return Finding(when.indicator, None, asking.now_ms)
    result = asking.result(when.indicator, when.window)
    value: Fraction | None = getattr(result, when.judge)
    limit = result.target if when.below == "target" else Fraction(str(when.below))
    truth = None
    if value is not None and limit is not None:
        truth = value < limit if asking.better(when.indicator) is Better.HIGHER else value > limit
    said = {"value": shown(value, result.value_unit), "limit": shown(limit, result.value_unit)}
    return Finding(when.indicator, truth, asking.now_ms, said)


def change_findings(when: Change, asking: Asking) -> Iterator[Finding]:
    """The last whole week of the site against the one before it."""
    if asking.heard_ms < 2 * WEEK_MS:
        return
    monday = day_of(asking.now_ms, asking.zone) - (day_of(asking.now_ms, asking.zone) - 1) % 7
    bounds = [day_bounds(monday - 7 * back, asking.zone)[0] for back in (0, 1, 2)]
    known = definitions_at(asking.store, asking.ledger, asking.now_ms)
    for indicator in when.indicators or tuple(known):
        if indicator not in known or known[indicator].default_window == "now":
            continue
        after = asking.result(indicator, Window(bounds[1], bounds[0]))
        before = asking.result(indicator, Window(bounds[2], bounds[1]))
        share = _changed(before, after)
        percent = None if share is None else share * 100
        said = {
            "indicator": indicator, "change": "?" if percent is None else f"{float(percent):+.1f} %",
            "before": shown(before.value, before.value_unit), "value": shown(after.value, after.value_unit),
        }  # fmt: skip
        yield Finding(indicator, _beyond(when, percent), bounds[0], said)


def _changed(before: IndicatorResult, after: IndicatorResult) -> Fraction | None:
    if before.value is None or after.value is None or not before.value:
        return None
    if any(one.coverage is not None and one.coverage < KNOWN_SHARE_MIN for one in (before, after)):
        return None
    return (after.value - before.value) / abs(before.value)


def _beyond(when: Change, percent: Fraction | None) -> bool | None:
    if percent is None:
        return None
    limit = Fraction(str(when.percent))
    if when.direction == "down":
        return percent < -limit
    return percent > limit if when.direction == "up" else abs(percent) > limit


def consecutive_finding(when: Consecutive, asking: Asking) -> Finding:
    """The newest periods that are final, one after the other; a failed assessment is FAIL at finality."""
    results = []
    window = last_final(when.period, asking.now_ms, asking.zone)
    since_ms = window.to_ms + FINAL_MS
    if asking.heard_ms < asking.now_ms - window.to_ms:
        return Finding(when.indicator, None, asking.now_ms)
    for _ in range(when.periods):
        results.append(asking.result(when.indicator, window))
        window = before(when.period, window, asking.zone)
    verdicts = [one.verdict for one in results]
    truth = None if None in verdicts and Verdict.PASS not in verdicts else all(one is Verdict.FAIL for one in verdicts)
    newest = results[0]
    said = {
        "indicator": when.indicator, "count": str(when.periods), "value": shown(newest.value, newest.value_unit),
        "limit": shown(newest.target, newest.value_unit),
    }  # fmt: skip
    return Finding(when.indicator, truth, min(since_ms, asking.now_ms), said)


def rank_finding(when: Rank, asking: Asking) -> Finding:
    """Whether a site is among the last of all sites, in each of the newest final periods."""
    site = asking.ledger.site.id
    truth: bool | None = True
    for back in range(when.periods):
        values = asking.values_of(when.indicator, when.period, back) if asking.values_of is not None else {}
        last = is_last(values, site, when, asking.better(when.indicator))
        if last is None:
            truth = None if truth is not False else False
        elif not last:
            truth = False
    said = {"indicator": when.indicator, "count": str(when.periods), "limit": f"{when.percent:g} %", "value": "?"}
    return Finding(when.indicator, truth, asking.now_ms, said)


def is_last(values: Mapping[str, Fraction], site: str, when: Rank, better: Better) -> bool | None:
    """Whether at most so many sites (itself among them) are as bad as this one; None when too few are known."""
    if site not in values or len(values) < when.sites_min:
        return None
    allowed = max(1, math.floor(len(values) * Fraction(str(when.percent)) / 100))
    own = values[site]
    as_bad = sum(value <= own if better is Better.HIGHER else value >= own for value in values.values())
    return as_bad <= allowed


def repeat_findings(when: Repeat, asking: Asking) -> Iterator[Finding]:
    """The same fault of the same equipment, counted."""
    since_ms = asking.now_ms - when.days * DAY_MS
    found = repeats(asking.store.engine, asking.ledger.site.id, when.rules, since_ms)
    worst: dict[str, tuple[int, int]] = {}
    for (_, thing), begun_ms in found.items():
        worst[thing] = max(worst.get(thing, (0, 0)), (len(begun_ms), begun_ms[-1]))
    for thing, (count, last_ms) in worst.items():
        yield Finding(thing, count >= when.count, last_ms, {"count": str(count), "days": str(when.days)})


def overdue_findings(when: Overdue, asking: Asking) -> Iterator[Finding]:
    """Dates of the ledger: so many days after the last maintenance window or inspection, else after commissioning."""
    with reading(asking.store.engine) as connection:
        entered = entered_of(
            {kind: inputs_of(connection, asking.ledger.site.id, kind) for kind in (WINDOW, INSPECTION)}
        )
    for one in asking.ledger.equipment:
        days = one.maintenance_days if when.of == "maintenance" else one.inspection_days
        if days is None or one.retired is not None or not concerns(when, one.class_, one.criticality):
            continue
        if when.of == "maintenance":
            done = [part.to_ms for part in entered.windows.get(one.id, ()) if part.to_ms <= asking.now_ms]
        else:
            done = [part.at_ms for part in entered.findings.get(one.id, ()) if part.at_ms <= asking.now_ms]
        last_ms = max(done, default=_commissioned_ms(one, asking))
        if last_ms is None:
            continue
        due_ms = day_bounds(day_of(last_ms, asking.zone) + days + 1, asking.zone)[0]
        due = format_instant(due_ms - 1)[:10]
        yield Finding(one.id, asking.now_ms >= due_ms, min(due_ms, asking.now_ms), {"due": due})


def _commissioned_ms(one: Equipment, asking: Asking) -> int | None:
    day = one.commissioned or asking.ledger.site.commissioned
    return None if day is None else date_start(day, asking.zone)


def abnormal_findings(when: Abnormal, asking: Asking) -> Iterator[Finding]:
    """The mean of the last whole hour against the same hour of the weeks before."""
    points = asking.measures.get(when.measure, {})
    end_ms = asking.now_ms // HOUR_MS * HOUR_MS
    for one in asking.ledger.equipment:
        point = points.get(one.device)
        if point is None or asking.history is None or not concerns(when, one.class_, one.criticality):
            continue
        hours = [
            hourly_mean(asking.history, (asking.ledger.site.id, one.device, point), end_ms - HOUR_MS - back * WEEK_MS)
            for back in range(when.weeks + 1)
        ]
        band = robust_band([value for value in hours[1:] if value is not None], when)
        value = hours[0]
        truth = None if value is None or band is None else not band[0] <= value <= band[1]
        said = {"value": "?" if value is None else f"{value:.4g}"}
        if band is not None:
            said["limit"] = f"{band[0]:.4g} … {band[1]:.4g}"
        yield Finding(one.id, truth, end_ms - HOUR_MS, said)


def hourly_mean(history: HistoryReader, series: tuple[str, str, str], from_ms: int) -> float | None:
    """Mean of the good values of an hour; None without any."""
    buckets = history.series(*series, from_ms, from_ms + HOUR_MS, points=2).buckets
    count = sum(bucket.count for bucket in buckets)
    return sum(bucket.average * bucket.count for bucket in buckets) / count if count else None


def robust_band(values: Sequence[float], when: Abnormal) -> tuple[float, float] | None:
    """Median +- width * 1.4826 * MAD, never narrower than the floor to either side; None with too few values."""
    if len(values) < when.weeks_min:
        return None
    middle = _median(values)
    spread = max(when.width * MAD_TO_SIGMA * _median([abs(value - middle) for value in values]), when.floor)
    return middle - spread, middle + spread


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def projection_finding(when: Projection, asking: Asking) -> Finding:
    """A day's coverage carried on at its present pace, once most of the required hours have gone by."""
    elapsed = elapsed_share(asking.ledger, asking.now_ms)
    result = asking.result(when.indicator, "today")
    truth: bool | None = False
    said = {"value": "?", "limit": shown(result.target, result.value_unit)}
    if elapsed is not None and elapsed >= Fraction(str(when.after)):
        if result.value is None or result.target is None:
            truth = None
        else:
            projected = min(result.value / elapsed, Fraction(1))
            truth = projected < result.target
            said["value"] = shown(projected, result.value_unit)
    return Finding(when.indicator, truth, asking.now_ms, said)


def elapsed_share(ledger: Ledger, now_ms: int) -> Fraction | None:
    """Which share of today's required hours has gone by; None without any."""
    zone = ledger.site.time_zone
    today = day_of(now_ms, zone)
    hours = [minutes_of_hours(text) for area in ledger.zones if area.requires_patrol for text in area.required_hours]
    spans = merged(required_spans(today, hours, zone))
    whole = length_ms(spans)
    gone = length_ms((begin, min(end, now_ms)) for begin, end in spans if begin < now_ms)
    return Fraction(gone, whole) if whole else None


def idleness_findings(when: Idleness, asking: Asking) -> Iterator[Finding]:
    """Points that were not visited for too long, as of now; only while their zone must be patrolled."""
    asked = asked_about(asking.store, asking.ledger, "robot.idleness_max", "today", asking.now_ms, known=asking.known)
    look = once(asked, looked)
    if look is None or not look.days:
        return
    day = look.days[-1]
    for point in day.points:
        if point.interval_ms is None:
            continue
        last = look.gaps[point.place][-1:] if look.gaps.get(point.place) else ()
        idle_ms = asking.now_ms - last[0].last_ms if last and last[0].to_ms >= look.to_ms else 0
        required = any(begin <= asking.now_ms <= end for begin, end in day.required[point.zone.id])
        allowed_ms = round(point.interval_ms * when.factor)
        said = {"value": f"{idle_ms // 60_000} min", "limit": f"{allowed_ms // 60_000} min"}
        thing = point.place.partition("/")[2]
        late = required and idle_ms > allowed_ms
        yield Finding(thing, late, asking.now_ms - idle_ms + allowed_ms if late else asking.now_ms, said)


def last_final(period: str, now_ms: int, zone: ZoneInfo) -> Window:
    """The newest period that is final by now."""
    window = around(period, now_ms, zone)
    while window.to_ms + FINAL_MS > now_ms:
        window = before(period, window, zone)
    return window


def around(period: str, time_ms: int, zone: ZoneInfo) -> Window:
    """The day, week (from Monday) or month that holds a moment."""
    if period != "week":
        return period_around(period, time_ms, zone)
    monday = day_of(time_ms, zone) - (day_of(time_ms, zone) - 1) % 7
    return Window(day_bounds(monday, zone)[0], day_bounds(monday + 7, zone)[0])


def before(period: str, window: Window, zone: ZoneInfo) -> Window:
    """The period before another one of the same name."""
    return around("week", window.from_ms - 1, zone) if period == "week" else period_before(period, window, zone)


def shown(value: Fraction | None, unit: str) -> str:
    """As people read it; ratios in percent, cut down."""
    if value is None:
        return "?"
    if unit == "ratio":
        return f"{math.floor(value * 10_000) / 100:g} %"
    return f"{float(value):.4g} {unit}".rstrip()
