"""Counting barriers: what the balance says, and what it does not pretend to know."""

from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.counting import Balance, Barriers, Counters, count, last_empty_ms, set_known

GARAGE = Barriers(capacity=100, zone="Asia/Shanghai", empty_at=time(3), modulus=65_536)
SHANGHAI = ZoneInfo("Asia/Shanghai")


def at(hour: int, minute: int = 0, day: int = 5) -> int:
    return round(datetime(2026, 5, day, hour, minute, tzinfo=SHANGHAI).timestamp() * 1000)


def counted(*readings: Counters, barriers: Barriers = GARAGE) -> Balance:
    balance = None
    for read in readings:
        balance = count(balance, read, barriers)
    assert balance is not None
    return balance


def test_nothing_is_known_before_the_place_was_known_to_be_empty() -> None:
    assert counted(Counters(at(8), 10, 5), Counters(at(9), 30, 6)).occupied is None


def test_after_the_empty_time_passages_are_balanced_and_marked_as_an_estimate() -> None:
    balance = counted(Counters(at(2), 10, 5), Counters(at(3), 12, 9), Counters(at(9), 42, 19))

    assert (balance.occupied, balance.since_ms, balance.drift) == (20, at(3), 0)
    assert balance.is_estimate


def test_somebody_who_looked_sets_it() -> None:
    balance = set_known(counted(Counters(at(8), 10, 5)), 40, GARAGE)

    assert (balance.occupied, balance.is_estimate) == (40, False)
    assert count(balance, Counters(at(9), 11, 8), GARAGE).occupied == 38
    with pytest.raises(ValueError, match="101 of 100"):
        set_known(balance, 101, GARAGE)


def test_more_than_fits_and_less_than_none_are_cut_off_and_added_up() -> None:
    known = set_known(counted(Counters(at(8), 0, 0)), 99, GARAGE)
    full = count(known, Counters(at(9), 5, 0), GARAGE)
    empty = count(full, Counters(at(10), 5, 103), GARAGE)

    assert (full.occupied, full.drift) == (100, 4)
    assert (empty.occupied, empty.drift) == (0, 7)


def test_the_empty_time_of_every_day_takes_the_drift_away() -> None:
    known = set_known(counted(Counters(at(8), 0, 0)), 99, GARAGE)
    drifted = count(known, Counters(at(9), 50, 0), GARAGE)

    assert drifted.drift == 49
    assert count(drifted, Counters(at(4, day=6), 60, 20), GARAGE).drift == 0


def test_a_counter_goes_round() -> None:
    known = set_known(counted(Counters(at(8), 65_530, 65_535)), 10, GARAGE)

    assert count(known, Counters(at(9), 4, 1), GARAGE).occupied == 18


def test_a_counter_that_was_reset_says_nothing_of_what_passed() -> None:
    known = set_known(counted(Counters(at(8), 20_000, 19_990)), 10, GARAGE)
    after = count(known, Counters(at(9), 3, 19_992), GARAGE)

    assert (after.occupied, after.resets) == (8, 1)


def test_a_reading_that_is_not_later_changes_nothing() -> None:
    known = set_known(counted(Counters(at(8), 5, 5)), 10, GARAGE)

    assert count(known, Counters(at(8), 9, 5), GARAGE) == known
    assert count(known, Counters(at(7), 9, 5), GARAGE) == known


def test_the_empty_time_is_local() -> None:
    assert last_empty_ms(GARAGE, at(3)) == at(3)
    assert last_empty_ms(GARAGE, at(2, 59)) == at(3, day=4)
    assert last_empty_ms(Barriers(capacity=1), at(3)) is None


@given(st.lists(st.tuples(st.integers(1, 7_200_000), st.integers(0, 70_000), st.integers(0, 70_000)), max_size=40))
def test_the_estimate_stays_within_the_capacity_whatever_the_counters_show(
    readings: list[tuple[int, int, int]],
) -> None:
    balance, time_ms = set_known(counted(Counters(at(8), 0, 0)), 50, GARAGE), at(8)
    for step_ms, entered, left in readings:
        time_ms += step_ms
        balance = count(balance, Counters(time_ms, entered, left), GARAGE)

        assert balance.occupied is not None
        assert 0 <= balance.occupied <= 100
        assert balance.drift >= 0
