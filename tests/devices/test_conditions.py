from hypothesis import given
from hypothesis import strategies as st

from devices.conditions import Condition, Delays, Side, Threshold, exceeded, ripened, step, turns

DELAYS = Delays(on_ms=10_000, off_ms=5_000)


def observe(condition: Condition, truth: bool | None, since_ms: int, now_ms: int) -> Condition:  # noqa: FBT001
    return step(condition, DELAYS, truth=truth, since_ms=since_ms, now_ms=now_ms)


def test_a_truth_shorter_than_the_on_delay_raises_nothing() -> None:
    waiting = observe(Condition(), truth=True, since_ms=1_000, now_ms=10_999)
    over = observe(waiting, truth=False, since_ms=10_999, now_ms=11_500)

    assert not waiting.active
    assert over == Condition()


def test_the_condition_is_due_when_its_delay_ends_and_keeps_its_true_start() -> None:
    waiting = observe(Condition(), truth=True, since_ms=1_000, now_ms=2_000)
    active = observe(waiting, truth=True, since_ms=1_000, now_ms=11_000)

    assert waiting.due_ms(DELAYS) == 11_000
    assert active == Condition(active=True, since_ms=1_000)


def test_a_truth_learned_late_raises_at_once() -> None:
    assert observe(Condition(), truth=True, since_ms=0, now_ms=3_600_000).active


def test_unknown_neither_raises_nor_clears() -> None:
    active = Condition(active=True, since_ms=5)

    assert observe(active, truth=None, since_ms=0, now_ms=10**9) == active
    assert not observe(Condition(), truth=None, since_ms=0, now_ms=10**9).active


def test_a_time_ahead_of_now_counts_as_now() -> None:
    waiting = observe(Condition(), truth=True, since_ms=10**12, now_ms=50)

    assert waiting.pending_ms == 50


def test_a_value_must_come_back_by_the_deadband() -> None:
    hot = Threshold(Side.ABOVE, limit=80.0, deadband=2.0)

    assert exceeded(hot, 80.5, was=False) is True
    assert exceeded(hot, 79.0, was=True) is True
    assert exceeded(hot, 79.0, was=False) is False
    assert exceeded(hot, 77.9, was=True) is False
    assert exceeded(hot, float("nan"), was=True) is None


@given(st.lists(st.tuples(st.integers(1, 20_000), st.sampled_from([True, False, None]))))
def test_a_condition_changes_only_after_its_delay(observations: list[tuple[int, bool | None]]) -> None:
    now_ms, since_ms, last = 0, 0, None
    condition = Condition()
    for wait_ms, truth in observations:
        now_ms += wait_ms
        if truth != last:
            since_ms, last = now_ms, truth
        after = observe(condition, truth=truth, since_ms=since_ms, now_ms=now_ms)
        if after.active != condition.active:
            assert truth == after.active
            assert now_ms - since_ms >= (DELAYS.on_ms if after.active else DELAYS.off_ms)
        condition = after


Changes = list[tuple[bool, int]]


def seconds_by_seconds(seen: list[tuple[int, bool | None]], on_s: int, off_s: int, end_s: int) -> Changes:
    """Every change of a condition and its start, by walking each second; shares nothing with the module."""
    active = False
    began: int | None = None
    changes: Changes = []
    truths = dict(seen)
    truth: bool | None = None
    for now in range(end_s + 1):
        if began is not None and now - began >= (off_s if active else on_s):
            active = not active
            changes.append((active, began))
            began = None
        if now in truths:
            truth = truths[now]
            if truth is None or truth == active:
                began = None
            elif began is None:
                began = now
            if began is not None and now - began >= (off_s if active else on_s):
                active, began = not active, None
                changes.append((active, now))
        elif truth is not None and truth != active and began is None:
            began = now
    return changes


@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from([True, False, None])), unique_by=lambda one: one[0]),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_all_at_once_turns_as_if_it_had_been_seen_second_by_second(
    seen: list[tuple[int, bool | None]], on_s: int, off_s: int
) -> None:
    ordered = sorted(seen)
    changed = [
        one for index, one in enumerate(ordered) if index == 0 or one[1] is not ordered[index - 1][1]
    ]  # who observes tells changes only
    delays = Delays(on_s * 1000, off_s * 1000)
    condition, found = Condition(), []
    for at_s, truth in changed:
        for after in turns(condition, delays, truth=truth, since_ms=at_s * 1000):
            if after.active != condition.active:
                found.append((after.active, after.since_ms // 1000))
            condition = after
    last = ripened(condition, delays, 80_000)
    if last.active != condition.active:
        found.append((last.active, last.since_ms // 1000))

    assert found == seconds_by_seconds(changed, on_s, off_s, 80)
