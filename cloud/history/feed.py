"""Log -> history. Each writer is fed at its own pace from its own position; one that fails holds nobody back.

Frames whose times need a fix are passed by; once they have it they come as released ones.
"""

import asyncio
from collections.abc import Callable

import structlog

from cloud.history.store import RELEASED, STREAMS, FrameNumbers, HistoryWriter
from cloud.ingest.clocks import Releases, needs_fix, shifted_numbers
from cloud.ingest.gateways import GatewayKeys
from cloud.ingest.log import FrameLog, KnownPlaces, LogEntry
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

    def __init__(
        self, log: FrameLog, keys: GatewayKeys, writer: HistoryWriter, now_ms: Callable[[], int], releases: Releases
    ) -> None:
        self._log = log
        self._releases = releases
        self._keys = keys
        self._writer = writer
        self._now_ms = now_ms
        self._positions = {stream: writer.position(stream) for stream in STREAMS}
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

    def frames_arrived(self, *_: object) -> None:
        """Look now: frames may have been released that came long ago. A listener of the processor."""
        self._arrived.set()

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
        released = self._releases.released(positions[RELEASED], BATCH_FRAMES)
        places = KnownPlaces(self._log, [(one.lane, one.after) for one in released])
        for one in released:
            if size > BATCH_BODY_BYTES_MAX:
                break
            found = places.entry(one.lane, one.after)
            size += self._take(found, frames, one.shift_ms) if found is not None else 0
            positions[RELEASED] = one.number
        busy = positions != self._positions
        if busy:
            self._writer.write(frames, positions)
            self._positions = positions
        self._writer.maintain(self._now_ms())
        return busy

    def _take(self, entry: LogEntry, frames: list[FrameNumbers], shift_ms: int | None = None) -> int:
        """Decode an entry, released when it comes with a shift; its inflated size.

        What cannot be decoded is a gap in the chart (see the processor).
        """
        try:
            frame = decode_frame(entry.data)
        except FrameError:
            return len(entry.data)
        header, numbers = frame.header, frame.content.numbers
        gateway = self._keys.get(header.gateway)
        if gateway is not None and (shift_ms is not None or not needs_fix(header, entry.received_ms)):
            if shift_ms is not None:
                numbers = shifted_numbers(numbers, shift_ms)
            name = frame.identity
            frames.append(
                FrameNumbers(gateway.site, name.gateway, name.lane, name.epoch, name.seq, frame.content.series, numbers)
            )
        return header.body_bytes
