"""Indicators of patrol beside area coverage: a table that the registry merges, and what each of them is.

Formulas: domain.md 3.4, docs/coverage.md. A bound is as wide as what lost robots may have done: `low` takes nothing for
granted, `high` takes it that a lost robot was where it should have been.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from fractions import Fraction

from cloud.facts.days import length_ms
from cloud.indicators.asking import Asked, Computation, once
from cloud.indicators.definition import Better, Definition, IndicatorResult, is_final, judge, ratio
from cloud.indicators.patrol_days import patrol_days
from cloud.indicators.patrol_look import Patrol, PatrolledDay, Point, looked, slots_of
from cloud.indicators.patrol_points import late_spans, meets, overlap_ms, served_slots
from cloud.indicators.patrol_use import deployment, patrolling, repeats, sites_deployed
from cloud.indicators.robots import LOST_SHARE_MAX

CHECKPOINTS, SLOTS, TIMELINESS = "robot.checkpoint_coverage", "robot.slot_punctuality", "robot.timeliness"
IDLE_AVERAGE, IDLE_MAX = "robot.idleness_average", "robot.idleness_max"
DEPLOYMENT, ZONES_DEPLOYED = "robot.deployment", "robot.deployment_zones"
TWO_AGENTS, REPEATS, UTILISATION = "robot.two_agent_coverage", "robot.repeat_ratio", "robot.utilisation"


def _result(
    asked: Asked, name: str, counted: tuple[int, int] | None, high: Fraction | None = None, *, unit: str,
    details: Mapping[str, int | str | None] | None = None, at_most: Fraction | None = Fraction(1),
) -> IndicatorResult:  # fmt: skip
    """A ratio that is its own unfavourable bound; `counted` is numerator and denominator, None or /0 is no data."""
    numerator, denominator = counted or (0, 0)
    value, target = ratio(numerator, denominator), asked.ledger.target(name)
    bound = None if value is None else max(value, value if high is None else high)
    if bound is not None and at_most is not None:
        bound = min(bound, at_most)
    days = once(asked, patrol_days)
    robot_ms = sum(day.robot_ms for day in days)
    definition = _DEFINITIONS[name]
    low, top = (value, bound) if definition.better is Better.HIGHER else (bound, value)
    return IndicatorResult(
        id=name, value=value, low=low, high=top,
        coverage=ratio(robot_ms - sum(day.lost_ms for day in days), robot_ms),
        verdict=judge(low, top, target, definition.better), target=target,
        numerator=numerator, denominator=denominator, unit=unit, window=asked.window,
        final=is_final(asked.window, asked.now_ms), value_unit=definition.value_unit, details=details or {},
    )  # fmt: skip


def _lost_share_too_great(look: Patrol, day: PatrolledDay, point: Point) -> bool:
    required = day.required[point.zone.id]
    lost = overlap_ms(look.lost_of(day, point.zone), required)
    return lost > LOST_SHARE_MAX * length_ms(required)


def _checkpoints(asked: Asked) -> IndicatorResult:
    """CHECKPOINT: weights of checkpoints with a visit in the required hours of a day, over days."""
    look = looked(asked)
    visited = perhaps = total = 0
    for day in look.days if look else ():
        for point in day.points:
            required = day.required[point.zone.id]
            if look is None or not point.is_checkpoint or not required:
                continue
            total += point.weight
            if any(meets(look.visits[point.place, point.dwell_ms], (begin, end - 1)) for begin, end in required):
                visited += point.weight
            elif _lost_share_too_great(look, day, point):
                perhaps += point.weight
    return _result(asked, CHECKPOINTS, (visited, total), ratio(visited + perhaps, total), unit="weight")


def _slots(asked: Asked) -> IndicatorResult:
    """SLOT: slots of each point with a visit of its own."""
    look = looked(asked)
    served = perhaps = total = 0
    by_point: dict[tuple[str, int], list[tuple[int, int, bool]]] = defaultdict(list)
    for day in look.days if look else ():
        for point in day.points:
            unknown = look.lost_of(day, point.zone) if look is not None else ()
            for begin, end in slots_of(day, point.zone, asked.now_ms):
                lost = any(from_ms <= end and to_ms > begin for from_ms, to_ms in unknown)
                by_point[point.place, point.dwell_ms].append((begin, end, lost))
    for key, slots in by_point.items():
        done = served_slots([(begin, end) for begin, end, _ in slots], look.visits[key] if look else ())
        total += len(slots)
        served += sum(done)
        perhaps += sum(lost and not one for (_, _, lost), one in zip(slots, done, strict=True))
    return _result(asked, SLOTS, (served, total), ratio(served + perhaps, total), unit="slots")


def _timeliness(asked: Asked) -> IndicatorResult:
    """TIMELY: share of the required time in which each point was fresher than its interval."""
    look = looked(asked)
    late = perhaps = total = 0
    for day in look.days if look else ():
        for point in day.points:
            if look is None or point.interval_ms is None:
                continue
            required = day.required[point.zone.id]
            found = [part for gap in look.gaps[point.place] if (part := gap.within(day.from_ms, day.to_ms))]
            spans = late_spans(found, point.interval_ms, required)
            total += length_ms(required)
            late += length_ms(spans)
            perhaps += overlap_ms(spans, look.lost_of(day, point.zone))
    return _result(asked, TIMELINESS, (total - late, total), ratio(total - late + perhaps, total), unit="ms")


def _idle_average(asked: Asked) -> IndicatorResult:
    """IDLE_avg: the time integral of idleness over the time looked at, mean of all points; seconds."""
    look = looked(asked)
    twice = total = 0
    for day in look.days if look else ():
        for point in day.points if look else ():
            total += day.to_ms - day.from_ms
            parts = (gap.within(day.from_ms, day.to_ms) for gap in look.gaps[point.place]) if look else ()
            twice += sum(part.twice_integral for part in parts if part)
    mean_ms = Fraction(twice, 2 * total) if total else None
    counted = None if mean_ms is None else (mean_ms.numerator, mean_ms.denominator * 1000)
    details = {"points": len(look.days[-1].points)} if look and look.days else {}
    return _result(asked, IDLE_AVERAGE, counted, unit="ms", at_most=None, details=details)


def _idle_max(asked: Asked) -> IndicatorResult:
    """IDLE_max: the greatest idleness of any point, both open edges included; seconds."""
    look = looked(asked)
    worst = max(
        ((gap.to_ms - gap.last_ms, place) for place, found in (look.gaps.items() if look else ()) for gap in found),
        default=None,
    )
    if worst is None:
        has_points = look is not None and any(day.points for day in look.days)
        return _result(asked, IDLE_MAX, (0, 1000) if has_points else None, unit="ms", at_most=None)
    return _result(asked, IDLE_MAX, (worst[0], 1000), unit="ms", at_most=None, details={"place": worst[1]})


def _two_agents(asked: Asked) -> IndicatorResult:
    """KCOVER: slots of zones with min_agents >= 2 in which so many distinct robots were in the zone."""
    look = looked(asked)
    done = perhaps = total = 0
    for day in look.days if look else ():
        for zone in day.plan.ledger.zones if look else ():
            if look is None or zone.min_agents < 2 or not zone.requires_patrol:
                continue
            places = [point.place for point in day.points if point.zone.id == zone.id]
            unknown = look.lost_of(day, zone)
            for slot in slots_of(day, zone, asked.now_ms):
                present = {
                    device for place in (*places, f"zone/{zone.id}")
                    for device, stays in look.stays.get(place, {}).items() if meets(stays, slot)
                }  # fmt: skip
                total += 1
                done += len(present) >= zone.min_agents
                lost = any(from_ms <= slot[1] and to_ms > slot[0] for from_ms, to_ms in unknown)
                perhaps += lost and len(present) < zone.min_agents
    return _result(asked, TWO_AGENTS, (done, total), ratio(done + perhaps, total), unit="slots")


def _deployment(asked: Asked) -> IndicatorResult:
    """DEPLOY: share of the area of zones that are served."""
    found = once(asked, deployment)
    served = sum(one.area_dm2 for one in found if one.is_served)
    total = sum(one.area_dm2 for one in found)
    high = ratio(sum(one.area_dm2 for one in found if one.is_perhaps_served), total)
    return _result(asked, DEPLOYMENT, (served, total), high, unit="dm2", details={"served": sites_deployed(found)})


def _zones_deployed(asked: Asked) -> IndicatorResult:
    """DEPLOY by count."""
    found = once(asked, deployment)
    high = ratio(sum(one.is_perhaps_served for one in found), len(found))
    return _result(asked, ZONES_DEPLOYED, (sum(one.is_served for one in found), len(found)), high, unit="zones")


def _repeats(asked: Asked) -> IndicatorResult:
    """Cells seen more than once on a day, over cells seen."""
    return _result(asked, REPEATS, once(asked, repeats), unit="cells")


def _utilisation(asked: Asked) -> IndicatorResult:
    """UTIL_duty, with UTIL_cal and the milliseconds of each cause beside it."""
    found = once(asked, patrolling)
    scheduled = sum(found.by_cause.values())
    busy, unknown = found.by_cause["patrolling"], found.by_cause["unknown"]
    details: dict[str, int | str | None] = {f"{cause}_ms": took for cause, took in found.by_cause.items()}
    details |= {"calendar_ms": found.calendar_ms, "calendar_patrolling_ms": found.calendar_patrolling_ms}
    return _result(asked, UTILISATION, (busy, scheduled), ratio(busy + unknown, scheduled), unit="ms", details=details)


def _definition(
    name: str, *, unit: str = "ms", value_unit: str = "ratio", better: Better = Better.HIGHER
) -> Definition:
    return Definition(name, "today", unit, value_unit, better, recorded=("day", "month"), decomposes=False)


PATROL_DEFINITIONS: tuple[Definition, ...] = (
    _definition(CHECKPOINTS, unit="weight"),
    _definition(SLOTS, unit="slots"),
    _definition(TIMELINESS),
    _definition(IDLE_AVERAGE, value_unit="s", better=Better.LOWER),
    _definition(IDLE_MAX, value_unit="s", better=Better.LOWER),
    _definition(DEPLOYMENT, unit="dm2"),
    _definition(ZONES_DEPLOYED, unit="zones"),
    _definition(TWO_AGENTS, unit="slots"),
    _definition(UTILISATION),
    _definition(REPEATS, unit="cells"),
)
_DEFINITIONS = {one.id: one for one in PATROL_DEFINITIONS}
_COMPUTATIONS: tuple[Callable[[Asked], IndicatorResult], ...] = (
    _checkpoints, _slots, _timeliness, _idle_average, _idle_max, _deployment, _zones_deployed, _two_agents,
    _utilisation, _repeats,
)  # fmt: skip
PATROL: dict[str, Computation] = {
    one.id: compute for one, compute in zip(PATROL_DEFINITIONS, _COMPUTATIONS, strict=True)
}
