"""Places with counted barriers: what the balance says, and what it does not pretend to know."""

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.facts.barriers import UNKNOWN, Balance, Barrier, balance, empty_times
from cloud.facts.ledger import parse_ledger
from cloud.facts.ledger_parking import Counted, GroupBarrier
from cloud.facts.timelines import Steps
from cloud.indicators.registry import compute_indicator
from devices.errors import ConfigurationError
from devices.profile import packaged_profile
from tests.cloud.told import Cloud, Entry, Told, bad_link, inventory, ledger_text, new_cloud

SHANGHAI = ZoneInfo("Asia/Shanghai")
NAN = float("nan")
Read = tuple[int, float, float]  # time_ms, entered, left


def at(hour: int, minute: int = 0, day: int = 5) -> int:
    return round(datetime(2026, 5, day, hour, minute, tzinfo=SHANGHAI).timestamp() * 1000)


def place(**other: object) -> Counted:
    given_place = {
        "capacity": 100,
        "barriers": (GroupBarrier(device="gate"),),
        "empty_at": "03:00",
        "counts_to": 65_536,
        **other,
    }
    return Counted.model_validate(given_place)


def barrier(*reads: Read, turned: bool = False) -> Barrier:
    times = np.array([time_ms for time_ms, _, _ in reads], np.int64)
    entered, left = (np.array([read[which] for read in reads]) for which in (1, 2))
    return Barrier(Steps(times, entered), Steps(times, left), turned)


def counted(*barriers: Barrier, garage: Counted | None = None, end_ms: int = at(23)) -> Balance:
    garage = garage or place()
    begin = min(int(one.entered.starts[0]) for one in barriers)
    return balance(barriers, garage, empty_times(garage, SHANGHAI, begin, end_ms), end_ms)


def test_nothing_is_known_before_the_place_was_known_to_be_empty() -> None:
    found = counted(barrier((at(4), 10, 5), (at(9), 30, 6)))

    assert found.inside.tolist() == [UNKNOWN, UNKNOWN]


def test_after_the_empty_time_passages_are_balanced() -> None:
    found = counted(barrier((at(2), 10, 5), (at(9), 42, 19), (at(10), 42, 30)))

    assert [found.at(at(2)), found.at(at(3)), found.at(at(9)), found.at(at(12))] == [UNKNOWN, 0, 18, 7]
    assert found.over(at(8), at(11)) == (25 * 3_600_000, 3 * 3_600_000)


def test_while_a_barrier_is_silent_nothing_is_known_and_then_its_counters_tell_what_passed() -> None:
    found = counted(barrier((at(2), 0, 0), (at(8), NAN, NAN), (at(10), 25, 5)))

    assert [found.at(at(7)), found.at(at(9)), found.at(at(10))] == [0, UNKNOWN, 20]


def test_an_empty_time_that_fell_into_silence_counts_only_if_nobody_passed_in_it() -> None:
    quiet = counted(barrier((at(1), 9, 4), (at(2), NAN, NAN), (at(6), 9, 4), (at(7), 11, 4)))
    busy = counted(barrier((at(1), 0, 0), (at(2), NAN, NAN), (at(6), 25, 5), (at(7), 27, 5)))

    assert [quiet.at(at(4)), quiet.at(at(6)), quiet.at(at(7))] == [UNKNOWN, 0, 2]
    assert [busy.at(at(4)), busy.at(at(6)), busy.at(at(7))] == [UNKNOWN, UNKNOWN, UNKNOWN]


def test_after_an_empty_time_that_cannot_be_used_nothing_is_known_until_the_next() -> None:
    before = [(at(2), 0, 0), (at(9), 20, 0), (at(2, day=6), NAN, NAN)]
    found = counted(barrier(*before, (at(5, day=6), 23, 20)), end_ms=at(8, day=7))

    assert [found.at(at(6, day=6)), found.at(at(2, day=7)), found.at(at(4, day=7))] == [UNKNOWN, UNKNOWN, 0]


def test_more_than_fits_and_less_than_none_are_cut_off_and_added_up() -> None:
    full = counted(barrier((at(2), 0, 0), (at(9), 104, 0)))
    empty = counted(barrier((at(2), 0, 0), (at(9), 104, 0), (at(10), 104, 103)))

    assert (full.at(at(9)), full.drift) == (100, 4)
    assert (empty.at(at(10)), empty.drift) == (0, 7)


def test_the_empty_time_of_every_day_takes_the_drift_away() -> None:
    found = counted(barrier((at(2), 0, 0), (at(9), 104, 0)), end_ms=at(4, day=6))

    assert (found.at(at(3, day=6)), found.drift) == (0, 0)


def test_a_counter_goes_round_and_one_that_began_anew_says_nothing() -> None:
    round_once = counted(barrier((at(2), 65_530, 65_535), (at(9), 4, 1)))
    reset = counted(barrier((at(2), 20_000, 19_990), (at(9), 3, 19_992)))

    assert (round_once.at(at(9)), round_once.resets) == (8, 0)
    assert (reset.at(at(9)), reset.resets) == (0, 1)


def test_several_barriers_make_one_balance_and_a_ramp_counts_the_other_way() -> None:
    gate, ramp = barrier((at(2), 0, 0), (at(9), 30, 2)), barrier((at(2), 5, 5), (at(10), 15, 6), turned=True)

    assert counted(gate, ramp).at(at(11)) == 28 - 9


@given(st.lists(st.tuples(st.integers(1, 7_200_000), st.integers(0, 70_000), st.integers(0, 70_000)), max_size=40))
def test_the_estimate_stays_within_the_capacity_whatever_the_counters_show(steps: Sequence[Read]) -> None:
    reads, time_ms = [(at(2), 0.0, 0.0)], at(2)
    for step_ms, entered, left in steps:
        time_ms += step_ms
        reads.append((time_ms, entered, left))
    found = counted(barrier(*reads), end_ms=time_ms + 3_600_000)

    assert all(one == UNKNOWN or 0 <= one <= 100 for one in found.inside.tolist())
    assert found.drift >= 0


# --- from frames to the indicator ------------------------------------------------------------------------

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
START_MS = 20_000 * DAY_MS  # a midnight in UTC
GATE = packaged_profile("barrier-counter").text
FLOOR = "floors: [{id: b1, name: {en: N, zh-CN: N}, map: B1, width_m: 20.0, height_m: 20.0}]"
GROUP = (
    "parking: [{id: cars, name: {en: N, zh-CN: N}, floor: b1, "
    'counted: {capacity: 10, barriers: [{device: gate}], empty_at: "01:00"}}]'
)


def frames() -> list[Told]:
    """A day of one-hour frames from midnight: five come in at 8, two leave at 12; no answer from 14 to 16."""
    told = []
    for hour in range(24):
        begin = START_MS + hour * HOUR_MS
        entries = {0: (("entered", 0.0), ("left", 0.0)), 8: (("entered", 5.0),), 12: (("left", 2.0),)}.get(hour, ())
        records = inventory(["gate"], begin, text=GATE) if hour == 0 else ()
        if hour == 14:
            records = (bad_link("gate", begin + 60_000, begin),)
        rows = tuple(Entry("gate", point, begin, value) for point, value in entries)
        if hour == 16:
            rows = (Entry("gate", "entered", begin, 6.0), Entry("gate", "left", begin, 2.0))
        told.append(Told(hour + 1, begin, begin + HOUR_MS, rows, records))
    return told


def occupancy(cloud: Cloud, from_h: int, to_h: int) -> tuple[Fraction | None, int, int, object]:
    """Value, numerator, denominator and what of it is an estimate, at UTC hours of the day."""
    ledger = cloud.ledger(ledger_text(FLOOR, GROUP, zone="UTC"))
    window = (START_MS + from_h * HOUR_MS, START_MS + to_h * HOUR_MS)
    found = compute_indicator(cloud.facts, ledger, "parking.occupancy", window, START_MS + 24 * HOUR_MS)
    return found.value, found.numerator, found.denominator, found.details.get("estimated")


@pytest.mark.parametrize("turned", [False, True])
def test_counted_places_enter_the_occupancy_of_a_site_as_an_estimate(tmp_path: Path, turned: bool) -> None:  # noqa: FBT001
    cloud = new_cloud(tmp_path)
    cloud.tell(reversed(frames()) if turned else frames())

    assert occupancy(cloud, 8, 12) == (Fraction(1, 2), 20 * HOUR_MS, 40 * HOUR_MS, 40 * HOUR_MS)
    assert occupancy(cloud, 0, 1) == (None, 0, 0, None)
    silent_ms = 2 * HOUR_MS - 60_000  # the last answer is held for a minute
    known = 10 * (4 * HOUR_MS - silent_ms)
    taken = 3 * (2 * HOUR_MS + 60_000 - HOUR_MS) + 4 * HOUR_MS
    assert occupancy(cloud, 13, 17)[1:] == (taken, known, known)
    cloud.engine.dispose()


def test_the_days_of_counted_places_add_up_to_their_window(tmp_path: Path) -> None:
    """Cars pass while the barrier is silent around an empty time: how far one looks back must not matter."""
    cloud = new_cloud(tmp_path)
    told = []
    for hour in range(72):
        begin = START_MS + hour * HOUR_MS
        entries = {0: (("entered", 0.0), ("left", 0.0)), 9: (("entered", 4.0),), 33: (("left", 1.0),)}.get(hour, ())
        records = inventory(["gate"], begin, text=GATE) if hour == 0 else ()
        if hour == 24:
            records = (bad_link("gate", begin + 60_000, begin),)
        rows = tuple(Entry("gate", point, begin, value) for point, value in entries)
        if hour == 26:
            rows = (Entry("gate", "entered", begin, 6.0), Entry("gate", "left", begin, 0.0))
        told.append(Told(hour + 1, begin, begin + HOUR_MS, rows, records))
    cloud.tell(told)
    ledger = cloud.ledger(ledger_text(FLOOR, GROUP, zone="UTC"))

    def known(from_h: int, to_h: int) -> int:
        window = (START_MS + from_h * HOUR_MS, START_MS + to_h * HOUR_MS)
        found = compute_indicator(cloud.facts, ledger, "parking.occupancy", window, START_MS + 72 * HOUR_MS)
        return found.denominator

    assert known(0, 72) == known(0, 24) + known(24, 48) + known(48, 72)
    assert known(26, 48) == known(25, 48) == 0  # from the empty time that could not be used to the next
    assert known(49, 72) == 10 * 23 * HOUR_MS
    cloud.engine.dispose()


def test_a_group_with_a_barrier_that_was_never_heard_is_unknown(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    cloud.tell(frames())
    two = GROUP.replace("[{device: gate}]", "[{device: gate}, {device: side}]")
    ledger = cloud.ledger(ledger_text(FLOOR, two, zone="UTC"))
    window = (START_MS + 8 * HOUR_MS, START_MS + 12 * HOUR_MS)
    found = compute_indicator(cloud.facts, ledger, "parking.occupancy", window, START_MS + 24 * HOUR_MS)

    assert [found.value, found.low, found.high] == [None, Fraction(0), Fraction(1)]
    cloud.engine.dispose()


OTHER = GROUP[:-1] + ", {id: other, name: {en: N, zh-CN: N}, floor: b1}]"


@pytest.mark.parametrize(
    ("group", "space", "problem"),
    [
        (GROUP, "group: cars, device: bay", "count this space twice"),
        (OTHER, "group: other, device: gate", "is a barrier"),
        (
            GROUP.replace("[{device: gate}]", "[{device: gate}, {device: gate, reversed: true}]"),
            "",
            "stands here twice",
        ),
        (GROUP.replace("capacity: 10,", "capacity: 10, counts_to: 100,"), "", "below half of counts_to"),
        (GROUP.replace(', empty_at: "01:00"', ""), "", "empty_at"),
    ],
)
def test_a_ledger_that_counts_twice_or_never_is_refused(group: str, space: str, problem: str) -> None:
    spaces = f"spaces: [{{id: s1, rect: [0, 0, 3, 5], {space}}}]" if space else ""
    with pytest.raises(ConfigurationError, match=problem):
        parse_ledger(ledger_text(FLOOR, group, spaces), "ledger.yaml")
