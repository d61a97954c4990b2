"""Log -> history. Each writer is fed at its own pace from its own position; one that fails holds nobody back."""

import asyncio
from collections.abc import Callable

import structlog

from cloud.history.store import FrameNumbers, HistoryWriter
from cloud.ingest.gateways import GatewayKeys
from cloud.ingest.log import FrameLog, LogEntry, is_ahead
from devices.errors import FrameError, Transient
from devices.frame import decode_frame
from devices.reading import Lane

BATCH_FRAMES = 200
BATCH_BODY_BYTES_MAX = 16 * 1024 * 1024  # inflated; bounds the memory whatever the frames hold
MAINTENANCE_S = 10.0
RETRY_FIRST_S, RETRY_MAX_S = 0.5, 30.0
_log = structlog.get_logger(__name__)


class HistoryFeed:
    """Feeds one writer. `run` never ends by itself; `step` is one batch, for tests and for catching up."""

    def __init__(self, log: FrameLog, keys: GatewayKeys, writer: HistoryWriter, now_ms: Callable[[], int]) -> None:
        self._log = log
        self._keys = keys
        self._writer = writer
        self._now_ms = now_ms
        self._positions = {lane: writer.position(lane) for lane in Lane}
        self._arrived = log.subscribe()
        self._stopping = False

    async def run(self) -> None:
        """Feed what is there and what comes, until `stop`."""
        pause_s = RETRY_FIRST_S
        while not self._stopping:
            self._arrived.clear()
            try:
                busy = await asyncio.to_thread(self.step)
                pause_s = RETRY_FIRST_S
            except Transient as error:
                _log.warning("history waits", writer=self._writer.name, reason=str(error), retry_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RETRY_MAX_S)
                continue
            if busy or self._stopping:
                continue
            try:
                async with asyncio.timeout(MAINTENANCE_S):
                    await self._arrived.wait()
            except TimeoutError:
                pass  # nothing came: time for the next maintenance

    def stop(self) -> None:
        """Let `run` end after the batch at hand."""
        self._stopping = True
        self._arrived.set()

    def step(self) -> bool:
        """Feed one batch, then let the writer tidy. Whether anything was fed. Raises Transient."""
        frames: list[FrameNumbers] = []
        positions = dict(self._positions)
        size = 0
        for lane in Lane:
            for entry in self._log.read(lane, positions[lane], BATCH_FRAMES):
                if size > BATCH_BODY_BYTES_MAX:
                    break
                size += self._take(entry, frames)
                positions[lane] = entry.position
        busy = positions != self._positions
        if busy:
            self._writer.write(frames, positions)
            self._positions = positions
        self._writer.maintain(self._now_ms())
        return busy

    def _take(self, entry: LogEntry, frames: list[FrameNumbers]) -> int:
        """Decode an entry; its inflated size. What cannot be decoded is a gap in the chart (see the processor)."""
        try:
            frame = decode_frame(entry.data)
        except FrameError:
            return len(entry.data)
        header = frame.header
        gateway = self._keys.get(header.gateway)
        if gateway is not None and not is_ahead(header, entry.received_ms):
            frames.append(
                FrameNumbers(
                    gateway.site,
                    header.gateway,
                    header.lane,
                    header.epoch,
                    header.seq,
                    frame.content.series,
                    frame.content.numbers,
                )
            )
        return header.body_bytes
