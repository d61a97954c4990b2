"""States of devices worked out anew from accepted frames: written from the text of design.md section 8.

Shares no code with the cloud's timelines; only the decoder of frames and the profile's state rules are the same.
Everything is in Unix ms UTC.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from devices.frame import Frame, Origin
from devices.profile import LoadedProfile
from devices.reading import Lane, Quality
from devices.records import Link
from devices.states import EquipmentState

Spans = list[tuple[int, EquipmentState, bool]]  # (from, state, whether it is a FAULT kept in silence)


@dataclass(frozen=True)
class _Said:
    """A claim: the point had the value from one moment to another. `rank` decides between equal moments."""

    from_ms: int
    rank: tuple[bool, int, bytes, int, int]
    value: float
    to_ms: int
    hold_ms: int
    frame: Frame


@dataclass(frozen=True)
class _Stop:
    """No good answer any more of the device (point "") or a point: known at `at_ms`, last good at `last_ms`."""

    point: str
    at_ms: int
    last_ms: int


def states(frames: Iterable[Frame], device: str, profile: LoadedProfile, window: tuple[int, int]) -> Spans:
    """States of one polled device within the window."""
    events = [frame for frame in frames if frame.header.lane is Lane.EVENTS]
    stretches = _stretches(events)
    stops = [stop for frame in events for stop in _stops(frame, device)]
    rules = profile.rules
    assert rules is not None
    steps = {point: _steps(_claims(events, device, point), stops, point, stretches) for point in rules.points}
    moments = sorted({start for one in steps.values() for start, _ in one})
    found: Spans = [(-(2**62), EquipmentState.UNKNOWN, False)]
    faulty = False
    for moment in moments:
        state = rules.state({point: _at(one, moment) for point, one in steps.items()})
        kept = state is EquipmentState.UNKNOWN and faulty  # contact lost while in FAULT stays FAULT
        state = EquipmentState.FAULT if kept else state
        faulty = state is EquipmentState.FAULT
        if (state, kept) != found[-1][1:]:
            found.append((moment, state, kept))
    return _clipped(found, *window)


def _clipped(found: Spans, from_ms: int, to_ms: int) -> Spans:
    before = [one for one in found if one[0] <= from_ms][-1]
    return [(from_ms, before[1], before[2]), *(one for one in found if from_ms < one[0] < to_ms)]


def _stretches(frames: Sequence[Frame]) -> dict[tuple[bytes, int], tuple[int, int]]:
    """For each frame the stretch without a gap that it stands in: frames of one epoch and clock run that touch."""
    by_name = {(frame.header.epoch, frame.header.seq): frame.header for frame in frames}
    found: dict[tuple[bytes, int], tuple[int, int]] = {}
    for epoch, seq in sorted(by_name):
        if (epoch, seq) in found:
            continue
        members = [by_name[epoch, seq]]
        while (after := by_name.get((epoch, members[-1].seq + 1))) is not None and (
            after.from_ms == members[-1].to_ms and after.clock_run == members[-1].clock_run
        ):
            members.append(after)
        for one in members:
            found[epoch, one.seq] = members[0].from_ms, members[-1].to_ms
    return found


def _stops(frame: Frame, device: str) -> Iterable[_Stop]:
    for record in frame.content.records:
        if isinstance(record, Link) and record.device == device and not record.good:
            last_ms = record.time_ms if record.last_ok_ms is None else record.last_ok_ms
            yield _Stop(record.point, record.time_ms, min(last_ms, record.time_ms))
    for row, at in enumerate(frame.content.numbers.series.tolist()):
        series = frame.content.series[at]
        quality, time_ms = int(frame.content.numbers.quality[row]), int(frame.content.numbers.time_ms[row])
        if series.device == device and series.hold_s and quality >= Quality.BAD_NO_ANSWER:
            yield _Stop(series.point, time_ms, time_ms)


def _claims(frames: Iterable[Frame], device: str, point: str) -> list[_Said]:
    claims: list[_Said] = []
    for frame in frames:
        content, header = frame.content, frame.header
        numbers, entries = content.numbers, content.confirmations
        rows = [
            (numbers.series[row], numbers.time_ms[row], numbers.time_ms[row], numbers.value[row], numbers.quality[row])
            for row in range(len(numbers))
        ] + [
            (entries.series[row], entries.changed_ms[row], entries.confirmed_ms[row], entries.value[row],
             entries.quality[row])
            for row in range(len(entries))
        ]  # fmt: skip
        for index, (at, from_ms, to_ms, value, quality) in enumerate(rows):
            series = content.series[int(at)]
            good = int(quality) < Quality.BAD_NO_ANSWER and not math.isnan(value)
            if (series.device, series.point) == (device, point) and series.hold_s and good:
                rank = (header.origin is not Origin.IMPORT, header.to_ms, header.epoch, header.seq, index)
                claims.append(_Said(int(from_ms), rank, float(value), int(to_ms), series.hold_s * 1000, frame))
    return claims


def _steps(
    claims: Sequence[_Said], stops: Sequence[_Stop], point: str, stretches: dict[tuple[bytes, int], tuple[int, int]]
) -> list[tuple[int, float | None]]:
    """From each moment on: the point's value, None where nobody holds it any more."""
    said: dict[int, tuple[_Said, int]] = {}  # the winner of each beginning, and how long it was confirmed
    for claim in sorted(claims, key=lambda one: (one.from_ms, one.rank)):
        end_ms = _confirmed_to(claim, stops, point, stretches)
        before = said.get(claim.from_ms)
        same = before is not None and before[0].value == claim.value
        said[claim.from_ms] = claim, max(end_ms, before[1]) if before is not None and same else end_ms
    steps: list[tuple[int, float | None]] = []
    begins = sorted(said)
    for begin, following in zip(begins, [*begins[1:], None], strict=True):
        claim, end_ms = said[begin]
        steps.append((begin, claim.value))
        over_ms = end_ms + claim.hold_ms
        if following is None or over_ms < following:
            steps.append((over_ms, None))
    return steps


def _confirmed_to(
    claim: _Said, stops: Sequence[_Stop], point: str, stretches: dict[tuple[bytes, int], tuple[int, int]]
) -> int:
    """A stretch of good link lengthens a claim: to the first stop behind it, or to the end of the stretch."""
    begin_ms, end_ms = stretches[claim.frame.header.epoch, claim.frame.header.seq]
    if claim.to_ms + claim.hold_ms < begin_ms:
        return claim.to_ms  # it was over before the stretch began
    limits = [stop.last_ms for stop in stops if stop.point in {"", point} and stop.at_ms > claim.to_ms]
    return max(claim.to_ms, min([end_ms, *limits]))


def _at(steps: Sequence[tuple[int, float | None]], moment: int) -> float | None:
    value: float | None = None
    for start, one in steps:
        if start > moment:
            break
        value = one
    return value
