"""Whose times may be believed, and how those of the others are put right (design.md section 5). Pure.

A frame of an untrusted clock run, and one that claims a time that had not come when it arrived, waits for the fix
of its run. Then all its times move by one constant.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import msgspec

from devices.columns import Numbers
from devices.frame import Content, Frame, Header
from devices.reading import Int64s, Lane
from devices.records import ClockFix, Record

AHEAD_MS_MAX = 300_000  # a span that ends later than this after its receipt cannot be right
TIMES_OF_THE_RUN = frozenset({"time_ms", "last_ok_ms", "since_ms"})  # fields of records that its clock showed


class Released(NamedTuple):
    """A frame whose times were put right by `shift_ms`. Read it from the log of `lane`, behind `after`."""

    number: int
    lane: Lane
    after: int
    shift_ms: int


class Releases(Protocol):
    """Frames whose fix has come, in the order in which that was found: what follows the log follows this, too."""

    def released(self, after: int, limit: int) -> Sequence[Released]:
        """At most `limit` of them behind a number, in order; callable from any thread."""
        ...


def is_ahead(header: Header, received_ms: int) -> bool:
    """Whether a frame claims a time that had not come when it arrived."""
    return header.to_ms > received_ms + AHEAD_MS_MAX


def needs_fix(header: Header, received_ms: int) -> bool:
    """Whether a frame's times say nothing until the fix of its clock run is known."""
    return not header.trusted or is_ahead(header, received_ms)


def shift_of(fix: ClockFix, header: Header) -> int:
    """What to add to the times of a frame of the run that `fix` is about, in ms; the same for each of its frames."""
    shown_ms = fix.shown_ms
    if shown_ms is None:  # of an older gateway: its frame says what its clock showed at another moment
        shown_ms = header.to_ms - (header.monotonic_ms - fix.monotonic_ms)
    return fix.utc_ms - shown_ms


def shifted(frame: Frame, shift_ms: int, uncertainty_ms: int) -> Frame:
    """The frame as a right clock would have sealed it, but for what no clock decides: it is trusted then.

    Loss records keep their times: what they tell of was sealed under another clock run. Raises OverflowError
    when `shift_ms` is beyond 64 bits.
    """
    header = msgspec.structs.replace(
        frame.header,
        from_ms=frame.header.from_ms + shift_ms,
        to_ms=frame.header.to_ms + shift_ms,
        trusted=True,
        uncertainty_ms=uncertainty_ms,
    )
    return replace(frame, header=header, content=_shifted_content(frame.content, shift_ms))


def shifted_numbers(numbers: Numbers, shift_ms: int) -> Numbers:
    """Readings with their times put right."""
    return replace(numbers, time_ms=_moved(numbers.time_ms, shift_ms))


def _shifted_content(content: Content, shift_ms: int) -> Content:
    entries = content.confirmations
    return Content(
        series=content.series,
        numbers=shifted_numbers(content.numbers, shift_ms),
        texts=replace(content.texts, time_ms=_moved(content.texts.time_ms, shift_ms)),
        poses=replace(content.poses, time_ms=_moved(content.poses.time_ms, shift_ms)),
        confirmations=replace(
            entries,
            changed_ms=_moved(entries.changed_ms, shift_ms),
            confirmed_ms=_moved(entries.confirmed_ms, shift_ms),
        ),
        records=tuple(_shifted_record(record, shift_ms) for record in content.records),
    )


def _shifted_record(record: Record, shift_ms: int) -> Record:
    said = {name: getattr(record, name) for name in record.__struct_fields__ if name in TIMES_OF_THE_RUN}
    moved = {name: time_ms + shift_ms for name, time_ms in said.items() if time_ms is not None}
    return msgspec.structs.replace(record, **moved)


def _moved(times: Int64s, shift_ms: int) -> Int64s:
    return times + shift_ms
