"""One lane of the journal on disk: sealed frames in segment files, with the identity they carry.

A frame counts from the moment `append` returned: then it is fsynced and indexed. Everything before that can
vanish in a power cut and takes nothing else with it. All methods block; callers use a thread.
"""

import secrets
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from devices.errors import ConfigurationError, DamagedFrame, Problem, StorageUnavailable, UnknownVersion
from devices.frame import EPOCH_BYTES, NO_HASH, Header, PreviousEpoch, SealedFrame, open_frame, read_header
from devices.reading import Lane
from devices.segments import (
    SEGMENT_BYTES,
    Damage,
    Position,
    Record,
    Segments,
    scan_segment,
    segment_numbers,
    write_durably,
)

IDENTITY_FORMAT = 1
_IDENTITY_FILE = "lane.json"


class FrameKey(NamedTuple):
    """What a frame is called within a lane."""

    epoch: bytes
    seq: int


class _LaneIdentity(msgspec.Struct, frozen=True):
    """The file that names the lane's epoch. It outlives every change of configuration."""

    format: int
    gateway: str
    lane: Lane
    epoch: str
    previous: PreviousEpoch | None


@dataclass(slots=True)
class _Run:
    """Frames of one epoch that follow each other without a gap in one segment: 4 bytes of memory a frame."""

    epoch: bytes
    first_seq: int
    segment: int
    offsets: "array[int]" = field(default_factory=lambda: array("I"))
    readings: int = 0

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.offsets) - 1


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found when the lane was opened."""

    frames: int
    damages: tuple[Damage, ...]
    began_epoch: bool


class LaneJournal:
    """The frames of one lane. One writer; `read` and the questions may come from other threads."""

    def __init__(self, folder: Path, gateway: str, lane: Lane, segments: Segments, identity: _LaneIdentity) -> None:
        self._folder = folder
        self._gateway = gateway
        self._lane = lane
        self._segments = segments
        self._identity = identity
        self._lock = threading.Lock()  # guards the index: the sealing thread writes it, the loop reads it
        self._by_segment: dict[int, list[_Run]] = {}
        self._by_epoch: dict[bytes, list[_Run]] = {}
        self._sizes: dict[int, int] = {}
        self._next_seq = 1
        self._last_hash = NO_HASH
        self.recovery = Recovery(0, (), began_epoch=False)
        self.opened_at = FrameKey(b"", 1)  # the first frame that this process can have made

    @classmethod
    def open(cls, folder: Path, gateway: str, lane: Lane, segment_bytes: int = SEGMENT_BYTES) -> Self:
        """Open or create a lane and find its end; needs no hand whatever state the files are in.

        A new epoch begins when there was none, and when anything behind the last whole frame was cut.
        Raises StorageUnavailable, or ConfigurationError when the folder belongs to another gateway.
        """
        identity = _load_identity(folder, gateway, lane)
        found = _scan_folder(folder) if folder.exists() else _Found()
        segments = Segments.open(folder, segment_bytes)
        fresh = identity is None
        if identity is None:  # also when the file was lost: a new epoch is always safe
            identity = _LaneIdentity(IDENTITY_FORMAT, gateway, lane, "", None)
        self = cls(folder, gateway, lane, segments, identity)
        self._sizes = segments.sizes()
        for run in found.runs:
            self._index(run)
        self._last_hash = found.last_hash if found.last_epoch == self.epoch else NO_HASH
        self._next_seq = found.last_seq + 1 if found.last_epoch == self.epoch else 1
        reused = found.last_epoch != self.epoch and self.epoch in self._by_epoch  # an old file was put back
        began = fresh or reused or found.tail_damaged
        if began:
            self._begin_epoch_after(found.last_epoch, found.last_seq, found.last_hash)
        frames = sum(len(run.offsets) for run in found.runs)
        self.recovery = Recovery(frames, tuple(found.damages), began)
        self.opened_at = FrameKey(self.epoch, self._next_seq)
        return self

    @property
    def lane(self) -> Lane:
        """Which lane this is."""
        return self._lane

    @property
    def epoch(self) -> bytes:
        """The epoch that new frames belong to."""
        return bytes.fromhex(self._identity.epoch)

    @property
    def next_seq(self) -> int:
        """The sequence number of the next frame."""
        return self._next_seq

    @property
    def last_hash(self) -> bytes:
        """Hash of the frame before the next one, empty at the start of an epoch."""
        return self._last_hash

    @property
    def previous_epoch(self) -> PreviousEpoch | None:
        """What the first frame of this epoch has to name; None for later frames."""
        return self._identity.previous if self._next_seq == 1 else None

    @property
    def bytes_on_disk(self) -> int:
        """Space taken by the segments, preallocated space included."""
        with self._lock:
            return sum(self._sizes.values())

    def begin_epoch(self) -> None:
        """Begin a new epoch, durably, before the next frame."""
        self._begin_epoch_after(self.epoch, self._next_seq - 1, self._last_hash)

    def grows_by(self, size: int) -> int:
        """Bytes of disk that appending a frame of `size` bytes takes at most: 0 while the segment has room."""
        room = self._segments.segment_bytes - self._segments.end.offset
        return 0 if size + 64 <= room else max(self._segments.segment_bytes, size + 64)

    def append(self, frame: SealedFrame) -> None:
        """Write and fsync one frame; it counts when this returns. The frame must be the next of the lane.

        Raises StorageUnavailable; then nothing was accepted and the same sequence number is used again.
        """
        if frame.header.epoch != self.epoch or frame.header.seq != self._next_seq:
            raise ValueError(f"frame {frame.header.seq} is not the next one, {self._next_seq}")
        try:
            position = self._segments.append(frame.data)
            self._segments.sync()
        except StorageUnavailable:
            self._segments.rollback()
            raise
        self._note(frame.header, position)
        self._next_seq += 1
        self._last_hash = frame.hash

    def read(self, epoch: bytes, seq: int) -> bytes:
        """A frame's bytes. KeyError when it is not here or not whole, StorageUnavailable when the disk fails."""
        return self._segments.read(self._position(epoch, seq))

    def holds(self, epoch: bytes, seq: int) -> bool:
        """Whether the frame is in the index."""
        with self._lock:
            return self._run_of(epoch, seq) is not None

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

    def segment_ranges(self) -> Iterator[tuple[int, list[tuple[bytes, int]]]]:
        """Closed segments, oldest first, each with the last sequence number of each epoch in it."""
        with self._lock:
            closed = sorted(set(self._sizes) - {self._segments.end.segment})
            contents = [(one, [(run.epoch, run.last_seq) for run in self._by_segment.get(one, [])]) for one in closed]
        yield from contents

    def delete_segment(self, segment: int) -> None:
        """Give a closed segment's space back; its frames are gone."""
        self._segments.delete(segment)
        with self._lock:
            self._sizes.pop(segment, None)
            for run in self._by_segment.pop(segment, []):
                left = [one for one in self._by_epoch[run.epoch] if one is not run]
                if left:
                    self._by_epoch[run.epoch] = left
                else:
                    del self._by_epoch[run.epoch]

    def close(self) -> None:
        """Close the files."""
        self._segments.close()

    def _begin_epoch_after(self, epoch: bytes, last_seq: int, last_hash: bytes) -> None:
        previous = PreviousEpoch(epoch, last_seq, last_hash) if epoch and last_seq else self._identity.previous
        name = secrets.token_bytes(EPOCH_BYTES)
        identity = _LaneIdentity(IDENTITY_FORMAT, self._gateway, self._lane, name.hex(), previous)
        write_durably(self._folder / _IDENTITY_FILE, msgspec.json.encode(identity))
        self._identity = identity
        self._next_seq = 1
        self._last_hash = NO_HASH

    def _note(self, header: Header, position: Position) -> None:
        with self._lock:
            if position.segment not in self._sizes:
                self._sizes = self._segments.sizes()
            runs = self._by_segment.get(position.segment)
            run = runs[-1] if runs else None
            if run is None or run.epoch != header.epoch or run.last_seq + 1 != header.seq:
                run = _Run(header.epoch, header.seq, position.segment)
                self._index(run)
            run.offsets.append(position.offset)
            run.readings += header.readings

    def _index(self, run: _Run) -> None:
        self._by_segment.setdefault(run.segment, []).append(run)
        self._by_epoch.setdefault(run.epoch, []).append(run)

    def _run_of(self, epoch: bytes, seq: int) -> _Run | None:
        runs = self._by_epoch.get(epoch, [])
        at = bisect_right(runs, seq, key=lambda run: run.first_seq) - 1
        return runs[at] if at >= 0 and seq <= runs[at].last_seq else None

    def _position(self, epoch: bytes, seq: int) -> Position:
        with self._lock:
            run = self._run_of(epoch, seq)
            if run is None:
                raise KeyError((epoch, seq))
            return Position(run.segment, run.offsets[seq - run.first_seq])


@dataclass(slots=True)
class _Found:
    """What a scan of a lane's folder found."""

    runs: list[_Run] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    last_epoch: bytes = b""
    last_seq: int = 0
    last_hash: bytes = NO_HASH
    tail_damaged: bool = False


def _scan_folder(folder: Path) -> _Found:
    found = _Found()
    last: Record | None = None
    try:
        numbers = segment_numbers(folder)
    except OSError as error:
        raise StorageUnavailable(f"cannot read {folder}: {error.strerror}") from error
    for number in numbers:
        for item in scan_segment(folder, number):
            header = _header_of(item) if isinstance(item, Record) else None
            if header is None:
                found.damages.append(item if isinstance(item, Damage) else _unreadable(item))
                found.tail_damaged = True
                continue
            last = item if isinstance(item, Record) else last
            found.tail_damaged = False
            _extend(found, header, item.position)
    if last is not None:
        found.last_hash = open_frame(last.payload).hash
    return found


def _extend(found: _Found, header: Header, position: Position) -> None:
    run = found.runs[-1] if found.runs else None
    follows = run is not None and run.epoch == header.epoch and run.last_seq + 1 == header.seq
    if run is None or not follows or run.segment != position.segment:
        run = _Run(header.epoch, header.seq, position.segment)
        found.runs.append(run)
    run.offsets.append(position.offset)
    run.readings += header.readings
    found.last_epoch, found.last_seq = header.epoch, header.seq


def _header_of(item: Record) -> Header | None:
    """The header of a whole record, None when it holds no frame of this version."""
    try:
        return read_header(item.payload)
    except (DamagedFrame, UnknownVersion):
        return None


def _unreadable(item: Record) -> Damage:
    return Damage(item.position, item.end.offset - item.position.offset)


def _load_identity(folder: Path, gateway: str, lane: Lane) -> _LaneIdentity | None:
    path = folder / _IDENTITY_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageUnavailable(f"cannot read {path}: {error.strerror}") from error
    try:
        identity = msgspec.json.decode(data, type=_LaneIdentity)
    except msgspec.MsgspecError:
        return None
    if identity.gateway != gateway or identity.lane is not lane:
        problem = Problem(
            str(path), 0, 0, f"this journal belongs to gateway {identity.gateway!r}: choose another data_dir"
        )
        raise ConfigurationError([problem])
    return identity
