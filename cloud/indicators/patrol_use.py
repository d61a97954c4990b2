"""How robots are used: zones that are served, time spent patrolling and what took the rest, cells seen repeatedly."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from cloud.facts.coverage_days import zone_hours
from cloud.facts.days import Span, clipped, days_between, length_ms, merged
from cloud.facts.patrol_plan import Plan
from cloud.facts.robot_days import robot_timelines, time_by_state
from cloud.facts.timelines import COUNTING, Timeline
from cloud.indicators.asking import Asked
from cloud.indicators.patrol_days import began_ms
from cloud.indicators.robots import lost_ms
from devices.states import Counts, RobotState

IN_SERVICE_SHARE = Fraction(4, 5)
DM_PER_M = 10
CAUSES = ("patrolling", "charging", "fault", "offline", "manual", "paused", "idle", "unknown")
_CAUSE_OF = {state: state.value for state in RobotState}


@dataclass(frozen=True, slots=True)
class ZoneService:
    """A zone that requires patrol, and how many of its robots were in service for 80 % of its required hours."""

    zone: str
    area_dm2: int
    min_agents: int
    assigned: int
    in_service: int
    perhaps: int  # in service if they were so whenever nobody knew

    @property
    def is_served(self) -> bool:
        """Whether enough robots were."""
        return self.in_service >= self.min_agents

    @property
    def is_perhaps_served(self) -> bool:
        """Whether enough robots may have been."""
        return self.perhaps >= self.min_agents


def deployment(asked: Asked) -> list[ZoneService]:
    """Every zone that requires patrol, over its required hours in the window up to now; areas of the latest day.

    Zones none of whose required hours have begun are left out: nothing can be said of them yet.
    """
    window, began = asked.until_now, began_ms(asked)
    if began is None or max(window.from_ms, began) >= window.to_ms:
        return []
    from_ms, to_ms = max(window.from_ms, began), window.to_ms
    history = asked.store.patrol_history(asked.ledger)
    days = days_between(from_ms, to_ms, history.zone)
    devices = sorted({device for day in days for device in history.on(day).robots})
    timelines = asked.store.timelines(asked.ledger, from_ms, to_ms, devices)
    required: dict[str, int] = defaultdict(int)
    up: dict[tuple[str, str], int] = defaultdict(int)
    lost: dict[tuple[str, str], int] = defaultdict(int)
    last: dict[str, ZoneService] = {}
    for day in days:
        plan = history.on(day)
        device_of = {robot.id: robot.device for robot in plan.ledger.robots}
        for zone in plan.ledger.zones:
            if not zone.requires_patrol:
                continue
            spans = clipped(zone_hours(zone, day, plan.ledger), from_ms, to_ms)
            required[zone.id] += length_ms(spans)
            for robot in zone.robots:
                timeline = timelines.get(device_of[robot])
                up[zone.id, robot] += _up_ms(timeline, spans)
                lost[zone.id, robot] += lost_ms(timeline, spans)
            last[zone.id] = ZoneService(zone.id, _area_dm2(plan, zone.id), zone.min_agents, len(zone.robots), 0, 0)
    found = []
    for name, one in last.items():
        if not required[name]:
            continue
        needed = IN_SERVICE_SHARE * required[name]
        mine = [pair for pair in up if pair[0] == name]
        served = sum(up[pair] >= needed for pair in mine)
        perhaps = sum(up[pair] + lost[pair] >= needed for pair in mine)
        found.append(ZoneService(name, one.area_dm2, one.min_agents, one.assigned, served, perhaps))
    return found


def sites_deployed(found: Sequence[ZoneService]) -> int:
    """1 when any zone of the site is served: the numerator of the share of sites."""
    return int(any(one.is_served for one in found))


def _up_ms(timeline: Timeline | None, spans: Sequence[Span]) -> int:
    if timeline is None:
        return 0
    return sum(timeline.clipped(begin, end).duration_ms(COUNTING[Counts.UP]) for begin, end in spans)


def _area_dm2(plan: Plan, zone: str) -> int:
    for raster in plan.rasters.values():
        if zone in raster.zone_ids:
            cell_dm = raster.cell_mm * DM_PER_M // 1000
            return int(raster.of_zone(raster.zone_ids.index(zone)).sum()) * cell_dm * cell_dm
    return 0


@dataclass(frozen=True, slots=True)
class Patrolling:
    """Robot time within required hours by cause (they sum to it), and within the whole window."""

    by_cause: Mapping[str, int]
    calendar_ms: int
    calendar_patrolling_ms: int
    by_robot: Mapping[str, Mapping[str, int]]  # by robot id: required time by cause


def patrolling(asked: Asked) -> Patrolling:
    """What robots did in the hours in which they were to patrol: those of their zones, else of all zones."""
    window, began = asked.until_now, began_ms(asked)
    from_ms = max(window.from_ms, window.to_ms if began is None else began)
    total, by_robot = dict.fromkeys(CAUSES, 0), {}
    calendar_ms = calendar_patrolling_ms = 0
    history = asked.store.patrol_history(asked.ledger)
    days = days_between(from_ms, window.to_ms, history.zone)
    scheduled: dict[str, list[Span]] = defaultdict(list)
    names: dict[str, str] = {}
    for day in days:
        plan = history.on(day)
        for robot in plan.ledger.robots:
            names[robot.device] = robot.id
            scheduled[robot.device] += _scheduled(plan, robot.id, day, (from_ms, window.to_ms))
    timelines = robot_timelines(
        asked.store.engine, asked.ledger, from_ms, window.to_ms, names, known=asked.store.profiles
    )
    for device, robot_id in names.items():
        causes = dict.fromkeys(CAUSES, 0)
        for state, took in time_by_state(timelines[device], merged(scheduled[device])).items():
            causes[_CAUSE_OF[state]] += took
        by_robot[robot_id] = causes
        for cause, took in causes.items():
            total[cause] += took
        calendar_ms += window.to_ms - from_ms
        whole = time_by_state(timelines[device], [(from_ms, window.to_ms)])
        calendar_patrolling_ms += whole[RobotState.PATROLLING]
    return Patrolling(total, calendar_ms, calendar_patrolling_ms, by_robot)


def _scheduled(plan: Plan, robot: str, day: int, window: Span) -> list[Span]:
    zones = [zone for zone in plan.ledger.zones if zone.requires_patrol]
    mine = [zone for zone in zones if robot in zone.robots] or zones
    spans = merged(span for zone in mine for span in zone_hours(zone, day, plan.ledger))
    return list(clipped(spans, *window))


def repeats(asked: Asked) -> tuple[int, int] | None:
    """Area seen more than once on a day (by robots and quarter hours), and area seen; summed over days.

    Both in quarter square metres, the cells of 0.5 m.
    """
    window = asked.until_now
    if window.from_ms >= window.to_ms:
        return None
    days = asked.store.covered_days(asked.ledger, window.from_ms, window.to_ms, asked.now_ms, passes=True)
    again = sum(
        int((passes > 1).sum()) * day.plan.rasters[name].quarters_m2
        for day in days
        for name, passes in day.passes.items()
    )
    return again, sum(day.cells_covered for day in days)


def shares_of_hundred(parts: Mapping[str, int], decimals: int = 1) -> dict[str, float]:
    """Percentages with so many decimals that sum to exactly 100: what is cut off goes to the greatest remainders."""
    total = sum(parts.values())
    if not total:
        return {}
    scale = 100 * 10**decimals
    cut = {name: part * scale // total for name, part in parts.items()}
    by_rest = sorted(parts, key=lambda name: (-(parts[name] * scale % total), name))
    for name in by_rest[: scale - sum(cut.values())]:
        cut[name] += 1
    return {name: count / 10**decimals for name, count in cut.items()}
