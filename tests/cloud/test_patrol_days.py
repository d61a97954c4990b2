"""Patrol over days and floors that are not alike: other grids, points that come and go, dwell times that change."""

from fractions import Fraction
from pathlib import Path

import pytest

from cloud.facts.ledgers import import_ledger
from tests.cloud.patrols import (
    BEGIN_MS,
    DAY_MS,
    FLOOR,
    HOUR_MS,
    MINUTE_MS,
    NAME,
    ROBOTS,
    ask,
    ledger_of,
    patrol_text,
    point,
    robot_entries,
    robot_inventory,
    straight,
    tell_walks,
    zone,
)
from tests.cloud.told import Cloud, Told, Walk, ledger_text, new_cloud

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


def daily(cloud: Cloud, days: int, *drives: tuple[str, int, range]) -> None:
    """Each day a drive of each (device, x in mm at which it stands for 20 s at 01:00, days on which it does)."""
    for day in range(days):
        begin_ms = BEGIN_MS + day * DAY_MS
        walks = tuple(
            Walk(device, straight(begin_ms + HOUR_MS, 20, (x_mm, 15_000), (0, 0)))
            for device, x_mm, on in drives
            if day in on
        )
        cloud.tell([Told(day + 1, begin_ms, begin_ms + DAY_MS, walks=walks)])


def counted(cloud: Cloud, name: str, first: int, last: int) -> tuple[int, int]:
    """Numerator and denominator over days [first, last)."""
    found = ask(cloud, ledger_of(cloud), name, BEGIN_MS + last * DAY_MS, BEGIN_MS + first * DAY_MS)
    return found.numerator, found.denominator


@pytest.mark.parametrize(("before", "after", "visited"), [(0, 600, 3), (600, 0, 1)])
@pytest.mark.parametrize("name", ["robot.checkpoint_coverage", "robot.slot_punctuality", "robot.timeliness"])
def test_a_new_dwell_time_judges_no_day_before_it(
    tmp_path: Path, name: str, before: int, after: int, visited: int
) -> None:
    def text(dwell_s: int) -> str:
        more = ', max_interval_min: 60, rounds: ["01:00"]'
        return patrol_text(points=[point("c1", "all", 15, 15, f", dwell_s: {dwell_s}")], zone_more=more)

    cloud = new_cloud(tmp_path)
    cloud.ledger(text(before))
    daily(cloud, 4, ("d1", 15_000, range(4)))
    first_days = counted(cloud, name, 0, 3)
    import_ledger(cloud.engine, text(after), "l", actor="t", now_ms=BEGIN_MS + 3 * DAY_MS + 1)
    days = [counted(cloud, name, day, day + 1) for day in range(4)]

    assert counted(cloud, name, 0, 3) == first_days
    assert counted(cloud, name, 0, 4) == (sum(day[0] for day in days), sum(day[1] for day in days))
    if name != "robot.timeliness":
        assert counted(cloud, name, 0, 4) == (visited, 4)
    cloud.engine.dispose()


def test_a_point_is_as_old_as_it_is_and_does_not_age_when_it_is_gone(tmp_path: Path) -> None:
    """Visited each day at 01:00: the first day has waited an hour, others a day less 19 s; as windows and as days."""
    one, two = point("c1", "all", 15, 15), point("c2", "all", 25, 15)
    texts = {name: patrol_text(points=points, zone_more=", max_interval_min: 120")
             for name, points in (("one", [one]), ("two", [one, two]))}  # fmt: skip
    there = {"removed": range(3), "added": range(3, 6)}
    for case, (first, second) in {"removed": ("two", "one"), "added": ("one", "two")}.items():
        folder = tmp_path / case
        folder.mkdir()
        cloud = new_cloud(folder)
        cloud.ledger(texts[first])
        daily(cloud, 6, ("d1", 15_000, range(6)), ("d2", 25_000, there[case]))
        import_ledger(cloud.engine, texts[second], "l", actor="t", now_ms=BEGIN_MS + 3 * DAY_MS + 1)
        ages = [counted(cloud, "robot.idleness_max", day, day + 1)[0] for day in range(6)]
        timely = [counted(cloud, "robot.timeliness", day, day + 1) for day in range(6)]

        assert counted(cloud, "robot.idleness_max", 0, 6)[0] == max(ages) == DAY_MS - 19_000, case
        assert counted(cloud, "robot.timeliness", 0, 6) == tuple(map(sum, zip(*timely, strict=True))), case
        cloud.engine.dispose()


def test_a_point_that_came_again_begins_anew(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    texts = [patrol_text(points=[point(name, "all", 15, 15)]) for name in ("old", "other", "old")]
    cloud.ledger(texts[0])
    daily(cloud, 6, ("d1", 15_000, range(1)), ("d2", 35_000, range(6)))
    for day, text in ((2, texts[1]), (4, texts[2])):
        import_ledger(cloud.engine, text, "l", actor="t", now_ms=BEGIN_MS + day * DAY_MS + 1)

    # two days each: from the visit at 01:00 to the end of day 1, and whole lives without a visit
    assert counted(cloud, "robot.idleness_max", 0, 2)[0] == 2 * DAY_MS - HOUR_MS - 19_000
    assert [counted(cloud, "robot.idleness_max", *days)[0] for days in ((2, 4), (4, 6), (5, 6), (0, 6))] == [
        2 * DAY_MS
    ] * 4
    cloud.engine.dispose()


NODES = patrol_text(points=[f"  - {{id: c1, {NAME}, zone: all, node: n1}}"],
                    zone_more=', rounds: ["01:00", "02:00", "03:00"]')  # fmt: skip


def named(seq: int, *nodes: tuple[int, str]) -> Told:
    """Nodes that a robot named at full hours."""
    return Told(
        seq, BEGIN_MS, BEGIN_MS + DAY_MS, nodes=tuple(("d1", BEGIN_MS + hour * HOUR_MS, one) for hour, one in nodes)
    )


def test_the_same_node_named_again_hours_later_is_one_visit(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    cloud.ledger(NODES)
    cloud.tell([named(1, (1, "n1"), (2, "n1"), (3, "n1"))])

    assert counted(cloud, "robot.slot_punctuality", 0, 1) == (1, 3)
    cloud.engine.dispose()


def test_a_node_that_is_told_late_makes_the_next_one_another_visit(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    cloud.ledger(NODES)
    cloud.tell([named(1, (1, "n1"), (3, "n1"))])
    before = counted(cloud, "robot.slot_punctuality", 0, 1)
    cloud.tell([named(2, (2, "n2"))])

    assert (before, counted(cloud, "robot.slot_punctuality", 0, 1)) == ((1, 3), (2, 3))
    cloud.engine.dispose()


def test_deployment_is_null_before_the_first_required_hour(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    zones = [zone("early", (0, 0, 20, 30), ', required_hours: ["08:00-10:00"], robots: [r1]'),
             zone("late", (20, 0, 40, 30), ', required_hours: ["20:00-22:00"], robots: [r1]')]  # fmt: skip
    ledger = cloud.ledger(ledger_text(FLOOR, ROBOTS, "zones:", *zones))
    entries = tuple(robot_entries("d1", BEGIN_MS, BEGIN_MS + 9 * HOUR_MS))
    cloud.tell([Told(1, BEGIN_MS, BEGIN_MS + 9 * HOUR_MS, entries=entries, records=robot_inventory("d1", "d2"))])
    found = {
        (name, hour): ask(cloud, ledger, name, BEGIN_MS + hour * HOUR_MS)
        for name in ("robot.deployment", "robot.deployment_zones")
        for hour in (7, 9)
    }

    assert {one.value for (_, hour), one in found.items() if hour == 7} == {None}
    assert {one.value for (_, hour), one in found.items() if hour == 9} == {Fraction(1)}
    assert found["robot.deployment_zones", 9].denominator == 1  # of the other zone nothing can be said yet
    cloud.engine.dispose()
