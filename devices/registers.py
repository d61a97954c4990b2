"""Register words and bits to values and back: type, word and byte order, scale, sentinels, canonical units.

A whole read is decoded with array operations: points are grouped by how they are written, each group is gathered
with one fancy index and viewed as its type. Words are uint16 in the order they travelled (Modbus sends each
register high byte first; `words` are the registers' numbers in the host's order).
"""

import math
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from devices.errors import RegisterError
from devices.point import Point, PointType
from devices.reading import Floats
from devices.units import DISCRETE, conversion

Words = NDArray[np.uint16]
Bits = NDArray[np.bool_]

_DTYPES: dict[PointType, str] = {
    PointType.U16: "u2",
    PointType.S16: "i2",
    PointType.U32: "u4",
    PointType.S32: "i4",
    PointType.U64: "u8",
    PointType.S64: "i8",
    PointType.F32: "f4",
    PointType.F64: "f8",
    PointType.BIT: "u2",
    PointType.BOOL: "u2",
}
POWER_MAX = 10  # SunSpec scale factors are -10 to 10
_FLOATS = frozenset({PointType.F32, PointType.F64})


def _line(point: Point) -> tuple[float, float]:
    """Scale and offset from the raw number to the canonical value."""
    unit = conversion(point.unit) if point.unit else DISCRETE
    return point.scale * unit.scale, point.offset * unit.scale + unit.offset


def _sentinels(point: Point) -> list[int]:
    """The raw numbers that mean "no value", as the point's type reads them (0xFFFF of an s16 is -1)."""
    if not point.invalid:
        return []
    bits = 16 * point.registers
    if point.type in {PointType.S16, PointType.S32, PointType.S64}:
        return [raw - (1 << bits) if raw >= 1 << (bits - 1) else raw for raw in point.invalid]
    return [raw % (1 << bits) for raw in point.invalid]


@dataclass(slots=True)
class _Group:
    """Points that are written alike."""

    dtype: np.dtype[np.generic]
    words: NDArray[np.intp] | slice
    swapped: bool
    into: NDArray[np.intp] | slice
    shift: Words | None
    truth: bool
    sentinels: NDArray[np.generic] | None
    scale: Floats | None
    offset: Floats | None
    floating: bool

    def decode(self, words: Words, values: Floats) -> None:
        taken = words[self.words]
        if self.swapped:
            taken = taken.byteswap()
        raw = taken.view(self.dtype)
        if self.shift is not None:
            raw = (raw >> self.shift) & 1
        elif self.truth:
            raw = raw != 0
        result = raw.astype(np.float64)
        if self.scale is not None:
            result *= self.scale
        if self.offset is not None:
            result += self.offset
        if self.floating:
            result[~np.isfinite(result)] = np.nan
        if self.sentinels is not None:
            result[(raw[:, None] == self.sentinels).any(axis=1)] = np.nan
        values[self.into] = result


class RegisterDecoder:
    """Decodes one read of registers. `points` lie between `start_address` and the end of the read.

    Texts have no number: their place holds NaN, `texts` reads them.
    """

    def __init__(self, points: Sequence[Point], start_address: int) -> None:
        self.points = tuple(points)
        self.start_address = start_address
        numeric = [index for index, point in enumerate(self.points) if not point.is_text]
        self._complete = len(numeric) == len(self.points)
        self._texts = [(point, self._offset(point)) for point in self.points if point.is_text]
        self.words_needed = max((self._offset(point) + point.registers for point in self.points), default=0)
        alike: dict[tuple[object, ...], list[int]] = {}
        for index in numeric:
            point = self.points[index]
            alike.setdefault((point.type, point.word_order, point.byte_order, bool(point.invalid)), []).append(index)
        self._groups = [self._group(members) for members in alike.values()]
        places = {point.id: index for index, point in enumerate(self.points)}
        scaled = [(index, point) for index, point in enumerate(self.points) if point.scale_from is not None]
        missing = [point.id for _, point in scaled if point.scale_from not in places]
        if missing:
            raise RegisterError(f"the scale factors of {', '.join(missing)} are not in this read")
        self._scaled = np.array([index for index, _ in scaled], np.intp)
        self._factors = np.array([places[str(point.scale_from)] for _, point in scaled], np.intp)

    def decode(self, words: Words) -> Floats:
        """Canonical values, shape (len(points),); NaN where the device says "no value".

        Raises RegisterError when the read is too short.
        """
        if words.shape[0] < self.words_needed:
            raise RegisterError(f"{self.words_needed} registers are needed, {words.shape[0]} were read")
        values = np.empty(len(self.points)) if self._complete else np.full(len(self.points), np.nan)
        for group in self._groups:
            group.decode(words, values)
        if self._scaled.size:
            powers = values[self._factors]
            powers[np.abs(powers) > POWER_MAX] = np.nan  # no device measures that: a wrong address
            values[self._scaled] *= np.power(10.0, powers)
        return values

    def texts(self, words: Words) -> dict[str, str]:
        """The texts among the points, by point id."""
        numbers = words.tolist()
        return {point.id: decode_text(point, numbers[at : at + point.registers]) for point, at in self._texts}

    def _offset(self, point: Point) -> int:
        offset = (point.address if point.address is not None else -1) - self.start_address
        if offset < 0:
            raise RegisterError(f"{point.id} lies before the read at {self.start_address}")
        return offset

    def _group(self, members: list[int]) -> _Group:
        points = [self.points[index] for index in members]
        first = points[0]
        lines = np.array([_line(point) for point in points])
        bits = first.type is PointType.BIT
        sentinels = [_sentinels(point) for point in points]
        longest = max(len(listed) for listed in sentinels)
        dtype = np.dtype(_DTYPES[first.type])
        padded = [listed + listed[:1] * (longest - len(listed)) for listed in sentinels]
        return _Group(
            dtype=dtype,
            words=_as_slice([place for point in points for place in self._places(point)]),
            swapped=first.byte_order == "little",
            into=_as_slice(members),
            shift=np.array([point.bit for point in points], np.uint16) if bits else None,
            truth=first.type is PointType.BOOL,
            sentinels=np.array(padded, dtype) if longest else None,
            scale=lines[:, 0].copy() if np.any(lines[:, 0] != 1) else None,
            offset=lines[:, 1].copy() if np.any(lines[:, 1] != 0) else None,
            floating=first.type in _FLOATS,
        )

    def _places(self, point: Point) -> list[int]:
        """Where its words lie in the read, in the order in which this host keeps a number's words."""
        start = self._offset(point)
        places = list(range(start, start + point.registers))
        return places if (point.word_order == sys.byteorder) else places[::-1]


def _as_slice(places: list[int]) -> NDArray[np.intp] | slice:
    """A slice where the places follow each other (no copy), else an index array."""
    if places == list(range(places[0], places[0] + len(places))):
        return slice(places[0], places[0] + len(places))
    return np.array(places, np.intp)


class BitDecoder:
    """Decodes one read of coils or discrete inputs."""

    def __init__(self, points: Sequence[Point], start_address: int) -> None:
        self.points = tuple(points)
        self.start_address = start_address
        places = [(point.address if point.address is not None else -1) - start_address for point in points]
        if min(places, default=0) < 0:
            raise RegisterError(f"a point lies before the read at {start_address}")
        self.bits_needed = max(places, default=-1) + 1
        self._places = np.array(places, np.intp)
        lines = np.array([_line(point) for point in points]).reshape(-1, 2)
        self._scale, self._offset = lines[:, 0].copy(), lines[:, 1].copy()

    def decode(self, bits: Bits) -> Floats:
        """0.0 or 1.0 each, after scale and offset (scale -1, offset 1 turns a contact round)."""
        if bits.shape[0] < self.bits_needed:
            raise RegisterError(f"{self.bits_needed} bits are needed, {bits.shape[0]} were read")
        values: Floats = bits[self._places].astype(np.float64)
        values *= self._scale
        values += self._offset
        return values


def decode_registers(point: Point, words: Sequence[int]) -> float:
    """The canonical value of one point from its own registers; NaN for "no value". Raises RegisterError.

    A point with `scale_from` is decoded as if its factor was 0.
    """
    if point.is_text:
        raise RegisterError(f"{point.id} is a text, not a number")
    try:
        array = np.array(words, np.uint16)
    except (OverflowError, ValueError) as error:
        raise RegisterError(f"{point.id}: a register holds 0 to 65535") from error
    moved = point.model_copy(update={"address": 0, "scale_from": None})
    return float(RegisterDecoder([moved], 0).decode(array)[0])


def decode_text(point: Point, words: Sequence[int]) -> str:
    """A text of two characters a register, cut at the first zero, trailing blanks dropped.

    Bytes that are no UTF-8 become U+FFFD.
    """
    order = "<" if point.byte_order == "little" else ">"
    data = struct.pack(f"{order}{len(words)}H", *words)
    return data.split(b"\0", 1)[0].decode("utf-8", "replace").rstrip()


def encode_registers(point: Point, value: float) -> list[int]:
    """The registers that decode to `value`. NaN becomes the point's first sentinel (for floats: NaN).

    Raises RegisterError when the value does not fit. A `bit` sets only its own bit of the word. A point with
    `scale_from` is written as if its factor was 0: divide the value by ten to the power of the factor first.
    """
    if point.is_text:
        raise RegisterError(f"{point.id} is a text, not a number")
    if point.type in _FLOATS:
        return _words(point, _pack_float(point, value))
    if not math.isfinite(value):
        if math.isinf(value) or not point.invalid:
            raise RegisterError(f"{point.id} has no way to write {value}")
        return _words(point, _pack_integer(point, _sentinels(point)[0]))
    scale, offset = _line(point)
    unrounded = (value - offset) / scale
    if not math.isfinite(unrounded):
        raise RegisterError(f"{point.id} has no way to write {value}")
    raw = round(unrounded)
    if point.type in {PointType.BIT, PointType.BOOL}:
        if raw not in {0, 1}:
            raise RegisterError(f"{point.id} is 0 or 1, not {value}")
        return [raw << (point.bit or 0)]
    return _words(point, _pack_integer(point, raw))


def encode_text(point: Point, text: str) -> list[int]:
    """The registers of a text, filled up with zeros. Raises RegisterError when it is too long."""
    data = text.encode()
    if len(data) > 2 * point.registers:
        raise RegisterError(f"{point.id} takes {2 * point.registers} bytes, {text!r} has {len(data)}")
    order = "<" if point.byte_order == "little" else ">"
    return list(struct.unpack(f"{order}{point.registers}H", data.ljust(2 * point.registers, b"\0")))


def _pack_float(point: Point, value: float) -> bytes:
    scale, offset = _line(point)
    try:
        return struct.pack(">f" if point.type is PointType.F32 else ">d", (value - offset) / scale)
    except OverflowError as error:
        raise RegisterError(f"{point.id}: {value} does not fit into {point.type.value}") from error


def _pack_integer(point: Point, raw: int) -> bytes:
    try:
        return raw.to_bytes(2 * point.registers, "big", signed=point.type.value.startswith("s"))
    except OverflowError as error:
        raise RegisterError(f"{point.id}: {raw} does not fit into {point.type.value}") from error


def _words(point: Point, data: bytes) -> list[int]:
    order = "<" if point.byte_order == "little" else ">"
    words = list(struct.unpack(f"{order}{point.registers}H", data))
    return words if point.word_order == "big" else words[::-1]
