"""One lane of the journal on disk: sealed frames in segment files, with the identity they carry.

A frame counts from the moment `append` returned: then it is fsynced and indexed. Everything before that can
vanish in a power cut and takes nothing else with it. All methods block; callers use a thread.
"""

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from devices.disk import MACHINE, Disk
from devices.errors import ConfigurationError, Problem, StorageUnavailable
from devices.frame import EPOCH_BYTES, NO_HASH, Header, PreviousEpoch, SealedFrame
from devices.reading import Lane
from devices.segments import SEGMENT_BYTES, Damage, Segments, write_durably
from edge.lane_index import (
    Found,
    FrameIndex,
    Run,
    find_frames,
    headers_in,
    index_path,
    index_sizes,
    write_index,
)
from edge.ram_buffer import RamBuffer

IDENTITY_FORMAT = 1
LOSS_ROOM_BYTES = 64 * 1024  # kept free at the end of an events segment: loss records fit on a disk that is full
RECORD_OVERHEAD_BYTES = 64  # more than a record's head
INDEX_FRAME_BYTES, INDEX_HEAD_BYTES = 4, 256  # of an index, at most
_IDENTITY_FILE = "lane.json"


class FrameKey(NamedTuple):
    """What a frame is called within a lane."""

    epoch: bytes
    seq: int


class _AnyFormat(msgspec.Struct, frozen=True):
    """The one field that every version of the identity file has."""

    format: int


class _LaneIdentity(msgspec.Struct, frozen=True):
    """The file that names the lane's epoch. It outlives every change of configuration."""

    format: int
    gateway: str
    lane: Lane
    epoch: str
    previous: PreviousEpoch | None


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found when the lane was opened."""

    frames: int
    damages: tuple[Damage, ...]
    began_epoch: bool
    scanned_segments: int  # those that had no index, and the last
    lost_tail: tuple[bytes, int, int] | None = None  # epoch, first and last number of accepted frames that are gone


class LaneJournal:
    """The frames of one lane. One writer; `read` and the questions may come from other threads."""

    def __init__(self, folder: Path, segments: Segments, identity: _LaneIdentity, disk: Disk) -> None:
        lane = identity.lane
        self._folder = folder
        self._gateway = identity.gateway
        self._lane = lane
        self._segments = segments
        self._identity = identity
        self._disk = disk
        self._index = FrameIndex()
        self._sizes: dict[int, int] = {}
        self._next_seq = 1
        self._last_hash = NO_HASH
        self._ended: PreviousEpoch | None = None  # a new epoch is wanted, which names this one
        self.turning = threading.RLock()  # held while an epoch begins, and by who seals beside the lane's own thread
        self._newest = (b"", 0, NO_HASH)  # of the frames on disk that were not made in memory: epoch, seq, hash
        self._reserve = min(LOSS_ROOM_BYTES, segments.segment_bytes // 4) if lane is Lane.EVENTS else 0
        self.ram = RamBuffer(lane)
        self.recovery = Recovery(0, (), began_epoch=False, scanned_segments=0)
        self.opened_at = FrameKey(b"", 1)  # the first frame that this process can have made
        self.last_header: Header | None = None  # of the last frame that this process appended

    @classmethod
    def open(
        cls,
        folder: Path,
        gateway: str,
        lane: Lane,
        segment_bytes: int = SEGMENT_BYTES,
        disk: Disk = MACHINE,
        *,
        patient: bool = False,
    ) -> Self:
        """Open or create a lane and find its end; needs no hand whatever state the files are in.

        A new epoch begins when there was none, and when anything behind the last whole frame was cut.
        Raises StorageUnavailable, or ConfigurationError when the folder is another gateway's or a newer version's.
        With `patient` a disk that takes nothing now is no error: every `prepare` and `append` tries again.
        """
        identity = _load_identity(folder, gateway, lane)
        found = find_frames(folder, disk)
        segments = Segments.open(folder, segment_bytes, disk, patient=patient)
        fresh = identity is None
        if identity is None:  # also when the file was lost: a new epoch is always safe
            identity = _LaneIdentity(IDENTITY_FORMAT, gateway, lane, "", None)
        self = cls(folder, segments, identity, disk)
        for run in found.runs:
            self._index.add(run)
        self._measure()
        self._newest = (found.last_epoch, found.last_seq, found.last_hash)
        self._last_hash = found.last_hash if found.last_epoch == self.epoch else NO_HASH
        self._next_seq = found.last_seq + 1 if found.last_epoch == self.epoch else 1
        reused = found.last_epoch != self.epoch and self._index.knows_epoch(self.epoch)  # an old file was put back
        began = fresh or reused or found.tail_damaged
        if began:
            self._ended = PreviousEpoch(found.last_epoch, found.last_seq, found.last_hash)
            try:
                self.prepare()
            except StorageUnavailable:
                if not patient:
                    raise
        frames = sum(len(run.offsets) for run in found.runs)
        lost = (found.last_epoch, found.last_seq + 1, found.last_seq + found.tail_lost) if found.tail_lost else None
        self.recovery = Recovery(frames, tuple(found.damages), began, found.scanned_segments, lost)
        self.opened_at = FrameKey(self.epoch, self._next_seq)
        return self

    @property
    def lane(self) -> Lane:
        """Which lane this is."""
        return self._lane

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self._folder

    @property
    def epoch(self) -> bytes:
        """The epoch that new frames belong to; empty until the disk took the first one's name."""
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
    def previous(self) -> PreviousEpoch | None:
        """Where the epoch before the present one ended, as far as known."""
        return self._identity.previous

    @property
    def previous_epoch(self) -> PreviousEpoch | None:
        """What the first frame of this epoch has to name; None for later frames."""
        return self._identity.previous if self._next_seq == 1 else None

    @property
    def bytes_on_disk(self) -> int:
        """Space taken by the segments and their indexes, preallocated space included."""
        return sum(dict(self._sizes).values())

    @property
    def segment_bytes(self) -> int:
        """Size of one segment."""
        return self._segments.segment_bytes

    @property
    def open_segment(self) -> int:
        """The segment that is being written to."""
        return self._segments.end.segment

    def want_epoch(self) -> None:
        """Let the next frame be the first of a new epoch."""
        if self._ended is None:
            self._ended = PreviousEpoch(self.epoch, self._next_seq - 1, self._last_hash)

    def begin_epoch(self) -> None:
        """Begin a new epoch, durably, before the next frame. Raises StorageUnavailable; then it stays wanted."""
        self.want_epoch()
        self.prepare()

    def prepare(self) -> None:
        """Before a frame is sealed: begin the epoch that is wanted, if one is. Raises StorageUnavailable."""
        if self._ended is not None:
            with self.turning:
                self._begin_epoch()

    def _begin_epoch(self) -> None:
        ended = self._ended
        if ended is None:
            return
        if ended.epoch == self.epoch:  # a loss record may have come since it was wanted
            ended = PreviousEpoch(self.epoch, self._next_seq - 1, self._last_hash)
        previous = ended if ended.epoch and ended.last_seq else self._identity.previous
        name = secrets.token_bytes(EPOCH_BYTES)
        identity = _LaneIdentity(IDENTITY_FORMAT, self._gateway, self._lane, name.hex(), previous)
        write_durably(self._folder / _IDENTITY_FILE, msgspec.json.encode(identity), disk=self._disk)
        self._identity = identity
        self._next_seq = 1
        self._last_hash = NO_HASH
        self._ended = None

    def grows_by(self, size: int, *, loss: bool = False) -> int:
        """Bytes of disk that appending a frame of `size` bytes takes at most: 0 while the segment has room.

        With a new segment the one before gets its index.
        """
        room = self._segments.room - (0 if loss else self._reserve)
        needed = size + RECORD_OVERHEAD_BYTES
        if needed <= room:
            return 0
        frames = sum(len(run.offsets) for run in self._index.runs_in(self.open_segment))
        index_bytes = frames * INDEX_FRAME_BYTES + INDEX_HEAD_BYTES
        return max(self._segments.segment_bytes, needed + self._reserve) + index_bytes

    def append(self, frame: SealedFrame, *, loss: bool = False) -> None:
        """Write and fsync one frame; it counts when this returns. The frame must be the next of the lane.

        A `loss` record may use the room that is kept for it. Raises StorageUnavailable; then nothing was accepted
        and the same sequence number is used again.
        """
        if frame.header.epoch != self.epoch or frame.header.seq != self._next_seq:
            raise ValueError(f"frame {frame.header.seq} is not the next one, {self._next_seq}")
        self._write((frame,), 0 if loss else self._reserve)
        self._next_seq += 1
        self._last_hash = frame.hash
        self._newest = (self.epoch, frame.header.seq, frame.hash)
        self.last_header = frame.header

    def take_in(self, frames: Sequence[SealedFrame]) -> None:
        """Write frames that were sealed in memory, with one fsync. Raises StorageUnavailable: then none is here.

        Several frames must fit into a segment together: a half of them must not become durable alone.
        """
        if len(frames) > 1 and self.grows_by(sum(len(one.data) + RECORD_OVERHEAD_BYTES for one in frames)):
            self._roll()
        self._write(frames, self._reserve)

    def make_loss_room(self) -> None:
        """See to it that loss records fit into the segment that is being written to. Raises StorageUnavailable."""
        if self._segments.room < self._reserve // 2:
            self._roll()

    def read(self, epoch: bytes, seq: int) -> bytes:
        """A frame's bytes. KeyError when it is not here or not whole, StorageUnavailable when the disk fails."""
        in_memory = self.ram.read(epoch, seq)
        return in_memory if in_memory is not None else self._segments.read(self._index.position(epoch, seq))

    def holds(self, epoch: bytes, seq: int) -> bool:
        """Whether the frame is in the index, or in memory."""
        if self.ram.read(epoch, seq) is not None:
            return True
        try:
            self._index.position(epoch, seq)
        except KeyError:
            return False
        return True

    def ranges(self) -> list[tuple[bytes, int, int]]:
        """What is held, oldest first: (epoch, first seq, last seq)."""
        return [*self._index.ranges(), *self.ram.ranges()]

    def segment_sizes(self) -> dict[int, int]:
        """Bytes of each segment with its index, oldest first."""
        return dict(sorted(dict(self._sizes).items()))

    def segment_ranges(self) -> list[tuple[int, list[Run]]]:
        """Closed segments, oldest first, each with the runs in it."""
        closed = sorted(set(dict(self._sizes)) - {self.open_segment})
        return [(one, self._index.runs_in(one)) for one in closed]

    def runs_in(self, segment: int) -> list[Run]:
        """What one segment holds."""
        return self._index.runs_in(segment)

    def frames_in(self, segment: int) -> list[tuple[Header, bytes]]:
        """Every whole frame of a segment with its header. Raises StorageUnavailable."""
        return list(headers_in(self._folder, segment))

    def delete_segment(self, segment: int) -> None:
        """Give a closed segment's space back; its frames are gone. Raises StorageUnavailable."""
        self._segments.delete(segment)
        self._sizes.pop(segment, None)
        self._index.forget(segment)
        self._drop_index(segment)

    def free_bytes(self) -> int:
        """What may still be written on the file system. Raises StorageUnavailable."""
        try:
            return self._disk.free_bytes(self._folder)
        except OSError as error:
            raise StorageUnavailable(f"cannot ask for free space in {self._folder}: {error.strerror}") from error

    def close(self) -> None:
        """Close the files."""
        self._segments.close()

    def _roll(self) -> None:
        before = self.open_segment
        self._segments.roll()
        if self.open_segment != before:
            self._close_segment(before)

    def _write(self, frames: Sequence[SealedFrame], reserve: int) -> None:
        before = self.open_segment
        try:
            positions = [self._segments.append(frame.data, reserve) for frame in frames]
            self._segments.sync()
        except StorageUnavailable:
            self._segments.rollback()
            raise
        for frame, position in zip(frames, positions, strict=True):
            self._index.note(frame.header, position)
        if self.open_segment != before:
            self._close_segment(before)

    def _close_segment(self, segment: int) -> None:
        """A new segment began: keep the index of the one before, so that it need not be read at the next start."""
        if segment:
            write_index(self._folder, segment, Found(self._index.runs_in(segment), [], *self._newest), self._disk)
        self._measure()

    def _drop_index(self, segment: int) -> None:
        try:
            self._disk.unlink(index_path(self._folder, segment))
        except OSError:
            return  # a start finds no segment for it and does not look at it

    def _measure(self) -> None:
        try:
            sizes = self._segments.sizes()
        except StorageUnavailable:  # no folder yet
            sizes = {}
        for segment, size in index_sizes(self._folder).items():
            if segment not in sizes or segment == self.open_segment:
                self._drop_index(segment)  # left over: nothing may be believed of a segment that is written to
            else:
                sizes[segment] += size
        self._sizes = sizes


def _load_identity(folder: Path, gateway: str, lane: Lane) -> _LaneIdentity | None:
    path = folder / _IDENTITY_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageUnavailable(f"cannot read {path}: {error.strerror}") from error
    try:
        written = msgspec.json.decode(data, type=_AnyFormat).format
        if written > IDENTITY_FORMAT:
            known = f"a newer version wrote this journal (format {written}), this one knows {IDENTITY_FORMAT}"
            raise ConfigurationError([Problem(str(path), 0, 0, f"{known}: upgrade, or choose another data_dir")])
        identity = msgspec.json.decode(data, type=_LaneIdentity)
    except msgspec.MsgspecError:
        return None
    if identity.gateway != gateway or identity.lane is not lane:
        problem = f"this journal belongs to gateway {identity.gateway!r}: choose another data_dir"
        raise ConfigurationError([Problem(str(path), 0, 0, problem)])
    return identity
