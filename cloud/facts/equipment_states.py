"""States of a device, calendars and what people entered -> the state of an equipment, and what it counts as.

Pure, in whole milliseconds. Sources: domain.md 1.2 to 1.4, design.md section 8. Of several causes at one time the
order is DRILL > OFF_DUTY > PM > FAULT > EXT > UNKNOWN > DEGRADED > RUN/STANDBY; the last five come from the device's
rules, the others are laid over them here.

A stop is planned when it began within approved time that had been entered by then, and for as long as that stretch of
approved time goes on. What was entered later, and what comes after the planned end, is FAULT; that holds too for an
equipment of which nothing was heard any more since some moment within the stretch.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cloud.facts.days import Span, clipped, merged
from cloud.facts.equipment_policy import EquipmentPolicy, Policies, grace_ms_of
from cloud.facts.timelines import (
    EQUIPMENT_STATES,
    FAULT,
    NEVER_MS,
    STATE_BITS,
    UNKNOWN,
    Timeline,
    changes_only,
    constant,
)
from devices.states import Counts, EquipmentState

FAILURE_GAP_MS = 300_000  # domain.md 1.4: counted as one failure when gaps are shorter
DEGRADED, RUN, STANDBY, PM, OFF_DUTY, DRILL = (
    EQUIPMENT_STATES.index(one)
    for one in (
        EquipmentState.DEGRADED, EquipmentState.RUN, EquipmentState.STANDBY, EquipmentState.PM,
        EquipmentState.OFF_DUTY, EquipmentState.DRILL,
    )
)  # fmt: skip
DELIVERING = (RUN, STANDBY, DEGRADED)  # a member of a group does its work, or would

# What a state counts as; the index is the code. `BY_HAND` is time that somebody took out of the count.
UP, DOWN, NOT_KNOWN, EXCLUDED, BY_HAND = range(5)
_CODE_OF = {Counts.UP: UP, Counts.DOWN: DOWN, Counts.UNKNOWN: NOT_KNOWN, Counts.EXCLUDED: EXCLUDED}
_COUNTS_AS = np.array([_CODE_OF[state.counts_as] for state in EQUIPMENT_STATES], np.uint8)
_PM_COUNTS = {"exclude": EXCLUDED, "up": UP, "down": DOWN}


@dataclass(frozen=True, slots=True)
class Planned:
    """An approved interval [from_ms, to_ms), and when it was entered."""

    from_ms: int
    to_ms: int
    entered_ms: int

    @property
    def opened_ms(self) -> int:
        """It covers nothing before that."""
        return max(self.from_ms, self.entered_ms)


@dataclass(frozen=True, slots=True)
class Finding:
    """What somebody found on site, or ordered: intact or not, from then on."""

    at_ms: int
    intact: bool


@dataclass(frozen=True, slots=True)
class Circumstances:
    """All that decides about an equipment beside its device. Spans are disjoint and ascending unless told otherwise."""

    lives: tuple[Span, ...]  # when it is in the ledger and in service
    has_device: bool = True
    off_duty: tuple[Span, ...] = ()
    drills: tuple[Span, ...] = ()
    windows: tuple[Planned, ...] = ()  # may overlap
    findings: tuple[Finding, ...] = ()  # ascending
    inspected_for_ms: int | None = None  # a finding about an equipment without device holds that long; None: for ever
    excluded: tuple[Span, ...] = ()
    red: tuple[Span, ...] = ()  # criticality A: while a red alert stands
    class_: str = ""
    heard: tuple[Span, ...] = ()  # when its gateway was heard
    grace: int | Literal["property"] | None = None  # hours, of its redundancy group; None: as the policy says
    in_group: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Worked:
    """An equipment before its group is asked: its states, and the stops it had (merged faults, before any overlay)."""

    states: Timeline
    stops: tuple[Span, ...]
    faults: tuple[Span, ...]  # as the stops, but each by itself


def worked_out(
    device: Timeline | None, given: Circumstances, policies: Policies, from_ms: int, to_ms: int
) -> Worked:  # fmt: skip
    """States over [from_ms, to_ms), also outside its lives. `device` should reach back before that for context.

    `device` None: nothing was ever heard of it, or it has none.
    """
    earlier = [from_ms]
    if given.has_device and device is not None:
        earlier += device.starts[:1].tolist()
    elif given.findings and not given.has_device:
        earlier.append(given.findings[0].at_ms)
    begin = min(earlier)
    base = _debounced(_filled(device, begin, to_ms), policies) if given.has_device else constant(begin, to_ms, UNKNOWN)
    if given.findings:
        base = _with_findings(base, given)
    if given.has_device and given.heard:
        base = painted(base, _silent_too_long(base, given, policies), FAULT)
    windows = tuple(one for one in given.windows if one.opened_ms < one.to_ms)
    late = _overruns(base, windows)
    base = painted(base, merged((planned_end_ms, end_ms) for _, planned_end_ms, end_ms in late), FAULT)
    faults = spans_of(base, (FAULT,))
    ordered = [(one.at_ms, end_ms) for one, end_ms in _until_next(given.findings) if not one.intact]
    stopped = merged([*faults, *ordered, *((silent_ms, end_ms) for silent_ms, _, end_ms in late)])
    stops = joined_gaps(stopped, FAILURE_GAP_MS)
    states = painted(base, _maintenance(windows, faults, stops), PM)
    states = painted(states, given.off_duty, OFF_DUTY)
    states = painted(states, given.drills, DRILL)
    return Worked(states.clipped(from_ms, to_ms), tuple(stops), stopped)


def counted(
    worked: Worked, given: Circumstances, policies: Policies, delivering: Sequence[Span] = ()
) -> Timeline:  # fmt: skip
    """What the states count as: codes UP, DOWN, NOT_KNOWN, EXCLUDED, BY_HAND. `delivering`: when its group works."""
    states = worked.states
    if not len(states.starts):
        return states
    begin, end = int(states.starts[0]), states.end_ms
    counts = changes_only(states.starts, _COUNTS_AS[states.codes & STATE_BITS], end)
    for span, policy in _policy_spans(policies, begin, end):
        if policy.pm != "exclude":
            counts = painted(counts, clipped(spans_of(states, (PM,)), *span), _PM_COUNTS[policy.pm])
        if policy.degraded_class_a_red == "down" and given.red:
            counts = painted(counts, common(clipped(spans_of(states, (DEGRADED,)), *span), given.red), DOWN)
        if given.in_group:
            grace_ms = grace_ms_of(policy.redundancy_grace_h if given.grace is None else given.grace)
            spared = ((stop_ms, min(end_ms, stop_ms + grace_ms)) for stop_ms, end_ms in worked.stops)
            faults = common(clipped(spans_of(states, (FAULT,)), *span), merged(spared))
            counts = painted(counts, common(faults, delivering), UP)
    return painted(counts, given.excluded, BY_HAND)


def group_delivers(members: Iterable[tuple[Timeline, Sequence[Span]]], needed: int) -> list[Span]:
    """When at least `needed` members do their work, or would; each member with its lives."""
    edges: list[tuple[int, int]] = []
    for states, lives in members:
        for begin, end in common(spans_of(states, DELIVERING), lives):
            edges += [(begin, 1), (end, -1)]
    found: list[Span] = []
    working, since = 0, 0
    for time_ms, change in sorted(edges):
        before, working = working, working + change
        if before < needed <= working:
            since = time_ms
        elif working < needed <= before and since < time_ms:
            found.append((since, time_ms))
    return list(merged(found))


def spans_of(timeline: Timeline, codes: Sequence[int]) -> list[Span]:
    """Where the timeline has any of these codes: maximal spans, ascending."""
    chosen = np.isin(timeline.codes & STATE_BITS, np.array(codes, np.uint8))
    spans = zip(timeline.starts[chosen].tolist(), timeline.ends[chosen].tolist(), strict=True)
    return joined_gaps(spans, 1)


def joined_gaps(spans: Iterable[Span], shorter_ms: int) -> list[Span]:
    """Ascending spans, those with a gap of less than that between them as one."""
    result: list[Span] = []
    for begin, end in spans:
        if result and begin - result[-1][1] < shorter_ms:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((begin, end))
    return result


def common(one: Iterable[Span], other: Sequence[Span]) -> list[Span]:
    """Where both are; both ascending and disjoint."""
    found, index = [], 0
    for begin, end in one:
        while index < len(other) and other[index][1] <= begin:
            index += 1
        place = index
        while place < len(other) and other[place][0] < end:
            found.append((max(begin, other[place][0]), min(end, other[place][1])))
            place += 1
    return found


def without(spans: Iterable[Span], taken: Iterable[Span]) -> list[Span]:
    """What is left of spans."""
    left = list(spans)
    for begin, end in taken:
        left = [
            piece for low, high in left for piece in ((low, min(high, begin)), (max(low, end), high))
            if piece[0] < piece[1]
        ]  # fmt: skip
    return left


def painted(timeline: Timeline, spans: Iterable[Span], code: int) -> Timeline:
    """The timeline with another code over spans (disjoint, ascending)."""
    cuts = [edge for span in clipped(spans, _begin(timeline), timeline.end_ms) for edge in span]
    if not cuts:
        return timeline
    edges = np.array(cuts, np.int64)
    starts = np.unique(np.concatenate([timeline.starts, edges[edges < timeline.end_ms]]))
    codes = timeline.codes[np.searchsorted(timeline.starts, starts, "right") - 1].copy()
    codes[np.searchsorted(edges, starts, "right") % 2 == 1] = code
    return changes_only(starts, codes, timeline.end_ms)


def _begin(timeline: Timeline) -> int:
    return int(timeline.starts[0]) if len(timeline.starts) else timeline.end_ms


def _filled(device: Timeline | None, from_ms: int, to_ms: int) -> Timeline:
    """The states without gaps in [from_ms, to_ms): unknown where nothing is told; silence in FAULT is FAULT."""
    starts, codes, end_ms = [np.array([], np.int64)], [np.array([], np.uint8)], from_ms
    if device is not None and len(device.starts):
        end_ms = device.end_ms
        if int(device.starts[0]) > from_ms:
            starts.append(np.array([from_ms], np.int64))
            codes.append(np.array([UNKNOWN], np.uint8))
        starts.append(device.starts)
        codes.append((device.codes & STATE_BITS).astype(np.uint8))
    if end_ms < to_ms:
        starts.append(np.array([end_ms], np.int64))
        codes.append(np.array([UNKNOWN], np.uint8))
    return changes_only(np.concatenate(starts), np.concatenate(codes), max(end_ms, to_ms))


def _debounced(timeline: Timeline, policies: Policies) -> Timeline:
    """As `timelines.debounced`, each state by the policy that held when it began."""
    if not len(timeline.starts):
        return timeline
    shortest = np.array([one.debounce_ms for one in policies.policies], np.int64)
    index = np.searchsorted(np.array(policies.since_ms, np.int64), timeline.starts, "right") - 1
    long: NDArray[np.bool_] = timeline.ends - timeline.starts >= shortest[np.maximum(index, 0)]
    long[0] = long[-1] = True
    source = np.maximum.accumulate(np.where(long, np.arange(len(long)), 0))
    return changes_only(timeline.starts, timeline.codes[source], timeline.end_ms)


def _until_next(findings: Sequence[Finding]) -> Iterator[tuple[Finding, int]]:
    ends = [one.at_ms for one in findings[1:]] + [NEVER_MS]
    return zip(findings, ends, strict=False)


def _with_findings(base: Timeline, given: Circumstances) -> Timeline:
    """FAULT from a failed inspection or an order to the next finding that it is intact.

    Without a device such a finding is also what makes it known: STANDBY, until the next inspection is overdue.
    """
    for finding, end_ms in _until_next(given.findings):
        if not finding.intact:
            base = painted(base, [(finding.at_ms, end_ms)], FAULT)
        elif not given.has_device:
            due_ms = NEVER_MS if given.inspected_for_ms is None else finding.at_ms + given.inspected_for_ms
            base = painted(base, [(finding.at_ms, min(end_ms, due_ms))], STANDBY)
    return base


def _silent_too_long(base: Timeline, given: Circumstances, policies: Policies) -> list[Span]:
    """FAULT from where a silent device's gateway was heard for so long without a break, to the end of the silence."""
    held = [one for one in _policy_spans(policies, -NEVER_MS, NEVER_MS) if given.class_ in one[1].silent_fault_classes]
    found = []
    for begin, end in spans_of(base, (UNKNOWN,)) if held else ():
        faulty = [
            fault_ms
            for from_ms, to_ms in common([(begin, end)], given.heard)
            for (since, until), policy in held
            if (fault_ms := max(from_ms + policy.silent_fault_after_ms, since)) < min(to_ms, until)
        ]
        if faulty:
            found.append((min(faulty), end))
    return found


def _planned_end_ms(windows: Sequence[Planned], moment_ms: int) -> int | None:
    """Where the stretch of approved time ends that holds a moment and was entered by then; None: it was not planned."""
    known = merged((one.from_ms, one.to_ms) for one in windows if one.entered_ms <= moment_ms)
    return next((end for begin, end in known if begin <= moment_ms < end), None)


def _overruns(base: Timeline, windows: Sequence[Planned]) -> list[tuple[int, int, int]]:
    """Contact lost in approved time and not back at its planned end: since when, the planned end, when data came."""
    found = []
    for begin, end in spans_of(base, (UNKNOWN,)) if windows else ():
        planned_end_ms = _planned_end_ms(windows, begin)
        if planned_end_ms is not None and planned_end_ms < end:
            found.append((begin, planned_end_ms, end))
    return found


def _maintenance(windows: Sequence[Planned], faults: Sequence[Span], stops: Sequence[Span]) -> list[Span]:
    """Approved time, but of faults only what was planned when the stop began."""
    if not windows:
        return []
    found = without(merged((one.opened_ms, one.to_ms) for one in windows), faults)
    for begin, end in stops:
        planned_end_ms = _planned_end_ms(windows, begin)
        if planned_end_ms is not None:
            found += common(faults, [(begin, min(end, planned_end_ms))])
    return list(merged(found))


def _policy_spans(policies: Policies, from_ms: int, to_ms: int) -> list[tuple[Span, EquipmentPolicy]]:
    ends = (*policies.since_ms[1:], NEVER_MS)
    found = zip(policies.since_ms, ends, policies.policies, strict=True)
    cut = [((max(since, from_ms), min(end, to_ms)), policy) for since, end, policy in found]
    return [one for one in cut if one[0][0] < one[0][1]]
