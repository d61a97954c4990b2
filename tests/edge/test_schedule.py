import math

from hypothesis import given
from hypothesis import strategies as st

from edge.schedule import Schedule, phase_of

INTERVALS = st.floats(0.1, 3600)
PHASES = st.floats(0, 1, exclude_max=True)


@given(INTERVALS, PHASES)
def test_everything_is_asked_within_a_second(interval_s: float, phase: float) -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("d", interval_s, phase, 100.0)

    assert 100.0 <= schedule.next_s <= 101.0


@given(INTERVALS, PHASES, st.lists(st.floats(0, 10_000), max_size=20))
def test_the_next_deadline_is_always_ahead_and_within_an_interval(
    interval_s: float, phase: float, waits: list[float]
) -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("d", interval_s, phase, 0.0)
    now_s = 0.0
    for wait_s in waits:
        now_s = max(now_s + wait_s, schedule.next_s)

        assert schedule.pop(now_s) is not None
        assert now_s <= schedule.next_s <= now_s + interval_s * (1 + 1e-6)
        assert len(schedule) == 1


def test_deadlines_keep_their_place_however_late_a_tick_was() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("d", 10.0, 0.5, 0.0)

    assert schedule.pop(0.5) is not None
    assert schedule.next_s == 5.0
    schedule.pop(7.3)
    assert schedule.next_s == 15.0


def test_missed_ticks_are_counted_and_not_made_up_for() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("d", 1.0, 0.0, 0.0)
    schedule.pop(0.0)

    due = schedule.pop(4.2)

    assert due is not None
    assert due.missed == 3
    assert schedule.pop(4.2) is None
    assert schedule.next_s == 5.0


def test_the_earliest_deadline_goes_first() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("slow", 60.0, 0.9, 0.0)
    schedule.add("quick", 1.0, 0.1, 0.0)

    assert [due.what for due in (schedule.pop(1.0), schedule.pop(1.0)) if due] == ["quick", "slow"]


def test_nothing_to_do_is_infinitely_far() -> None:
    assert Schedule[str]().next_s == math.inf


def test_phases_spread_evenly() -> None:
    phases = [phase_of(f"device-{number}") for number in range(1000)]

    assert all(60 <= sum(low / 10 <= phase < (low + 1) / 10 for phase in phases) <= 140 for low in range(10))
