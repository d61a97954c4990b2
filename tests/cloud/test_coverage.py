"""Covered cells against shapely's buffers, and against other orders of the same poses."""

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import shapely

from cloud.facts.claims import QUARTER_MS, FrameKey, PoseRows
from cloud.facts.coverage import PoseSet, Sight, covered_cells, pose_set
from cloud.facts.coverage_zones import Mask, Raster, rasters_of
from cloud.facts.ledger import Ledger, parse_ledger
from cloud.indicators.registry import compute_indicator, coverage_cells
from tests.cloud.told import Told, Walk, inventory, ledger_text, new_cloud

SIGHT = Sight(radius_mm=3000, speed_max_mm_s=1500)
FLOOR = "floors: [{id: b1, name: {en: B1, zh-CN: B1}, map: B1, width_m: 40.0, height_m: 30.0}]"
ROBOTS = "robots: [{id: r1, name: {en: R1, zh-CN: R1}, device: r1}, {id: r2, name: {en: R2, zh-CN: R2}, device: r2}]"


def zone(name: str, ring: Sequence[tuple[float, float]], *, more: str = "") -> str:
    rings = [[list(point) for point in ring]]
    geometry = f"{{type: Polygon, coordinates: {rings}}}"
    return f"  - {{id: {name}, name: {{en: Z, zh-CN: Z}}, floor: b1, geometry: {geometry}{more}}}"


def rectangle(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y)]


def floor_with(*zones: str) -> Ledger:
    return parse_ledger(ledger_text(FLOOR, ROBOTS, "zones:", *zones), "ledger.yaml")


def drive(rng: random.Random, count: int) -> list[tuple[int, int, int]]:
    """A walk with turns, stops, jumps and silences: (time_ms, x_mm, y_mm)."""
    time_ms, x, y, steps = 1000, rng.randrange(0, 40_000), rng.randrange(0, 30_000), []
    for _ in range(count):
        steps.append((time_ms, x, y))
        time_ms += rng.choice([200, 1000, 1000, 3000, 5000, 5001])
        reach = rng.choice([0, 500, 1500, 2500])
        x, y = x + rng.randint(-reach, reach), y + rng.randint(-reach, reach)
        if rng.random() < 0.05:
            x = rng.randrange(-5_000, 45_000)
    return steps


def poses_of(steps: Sequence[tuple[int, int, int]]) -> PoseSet:
    columns = np.array(steps, np.int64).reshape(-1, 3).T
    zeros = np.zeros(len(steps), np.int64)
    return PoseSet(columns[0], columns[1], columns[2], zeros, np.full(len(steps), 3, np.uint8), ("B1",))


def seen_by_shapely(steps: Sequence[tuple[int, int, int]], raster: Raster) -> tuple[Mask, Mask]:
    """Cells surely seen and cells possibly seen: circles as polygons inside and outside of the true circle."""
    legs = []
    for (t0, x0, y0), (t1, x1, y1) in pairwise(steps):
        distance = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        inside = any(0 <= x < 40_000 and 0 <= y < 30_000 for x, y in ((x0, y0), (x1, y1)))
        if inside and t1 - t0 <= 5000 and distance <= 1.2 * SIGHT.speed_max_mm_s * (t1 - t0) / 1000:
            legs.append(shapely.LineString([(x0, y0), (x1, y1)]))
    x, y = np.meshgrid(np.arange(raster.columns) * 500 + 250, np.arange(raster.rows) * 500 + 250)
    sure = shapely.union_all([shapely.buffer(leg, SIGHT.radius_mm - 1, quad_segs=128) for leg in legs])
    perhaps = shapely.union_all([shapely.buffer(leg, SIGHT.radius_mm + 2, quad_segs=128) for leg in legs])
    return shapely.contains_xy(sure, x, y), shapely.contains_xy(perhaps, x, y)


def test_covered_cells_equal_shapelys_buffers_on_random_drives() -> None:
    rasters = rasters_of(floor_with(zone("all", rectangle(0, 0, 40, 30))))
    for seed in range(20):
        steps = drive(random.Random(seed), 200)
        cells = covered_cells(poses_of(steps), 0, 2**50, rasters, SIGHT)["B1"]
        sure, perhaps = seen_by_shapely(steps, rasters["B1"])

        assert not (sure & ~cells).any(), f"seed {seed}"
        assert not (cells & ~perhaps).any(), f"seed {seed}"


def test_nothing_is_seen_through_the_wall_between_two_zones() -> None:
    left, right = zone("left", rectangle(0, 0, 20, 30)), zone("right", rectangle(20, 0, 20, 30))
    steps = [(1000, 19_000, 15_000), (2000, 19_000, 15_000)]

    walled = covered_cells(poses_of(steps), 0, 2**50, rasters_of(floor_with(left, right)), SIGHT)["B1"]
    joint = zone("right", rectangle(20, 0, 20, 30), more=", open_to: [left]")
    opened = covered_cells(poses_of(steps), 0, 2**50, rasters_of(floor_with(left, joint)), SIGHT)["B1"]

    assert walled.any()
    assert not walled[:, 40:].any()
    assert opened[:, 40:].any()


def test_a_pose_that_is_not_valid_breaks_the_leg() -> None:
    rasters = rasters_of(floor_with(zone("all", rectangle(0, 0, 40, 30))))
    poses = poses_of([(1000, 5000, 5000), (2000, 6000, 5000), (3000, 7000, 5000)])
    for flags in (1, 2, 7):
        poses.flags[1] = flags

        assert covered_cells(poses, 0, 2**50, rasters, SIGHT) == {}


def test_the_order_repetition_and_cutting_of_frames_does_not_matter() -> None:
    steps = drive(random.Random(5), 60)
    whole = pose_set([_rows(1, steps)])
    for seed in range(20):
        rng = random.Random(seed)
        cuts = sorted(rng.sample(range(1, 60), 6))
        parts = [steps[begin:end] for begin, end in zip([0, *cuts], [*cuts, 60], strict=True)]
        blocks = [_rows(number, part) for number, part in enumerate(parts)]
        rng.shuffle(blocks)
        again = pose_set([*blocks, *rng.sample(blocks, 3)])

        assert np.array_equal(again.time_ms, whole.time_ms)
        assert np.array_equal(again.x_mm, whole.x_mm)


def _rows(number: int, steps: Sequence[tuple[int, int, int]]) -> PoseRows:
    columns = np.array(steps, np.int64).reshape(-1, 3).T
    x_mm, y_mm, still = (column.astype("<i4").tobytes() for column in (columns[1], columns[2], np.zeros(len(steps))))
    key = FrameKey(True, number, b"epoch--1", number)
    return PoseRows(key, ("B1",), columns[0].astype("<i8").tobytes(), x_mm, y_mm, still, still, bytes([3]) * len(steps))


def test_a_drive_across_quarter_hours_covers_the_same_however_its_frames_arrive(tmp_path: Path) -> None:
    begin = 20_000 * 86_400_000
    rng = random.Random(7)
    walk = [(begin + QUARTER_MS - 40_000 + 1000 * second, 5000 + 500 * second, 15_000) for second in range(60)]
    frames = [
        Told(number, *_span(part), walks=(Walk("r1", part),))
        for number, part in enumerate((walk[place : place + 5] for place in range(0, 60, 5)), 1)
    ]
    results = []
    for name, order in (("forwards", frames), ("shuffled", rng.sample([*frames, *frames], 24))):
        folder = tmp_path / name
        folder.mkdir()
        cloud = new_cloud(folder)
        ledger = cloud.ledger(ledger_text(FLOOR, ROBOTS, "zones:", zone("all", rectangle(0, 0, 40, 30))))
        now_ms = begin + 2 * QUARTER_MS
        for place, told in enumerate(order):
            cloud.tell([told])
            if place % 4 == 0:
                compute_indicator(cloud.facts, ledger, "robot.coverage", "today", now_ms)
        results.append(compute_indicator(cloud.facts, ledger, "robot.coverage", "today", now_ms))
        cells = coverage_cells(cloud.facts, ledger, None, now_ms)[0].cells
        assert len(cells) == results[-1].numerator
        cloud.engine.dispose()
    sure, perhaps = seen_by_shapely(walk, rasters_of(ledger)["B1"])

    assert results[0] == results[1]
    assert results[0].denominator == 80 * 60
    assert sure.sum() <= results[0].numerator <= perhaps.sum()


def _span(steps: Sequence[tuple[int, int, int]]) -> tuple[int, int]:
    return steps[0][0], steps[-1][0] + 1000


def test_a_zone_without_a_robot_stays_in_the_denominator(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    zones = ("zones:", zone("a", rectangle(0, 0, 20, 30)), zone("b", rectangle(20, 0, 20, 30)))
    ledger = cloud.ledger(ledger_text(FLOOR, *zones))
    cloud.tell([Told(1, 0, 1000, records=inventory(["x"], 0))])

    result = compute_indicator(cloud.facts, ledger, "robot.coverage", "today", 5 * QUARTER_MS)

    assert (result.numerator, result.denominator) == (0, 80 * 60)
    assert result.value == 0
    cloud.engine.dispose()
