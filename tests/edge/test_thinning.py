"""What thinning may leave out, and that the covered cells do not notice."""

import csv
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.facts.coverage import PoseSet, Sight, covered_cells
from cloud.facts.coverage_zones import Mask, Raster
from devices.reading import Pose, PoseFlag, Quality, Text
from edge.thinning import HELD_MS_MAX, KEPT_MS_MAX, QUARTER_MS, TOLERANCE_MM, Thinning

RECORDING = Path(__file__).parent.parent / "golden" / "recordings" / "freiburg-079_poses.csv"
VALID = PoseFlag.LOCALIZED | PoseFlag.AUTOMATIC
START_MS = 1_780_000_200_000  # a quarter hour begins
SIGHT = Sight(radius_mm=3000, speed_max_mm_s=1500)


def pose(time_ms: int, x_mm: int, y_mm: int = 0, *, flags: PoseFlag = VALID, map_id: str = "B1") -> Pose:
    return Pose("r1", time_ms, x_mm, y_mm, 0, map_id, flags)


def thinned(poses: Sequence[Pose]) -> list[Pose]:
    thinning = Thinning()
    kept = [one for monotonic_ms, item in enumerate(poses) for one in thinning.take([item], monotonic_ms)]
    return [item for item in [*kept, *thinning.settle()] if isinstance(item, Pose)]


def test_an_even_drive_keeps_a_pose_every_four_seconds() -> None:
    drive = [pose(1000 * second, 1200 * second) for second in range(21)]

    assert [one.time_ms for one in thinned(drive)] == [0, 4000, 8000, 12000, 16000, 20000]


def test_a_pose_away_from_the_line_is_kept() -> None:
    drive = [pose(0, 0), pose(1000, 1000), pose(2000, 2000, 202), pose(3000, 3000, 202)]

    assert [one.time_ms for one in thinned(drive)] == [0, 1000, 2000, 3000]


def test_a_jump_is_not_smoothed_into_a_drive() -> None:
    drive = [pose(0, 0), pose(1000, 500), pose(2000, 3000), pose(3000, 3500)]

    assert thinned(drive) == drive


def test_both_sides_of_every_change_are_kept() -> None:
    same = [pose(500 * at, 100 * at) for at in range(3)]
    for change in (
        {"map_id": "B2"},
        {"flags": PoseFlag.AUTOMATIC},
        {"flags": VALID | PoseFlag.CHARGING},
        {"flags": PoseFlag.LOCALIZED},
        {"quality": Quality.UNCERTAIN_TIME},
    ):
        changed = [replace(pose(1500 + 500 * at, 300 + 100 * at), **change) for at in range(3)]

        kept = thinned([*same, *changed])

        assert [one.time_ms for one in kept] == [0, 1000, 1500, 2500]


def test_both_ends_of_a_gap_are_kept_and_nothing_is_put_into_it() -> None:
    drive = [pose(at, 0) for at in (0, 1000, 2000, 9000, 10_000)]

    assert [one.time_ms for one in thinned(drive)] == [0, 2000, 9000, 10_000]


def test_no_leg_moves_into_another_quarter_hour() -> None:
    drive = [pose(START_MS + at, at) for at in range(-2000, 2001, 500)]

    assert [one.time_ms - START_MS for one in thinned(drive)] == [-2000, -500, 0, 2000]


def test_a_robot_that_falls_silent_is_where_it_was_last_within_four_seconds() -> None:
    thinning = Thinning()
    kept = [
        *thinning.take([pose(0, 0)], 0),
        *thinning.take([pose(500, 500)], 500),
        *thinning.take([pose(900, 900)], 900),
    ]

    assert kept == [pose(0, 0)]
    assert thinning.take([], 500 + HELD_MS_MAX - 1) == []
    assert thinning.take([], 500 + HELD_MS_MAX) == [pose(900, 900)]


def test_other_items_pass_and_robots_are_judged_apart() -> None:
    text, other = Text("r1", "last_node", 5, "c1"), replace(pose(7, 9_000), device="r2")
    thinning = Thinning()

    assert thinning.take([pose(0, 0), text, other, pose(1000, 0)], 0) == [pose(0, 0), text, other]


def test_a_pose_heard_twice_is_kept_once() -> None:
    drive = [pose(at, at) for at in (0, 0, 1000, 1000, 2000, 1000, 2000)]

    assert [one.time_ms for one in thinned(drive)] == [0, 2000]


def test_a_clock_that_is_set_back_begins_a_new_line() -> None:
    drive = [pose(1_000_000 + at, at) for at in (0, 1000, 2000)] + [pose(at, at) for at in (0, 1000, 2000)]

    assert [one.time_ms for one in thinned(drive)] == [1_000_000, 1_002_000, 0, 2000]


STEPS = st.tuples(
    st.sampled_from([0, 1, 100, 250, 500, 1000, 3999, 4000, 4001, 6000]),
    st.integers(-300, 300),
    st.integers(-300, 300),
    st.sampled_from([VALID, VALID, VALID, VALID, PoseFlag.LOCALIZED]),
    st.sampled_from(["B1", "B1", "B1", "B2"]),
    st.sampled_from([0, 0, 0, 0, -300, -2500]),  # how late it arrives: its time lies back
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=60), st.integers(-1500, 1500), st.sampled_from([START_MS, START_MS - 5000]))
def test_what_is_left_out_lies_on_the_line_between_its_kept_neighbours(
    steps: list[tuple[int, int, int, PoseFlag, str, int]], speed_mm_s: int, begin_ms: int
) -> None:
    time_ms, drive = begin_ms, []
    for step_ms, off_x, off_y, flags, map_id, late_ms in steps:
        time_ms += step_ms
        seen_ms = time_ms + late_ms
        x_mm = speed_mm_s * (seen_ms - begin_ms) // 1000 + off_x // 4
        drive.append(pose(seen_ms, x_mm, off_y // 4, flags=flags, map_id=map_id))
    kept = thinned(drive)

    assert set(kept) <= set(drive)
    assert len(kept) == len(set(kept))
    in_order = sorted(kept, key=lambda one: one.time_ms)
    for left_out in set(drive) - set(kept):
        assert any(_tells(before, left_out, after) for before, after in pairwise(in_order))
    arrived = sorted({one.time_ms for one in drive})
    for before, after in pairwise(in_order):
        between = [one for one in arrived if before.time_ms <= one <= after.time_ms]
        widest_ms = max(second - first for first, second in pairwise([*between, after.time_ms]))
        assert after.time_ms - before.time_ms <= max(KEPT_MS_MAX, widest_ms)


def _tells(before: Pose, left_out: Pose, after: Pose) -> bool:
    """By floating-point geometry, another way than the one under test."""
    kinds = {(one.map_id, one.flags, one.time_ms // QUARTER_MS) for one in (before, left_out, after)}
    if len(kinds) > 1 or not before.time_ms <= left_out.time_ms <= after.time_ms:
        return False
    along = np.array([after.x_mm - before.x_mm, after.y_mm - before.y_mm], float)
    to_pose = np.array([left_out.x_mm - before.x_mm, left_out.y_mm - before.y_mm], float)
    length = float(along @ along)
    share = min(max(float(to_pose @ along) / length, 0.0), 1.0) if length else 0.0
    return float(np.linalg.norm(to_pose - share * along)) <= TOLERANCE_MM + 1e-6


def recorded_drive() -> list[Pose]:
    with RECORDING.open() as file:
        rows = [[float(value) for value in row.values()] for row in csv.DictReader(file)]
    return [
        pose(START_MS + round(t_s * 1000), round(x_m * 1000) + 30_000, round(y_m * 1000) + 30_000)
        for t_s, x_m, y_m, _ in rows
    ]


def cells_of(poses: Sequence[Pose], radius_mm: int) -> Mask:
    raster = Raster("b1", 500, np.ones((160, 160), np.int64), ("all",), (1,), 1)
    time_ms, x_mm, y_mm = (
        np.array([getattr(one, name) for one in poses], np.int64) for name in ("time_ms", "x_mm", "y_mm")
    )
    zeros = np.zeros(len(poses), np.int64)
    flags = np.array([int(one.flags) for one in poses], np.uint8)
    sight = Sight(radius_mm, SIGHT.speed_max_mm_s)
    found = covered_cells(PoseSet(time_ms, x_mm, y_mm, zeros, flags, ("B1",)), 0, 1 << 50, {"B1": raster}, sight)
    return found["B1"]


def test_the_recorded_drive_covers_the_same_cells_up_to_a_tenth_of_a_metre() -> None:
    """A leg may move by 0.1 m, so a cell whose centre lies that near to the edge may turn; none other does."""
    drive = recorded_drive()
    kept = thinned(drive)
    whole, less = cells_of(drive, SIGHT.radius_mm), cells_of(kept, SIGHT.radius_mm)

    assert len(kept) < 0.4 * len(drive)
    assert (whole ^ less).sum() <= 0.005 * whole.sum()  # 6 of 2,488 here: 1 more, 5 fewer
    assert not (cells_of(drive, SIGHT.radius_mm - TOLERANCE_MM) & ~less).any()
    assert not (less & ~cells_of(drive, SIGHT.radius_mm + TOLERANCE_MM)).any()


def test_an_even_patrol_covers_exactly_the_same_cells() -> None:
    rng = random.Random(3)
    drive, x, y, time_ms = [], 10_000, 10_000, START_MS
    for _ in range(40):
        step_x, step_y = rng.choice([(500, 0), (0, 500), (-500, 0), (0, -500), (300, 400)])
        for _ in range(rng.randrange(3, 12)):
            x, y, time_ms = x + step_x, y + step_y, time_ms + 500
            drive.append(pose(time_ms, x, y))
    kept = thinned(drive)

    assert len(kept) < len(drive) / 2
    assert np.array_equal(cells_of(drive, SIGHT.radius_mm), cells_of(kept, SIGHT.radius_mm))
