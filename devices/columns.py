"""The columns of a frame, and how each packs into bytes.

Integers are stored in the narrowest width that holds them, delta-coded where neighbours are close, with
the bytes of equal weight side by side: zstd then finds the repetition. Numbers are float64 to the outside;
most are short decimals or came from 32-bit registers, and are stored as such when that is exact.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from devices.reading import Bytes8, Floats, Int32s, Int64s

READINGS_MAX = 1_000_000  # rows of one column; bounds what a hostile frame can make us allocate
_WIDTHS = (1, 2, 4, 8)
_SCALED_LIMIT = 2**31
_KIND_FLOAT32, _KIND_FLOAT64, _KIND_NOTHING = 4, 5, 6  # kinds 0 to 3 are integers times 10**-kind
_FACTORS = 10.0 ** np.arange(_KIND_FLOAT32)


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """Numeric readings: parallel arrays of equal length, in the order in which they were handled.

    `value` is float64 in the unit of the series, NaN where there was none; -0.0 is stored as 0.0.
    """

    series: Int32s
    time_ms: Int64s
    value: Floats
    quality: Bytes8

    @classmethod
    def of(cls, series: Iterable[int], time_ms: Iterable[int], value: Iterable[float], quality: Iterable[int]) -> Self:
        """Columns of lists, for small things and tests."""
        return cls(
            np.array(list(series), np.int32),
            np.array(list(time_ms), np.int64),
            np.array(list(value), np.float64),
            np.array(list(quality), np.uint8),
        )

    @classmethod
    def empty(cls) -> Self:
        """No rows."""
        return cls.of((), (), (), ())

    def __len__(self) -> int:
        return len(self.series)

    def pack(self) -> tuple[bytes, ...]:
        """Bytes of each column; nothing for no rows."""
        if not len(self):
            return ()
        return (
            _pack_ints(self.series, delta=True),
            _pack_ints(self.time_ms, delta=True),
            self.quality.tobytes(),
            *_pack_floats(self.value),
        )

    @classmethod
    def unpack(cls, packed: tuple[bytes, ...]) -> Self:
        """The reverse of `pack`. Raises ValueError for anything `pack` does not make."""
        if not packed:
            return cls.empty()
        series, times, quality, kinds, integers, singles, doubles = packed
        rows = len(quality)
        return cls(
            _unpack_ints(series, rows, delta=True).astype(np.int32),
            _unpack_ints(times, rows, delta=True),
            _unpack_floats(rows, kinds, integers, singles, doubles),
            np.frombuffer(quality, np.uint8),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Text readings; `word` indexes `words`, which lists each text once."""

    series: Int32s
    time_ms: Int64s
    word: Int32s
    quality: Bytes8
    words: tuple[str, ...]

    @classmethod
    def of(cls, series: Iterable[int], time_ms: Iterable[int], texts: Iterable[str], quality: Iterable[int]) -> Self:
        """Columns of lists."""
        index: dict[str, int] = {}
        word = [index.setdefault(text, len(index)) for text in texts]
        return cls(
            np.array(list(series), np.int32),
            np.array(list(time_ms), np.int64),
            np.array(word, np.int32),
            np.array(list(quality), np.uint8),
            tuple(index),
        )

    @classmethod
    def empty(cls) -> Self:
        """No rows."""
        return cls.of((), (), (), ())

    def __len__(self) -> int:
        return len(self.series)

    @property
    def texts(self) -> tuple[str, ...]:
        """The text of each row."""
        return tuple(self.words[index] for index in self.word.tolist())

    def pack(self) -> tuple[bytes, ...]:
        """Bytes of each column; `words` travel beside them."""
        if not len(self):
            return ()
        return (
            _pack_ints(self.series, delta=True),
            _pack_ints(self.time_ms, delta=True),
            _pack_ints(self.word, delta=False),
            self.quality.tobytes(),
        )

    @classmethod
    def unpack(cls, packed: tuple[bytes, ...], words: tuple[str, ...]) -> Self:
        """The reverse of `pack`. Raises ValueError for anything `pack` does not make."""
        if not packed:
            return cls.empty()
        series, times, word, quality = packed
        rows = len(quality)
        return cls(
            _unpack_ints(series, rows, delta=True).astype(np.int32),
            _unpack_ints(times, rows, delta=True),
            _checked_index(_unpack_ints(word, rows, delta=False), len(words)),
            np.frombuffer(quality, np.uint8),
            words,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """Robot poses: millimetres and milliradians; `map` indexes `maps`; `flags` as `devices.reading.PoseFlag`."""

    series: Int32s
    time_ms: Int64s
    x_mm: Int32s
    y_mm: Int32s
    theta_mrad: Int32s
    map: Int32s
    flags: Bytes8
    quality: Bytes8
    maps: tuple[str, ...]

    @classmethod
    def empty(cls) -> Self:
        """No rows."""
        none = np.empty(0, np.int32)
        nothing = np.empty(0, np.uint8)
        return cls(none, np.empty(0, np.int64), none, none, none, none, nothing, nothing, ())

    def __len__(self) -> int:
        return len(self.series)

    def pack(self) -> tuple[bytes, ...]:
        """Bytes of each column; `maps` travel beside them."""
        if not len(self):
            return ()
        moving = (self.time_ms, self.x_mm, self.y_mm, self.theta_mrad)
        return (
            _pack_ints(self.series, delta=True),
            *(_pack_ints(column, delta=True) for column in moving),
            _pack_ints(self.map, delta=False),
            self.flags.tobytes(),
            self.quality.tobytes(),
        )

    @classmethod
    def unpack(cls, packed: tuple[bytes, ...], maps: tuple[str, ...]) -> Self:
        """The reverse of `pack`. Raises ValueError for anything `pack` does not make."""
        if not packed:
            return cls.empty()
        series, times, x_mm, y_mm, theta_mrad, map_index, flags, quality = packed
        rows = len(flags)
        return cls(
            _unpack_ints(series, rows, delta=True).astype(np.int32),
            _unpack_ints(times, rows, delta=True),
            _unpack_ints(x_mm, rows, delta=True).astype(np.int32),
            _unpack_ints(y_mm, rows, delta=True).astype(np.int32),
            _unpack_ints(theta_mrad, rows, delta=True).astype(np.int32),
            _checked_index(_unpack_ints(map_index, rows, delta=False), len(maps)),
            np.frombuffer(flags, np.uint8),
            _same_rows(np.frombuffer(quality, np.uint8), rows),
            maps,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Confirmations:
    """Keyframe entries: since `changed_ms` the series has had `value`, last confirmed at `confirmed_ms`."""

    series: Int32s
    changed_ms: Int64s
    confirmed_ms: Int64s
    value: Floats
    quality: Bytes8

    @classmethod
    def of(
        cls,
        series: Iterable[int],
        changed_ms: Iterable[int],
        confirmed_ms: Iterable[int],
        value: Iterable[float],
        quality: Iterable[int],
    ) -> Self:
        """Columns of lists."""
        return cls(
            np.array(list(series), np.int32),
            np.array(list(changed_ms), np.int64),
            np.array(list(confirmed_ms), np.int64),
            np.array(list(value), np.float64),
            np.array(list(quality), np.uint8),
        )

    @classmethod
    def empty(cls) -> Self:
        """No rows."""
        return cls.of((), (), (), (), ())

    def __len__(self) -> int:
        return len(self.series)

    def pack(self) -> tuple[bytes, ...]:
        """Bytes of each column."""
        if not len(self):
            return ()
        return (
            _pack_ints(self.series, delta=True),
            _pack_ints(self.changed_ms, delta=True),
            _pack_ints(self.confirmed_ms, delta=True),
            self.quality.tobytes(),
            *_pack_floats(self.value),
        )

    @classmethod
    def unpack(cls, packed: tuple[bytes, ...]) -> Self:
        """The reverse of `pack`. Raises ValueError for anything `pack` does not make."""
        if not packed:
            return cls.empty()
        series, changed, confirmed, quality, kinds, integers, singles, doubles = packed
        rows = len(quality)
        return cls(
            _unpack_ints(series, rows, delta=True).astype(np.int32),
            _unpack_ints(changed, rows, delta=True),
            _unpack_ints(confirmed, rows, delta=True),
            _unpack_floats(rows, kinds, integers, singles, doubles),
            np.frombuffer(quality, np.uint8),
        )


def _pack_ints(values: Int32s | Int64s, *, delta: bool) -> bytes:
    """Width, first value (delta) or 0, then the differences or values, low bytes first and together."""
    wide = values.astype(np.int64)
    base = int(wide[0]) if delta else 0
    steps = np.diff(wide, prepend=base) if delta else wide
    low, high = int(steps.min()), int(steps.max())
    width = next(one for one in _WIDTHS if -(1 << (8 * one - 1)) <= low and high < 1 << (8 * one - 1))
    planes = steps.astype(f"<i{width}").view(np.uint8).reshape(-1, width).T
    return bytes([width]) + base.to_bytes(8, "little", signed=True) + planes.tobytes()


def _unpack_ints(packed: bytes, rows: int, *, delta: bool) -> Int64s:
    if not 0 < rows <= READINGS_MAX or len(packed) < 9:
        raise ValueError("a column is empty or too long")
    width = packed[0]
    if width not in _WIDTHS or len(packed) != 9 + rows * width:
        raise ValueError("a column has another length than its neighbours")
    if width == 1:
        steps: NDArray[np.signedinteger] = np.frombuffer(packed, np.int8, offset=9)
    else:
        planes = np.frombuffer(packed, np.uint8, offset=9).reshape(width, rows)
        steps = np.ascontiguousarray(planes.T).view(f"<i{width}").reshape(rows)
    if not delta:
        return steps.astype(np.int64)
    values: Int64s = steps.cumsum(dtype=np.int64)
    values += int.from_bytes(packed[1:9], "little", signed=True)
    return values


def _pack_floats(values: Floats) -> tuple[bytes, bytes, bytes, bytes]:
    """Kind of each row, then the rows stored as scaled integers, as float32, as float64."""
    kinds = np.full(len(values), _KIND_FLOAT64, np.uint8)
    integers = np.zeros(len(values), np.int64)
    rest = np.arange(len(values))
    with np.errstate(invalid="ignore", over="ignore"):
        for decimals in range(_KIND_FLOAT32):  # the fewest decimals that are exact win
            candidates = values[rest]
            factor = 10.0**decimals
            rounded = np.rint(candidates * factor)
            exact = (np.abs(rounded) < _SCALED_LIMIT) & (rounded / factor == candidates)
            taken = rest[exact]
            kinds[taken] = decimals
            integers[taken] = rounded[exact]
            rest = rest[~exact]
            if not len(rest):
                break
        candidates = values[rest]
        kinds[rest[candidates.astype(np.float32) == candidates]] = _KIND_FLOAT32
    kinds[rest[np.isnan(values[rest])]] = _KIND_NOTHING
    scaled = integers[kinds < _KIND_FLOAT32]
    return (
        kinds.tobytes(),
        _pack_ints(scaled, delta=False) if len(scaled) else b"",
        _planes(values[kinds == _KIND_FLOAT32].astype("<f4")),
        _planes(values[kinds == _KIND_FLOAT64].astype("<f8")),
    )


def _unpack_floats(rows: int, kinds: bytes, integers: bytes, singles: bytes, doubles: bytes) -> Floats:
    kind = _same_rows(np.frombuffer(kinds, np.uint8), rows)
    if int(kind.max()) > _KIND_NOTHING:
        raise ValueError("a value has an unknown kind")
    scaled = kind < _KIND_FLOAT32
    count = int(np.count_nonzero(scaled))
    if count == rows and not singles and not doubles:
        return _unpack_ints(integers, count, delta=False) / _FACTORS[kind]
    values = np.full(rows, np.nan)
    if count:
        values[scaled] = _unpack_ints(integers, count, delta=False) / _FACTORS[kind[scaled]]
    values[kind == _KIND_FLOAT32] = _from_planes(singles, "<f4")
    values[kind == _KIND_FLOAT64] = _from_planes(doubles, "<f8")
    return values


def _planes(values: NDArray[np.floating]) -> bytes:
    return values.view(np.uint8).reshape(-1, values.itemsize).T.tobytes()


def _from_planes(packed: bytes, kind: str) -> NDArray[np.floating]:
    width = np.dtype(kind).itemsize
    planes = np.frombuffer(packed, np.uint8).reshape(width, -1)  # ValueError when the length is odd
    values: NDArray[np.floating] = np.ascontiguousarray(planes.T).view(kind).reshape(-1)
    return values


def _checked_index(index: Int64s, length: int) -> Int32s:
    if not 0 <= int(index.min()) <= int(index.max()) < length:
        raise ValueError("a row names a word or map that the frame does not list")
    return index.astype(np.int32)


def _same_rows(column: Bytes8, rows: int) -> Bytes8:
    if len(column) != rows:
        raise ValueError("a column has another length than its neighbours")
    return column
