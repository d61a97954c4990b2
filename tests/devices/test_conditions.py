from hypothesis import given
from hypothesis import strategies as st

from devices.conditions import Condition, Delays, Side, Threshold, exceeded, step

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
