"""The equipment intact rate, time-based and pooled. Formula and bounds: domain.md 1.3.

Everything is pure and in whole milliseconds. States and what they count as are `FactStore.equipment`'s.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from cloud.facts.days import date_start
from cloud.facts.equipment_past import EquipmentTimeline
from cloud.facts.equipment_states import BY_HAND, DOWN, EXCLUDED, NOT_KNOWN, UP
from cloud.facts.ledger import Site
from cloud.facts.ledger_equipment import Equipment
from cloud.facts.timelines import (
    COUNTING,
    DEBOUNCE_MS,
    EQUIPMENT_STATES,
    NEVER_MS,
    UNKNOWN,
    Timeline,
    debounced,
)
from cloud.indicators.definition import IndicatorResult, Window, is_final, judge, ratio
from devices.states import Counts, EquipmentState

INTACT_RATE = "equipment.intact_rate"
LOOK_BACK_MS = 24 * 3_600_000  # before a window, to know what a state shorter than the debounce came out of
STRIP_HOURS = 24
HOUR_MS = 3_600_000
# The worst of an hour is what its cell of the strip shows.
_WORST_FIRST = (
    EquipmentState.FAULT, EquipmentState.UNKNOWN, EquipmentState.EXT, EquipmentState.DEGRADED, EquipmentState.PM,
    EquipmentState.DRILL, EquipmentState.OFF_DUTY, EquipmentState.RUN, EquipmentState.STANDBY,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tally:
    """Time by what it counts as, in ms. `by_hand_ms` is the part of `excluded_ms` that somebody took out."""

    up_ms: int = 0
    down_ms: int = 0
    unknown_ms: int = 0
    excluded_ms: int = 0
    by_hand_ms: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.up_ms + other.up_ms, self.down_ms + other.down_ms, self.unknown_ms + other.unknown_ms,
            self.excluded_ms + other.excluded_ms, self.by_hand_ms + other.by_hand_ms,
        )  # fmt: skip

    def __mul__(self, weight: int) -> "Tally":
        return Tally(
            self.up_ms * weight, self.down_ms * weight, self.unknown_ms * weight, self.excluded_ms * weight,
            self.by_hand_ms * weight,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Overview:
    """One equipment now: state and since when, the worst state of each of the last 24 h, the share up in them."""

    equipment: Equipment
    state: EquipmentState
    since_ms: int | None
    strip: tuple[EquipmentState, ...]
    intact_24h: Fraction | None


def facts_window(window: Window, now_ms: int, debounce_ms: int = DEBOUNCE_MS) -> tuple[int, int]:
    """Which device states the timelines of a window need: before it to settle, after it to debounce, not ahead."""
    begin = window.from_ms - LOOK_BACK_MS
    return begin, max(min(window.to_ms + debounce_ms, now_ms), begin + 1)


def lifetime(equipment: Equipment, site: Site) -> tuple[int, int]:
    """[commissioned, retired) in Unix ms UTC; local midnights."""
    begin = equipment.commissioned or site.commissioned
    zone = site.time_zone
    return (
        date_start(begin, zone) if begin else -NEVER_MS,
        date_start(equipment.retired, zone) if equipment.retired else NEVER_MS,
    )


def equipment_timeline(
    device: Timeline | None, life: tuple[int, int], window: Window, debounce_ms: int = DEBOUNCE_MS
) -> Timeline:
    """States of an equipment in the part of the window in which it was in the ledger; may be empty.

    `device` is the timeline of its device around the window (None: nothing was ever heard of it).
    """
    begin, end = max(window.from_ms, life[0]), min(window.to_ms, life[1])
    if device is None:
        known = begin < end
        starts = np.array([begin] if known else [], np.int64)
        return Timeline(starts, np.full(len(starts), UNKNOWN, np.uint8), end if known else begin)
    return debounced(device, debounce_ms).clipped(begin, end)


def tally_of(counts: Timeline) -> Tally:
    """Time by what it counts as, of `EquipmentTimeline.counts`."""
    lengths = counts.ends - counts.starts if len(counts.starts) else counts.starts
    of = [int(lengths[counts.codes == code].sum()) for code in (UP, DOWN, NOT_KNOWN, EXCLUDED, BY_HAND)]
    return Tally(of[0], of[1], of[2], of[3] + of[4], of[4])


def tally(timeline: Timeline) -> Tally:
    """Time of a timeline by what it counts as."""
    return Tally(*(timeline.duration_ms(COUNTING[one]) for one in (Counts.UP, Counts.DOWN, Counts.UNKNOWN,
                                                                    Counts.EXCLUDED)))  # fmt: skip


def intact_rate(tallies: Iterable[Tally], window: Window, target: Fraction | None, now_ms: int) -> IndicatorResult:
    """IR_time with its bounds (domain.md 1.3), weights 1. Null when nothing is known to be up or down."""
    total = sum(tallies, Tally())
    counted = total.up_ms + total.down_ms
    everything = counted + total.unknown_ms
    low, high = ratio(total.up_ms, everything), ratio(total.up_ms + total.unknown_ms, everything)
    return IndicatorResult(
        id=INTACT_RATE,
        value=ratio(total.up_ms, counted),
        low=low,
        high=high,
        coverage=ratio(counted, everything),
        verdict=judge(low, high, target),
        target=target,
        numerator=total.up_ms,
        denominator=counted,
        unit="ms",
        window=window,
        final=is_final(window, now_ms),
    )


def overviews_of(timelines: Iterable[EquipmentTimeline], now_ms: int) -> list[Overview]:
    """What the equipment list shows, of timelines over the last 24 h."""
    window = Window(now_ms - STRIP_HOURS * HOUR_MS, now_ms)
    return [_overview_of(one, window) for one in timelines]


def _overview_of(one: EquipmentTimeline, window: Window) -> Overview:
    states, counts = one.states, tally_of(one.counts)
    if not len(states.starts):
        return Overview(one.equipment, EquipmentState.UNKNOWN, None, (EquipmentState.UNKNOWN,) * STRIP_HOURS, None)
    code, since_ms = states.code_at(states.end_ms - 1)
    if since_ms <= window.from_ms and one.device is not None:  # it began before the window
        before = debounced(one.device, DEBOUNCE_MS).code_at(window.to_ms - 1)
        since_ms = min(since_ms, before[1]) if before[0] == code else since_ms
    intact = ratio(counts.up_ms, counts.up_ms + counts.down_ms)
    return Overview(one.equipment, EQUIPMENT_STATES[code], since_ms, _strip(states, window), intact)


def _strip(timeline: Timeline, window: Window) -> tuple[EquipmentState, ...]:
    hours = []
    for hour in range(STRIP_HOURS):
        begin = window.from_ms + hour * HOUR_MS
        present = {EQUIPMENT_STATES[code] for code in timeline.clipped(begin, begin + HOUR_MS).codes.tolist()}
        hours.append(next((state for state in _WORST_FIRST if state in present), EquipmentState.UNKNOWN))
    return tuple(hours)
