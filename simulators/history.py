"""Days that already were: the readings a gateway would have reported, as JSON lines sorted by time.

One line: `{"device":..., "point":..., "time":RFC 3339, "value":..., "quality":"good"}`; a pose has the point
`pose` and the value `[x_m, y_m, theta_rad, map, flags]`. Values are canonical. The days follow the same scripts
as the live simulation, so that the present continues them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from devices.profile import LoadedProfile
from devices.reading import PoseFlag
from simulators.behaviour import Behaviour, Day, script_of
from simulators.curves import CURVES, Floats
from simulators.day import DAY_S, days_between
from simulators.occupancy import ParkingDay
from simulators.patrol import RobotDay, Round
from simulators.script import Mode, Seconds, chance
from simulators.site import MAP_ID, Equipment, Kind, Robot, Site, Space

POSE_EVERY_S = 4.8  # legs of more than 5 s do not count for coverage
STATE_EVERY_S = 3600
BATTERY_EVERY_S = 300
ROBOT_STATE_EVERY_S = 85  # a robot that was not heard for 90 s is unknown
QUALITY = "good"
_STREAM_NOISE = 90
_EVERY_S = {
    "power": 120,
    **{f"{what}_l{phase}": 600 for what in ("power", "current", "voltage") for phase in (1, 2, 3)},
    **dict.fromkeys(("apparent_power", "reactive_power", "power_factor", "frequency", "actual_2"), 600),
    **dict.fromkeys(("energy_import", "speed"), 300),
}
_DECIMALS = 3
_ROBOT_STATES = ("mode", "estop", "error_level", "driving", "charging", "order_active")  # told in every state message
_ROBOT_RARELY = ("connection", "paused", "action_running")
_POSE_FLAGS = int(PoseFlag.LOCALIZED | PoseFlag.AUTOMATIC | PoseFlag.DRIVING)
_ERROR_FATAL = 4.0
_CONNECTION_ONLINE = 1.0
SENSOR_BATTERY_V = 3.4


@dataclass(slots=True)
class Lines:
    """The lines of one day, gathered by series, sorted by time at the end."""

    start_ms: int
    _times_ms: list[NDArray[np.int64]] = field(default_factory=list)
    _series: list[str] = field(default_factory=list)  # beginning of the line, up to the time
    _values: list[list[str]] = field(default_factory=list)

    def add(self, device: str, point: str, seconds: Floats | Seconds, values: list[str]) -> None:
        """Readings of one series at seconds after local midnight."""
        self._times_ms.append(self.start_ms + np.round(np.asarray(seconds) * 1000).astype(np.int64))
        self._series.append(f'{{"device":"{device}","point":"{point}","time":"')
        self._values.append(values)

    def numbers(self, device: str, point: str, seconds: Floats | Seconds, values: Floats) -> None:
        """As `add`; numbers are written with at most three decimals."""
        rounded = np.round(values, _DECIMALS) + 0.0
        whole = rounded.astype(np.int64)
        texts = whole.tolist() if np.array_equal(whole, rounded) else rounded.tolist()
        self.add(device, point, seconds, [str(value) for value in texts])

    def between(self, from_ms: int, to_ms: int) -> bytes:
        """The lines of `[from_ms, to_ms)`, in order of time, then in the order in which they were added."""
        if not self._times_ms:
            return b""
        times_ms = np.concatenate(self._times_ms)
        series = np.repeat(np.arange(len(self._series)), [len(part) for part in self._times_ms])
        order = np.argsort(times_ms, kind="stable")
        order = order[(times_ms[order] >= from_ms) & (times_ms[order] < to_ms)]
        if not len(order):
            return b""
        values = [value for part in self._values for value in part]
        stamps = np.datetime_as_string(times_ms[order].astype("datetime64[ms]"), unit="ms").tolist()
        prefixes = self._series
        tail = f',"quality":"{QUALITY}"}}\n'
        return "".join(
            [
                f'{prefixes[which]}{stamp}Z","value":{values[index]}{tail}'
                for which, stamp, index in zip(series[order].tolist(), stamps, order.tolist(), strict=True)
            ]
        ).encode()


def _grid(every_s: int, phase_s: int = 0) -> Seconds:
    return np.arange(phase_s % every_s, DAY_S, every_s, dtype=np.int64)


def _phase_s(name: str, every_s: int) -> int:
    """Where a series stands within its interval: the same always, spread over the series."""
    return sum(name.encode()) * 7 % every_s


def _equipment(lines: Lines, one: Equipment, script: Day, profile: LoadedProfile, rng: np.random.Generator) -> None:
    curve = CURVES[one.kind]
    ordinal = script.day.toordinal()
    timeline = script.equipment[one.id]
    noises: dict[int, Floats] = {}
    for point in profile.points:
        if one.kind is Kind.METER and point not in _EVERY_S:
            continue
        every_s = _EVERY_S.get(point, STATE_EVERY_S) if profile.points[point].unit else STATE_EVERY_S
        seconds = _grid(every_s, _phase_s(one.id, every_s))
        if one.kind is not Kind.METER:  # changes at their very second
            seconds = np.union1d(seconds, timeline.starts_s)
        if len(seconds) not in noises:
            noises[len(seconds)] = rng.normal(size=len(seconds))
        found = curve(one, ordinal, seconds, timeline.at(seconds), noises[len(seconds)])
        if point in found:
            lines.numbers(one.id, point, seconds, found[point])


def _parking(lines: Lines, spaces: tuple[Space, ...], parking: ParkingDay) -> None:
    changed, seconds, taken = parking.changes()
    starts = np.searchsorted(changed, np.arange(len(spaces) + 1))
    for index, space in enumerate(spaces):
        if not space.device:
            continue
        own = slice(starts[index], starts[index + 1])
        heartbeat = _grid(DAY_S, index * 293)
        times = np.concatenate([seconds[own], heartbeat])
        occupied = np.concatenate([taken[own], [parking.at(int(heartbeat[0]))[index]]])
        order = np.argsort(times, kind="stable")
        lines.numbers(space.device, "occupied", times[order], occupied[order].astype(np.float64))
        lines.numbers(space.device, "battery", heartbeat, np.array([SENSOR_BATTERY_V]))
        lines.numbers(space.device, "temperature", heartbeat, np.array([18.0]))


def _poses(lines: Lines, robot: Robot, found: Round) -> None:
    """The way of one round: every few seconds while it moves, and at each corner."""
    steady = np.arange(found.start_s, found.seconds[-1], POSE_EVERY_S)
    after = np.searchsorted(found.seconds, steady, side="right")
    moves = (np.diff(found.x_m) != 0) | (np.diff(found.y_m) != 0)
    times = np.unique(np.concatenate([steady[moves[after - 1]], found.seconds]))
    x_m = np.interp(times, found.seconds, found.x_m)
    y_m = np.interp(times, found.seconds, found.y_m)
    theta = np.arctan2(np.gradient(y_m), np.gradient(x_m))
    values = [
        f'[{x:.3f},{y:.3f},{turn:.3f},"{MAP_ID}",{_POSE_FLAGS}]'
        for x, y, turn in zip(x_m.tolist(), y_m.tolist(), theta.tolist(), strict=True)
    ]
    lines.add(robot.id, "pose", times, values)


def _robot(lines: Lines, robot: Robot, robot_day: RobotDay) -> None:
    for found in robot_day.rounds:
        _poses(lines, robot, found)
    told = _grid(ROBOT_STATE_EVERY_S)
    rounds = np.array([[found.start_s, found.end_s] for found in robot_day.rounds]).reshape(-1, 2)
    breakdowns = np.array(robot_day.faults, dtype=np.int64).reshape(-1, 2)
    edges = np.concatenate([told, rounds.ravel(), breakdowns.ravel(), robot_day.battery_s.astype(np.int64)])
    seconds = np.unique(edges[(edges >= 0) & (edges < DAY_S)]).astype(np.int64)
    on_way = _inside(seconds, rounds)
    broken = _inside(seconds, breakdowns)
    battery = np.interp(seconds, robot_day.battery_s, robot_day.battery_percent)
    none = np.zeros(len(seconds))
    states = {
        "error_level": broken * _ERROR_FATAL,
        "driving": on_way,
        "order_active": on_way,
        "charging": ((battery < 99.95) & (on_way == 0) & (broken == 0)).astype(np.float64),
    }
    for point in _ROBOT_STATES:
        lines.numbers(robot.id, point, seconds, states.get(point, none))
    hourly = _grid(STATE_EVERY_S)
    for point in _ROBOT_RARELY:
        value = _CONNECTION_ONLINE if point == "connection" else 0.0
        lines.numbers(robot.id, point, hourly, np.full(len(hourly), value))
    grid = _grid(BATTERY_EVERY_S)
    lines.numbers(robot.id, "battery", grid, np.interp(grid, robot_day.battery_s, robot_day.battery_percent))


def _inside(seconds: Seconds, intervals: Seconds) -> Floats:
    """1.0 where a second lies in one of the half-open intervals (sorted, disjoint)."""
    if not len(intervals):
        return np.zeros(len(seconds))
    after = np.searchsorted(intervals[:, 0], seconds, side="right") - 1
    inside: Floats = ((after >= 0) & (seconds < intervals[np.maximum(after, 0), 1])).astype(np.float64)
    return inside


def day_lines(site: Site, seed: int, script: Day, profiles: dict[str, LoadedProfile]) -> Lines:
    """Every reading of one day."""
    lines = Lines(script.start_ms)
    rng = chance(seed, script.day, _STREAM_NOISE)
    for one in site.equipment:
        _equipment(lines, one, script, profiles[one.profile], rng)
    _parking(lines, site.spaces, script.parking)
    for robot in site.robots:
        _robot(lines, robot, script.robots[robot.id])
    return lines


def _opening(site: Site, seed: int, from_ms: int, profiles: dict[str, LoadedProfile]) -> bytes:
    """Every state input at the very beginning: what a gateway reports when it starts."""
    state = Behaviour(site, seed).begin(from_ms, np.random.default_rng([seed, _STREAM_NOISE]))
    lines = Lines(from_ms)
    now = np.zeros(1)
    for one in site.equipment:
        for point in sorted(profiles[one.profile].state_points):
            lines.numbers(one.id, point, now, np.array([state.values[one.id][point]]))
    for space, taken in zip(site.spaces, state.taken.tolist(), strict=True):
        if space.device:
            lines.numbers(space.device, "occupied", now, np.array([float(taken)]))
    return lines.between(from_ms, from_ms + 1)


def history(site: Site, seed: int, from_ms: int, to_ms: int, profiles: dict[str, LoadedProfile]) -> Iterator[bytes]:
    """The lines of `[from_ms, to_ms)` (Unix ms UTC), one chunk a day, in order of time."""
    days = days_between(from_ms, to_ms, ZoneInfo(site.zone))
    if days:
        yield _opening(site, seed, from_ms, profiles)
    for day in days:
        yield day_lines(site, seed, script_of(site, seed, day), profiles).between(from_ms, to_ms)


def fault_share(script: Day) -> float:
    """Share of equipment time in FAULT on one day: what an intact rate should come out at."""
    seconds = np.arange(0, DAY_S, 10)
    return float(np.mean([(line.at(seconds) == Mode.FAULT).mean() for line in script.equipment.values()]))
