"""Idleness, slots and stays: the vector of domain.md 3.4, and a reference that goes through every millisecond."""

import random
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.facts.coverage import PoseSet, Sight, drive_of
from cloud.facts.coverage_zones import rasters_of
from cloud.facts.ledger import Ledger, parse_ledger
from cloud.facts.visits import Disc, merged_stays, node_stays, stays_of
from cloud.indicators.patrol_points import gaps, late_spans, served_slots
from cloud.indicators.patrol_use import shares_of_hundred
from tests.cloud.patrol_reference import Step, idleness, moments_at, most_served, runs
from tests.cloud.told import ledger_text

MINUTE_MS = 60_000
SIGHT = Sight(radius_mm=3000, speed_max_mm_s=1500)
LEDGER = """
floors: [{id: b1, name: {en: B1, zh-CN: B1}, map: B1, width_m: 30.0, height_m: 30.0}]
zones:
  - {id: all, name: {en: Z, zh-CN: Z}, floor: b1, geometry: {type: Polygon, coordinates: [
     [[0.3, 0.2], [29.7, 0.6], [28.9, 29.8], [0.1, 29.1], [0.3, 0.2]],
     [[9.9, 9.8], [20.3, 10.1], [15, 20], [9.9, 9.8]]]}}
"""


def minutes(*numbers: int) -> list[tuple[int, int]]:
    return [(number * MINUTE_MS, number * MINUTE_MS) for number in numbers]


def test_the_vector_of_the_definition() -> None:
    """domain.md 3.4: W = 0..480, tau 120, previous visit -30, visits 60, 150, 400."""
    end = 480 * MINUTE_MS
    found = gaps(minutes(60, 150, 400), -30 * MINUTE_MS, 0, end)
    average = Fraction(sum(gap.twice_integral for gap in found), 2 * end) / MINUTE_MS
    late = sum(to_ms - from_ms for from_ms, to_ms in late_spans(found, 120 * MINUTE_MS, [(0, end)]))

    assert float(average) == pytest.approx(87.708, abs=5e-4)
    assert max(gap.to_ms - gap.last_ms for gap in found) == 250 * MINUTE_MS
    assert float(1 - Fraction(late, end)) == pytest.approx(0.729167, abs=5e-7)


def test_a_point_that_is_never_visited_ages_over_the_whole_window() -> None:
    """The literature's average over closed gaps would be 0."""
    [gap] = gaps([], 0, 0, 100)

    assert (gap.twice_integral, gap.to_ms - gap.last_ms) == (100 * 100, 100)


def test_a_robot_that_stays_keeps_a_point_fresh() -> None:
    found = gaps([(10, 60)], 0, 0, 100)

    assert [(gap.last_ms, gap.from_ms, gap.to_ms) for gap in found] == [(0, 0, 10), (60, 60, 100)]


def test_one_visit_serves_one_slot_and_as_many_slots_as_possible_are_served() -> None:
    assert served_slots([(0, 10), (5, 15)], [(7, 7)]) == [True, False]
    assert served_slots([(0, 10), (5, 15)], [(7, 7), (2, 2)]) == [True, True]
    assert served_slots([(0, 10), (20, 30)], [(5, 25)]) == [True, False]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=7), st.integers(1, 12), st.integers(3, 9))
@settings(max_examples=200, deadline=None)
def test_the_number_of_served_slots_is_the_greatest_there_is(
    spans: list[tuple[int, int]], every: int, width: int
) -> None:
    slots = [(begin, begin + width) for begin in range(0, 60, every)]
    visits = [(begin, begin + length) for begin, length in spans]

    assert sum(served_slots(slots, visits)) == most_served(slots, visits)


def raster_ledger() -> Ledger:
    return parse_ledger(ledger_text(LEDGER), "ledger.yaml")


def drive(rng: random.Random, count: int) -> list[Step]:
    """A walk about (15, 15) m with stops, jumps, silences and poses that do not count."""
    t, x, y, found = 1_000, rng.randrange(12_000, 18_000), rng.randrange(12_000, 18_000), []
    for _ in range(count):
        found.append((t, x, y, rng.random() > 0.06))
        t += rng.choice([200, 500, 1000, 1000, 3000, 5000, 5001])
        reach = rng.choice([0, 300, 900, 1500, 2500])
        x = min(max(x + rng.randint(-reach, reach), 0), 29_999)
        y = min(max(y + rng.randint(-reach, reach), 0), 29_999)
    return found


def pose_set_of(steps: Sequence[Step]) -> PoseSet:
    columns = np.array([step[:3] for step in steps], np.int64).T
    flags = np.array([3 if step[3] else 1 for step in steps], np.uint8)
    return PoseSet(columns[0], columns[1], columns[2], np.zeros(len(steps), np.int64), flags, ("B1",))


@pytest.mark.parametrize("seed", range(12))
def test_stays_at_a_point_are_those_of_every_millisecond(seed: int) -> None:
    rng = random.Random(seed)
    steps, radius = drive(rng, 40), rng.choice([200, 1000, 2000, 4000])
    disc = Disc("point/c", "B1", 15_000, 14_500, radius)
    rasters = rasters_of(raster_ledger())
    found = stays_of(drive_of(pose_set_of(steps), 0, 2**50, rasters, SIGHT), rasters, [disc], 0, 2**50)
    moments = moments_at(steps, SIGHT.speed_max_mm_s, (15_000, 14_500), radius)
    stays = found.get("point/c", [])
    begin, end, last = 0, steps[-1][0] + 60_000, -5_000
    ages = idleness(moments, last, begin, end, 1)
    exact = gaps(stays, last, begin, end)

    assert runs(moments) == stays
    # an age of a ms at its beginning, summed over whole ms, against the integral: half a ms for each idle ms
    idle_ms = sum(gap.to_ms - gap.from_ms for gap in exact)
    assert sum(gap.twice_integral for gap in exact) == 2 * sum(ages) + idle_ms
    assert max(gap.to_ms - gap.last_ms for gap in exact) == max(ages) + 1


@pytest.mark.parametrize("seed", range(6))
def test_a_place_is_in_the_zone_that_its_polygon_says(seed: int) -> None:
    import shapely

    ledger = raster_ledger()
    raster = rasters_of(ledger)["B1"]
    area = ledger.zones[0].geometry
    polygon = shapely.Polygon(area.coordinates[0], area.coordinates[1:])
    rng = np.random.default_rng(seed)
    x, y = rng.integers(-500, 30_500, (2, 20_000))
    within = shapely.contains_xy(polygon, x / 1000, y / 1000)
    edge = shapely.distance(polygon.boundary, shapely.points(x / 1000, y / 1000)) < 1e-9

    assert ((raster.zones_at(x, y) == 1) == within)[~edge].all()


def test_a_node_is_visited_when_it_is_named_and_the_robot_drove_itself() -> None:
    steps = [(1_000, 0, 0, True), (2_000, 0, 0, True), (60_000, 0, 0, False)]
    told = drive_of(pose_set_of(steps), 0, 2**50, ["B1"], SIGHT)
    named = [(2_500, "c1"), (3_000, "c2"), (9_000, "c1"), (60_100, "c2"), (70_000, "c1"), (71_000, "c1")]

    found = node_stays(told, named, {"c1": ["point/a"]}, 0)

    assert found == {"point/a": [(2_500, 2_500), (9_000, 9_000), (70_000, 70_000)]}


def test_stays_that_share_a_millisecond_are_one() -> None:
    assert merged_stays([(5, 9), (0, 5), (10, 12)]) == [(0, 9), (10, 12)]


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 10**9), min_size=1))
def test_shares_sum_to_a_hundred(parts: dict[str, int]) -> None:
    shares = shares_of_hundred(parts)

    assert sum(round(share * 10) for share in shares.values()) == (1000 if sum(parts.values()) else 0)
    assert all(abs(share - 100 * parts[name] / sum(parts.values())) < 0.1 + 1e-9 for name, share in shares.items())


def test_a_robot_on_the_circle_is_at_the_point() -> None:
    rasters = rasters_of(raster_ledger())
    disc = Disc("point/c", "B1", 15_000, 5_000, 1_000)
    steps = [(0, 13_000, 5_000, True), (4_000, 17_000, 5_000, True)]
    found = stays_of(drive_of(pose_set_of(steps), 0, 2**50, rasters, SIGHT), rasters, [disc], 0, 2**50)

    assert found["point/c"] == [(1_000, 3_000)]
