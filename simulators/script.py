"""What happens to the equipment on one day, as a pure function of seed and day: runs, faults, inspections.

Live simulation and history read the same script, so that a chart goes on where the history ends. Times are
seconds after local midnight. Days are taken as 24 h long; the demo's zone has no summer time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from simulators.day import DAY_S
from simulators.site import SCRIPTED_FAULT, Equipment, Kind, Schedule

Seconds = NDArray[np.int64]
Modes = NDArray[np.int8]

FAULTS_PER_DAY = 5
DOWN_SHARE_LOW = 0.011  # of all equipment time: intact rates between 98.3 and 98.9 %
DOWN_SHARE_HIGH = 0.017
FAULT_SHORTEST_S = 900
FAULT_LONGEST_S = 8 * 3600
WARNINGS_PER_DAY = 3
INSPECTIONS_PER_WEEK = 2
_STREAM_FAULTS, _STREAM_RUNS = 1, 2  # names of independent streams of chance


class Mode(IntEnum):
    """What an equipment does."""

    STOPPED = 0
    RUNNING = 1
    WARNING = 2  # runs, with a warning
    INSPECTION = 3  # lifts: switched to inspection travel
    FAULT = 4


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Modes of one equipment on one day: `modes[i]` from `starts_s[i]` (the first is 0) up to the next."""

    starts_s: Seconds
    modes: Modes

    def at(self, seconds: Seconds) -> Modes:
        """Modes at these seconds after local midnight; same shape."""
        return self.modes[np.searchsorted(self.starts_s, seconds, side="right") - 1]


@dataclass(frozen=True, slots=True)
class Episode:
    """A stretch of one mode that overrides what the schedule says. `end_s` may lie behind midnight."""

    equipment: str
    start_s: int
    end_s: int
    mode: Mode


def chance(seed: int, day: date, stream: int) -> np.random.Generator:
    """The source of chance of one stream on one day: independent of every other, the same again for a seed."""
    return np.random.default_rng([seed, day.toordinal(), stream])


def episodes_begun(equipment: Sequence[Equipment], seed: int, day: date) -> list[Episode]:
    """Faults, warnings and inspections that begin on `day`."""
    rng = chance(seed, day, _STREAM_FAULTS)
    # A meter has no fault register, and the scripted fault waits for somebody to look.
    breakable = [one for one in equipment if one.id != SCRIPTED_FAULT and one.kind is not Kind.METER]
    weights = np.array([1.0 if one.criticality == "A" else 4.0 for one in breakable])
    chosen = rng.choice(len(breakable), FAULTS_PER_DAY, replace=False, p=weights / weights.sum())
    down_s = rng.uniform(DOWN_SHARE_LOW, DOWN_SHARE_HIGH) * len(equipment) * DAY_S
    lengths_s = np.clip(rng.dirichlet(np.full(FAULTS_PER_DAY, 4.0)) * down_s, FAULT_SHORTEST_S, FAULT_LONGEST_S)
    starts_s = rng.integers(0, DAY_S, FAULTS_PER_DAY)
    found = [
        Episode(breakable[index].id, int(start_s), int(start_s + length_s), Mode.FAULT)
        for index, start_s, length_s in zip(chosen, starts_s, lengths_s, strict=True)
    ]
    drives = [one.id for one in breakable if one.kind is Kind.DRIVE]
    for name in rng.choice(drives, WARNINGS_PER_DAY, replace=False):
        start_s = int(rng.integers(0, DAY_S))
        found.append(Episode(str(name), start_s, start_s + int(rng.integers(600, 5400)), Mode.WARNING))
    lifts = [one.id for one in breakable if one.kind is Kind.LIFT]
    if rng.random() < INSPECTIONS_PER_WEEK / 7:
        start_s = int(rng.integers(9 * 3600, 15 * 3600))
        found.append(Episode(str(rng.choice(lifts)), start_s, start_s + 2400, Mode.INSPECTION))
    return found


def _opening_hours(rng: np.random.Generator) -> list[tuple[int, Mode]]:
    opens_s = int(6.5 * 3600 + rng.integers(0, 1800))
    closes_s = int(22.0 * 3600 + rng.integers(0, 2700))
    return [(0, Mode.STOPPED), (opens_s, Mode.RUNNING), (closes_s, Mode.STOPPED)]


def _cycles(rng: np.random.Generator) -> list[tuple[int, Mode]]:
    found = [(0, Mode.STOPPED)]
    for start_s in np.sort(rng.choice(np.arange(0, DAY_S - 3600, 3600), 12, replace=False)):
        begin_s = int(start_s + rng.integers(0, 1500))
        found += [(begin_s, Mode.RUNNING), (begin_s + int(rng.integers(300, 1800)), Mode.STOPPED)]
    return found


def _scheduled(one: Equipment, day: date, rng: np.random.Generator) -> list[tuple[int, Mode]]:
    """What the schedule alone says, as (second, mode), first at 0."""
    always = [(0, Mode.RUNNING)]
    if one.kind in (Kind.METER, Kind.LIFT):
        return always
    quarter_s = DAY_S // 4
    match one.schedule:
        case Schedule.ALWAYS:
            return always
        case Schedule.DAY:
            return _opening_hours(rng)
        case Schedule.CYCLE:
            return _cycles(rng)
        case Schedule.DUTY:
            return [(index * quarter_s, Mode.RUNNING if index % 2 == 0 else Mode.STOPPED) for index in range(4)]
        case Schedule.STANDBY:
            if one.kind is Kind.PANEL:
                return [(0, Mode.STOPPED)]
            return [(index * quarter_s, Mode.STOPPED if index % 2 == 0 else Mode.RUNNING) for index in range(4)]
        case Schedule.WEEKLY_TEST:
            test_s = 10 * 3600
            tested = [(0, Mode.STOPPED), (test_s, Mode.RUNNING), (test_s + 600, Mode.STOPPED)]
            return tested if day.weekday() == 0 else [(0, Mode.STOPPED)]


def _overlay(steps: list[tuple[int, Mode]], start_s: int, end_s: int, mode: Mode) -> list[tuple[int, Mode]]:
    """The steps with `[start_s, end_s)` replaced by `mode`."""
    start_s, end_s = max(start_s, 0), min(end_s, DAY_S)
    if end_s <= start_s:
        return steps
    after = max(((second, was) for second, was in steps if second <= end_s), key=lambda step: step[0])[1]
    kept = [(second, was) for second, was in steps if second < start_s or second > end_s]
    resumed = [(end_s, after)] if end_s < DAY_S else []
    return sorted([*kept, (start_s, mode), *resumed], key=lambda step: step[0])


def equipment_day(equipment: Sequence[Equipment], seed: int, day: date) -> dict[str, Timeline]:
    """The timeline of every equipment on `day`, by id."""
    rng = chance(seed, day, _STREAM_RUNS)
    steps = {one.id: _scheduled(one, day, rng) for one in equipment}
    yesterday = day - timedelta(days=1)
    # Faults last: what is broken neither warns nor runs.
    for mode in (Mode.WARNING, Mode.INSPECTION, Mode.FAULT):
        for begun, shift_s in ((yesterday, -DAY_S), (day, 0)):
            for episode in episodes_begun(equipment, seed, begun):
                if episode.mode is mode:
                    name = episode.equipment
                    steps[name] = _overlay(steps[name], episode.start_s + shift_s, episode.end_s + shift_s, mode)
    return {name: _timeline(found) for name, found in steps.items()}


def _timeline(steps: list[tuple[int, Mode]]) -> Timeline:
    merged: list[tuple[int, Mode]] = []
    for second, mode in steps:
        if not merged or merged[-1][1] is not mode:
            merged.append((second, mode))
    return Timeline(
        np.array([second for second, _ in merged], dtype=np.int64),
        np.array([mode for _, mode in merged], dtype=np.int8),
    )
