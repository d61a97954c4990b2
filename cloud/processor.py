"""Log -> facts. Reads both lanes from its own positions; facts and positions are one transaction.

It never stops: a frame that cannot be used is set aside with its reason, a store that cannot be written is
tried again. Whoever shows or judges what is happening now listens to it.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from cloud.facts.claims import FrameFacts, facts_of
from cloud.facts.intake import store_facts
from cloud.facts.progress import (
    FactsStore,
    SetAside,
    UnusableFacts,
    identified,
    position_of,
    set_frame_aside,
    store_position,
    storing,
)
from cloud.ingest.gateways import GatewayKeys
from cloud.ingest.log import FrameLog, LogEntry, is_ahead
from devices.errors import FrameError, Transient
from devices.frame import Frame, decode_frame
from devices.instants import format_instant
from devices.reading import Lane

READER = "processor"
BATCH_FRAMES = 200  # of each lane in one transaction
BATCH_BODY_BYTES_MAX = 16 * 1024 * 1024  # inflated; bounds the memory whatever the frames hold
GATHER_S = 0.02  # after a small batch: frames that come close together share a transaction
RETRY_FIRST_S, RETRY_MAX_S = 0.2, 10.0
# What a hostile frame can make pure code raise that reads it as if it were meant well.
UNUSABLE = (FrameError, UnusableFacts, ArithmeticError, LookupError, ValueError, TypeError)
_log = structlog.get_logger(__name__)

Listener = Callable[[str, Sequence[Frame], int], None]


@dataclass(frozen=True, slots=True)
class _Read:
    """An entry of the log that was looked at."""

    lane: Lane
    position: int
    received_ms: int
    site: str = ""
    frame: Frame | None = None
    facts: FrameFacts | None = None
    unusable: str = ""


@dataclass(slots=True)
class _Batch:
    reads: list[_Read] = field(default_factory=list)
    positions: dict[Lane, int] = field(default_factory=dict)


class Processor:
    """One for the whole log. `run` never ends by itself; `step` is one batch."""

    def __init__(self, log: FrameLog, keys: GatewayKeys, engine: FactsStore) -> None:
        self._log = log
        self._keys = keys
        self._engine = engine
        self._positions = {lane: position_of(engine, _reader(lane)) for lane in Lane}
        self._listeners: list[Listener] = []
        self._arrived = log.subscribe()
        self._stopping = False

    def is_current(self) -> bool:
        """Tell whether everything in the log has been processed. Reads the disk; raises StorageUnavailable."""
        return not any(self._log.read(lane, self._positions[lane], 1) for lane in Lane)

    def listen(self, listener: Listener) -> None:
        """Call `listener(site, frames, received_ms)` in the event loop after the frames' facts are stored."""
        self._listeners.append(listener)

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
        for site, received_ms, frames in _grouped(batch.reads):
            for listener in self._listeners:
                listener(site, frames, received_ms)
        return len(batch.reads)

    def _process(self) -> _Batch:
        batch = self._read_batch()
        if not batch.reads:
            return batch
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
            for entry in self._log.read(lane, self._positions[lane], BATCH_FRAMES):
                if size > BATCH_BODY_BYTES_MAX:
                    break
                read = self._look(lane, entry)
                batch.reads.append(read)
                batch.positions[lane] = entry.position
                size += read.frame.header.body_bytes if read.frame else len(entry.data)
        return batch

    def _look(self, lane: Lane, entry: LogEntry) -> _Read:
        frame: Frame | None = None
        site = ""
        reason = ""
        facts: FrameFacts | None = None
        try:
            frame = decode_frame(entry.data)
            gateway = self._keys.get(frame.header.gateway)
            if gateway is None:
                reason = "its gateway is not registered"
            else:
                site = gateway.site
                if is_ahead(frame.header, entry.received_ms):
                    reason = f"parked: its span ends {format_instant(frame.header.to_ms)}, after it was received"
                elif lane is Lane.EVENTS:
                    facts = facts_of(frame, entry.received_ms, site)
        except UNUSABLE as error:
            reason = f"{type(error).__name__}: {error}"
        return _Read(lane, entry.position, entry.received_ms, site, frame, facts, reason)

    def _store(self, batch: _Batch) -> None:
        with storing(self._engine) as connection:
            for read in batch.reads:
                if read.unusable:
                    _log.warning("frame set aside", lane=str(read.lane), position=read.position, reason=read.unusable)
                    set_frame_aside(connection, _aside(read))
                elif read.facts is not None:
                    store_facts(connection, read.facts)
            for lane, position in batch.positions.items():
                store_position(connection, _reader(lane), position)

    def _store_alone(self, read: _Read) -> _Read:
        try:
            self._store(_Batch([read]))
        except UNUSABLE as error:
            reason = f"{type(error).__name__}: {error}"
            read = _Read(read.lane, read.position, read.received_ms, read.site, read.frame, None, reason)
            self._store(_Batch([read]))
        return read


def _reader(lane: Lane) -> str:
    return f"{READER}/{lane}"


def _aside(read: _Read) -> SetAside:
    gateway, epoch, seq = identified(read.frame.identity if read.frame else None)
    return SetAside(read.site, str(read.lane), read.position, read.received_ms, read.unusable, gateway, epoch, seq)


def _grouped(reads: Iterable[_Read]) -> list[tuple[str, int, list[Frame]]]:
    """Usable frames by site and time of receipt, in the order of the log."""
    groups: list[tuple[str, int, list[Frame]]] = []
    for read in reads:
        if read.frame is None or read.unusable:
            continue
        if not groups or groups[-1][:2] != (read.site, read.received_ms):
            groups.append((read.site, read.received_ms, []))
        groups[-1][2].append(read.frame)
    return groups
