"""Equipment and parking numbers from frames, and their explanations: each is worked out again by hand."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from cloud.facts.database import writing
from cloud.facts.inputs import enter
from cloud.facts.ledger import Ledger
from cloud.facts.ledgers import import_ledger
from cloud.indicators.catalogue import DEFINITIONS, POOLED
from cloud.indicators.definition import UnknownGrouping, Verdict, Window
from cloud.indicators.explain import explain
from cloud.indicators.guidance import full_since, guidance
from cloud.indicators.policy import POLICY_KIND
from cloud.indicators.registry import compute_groups, compute_indicator, compute_site_indicators
from tests.cloud.told import SENSOR, SITE, Cloud, Entry, Told, inventory, ledger_text, new_cloud

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
LEDGER = ledger_text("""floors:
  - {id: b1, name: {en: B1, zh-CN: B1}, map: B1, width_m: 96.0, height_m: 60.0}
equipment:
  - {id: lift-1, name: {en: L, zh-CN: L}, code: L1, class: lift, criticality: A, device: lift-1, floor: b1}
  - {id: pump-1, name: {en: P, zh-CN: P}, code: P1, class: pump, criticality: B, device: pump-1, floor: b1}
  - {id: pump-2, name: {en: P, zh-CN: P}, code: P2, class: pump, criticality: C, device: pump-2}
parking:
  - {id: cars, name: {en: C, zh-CN: C}, floor: b1, vehicle: car}
  - {id: bikes, name: {en: B, zh-CN: B}, floor: b1, vehicle: bicycle}
spaces:
  - {id: c1, group: cars, device: p-1, rect: [0, 0, 2, 5]}
  - {id: c2, group: cars, device: p-2, rect: [3, 0, 2, 5]}
  - {id: c3, group: cars, rect: [6, 0, 2, 5], state: closed}
  - {id: b1, group: bikes, device: p-3, rect: [9, 0, 2, 5]}
""")
DAY = (10 * DAY_MS, 11 * DAY_MS)
NOW_MS = 11 * DAY_MS + HOUR_MS


def at(hour: float) -> int:
    return DAY[0] + round(hour * HOUR_MS)


def story() -> list[Told]:
    """A lift that fails twice, a pump that fails overnight, one that is never heard; three bays, one silent."""
    machines = inventory(["lift-1", "pump-1"], at(-2))
    bays = inventory(["p-1", "p-2"], at(-2), text=SENSOR, hold_s=3600)
    alarms = [
        ("lift-1", -2, 0), ("pump-1", -2, 0), ("lift-1", 6, 1), ("lift-1", 9, 0), ("lift-1", 9 + 3 / 60, 1),
        ("lift-1", 10, 0), ("lift-1", 15, 1), ("lift-1", 16, 0), ("pump-1", -1, 1), ("pump-1", 0.5, 0),
    ]  # fmt: skip
    frames = [Told(1, at(-2), at(-2) + 1, records=(*machines, *bays))]
    changes = [Entry(device, "alarm", at(hour), value) for device, hour, value in alarms]
    parked = [
        ("p-1", -2, 0),
        ("p-1", 8, 1),
        ("p-1", 12, 0),
        ("p-1", 13, 1),
        ("p-1", 15, 0),
        ("p-2", -2, 0),
        ("p-2", 20, 1),
    ]
    changes += [Entry(device, "occupied", at(hour), value) for device, hour, value in parked]
    # spaces push: each is confirmed every half hour by what it last said
    for device in ("p-1", "p-2"):
        said = sorted((hour, value) for name, hour, value in parked if name == device)
        for half in range(-4, 50):
            hour = half / 2
            value = [value for since, value in said if since <= hour][-1]
            changes.append(Entry(device, "occupied", at(hour) + 1, value))
    changes.sort(key=lambda one: one.changed_ms)
    frames.append(Told(2, at(-2) + 1, NOW_MS, entries=tuple(changes), hold_s=3600))
    return frames


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    one = new_cloud(Path(tmp_path_factory.mktemp("numbers")))
    one.ledger(LEDGER)
    one.tell(story())
    yield one
    one.engine.dispose()


@pytest.fixture(scope="module")
def ledger(cloud: Cloud) -> Ledger:
    found = cloud.facts.ledger(SITE)
    assert found is not None
    return found


def by_hand(answer: dict[str, Any]) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    """Value, low, high and coverage from the intervals of an explanation."""
    times = {"up": 0, "down": 0, "unknown": 0}
    for thing in answer["things"]:
        for begin, end, _, counts in thing["intervals"]:
            if counts in times:
                times[counts] += (end - begin) * thing["weight"]
    up, down, unknown = times.values()
    whole = up + down + unknown
    return Fraction(up, up + down), Fraction(up, whole), Fraction(up + unknown, whole), Fraction(up + down, whole)


def test_the_intact_rate_is_worked_out_again_from_its_explanation(cloud: Cloud, ledger: Ledger) -> None:
    answer = explain(cloud.facts, ledger, "equipment.intact_rate", DAY, NOW_MS)
    result = compute_indicator(cloud.facts, ledger, "equipment.intact_rate", DAY, NOW_MS)

    assert by_hand(answer) == (result.value, result.low, result.high, result.coverage)
    assert by_hand(answer)[0] == Fraction(48 * 60 - (180 + 57 + 60 + 30), 48 * 60)  # minutes of two machines
    [lift, pump, silent] = answer["things"]
    assert (lift["id"], pump["id"], silent["ms"]["unknown"]) == ("lift-1", "pump-1", 24 * HOUR_MS)
    assert [(one["first_seq"], one["last_seq"]) for one in lift["frames"]] == [(2, 2)]
    assert answer["terms"]["target"]["origin"] == "pack"


def test_failures_close_together_are_one_and_a_failure_counts_where_it_begins(cloud: Cloud, ledger: Ledger) -> None:
    [mtbf, mttr, rate] = (
        compute_indicator(cloud.facts, ledger, f"equipment.{one}", DAY, NOW_MS)
        for one in ("mtbf", "mttr", "failure_rate")
    )

    assert mtbf.parts["failures"] == 2  # 06:00 to 10:00 with 3 min between, 15:00; the pump's was before
    assert mtbf.value == Fraction(mtbf.parts["up"], 2)
    # 4 h, 1 h and 1.5 h; the pump failed an hour before the window
    assert (mttr.value, mttr.denominator) == (Fraction(int(6.5 * HOUR_MS), 3), 3)
    assert rate.value == Fraction(2 * 100 * 720 * HOUR_MS, mtbf.parts["up"])
    assert mtbf.low == Fraction(mtbf.parts["up"], 3)  # the pump that was never heard may have failed once


def test_no_failure_is_null_and_says_more_than(cloud: Cloud, ledger: Ledger) -> None:
    quiet = compute_indicator(cloud.facts, ledger, "equipment.mtbf", (at(17), at(20)), NOW_MS)

    assert quiet.value is None
    assert quiet.details["more_than_ms"] == 6 * HOUR_MS


def test_an_intact_day_has_at_most_an_hour_down(cloud: Cloud, ledger: Ledger) -> None:
    days = compute_indicator(cloud.facts, ledger, "equipment.intact_days", DAY, NOW_MS)

    assert days.parts == {"intact": 1, "down": 1, "unknown": 1, "excluded": 0}  # pump-1: 30 min; lift-1: 5 h
    assert (days.value, days.low, days.high) == (Fraction(1, 2), Fraction(1, 3), Fraction(2, 3))


def test_a_snapshot_counts_equipment_at_the_end_of_its_window(cloud: Cloud, ledger: Ledger) -> None:
    broken = compute_indicator(cloud.facts, ledger, "equipment.intact_rate_snapshot", (at(0), at(7)), NOW_MS)
    whole = compute_indicator(cloud.facts, ledger, "equipment.intact_rate_snapshot", (at(0), at(12)), NOW_MS)

    assert broken.parts == {"intact": 1, "down": 1, "unknown": 1, "excluded": 0}
    assert (whole.value, whole.low) == (Fraction(1), Fraction(2, 3))


@pytest.mark.parametrize("by", ["class", "criticality", "floor", "equipment", "building"])
def test_groups_add_up_to_the_site(cloud: Cloud, ledger: Ledger, by: str) -> None:
    groups = compute_groups(cloud.facts, ledger, "equipment.intact_rate", DAY, NOW_MS, by=by)
    site = compute_indicator(cloud.facts, ledger, "equipment.intact_rate", DAY, NOW_MS)
    together = POOLED["equipment.intact_rate"].together(groups, Window(*DAY), NOW_MS)

    assert all(one.group is not None and one.group[0] == by for one in groups)
    assert (together.value, together.low, together.high) == (site.value, site.low, site.high)


def test_robots_and_what_an_older_ledger_had_have_their_groups_too(tmp_path: Path) -> None:
    one = new_cloud(tmp_path)
    one.ledger(LEDGER)
    one.tell(story())
    robots = "robots:\n  - {id: r1, name: {en: R, zh-CN: R}, device: r1}"
    kept = "\n".join(line for line in LEDGER.splitlines() if "lift-1" not in line) + "\n" + robots
    ledger = import_ledger(one.engine, kept, "ledger.yaml", actor="test", now_ms=at(12))
    window = (at(0) - DAY_MS, at(24))
    groups = compute_groups(one.facts, ledger, "equipment.intact_rate", window, NOW_MS, by="class")
    site = compute_indicator(one.facts, ledger, "equipment.intact_rate", window, NOW_MS)
    together = POOLED["equipment.intact_rate"].together(groups, Window(*window), NOW_MS)

    assert {group.group[1] for group in groups if group.group} >= {"lift", "pump", "patrol-robot"}
    assert together.parts == site.parts
    one.engine.dispose()


def test_pooling_is_the_ratio_of_sums_and_not_the_mean(cloud: Cloud, ledger: Ledger) -> None:
    groups = compute_groups(cloud.facts, ledger, "equipment.intact_rate", DAY, NOW_MS, by="class")
    together = POOLED["equipment.intact_rate"].together(groups, Window(*DAY), NOW_MS)
    values = [one.value for one in groups if one.value is not None]

    assert together.value == Fraction(sum(one.numerator for one in groups), sum(one.denominator for one in groups))
    assert together.value == sum(values) / len(values)  # here every class was known for as long
    assert together.parts["unknown"] == 24 * HOUR_MS


def test_what_cannot_be_grouped_says_so(cloud: Cloud, ledger: Ledger) -> None:
    with pytest.raises(UnknownGrouping):
        compute_groups(cloud.facts, ledger, "equipment.intact_rate", DAY, NOW_MS, by="vehicle")


def test_weights_are_a_policy(tmp_path: Path) -> None:
    one = new_cloud(tmp_path)
    ledger = one.ledger(LEDGER)
    one.tell(story())
    with writing(one.engine) as connection:
        enter(
            connection, SITE, POLICY_KIND, "policy", '{"id": "abc", "weights": {"A": 3, "B": 2, "C": 1}}', actor="li",
            reason="x", recorded_ms=0, valid_from_ms=0,
        )  # fmt: skip
    answer = explain(one.facts, ledger, "equipment.intact_rate", DAY, NOW_MS)
    result = compute_indicator(one.facts, ledger, "equipment.intact_rate", DAY, NOW_MS)

    assert [thing["weight"] for thing in answer["things"]] == [3, 2, 1]
    assert by_hand(answer)[0] == result.value
    assert result.policy_version.startswith("abc@")
    one.engine.dispose()


def test_parking_over_a_day(cloud: Cloud, ledger: Ledger) -> None:
    found = {
        name: compute_indicator(cloud.facts, ledger, f"parking.{name}", DAY, NOW_MS)
        for name in ("occupancy", "turnover", "dwell", "load", "peak")
    }
    cars = compute_groups(cloud.facts, ledger, "parking.turnover", DAY, NOW_MS, by="vehicle")

    # p-1: 4 h and 2 h; p-2: 4 h to midnight and on; p-3 is never heard; c3 is closed
    assert (found["occupancy"].numerator, found["occupancy"].denominator) == (10 * HOUR_MS, 48 * HOUR_MS)
    assert (found["occupancy"].low, found["occupancy"].high) == (Fraction(10, 72), Fraction(34, 72))
    assert found["load"].value == Fraction(10, 72)
    assert found["turnover"].value == Fraction(3, 3)
    assert {one.group: one.value for one in cars} == {("vehicle", "bicycle"): 0, ("vehicle", "car"): Fraction(3, 2)}
    # the session that is open at the end of the window is load, not dwell
    assert found["dwell"].value == Fraction(6 * HOUR_MS, 2)
    assert found["dwell"].details == {"median_ms": 2 * HOUR_MS, "p90_ms": 4 * HOUR_MS}
    assert found["peak"].value == Fraction(1, 2)
    assert found["peak"].details["at"] == "1970-01-11T08:00:00.000Z"


def test_parking_now_and_its_silent_sensors(cloud: Cloud, ledger: Ledger) -> None:
    live = compute_indicator(cloud.facts, ledger, "parking.occupancy", "now", NOW_MS)
    silent = compute_indicator(cloud.facts, ledger, "parking.sensors_silent", "now", NOW_MS)

    assert (live.numerator, live.denominator, live.unit) == (1, 2, "spaces")
    assert (live.low, live.high) == (Fraction(1, 3), Fraction(2, 3))
    assert silent.value == Fraction(1, 3)


def test_a_sign_says_full_with_hysteresis(cloud: Cloud, ledger: Ledger) -> None:
    assert full_since([0, 1, 2, 3], [2, 0, 1, 2]) == (False, 3)
    assert full_since([0, 1, 2], [2, 0, 1]) == (True, 1)
    assert full_since([0], [0]) == (True, None)
    [cars, bikes] = guidance(cloud.facts, ledger, NOW_MS)
    assert (cars.total, cars.free, cars.unknown, cars.is_full) == (2, 1, 0, False)
    assert (bikes.free, bikes.unknown) == (0, 1)


def test_the_ledger_is_covered_by_what_was_heard(cloud: Cloud, ledger: Ledger) -> None:
    found = compute_indicator(cloud.facts, ledger, "ledger.coverage", DAY, NOW_MS)

    assert (found.numerator, found.denominator) == (4, 6)  # not pump-2, not p-3; c3 is closed


def test_data_coverage_pools_the_known_time_of_all_things(cloud: Cloud, ledger: Ledger) -> None:
    found = compute_indicator(cloud.facts, ledger, "data.coverage", DAY, NOW_MS)

    assert found.value == Fraction(2 * 24 + 2 * 24, 3 * 24 + 3 * 24)  # two of three machines, two of three spaces
    assert (found.low, found.high, found.coverage) == (found.value,) * 3


@pytest.mark.parametrize("window", ["now", "24h", "today", "month", (NOW_MS + 1000, NOW_MS + 5000), (0, 1)])
def test_every_indicator_answers_over_every_window_and_lies_between_its_bounds(
    cloud: Cloud, ledger: Ledger, window: str | tuple[int, int]
) -> None:
    found = compute_site_indicators(cloud.facts, ledger, window, NOW_MS)
    beyond = [
        one.id
        for one in found
        if one.value is not None and not (one.low or 0) <= one.value <= (one.value if one.high is None else one.high)
    ]

    assert {one.id for one in found} == set(DEFINITIONS)
    assert beyond == []


def test_verdicts_fall_on_the_unfavourable_bound(cloud: Cloud, ledger: Ledger) -> None:
    found = compute_indicator(cloud.facts, ledger, "equipment.intact_rate", DAY, NOW_MS)

    assert (found.verdict, found.target) == (Verdict.FAIL, Fraction(98, 100))
