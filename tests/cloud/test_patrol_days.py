"""Patrol over days and floors that are not alike: other grids, points that come and go, dwell times that change."""

from fractions import Fraction
from pathlib import Path

from tests.cloud.patrols import BEGIN_MS, DAY_MS, HOUR_MS, MINUTE_MS, NAME, ROBOTS, ask, straight, tell_walks, zone
from tests.cloud.told import Walk, ledger_text, new_cloud

SIZE = "width_m: 20.0, height_m: 20.0"
TWO_GRIDS = (
    f"floors: [{{id: b1, {NAME}, map: B1, {SIZE}}}, {{id: yard, {NAME}, map: YARD, {SIZE}, cell_m: 1.0}}]",
    ROBOTS,
    "zones:",
    zone("hall", (0, 0, 20, 20)),
    zone("yard", (0, 0, 20, 20)).replace("floor: b1", "floor: yard"),
)


def everywhere(begin_ms: int, device: str, map_id: str) -> list[Walk]:
    """Five lanes along the whole of 20 m x 20 m."""
    return [
        Walk(device, straight(begin_ms + lane * MINUTE_MS, 40, (0, 2_000 + lane * 4_000), (500, 0)), map_id=map_id)
        for lane in range(5)
    ]


def test_floors_of_one_size_weigh_the_same_whatever_their_grid(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    ledger = cloud.ledger(ledger_text(*TWO_GRIDS))
    tell_walks(cloud, *everywhere(BEGIN_MS + HOUR_MS, "d1", "B1"))
    half = ask(cloud, ledger, "robot.coverage", BEGIN_MS + DAY_MS)

    assert (half.value, half.denominator, half.unit) == (Fraction(1, 2), 2 * 20 * 20 * 4, "cells")
    cloud.engine.dispose()


def test_repeats_are_area_too(tmp_path: Path) -> None:
    """Both robots drive through the yard, one of them through the hall: half of what was seen was seen again."""
    cloud = new_cloud(tmp_path)
    ledger = cloud.ledger(ledger_text(*TWO_GRIDS))
    tell_walks(
        cloud, *everywhere(BEGIN_MS + HOUR_MS, "d1", "YARD"), *everywhere(BEGIN_MS + HOUR_MS, "d2", "YARD"),
        *everywhere(BEGIN_MS + 2 * HOUR_MS, "d1", "B1"),
    )  # fmt: skip
    repeated = ask(cloud, ledger, "robot.repeat_ratio", BEGIN_MS + DAY_MS)

    assert repeated.value == Fraction(1, 2)
    assert (repeated.numerator, repeated.denominator) == (20 * 20 * 4, 2 * 20 * 20 * 4)
    cloud.engine.dispose()
