"""The embedded history: a tail in memory, sorted Parquet files per UTC day, DuckDB to ask questions only.

The tail is not durable and need not be: after a restart it is read from the log again, from the position the
manifest names. Frames in the manifest are known by their ranges of seq, so each counts once however often
the log is read.
"""

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import pyarrow as pa

from cloud.history.embedded_files import (
    Columns,
    DayFile,
    SeriesCodes,
    load_manifest,
    read_file,
    remove,
    save_manifest,
    write_days,
)
from cloud.history.store import STREAMS, Bucket, Chart, FrameNumbers, Row, resolution
from cloud.ingest.log import FIRST_POSITION
from devices.errors import StorageUnavailable
from devices.reading import FIRST_BAD_QUALITY
from devices.sequences import SeqRanges

TAIL_ROWS_MAX = 500_000  # 24 MB in memory; then it is written out
TAIL_AGE_MS = 300_000  # what a restart reads from the log again at most, in time
MERGED_FILES = 8  # files of one day and of like size that become one: each row is rewritten log8(n) times
MERGED_ROWS_MAX = 4_000_000  # bounds the memory of a merge (200 MB)
_SMALLEST_TIER_ROWS = 4_096
_SOURCES = """(
    SELECT time_ms, value, quality, epoch, seq, "index" FROM tail
    {files}) rows
"""
_FILES = """UNION ALL
    SELECT time_ms, value, quality, epoch, seq, "index" FROM read_parquet($files)
    WHERE series = $series AND time_ms >= $from_ms AND time_ms < $to_ms"""


class EmbeddedHistory:
    """`HistoryWriter` and `HistoryReader` in one folder. One process owns it."""

    name = "embedded"

    def __init__(self, folder: Path, log_id: str) -> None:
        """Open or create; what is of another log is thrown away. Raises StorageUnavailable."""
        self._folder = folder
        self._codes = SeriesCodes()
        self._manifest = load_manifest(folder, log_id)
        self._positions = {stream: self.position(stream) for stream in STREAMS}
        self._frames: dict[str, SeqRanges] = defaultdict(SeqRanges)
        for epoch, ranges in self._manifest.frames.items():
            for first, last in ranges:
                self._frames[epoch].add(first, last)
        self._tail: list[Columns] = []
        self._tail_rows = 0
        self._unsaved_since_ms: int | None = None
        self._lock = threading.Lock()
        self._readers = 0
        self._garbage: list[str] = []
        self._engine = duckdb.connect(":memory:", config={"threads": 1})

    def position(self, stream: str) -> int:
        """See `HistoryWriter.position`."""
        return self._manifest.positions.get(stream, FIRST_POSITION)

    def write(self, frames: Sequence[FrameNumbers], positions: Mapping[str, int]) -> None:
        """See `HistoryWriter.write`. Raises StorageUnavailable when a full tail cannot be written out."""
        if self._tail_rows >= TAIL_ROWS_MAX:
            self.flush()
        fresh = [frame for frame in frames if self._is_new(frame)]
        parts = [self._columns(frame) for frame in fresh if len(frame.numbers)]
        if parts:
            part = Columns.joined(parts)
            with self._lock:
                self._tail.append(part)
                self._tail_rows += len(part)
        self._positions.update(positions)

    def maintain(self, now_ms: int) -> None:
        """See `HistoryWriter.maintain`."""
        if all(self.position(stream) == position for stream, position in self._positions.items()):
            self._unsaved_since_ms = None
        elif self._unsaved_since_ms is None:
            self._unsaved_since_ms = now_ms
        elif now_ms - self._unsaved_since_ms >= TAIL_AGE_MS:
            self.flush()
        self._merge_days()
        self._sweep()

    def flush(self) -> None:
        """Write the tail out. Raises StorageUnavailable; then it stays in memory and everything as it was."""
        with self._lock:
            tail = tuple(self._tail)
        written = write_days(self._folder, Columns.joined(tail), self._codes, self._manifest.next_file) if tail else []
        self._count(files=(*self._manifest.files, *written), without_tail=True)
        self._unsaved_since_ms = None

    def close(self) -> None:
        """Close. The tail is not written out: to read it from the log again is faster, and a stop must be quick."""
        self._engine.close()

    def series(self, site: str, device: str, point: str, from_ms: int, to_ms: int, *, points: int) -> Chart:
        """See `HistoryReader.series`."""
        width_ms = resolution(from_ms, to_ms, points)
        question = f"""SELECT time_ms // {width_ms} AS bucket, min(value), avg(value), max(value), count(*)
            FROM (SELECT DISTINCT * FROM {_SOURCES}) WHERE quality < {FIRST_BAD_QUALITY} AND NOT isnan(value)
            GROUP BY bucket ORDER BY bucket"""  # noqa: S608  no outside text in it
        found = self._ask(question, f"{site}/{device}/{point}", from_ms, to_ms)
        return Chart(width_ms, tuple(Bucket(row[0] * width_ms, *row[1:]) for row in found))

    def rows(self, site: str, device: str, point: str, from_ms: int, to_ms: int) -> list[Row]:
        """Every row of a series in [from_ms, to_ms), as kept: for explanations and tests, not for charts."""
        question = f"""SELECT time_ms, value, quality, epoch, seq, "index" FROM {_SOURCES}
            ORDER BY time_ms, epoch, seq, "index" """  # noqa: S608  no outside text in it
        found = self._ask(question, f"{site}/{device}/{point}", from_ms, to_ms)
        return [Row(row[0], row[1], row[2], row[3].to_bytes(8, "big"), row[4], row[5]) for row in found]

    def count(self) -> int:
        """See `HistoryReader.count`."""
        with self._lock:
            return sum(one.rows for one in self._manifest.files) + self._tail_rows

    def _is_new(self, frame: FrameNumbers) -> bool:
        known = self._frames[f"{frame.gateway}/{frame.lane}/{frame.epoch.hex()}"]
        if frame.seq in known:
            return False
        known.add(frame.seq, frame.seq)
        return True

    def _columns(self, frame: FrameNumbers) -> Columns:
        numbers = frame.numbers
        count = len(numbers)
        codes = np.array([self._codes.code(f"{frame.site}/{one.name}") for one in frame.series], np.int32)
        return Columns(
            codes[numbers.series],
            numbers.time_ms,
            numbers.value,
            numbers.quality,
            np.full(count, int.from_bytes(frame.epoch, "big"), np.uint64),
            np.full(count, frame.seq, np.int64),
            np.arange(count, dtype=np.int32),
        )

    def _ask(self, question: str, series: str, from_ms: int, to_ms: int) -> list[tuple[int, ...]]:
        with self._reading() as (tail, files):
            wanted = [str(self._folder / one.name) for one in files if one.first_ms < to_ms and one.last_ms >= from_ms]
            parameters: dict[str, object] = {}
            if wanted:
                parameters = {"files": wanted, "series": series, "from_ms": from_ms, "to_ms": to_ms}
            cursor = self._engine.cursor()
            try:
                cursor.register("tail", _arrow(tail, self._codes.known(series), from_ms, to_ms))
                answer: list[tuple[int, ...]] = cursor.execute(
                    question.format(files=_FILES if wanted else ""), parameters
                ).fetchall()
            except duckdb.Error as error:
                raise StorageUnavailable(f"history cannot be read: {error}") from error
            finally:
                cursor.close()
        return answer

    @contextmanager
    def _reading(self) -> Iterator[tuple[tuple[Columns, ...], tuple[DayFile, ...]]]:
        """One picture of tail and files; the files stay until it is given back."""
        with self._lock:
            self._readers += 1
            picture = tuple(self._tail), self._manifest.files
        try:
            yield picture
        finally:
            with self._lock:
                self._readers -= 1

    def _count(self, files: tuple[DayFile, ...], *, without_tail: bool) -> None:
        """Make these files the ones that count, and with them what the tail covered."""
        manifest = msgspec.structs.replace(self._manifest, files=files, next_file=self._manifest.next_file + len(files))
        if without_tail:
            manifest = msgspec.structs.replace(
                manifest,
                positions=dict(self._positions),
                frames={epoch: tuple(ranges) for epoch, ranges in self._frames.items()},
            )
        save_manifest(self._folder, manifest)
        with self._lock:
            self._manifest = manifest
            if without_tail:
                self._tail, self._tail_rows = [], 0

    def _merge_days(self) -> None:
        """Make one file of many small ones of a day, so that a chart opens few."""
        like: defaultdict[tuple[int, int], list[DayFile]] = defaultdict(list)
        for one in self._manifest.files:
            like[one.day, _tier(one.rows)].append(one)
        for small in like.values():
            if len(small) < MERGED_FILES or sum(one.rows for one in small) > MERGED_ROWS_MAX:
                continue
            rows = Columns.joined([read_file(self._folder / one.name, self._codes) for one in small])
            written = write_days(self._folder, rows, self._codes, self._manifest.next_file)
            names = {one.name for one in small}
            kept = tuple(one for one in self._manifest.files if one.name not in names)
            self._count(files=(*kept, *written), without_tail=False)
            self._garbage.extend(names)

    def _sweep(self) -> None:
        """Delete merged files once nobody reads; who begins to read now does not see them any more."""
        with self._lock:
            if self._readers or not self._garbage:
                return
            names, self._garbage = self._garbage, []
        remove(self._folder, names)


def _tier(rows: int) -> int:
    tier = 0
    while rows >= _SMALLEST_TIER_ROWS:
        rows //= MERGED_FILES
        tier += 1
    return tier


def _arrow(tail: Sequence[Columns], code: int | None, from_ms: int, to_ms: int) -> "pa.Table":
    parts = [_picked(part, code, from_ms, to_ms) for part in tail] if code is not None else []
    names = ("time_ms", "value", "quality", "epoch", "seq", "index")
    kinds = (pa.int64(), pa.float64(), pa.uint8(), pa.uint64(), pa.int64(), pa.int32())
    if not parts:
        return pa.table({name: pa.array([], kind) for name, kind in zip(names, kinds, strict=True)})
    _, *columns = Columns.joined(parts).arrays()
    return pa.table(dict(zip(names, columns, strict=True)))


def _picked(part: Columns, code: int | None, from_ms: int, to_ms: int) -> Columns:
    return part.take((part.series == code) & (part.time_ms >= from_ms) & (part.time_ms < to_ms))
