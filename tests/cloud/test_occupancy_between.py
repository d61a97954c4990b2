import itertools
from typing import Literal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cloud.facts.ledger_parking import Space
from cloud.facts.sessions import FREE, OCCUPIED, occupancy_between, occupancy_over
from cloud.facts.timelines import UNKNOWN, Timeline

HOUR_MS = 3_600_000
CLOSINGS: tuple[Literal["closed", "reserved"] | None, ...] = (None, "reserved", "closed", None)
SPACES = [
    Space(id=f"s-{index}", group="g", device=f"d-{index}", rect=(0, 0, 1, 1), state=state)
    for index, state in enumerate(CLOSINGS)
]


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    starts = sorted(draw(st.sets(st.integers(0, 6 * HOUR_MS), min_size=1, max_size=20)))
    codes = draw(st.lists(st.sampled_from([FREE, OCCUPIED, UNKNOWN]), min_size=len(starts), max_size=len(starts)))
    changes = [0, *(index for index in range(1, len(starts)) if codes[index] != codes[index - 1])]
    return Timeline(
        np.array([starts[index] for index in changes], np.int64),
        np.array([codes[index] for index in changes], np.uint8),
        6 * HOUR_MS + 1,
    )


@given(st.lists(timelines(), max_size=3))
def test_hour_by_hour_is_what_each_hour_alone_is(found: list[Timeline]) -> None:
    devices = {f"d-{index}": timeline for index, timeline in enumerate(found)}
    edges = [HOUR_MS, 2 * HOUR_MS, 5 * HOUR_MS, 6 * HOUR_MS]

    hours = occupancy_between(SPACES, devices, edges)

    assert hours == [occupancy_over(SPACES, devices, *pair) for pair in itertools.pairwise(edges)]
