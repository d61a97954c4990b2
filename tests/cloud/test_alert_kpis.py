from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts import kpis
from cloud.alerts.alert import Alert, Entry, Handling, Key, Machine
from cloud.indicators import alarm_figures
from cloud.indicators.alarm_figures import Raise
from devices.rules import Severity

MINUTE_MS, DAY_MS = 60_000, 86_400_000


def called(at_ms: int, thing: str = "pump-1", severity: Severity = Severity.YELLOW, ack_ms: int | None = None) -> Raise:
    return Raise(at_ms, ("s", "r", thing), severity, ack_ms)


def alert(*, drill: bool = False, historical: bool = False, opened_ms: int = 0, thing: str = "pump-1") -> Alert:
    return Alert(
        id="al_1", key=Key("s", "r", thing), severity=Severity.ORANGE, condition=Machine.ACTIVE, handling=Handling.NEW,
        opened_ms=opened_ms, last_ms=opened_ms, text="t", parameters={}, drill=drill, historical=historical,
    )  # fmt: skip


HISTORY = [
    Entry(1, "opened", 1_000, 2_000),
    Entry(2, "acknowledged", 3_000, 3_000, "li"),
    Entry(3, "cleared", 4_000, 4_000),
    Entry(4, "reopened", 5_000, 5_000),
]


def test_each_opening_calls_and_an_acknowledgement_answers_the_call_before_it() -> None:
    raises = kpis.raises_of(alert(), HISTORY)

    assert [(one.at_ms, one.acknowledged_ms) for one in raises] == [(2_000, 3_000), (5_000, None)]


def test_drills_and_what_was_over_before_it_was_known_are_in_no_figure() -> None:
    assert kpis.raises_of(alert(drill=True), HISTORY) == []
    assert kpis.raises_of(alert(historical=True), HISTORY) == []
    assert kpis.stale([alert(drill=True)], 2 * DAY_MS) == []
    assert kpis.put_aside([alert(drill=True)]) == (0, 0)


def test_the_rate_is_per_operator_and_ten_minutes() -> None:
    raises = [called(minute * MINUTE_MS) for minute in (0, 1, 2, 30, 59)]

    found = alarm_figures.rate(raises, (0, 60 * MINUTE_MS), operators=2)

    assert (found.mean, found.peak) == (Fraction(5, 12), Fraction(3, 2))
    assert alarm_figures.rate(raises, (0, 60 * MINUTE_MS), operators=0).mean is None


def test_a_flood_begins_above_ten_in_ten_minutes_and_ends_below_five() -> None:
    ten = [called(n * 30_000) for n in range(10)]
    eleven = [called(n * 30_000) for n in range(11)]

    assert alarm_figures.floods(ten, DAY_MS) == []
    # the fifth last one leaves the ten minutes at 3 min + 10 min
    assert alarm_figures.floods(eleven, DAY_MS) == [alarm_figures.Flood(0, 13 * MINUTE_MS, 11, 11)]
    assert alarm_figures.floods(eleven, 6 * MINUTE_MS) == [alarm_figures.Flood(0, None, 11, 11)]
    assert alarm_figures.flooded(alarm_figures.floods(eleven, DAY_MS), (0, 130 * MINUTE_MS)) == Fraction(1, 10)


@given(st.lists(st.integers(0, 3_600), max_size=60))
def test_floods_agree_with_a_count_at_every_second(seconds: list[int]) -> None:
    raises = [called(second * 1000) for second in seconds]
    times = sorted(seconds)
    states, was = [], False
    for now in range(3_601 + 700):
        recent = sum(now - 600 < time <= now for time in times)
        was = recent >= alarm_figures.FLOOD_BELOW if was else recent > alarm_figures.FLOOD_ABOVE
        states.append(was)
    ends = [now for now in range(1, len(states)) if states[now - 1] and not states[now]]

    found = alarm_figures.floods(raises, (3_600 + 700) * 1000)

    assert [one.to_ms for one in found] == [end * 1000 for end in ends]


def test_three_raises_within_a_minute_chatter() -> None:
    often = [called(0), called(20_000), called(59_999)]
    seldom = [called(0, "b"), called(30_000, "b"), called(60_000, "b")]

    assert alarm_figures.chattering([*often, *seldom]) == [(("s", "r", "pump-1"), 3)]


def test_bad_actors_are_counted_with_their_share() -> None:
    raises = [called(n, "a") for n in range(6)] + [called(n, f"x{n}") for n in range(12)]

    worst, share = alarm_figures.bad_actors(raises)

    assert worst[0] == (("s", "r", "a"), 6)
    assert (len(worst), share) == (10, Fraction(15, 18))
    assert alarm_figures.bad_actors([]) == ([], None)


def test_what_is_active_for_more_than_a_day_is_stale() -> None:
    old, young = alert(opened_ms=0), alert(opened_ms=10, thing="b")

    assert kpis.stale([young, old], DAY_MS + 5) == [old]


def test_colours_are_shares_of_all() -> None:
    raises = [called(0)] * 8 + [called(0, severity=Severity.RED)] * 2

    assert alarm_figures.split(raises) == {
        Severity.YELLOW: Fraction(4, 5), Severity.ORANGE: Fraction(0), Severity.RED: Fraction(1, 5),
    }  # fmt: skip
    assert alarm_figures.split([]) == {}


def test_share_in_time_leaves_out_what_has_time_left_and_yellow() -> None:
    orange = Severity.ORANGE
    raises = [
        called(0, severity=orange, ack_ms=30 * MINUTE_MS),
        called(0, severity=orange, ack_ms=30 * MINUTE_MS + 1),
        called(0, severity=orange),
        called(40 * MINUTE_MS, severity=orange),
        called(0),
    ]

    assert alarm_figures.acknowledged_in_time(raises, 60 * MINUTE_MS) == Fraction(1, 3)
    assert alarm_figures.mean_to_acknowledge_ms(raises) == Fraction(60 * MINUTE_MS + 1, 2)
    assert alarm_figures.acknowledged_in_time([], 0) is None
