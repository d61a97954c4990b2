"""The parking spaces that a question is about, what their sensors said, and who stood there how long. domain.md 4."""

from dataclasses import dataclass

import numpy as np

from cloud.facts.ledger_parking import Space
from cloud.facts.sessions import FLICKER_MS, FREE, OCCUPIED
from cloud.facts.timelines import UNKNOWN, Timeline, debounced
from cloud.indicators.asking import Asked, once
from cloud.indicators.definition import Window
from cloud.indicators.equipment import facts_window
from devices.states import SpaceState

_DAY_MS = 24 * 3_600_000
LOOK_BACK_DAYS = 7  # for the beginning of a session that was there when the window began; a longer one is uncertain


@dataclass(frozen=True, slots=True, eq=False)
class Parked:
    """A space that is not closed, its states in the window, and around it to know when sessions began and ended.

    `states` is None when nothing was ever heard of its sensor, or when it has none.
    """

    space: Space
    states: Timeline | None
    around: Timeline | None


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody stood there in [from_ms, to_ms). `is_begun`, `is_ended`: it was free before, and free afterwards."""

    space: str
    from_ms: int
    to_ms: int
    is_begun: bool
    is_ended: bool


def all_spaces(asked: Asked) -> list[Parked]:
    """Every space of the site that is not closed and not counted at barriers."""
    window, ledger = asked.until_now, asked.ledger
    if window.from_ms >= window.to_ms:
        return []
    begin, end = facts_window(Window(window.from_ms - LOOK_BACK_DAYS * _DAY_MS, window.to_ms), asked.now_ms, FLICKER_MS)
    wanted = [one.sensor for one in ledger.spaces if one.sensor]
    timelines = asked.store.timelines(ledger, begin, end, wanted) if wanted else {}
    found = []
    for space in ledger.sensed_spaces:
        if space.ledger_state is SpaceState.CLOSED:
            continue
        raw = timelines.get(space.sensor) if space.sensor else None
        around = None if raw is None else debounced(raw, FLICKER_MS)
        states = None if around is None else around.clipped(window.from_ms, window.to_ms)
        found.append(Parked(space, states, around))
    return found


def chosen_spaces(asked: Asked) -> list[Parked]:
    """The spaces that are asked about."""
    return [one for one in once(asked, all_spaces) if asked.counts(one.space.id)]


def space_times(parked: list[Parked], window: Window) -> dict[str, int]:
    """Space-milliseconds in the window: occupied, free, unknown."""
    occupied = sum(one.states.duration_ms([OCCUPIED]) for one in parked if one.states is not None)
    free = sum(one.states.duration_ms([FREE]) for one in parked if one.states is not None)
    whole = len(parked) * (window.to_ms - window.from_ms)
    return {"occupied": occupied, "free": free, "unknown": whole - occupied - free}


def sessions_of(parked: Parked) -> list[Session]:
    """Every stretch in which the space was taken, also those outside the window."""
    if parked.around is None:
        return []
    states = parked.around
    ends, last = states.ends, len(states.codes) - 1
    return [
        Session(
            parked.space.id,
            int(states.starts[index]),
            int(ends[index]),
            is_begun=index > 0 and int(states.codes[index - 1]) == FREE,
            is_ended=index < last and int(states.codes[index + 1]) == FREE,
        )
        for index in np.flatnonzero(states.codes == OCCUPIED).tolist()
    ]


def unknown_stretches(parked: Parked) -> int:
    """Stretches of the window in which nobody knows; each may have hidden somebody coming and going."""
    return 1 if parked.states is None else int((parked.states.codes == UNKNOWN).sum())
