"""Indicators of patrol from frames to numbers, against the reference and against other orders of the same frames."""

import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.facts.claims import QUARTER_MS
from cloud.facts.coverage_days import pose_counts
from cloud.facts.ledgers import import_ledger
from cloud.facts.patrol_plan import degrees_of, place_on_floors
from cloud.facts.store import FactStore
from cloud.indicators.definition import IndicatorResult
from cloud.indicators.patrol import PATROL
from devices.positions import accuracy_bits, gps_map, to_plane
from devices.states import Connection, Mode
from tests.cloud.patrol_reference import Step, idleness, moments_at, most_served, runs, seen_cells
from tests.cloud.patrols import (
    BEGIN_MS,
    DAY_MS,
    FLOOR,
    HOUR_MS,
    MINUTE_MS,
    NAME,
    RADIUS,
    ROBOTS,
    SPEED,
    ask,
    ledger_of,
    patrol_text,
    point,
    random_drive,
    robot_entries,
    robot_inventory,
    straight,
    tell_walks,
    walks_of,
    zone,
)  # fmt: skip
from tests.cloud.told import Told, Walk, ledger_text, new_cloud


@pytest.mark.parametrize("seed", range(3))
def test_a_random_drive_gives_what_the_reference_finds(tmp_path: Path, seed: int) -> None:
    """Cells within the error that docs/coverage.md states, idleness and visits to the millisecond."""
    rng = random.Random(seed)
    steps = random_drive(rng, 120)
    near = rng.sample(steps, 3)
    places = {f"c{n}": (step[1] + 700, step[2] - 400) for n, step in enumerate(near)}
    points = [point(name, "all", x / 1000, y / 1000) for name, (x, y) in places.items()]
    cloud = new_cloud(tmp_path)
    ledger = cloud.ledger(patrol_text(zone_more=", max_interval_min: 2", points=points))
    tell_walks(cloud, *walks_of("d1", steps, [40, 80]))
    end_ms = BEGIN_MS + 3 * QUARTER_MS
    average, worst = (ask(cloud, ledger, f"robot.idleness_{one}", end_ms) for one in ("average", "max"))
    coverage = ask(cloud, ledger, "robot.coverage", end_ms)
    timely, punctual = (ask(cloud, ledger, f"robot.{one}", end_ms) for one in ("timeliness", "slot_punctuality"))
    moments = {name: moments_at(steps, SPEED, place, 2000) for name, place in places.items()}
    ages = {name: idleness(found, BEGIN_MS, BEGIN_MS, end_ms, 1) for name, found in moments.items()}
    visited = {t for found in moments.values() for t in found}
    cells = seen_cells(steps, SPEED, RADIUS, cell=500, size=(60, 80), step_ms=20)

    # within a ms an age grows by half a ms more, unless a visit goes on
    idle_ms = sum(len(found) for found in ages.values()) - sum(
        t + 1 in there for there in map(set, moments.values()) for t in there if t < end_ms
    )
    expected = Fraction(2 * sum(map(sum, ages.values())) + idle_ms, 2 * 3 * (end_ms - BEGIN_MS) * 1000)
    assert visited
    assert average.value == expected
    assert worst.value == Fraction(max(map(max, ages.values())) + 1, 1000)
    late = sum(age >= 120_000 for found in ages.values() for age in found)
    assert timely.numerator == timely.denominator - late
    slots = [(begin, begin + 119_999) for begin in range(BEGIN_MS, end_ms - 120_000, 120_000)]
    served = sum(most_served(slots, runs(found)) for found in moments.values())
    assert (punctual.numerator, punctual.denominator) == (served, 3 * len(slots))
    assert coverage.numerator >= len(cells)
    assert coverage.numerator - len(cells) <= 0.01 * coverage.denominator
    cloud.engine.dispose()


RESULTS = ("robot.coverage", *PATROL)


@pytest.fixture(scope="module")
def straight_results(tmp_path_factory: pytest.TempPathFactory) -> list[IndicatorResult]:
    return results_of(tmp_path_factory.mktemp("straight"), whole_frames())


def steps_of_two() -> dict[str, list[Step]]:
    return {"d1": random_drive(random.Random(11), 60), "d2": random_drive(random.Random(12), 60)}


def whole_frames() -> list[Told]:
    walks = [walk for device, steps in steps_of_two().items() for walk in walks_of(device, steps, [])]
    return [Told(seq, BEGIN_MS, BEGIN_MS + HOUR_MS, walks=(walk,)) for seq, walk in enumerate(walks, 1)]


def results_of(folder: Path, frames: Sequence[Told], *, ask_between: bool = False) -> list[IndicatorResult]:
    cloud = new_cloud(folder)
    points = [point("c1", "all", 20, 15, ", dwell_s: 2"), point("c2", "all", 10, 10)]
    ledger = cloud.ledger(
        patrol_text(zone_more=", max_interval_min: 5, min_agents: 2, robots: [r1, r2]", points=points)
    )
    end_ms = BEGIN_MS + 4 * QUARTER_MS
    for place, told in enumerate(frames):
        cloud.tell([told])
        if ask_between and place % 3 == 0:
            ask(cloud, ledger, "robot.coverage", end_ms)
    found = [ask(cloud, ledger, name, end_ms) for name in RESULTS]
    cloud.engine.dispose()
    return found


@given(data=st.data())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_poses_split_over_frames_in_every_way_late_doubled_and_reordered_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, straight_results: list[IndicatorResult], data: st.DataObject
) -> None:
    walks = []
    for device, steps in steps_of_two().items():
        cuts = sorted(data.draw(st.sets(st.integers(1, len(steps) - 1), max_size=8)))
        walks += walks_of(device, steps, cuts)
    frames = [Told(seq, BEGIN_MS, BEGIN_MS + HOUR_MS, walks=(walk,)) for seq, walk in enumerate(walks, 1)]
    doubled = data.draw(st.lists(st.sampled_from(frames), max_size=5))
    order = data.draw(st.permutations([*frames, *doubled]))

    assert results_of(tmp_path_factory.mktemp("split"), order, ask_between=data.draw(st.booleans())) == straight_results


def test_the_run_of_the_property_test_says_something(straight_results: list[IndicatorResult]) -> None:
    values = {result.id: result.value for result in straight_results}

    assert 0 < (values["robot.coverage"] or 0) < 1
    assert values["robot.checkpoint_coverage"] is not None
    assert 0 < (values["robot.timeliness"] or 0) < 1
    assert 0 < (values["robot.repeat_ratio"] or 0) < 1


def test_days_go_by_the_zones_of_that_day(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    small, large = patrol_text(), ledger_text(FLOOR, ROBOTS, "zones:", zone("all", (0, 0, 20, 30)))
    cloud.ledger(small)
    for day in (0, 1):
        walk = Walk("d1", straight(BEGIN_MS + day * DAY_MS + HOUR_MS, 20, (5_000, 10_000), (500, 0)))
        cloud.tell([Told(day + 1, BEGIN_MS + day * DAY_MS, BEGIN_MS + (day + 1) * DAY_MS, walks=(walk,))])
    before = ask(cloud, ledger_of(cloud), "robot.coverage", BEGIN_MS + DAY_MS)
    import_ledger(cloud.engine, large, "l.yaml", actor="test", now_ms=BEGIN_MS + DAY_MS + HOUR_MS)
    ledger = ledger_of(cloud)
    first = ask(cloud, ledger, "robot.coverage", BEGIN_MS + DAY_MS)
    second = ask(cloud, ledger, "robot.coverage", BEGIN_MS + 2 * DAY_MS, BEGIN_MS + DAY_MS)
    both = ask(cloud, ledger, "robot.coverage", BEGIN_MS + 2 * DAY_MS)

    assert (first.numerator, first.denominator) == (before.numerator, before.denominator) == (before.numerator, 4800)
    assert second.denominator == 2400
    assert second.numerator == first.numerator > 0
    assert both.value == ((first.value or 0) + (second.value or 0)) / 2
    cloud.engine.dispose()


def test_only_the_quarters_of_days_with_other_zones_are_computed_again(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    cloud.ledger(patrol_text())
    tell_walks(cloud, Walk("d1", straight(BEGIN_MS + HOUR_MS, 20, (5_000, 10_000), (500, 0))))
    ledger = ledger_of(cloud)
    ask(cloud, ledger, "robot.coverage", BEGIN_MS + 2 * DAY_MS)
    import_ledger(cloud.engine, patrol_text(zone_more=", weight: 2"), "l", actor="t", now_ms=BEGIN_MS + 5 * DAY_MS)
    same = cloud.facts.patrol_history(ledger)
    import_ledger(cloud.engine, patrol_text(zone_more=", open_to: [all]"), "l", actor="t", now_ms=BEGIN_MS + 9 * DAY_MS)
    other = cloud.facts.patrol_history(ledger)

    assert len(same.plans) == 2
    assert same.outdated("d1", same.head("d1")) == []
    [quarters] = other.outdated("d1", same.head("d1"))
    assert quarters.start == (BEGIN_MS + 9 * DAY_MS) // QUARTER_MS
    cloud.engine.dispose()


def test_cells_of_other_zones_are_not_taken_for_those_of_today(tmp_path: Path) -> None:
    """Another floor came in, and nobody has derived anything since."""
    cloud = new_cloud(tmp_path)
    ledger = cloud.ledger(patrol_text())
    tell_walks(cloud, Walk("d1", straight(BEGIN_MS + HOUR_MS, 20, (5_000, 10_000), (500, 0))))
    known = ask(cloud, ledger, "robot.coverage", BEGIN_MS + 2 * HOUR_MS)
    wider = patrol_text().replace("width_m: 40.0", "width_m: 90.0")
    import_ledger(cloud.engine, wider, "l", actor="t", now_ms=BEGIN_MS + 2 * HOUR_MS)
    store = FactStore(cloud.engine, eager=False)
    [before] = store.covered_days(ledger_of(cloud), BEGIN_MS, BEGIN_MS + DAY_MS, BEGIN_MS + DAY_MS)
    store.settle(ledger_of(cloud), BEGIN_MS + DAY_MS)
    [after] = store.covered_days(ledger_of(cloud), BEGIN_MS, BEGIN_MS + DAY_MS, BEGIN_MS + DAY_MS)

    assert before.cells_covered == 0
    assert after.cells_covered == known.numerator > 0
    cloud.engine.dispose()


def test_a_no_go_area_and_a_hole_belong_to_no_zone(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    hole = "[[0, 0], [40, 0], [40, 30], [0, 30], [0, 0]], [[10, 10], [20, 10], [20, 20], [10, 20], [10, 10]]"
    area = "[[[30, 0], [40, 0], [40, 10], [30, 10], [30, 0]]]"
    ledger = cloud.ledger(
        ledger_text(
            FLOOR,
            ROBOTS,
            f"zones: [{{id: all, {NAME}, floor: b1, geometry: {{type: Polygon, coordinates: [{hole}]}}}}]",
            f"no_go: [{{id: shaft, {NAME}, floor: b1, geometry: {{type: Polygon, coordinates: {area}}}}}]",
        )
    )
    tell_walks(cloud, Walk("d1", straight(BEGIN_MS, 20, (12_000, 15_000), (0, 0))))
    result = ask(cloud, ledger, "robot.coverage", BEGIN_MS + HOUR_MS)

    assert result.denominator == 4 * (1200 - 100 - 100)
    assert result.numerator == 0  # it stood in the hole, from where no zone is seen
    cloud.engine.dispose()


def test_a_map_may_have_its_origin_elsewhere(tmp_path: Path) -> None:
    found = []
    for origin in ((0, 0), (-26.5, 3.25)):
        folder = tmp_path / str(origin)
        folder.mkdir()
        cloud = new_cloud(folder)
        text = patrol_text(points=[point("c", "all", 10, 10)])
        ledger = cloud.ledger(text.replace("height_m: 30.0", f"height_m: 30.0, origin: [{origin[0]}, {origin[1]}]"))
        start = (round(5_000 + origin[0] * 1000), round(10_000 + origin[1] * 1000))
        tell_walks(cloud, Walk("d1", straight(BEGIN_MS + HOUR_MS, 20, start, (500, 0))))
        found.append([ask(cloud, ledger, name, BEGIN_MS + 2 * HOUR_MS) for name in RESULTS])
        assert place_on_floors(ledger.floors, "B1", *start) == (ledger.floors[0], 5.0, 10.0)
        cloud.engine.dispose()

    assert found[0] == found[1]
    assert found[0][0].numerator > 0


def test_poses_that_do_not_count_are_counted_by_their_reason(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    ledger = cloud.ledger(patrol_text())
    steps = straight(BEGIN_MS, 10, (12_000, 15_000), (100, 0))
    tell_walks(
        cloud, Walk("d1", steps[:4]), Walk("d1", steps[4:6], map_id="B9"), Walk("d1", steps[6:8], flags=1),
        Walk("d1", steps[8:9], flags=2), Walk("d1", steps[9:], flags=7), Walk("d2", [(BEGIN_MS, -500, 0)]),
    )  # fmt: skip
    ask(cloud, ledger, "robot.coverage", BEGIN_MS + HOUR_MS)
    counts = pose_counts(cloud.engine, cloud.facts.patrol_history(ledger), range(2**40), BEGIN_MS + HOUR_MS)

    assert counts["d1"] == {"counted": 4, "unknown map:B9": 2, "not automatic": 2, "not localized": 1, "charging": 1}
    assert counts["d2"] == {"outside every zone": 1}
    cloud.engine.dispose()


def test_checkpoints_by_place_and_by_node_and_weights(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    points = [
        point("near", "all", 20, 15, ", weight: 3"),
        point("far", "all", 5, 25),
        point("slow", "all", 20, 15, ", dwell_s: 600, weight: 2"),
        f"  - {{id: dock, {NAME}, zone: all, node: n7, weight: 4}}",
        f"  - {{id: gate, {NAME}, zone: all, node: n8}}",
    ]
    ledger = cloud.ledger(patrol_text(points=points))
    tell_walks(cloud, Walk("d1", straight(BEGIN_MS + HOUR_MS, 30, (15_000, 15_000), (300, 0))))
    cloud.tell([Told(9, BEGIN_MS, BEGIN_MS + DAY_MS, nodes=(("d2", BEGIN_MS + 2 * HOUR_MS, "n7"),))])
    result = ask(cloud, ledger, "robot.checkpoint_coverage", BEGIN_MS + 6 * HOUR_MS)

    assert (result.numerator, result.denominator) == (3 + 4, 3 + 1 + 2 + 4 + 1)
    cloud.engine.dispose()


def test_the_time_of_robots_by_cause_sums_to_the_required_time(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    ledger = cloud.ledger(patrol_text(zone_more=', required_hours: ["00:00-06:00"], robots: [r1]'))
    states: list[dict[str, float]] = [
        {"driving": 1, "order_active": 1}, {"charging": 1}, {"paused": 1}, {"mode": Mode.MANUAL}, {}, {"estop": 1},
        {"connection": Connection.OFFLINE},
    ]  # fmt: skip
    half = 30 * MINUTE_MS
    entries = []
    for place, values in enumerate(states):
        begin_ms = BEGIN_MS + place * half
        entries += robot_entries("d1", begin_ms, begin_ms + half - 1, **values)
    cloud.tell([Told(1, BEGIN_MS, BEGIN_MS + 6 * HOUR_MS, entries=tuple(entries), records=robot_inventory("d1", "d2"))])
    result = ask(cloud, ledger, "robot.utilisation", BEGIN_MS + 6 * HOUR_MS)
    causes = {name: int(took or 0) for name, took in result.details.items() if not name.startswith("calendar")}

    assert sum(causes.values()) == result.denominator == 2 * 6 * HOUR_MS
    assert result.numerator == half
    for name in ("charging", "paused", "manual", "idle"):
        assert causes[f"{name}_ms"] == half
    assert causes["fault_ms"] > half  # silence and being switched off in fault are fault
    assert causes["offline_ms"] == 0
    assert result.high is not None
    assert result.high > (result.value or 0)
    cloud.engine.dispose()


ZONES = [
    zone("west", (0, 0, 20, 30), ", robots: [r1], rounds: ['01:00', '02:00', '03:00']"),
    zone("east", (20, 0, 40, 30), ", robots: [r1, r2], min_agents: 2, max_interval_min: 60"),
    zone("alone", (0, 0, 10, 30)),
    zone("store", (30, 0, 40, 30), ", requires_patrol: false"),
]


def in_east(device: str, *minutes: int) -> Walk:
    return Walk(device, [(BEGIN_MS + minute * MINUTE_MS, 25_000, 15_000) for minute in minutes])


def test_rounds_may_be_early_or_late_and_are_served_once(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    ledger = cloud.ledger(ledger_text(FLOOR, ROBOTS, "zones:", ZONES[0]))
    minutes = (50, 70, 140)  # both of the first serve 01:00, of which one is enough; 02:20 is too late for 02:00
    tell_walks(cloud, Walk("d1", [(BEGIN_MS + minute * MINUTE_MS, 5_000, 5_000) for minute in minutes]))
    result = ask(cloud, ledger, "robot.slot_punctuality", BEGIN_MS + 3 * HOUR_MS)  # 03:00 is not over

    assert (result.numerator, result.denominator) == (1, 2)
    cloud.engine.dispose()


def test_two_agents_are_two_distinct_robots_within_the_slot(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    ledger = cloud.ledger(ledger_text(FLOOR, ROBOTS, "zones:", *ZONES[:2]))
    tell_walks(cloud, in_east("d1", 5, 10, 65, 130), in_east("d2", 50, 170, 175))
    result = ask(cloud, ledger, "robot.two_agent_coverage", BEGIN_MS + 4 * HOUR_MS + 1)

    assert (result.numerator, result.denominator) == (2, 4)  # the hours 0 and 2; in hour 1 there was one, in 3 none
    cloud.engine.dispose()


def test_a_zone_is_served_when_enough_of_its_robots_are_in_service(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    ledger = cloud.ledger(ledger_text(FLOOR, ROBOTS, "zones:", *ZONES))
    entries = robot_entries("d1", BEGIN_MS, BEGIN_MS + 4 * HOUR_MS)
    entries += robot_entries("d2", BEGIN_MS, BEGIN_MS + 3 * HOUR_MS)  # 75 % and the time it is held
    cloud.tell([Told(1, BEGIN_MS, BEGIN_MS + 4 * HOUR_MS, entries=tuple(entries), records=robot_inventory("d1", "d2"))])
    by_area = ask(cloud, ledger, "robot.deployment", BEGIN_MS + 4 * HOUR_MS)
    by_count = ask(cloud, ledger, "robot.deployment_zones", BEGIN_MS + 4 * HOUR_MS)

    assert (by_area.numerator, by_area.denominator) == (600 * 100, (600 + 600 + 300) * 100)
    assert (by_count.numerator, by_count.denominator) == (1, 3)
    assert by_count.high == Fraction(2, 3)  # the second robot may have been there in the last hour
    cloud.engine.dispose()


def test_robots_enter_the_intact_rate(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    ledger = cloud.ledger(ledger_text(FLOOR, ROBOTS, "zones:", ZONES[2]))
    entries = robot_entries("d1", BEGIN_MS, BEGIN_MS + HOUR_MS - 1)
    entries += robot_entries("d1", BEGIN_MS + HOUR_MS, BEGIN_MS + 2 * HOUR_MS, estop=1.0)
    cloud.tell([Told(1, BEGIN_MS, BEGIN_MS + 2 * HOUR_MS, entries=tuple(entries), records=robot_inventory("d1"))])
    result = ask(cloud, ledger, "equipment.intact_rate", BEGIN_MS + 2 * HOUR_MS)

    assert (result.numerator, result.denominator) == (HOUR_MS, 2 * HOUR_MS)
    cloud.engine.dispose()


def test_a_site_that_nothing_was_heard_of_has_no_numbers(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    ledger = cloud.ledger(ledger_text(FLOOR, ROBOTS, "zones:", *ZONES))

    assert all(ask(cloud, ledger, name, BEGIN_MS + DAY_MS).value is None for name in RESULTS)
    cloud.engine.dispose()


def test_positions_on_earth_count_on_their_floor_unless_they_are_too_inaccurate(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    origin, about = (31.30417, 120.71236), (31.3, 120.7)
    yard = f"floors: [{{id: yard, {NAME}, map: YARD, width_m: 40.0, height_m: 30.0, cell_m: 1.0, "
    yard += f"gps: {{lat: {origin[0]}, lon: {origin[1]}, rotation: 30, accuracy_m: 2}}}}]"
    ledger = cloud.ledger(ledger_text(yard, ROBOTS, "zones:", zone("all", (0, 0, 40, 30)).replace("b1", "yard")))
    gps = ledger.floors[0].gps
    assert gps is not None
    steps = []
    for second in range(20):
        lat, lon = degrees_of(gps, 10.0 + second, 15.0)
        x_m, y_m = to_plane(lat, lon, about)
        steps.append((BEGIN_MS + 1000 * second, round(float(x_m) * 1000), round(float(y_m) * 1000)))
    good, bad = 3 | accuracy_bits(0.9), 3 | accuracy_bits(3.5)
    name = gps_map(*origin)
    beyond = [(BEGIN_MS + 60_000, steps[0][1] - 90_000, steps[0][2])]
    tell_walks(
        cloud, Walk("d1", steps[:15], map_id=name, flags=good), Walk("d1", steps[15:18], map_id=name, flags=bad),
        Walk("d1", steps[18:], map_id=name), Walk("d1", beyond, map_id=name, flags=good),
    )  # fmt: skip
    result = ask(cloud, ledger, "robot.coverage", BEGIN_MS + HOUR_MS)
    counts = pose_counts(cloud.engine, cloud.facts.patrol_history(ledger), range(2**40), BEGIN_MS + HOUR_MS)
    straight_drive = shapely.LineString([(10, 15), (24, 15)]).buffer(3.0, quad_segs=64).area

    shown = place_on_floors(ledger.floors, name, *steps[0][1:])
    assert shown is not None
    assert shown[1:] == pytest.approx((10.0, 15.0), abs=0.002)
    assert counts["d1"] == {"counted": 15, "too inaccurate": 5, f"unknown map:{name}": 1}
    assert abs(result.numerator - 4 * straight_drive) <= 4 * 6  # cells of 1 m2, told in quarters
    assert (result.denominator, ledger.floors[0].map) == (4 * 1200, "YARD")
    cloud.engine.dispose()
