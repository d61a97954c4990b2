"""Parking guidance: how many places are free for each group and level, and whether its sign says full. domain.md 4.

A sign turns to "full" at `parking_full_at` free places and back at `parking_hysteresis` more, so that it does not
flicker. What it shows depends on what went before; it is worked out from the beginning of a day before, so that it is
the same whoever asks and after any restart. Closed, reserved and unknown places are never free.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cloud.facts.barriers import UNKNOWN as NOBODY_KNOWS
from cloud.facts.barriers import Balance
from cloud.facts.ledger import Ledger
from cloud.facts.ledger_parking import ParkingGroup
from cloud.facts.sessions import FLICKER_MS, FREE, OCCUPIED
from cloud.facts.store import FactStore
from cloud.facts.timelines import Timeline, debounced
from cloud.indicators.policy import DEFAULT_POLICY, IndicatorPolicy

LOOK_BACK_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Guidance:
    """What the sign of a group shows. `since_ms`: when `is_full` last turned; None when it did not in the last day."""

    group: str
    floor: str
    vehicle: str
    total: int  # places that are not closed
    free: int
    unknown: int
    is_full: bool
    since_ms: int | None


def guidance(
    store: FactStore, ledger: Ledger, now_ms: int, policy: IndicatorPolicy = DEFAULT_POLICY
) -> list[Guidance]:  # fmt: skip
    """The sign of every group of a site now. Blocks."""
    begin = now_ms - LOOK_BACK_MS
    timelines = store.timelines(ledger, begin, now_ms, [one.sensor for one in ledger.spaces if one.sensor])
    balances = store.balances(ledger, begin, now_ms)
    found = []
    for group in ledger.parking:
        if group.counted is not None:
            found.append(_counted(group, balances.get(group.id), begin, now_ms, policy))
            continue
        spaces = [one for one in ledger.spaces if one.group == group.id and one.state != "closed"]
        open_ = [one for one in spaces if one.state is None]
        lines = [
            debounced(timelines[one.sensor], FLICKER_MS) for one in open_ if one.sensor in timelines and one.sensor
        ]
        times, free = _sum(lines, FREE, begin)
        full, since = full_since(times, free, policy)
        known = sum(_is(line, FREE, now_ms) or _is(line, OCCUPIED, now_ms) for line in lines)
        found.append(
            Guidance(group.id, group.floor, group.vehicle, len(spaces), free[-1], len(open_) - known, full, since)
        )
    return found


def full_since(
    times_ms: list[int], free: list[int], policy: IndicatorPolicy = DEFAULT_POLICY
) -> tuple[bool, int | None]:
    """Whether a sign says full after these counts of free places, and since when; None: all the time."""
    full, since = free[0] <= policy.parking_full_at, None
    again = policy.parking_full_at + policy.parking_hysteresis
    for time_ms, count in zip(times_ms[1:], free[1:], strict=True):
        if full != (count < again if full else count <= policy.parking_full_at):
            full, since = not full, time_ms
    return full, since


def _counted(
    group: ParkingGroup, balance: Balance | None, begin: int, now_ms: int, policy: IndicatorPolicy
) -> Guidance:  # fmt: skip
    capacity = group.counted.capacity if group.counted is not None else 0
    times, free = [begin], [0]
    if balance is not None:
        starts = [begin, *(time for time in balance.starts.tolist() if begin < time <= now_ms)]
        inside = [balance.at(time) for time in starts]
        # nobody knows: never "free"
        times, free = starts, [0 if count == NOBODY_KNOWS else capacity - count for count in inside]
    full, since = full_since(times, free, policy)
    unknown = capacity if balance is None or balance.at(now_ms) == NOBODY_KNOWS else 0
    return Guidance(group.id, group.floor, group.vehicle, capacity, free[-1], unknown, full, since)


def _sum(lines: Iterable[Timeline], code: int, from_ms: int) -> tuple[list[int], list[int]]:
    """Moments from `from_ms` on and how many of the lines are in a state since then."""
    steps: dict[int, int] = {from_ms: 0}
    for line in lines:
        within = (line.codes == code).astype(np.int64)
        rises = np.diff(within, prepend=0)
        for time, rise in zip(line.starts.tolist(), rises.tolist(), strict=True):
            if rise:
                at = max(time, from_ms)
                steps[at] = steps.get(at, 0) + rise
    times = sorted(steps)
    return times, np.cumsum([steps[time] for time in times]).tolist()


def _is(line: Timeline, code: int, now_ms: int) -> bool:
    return line.end_ms >= now_ms and line.code_at(line.end_ms - 1)[0] == code
