"""What the indicators of patrol look at: points that were to be visited, day by day, and who visited them when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cloud.facts.coverage_days import zone_hours
from cloud.facts.days import Span, clipped, day_bounds, days_between, merged, required_spans
from cloud.facts.ledger import Ledger
from cloud.facts.ledger_patrol import Zone
from cloud.facts.patrol_plan import History, Plan
from cloud.facts.visit_rows import Stays, last_visits, stays_between
from cloud.facts.visits import POINT, ZONE
from cloud.indicators.asking import Asked, once
from cloud.indicators.patrol_days import began_ms
from cloud.indicators.patrol_points import Gap, Visit, gaps, long_enough
from cloud.indicators.robots import lost_spans

MINUTE_MS = 60_000
LATE_MS_MAX = 720 * MINUTE_MS  # of a round; so much beyond the window may still serve it


@dataclass(frozen=True, slots=True)
class Point:
    """A place that is to be visited: a checkpoint, or a zone that has none."""

    place: str
    zone: Zone
    weight: int
    dwell_ms: int
    interval_ms: int | None

    @property
    def is_checkpoint(self) -> bool:
        """Whether it is a checkpoint."""
        return self.place.startswith(POINT)


@dataclass(frozen=True, slots=True, eq=False)
class PatrolledDay:
    """One local day, as far as the window and patrolling reach: its plan, its points, their required time."""

    day: int
    plan: Plan
    from_ms: int
    to_ms: int
    points: tuple[Point, ...]
    required: Mapping[str, tuple[Span, ...]]  # by zone


@dataclass(frozen=True, slots=True, eq=False)
class Patrol:
    """A window of a site. `from_ms` is not before patrolling began; visits are by place, of all robots together."""

    from_ms: int
    to_ms: int
    days: tuple[PatrolledDay, ...]
    stays: Stays
    visits: Mapping[str, Sequence[Visit]]
    gaps: Mapping[str, Sequence[Gap]]
    lost: Mapping[str, Sequence[Span]]  # by device: when nobody knew what a robot did
    history: History
    now_ms: int
    _lost: dict[tuple[int, str], tuple[Span, ...]] = field(default_factory=dict)  # by plan and zone

    def lost_of(self, day: PatrolledDay, zone: Zone) -> tuple[Span, ...]:
        """When any robot of a zone was lost around a day: one that is assigned to it, any where none is."""
        key = id(day.plan), zone.id
        if key not in self._lost:
            robots = {robot.id: robot.device for robot in day.plan.ledger.robots}
            devices = [robots[one] for one in zone.robots] or list(robots.values())
            self._lost[key] = merged(span for device in devices for span in self.lost.get(device, ()))
        return clipped(self._lost[key], day.from_ms - LATE_MS_MAX, day.to_ms + LATE_MS_MAX)


def points_of(ledger: Ledger) -> tuple[Point, ...]:
    """What is to be visited: checkpoints of zones that require patrol, and such zones without a checkpoint."""
    zones = {zone.id: zone for zone in ledger.zones if zone.requires_patrol}
    found = []
    for one in ledger.checkpoints:
        if one.zone in zones:
            zone = zones[one.zone]
            interval = one.max_interval_min or zone.max_interval_min
            found.append(Point(POINT + one.id, zone, one.weight, one.dwell_s * 1000, _ms(interval)))
    with_points = {point.zone.id for point in found}
    return (
        *found,
        *(Point(ZONE + zone.id, zone, zone.weight, 0, _ms(zone.max_interval_min))
          for zone in zones.values() if zone.id not in with_points),
    )  # fmt: skip


def _ms(minutes: int | None) -> int | None:
    return None if minutes is None else minutes * MINUTE_MS


def patrol(asked: Asked) -> Patrol | None:
    """The look at a window up to now; None before patrolling began."""
    window, began = asked.until_now, began_ms(asked)
    if began is None or max(window.from_ms, began) >= window.to_ms:
        return None
    from_ms, to_ms = max(window.from_ms, began), window.to_ms
    store, ledger = asked.store, asked.ledger
    history = store.patrol_history(ledger)
    days = tuple(_days(history, from_ms, to_ms))
    devices = sorted({device for day in days for device in day.plan.robots})
    # asks for the days too, so that an eager store derives what is missing
    timelines = store.timelines(ledger, from_ms, max(min(to_ms + LATE_MS_MAX, asked.now_ms), from_ms + 1), devices)
    stays = stays_between(store.engine, history, from_ms - LATE_MS_MAX, to_ms + LATE_MS_MAX, asked.now_ms)
    dwell = {point.place: point.dwell_ms for day in days for point in day.points}
    visits = {
        place: sorted(stay for of_device in stays.get(place, {}).values() for stay in long_enough(of_device, needed))
        for place, needed in dwell.items()
    }
    last = last_visits(store.engine, history, dwell, from_ms)
    for place, found in visits.items():
        ends = [min(end, from_ms) for begin, end in found if begin < from_ms]
        if ends:
            last[place] = max(last.get(place, 0), *ends)
    return Patrol(
        from_ms, to_ms, days, stays, visits,
        {place: gaps([one for one in found if one[1] >= from_ms], last.get(place, min(began, from_ms)), from_ms, to_ms)
         for place, found in visits.items()},
        {device: lost_spans(timelines.get(device), [(from_ms, min(to_ms + LATE_MS_MAX, asked.now_ms))])
         for device in devices},
        history, asked.now_ms,
    )  # fmt: skip


def looked(asked: Asked) -> Patrol | None:
    """The look that all indicators of one question share."""
    return once(asked, patrol)


def _days(history: History, from_ms: int, to_ms: int) -> "list[PatrolledDay]":
    found = []
    points: dict[int, tuple[Point, ...]] = {}
    for day in days_between(from_ms, to_ms, history.zone):
        plan = history.on(day)
        begin, end = day_bounds(day, history.zone)
        begin, end = max(begin, from_ms), min(end, to_ms)
        required = {
            zone.id: clipped(zone_hours(zone, day, plan.ledger), begin, end)
            for zone in plan.ledger.zones
            if zone.requires_patrol
        }
        if id(plan) not in points:
            points[id(plan)] = points_of(plan.ledger)
        found.append(PatrolledDay(day, plan, begin, end, points[id(plan)], required))
    return found


def slots_of(day: PatrolledDay, zone: Zone, now_ms: int) -> list[Span]:
    """(first, last) ms of each slot of a zone that began on this day in the window and is over, ascending.

    A round at s may be early and late. Without rounds each whole interval of the required hours is a slot.
    """
    time_zone = day.plan.ledger.site.time_zone
    found: list[Span] = []
    if zone.rounds:
        for minute in zone.round_minutes:
            for begin, _ in required_spans(day.day, [(minute, minute + 1)], time_zone):
                if day.from_ms <= begin < day.to_ms:
                    found.append((begin - zone.early_min * MINUTE_MS, begin + zone.late_min * MINUTE_MS))
    elif zone.max_interval_min is not None:
        interval_ms = zone.max_interval_min * MINUTE_MS
        for begin, end in zone_hours(zone, day.day, day.plan.ledger):
            starts = range(begin, end - interval_ms + 1, interval_ms)
            found += [(start, start + interval_ms - 1) for start in starts if day.from_ms <= start < day.to_ms]
    return [slot for slot in found if slot[1] < now_ms]
