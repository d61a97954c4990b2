"""Append-only files of records: the edge journal and the cloud log stand on them.

A record is magic, payload length, CRC-32 of length and payload, payload. Segments are preallocated with
zeros, so that an append changes no file metadata and one fdatasync makes it durable. A damaged stretch is
skipped by searching for the next whole record: only the records it touches are lost.
"""

import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from devices.disk import MACHINE, Disk
from devices.errors import StorageUnavailable

MAGIC = b"\xf5GHr"
_HEAD = struct.Struct("<4sII")
RECORD_BYTES_MAX = 64 * 1024 * 1024  # larger than any frame; bounds what a damaged length can make us read
SEGMENT_BYTES = 4 * 1024 * 1024  # space is given back by whole segments: small enough to be useful
_NAME = re.compile(r"(\d{12})\.seg")


class Position(NamedTuple):
    """Where a record begins. Positions of one folder are ordered as the records were appended."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record. `end` is where the next one begins."""

    position: Position
    end: Position
    payload: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of `length` bytes that holds no whole record although something was written there."""

    position: Position
    length: int


class Segments:
    """A folder of segment files with one writer. Open it with `Segments.open`, which finds the end.

    Every failing system call raises `StorageUnavailable`; after a failed append the tail is cut back, so
    that a later append is never hidden behind a torn record.
    """

    def __init__(self, folder: Path, segment_bytes: int, disk: Disk) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._disk = disk
        self._file = -1
        self._end = Position(0, 0)
        self._durable = Position(0, 0)
        self._tail_dirty = False

    @classmethod
    def open(
        cls, folder: Path, segment_bytes: int = SEGMENT_BYTES, disk: Disk = MACHINE, *, patient: bool = False
    ) -> Self:
        """Open or create the folder and find the end behind the last whole record.

        With `patient` a folder that can be read but not written now is opened, too; each append tries again.
        """
        self = cls(folder, segment_bytes, disk)
        with _storage(folder):
            numbers = segment_numbers(folder) if folder.exists() else []
        if numbers:
            end = Position(numbers[-1], 0)
            for found in scan_segment(folder, numbers[-1]):
                if isinstance(found, Record):
                    end = found.end
            self._end = self._durable = end
        try:
            with _storage(folder):
                self._begin_writing()
        except StorageUnavailable:
            if not patient:
                raise
        return self

    @property
    def segment_bytes(self) -> int:
        """Size of one segment file."""
        return self._segment_bytes

    @property
    def end(self) -> Position:
        """Where the next record will begin."""
        return self._end

    @property
    def durable(self) -> Position:
        """Everything before this survives a power cut."""
        return self._durable

    @property
    def room(self) -> int:
        """Bytes left in the segment that is being written to."""
        return self._segment_bytes - self._end.offset if self._end.segment else 0

    def append(self, payload: bytes, reserve: int = 0) -> Position:
        """Write one record. It is durable after the next `sync`.

        A new segment begins when fewer than `reserve` bytes would be left in this one.
        """
        size = _HEAD.size + len(payload)
        if len(payload) > RECORD_BYTES_MAX:
            raise ValueError(f"a record holds at most {RECORD_BYTES_MAX} bytes, this one has {len(payload)}")
        with _storage(self._folder):
            if self._file < 0:
                self._begin_writing()
            if self._tail_dirty:
                self._wipe_tail()
            if self._end.offset and self._end.offset + size + reserve > self._segment_bytes:
                self._roll()
            position = self._end
            length = len(payload).to_bytes(4, "little")
            head = MAGIC + length + zlib.crc32(payload, zlib.crc32(length)).to_bytes(4, "little")
            try:
                self._disk.write(self._file, head + payload, position.offset)
            except OSError:
                self._tail_dirty = True
                self._wipe_tail()
                raise
            self._end = Position(position.segment, position.offset + size)
            return position

    def sync(self) -> None:
        """Make every appended record durable (fdatasync)."""
        if self._durable == self._end:
            return
        with _storage(self._folder):
            self._disk.sync_data(self._file)
        self._durable = self._end

    def roll(self) -> None:
        """Begin a new segment now, unless the present one is empty."""
        if self._end.offset:
            with _storage(self._folder):
                self._roll()

    def rollback(self) -> None:
        """Forget what was appended since the last `sync`.

        After a failed sync nobody can say what reached the disk, so the records must be taken back before
        anything is written in their place. What cannot be wiped now is wiped before the next append.
        """
        if self._end.segment == self._durable.segment:
            self._end = self._durable
        if self._file < 0:
            return  # nothing was written
        self._tail_dirty = True
        with _storage(self._folder):
            self._wipe_tail()

    def read(self, position: Position) -> bytes:
        """The payload of the record at a position that `append` or a scan gave. KeyError if it is gone."""
        try:
            handle = os.open(_path(self._folder, position.segment), os.O_RDONLY)
        except FileNotFoundError:
            raise KeyError(position) from None
        except OSError as error:
            raise StorageUnavailable(f"cannot read segment {position.segment} in {self._folder}: {error}") from error
        with _storage(self._folder):
            try:
                head = os.pread(handle, _HEAD.size, position.offset)
                length = _HEAD.unpack(head)[1] if len(head) == _HEAD.size else RECORD_BYTES_MAX + 1
                body = os.pread(handle, length, position.offset + _HEAD.size) if length <= RECORD_BYTES_MAX else b""
            finally:
                os.close(handle)
        size = _whole_record(head + body, 0)
        if not size:
            raise KeyError(position)
        return body

    def scan(self, start: Position = Position(0, 0)) -> Iterator[Record | Damage]:
        """Everything appended from `start` on, in order."""
        return scan(self._folder, start)

    def sizes(self) -> dict[int, int]:
        """Bytes on disk of each segment, by number."""
        with _storage(self._folder):
            return {number: _path(self._folder, number).stat().st_size for number in segment_numbers(self._folder)}

    def delete(self, segment: int) -> None:
        """Give a whole segment's space back. The one being written to cannot be deleted."""
        if segment == self._end.segment:
            raise ValueError("the segment that is being written to cannot be deleted")
        with _storage(self._folder):
            self._disk.unlink(_path(self._folder, segment))
            self._disk.sync_folder(self._folder)

    def close(self) -> None:
        """Make everything durable and close. Closing twice is fine."""
        if self._file >= 0:
            try:
                self.sync()
            finally:
                os.close(self._file)
                self._file = -1

    def _begin_writing(self) -> None:
        """Open the last segment, or begin the first one."""
        self._disk.make_folder(self._folder)
        if not self._end.segment:
            self._start(1)
            return
        self._file = self._disk.open(_path(self._folder, self._end.segment), os.O_RDWR)
        try:
            self._wipe_tail()
        except OSError:
            os.close(self._file)
            self._file = -1
            raise

    def _roll(self) -> None:
        self.sync()
        self._start(self._end.segment + 1)

    def _start(self, number: int) -> None:
        """Begin a new segment; when that fails the present one stays and no trace of the new one."""
        path = _path(self._folder, number)
        if path.exists():  # left over by a start that failed on a disk that would not delete it either
            self._disk.unlink(path)
        handle = self._disk.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            self._disk.allocate(handle, self._segment_bytes)
            self._disk.sync(handle)
            self._disk.sync_folder(self._folder)
        except OSError:
            os.close(handle)
            path.unlink(missing_ok=True)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file = handle
        self._end = self._durable = Position(number, 0)

    def _wipe_tail(self) -> None:
        """Zero what a torn append left behind the end: it must never be taken for a record later.

        Written over rather than cut off: a disk that is full would not give the place back.
        """
        size = os.fstat(self._file).st_size
        rest = os.pread(self._file, size - self._end.offset, self._end.offset) if size > self._end.offset else b""
        torn = len(rest.rstrip(b"\0"))
        if torn:
            self._disk.write(self._file, bytes(torn), self._end.offset)
        if size < self._segment_bytes:
            self._disk.allocate(self._file, self._segment_bytes)
        if torn or size < self._segment_bytes:
            self._disk.sync(self._file)
        self._tail_dirty = False


def segment_numbers(folder: Path) -> list[int]:
    """The segments in a folder, oldest first."""
    matches = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def scan(folder: Path, start: Position = Position(0, 0)) -> Iterator[Record | Damage]:
    """Every whole record from `start` on and every damaged stretch, in order. Safe beside a writer."""
    for number in segment_numbers(folder):
        if number >= start.segment:
            yield from scan_segment(folder, number, start.offset if number == start.segment else 0)


def scan_segment(folder: Path, number: int, start: int = 0, stop: int | None = None) -> Iterator[Record | Damage]:
    """As `scan`, for one segment from `start` up to `stop`. Zeros up to the end are free space, not damage."""
    try:
        with _path(folder, number).open("rb") as file:
            file.seek(start)
            data = file.read() if stop is None else file.read(max(stop - start, 0))
    except FileNotFoundError:
        return  # deleted since it was listed: its space was given back
    except OSError as error:
        raise StorageUnavailable(f"cannot read segment {number} in {folder}: {error}") from error
    offset = 0
    while offset < len(data):
        position = Position(number, start + offset)
        size = _whole_record(data, offset)
        if size:
            yield Record(position, Position(number, start + offset + size), data[offset + _HEAD.size : offset + size])
            offset += size
            continue
        following = _next_record(data, offset + 1)
        damaged = data[offset:following] if following else data[offset:].rstrip(b"\0")
        if damaged:
            yield Damage(position, len(damaged))
        if not following:
            return
        offset = following


def torn_records(folder: Path, damage: Damage) -> int:
    """How many records began in a damaged stretch, by what is left of their heads. Raises StorageUnavailable."""
    with _storage(folder), _path(folder, damage.position.segment).open("rb") as file:
        file.seek(damage.position.offset)
        data = file.read(damage.length)
    count = offset = 0
    while (found := data.find(MAGIC, offset)) >= 0 and found + _HEAD.size <= len(data):
        length = _HEAD.unpack_from(data, found)[1]
        if length > RECORD_BYTES_MAX:
            offset = found + 1
            continue
        count += 1
        offset = found + _HEAD.size + length
    return count


def sync_folder(folder: Path) -> None:
    """Make names that were created or removed in a folder durable. Raises OSError."""
    MACHINE.sync_folder(folder)


def write_durably(path: Path, data: bytes, mode: int = 0o600, disk: Disk = MACHINE) -> None:
    """Replace a file so that after a power cut it holds the old or the new content, never a mixture."""
    with _storage(path.parent):
        disk.make_folder(path.parent)
        temporary = path.with_name(path.name + ".new")
        handle = disk.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        try:
            disk.write(handle, data, 0)
            disk.sync(handle)
        finally:
            os.close(handle)
        disk.replace(temporary, path)
        disk.sync_folder(path.parent)


@contextmanager
def _storage(folder: Path) -> Iterator[None]:
    """Turn OSError into StorageUnavailable with the folder in the message."""
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(f"cannot write in {folder}: {error.strerror or error}") from error


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:012d}.seg"


def _whole_record(data: bytes, offset: int) -> int:
    """Size of the whole record at `offset`, 0 if there is none."""
    if len(data) - offset < _HEAD.size or not data.startswith(MAGIC, offset):
        return 0
    _, length, crc = _HEAD.unpack_from(data, offset)
    end = offset + _HEAD.size + length
    if length > RECORD_BYTES_MAX or end > len(data):
        return 0
    payload = memoryview(data)[offset + _HEAD.size : end]
    return _HEAD.size + length if zlib.crc32(payload, zlib.crc32(data[offset + 4 : offset + 8])) == crc else 0


def _next_record(data: bytes, offset: int) -> int:
    """Where the next whole record begins, 0 if there is none."""
    found = data.find(MAGIC, offset)
    while found >= 0:
        if _whole_record(data, found):
            return found
        found = data.find(MAGIC, found + 1)
    return 0
