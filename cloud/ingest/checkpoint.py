"""What the log holds, in short: so that a start need not read all of it.

A chunk says of some thousands of log entries which frames they are. Chunks are appended to segment files inside the
log's folder, so that a backup of the log holds those that belong to it. What no chunk covers is read from the log;
a chunk that does not fit the log ends their use, and they are made anew.
"""

import asyncio
import shutil
import zlib
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from cloud.ingest.identities import Identities, prefix_of, stranger_hash
from cloud.ingest.log import FIRST_POSITION, FrameLog, LogEntry
from cloud.ingest.trails import Past
from devices.errors import FrameError, StorageUnavailable, UnknownVersion
from devices.frame import Header, Origin, open_frame
from devices.reading import Lane
from devices.segments import Damage, Segments, scan

CHUNK_FORMAT = 1
CHUNK_FRAMES = 16_384  # also what a start reads from the log at most, and what came in the last minute
AGE_MS_MIN = 60_000  # younger entries wait: what they contradict must have been noted first
STEP_S = 60.0
READ_FRAMES = 1_000
NUMBER_MAX = 2**62  # of a sequence number or an instant in a column
CHUNK_SEGMENT_BYTES = 4 * 1024 * 1024
_log = structlog.get_logger(__name__)


class _Group(msgspec.Struct, frozen=True, array_like=True):
    """Frames of one epoch in the order of their numbers, as columns of 8 bytes each, compressed."""

    gateway: str
    epoch: bytes
    origin: Origin
    frames: int
    columns: bytes  # seq, hash prefix, prefix of the hash before, from_ms, to_ms, trusted


class _Chunk(msgspec.Struct, frozen=True, array_like=True):
    """Log entries of a lane behind position `after` up to `to`."""

    format: int
    log_id: str
    lane: Lane
    after: int
    to: int
    groups: tuple[_Group, ...]
    strangers: tuple[int, ...]


_Row = tuple[int, int, int, int, int, int]


@dataclass(slots=True)
class _Part:
    """A chunk that is not full yet."""

    to: int
    count: int = 0
    rows: dict[tuple[str, bytes, Origin], list[_Row]] = field(default_factory=dict)
    strangers: list[int] = field(default_factory=list)

    def take(self, entry: LogEntry) -> None:
        self.to = entry.position
        self.count += 1
        _look(entry, self.rows, self.strangers)


class Checkpoint:
    """The chunks of one log. `open` reads them, `step` adds one."""

    def __init__(self, folder: Path, log: FrameLog, now_ms: Callable[[], int]) -> None:
        self._folder = folder
        self._log = log
        self._now_ms = now_ms
        self._positions = dict.fromkeys(Lane, FIRST_POSITION)
        self._parts: dict[Lane, _Part] = {}
        self.frames_read = 0  # from the log itself, at the start

    def identities(self) -> Identities:
        """What the log holds. Raises StorageUnavailable."""
        found = Identities()
        try:
            self._restore(found)
        except (ValueError, msgspec.MsgspecError, zlib.error) as error:
            _log.warning("what the log holds is read from it anew", reason=str(error))
            shutil.rmtree(self._folder, ignore_errors=True)
            self._positions = dict.fromkeys(Lane, FIRST_POSITION)
            found = Identities()
        self.frames_read = found.read_on(self._log, self._positions)
        return found

    async def run(self) -> None:
        """Add chunks for ever."""
        while True:
            await asyncio.sleep(STEP_S)
            try:
                while await asyncio.to_thread(self.step):
                    pass
            except StorageUnavailable as error:
                _log.warning("no checkpoint of the log", reason=str(error))  # a start takes longer, that is all

    def step(self) -> bool:
        """Add a chunk of each lane that has enough entries; whether one was added. Raises StorageUnavailable."""
        added = [self._step(lane) for lane in Lane]
        return any(added)

    def _step(self, lane: Lane) -> bool:
        after = self._positions[lane]
        part = self._parts.setdefault(lane, _Part(after))  # what was read is not read again at the next step
        old_ms = self._now_ms() - AGE_MS_MIN
        while part.count < CHUNK_FRAMES and (entries := self._log.read(lane, part.to, READ_FRAMES)):
            for entry in entries:
                if entry.received_ms > old_ms:
                    return False
                part.take(entry)
        if part.count < CHUNK_FRAMES:
            return False
        groups = tuple(_group(*name, of_group) for name, of_group in part.rows.items())
        chunk = _Chunk(CHUNK_FORMAT, self._log.log_id, lane, after, part.to, groups, tuple(part.strangers))
        segments = Segments.open(self._folder, CHUNK_SEGMENT_BYTES)
        try:
            segments.append(msgspec.msgpack.encode(chunk))
        finally:
            segments.close()
        self._positions[lane] = part.to
        del self._parts[lane]
        return True

    def _restore(self, found: Identities) -> None:
        if not self._folder.exists():
            return
        for item in scan(self._folder):
            if isinstance(item, Damage):
                continue  # a torn last one; were it not the last, the next would not fit
            chunk = msgspec.msgpack.decode(item.payload, type=_Chunk)
            here = self._positions[chunk.lane]
            fits = (chunk.format, chunk.log_id, chunk.after) == (CHUNK_FORMAT, self._log.log_id, here)
            if not fits or chunk.to > self._log.end(chunk.lane):
                raise ValueError("the chunks are of another log")
            for group in chunk.groups:
                _restore_group(found, chunk.lane, group)
            for prefix in chunk.strangers:
                found.add_stranger_prefix(prefix)
            self._positions[chunk.lane] = chunk.to
        found.restored()


def _look(entry: LogEntry, rows: dict[tuple[str, bytes, Origin], list[_Row]], strangers: list[int]) -> None:
    try:
        sealed = open_frame(entry.data)
    except UnknownVersion:
        strangers.append(prefix_of(stranger_hash(entry.data)))
    except FrameError:
        return
    else:
        header = sealed.header
        if max(header.seq, header.to_ms) > NUMBER_MAX:
            return  # nobody means this: it may be stored once more after a start
        name = (header.gateway, header.epoch, header.origin)
        rows.setdefault(name, []).append(_row(header, sealed.hash))


def _row(header: Header, digest: bytes) -> _Row:
    named = prefix_of(header.previous_hash)
    return header.seq, prefix_of(digest), named, max(header.from_ms, 0), max(header.to_ms, 0), int(header.trusted)


def _group(gateway: str, epoch: bytes, origin: Origin, rows: Sequence[_Row]) -> _Group:
    first: dict[int, _Row] = {}
    for row in rows:
        first.setdefault(row[0], row)  # the first under an identity counts
    ordered = [first[seq] for seq in sorted(first)]
    table = np.array(ordered, np.uint64).T
    packed = zlib.compress(np.ascontiguousarray(table).astype("<u8").tobytes(), 1)
    return _Group(gateway, epoch, origin, len(ordered), packed)


def _restore_group(found: Identities, lane: Lane, group: _Group) -> None:
    table = np.frombuffer(zlib.decompress(group.columns), "<u8").reshape(6, group.frames)
    seqs, prefixes, named = table[0].astype(np.int64), table[1], table[2]
    starts = [0, *(np.flatnonzero(np.diff(seqs) != 1) + 1).tolist(), group.frames]
    for begin, end in pairwise(starts):
        column = array("Q")
        column.frombytes(prefixes[begin:end].astype(np.uint64).tobytes())
        past = Past(group.gateway, lane, group.epoch, int(seqs[begin]), int(seqs[end - 1]), int(named[begin]))
        found.restore(past, column, group.origin, _spans(table[3:, begin:end]))


def _spans(table: NDArray[np.uint64]) -> Iterable[tuple[int, int]]:
    """Trusted spans, those that touch made one."""
    trusted = table[2].astype(bool)
    from_ms, to_ms = table[0][trusted].astype(np.int64), table[1][trusted].astype(np.int64)
    if not len(from_ms):
        return []
    breaks = np.flatnonzero(from_ms[1:] != to_ms[:-1])
    firsts = from_ms[np.concatenate([[0], breaks + 1])]
    lasts = to_ms[np.concatenate([breaks, [len(to_ms) - 1]])]
    return [(int(a), int(b)) for a, b in zip(firsts, lasts, strict=True) if b > a]
