"""Modbus RTU answers: found in what a line delivered, and never taken for the answer to another question. Pure.

An RTU answer names its unit and its function, not its question. So an answer counts only when it is as long as
was asked for, and a question that went unanswered is remembered: while its answer may still come, nothing of that
shape is asked of that unit. A question of another shape is asked first; as a device answers in order, the answer
to it says that everything older has passed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pymodbus.framer.rtu import FramerRTU
from pymodbus.pdu import DecodePDU, ModbusPDU

from devices.point import Function
from edge.bus_time import data_bytes

LATE_MAX_S = 60.0  # how late an answer may come and still be known as late
OWED_MAX = 16  # of one unit; breakers ask a silent unit less often than that within a minute
BUFFER_BYTES_MAX = 2048  # several whole answers that nobody asked for may come before the right one
_EXCEPTION, _EXCEPTION_BYTES = 0x80, 5
_HEAD, _CHECK = 3, 2


@dataclass(frozen=True, slots=True)
class Shape:
    """What an answer can be told by: its function code and how many data bytes it has."""

    function: int
    size: int


def shape_of(function: Function, count: int) -> Shape:
    """The shape of the answer to a question."""
    return Shape(function.code, data_bytes(count, bits=function.is_bits))


def is_sound(frame: bytes) -> bool:
    """Whether the check at the frame's end is right."""
    return FramerRTU.compute_CRC(frame[:-_CHECK]) == int.from_bytes(frame[-_CHECK:], "big")


def find_answer(data: bytes, unit: int, shape: Shape) -> tuple[int, bytes | None]:
    """How many bytes are done with, and the answer's function and data (without unit and check), if it is there.

    Sound answers of other units or shapes are stepped over whole; anything else a byte at a time.
    """
    place = done = 0
    while place + _EXCEPTION_BYTES <= len(data):
        frame = _frame_at(data, place)
        if frame is None:
            place += 1
            continue
        place = done = place + len(frame)
        expected = frame[0] == unit and (
            frame[1] == shape.function | _EXCEPTION or (frame[1] == shape.function and frame[2] == shape.size)
        )
        if expected:
            return done, frame[1:-_CHECK]
    return done, None


def _frame_at(data: bytes, place: int) -> bytes | None:
    """The sound answer to a read that begins here, if one does."""
    function = data[place + 1]
    if function & ~_EXCEPTION not in {1, 2, 3, 4}:
        return None
    size = _EXCEPTION_BYTES if function & _EXCEPTION else _HEAD + data[place + 2] + _CHECK
    frame = data[place : place + size]
    return frame if len(frame) == size and is_sound(frame) else None


class RtuFramer(FramerRTU):
    """pymodbus's framing with our search. While nothing is `expected`, what comes is dropped."""

    def __init__(self, decoder: DecodePDU) -> None:
        super().__init__(decoder)
        self.expected: Shape | None = None

    def handleFrame(self, data: bytes, exp_devid: int, exp_tid: int) -> tuple[int, ModbusPDU | None]:  # noqa: N802
        """Bytes used, and the answer if it is there."""
        if self.expected is None:
            return len(data), None
        used, found = find_answer(data, exp_devid, self.expected)
        answer = self.decoder.decode(found) if found is not None else None
        if answer is not None:
            answer.dev_id, answer.transaction_id = exp_devid, exp_tid
        return used, answer


@dataclass(slots=True)
class Owed:
    """Answers that may still come, by unit, oldest first. Times are seconds of any one clock."""

    _units: dict[int, list[tuple[Shape, float]]] = field(default_factory=dict)

    def unanswered(self, unit: int, shape: Shape, now_s: float) -> None:
        """A question of this shape was not answered in time."""
        owed = [(one, at_s) for one, at_s in self._units.get(unit, ()) if now_s - at_s < LATE_MAX_S]
        self._units[unit] = [*owed[1 - OWED_MAX :], (shape, now_s)]

    def answered(self, unit: int) -> None:
        """An answer came that can only be the one to the last question: everything older has passed."""
        self._units.pop(unit, None)

    def refused(self, unit: int, shape: Shape, now_s: float) -> bool:
        """An exception came after a question of this shape; whether it can only be the answer to that question.

        If not, it may have been the answer to the oldest one, and the last one may still be answered.
        """
        if not any(one.function == shape.function for one in self.shapes(unit, now_s)):
            self.answered(unit)
            return True
        self.unanswered(unit, shape, now_s)
        del self._units[unit][0]
        return False

    def shapes(self, unit: int, now_s: float) -> Sequence[Shape]:
        """What may still come from this unit."""
        return [shape for shape, at_s in self._units.get(unit, ()) if now_s - at_s < LATE_MAX_S]

    def other_count(self, unit: int, function: Function, now_s: float) -> int:
        """The smallest count whose answer cannot be mistaken for one that is owed."""
        taken = self.shapes(unit, now_s)
        step = 8 if function.is_bits else 1
        return next(
            count for count in range(1, (OWED_MAX + 1) * step + 1, step) if shape_of(function, count) not in taken
        )
