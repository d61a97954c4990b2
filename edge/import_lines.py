"""Lines of past readings into columns, a megabyte at a time.

A line is `{"device":..., "point":..., "time":RFC 3339, "value":..., "quality":"good"}`; values are canonical; a
pose has the point `pose` and the value `[x_m, y_m, theta_rad, map, flags]`. What cannot be used is counted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.columns import Numbers, Poses, Texts
from devices.frame import Content
from devices.instants import parse_instant
from devices.profile import POSE_POINT
from devices.reading import Bytes8, Int32s, Int64s, Quality, Series
from edge.config import Device
from edge.series import SeriesTable

PROBLEMS_SHOWN = 20
TEXT_CHARACTERS_MAX = 1_000
_INSTANT_CHARACTERS = len("2026-05-01T08:00:00.000Z")
_COORDINATE_M_MAX = 2_000_000.0  # int32 millimetres
_EVENTS, _TELEMETRY, _POSES, _TEXTS = range(4)
_QUALITIES = {"good": Quality.GOOD, "uncertain": Quality.UNCERTAIN_TIME, "bad": Quality.BAD_NO_ANSWER} | {
    quality.name.lower(): quality for quality in Quality
}

_PoseValue = tuple[float, float, float, str, int]


class _Line(msgspec.Struct, gc=False):
    device: str
    point: str
    time: str
    value: float | bool | str | _PoseValue | None
    quality: str = "good"


@dataclass(slots=True)
class Count:
    """What became of the lines."""

    readings: int = 0
    poses: int = 0
    bad: int = 0
    problems: list[str] = field(default_factory=list)

    def refuse(self, line: int, reason: str) -> None:
        """One line could not be used; the first few are named."""
        self.bad += 1
        if len(self.problems) < PROBLEMS_SHOWN:
            self.problems.append(f"line {line}: {reason}")


@dataclass(frozen=True, slots=True)
class Piece:
    """The usable lines of a chunk, by lane, with the series and time (Unix ms UTC) of each in the file's order.

    `answered` is false where the line says that the device gave no answer.
    """

    events: Content
    telemetry: Content
    series: Int32s
    time_ms: Int64s
    answered: NDArray[np.bool_]

    @property
    def times(self) -> tuple[int, int] | None:
        """The first and last time of any line, None without one."""
        return (int(self.time_ms.min()), int(self.time_ms.max())) if len(self.time_ms) else None


class LineReader:
    """Reads chunks of whole lines. State inputs, discrete points, texts and poses are events, the rest telemetry.

    A line later than `latest_ms` is bad: it would take the spans of all that follow into the future with it.
    """

    def __init__(self, devices: Sequence[Device], table: SeriesTable, latest_ms: int) -> None:
        self._latest_ms = latest_ms
        self._ids: dict[tuple[str, str], int] = {}
        kinds: list[int] = []
        for device in devices:
            profile = device.profile
            for point in profile.points:
                kind = _TELEMETRY
                if point in profile.text_points:
                    kind = _TEXTS
                elif point in profile.state_points or point in profile.discrete_points:
                    kind = _EVENTS
                self._add(device.series(point), kind, kinds, table)
            if profile.kind == "robot":
                self._add(Series(device.id, POSE_POINT), _POSES, kinds, table)
        self._kinds = np.array(kinds, np.uint8)
        self._decoder = msgspec.json.Decoder(_Line)
        self._line = 0  # whole lines read so far
        self.count = Count()

    def _add(self, series: Series, kind: int, kinds: list[int], table: SeriesTable) -> None:
        known = self._ids[series.device, series.point] = table.id_of(series)
        kinds.extend([_TELEMETRY] * (known + 1 - len(kinds)))
        kinds[known] = kind

    def read(self, chunk: bytes) -> Piece:
        """The columns of whole lines."""
        numbers, lines = self._decode(chunk)
        ids = np.array([self._ids.get((line.device, line.point), -1) for line in lines], np.int32)
        times_ms = _times_ms(lines)
        quality = np.array([_QUALITIES.get(line.quality, 255) for line in lines], np.uint8)
        kinds = np.where(ids >= 0, self._kinds[ids], 255)
        timely = (times_ms >= 0) & (times_ms <= self._latest_ms)
        good = (ids >= 0) & timely & (quality < 255) & _fits(lines, kinds)
        for at in np.flatnonzero(~good).tolist():
            self.count.refuse(numbers[at], self._reason(lines[at], int(ids[at]), int(times_ms[at]), int(quality[at])))
        self.count.readings += int(good.sum())
        rows = _Rows(lines, ids, times_ms, quality)
        events, poses, texts = (np.flatnonzero(good & (kinds == kind)) for kind in (_EVENTS, _POSES, _TEXTS))
        self.count.poses += len(poses)
        return Piece(
            Content(numbers=rows.numbers(events), poses=rows.poses(poses), texts=rows.texts(texts)),
            Content(numbers=rows.numbers(np.flatnonzero(good & (kinds == _TELEMETRY)))),
            ids[good],
            times_ms[good],
            quality[good] < Quality.BAD_NO_ANSWER,
        )

    def _reason(self, line: _Line, series_id: int, time_ms: int, quality: int) -> str:
        if series_id < 0:
            return f"{line.device}/{line.point} is not in this site.yaml"
        if time_ms < 0:
            return f"{line.time!r} is no time like 2026-05-01T08:00:00.000Z"
        if time_ms > self._latest_ms:
            return f"{line.time} is in the future of this machine's clock"
        if quality == 255:
            return f"unknown quality {line.quality!r}"
        return f"{line.value!r} is no value of {line.device}/{line.point}"

    def _decode(self, chunk: bytes) -> tuple[Sequence[int], list[_Line]]:
        """Line numbers and lines; one bad line costs the fast way for its chunk only."""
        first = self._line + 1
        try:
            lines = self._decoder.decode_lines(chunk)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            lines = []
        count = chunk.count(b"\n") + (0 if chunk.endswith(b"\n") else 1)
        self._line += count
        if len(lines) == count:
            return range(first, first + count), lines
        numbers: list[int] = []
        lines = []
        for number, raw in enumerate(chunk.split(b"\n")[:count], first):
            if not raw.strip():
                continue
            try:
                lines.append(self._decoder.decode(raw))
                numbers.append(number)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                self.count.refuse(number, str(error))
        return numbers, lines


@dataclass(frozen=True, slots=True)
class _Rows:
    lines: list[_Line]
    ids: np.ndarray[tuple[int], np.dtype[np.int32]]
    times_ms: Int64s
    quality: Bytes8

    def numbers(self, rows: Int64s) -> Numbers:
        lines = self.lines
        values = np.array([lines[at].value for at in rows.tolist()], np.float64)  # None becomes NaN
        quality = self.quality[rows]
        quality = np.where(np.isnan(values) & (quality < Quality.BAD_NO_ANSWER), Quality.BAD_NOT_AVAILABLE, quality)
        return Numbers(self.ids[rows], self.times_ms[rows], values, quality.astype(np.uint8))

    def texts(self, rows: Int64s) -> Texts:
        texts = [str(self.lines[at].value)[:TEXT_CHARACTERS_MAX] for at in rows.tolist()]
        return Texts.of(self.ids[rows].tolist(), self.times_ms[rows].tolist(), texts, self.quality[rows].tolist())

    def poses(self, rows: Int64s) -> Poses:
        values = [self.lines[at].value for at in rows.tolist()]
        poses = [value for value in values if isinstance(value, tuple)]
        if not poses:
            return Poses.empty()
        measures = np.rint(np.array([pose[:3] for pose in poses], np.float64) * 1000).astype(np.int32)
        maps: dict[str, int] = {}
        index = np.array([maps.setdefault(pose[3], len(maps)) for pose in poses], np.int32)
        flags = np.array([pose[4] & 0xFF for pose in poses], np.uint8)
        x_mm, y_mm, theta_mrad = (np.ascontiguousarray(column) for column in measures.T)
        return Poses(
            self.ids[rows], self.times_ms[rows], x_mm, y_mm, theta_mrad, index, flags, self.quality[rows], tuple(maps)
        )


def _times_ms(lines: list[_Line]) -> Int64s:
    """Unix ms UTC of each line, -1 where it is no time. Times in our own form are read in one go."""
    texts = [line.time for line in lines]
    if all(len(text) == _INSTANT_CHARACTERS and text[-1] == "Z" for text in texts):
        try:
            return np.array([text[:-1] for text in texts], "datetime64[ms]").astype(np.int64)
        except ValueError:
            pass  # one of them is no time: look at each
    return np.array([_time_ms(text) for text in texts], np.int64)


def _time_ms(text: str) -> int:
    try:
        return parse_instant(text)
    except ValueError:
        return -1


def _fits(lines: list[_Line], kinds: Bytes8) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each value is of the kind that its point has."""
    return np.array([_value_fits(line.value, kind) for line, kind in zip(lines, kinds.tolist(), strict=True)], bool)


def _value_fits(value: object, kind: int) -> bool:
    if kind == _POSES:
        if not isinstance(value, tuple):
            return False
        x_m, y_m, theta_rad = value[:3]
        return math.hypot(x_m, y_m) < _COORDINATE_M_MAX and abs(theta_rad) < _COORDINATE_M_MAX
    if kind == _TEXTS:
        return isinstance(value, str)
    return not isinstance(value, (str, tuple))
