"""The files of the embedded history: sorted Parquet per UTC day, and the manifest that says which count.

A file that the manifest does not name does not exist: it is left over from an interrupted write. All writing
is replace and fsync, the manifest last, so that rows and the log position they come from count together.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from devices.errors import StorageUnavailable
from devices.reading import Bytes8, Floats, Int32s, Int64s
from devices.segments import sync_folder, write_durably

DAY_MS = 86_400_000
FORMAT = 1
ROW_GROUP_ROWS = 65_536  # what one query of one series reads at least
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Rows of many series as parallel arrays; `series` are codes of a `SeriesCodes`."""

    series: Int32s
    time_ms: Int64s
    value: Floats
    quality: Bytes8
    epoch: NDArray[np.uint64]
    seq: Int64s
    index: Int32s

    def __len__(self) -> int:
        return len(self.series)

    def take(self, which: NDArray[np.intp] | NDArray[np.bool_] | slice) -> "Columns":
        """The rows named by indices, a mask or a slice."""
        return Columns(*(column[which] for column in self.arrays()))

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """The columns in order."""
        return self.series, self.time_ms, self.value, self.quality, self.epoch, self.seq, self.index

    @classmethod
    def joined(cls, parts: Sequence["Columns"]) -> "Columns":
        """One after the other."""
        return cls(*(np.concatenate(columns) for columns in zip(*(part.arrays() for part in parts), strict=True)))


class SeriesCodes:
    """Small numbers for the names of series, in memory only."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._names: list[str] = []

    def code(self, name: str) -> int:
        """The number of a series, a new one for a new name."""
        code = self._codes.get(name)
        if code is None:
            code = self._codes[name] = len(self._names)
            self._names.append(name)
        return code

    def known(self, name: str) -> int | None:
        """The number of a series that has been seen."""
        return self._codes.get(name)

    def name(self, code: int) -> str:
        """The name behind a number."""
        return self._names[code]


class DayFile(msgspec.Struct, frozen=True):
    """One Parquet file. Rows are sorted by series and time; both ends of time are inclusive."""

    name: str
    day: int  # days since 1970-01-01, UTC
    rows: int
    bytes: int
    first_ms: int
    last_ms: int


class Manifest(msgspec.Struct, frozen=True):
    """What is kept: files, the log positions they cover, and the frames in them (inclusive ranges of seq)."""

    format: int = FORMAT
    log_id: str = ""
    positions: dict[str, int] = {}
    files: tuple[DayFile, ...] = ()
    frames: dict[str, tuple[tuple[int, int], ...]] = {}
    next_file: int = 1


def load_manifest(folder: Path, log_id: str) -> Manifest:
    """The manifest of a folder; an empty one when anything it names is not there, or it is of another log.

    Then everything is taken from the log again. Removes files that do not count.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
        whole = all((folder / one.name).stat().st_size == one.bytes for one in manifest.files)
        if manifest.format != FORMAT or manifest.log_id != log_id or not whole:
            manifest = Manifest(log_id=log_id)
    except (FileNotFoundError, msgspec.MsgspecError):
        manifest = Manifest(log_id=log_id)
    except OSError as error:
        raise StorageUnavailable(f"cannot read {folder}: {error.strerror}") from error
    counted = {one.name for one in manifest.files}
    remove(folder, (path.name for path in folder.glob("*.parquet") if path.name not in counted))
    return manifest


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """From here on the manifest's files count. Raises StorageUnavailable."""
    write_durably(folder / MANIFEST, msgspec.json.encode(manifest))


def remove(folder: Path, names: Iterable[str]) -> None:
    """Delete files that no manifest names. Raises StorageUnavailable."""
    try:
        for name in names:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise StorageUnavailable(f"cannot delete in {folder}: {error.strerror}") from error


def write_days(folder: Path, rows: Columns, codes: SeriesCodes, next_file: int) -> list[DayFile]:
    """Write rows as one sorted file per UTC day, durably. Raises StorageUnavailable."""
    used, places = np.unique(rows.series, return_inverse=True)
    names = np.array([codes.name(code) for code in used.tolist()], dtype=object)
    by_name = np.argsort(names, kind="stable")
    rank = np.empty(len(used), np.int32)
    rank[by_name] = np.arange(len(used), dtype=np.int32)
    series = rank[places]
    days = rows.time_ms // DAY_MS
    order = np.lexsort((rows.time_ms, series, days))
    rows, series, days = rows.take(order), series[order], days[order]
    starts = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
    dictionary = pa.array(names[by_name], pa.string())
    files: list[DayFile] = []
    for number, (start, end) in enumerate(zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True)):
        part = rows.take(slice(start, end))
        name = f"{int(days[start])}-{next_file + number:08d}.parquet"
        size = _write(folder / name, part, pa.DictionaryArray.from_arrays(series[start:end], dictionary))
        first_ms, last_ms = int(part.time_ms.min()), int(part.time_ms.max())
        files.append(DayFile(name, int(days[start]), len(part), size, first_ms, last_ms))
    sync_folder(folder)
    return files


def _write(path: Path, rows: Columns, series: "pa.DictionaryArray") -> int:
    """Write one file and make it durable; its size in bytes."""
    table = pa.table(
        {
            "series": series,
            "time_ms": rows.time_ms,
            "value": rows.value,
            "quality": rows.quality,
            "epoch": rows.epoch,
            "seq": rows.seq,
            "index": rows.index,
        }
    )
    try:
        # Statistics leave out NaN; with them DuckDB takes a column that holds some for one without (2.0.0).
        pq.write_table(
            table, path, compression="zstd", row_group_size=ROW_GROUP_ROWS, write_statistics=["series", "time_ms"]
        )
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        return path.stat().st_size
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StorageUnavailable(f"cannot write {path}: {error.strerror or error}") from error


def read_file(path: Path, codes: SeriesCodes) -> Columns:
    """The rows of one file. Raises StorageUnavailable."""
    try:
        table = pq.read_table(path, read_dictionary=["series"])
    except (OSError, pa.ArrowInvalid) as error:
        raise StorageUnavailable(f"cannot read {path}: {error}") from error
    series = table.column("series").combine_chunks()
    if isinstance(series, pa.ChunkedArray):
        series = series.chunk(0)
    own = np.array([codes.code(name) for name in series.dictionary.to_pylist()], np.int32)
    columns = {name: table.column(name).to_numpy() for name in table.column_names if name != "series"}
    return Columns(
        own[series.indices.to_numpy()],
        columns["time_ms"],
        columns["value"],
        columns["quality"],
        columns["epoch"],
        columns["seq"],
        columns["index"],
    )
