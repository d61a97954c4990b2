"""Where the robots drive, as a pure function of seed and day: rounds through the aisles, docks, battery.

By day each robot makes one round an hour, staggered by a quarter of an hour; at night two of four are always
on their way. Lengths in metres, times in seconds after local midnight.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from simulators.day import DAY_S
from simulators.script import Seconds, chance
from simulators.site import AISLE_CENTRES_M, CROSS_LEFT_X_M, CROSS_RIGHT_X_M, Robot

Floats = NDArray[np.float64]

NIGHT_FROM_H, NIGHT_TO_H = 22, 6
DAY_ROUND_S = 17 * 60
NIGHT_ROUND_S = 24 * 60
STAGGER_S = 15 * 60
SPEED_LOW_M_S, SPEED_HIGH_M_S = 0.8, 1.1
LOOK_AROUND_S = 8  # a robot stops at every corner
DRAIN_PERCENT_S = 1.1 / 60
CHARGE_PERCENT_S = 1.2 / 60
LOW_BATTERY_PERCENT = 30.0  # below this a robot stays in its dock until the next round
FAULTS_PER_ROBOT_DAY = 0.12  # a robot that broke down stays in its dock for an hour
LANE_LOW_M = 0.2  # how far right of the middle a robot keeps; the widest lane differs from day to day
LANE_WIDEST_LOW_M, LANE_WIDEST_HIGH_M = 0.7, 2.0
_STREAM_PATROL = 4


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """One drive from the dock and back: positions at `seconds`, straight lines between them."""

    number: int
    start_s: int
    end_s: int
    seconds: Floats
    x_m: Floats
    y_m: Floats

    def position(self, second: float) -> tuple[float, float, float, bool]:
        """(x, y, heading in radians, whether it moves) at a second of the day within the round."""
        after = int(np.clip(np.searchsorted(self.seconds, second, side="right"), 1, len(self.seconds) - 1))
        x_m = float(np.interp(second, self.seconds, self.x_m))
        y_m = float(np.interp(second, self.seconds, self.y_m))
        while True:  # while it looks around it keeps the heading it came with
            dx_m = float(self.x_m[after] - self.x_m[after - 1])
            dy_m = float(self.y_m[after] - self.y_m[after - 1])
            if dx_m or dy_m or after == 1:
                break
            after -= 1
        moves = bool(self.seconds[after - 1] <= second < self.seconds[after]) and bool(dx_m or dy_m)
        return x_m, y_m, float(np.arctan2(dy_m, dx_m)), moves

    @property
    def corner(self) -> Seconds:
        """Seconds at which it reaches each corner, whole."""
        return np.floor(self.seconds).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class RobotDay:
    """The rounds of one robot, its breakdowns as (start, end), and its battery as a line through points."""

    rounds: tuple[Round, ...]
    faults: tuple[tuple[int, int], ...]
    battery_s: Floats
    battery_percent: Floats

    def round_at(self, second: float) -> Round | None:
        """The round it is on, None in the dock."""
        return next((found for found in self.rounds if found.start_s <= second < found.end_s), None)

    def broken_at(self, second: float) -> bool:
        """Whether it is broken down."""
        return any(start_s <= second < end_s for start_s, end_s in self.faults)

    def battery_at(self, second: float) -> float:
        """Percent."""
        return float(np.interp(second, self.battery_s, self.battery_percent))


def _slots(robot: int) -> list[tuple[int, int]]:
    """(start, end) of the rounds that are due on a day, in seconds."""
    found = []
    for hour in range(24):
        if NIGHT_TO_H <= hour < NIGHT_FROM_H:
            start_s = hour * 3600 + robot % 4 * STAGGER_S
            found.append((start_s, start_s + DAY_ROUND_S))
        else:
            start_s = hour * 3600 + robot % 2 * 1800 + 30
            found.append((start_s, start_s + NIGHT_ROUND_S))
    return found


def _loop(first: int, second: int, lane_m: float, jitter: Floats) -> list[tuple[float, float]]:
    """Corners of a loop out along aisle `first` and back along aisle `second`, keeping to the right."""
    out_m, back_m = AISLE_CENTRES_M[first], AISLE_CENTRES_M[second]
    down = second > first
    out_y_m = out_m - lane_m + jitter[0]
    back_y_m = back_m + lane_m + jitter[1]
    if first == second or not down:
        out_y_m, back_y_m = out_m - lane_m + jitter[0], back_m + lane_m + jitter[1]
    left_m, right_m = CROSS_LEFT_X_M + jitter[2], CROSS_RIGHT_X_M + jitter[3]
    return [(left_m, out_y_m), (right_m, out_y_m), (right_m, back_y_m), (left_m, back_y_m)]


def _drive(robot: Robot, number: int, span_s: tuple[int, int], widest_m: float, rng: np.random.Generator) -> Round:
    """A round: as many loops as fit, out of the dock and back into it; lanes up to `widest_m` off the middle."""
    start_s, end_s = span_s
    aisles = len(AISLE_CENTRES_M)
    speed_m_s = rng.uniform(SPEED_LOW_M_S, SPEED_HIGH_M_S)
    dock = (robot.dock_x_m, robot.dock_y_m)
    corners: list[tuple[float, float]] = [dock]
    used_s = 0.0
    while True:
        other = (robot.aisle + int(rng.choice([0, 1, 1, aisles - 1]))) % aisles
        jitter = rng.uniform(-0.25, 0.25, 4)
        loop = _loop(robot.aisle, other, float(rng.uniform(LANE_LOW_M, widest_m)), jitter)
        way = [corners[-1], *loop, dock]
        metres = sum(abs(a[0] - b[0]) + abs(a[1] - b[1]) for a, b in pairwise(way))
        needs_s = metres / speed_m_s + LOOK_AROUND_S * len(loop)
        if used_s + needs_s > end_s - start_s and len(corners) > 1:
            break
        used_s += needs_s
        corners += loop
    corners.append(dock)
    knots: list[tuple[float, float, float]] = [(float(start_s), *dock)]
    for x_m, y_m in corners[1:]:
        was_s, was_x_m, was_y_m = knots[-1]
        if x_m != was_x_m and y_m != was_y_m:  # first along the cross aisle, then along the aisle
            was_s += abs(y_m - was_y_m) / speed_m_s
            knots.append((was_s, was_x_m, y_m))
        was_s += abs(x_m - knots[-1][1]) / speed_m_s + abs(y_m - knots[-1][2]) / speed_m_s
        knots.append((was_s, x_m, y_m))
        knots.append((was_s + LOOK_AROUND_S, x_m, y_m))
    seconds, xs_m, ys_m = (np.array(column) for column in zip(*knots, strict=True))
    return Round(number, start_s, int(seconds[-1]) + 1, seconds, xs_m, ys_m)


def robot_day(robot: Robot, seed: int, day: date) -> RobotDay:
    """The day of one robot. The battery is followed from noon of the day before, when it always is full."""
    battery = _battery_at_midnight(robot, seed, day)
    rounds, faults, line = _follow(robot, seed, day, battery, 0)
    return RobotDay(
        rounds, faults, np.array([second for second, _ in line]), np.array([percent for _, percent in line])
    )


@lru_cache(maxsize=256)
def _battery_at_midnight(robot: Robot, seed: int, day: date) -> float:
    _, _, line = _follow(robot, seed, day - timedelta(days=1), 100.0, DAY_S // 2)
    return line[-1][1]


def _follow(
    robot: Robot, seed: int, day: date, percent: float, from_s: int
) -> tuple[tuple[Round, ...], tuple[tuple[int, int], ...], list[tuple[float, float]]]:
    """(rounds, breakdowns, battery line) of a day from `from_s` on, with `percent` in the battery then."""
    rng = chance(seed, day, _STREAM_PATROL + robot.aisle)
    faults: tuple[tuple[int, int], ...] = ()
    if rng.random() < FAULTS_PER_ROBOT_DAY:
        hour_s = int(rng.integers(0, 23)) * 3600
        faults = ((hour_s, hour_s + 3600),)
    widest_m = float(rng.uniform(LANE_WIDEST_LOW_M, LANE_WIDEST_HIGH_M))
    rounds: list[Round] = []
    line: list[tuple[float, float]] = [(float(from_s), percent)]
    for number, (start_s, end_s) in enumerate(_slots(robot.aisle)):
        due = _drive(robot, number, (start_s, end_s), widest_m, rng)  # drawn in any case, so that chance stays in step
        broken = any(start_s < fault_end_s and fault_start_s < due.end_s for fault_start_s, fault_end_s in faults)
        if start_s < from_s or broken:
            continue
        second, percent = line[-1]
        full_s = second + (100.0 - percent) / CHARGE_PERCENT_S
        percent = min(100.0, percent + (start_s - second) * CHARGE_PERCENT_S)
        if percent < LOW_BATTERY_PERCENT:
            continue
        if full_s < start_s:
            line.append((full_s, 100.0))
        percent_back = max(0.0, percent - (due.end_s - start_s) * DRAIN_PERCENT_S)
        line += [(float(start_s), percent), (float(due.end_s), percent_back)]
        rounds.append(due)
    second, percent = line[-1]
    full_s = second + (100.0 - percent) / CHARGE_PERCENT_S
    if full_s < DAY_S:
        line.append((full_s, 100.0))
    line.append((float(DAY_S), min(100.0, percent + max(0.0, DAY_S - second) * CHARGE_PERCENT_S)))
    return tuple(rounds), faults, line
