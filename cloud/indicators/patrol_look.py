"""What the indicators of patrol look at: points that were to be visited, day by day, and who visited them when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cloud.facts.coverage_days import zone_hours
from cloud.facts.days import Span, clipped, day_bounds, days_between, merged, required_spans
from cloud.facts.ledger import Ledger
from cloud.facts.ledger_patrol import Zone
from cloud.facts.patrol_plan import History, Plan
from cloud.facts.visit_rows import Dwell, Stays, last_end, last_visits, stays_between, visits_within
from cloud.facts.visits import POINT, ZONE
from cloud.indicators.asking import Asked, once
from cloud.indicators.patrol_days import began_ms
from cloud.indicators.patrol_points import Gap, Visit, gaps, long_enough
from cloud.indicators.robots import lost_spans

MINUTE_MS = 60_000
EVER_MS = 0  # the first plan holds for everything before it, too
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
    """A window of a site. `from_ms` is not before patrolling began; visits are of all robots together.

    Each day's points and dwell times are those of its plan: a place has gaps only while it is to be visited.
    """

    from_ms: int
    to_ms: int
    days: tuple[PatrolledDay, ...]
    stays: Stays
    visits: Mapping[tuple[str, int], Sequence[Visit]]  # by place and the time for which a robot must stay
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
    visits = {
        (place, needed): sorted(
            stay for of_device in stays.get(place, {}).values() for stay in long_enough(of_device, needed)
        )
        for place, needed in {(point.place, point.dwell_ms) for day in days for point in day.points}
    }
    dwells = dwells_until(history, days[0].day)
    last = last_visits(store.engine, history, dwells, from_ms)
    for place, known in dwells.items():
        end = last_end(stays.get(place, {}).values(), known, from_ms)
        if end is not None:
            last[place] = max(last.get(place, 0), end)
        last.setdefault(place, max(known[0][0], began))
    return Patrol(
        from_ms, to_ms, days, stays, visits, _gaps(days, visits, last),
        {device: lost_spans(timelines.get(device), [(from_ms, min(to_ms + LATE_MS_MAX, asked.now_ms))])
         for device in devices},
        history, asked.now_ms,
    )  # fmt: skip


def dwells_until(history: History, day: int) -> dict[str, list[Dwell]]:
    """Since when each place of a local day has been one without a break, and for how long robots had to stay."""
    newest = history.index_on(day)
    going_on = {point.place for point in points_of(history.plans[newest].ledger)}
    found: dict[str, list[Dwell]] = {place: [] for place in going_on}
    for index in range(newest, -1, -1):
        begin_ms = day_bounds(history.first_days[index], history.zone)[0] if index else EVER_MS
        needed = {point.place: point.dwell_ms for point in points_of(history.plans[index].ledger)}
        going_on &= needed.keys()
        for place in going_on:
            found[place].insert(0, (begin_ms, needed[place]))
    return found


def _gaps(
    days: Sequence[PatrolledDay], visits: Mapping[tuple[str, int], Sequence[Visit]], last: Mapping[str, int]
) -> dict[str, list[Gap]]:
    """Gaps of each place over each run of days on which it was one; `last` is carried into the first day."""
    runs: dict[str, list[_Run]] = {}
    for day in days:
        for point in day.points:
            of_place = runs.setdefault(point.place, [])
            if not of_place or of_place[-1].to_ms != day.from_ms:
                # a place that came within the window is as old as it is
                of_place.append(_Run(last[point.place] if day is days[0] else day.from_ms, day.from_ms))
            run = of_place[-1]
            run.visits += visits_within(visits[point.place, point.dwell_ms], point.dwell_ms, day.from_ms, day.to_ms)
            run.to_ms = day.to_ms
    return {
        place: [gap for run in of_place for gap in gaps(run.visits, run.last_ms, run.from_ms, run.to_ms)]
        for place, of_place in runs.items()
    }


@dataclass(slots=True)
class _Run:
    """Days on end on which a place is one: what was before them, and the visits in them."""

    last_ms: int
    from_ms: int
    to_ms: int = 0
    visits: list[Visit] = field(default_factory=list)


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
