import json
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from devices.instants import parse_instant
from devices.profile import load_profiles
from simulators.behaviour import Behaviour, script_of
from simulators.day import day_of
from simulators.history import history
from simulators.script import Mode
from simulators.site import MAP_ID, Kind, demo_site

SITE = demo_site()
PROFILES = load_profiles()
UNTIL_MS = 1_794_974_400_123
SPAN_MS = 14 * 3_600_000
KIND_OF = {one.id: one.profile for one in SITE.equipment}
KIND_OF |= {robot.id: "vda5050-robot" for robot in SITE.robots}
KIND_OF |= {space.device: "nwave-nps405" for space in SITE.sensed_spaces}

Line = dict[str, object]


def lines(seed: int = 7, span_ms: int = SPAN_MS) -> list[Line]:
    chunks = b"".join(history(SITE, seed, UNTIL_MS - span_ms, UNTIL_MS, PROFILES))
    return [json.loads(line) for line in chunks.splitlines()]


@pytest.fixture(scope="module")
def found() -> list[Line]:
    return lines()


@pytest.fixture(scope="module")
def times_ms(found: list[Line]) -> list[int]:
    return [parse_instant(str(line["time"])) for line in found]


def test_a_seed_gives_the_same_history_again() -> None:
    assert lines(span_ms=3_600_000) == lines(span_ms=3_600_000)


def test_lines_are_sorted_and_end_just_before_the_present(times_ms: list[int]) -> None:
    assert times_ms == sorted(times_ms)
    assert times_ms[0] >= UNTIL_MS - SPAN_MS
    assert UNTIL_MS - 60_000 <= times_ms[-1] < UNTIL_MS


def test_every_line_names_a_point_of_its_profile_and_a_good_value(found: list[Line]) -> None:
    for line in found:
        points = PROFILES[KIND_OF[str(line["device"])]].points
        assert line["quality"] == "good"
        if line["point"] == "pose":
            pose = line["value"]
            assert isinstance(pose, list)
            x_m, y_m, theta_rad, name, flags = pose
            assert 0 <= x_m <= 96
            assert 0 <= y_m <= 60
            assert -np.pi <= theta_rad <= np.pi + 1e-3
            assert (name, flags) == (MAP_ID, 11)
        else:
            assert line["point"] in points
            assert isinstance(line["value"], int | float)


def test_every_state_input_of_the_equipment_comes_at_least_every_hour(found: list[Line], times_ms: list[int]) -> None:
    seen: dict[tuple[str, str], list[int]] = {}
    for line, time_ms in zip(found, times_ms, strict=True):
        seen.setdefault((str(line["device"]), str(line["point"])), []).append(time_ms)
    for one in SITE.equipment:
        for point in PROFILES[one.profile].state_points:
            series = [*seen[one.id, point], UNTIL_MS]
            assert series[0] == UNTIL_MS - SPAN_MS
            assert max(after - before for before, after in pairwise(series)) <= 3_600_000


def test_poses_of_a_round_are_close_enough_to_count(found: list[Line]) -> None:
    poses = [(parse_instant(str(line["time"])), line["value"]) for line in found if line["point"] == "pose"]
    own = [pose for pose, line in zip(poses, [one for one in found if one["point"] == "pose"], strict=True)
           if line["device"] == "r1"]  # fmt: skip
    metres = counted = 0.0
    for (before_ms, before), (after_ms, after) in pairwise(own):
        leg_m = float(np.hypot(after[0] - before[0], after[1] - before[1]))  # type: ignore[index]
        if leg_m:
            metres += leg_m
            counted += leg_m if after_ms - before_ms <= 5000 else 0.0
            assert leg_m <= 1.2 * 1.5 * (after_ms - before_ms) / 1000

    assert metres > 1000
    assert counted == pytest.approx(metres)


def test_history_and_live_tell_the_same_story(found: list[Line]) -> None:
    """The last word of each state input in the history is what the live simulation begins with."""
    last: dict[tuple[str, str], object] = {(str(x["device"]), str(x["point"])): x["value"] for x in found}
    state = Behaviour(SITE, 7).begin(UNTIL_MS, np.random.default_rng(1))

    for one in SITE.equipment:
        if one.kind is not Kind.METER:
            discrete = PROFILES[one.profile].state_points & PROFILES[one.profile].discrete_points
            assert {p: last[one.id, p] for p in discrete} == {p: state.values[one.id][p] for p in discrete}
    for index, space in enumerate(SITE.spaces):
        if (space.device, "occupied") in last:
            assert last[space.device, "occupied"] == state.taken[index]


def test_faults_of_the_script_are_in_the_history(found: list[Line]) -> None:
    zone = ZoneInfo(SITE.zone)
    script = script_of(SITE, 7, day_of(UNTIL_MS, zone))
    morning = np.arange((UNTIL_MS - script.start_ms) // 1000)
    broken = {name for name, line in script.equipment.items() if Mode.FAULT in line.at(morning)}
    told = {str(x["device"]) for x in found if x["point"] == "fault" and x["value"] == 1}
    told |= {str(x["device"]) for x in found if x["point"] == "status" and int(str(x["value"])) & 8}

    assert broken
    assert broken <= told
