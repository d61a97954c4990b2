"""Test vectors of domain.md, as exact fractions."""

from fractions import Fraction

import numpy as np
import pytest

from cloud.facts.ledger_parking import Space
from cloud.facts.sessions import occupancy_at
from cloud.facts.timelines import EQUIPMENT_STATES, SILENT, SPACE_CODES, Timeline
from cloud.indicators.definition import Verdict, Window, judge
from cloud.indicators.equipment import Tally, equipment_timeline, intact_rate, tally
from cloud.indicators.parking import occupancy_result
from cloud.indicators.robots import PatrolDay, coverage_result, lost_ms
from devices.states import EquipmentState, SpaceState

HOUR_MS = 3_600_000
MONTH = Window(0, 720 * HOUR_MS)
EVER = (-(2**62), 2**62)
NOW_MS = MONTH.to_ms


def states(*pieces: tuple[EquipmentState, int]) -> Timeline:
    """State after state, each for so many hours, from the beginning of the month."""
    starts = np.cumsum([0, *(hours for _, hours in pieces)]) * HOUR_MS
    codes = np.array([EQUIPMENT_STATES.index(state) for state, _ in pieces], np.uint8)
    return Timeline(starts[:-1].astype(np.int64), codes, int(starts[-1]))


def the_month_of_the_vector() -> list[Tally]:
    """domain.md 1.3: 52 devices over 720 h."""
    up = EquipmentState.RUN
    devices: list[tuple[Timeline, tuple[int, int]]] = [(states((up, 720)), EVER)] * 48
    devices.append((states((up, 100), (EquipmentState.FAULT, 36), (up, 584)), EVER))
    devices.append((states((up, 24), (EquipmentState.PM, 24), (EquipmentState.UNKNOWN, 72), (up, 600)), EVER))
    devices.append((states((EquipmentState.FAULT, 360), (up, 360)), (360 * HOUR_MS, EVER[1])))
    devices.append((states((up, 100), (EquipmentState.FAULT, 12), (up, 608)), (EVER[0], 240 * HOUR_MS)))
    return [tally(equipment_timeline(device, life, MONTH)) for device, life in devices]


def test_the_intact_rate_of_the_vector_is_exact() -> None:
    result = intact_rate(the_month_of_the_vector(), MONTH, Fraction(98, 100), NOW_MS)

    assert (result.numerator, result.denominator) == (36456 * HOUR_MS, 36504 * HOUR_MS)
    assert result.value == Fraction(36456, 36504)
    assert result.low == Fraction(36456, 36576)
    assert result.high == Fraction(36528, 36576)
    assert result.coverage == Fraction(36504, 36576)
    assert result.verdict is Verdict.PASS
    assert not result.final


def test_a_result_is_final_72_hours_after_its_window() -> None:
    late = intact_rate(the_month_of_the_vector(), MONTH, None, MONTH.to_ms + 72 * HOUR_MS)

    assert late.final
    assert late.verdict is None


def test_no_data_is_null_and_not_a_hundred_percent() -> None:
    result = intact_rate([tally(equipment_timeline(None, EVER, MONTH))], MONTH, Fraction(98, 100), NOW_MS)

    assert result.value is None
    assert result.low == 0
    assert result.high == 1
    assert result.coverage == 0
    assert result.verdict is Verdict.INDETERMINATE


def test_nothing_counted_has_no_bounds_either() -> None:
    result = intact_rate([], MONTH, Fraction(98, 100), NOW_MS)

    assert (result.value, result.low, result.high, result.coverage) == (None, None, None, None)
    assert result.verdict is Verdict.INDETERMINATE


def test_the_verdict_falls_on_the_unfavourable_bound() -> None:
    target = Fraction(98, 100)

    assert judge(Fraction(98, 100), Fraction(1), target) is Verdict.PASS
    assert judge(Fraction(97, 100), Fraction(98, 100), target) is Verdict.INDETERMINATE
    assert judge(Fraction(90, 100), Fraction(97999, 100_000), target) is Verdict.FAIL


def parking_of_the_vector() -> tuple[list[Space], dict[str, Timeline]]:
    """domain.md 4: 100 spaces, 2 closed, 5 unknown, 61 occupied."""
    wanted = [SpaceState.OCCUPIED] * 61 + [SpaceState.UNKNOWN] * 5 + [SpaceState.FREE] * 34
    rect = (0.0, 0.0, 2.5, 5.0)
    spaces = [
        Space(id=f"s-{number}", group="g", device=f"d-{number}", rect=rect, state="closed" if number >= 98 else None)
        for number in range(100)
    ]
    devices = {
        f"d-{number}": Timeline(np.array([0], np.int64), np.array([SPACE_CODES[state]], np.uint8), 1000)
        for number, state in enumerate(wanted)
    }
    return spaces, devices


def test_the_occupancy_of_the_vector_is_exact() -> None:
    result = occupancy_result(occupancy_at(*parking_of_the_vector(), 500), Window(500, 500), None, 500)

    assert result.value == Fraction(61, 93)
    assert round(float(result.value), 4) == 0.6559
    assert result.low == Fraction(61, 98)
    assert result.high == Fraction(66, 98)
    assert result.coverage == Fraction(93, 98)
    assert (result.numerator, result.denominator, result.unit) == (61, 93, "spaces")


def day(covered: int, *, lost_h: int = 0, required_h: int = 24, cells: int = 100) -> PatrolDay:
    return PatrolDay(covered, cells, required_h * HOUR_MS, required_h * HOUR_MS, lost_h * HOUR_MS)


def test_coverage_weighs_days_by_their_required_hours() -> None:
    result = coverage_result([day(80), day(20, required_h=8)], MONTH, Fraction(60, 100), NOW_MS)

    assert result.value == Fraction(80 * 24 + 20 * 8, 100 * 32)
    assert Fraction(result.numerator, result.denominator) == result.value
    assert result.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("days", "numbers"),
    [
        ([(50, 100, 24)], (50, 100, "cells")),
        ([(50, 100, 24), (50, 100, 24)], (100 * 24 * HOUR_MS, 200 * 24 * HOUR_MS, "cell_ms")),
        ([(50, 100, 24), (25, 100, 8)], ((1200 + 200) * HOUR_MS, 3200 * HOUR_MS, "cell_ms")),
        ([(50, 100, 24), (30, 150, 24)], ((150 + 60) * 24 * HOUR_MS, 300 * 48 * HOUR_MS, "cell_ms")),
    ],
)
def test_the_integers_of_coverage_keep_their_unit_whatever_they_have_in_common(
    days: list[tuple[int, int, int]], numbers: tuple[int, int, str]
) -> None:
    told = [day(covered, cells=cells, required_h=required_h) for covered, cells, required_h in days]
    result = coverage_result(told, MONTH, None, NOW_MS)

    assert (result.numerator, result.denominator, result.unit) == numbers
    assert Fraction(result.numerator, result.denominator) == result.value


def test_coverage_with_lost_robots_is_bounded_by_the_days_without() -> None:
    result = coverage_result([day(70), day(30, lost_h=12)], MONTH, Fraction(60, 100), NOW_MS)

    assert result.value == result.low == Fraction(1, 2)
    assert result.high == Fraction(7, 10)
    assert result.coverage == Fraction(36, 48)
    assert result.verdict is Verdict.INDETERMINATE


def test_coverage_of_days_that_all_lost_their_robots_is_indeterminate() -> None:
    result = coverage_result([day(70, lost_h=3)], MONTH, Fraction(60, 100), NOW_MS)

    assert result.value == Fraction(7, 10)
    assert result.high is None
    assert result.verdict is Verdict.INDETERMINATE


def test_coverage_without_zones_is_null() -> None:
    result = coverage_result([day(0, cells=0)], MONTH, Fraction(60, 100), NOW_MS)

    assert result.value is None
    assert (result.numerator, result.denominator) == (0, 0)


def test_a_robot_that_went_silent_while_faulty_is_lost_time() -> None:
    fault, run = EQUIPMENT_STATES.index(EquipmentState.FAULT), EQUIPMENT_STATES.index(EquipmentState.RUN)
    robot = Timeline(np.array([0, 10, 20], np.int64), np.array([run, fault, fault | SILENT], np.uint8), 50)

    assert lost_ms(robot, [(0, 50)]) == 30
    assert lost_ms(None, [(0, 50)]) == 50
