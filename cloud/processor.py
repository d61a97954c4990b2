"""Log -> facts. Reads both lanes from its own positions; facts and positions are one transaction.

It never stops: a frame that cannot be used is set aside with its reason, one whose time is not known waits for
the fix of its clock run, a store that cannot be written is tried again. Whoever shows or judges what is happening
now listens to it.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog

from cloud.facts.claims import FrameFacts, facts_of
from cloud.facts.intake import store_facts, store_losses
from cloud.facts.parked import Parked, due_frames, park, store_fix
from cloud.facts.progress import (
    UNUSABLE,
    FactsStore,
    SetAside,
    Transaction,
    identified,
    position_of,
    set_frame_aside,
    store_position,
    storing,
)
from cloud.facts.releasing import Releaser, Told
from cloud.ingest.clocks import needs_fix
from cloud.ingest.gateways import GatewayKeys
from cloud.ingest.integrity import Finding, IntegrityKind
from cloud.ingest.log import FrameLog, LogEntry
from devices.errors import Transient
from devices.frame import Frame, decode_frame
from devices.instants import format_instant
from devices.reading import Lane
from devices.records import ClockFix, Loss

READER = "processor"
BATCH_FRAMES = 200  # of each lane in one transaction
BATCH_BODY_BYTES_MAX = 16 * 1024 * 1024  # inflated; bounds the memory whatever the frames hold
GATHER_S = 0.02  # after a small batch: frames that come close together share a transaction
RETRY_FIRST_S, RETRY_MAX_S = 0.2, 10.0
_log = structlog.get_logger(__name__)

Listener = Callable[[str, Sequence[Frame], int], None]
Report = Callable[[Finding], object]
Kind = TypeVar("Kind", Loss, ClockFix)


@dataclass(frozen=True, slots=True)
class _Read:
    """An entry of the log that was looked at. `waits` for the fix of its clock run; `after` is where to read it."""

    lane: Lane
    position: int
    after: int
    received_ms: int
    site: str = ""
    frame: Frame | None = None
    facts: FrameFacts | None = None
    unusable: str = ""
    waits: bool = False


@dataclass(slots=True)
class _Batch:
    reads: list[_Read] = field(default_factory=list)
    positions: dict[Lane, int] = field(default_factory=dict)


class Processor:
    """One for the whole log. `run` never ends by itself; `step` is one batch.

    `report` is told, in the processor's thread, what an honest gateway never says.
    """

    def __init__(self, log: FrameLog, keys: GatewayKeys, engine: FactsStore, report: Report = lambda _: None) -> None:
        self._log = log
        self._keys = keys
        self._engine = engine
        self._report = report
        self._releaser = Releaser(log, engine)
        self._positions = {lane: position_of(engine, _reader(lane)) for lane in Lane}
        self._listeners: list[Listener] = []
        self._parked_listeners: list[Listener] = []
        self._maybe_due = True  # whether a parked frame may have its fix
        self._arrived = log.subscribe()
        self._stopping = False

    def is_current(self) -> bool:
        """Tell whether everything in the log has been processed. Reads the disk; raises StorageUnavailable."""
        behind = any(self._log.read(lane, self._positions[lane], 1) for lane in Lane)
        return not behind and not (self._maybe_due and due_frames(self._engine, 1))

    def listen(self, listener: Listener, *, parked: bool = False) -> None:
        """Call `listener(site, frames, received_ms)` in the event loop after the frames' facts are stored.

        With `parked` it hears of frames that wait, instead, as they were sealed: their times say nothing yet.
        """
        (self._parked_listeners if parked else self._listeners).append(listener)

    async def run(self) -> None:
        """Process what is there and what comes, until `stop`."""
        pause_s = RETRY_FIRST_S
        while not self._stopping:
            self._arrived.clear()
            try:
                count = await self.step()
                pause_s = RETRY_FIRST_S
            except Transient as error:
                _log.warning("processor waits", reason=str(error), retry_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_MAX_S)
                continue
            if not count and not self._stopping:
                await self._arrived.wait()
            elif count < BATCH_FRAMES:
                await asyncio.sleep(GATHER_S)

    def stop(self) -> None:
        """Let `run` end after the batch at hand."""
        self._stopping = True
        self._arrived.set()

    async def step(self) -> int:
        """Process one batch; how many frames it had. Raises Transient, then nothing of it counts."""
        batch = await asyncio.to_thread(self._process)
        self._positions.update(batch.positions)
        usable = [read for read in batch.reads if not read.unusable]
        _tell(self._parked_listeners, [_told(read) for read in usable if read.waits])
        _tell(self._listeners, [_told(read) for read in usable if not read.waits])
        released = await asyncio.to_thread(self._releaser.step, BATCH_FRAMES) if self._maybe_due else []
        self._maybe_due &= bool(released)
        _tell(self._listeners, [one.told for one in released if one.told is not None])
        return len(batch.reads) + len(released)

    def _process(self) -> _Batch:
        batch = self._read_batch()
        if not batch.reads:
            return batch
        self._maybe_due |= any(read.waits or _records(read, ClockFix) for read in batch.reads)
        try:
            self._store(batch)
        except UNUSABLE:
            # One frame spoils the transaction of all: store one by one, so that only that one is set aside.
            batch.reads = [self._store_alone(read) for read in batch.reads]
            self._store(_Batch([], batch.positions))
        return batch

    def _read_batch(self) -> _Batch:
        batch = _Batch()
        size = 0
        for lane in Lane:
            after = self._positions[lane]
            for entry in self._log.read(lane, after, BATCH_FRAMES):
                if size > BATCH_BODY_BYTES_MAX:
                    break
                read = self._look(lane, entry, after)
                after = entry.position
                batch.reads.append(read)
                batch.positions[lane] = entry.position
                size += read.frame.header.body_bytes if read.frame else len(entry.data)
        return batch

    def _look(self, lane: Lane, entry: LogEntry, after: int) -> _Read:
        frame: Frame | None = None
        site = ""
        reason = ""
        waits = False
        facts: FrameFacts | None = None
        try:
            frame = decode_frame(entry.data)
            gateway = self._keys.get(frame.header.gateway)
            if gateway is None:
                reason = "its gateway is not registered"
            else:
                site = gateway.site
                waits = needs_fix(frame.header, entry.received_ms)
                if lane is Lane.EVENTS and not waits:
                    facts = facts_of(frame, entry.received_ms, site)
        except UNUSABLE as error:
            reason = f"{type(error).__name__}: {error}"
        return _Read(lane, entry.position, after, entry.received_ms, site, frame, facts, reason, waits and not reason)

    def _store(self, batch: _Batch) -> None:
        with storing(self._engine) as connection:
            for read in batch.reads:
                if read.unusable:
                    _log.warning("frame set aside", lane=str(read.lane), position=read.position, reason=read.unusable)
                    set_frame_aside(connection, _aside(read))
                elif read.waits and read.frame is not None:
                    park(connection, _parked(read, read.frame))
                    store_losses(connection, read.site, read.frame.header.gateway, _records(read, Loss))
                elif read.facts is not None:
                    store_facts(connection, read.facts)
                self._store_fixes(connection, read)
            for lane, position in batch.positions.items():
                store_position(connection, _reader(lane), position)

    def _store_fixes(self, connection: Transaction, read: _Read) -> None:
        for fix in _records(read, ClockFix):
            if read.frame is None:
                continue
            counts = store_fix(connection, read.site, read.frame.header.gateway, fix)
            if counts is not None:  # before the commit: a finding is noted once, however often it is found
                self._report(_dispute(read.site, read.frame, fix, counts))

    def _store_alone(self, read: _Read) -> _Read:
        try:
            self._store(_Batch([read]))
        except UNUSABLE as error:
            reason = f"{type(error).__name__}: {error}"
            read = replace(read, facts=None, unusable=reason, waits=False)
            self._store(_Batch([read]))
        return read


def _reader(lane: Lane) -> str:
    return f"{READER}/{lane}"


def _aside(read: _Read) -> SetAside:
    gateway, epoch, seq = identified(read.frame.identity if read.frame else None)
    return SetAside(read.site, str(read.lane), read.position, read.received_ms, read.unusable, gateway, epoch, seq)


def _told(read: _Read) -> Told:
    if read.frame is None:
        raise ValueError("a frame that could not be decoded is told to nobody")
    return Told(read.site, read.received_ms, read.frame)


def _tell(listeners: Sequence[Listener], told: Iterable[Told]) -> None:
    """Frames by site and time of receipt, in their order."""
    groups: list[tuple[str, int, list[Frame]]] = []
    for site, received_ms, frame in told:
        if not groups or groups[-1][:2] != (site, received_ms):
            groups.append((site, received_ms, []))
        groups[-1][2].append(frame)
    for group in groups:
        for listener in listeners:
            listener(group[0], group[2], group[1])


def _records(read: _Read, kind: type[Kind]) -> list[Kind]:
    """Records of one kind in a usable events frame."""
    if read.frame is None or read.unusable or read.lane is not Lane.EVENTS:
        return []
    return [record for record in read.frame.content.records if isinstance(record, kind)]


def _parked(read: _Read, frame: Frame) -> Parked:
    header = frame.header
    return Parked(
        read.site, frame.identity, header.clock_run, read.position, read.after, read.received_ms, header.from_ms,
        header.to_ms,
    )  # fmt: skip


def _dispute(site: str, frame: Frame, fix: ClockFix, counts: ClockFix) -> Finding:
    name = frame.identity
    detail = (
        f"clock run {fix.run.hex()} was {format_instant(counts.utc_ms)} at {counts.monotonic_ms} ms and is now said "
        f"to have been {format_instant(fix.utc_ms)} at {fix.monotonic_ms} ms: the first counts"
    )
    return Finding(site, name.gateway, IntegrityKind.CLOCK_FIX, str(name.lane), name.epoch, name.seq, detail)
