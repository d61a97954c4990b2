"""The site as it lives: a pure step from one state of the world to the next.

What happens (faults, rounds, cars) follows the scripts of the day; what is measured gets its noise from the
`rng` of the step. The same seed and the same times give the same day again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from simulators.curves import CURVES
from simulators.day import day_of, start_of
from simulators.occupancy import ParkingDay, parking_day
from simulators.patrol import RobotDay, robot_day
from simulators.script import Mode, Timeline, equipment_day
from simulators.site import AISLE_CENTRES_M, CROSS_LEFT_X_M, CROSS_RIGHT_X_M, Site


@dataclass(frozen=True, slots=True)
class RobotState:
    """What one robot would tell. Metres, radians, percent; `order` is "" in the dock."""

    x_m: float
    y_m: float
    theta_rad: float
    battery_percent: float
    driving: bool
    charging: bool
    broken: bool
    order: str
    last_node: str
    last_node_sequence: int


@dataclass(frozen=True, slots=True, eq=False)
class WorldState:
    """Everything at one instant (Unix ms UTC). `taken` has one entry for each of `Site.spaces`."""

    time_ms: int
    modes: Mapping[str, Mode]
    values: Mapping[str, Mapping[str, float]]  # equipment -> point -> canonical value
    robots: Mapping[str, RobotState]
    taken: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Day:
    """The scripts of one local day, which began at `start_ms`."""

    day: date
    start_ms: int
    equipment: Mapping[str, Timeline]
    robots: Mapping[str, RobotDay]
    parking: ParkingDay


def script_of(site: Site, seed: int, day: date) -> Day:
    """The scripts of one day; a pure function of its arguments."""
    return Day(
        day,
        start_of(day, ZoneInfo(site.zone)),
        equipment_day(site.equipment, seed, day),
        {robot.id: robot_day(robot, seed, day) for robot in site.robots},
        parking_day(seed, day, len(site.spaces)),
    )


class Behaviour:
    """The behaviour of one site under one seed. Keeps the script of the current day, nothing else."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.seed = seed
        self._zone = ZoneInfo(site.zone)
        self._day: Day | None = None

    def day(self, time_ms: int) -> Day:
        """The scripts of the local day that contains an instant."""
        day = day_of(time_ms, self._zone)
        if self._day is None or self._day.day != day:
            self._day = script_of(self.site, self.seed, day)
        return self._day

    def begin(self, time_ms: int, rng: np.random.Generator) -> WorldState:
        """The world at an instant."""
        day = self.day(time_ms)
        second = (time_ms - day.start_ms) // 1000
        modes: dict[str, Mode] = {}
        values: dict[str, dict[str, float]] = {}
        seconds = np.array([second])
        for one in self.site.equipment:
            found = day.equipment[one.id].at(seconds)
            modes[one.id] = Mode(int(found[0]))
            points = CURVES[one.kind](one, day.day.toordinal(), seconds, found, rng.normal(size=1))
            values[one.id] = {point: float(array[0]) for point, array in points.items()}
        exact_s = (time_ms - day.start_ms) / 1000
        robots = {robot.id: robot_state(day.robots[robot.id], day.day, exact_s) for robot in self.site.robots}
        return WorldState(time_ms, modes, values, robots, day.parking.at(second))

    def step(self, state: WorldState, dt_s: float, rng: np.random.Generator) -> WorldState:
        """The world `dt_s` seconds later."""
        return self.begin(state.time_ms + round(dt_s * 1000), rng)


def node_near(x_m: float, y_m: float) -> str:
    """The route node nearest to a position: aisles are lettered from the top, ends are 0 (left) and 1 (right)."""
    aisle = int(np.argmin([abs(y_m - centre_m) for centre_m in AISLE_CENTRES_M]))
    end = int(abs(x_m - CROSS_RIGHT_X_M) < abs(x_m - CROSS_LEFT_X_M))
    return f"{'abcdefgh'[aisle]}{end}"


def robot_state(robot: RobotDay, day: date, second: float) -> RobotState:
    """What a robot does at a second of the day."""
    battery = robot.battery_at(second)
    broken = robot.broken_at(second)
    on_way = None if broken else robot.round_at(second)
    if on_way is None:
        first = robot.rounds[0] if robot.rounds else None
        x_m, y_m = (float(first.x_m[0]), float(first.y_m[0])) if first is not None else (0.0, 0.0)
        charging = battery < 99.95 and not broken
        return RobotState(x_m, y_m, 0.0, battery, False, charging, broken, "", node_near(x_m, y_m), 0)
    x_m, y_m, theta_rad, moves = on_way.position(second)
    passed = max(0, int(np.searchsorted(on_way.seconds, second, side="right")) - 1)
    node = node_near(float(on_way.x_m[passed]), float(on_way.y_m[passed]))
    order = f"{day.isoformat()}-{on_way.number:02d}"
    return RobotState(x_m, y_m, theta_rad, battery, moves, False, False, order, node, 2 * passed)
