"""The log in segment files.

One thread writes: whatever waits is appended together and made durable by one sync per lane (group commit),
then everybody who waited is answered.
"""

import asyncio
import secrets
import struct
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from cloud.ingest.log import FIRST_POSITION, LogEntry, Received
from devices.errors import StorageUnavailable
from devices.reading import Lane
from devices.segments import Damage, Position, Record, Segments, scan_segment, segment_numbers, write_durably

LOG_SEGMENT_BYTES = 16 * 1024 * 1024  # larger than the edge's: nothing is deleted here, fewer files are better
WAITING_BYTES_MAX = 128 * 1024 * 1024  # what may wait for the disk; beyond it gateways are told to come back
GROUP_BYTES_MAX = 16 * 1024 * 1024  # one group commit: bounds how long the first in it waits for the last
READ_BYTES_MAX = 4 * 1024 * 1024  # one answer of `read`
QUARANTINE_BYTES_MAX = 256 * 1024 * 1024  # forks are for people to look at; a hostile gateway must not fill the disk
QUARANTINE = "quarantine"
_STAMP = struct.Struct(">Q")
_OFFSET_BITS = 32
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Waiter:
    stream: str | None  # None: each frame's lane
    frames: Sequence[Received]
    bytes: int
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class SegmentLog:
    """A folder with one folder of segments for each lane and one for the quarantine. One process writes it."""

    def __init__(self, folder: Path) -> None:
        """Open or create. Raises StorageUnavailable."""
        self._folder = folder
        self._streams = {
            name: Segments.open(folder / name, LOG_SEGMENT_BYTES) for name in (*map(str, Lane), QUARANTINE)
        }
        self._log_id = _log_id(folder)
        self._waiting: deque[_Waiter] = deque()
        self._waiting_bytes = 0
        self._closing = False
        self._wake = threading.Condition()
        self._subscribers: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._writer = threading.Thread(target=self._write, name="log-writer", daemon=True)
        self._writer.start()

    @property
    def log_id(self) -> str:
        """Random, made with the folder."""
        return self._log_id

    async def append(self, frames: Sequence[Received]) -> None:
        """Each frame into its lane; see `FrameLog.append`."""
        await self._enqueue(frames, None)

    async def quarantine(self, frames: Sequence[Received]) -> None:
        """See `FrameLog.quarantine`. Raises StorageUnavailable also when the quarantine is full."""
        end = self._streams[QUARANTINE].end
        if (end.segment - 1) * LOG_SEGMENT_BYTES + end.offset > QUARANTINE_BYTES_MAX:
            raise StorageUnavailable("the quarantine for forked frames is full: decide about those in it")
        await self._enqueue(frames, QUARANTINE)

    def read(self, lane: Lane, after: int, limit: int) -> list[LogEntry]:
        """See `FrameLog.read`."""
        return self._read(str(lane), after, limit)

    def read_quarantine(self, after: int, limit: int) -> list[LogEntry]:
        """See `FrameLog.read_quarantine`."""
        return self._read(QUARANTINE, after, limit)

    def end(self, lane: Lane) -> int:
        """See `FrameLog.end`."""
        return _packed(self._streams[str(lane)].durable)

    def subscribe(self) -> asyncio.Event:
        """See `FrameLog.subscribe`. Call it inside the loop that waits."""
        event = asyncio.Event()
        self._subscribers.append((asyncio.get_running_loop(), event))
        return event

    def since(self, lane: Lane, received_ms: int) -> int:
        """See `FrameLog.since`."""
        folder = self._folder / str(lane)
        found = FIRST_POSITION
        for number in segment_numbers(folder):
            first = next((one for one in scan_segment(folder, number) if isinstance(one, Record)), None)
            if first is None or _entry(first).received_ms >= received_ms:
                break
            found = _packed(first.position)
        return found

    def close(self) -> None:
        """Write what waits, then close. Closing twice is fine."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._writer.join()
        for stream in self._streams.values():
            stream.close()

    async def _enqueue(self, frames: Sequence[Received], stream: str | None) -> None:
        if not frames:
            return
        loop = asyncio.get_running_loop()
        size = sum(len(frame.data) for frame in frames)
        waiter = _Waiter(stream, frames, size, loop, loop.create_future())
        with self._wake:
            if self._closing:
                raise StorageUnavailable("the log is being closed")
            if self._waiting_bytes + size > WAITING_BYTES_MAX:
                raise StorageUnavailable("the disk is behind: too much waits to be written")
            self._waiting.append(waiter)
            self._waiting_bytes += size
            self._wake.notify()
        await asyncio.shield(waiter.done)  # a client that hangs up must not undo what is being written

    def _write(self) -> None:
        while True:
            group = self._next_group()
            if not group:
                return
            error: StorageUnavailable | None = None
            try:
                self._commit(group)
            except StorageUnavailable as failed:
                _log.error("log cannot be written", reason=str(failed), requests=len(group))
                error = failed
            self._answer(group, error)

    def _next_group(self) -> list[_Waiter]:
        """Everything that waits, up to the bound; empty when the log closes."""
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._closing)
            group: list[_Waiter] = []
            size = 0
            while self._waiting and (not group or size + self._waiting[0].bytes <= GROUP_BYTES_MAX):
                waiter = self._waiting.popleft()
                size += waiter.bytes
                group.append(waiter)
            self._waiting_bytes -= size
            return group

    def _commit(self, group: Iterable[_Waiter]) -> None:
        touched: dict[str, Segments] = {}
        try:
            for waiter in group:
                for frame in waiter.frames:
                    name = waiter.stream or str(frame.lane)
                    stream = touched.setdefault(name, self._streams[name])
                    stream.append(_STAMP.pack(frame.received_ms) + frame.data)
            for stream in touched.values():
                stream.sync()
        except StorageUnavailable:
            for stream in touched.values():
                self._take_back(stream)
            raise

    def _take_back(self, stream: Segments) -> None:
        """Take care that what was written before a failure does not appear later.

        A record may stay when its segment was full and synced already: then it is in the log without a
        Receipt and comes once more, which a log may do.
        """
        try:
            stream.rollback()
        except StorageUnavailable as failed:
            _log.warning("will be cut back before the next append", reason=str(failed))

    def _answer(self, group: Sequence[_Waiter], error: StorageUnavailable | None) -> None:
        for loop in {waiter.loop for waiter in group}:
            mine = [waiter.done for waiter in group if waiter.loop is loop]
            _call(loop, _settle, mine, error)
        for loop, event in self._subscribers:
            _call(loop, event.set)

    def _read(self, name: str, after: int, limit: int) -> list[LogEntry]:
        durable = self._streams[name].durable
        position = Position(after >> _OFFSET_BITS, after & ((1 << _OFFSET_BITS) - 1))
        entries: list[LogEntry] = []
        size = 0
        for number in segment_numbers(self._folder / name):
            if number < position.segment or number > durable.segment:
                continue
            start = position.offset if number == position.segment else 0
            stop = durable.offset if number == durable.segment else None
            if stop is not None and start >= stop:
                break
            for found in scan_segment(self._folder / name, number, start, stop):
                if isinstance(found, Damage):
                    _log.error("log is damaged", stream=name, segment=number, offset=found.position.offset)
                    continue
                entries.append(_entry(found))
                size += len(found.payload)
                if len(entries) == limit or size >= READ_BYTES_MAX:
                    return entries
        return entries


def _entry(record: Record) -> LogEntry:
    (received_ms,) = _STAMP.unpack_from(record.payload)
    return LogEntry(_packed(record.end), received_ms, record.payload[_STAMP.size :])


def _packed(position: Position) -> int:
    return position.segment << _OFFSET_BITS | position.offset


def _log_id(folder: Path) -> str:
    path = folder / "log-id"
    if not path.exists():
        write_durably(path, secrets.token_hex(8).encode())
    return path.read_text().strip()


def _settle(waiting: Sequence[asyncio.Future[None]], error: StorageUnavailable | None) -> None:
    for one in waiting:
        if one.done():
            continue
        if error is None:
            one.set_result(None)
        else:
            one.set_exception(error)
            one.exception()  # a waiter whose client hung up never asks


def _call(loop: asyncio.AbstractEventLoop, function: object, *arguments: object) -> None:
    """Call into an event loop from the writer's thread; a loop that has ended has nobody waiting."""
    try:
        loop.call_soon_threadsafe(function, *arguments)  # type: ignore[arg-type]
    except RuntimeError:
        _log.debug("event loop has ended")
