from random import Random

from hypothesis import given
from hypothesis import strategies as st

from edge.breakers import FAILURES_MAX, Breakers, Mode


def opened(breakers: Breakers, unit: int = 1, now_s: float = 0.0) -> None:
    for _ in range(FAILURES_MAX):
        breakers.record(unit, now_s, 1.0, answered=False)


def test_a_silent_unit_is_suspected_then_left_alone() -> None:
    breakers = Breakers(Random(1))
    modes = [breakers.mode(1)]
    for _ in range(FAILURES_MAX):
        breakers.record(1, 0.0, 1.0, answered=False)
        modes.append(breakers.mode(1))

    assert modes == [Mode.POLL, Mode.PROBE, Mode.PROBE, Mode.SKIP]


def test_an_answer_closes_the_breaker() -> None:
    breakers = Breakers(Random(1))
    opened(breakers)

    breakers.record(1, 10.0, 0.1, answered=True)

    assert breakers.mode(1) is Mode.POLL
    assert breakers.open_units == []


def test_other_units_are_not_concerned() -> None:
    breakers = Breakers(Random(1))
    opened(breakers)

    assert breakers.mode(2) is Mode.POLL


@given(st.integers(1, 8), st.floats(0.01, 5), st.integers(0, 1000))
def test_dead_units_take_at_most_a_twentieth_of_the_bus(dead: int, timeout_s: float, seed: int) -> None:
    breakers = Breakers(Random(seed))
    for unit in range(dead):
        opened(breakers, unit)
    now_s = spent_s = 0.0
    probed = set()
    while now_s < 3600 + 200 * timeout_s:
        now_s = max(now_s, breakers.next_probe_s())
        probe = breakers.to_probe(now_s)
        assert probe is not None
        probed.add(probe)
        now_s += timeout_s
        spent_s += timeout_s
        breakers.record(probe, now_s, timeout_s, answered=False)

    assert spent_s <= 0.05 * now_s
    assert probed == set(range(dead))
