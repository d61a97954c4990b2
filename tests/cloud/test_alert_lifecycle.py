import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts.lifecycle import (
    HOLD_MS,
    Acknowledged,
    Alert,
    AlreadyAcknowledged,
    AlreadyResolved,
    Cleared,
    ConditionActive,
    Entry,
    Event,
    Handling,
    Key,
    Machine,
    Passed,
    Raised,
    Resolved,
    step,
)
from cloud.alerts.rules import DEFAULT_RULES, Rule

RULES = {rule.id: rule for rule in DEFAULT_RULES}
RED, YELLOW = RULES["equipment-fault-a"], RULES["equipment-fault-c"]
THING = {"thing": "pump-3"}


def live(rule: Rule, *events: tuple[int, Event]) -> tuple[Alert | None, list[Entry]]:
    """The alert after these events, and its whole history."""
    alert: Alert | None = None
    history: list[Entry] = []
    for now_ms, event in events:
        alert, entries = step(rule, Key("s", rule.id, "pump-3"), alert, event, now_ms)
        history += entries
    return alert, history


def test_the_same_condition_updates_one_alert() -> None:
    alert, history = live(
        RED,
        (10, Raised(0, THING)),
        (20, Raised(0, THING)),
        (30, Cleared(25)),
        (40, Raised(35, THING)),
    )

    assert alert is not None
    assert (alert.opened_ms, alert.count, alert.condition) == (0, 2, Machine.ACTIVE)
    assert [entry.kind for entry in history] == ["opened", "cleared", "reopened"]


def test_an_acknowledged_alert_stays_open_and_comes_back_as_new() -> None:
    taken, _ = live(RED, (10, Raised(0, THING)), (20, Acknowledged("li")), (30, Cleared(25)))
    again, _ = live(RED, (10, Raised(0, THING)), (20, Acknowledged("li")), (30, Cleared(25)), (40, Raised(35, THING)))

    assert taken is not None
    assert again is not None
    assert taken.is_open
    assert taken.acknowledged_by == "li"
    assert (again.handling, again.acknowledged_by) == (Handling.NEW, None)


def test_yellow_closes_by_itself_and_red_only_by_a_person() -> None:
    events = (10, Raised(0, THING)), (20, Acknowledged("li")), (30, Cleared(25))
    yellow, _ = live(YELLOW, *events)
    red, _ = live(RED, *events)
    resolved, history = live(RED, *events, (40, Resolved("li", "bearing", "replaced")))

    assert yellow is not None
    assert red is not None
    assert resolved is not None
    assert not yellow.is_open
    assert red.is_open
    assert not resolved.is_open
    assert history[-1].note == "bearing: replaced"


def test_a_second_person_learns_who_was_first() -> None:
    with pytest.raises(AlreadyAcknowledged, match="li") as refusal:
        live(RED, (10, Raised(0, THING)), (20, Acknowledged("li")), (30, Acknowledged("wang")))

    assert refusal.value.at_ms == 20


def test_acknowledging_twice_changes_nothing() -> None:
    _, once = live(RED, (10, Raised(0, THING)), (20, Acknowledged("li")))
    _, twice = live(RED, (10, Raised(0, THING)), (20, Acknowledged("li")), (30, Acknowledged("li")))

    assert once == twice


def test_what_the_machine_still_says_cannot_be_resolved() -> None:
    with pytest.raises(ConditionActive):
        live(RED, (10, Raised(0, THING)), (20, Resolved("li")))


def test_a_closed_alert_reopens_within_the_hold_and_is_another_one_after_it() -> None:
    closed = (10, Raised(0, THING)), (20, Acknowledged("li")), (30, Cleared(25))
    same, _ = live(YELLOW, *closed, (99, Raised(25 + HOLD_MS - 1, THING)))
    other, _ = live(YELLOW, *closed, (99, Raised(25 + HOLD_MS, THING)))

    assert same is not None
    assert other is not None
    assert same.opened_ms == 0
    assert other.opened_ms == 25 + HOLD_MS
    assert same.id != other.id


def test_a_condition_that_is_long_over_goes_to_the_record_and_not_to_the_inbox() -> None:
    alert, history = live(RED, (10**9, Passed(0, 60_000, THING)))

    assert alert is not None
    assert alert.historical
    assert not alert.is_open
    assert [entry.at_ms for entry in history] == [0, 60_000]


EVENTS = st.one_of(
    st.just("raise"),
    st.just("clear"),
    st.builds(Acknowledged, st.sampled_from(["li", "wang"])),
    st.just(Resolved("li")),
)


@given(st.lists(st.tuples(st.integers(1, HOLD_MS), EVENTS), max_size=30), st.sampled_from([RED, YELLOW]))
def test_any_sequence_keeps_version_and_history_in_step(events: list[tuple[int, Event | str]], rule: Rule) -> None:
    now_ms, alert, entries_of_alert = 0, None, 0
    for wait_ms, what in events:
        now_ms += wait_ms
        event = Raised(now_ms, THING) if what == "raise" else Cleared(now_ms) if what == "clear" else what
        assert not isinstance(event, str)
        before: Alert | None = alert
        try:
            alert, entries = step(rule, Key("s", rule.id, "p"), alert, event, now_ms)
        except (AlreadyAcknowledged, AlreadyResolved, ConditionActive):
            continue
        if before is None or (alert is not None and alert.id != before.id):
            entries_of_alert = 0
        entries_of_alert += len(entries)
        if alert is None:
            continue
        assert alert.version == entries_of_alert
        assert (alert.cleared_ms is None) == (alert.condition is Machine.ACTIVE)
        assert (alert.acknowledged_by is None) or alert.handling is not Handling.NEW
        assert not (alert.condition is Machine.ACTIVE and alert.handling is Handling.RESOLVED)
