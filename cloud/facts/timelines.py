"""Claims -> what a device's points were -> its state, as half-open intervals in whole milliseconds UTC.

Pure: a day's states depend on the set of claims, runs and stops and on what the day before carries in, never on
the order of arrival and never on the clock. Sources: design.md section 8, domain.md 1.2 to 1.4.

Of the claims about one point, the one with the latest `from_ms` counts. It lasts until its end, which links and
gap-free runs lengthen for polled devices, then for `hold_ms`, then the point is unknown.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from cloud.facts.claims import FrameKey
from devices.reading import Bytes8, Floats, Int64s
from devices.states import BANK_STATE_PREFIX, Counts, EquipmentState, SpaceState

EQUIPMENT_STATES = tuple(EquipmentState)  # a code is an index; never reorder, the codes are stored
UNKNOWN = EQUIPMENT_STATES.index(EquipmentState.UNKNOWN)
FAULT = EQUIPMENT_STATES.index(EquipmentState.FAULT)
SPACE_CODES = {SpaceState.FREE: 0, SpaceState.OCCUPIED: 1, SpaceState.UNKNOWN: UNKNOWN}
SILENT = 0x80  # set on FAULT that is kept although contact is lost
STATE_BITS = 0x7F
NEVER_MS = 2**62
DEBOUNCE_MS = 10_000  # domain.md 1.4; for parking spaces domain.md 4 says 60 s

Codes = Bytes8
Judge = Callable[[Mapping[str, float | None]], int]


class Carried(msgspec.Struct, frozen=True, array_like=True):
    """A claim as one day hands it to the next. `lasting`: its frame's run may lengthen it still."""

    point: str
    from_ms: int
    to_ms: int
    value: float
    hold_ms: int
    key: FrameKey
    lasting: bool


class Carry(msgspec.Struct, frozen=True, array_like=True):
    """All that a day needs to know of the days before."""

    claims: tuple[Carried, ...] = ()
    faulty: bool = False  # the last state that was known is FAULT


@dataclass(frozen=True, slots=True, eq=False)
class DeviceDay:
    """One local day of a device. `spaces` are those of a bank of parking sensors, by point, in `SPACE_CODES`."""

    timeline: "Timeline"
    carry: Carry  # what the next day must know
    spaces: "Mapping[str, Timeline]"


@dataclass(frozen=True, slots=True, eq=False)
class Claims:
    """Claims about one device, in parallel columns; `point` indexes `points`, `frame` indexes `frames`.

    `lasting` marks those that the run of their frame may lengthen. Frames are sorted by key.
    """

    points: tuple[str, ...]
    frames: tuple[FrameKey, ...]
    point: Int64s
    from_ms: Int64s
    to_ms: Int64s
    value: Floats
    hold_ms: Int64s
    frame: Int64s
    lasting: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Confirming:
    """What lengthens claims: per frame of `Claims.frames` the run it stands in, and where answers stopped.

    A frame without a run has `run_to_ms` -1. `stops` holds per point ("" for the device) the times at which a
    stop was sealed and the last good answer before each, both sorted by the first.
    """

    run_from_ms: Int64s
    run_to_ms: Int64s
    stops: Mapping[str, tuple[Int64s, Int64s]]


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """One point over time: from `starts[i]` its value is `values[i]` (NaN: unknown)."""

    starts: Int64s
    values: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Exactly one state at any time of [starts[0], end_ms): from `starts[i]` on it is `codes[i]`."""

    starts: Int64s
    codes: Codes
    end_ms: int

    @property
    def ends(self) -> Int64s:
        """Where each interval ends (exclusive)."""
        return np.append(self.starts[1:], self.end_ms)

    def clipped(self, from_ms: int, to_ms: int) -> "Timeline":
        """The part within [from_ms, to_ms); empty when they do not meet."""
        low, high = max(from_ms, int(self.starts[0]) if len(self.starts) else to_ms), min(to_ms, self.end_ms)
        if low >= high:
            return Timeline(np.empty(0, np.int64), np.empty(0, np.uint8), low)
        first = int(np.searchsorted(self.starts, low, "right")) - 1
        last = int(np.searchsorted(self.starts, high, "left"))
        starts = self.starts[first:last].copy()
        starts[0] = low
        return Timeline(starts, self.codes[first:last], high)

    def duration_ms(self, codes: Sequence[int]) -> int:
        """Time in any of these states."""
        chosen = np.isin(self.codes & STATE_BITS, np.array(codes, np.uint8))
        return int((self.ends - self.starts)[chosen].sum())

    def code_at(self, time_ms: int) -> tuple[int, int]:
        """State at a moment within the timeline, and since when."""
        index = int(np.searchsorted(self.starts, time_ms, "right")) - 1
        return int(self.codes[index]) & STATE_BITS, int(self.starts[index])


def constant(from_ms: int, to_ms: int, code: int) -> Timeline:
    """One state all the time; empty when that is none."""
    known = from_ms < to_ms
    starts = np.array([from_ms] if known else [], np.int64)
    return Timeline(starts, np.full(len(starts), code, np.uint8), to_ms)


COUNTING: dict[Counts, tuple[int, ...]] = {
    counts: tuple(code for code, state in enumerate(EQUIPMENT_STATES) if state.counts_as is counts) for counts in Counts
}


def device_day(
    claims: Claims,
    confirming: Confirming,
    rules: Sequence[tuple[int, Judge]],
    from_ms: int,
    to_ms: int,
    *,
    faulty: bool,
) -> DeviceDay:
    """States of a device in [from_ms, to_ms), and what the next day must know.

    `claims` hold those of the carry too; `faulty` is the carry's. `rules` are judges with the moment from which each
    applies, ascending, the first not later than `from_ms`. A judge is asked once per distinct combination of values.
    """
    steps, carried = point_steps(claims, confirming, from_ms, to_ms)
    timeline = judged(steps, rules, from_ms, to_ms)
    timeline, faulty = keep_faults(timeline, faulty=faulty)
    spaces = {name: _space(found, to_ms) for name, found in sorted(steps.items()) if name.startswith(BANK_STATE_PREFIX)}
    return DeviceDay(timeline, Carry(carried, faulty), spaces)


def _space(occupied: Steps, end_ms: int) -> Timeline:
    codes = np.where(occupied.values != 0, SPACE_CODES[SpaceState.OCCUPIED], SPACE_CODES[SpaceState.FREE])
    known = np.where(np.isnan(occupied.values), UNKNOWN, codes).astype(np.uint8)
    return changes_only(occupied.starts, known, end_ms)


def point_steps(
    claims: Claims, confirming: Confirming, from_ms: int, to_ms: int
) -> tuple[dict[str, Steps], tuple[Carried, ...]]:
    """Each point over [from_ms, to_ms), and the claims that count at its end."""
    ends = _lengthened(claims, confirming)
    steps: dict[str, Steps] = {}
    carried: list[Carried] = []
    order = np.lexsort((claims.frame, claims.from_ms, claims.point))
    order = order[claims.from_ms[order] < to_ms]
    bounds = np.searchsorted(claims.point[order], np.arange(len(claims.points) + 1))
    for index, name in enumerate(claims.points):
        rows = order[bounds[index] : bounds[index + 1]]
        if not len(rows):
            continue
        rows, last = _winners(claims, rows)
        starts = claims.from_ms[rows[last]]
        until = np.maximum.reduceat(ends.to_ms[rows], _begins(last)) + claims.hold_ms[rows[last]]
        steps[name] = _steps(starts, until, claims.value[rows[last]], from_ms, to_ms)
        group = rows[_begins(last)[-1] :]
        carried.extend(_carry_out(claims, confirming, group, ends, to_ms))
    return steps, tuple(carried)


@dataclass(frozen=True, slots=True, eq=False)
class _Ends:
    to_ms: Int64s  # of each claim, lengthened, without its hold
    stopped: NDArray[np.bool_]  # whether its point stopped answering at some time after it


def _lengthened(claims: Claims, confirming: Confirming) -> _Ends:
    run_from, run_to = confirming.run_from_ms[claims.frame], confirming.run_to_ms[claims.frame]
    # A value that had gone stale before the run began was sealed in it as history, not as something still seen.
    alive = claims.lasting & (claims.to_ms + claims.hold_ms >= run_from)
    reach = np.where(alive, run_to, claims.to_ms)
    stop = np.full(len(reach), NEVER_MS, np.int64)
    for index, name in enumerate(claims.points):
        for scope in ("", name):
            if scope in confirming.stops:
                mine = np.flatnonzero(claims.point == index)
                stop[mine] = np.minimum(stop[mine], _first_stop(confirming.stops[scope], claims.to_ms[mine]))
    return _Ends(np.maximum(claims.to_ms, np.minimum(reach, stop)), stop < NEVER_MS)


def _first_stop(stops: tuple[Int64s, Int64s], after_ms: Int64s) -> Int64s:
    """The earliest last-good time among stops sealed after a moment."""
    times, last_good = stops
    earliest = np.append(np.minimum.accumulate(last_good[::-1])[::-1], NEVER_MS)
    found: Int64s = earliest[np.searchsorted(times, after_ms, "right")]
    return found


def _winners(claims: Claims, rows: Int64s) -> tuple[Int64s, Int64s]:
    """Of claims with one beginning the last counts, with those that say the same; -> rows, last row of each group."""
    starts = claims.from_ms[rows]
    last = np.append(np.flatnonzero(np.diff(starts)), len(rows) - 1)
    if len(last) == len(rows):
        return rows, last
    group = np.searchsorted(last, np.arange(len(rows)))
    agrees = claims.value[rows] == claims.value[rows[last]][group]
    rows = rows[agrees]
    return rows, np.append(np.flatnonzero(np.diff(claims.from_ms[rows])), len(rows) - 1)


def _begins(last: Int64s) -> Int64s:
    return np.concatenate(([0], last[:-1] + 1))


def _steps(starts: Int64s, until: Int64s, values: Floats, from_ms: int, to_ms: int) -> Steps:
    """Values and, where a value runs out before the next begins, unknown; clipped, beginning at `from_ms`."""
    following = np.append(starts[1:], NEVER_MS)
    runs_out = until < following
    times = np.concatenate([[-NEVER_MS], starts, until[runs_out]])
    what = np.concatenate([[np.nan], values, np.full(int(runs_out.sum()), np.nan)])
    # At one moment the beginning of a claim comes after the end of another.
    sort = np.lexsort((np.concatenate([[0], np.full(len(starts), 2), np.ones(int(runs_out.sum()))]), times))
    times, what = times[sort], what[sort]
    first = int(np.searchsorted(times, from_ms, "right")) - 1
    last = int(np.searchsorted(times, to_ms, "left"))
    times, what = times[first:last].copy(), what[first:last]
    times[0] = from_ms
    return Steps(times, what)


def _carry_out(claims: Claims, confirming: Confirming, group: Int64s, ends: _Ends, to_ms: int) -> list[Carried]:
    """The claim in force at the end of the day: what is settled in one row, and one per run that may go on."""
    winner = int(group[-1])
    settled = Carried(
        point=claims.points[int(claims.point[winner])],
        from_ms=int(claims.from_ms[winner]),
        to_ms=min(int(ends.to_ms[group].max()), to_ms),
        value=float(claims.value[winner]),
        hold_ms=int(claims.hold_ms[winner]),
        key=claims.frames[claims.frame[winner]],
        lasting=False,
    )
    open_runs: dict[bytes, Carried] = {}
    for row in group.tolist():
        frame, end_ms = int(claims.frame[row]), min(int(ends.to_ms[row]), to_ms)
        stopped = ends.stopped[row] and end_ms < to_ms
        if claims.lasting[row] and not stopped and confirming.run_to_ms[frame] >= to_ms:
            key = claims.frames[frame]
            run = key.epoch + int(confirming.run_from_ms[frame]).to_bytes(8, "big", signed=True)
            # Rows come in the order of their keys, so the last one of a run stays.
            open_runs[run] = msgspec.structs.replace(settled, to_ms=end_ms, key=key, lasting=True)
    return [settled, *(open_runs[run] for run in sorted(open_runs))]


def judged(steps: Mapping[str, Steps], rules: Sequence[tuple[int, Judge]], from_ms: int, to_ms: int) -> Timeline:
    """The state over [from_ms, to_ms) by the rules in force, changes only."""
    names = sorted(steps)
    changes = [np.array([max(since, from_ms) for since, _ in rules if since < to_ms], np.int64)]
    times = np.unique(np.concatenate([*changes, *(steps[name].starts for name in names), [from_ms]]))
    columns = [steps[name].values[np.searchsorted(steps[name].starts, times, "right") - 1] for name in names]
    rule = np.searchsorted(np.array([since for since, _ in rules], np.int64), times, "right") - 1
    table = np.column_stack([*columns, rule.astype(np.float64)])
    # Compared by bits, NaN equals NaN; the claims hold no negative zero.
    rows = np.ascontiguousarray(table).view(np.dtype((np.void, table.dtype.itemsize * table.shape[1]))).ravel()
    _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    codes = np.array([_judge(rules, table[row], names) for row in first.tolist()], np.uint8)[inverse.ravel()]
    return changes_only(times, codes, to_ms)


def _judge(rules: Sequence[tuple[int, Judge]], row: Floats, names: Sequence[str]) -> int:
    values = {name: None if math.isnan(value) else value for name, value in zip(names, row.tolist(), strict=False)}
    return rules[int(row[-1])][1](values)


def keep_faults(timeline: Timeline, *, faulty: bool) -> tuple[Timeline, bool]:
    """Contact lost while in FAULT stays FAULT until data prove it intact (domain.md 1.4)."""
    known = timeline.codes != UNKNOWN
    last_known = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
    was_fault = np.where(last_known < 0, faulty, timeline.codes[last_known] == FAULT)
    codes = np.where(~known & was_fault, FAULT | SILENT, timeline.codes).astype(np.uint8)
    return Timeline(timeline.starts, codes, timeline.end_ms), bool(was_fault[-1])


def changes_only(starts: Int64s, codes: Codes, end_ms: int) -> Timeline:
    """Neighbours with one code become one interval."""
    keep = np.append(True, codes[1:] != codes[:-1])
    return Timeline(starts[keep], codes[keep], end_ms)


def joined(parts: Sequence[Timeline]) -> Timeline:
    """Timelines that follow each other without a gap, as one."""
    starts = np.concatenate([part.starts for part in parts])
    return changes_only(starts, np.concatenate([part.codes for part in parts]), parts[-1].end_ms)


def debounced(timeline: Timeline, debounce_ms: int) -> Timeline:
    """States shorter than `debounce_ms` take the state before them; the first and the last one are left as they are.

    The last one is cut by the end of what is known and may yet grow. Silence while in FAULT is FAULT.
    """
    codes = (timeline.codes & STATE_BITS).astype(np.uint8)
    plain = changes_only(timeline.starts, codes, timeline.end_ms)
    long = plain.ends - plain.starts >= debounce_ms
    long[0] = long[-1] = True
    source = np.maximum.accumulate(np.where(long, np.arange(len(long)), 0))
    return changes_only(plain.starts, plain.codes[source], plain.end_ms)
