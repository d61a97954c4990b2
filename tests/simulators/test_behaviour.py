from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest

from devices.profile import load_profiles
from devices.states import Counts
from simulators.behaviour import Behaviour, WorldState, script_of
from simulators.curves import CURVES
from simulators.history import fault_share
from simulators.patrol import LOW_BATTERY_PERCENT
from simulators.script import Mode, chance
from simulators.site import SCRIPTED_FAULT, Equipment, demo_site

SITE = demo_site()
PROFILES = load_profiles()
NOON_MS = 1_794_974_400_000  # 2026-11-18 12:00 in Shanghai
DAYS = [date(2026, 11, 1) + timedelta(days=index) for index in range(7)]


def live(seed: int, steps: int) -> list[WorldState]:
    behaviour, rng = Behaviour(SITE, seed), np.random.default_rng(seed)
    states = [behaviour.begin(NOON_MS, rng)]
    for _ in range(steps):
        states.append(behaviour.step(states[-1], 60.0, rng))
    return states


def told(states: list[WorldState]) -> list[object]:
    return [(one.time_ms, one.modes, one.values, one.robots, one.taken.tolist()) for one in states]


def test_a_seed_gives_the_same_day_again() -> None:
    assert told(live(seed=7, steps=20)) == told(live(seed=7, steps=20))


def test_another_seed_gives_another_day() -> None:
    assert told(live(seed=7, steps=20)) != told(live(seed=8, steps=20))


@pytest.mark.parametrize("day", DAYS)
def test_between_98_and_99_percent_of_the_equipment_time_is_intact(day: date) -> None:
    assert 0.01 <= fault_share(script_of(SITE, 7, day)) <= 0.02


@pytest.mark.parametrize("day", DAYS)
def test_robots_leave_the_dock_only_with_a_charged_battery_and_come_back(day: date) -> None:
    for robot in script_of(SITE, 7, day).robots.values():
        assert robot.rounds
        for found in robot.rounds:
            assert robot.battery_at(found.start_s) >= LOW_BATTERY_PERCENT
            assert (found.x_m[0], found.y_m[0]) == (found.x_m[-1], found.y_m[-1])
        assert robot.battery_percent.min() > 0


def test_robots_drive_along_the_axes_and_never_jump() -> None:
    for robot in script_of(SITE, 7, DAYS[0]).robots.values():
        for found in robot.rounds:
            dx_m, dy_m, dt_s = np.diff(found.x_m), np.diff(found.y_m), np.diff(found.seconds)
            assert np.all((dx_m == 0) | (dy_m == 0))
            assert np.all(np.hypot(dx_m, dy_m) <= 1.2 * dt_s + 1e-9)


def test_a_day_begins_as_the_day_before_ended() -> None:
    yesterday, today = script_of(SITE, 7, DAYS[0]), script_of(SITE, 7, DAYS[1])

    assert yesterday.parking.at(86_399).tolist() == today.parking.at(0).tolist()
    for robot in SITE.robots:
        assert yesterday.robots[robot.id].battery_at(86_400) == pytest.approx(today.robots[robot.id].battery_at(0))


def test_a_fault_goes_on_over_midnight() -> None:
    over = 0
    for before, after in pairwise(DAYS):
        yesterday, today = script_of(SITE, 7, before).equipment, script_of(SITE, 7, after).equipment
        broken = [name for name, line in yesterday.items() if line.modes[-1] == Mode.FAULT]
        over += len(broken)
        assert all(today[name].modes[0] == Mode.FAULT for name in broken)
    assert over > 0


def test_more_cars_stand_there_at_noon_than_at_night() -> None:
    parking = script_of(SITE, 7, DAYS[0]).parking

    assert parking.at(4 * 3600).mean() < 0.25
    assert parking.at(12 * 3600).mean() > 0.6


def test_the_thing_that_breaks_in_the_demo_never_breaks_by_chance() -> None:
    assert all(Mode.FAULT not in script_of(SITE, 7, day).equipment[SCRIPTED_FAULT].modes for day in DAYS)


@pytest.mark.parametrize("one", SITE.equipment, ids=lambda one: one.id)
def test_what_is_measured_are_the_points_of_the_profile(one: Equipment) -> None:
    seconds = np.array([43_200])
    values = CURVES[one.kind](one, 739_900, seconds, np.array([Mode.RUNNING]), np.zeros(1))

    assert set(values) == set(PROFILES[one.profile].points)


@pytest.mark.parametrize("one", SITE.equipment, ids=lambda one: one.id)
def test_a_broken_equipment_is_down_by_its_profile_and_a_whole_one_up(one: Equipment) -> None:
    rules = PROFILES[one.profile].rules
    assert rules is not None
    found = {}
    for mode in Mode:
        points = CURVES[one.kind](one, 739_900, np.array([43_200]), np.array([mode]), np.zeros(1))
        found[mode] = rules.state({point: float(array[0]) for point, array in points.items()}).counts_as

    assert {found[Mode.STOPPED], found[Mode.RUNNING], found[Mode.WARNING]} == {Counts.UP}
    # A meter has no fault register: it cannot say that it is broken, so the script never breaks one.
    assert found[Mode.FAULT] is (Counts.UP if one.profile == "eastron-sdm630" else Counts.DOWN)


def test_streams_of_chance_are_independent_of_each_other() -> None:
    first, second = chance(7, DAYS[0], 1).random(4), chance(7, DAYS[0], 2).random(4)

    assert first.tolist() != second.tolist()
