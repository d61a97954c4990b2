"""Where each frame of a lane stands in its segment files.

A closed segment has an index file beside it, so that a start reads a few kilobytes of it rather than all. An
index that is missing, damaged or does not fit its segment is made anew by scanning; the segment that is being
written to is always scanned.
"""

import threading
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from devices.disk import Disk
from devices.errors import DamagedFrame, StorageUnavailable, UnknownVersion
from devices.frame import NO_HASH, Header, Origin, open_frame, read_header
from devices.segments import Damage, Position, Record, scan_segment, segment_numbers, torn_records, write_durably

INDEX_FORMAT = 1
_CRC_BYTES = 4


@dataclass(slots=True)
class Run:
    """Frames of one epoch that follow each other without a gap in one segment: 4 bytes of memory a frame."""

    epoch: bytes
    first_seq: int
    segment: int
    offsets: "array[int]" = field(default_factory=lambda: array("I"))
    readings: int = 0

    @property
    def last_seq(self) -> int:
        """The sequence number of its last frame."""
        return self.first_seq + len(self.offsets) - 1


class FrameIndex:
    """The runs of all segments. One thread adds, any thread asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_segment: dict[int, list[Run]] = {}
        self._by_epoch: dict[bytes, list[Run]] = {}

    def add(self, run: Run) -> None:
        """Take a run, in the order of the segments."""
        with self._lock:
            self._by_segment.setdefault(run.segment, []).append(run)
            self._by_epoch.setdefault(run.epoch, []).append(run)

    def note(self, header: Header, position: Position) -> None:
        """Take the frame that was appended last."""
        with self._lock:
            runs = self._by_segment.setdefault(position.segment, [])
            run = runs[-1] if runs else None
            if run is None or run.epoch != header.epoch or run.last_seq + 1 != header.seq:
                run = Run(header.epoch, header.seq, position.segment)
                runs.append(run)
                self._by_epoch.setdefault(run.epoch, []).append(run)
            run.offsets.append(position.offset)
            run.readings += header.readings

    def position(self, epoch: bytes, seq: int) -> Position:
        """Where a frame stands. KeyError when it is not here."""
        with self._lock:
            runs = self._by_epoch.get(epoch, [])
            at = bisect_right(runs, seq, key=lambda run: run.first_seq) - 1
            if at < 0 or seq > runs[at].last_seq:
                raise KeyError((epoch, seq))
            return Position(runs[at].segment, runs[at].offsets[seq - runs[at].first_seq])

    def knows_epoch(self, epoch: bytes) -> bool:
        """Whether any frame of an epoch is here."""
        return epoch in self._by_epoch

    def runs_in(self, segment: int) -> list[Run]:
        """What a segment holds, oldest first."""
        with self._lock:
            return list(self._by_segment.get(segment, []))

    def ranges(self) -> list[tuple[bytes, int, int]]:
        """What is held, oldest first: (epoch, first seq, last seq)."""
        found: list[tuple[bytes, int, int]] = []
        with self._lock:
            for segment in sorted(self._by_segment):
                for run in self._by_segment[segment]:
                    if found and found[-1][0] == run.epoch and found[-1][2] + 1 == run.first_seq:
                        found[-1] = (run.epoch, found[-1][1], run.last_seq)
                    else:
                        found.append((run.epoch, run.first_seq, run.last_seq))
        return found

    def forget(self, segment: int) -> None:
        """The segment was deleted."""
        with self._lock:
            for run in self._by_segment.pop(segment, []):
                left = [one for one in self._by_epoch[run.epoch] if one is not run]
                if left:
                    self._by_epoch[run.epoch] = left
                else:
                    del self._by_epoch[run.epoch]


class _RunRow(msgspec.Struct, frozen=True, array_like=True):
    epoch: bytes
    first_seq: int
    readings: int
    offsets: bytes  # u32, little endian


class _IndexFile(msgspec.Struct, frozen=True, array_like=True):
    """Of one closed segment. `segment_bytes` is the size of its file."""

    format: int
    segment: int
    segment_bytes: int
    runs: tuple[_RunRow, ...]
    last_epoch: bytes
    last_seq: int
    last_hash: bytes
    tail_damaged: bool


@dataclass(slots=True)
class Found:
    """What the folder of a lane held. `last_*` are of the newest frame that was not made in memory."""

    runs: list[Run] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    last_epoch: bytes = b""
    last_seq: int = 0
    last_hash: bytes = NO_HASH
    tail_damaged: bool = False
    tail_lost: int = 0  # frames behind the last whole one that had been accepted
    scanned_segments: int = 0

    def take(self, other: "Found") -> None:
        """Add what the next segment held."""
        self.runs += other.runs
        self.damages += other.damages
        self.scanned_segments += other.scanned_segments
        if other.last_seq:
            self.last_epoch, self.last_seq, self.last_hash = other.last_epoch, other.last_seq, other.last_hash
        if other.runs or other.damages:
            self.tail_damaged = other.tail_damaged
            self.tail_lost = other.tail_lost


def find_frames(folder: Path, disk: Disk) -> Found:
    """What is in the segments of a lane. Raises StorageUnavailable when they cannot be read."""
    found = Found()
    try:
        numbers = segment_numbers(folder) if folder.exists() else []
    except OSError as error:
        raise StorageUnavailable(f"cannot read {folder}: {error.strerror}") from error
    for number in numbers[:-1]:
        here = _read_index(folder, number)
        if here is None:
            here = _scan(folder, number)
            write_index(folder, number, here, disk)
        found.take(here)
    for number in numbers[-1:]:
        found.take(_scan(folder, number))
    return found


def write_index(folder: Path, segment: int, found: Found, disk: Disk) -> int:
    """Write the index of a closed segment; its size, 0 when the disk takes nothing: then a start scans."""
    try:
        index = _IndexFile(
            INDEX_FORMAT,
            segment,
            segment_path(folder, segment).stat().st_size,
            tuple(_RunRow(run.epoch, run.first_seq, run.readings, run.offsets.tobytes()) for run in found.runs),
            found.last_epoch,
            found.last_seq,
            found.last_hash,
            found.tail_damaged,
        )
        body = msgspec.msgpack.encode(index)
        data = zlib.crc32(body).to_bytes(_CRC_BYTES, "little") + body
        write_durably(index_path(folder, segment), data, disk=disk)
    except (OSError, StorageUnavailable):
        return 0
    return len(data)


def index_path(folder: Path, segment: int) -> Path:
    """The index file of a segment."""
    return folder / f"{segment:012d}.idx"


def segment_path(folder: Path, segment: int) -> Path:
    """The file of a segment."""
    return folder / f"{segment:012d}.seg"


def index_sizes(folder: Path) -> dict[int, int]:
    """Bytes of each index file."""
    try:
        return {int(path.stem): path.stat().st_size for path in folder.glob("*.idx") if path.stem.isdecimal()}
    except OSError:
        return {}


def headers_in(folder: Path, segment: int) -> Iterator[tuple[Header, bytes]]:
    """Every whole frame of a segment with its header, in order. Raises StorageUnavailable."""
    for item in scan_segment(folder, segment):
        header = _header_of(item) if isinstance(item, Record) else None
        if header is not None and isinstance(item, Record):
            yield header, item.payload


def _read_index(folder: Path, segment: int) -> Found | None:
    try:
        data = index_path(folder, segment).read_bytes()
        size = segment_path(folder, segment).stat().st_size
        if zlib.crc32(data[_CRC_BYTES:]) != int.from_bytes(data[:_CRC_BYTES], "little"):
            return None
        index = msgspec.msgpack.decode(data[_CRC_BYTES:], type=_IndexFile)
    except (OSError, msgspec.MsgspecError):
        return None
    if (index.format, index.segment, index.segment_bytes) != (INDEX_FORMAT, segment, size):
        return None
    found = Found([], [], index.last_epoch, index.last_seq, index.last_hash, index.tail_damaged)
    for row in index.runs:
        offsets = array("I")
        offsets.frombytes(row.offsets)
        found.runs.append(Run(row.epoch, row.first_seq, segment, offsets, row.readings))
    return found


def _scan(folder: Path, number: int) -> Found:
    found = Found(scanned_segments=1)
    last: Record | None = None
    for item in scan_segment(folder, number):
        header = _header_of(item) if isinstance(item, Record) else None
        if header is None or isinstance(item, Damage):
            found.damages.append(item if isinstance(item, Damage) else _unreadable(item))
            found.tail_damaged = True
            continue
        found.tail_damaged = False
        _extend(found, header, item.position)
        if header.origin is not Origin.RAM:
            last = item
    if last is not None:
        found.last_hash = open_frame(last.payload).hash
    if found.tail_damaged:
        # A record is begun when the one before it is fsynced: all but the last of them had been accepted.
        found.tail_lost = max(torn_records(folder, found.damages[-1]) - 1, 0)
    return found


def _extend(found: Found, header: Header, position: Position) -> None:
    run = found.runs[-1] if found.runs else None
    if run is None or run.epoch != header.epoch or run.last_seq + 1 != header.seq:
        run = Run(header.epoch, header.seq, position.segment)
        found.runs.append(run)
    run.offsets.append(position.offset)
    run.readings += header.readings
    if header.origin is not Origin.RAM:
        found.last_epoch, found.last_seq = header.epoch, header.seq


def _header_of(item: Record) -> Header | None:
    """The header of a whole record, None when it holds no frame of this version."""
    try:
        return read_header(item.payload)
    except (DamagedFrame, UnknownVersion):
        return None


def _unreadable(item: Record) -> Damage:
    return Damage(item.position, item.end.offset - item.position.offset)
