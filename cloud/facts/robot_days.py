"""What robots did over time (`devices.states.RobotState`): worked out from their claims when asked for.

The claims that a day begins with are those that the days of devices carry (`day_work`), so this agrees with the robot's
state as equipment; it is the same engine with other rules. Contact lost while in FAULT stays FAULT here, too.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import sqlalchemy as sa

from cloud.facts.database import reading
from cloud.facts.day_work import carries_into
from cloud.facts.days import day_bounds, days_between
from cloud.facts.ledger import Ledger
from cloud.facts.rows import DeviceFacts, Profiles, load_devices, runs_from
from cloud.facts.timelines import Carry, Judge, Timeline, changes_only, joined, judged, point_steps
from devices.profile import LoadedProfile
from devices.states import RobotState, robot_state

ROBOT_STATES = tuple(RobotState)  # a code is an index
_UNKNOWN = ROBOT_STATES.index(RobotState.UNKNOWN)
_FAULT = ROBOT_STATES.index(RobotState.FAULT)
_OFFLINE = ROBOT_STATES.index(RobotState.OFFLINE)
_NO_CARRY = Carry()


def robot_timelines(
    engine: sa.Engine, ledger: Ledger, from_ms: int, to_ms: int, devices: Iterable[str], *, known: Profiles
) -> dict[str, Timeline]:
    """State codes (indices of ROBOT_STATES) of robots over [from_ms, to_ms); `to_ms` must not lie ahead of now."""
    wanted, site, zone = sorted(set(devices)), ledger.site.id, ledger.site.time_zone
    if from_ms >= to_ms or not wanted:
        return {}
    found: dict[str, Timeline] = {}
    with reading(engine) as connection:
        days = days_between(from_ms, to_ms, zone)
        begin, end = day_bounds(days[0], zone)[0], day_bounds(days[-1], zone)[1]
        by_epoch = runs_from(connection, site, begin)
        loaded = load_devices(connection, site, wanted, (begin, end), known=known, by_epoch=by_epoch)
        carries = {day: carries_into(connection, site, wanted, day) for day in days}
    for device in wanted:
        parts = [_day(loaded[device], carries[day].get(device, _NO_CARRY), *day_bounds(day, zone)) for day in days]
        found[device] = joined(parts).clipped(from_ms, to_ms)
    return found


def _day(facts: DeviceFacts, carry: Carry, from_ms: int, to_ms: int) -> Timeline:
    columns, confirming = facts.day(carry, from_ms, to_ms)
    steps, _ = point_steps(columns, confirming, from_ms, to_ms)
    rules = [
        (since, _judge_of(profile))
        for since, profile in zip(facts.described.since_ms, facts.described.profiles, strict=True)
    ]
    timeline = judged(steps, rules or [(-(2**62), _unknown)], from_ms, to_ms)
    return _with_kept_faults(timeline, faulty=carry.faulty)


def _with_kept_faults(timeline: Timeline, *, faulty: bool) -> Timeline:
    silent = (timeline.codes == _UNKNOWN) | (timeline.codes == _OFFLINE)
    last_known = np.maximum.accumulate(np.where(silent, -1, np.arange(len(silent))))
    was_fault = np.where(last_known < 0, faulty, timeline.codes[last_known] == _FAULT)
    codes = np.where(silent & was_fault, _FAULT, timeline.codes).astype(np.uint8)
    return changes_only(timeline.starts, codes, timeline.end_ms)


def _judge_of(profile: LoadedProfile | None) -> Judge:
    if profile is None or profile.kind != "robot":
        return _unknown
    return lambda values: ROBOT_STATES.index(robot_state(values))


def _unknown(_: Mapping[str, float | None]) -> int:
    return _UNKNOWN


def time_by_state(timeline: Timeline, spans: Sequence[tuple[int, int]]) -> dict[RobotState, int]:
    """Milliseconds in each state within disjoint spans; what the timeline does not reach is unknown."""
    total = dict.fromkeys(ROBOT_STATES, 0)
    for begin, end in spans:
        part = timeline.clipped(begin, end)
        told = 0
        for code, took in zip(part.codes.tolist(), (part.ends - part.starts).tolist(), strict=True):
            total[ROBOT_STATES[code]] += took
            told += took
        total[RobotState.UNKNOWN] += end - begin - told
    return total
