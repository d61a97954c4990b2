import pytest

from cloud.alerts.alert import (
    CLOUD,
    HOLD_MS,
    SHELF_MS_MAX,
    Alert,
    AlreadyAcknowledged,
    AlreadyResolved,
    BadRequest,
    ConditionActive,
    Entry,
    Handling,
    Key,
    Machine,
    Terms,
)
from cloud.alerts.handling import (
    Acknowledged,
    Assigned,
    Commented,
    Escalated,
    Released,
    Resolved,
    Shelved,
    Suppressed,
    Unshelved,
)
from cloud.alerts.lifecycle import Cleared, Event, Passed, Raised, step
from devices.rules import Severity

RED = Terms(Severity.RED, "alert.equipment_fault", latched=True)
ORANGE = Terms(Severity.ORANGE, "alert.equipment_fault")
YELLOW = Terms(Severity.YELLOW, "alert.equipment_fault")
KEY = Key("s", "equipment-fault", "pump-3")
THING = {"thing": "pump-3"}
DONE = Resolved("li", "wear", "bearing replaced")


def raised(terms: Terms, since_ms: int, source: str = CLOUD, *, drill: bool = False) -> Raised:
    return Raised(KEY, terms, since_ms, THING, source, drill)


def live(*events: tuple[int, Event]) -> tuple[Alert, list[Entry]]:
    """The alert after these events (time, event), and its whole history."""
    alert: Alert | None = None
    history: list[Entry] = []
    for now_ms, event in events:
        alert, entries = step(alert, event, now_ms)
        history += entries
    assert alert is not None
    return alert, history


def kinds(history: list[Entry]) -> list[str]:
    return [entry.kind for entry in history]


def test_the_same_condition_updates_one_alert() -> None:
    alert, history = live((10, raised(RED, 0)), (20, raised(RED, 0)), (30, Cleared(25)), (40, raised(RED, 35)))

    assert (alert.opened_ms, alert.count, alert.condition) == (0, 2, Machine.ACTIVE)
    assert kinds(history) == ["opened", "cleared", "reopened"]


def test_an_acknowledged_alert_stays_open_and_comes_back_as_new() -> None:
    events = (10, raised(RED, 0)), (20, Acknowledged("li")), (30, Cleared(25))
    taken, _ = live(*events)
    again, _ = live(*events, (40, raised(RED, 35)))

    assert (taken.is_open, taken.acknowledged_by) == (True, "li")
    assert (again.handling, again.acknowledged_by) == (Handling.NEW, None)


@pytest.mark.parametrize(("terms", "open_"), [(YELLOW, False), (ORANGE, True), (RED, True)])
def test_only_yellow_closes_by_itself_once_it_is_over_and_noticed(terms: Terms, open_: bool) -> None:  # noqa: FBT001
    cleared_last, _ = live((10, raised(terms, 0)), (20, Acknowledged("li")), (30, Cleared(25)))
    noticed_last, _ = live((10, raised(terms, 0)), (20, Cleared(15)), (30, Acknowledged("li")))

    assert (cleared_last.is_open, noticed_last.is_open) == (open_, open_)


def test_red_is_resolved_with_a_cause_and_a_note() -> None:
    over = (10, raised(RED, 0)), (20, Cleared(15))
    for bad in (Resolved("li"), Resolved("li", "wear"), Resolved("li", "", "replaced"), Resolved("li", "wear", " ")):
        with pytest.raises(BadRequest):
            live(*over, (30, bad))
    done, history = live(*over, (30, DONE))

    assert (done.is_open, done.resolved_by, done.cause) == (False, "li", "wear")
    assert (history[-1].note, history[-1].detail) == ("bearing replaced", {"cause": "wear"})


def test_a_second_person_learns_who_was_first() -> None:
    with pytest.raises(AlreadyAcknowledged, match="li") as refusal:
        live((10, raised(RED, 0)), (20, Acknowledged("li")), (30, Acknowledged("wang")))

    assert refusal.value.at_ms == 20


def test_acknowledging_twice_changes_nothing() -> None:
    _, once = live((10, raised(RED, 0)), (20, Acknowledged("li")))
    _, twice = live((10, raised(RED, 0)), (20, Acknowledged("li")), (30, Acknowledged("li")))

    assert once == twice


def test_what_the_machine_still_says_cannot_be_resolved() -> None:
    with pytest.raises(ConditionActive):
        live((10, raised(RED, 0)), (20, DONE))


def test_a_closed_alert_reopens_within_the_hold_and_is_another_one_after_it() -> None:
    closed = (10, raised(YELLOW, 0)), (20, Acknowledged("li")), (30, Cleared(25))
    same, _ = live(*closed, (99, raised(YELLOW, 25 + HOLD_MS - 1)))
    other, _ = live(*closed, (99, raised(YELLOW, 25 + HOLD_MS)))

    assert (same.opened_ms, same.resolved_by, same.resolved_ms) == (0, None, None)
    assert other.opened_ms == 25 + HOLD_MS
    assert same.id != other.id


def test_a_condition_that_is_long_over_goes_to_the_record_and_not_to_the_inbox() -> None:
    alert, history = live((10**9, Passed(KEY, RED, 0, 60_000, THING)))

    assert alert.historical
    assert not alert.is_open
    assert [entry.at_ms for entry in history] == [0, 60_000]


def test_an_alert_is_active_while_any_source_says_so() -> None:
    both = (10, raised(RED, 0)), (20, raised(RED, 5, "gw-1")), (30, Cleared(25))
    still, history = live(*both)
    over, _ = live(*both, (40, Cleared(35, "gw-1")))

    assert (still.condition, still.sources) == (Machine.ACTIVE, ("gw-1",))
    assert (over.condition, over.cleared_ms) == (Machine.CLEARED, 35)
    assert kinds(history) == ["opened", "confirmed", "relieved"]


def test_one_put_aside_is_back_by_itself_at_its_time_and_not_before() -> None:
    aside = (10, raised(RED, 0)), (20, Shelved("li", "being repaired", 1000))
    early, _ = live(*aside, (999, Unshelved()))
    back, history = live(*aside, (1005, Unshelved()))
    by_hand, _ = live(*aside, (500, Unshelved("wang")))

    assert (early.is_shelved, early.shelved_by, early.shelf_reason) == (True, "li", "being repaired")
    assert (back.is_shelved, back.new_ms, back.shelf_reason) == (False, 1005, "")
    assert (history[-1].kind, history[-1].at_ms, history[-1].actor) == ("unshelved", 1000, "")
    assert not by_hand.is_shelved


@pytest.mark.parametrize(
    "event", [Shelved("li", " ", 30), Shelved("li", "x", 20), Shelved("li", "x", 21 + SHELF_MS_MAX)]
)
def test_putting_aside_needs_a_reason_and_an_end_within_seven_days(event: Shelved) -> None:
    with pytest.raises(BadRequest):
        live((10, raised(RED, 0)), (20, event))


def test_a_shelf_outlasts_the_alert_that_closed_by_itself() -> None:
    closed = (10, raised(YELLOW, 0)), (20, Shelved("li", "x", 10**7)), (30, Acknowledged("li")), (40, Cleared(35))
    other, _ = live(*closed, (10**6, raised(YELLOW, 10**6)))

    assert other.opened_ms == 10**6
    assert other.is_shelved


def test_time_makes_an_alert_worse_and_new_but_never_less_bad() -> None:
    worse, history = live((10, raised(ORANGE, 0)), (20, Acknowledged("li")), (30, Escalated(Severity.RED, "plan")))
    same, _ = live((10, raised(RED, 0)), (30, Escalated(Severity.ORANGE, "plan")))

    assert (worse.severity, worse.handling, worse.new_ms) == (Severity.RED, Handling.NEW, 30)
    assert history[-1].detail == {"from": "orange", "to": "red", "reason": "plan"}
    assert same.severity is Severity.RED


def test_what_was_told_with_its_cause_closes_when_it_is_over_unless_red() -> None:
    events = (20, Suppressed("al_cause")), (30, Cleared(25))
    orange, _ = live((10, raised(ORANGE, 0)), *events)
    red, _ = live((10, raised(RED, 0)), *events)
    alone, history = live((10, raised(ORANGE, 0)), (20, Suppressed("al_cause")), (30, Released()))

    assert (orange.is_open, red.is_open) == (False, True)
    assert (alone.suppressed_by, alone.new_ms, kinds(history)[-1]) == (None, 30, "released")


def test_a_drill_never_hides_the_real_thing() -> None:
    drilled = (10, raised(YELLOW, 0, drill=True)), (20, Acknowledged("li"))
    meant, _ = live(*drilled, (30, raised(YELLOW, 25)))
    later, _ = live(*drilled, (30, Cleared(25)), (40, raised(YELLOW, 35)))

    assert not meant.drill
    assert (later.drill, later.opened_ms) == (False, 35)


def test_a_closed_alert_takes_comments_and_nothing_else() -> None:
    over = (10, raised(RED, 0)), (20, Cleared(15)), (30, DONE)
    _, history = live(*over, (40, Commented("li", "bearing was wrong")))
    for event in (Acknowledged("li"), Assigned("li", "wang"), Shelved("li", "x", 100), DONE):
        with pytest.raises(AlreadyResolved):
            live(*over, (40, event))
    with pytest.raises(BadRequest):
        live(*over, (40, Commented("li", " ")))

    assert kinds(history)[-1] == "commented"
