"""Live changes of a site as server-sent events: numbered deltas, encoded once for all readers (ux.md section 3)."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

DELTAS_KEPT = 300  # five minutes at one a second: a phone that slept a moment goes on without a snapshot
READER_QUEUE_MAX = 16  # a reader that is further behind is told to start again
PING_S = 15.0
_PING = b": ping\n\n"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reader stands: `epoch` names a run of this process, `seq` the last delta applied."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"


def parse_position(text: str) -> Position:
    """Read `epoch-seq`. Raises ValueError."""
    epoch, _, seq = text.rpartition("-")
    if not epoch or not seq.isascii() or not seq.isdigit() or len(seq) > 18:
        raise ValueError(f"{text!r} is not a position like 9f3c2a10-17")
    return Position(epoch, int(seq))


class Reader:
    """One open stream."""

    def __init__(self) -> None:
        self._queue: deque[bytes] = deque()
        self._news = asyncio.Event()
        self.closed = False
        self.resynced = False

    def put(self, message: bytes, resync: bytes) -> None:
        """Queue a message; a reader who does not keep up loses all of them and gets one `resync` instead."""
        if self.resynced:
            return
        if len(self._queue) >= READER_QUEUE_MAX:
            self.replace(resync)
            return
        self._queue.append(message)
        self._news.set()

    def replace(self, resync: bytes) -> None:
        """Tell the reader to start again; nothing follows on this stream."""
        self._queue.clear()
        self._queue.append(resync)
        self.resynced = True
        self._news.set()

    def close(self) -> None:
        """End the stream."""
        self.closed = True
        self._news.set()

    async def messages(self) -> AsyncIterator[bytes]:
        """Everything queued, and a comment when nothing was said for `PING_S`. Ends when closed."""
        yield _PING  # headers and a first byte at once, so that the page knows it is connected
        while not self.closed:
            while self._queue:
                yield self._queue.popleft()
            try:
                await asyncio.wait_for(self._news.wait(), PING_S)
            except TimeoutError:
                yield _PING
            if not self.closed:
                self._news.clear()


class DeltaStream:
    """The deltas of one site. `seq` counts from 0 (the first snapshot) up, one a delta."""

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self._seq = 0
        self._kept: deque[tuple[int, bytes]] = deque(maxlen=DELTAS_KEPT)
        self._readers: set[Reader] = set()

    @property
    def position(self) -> Position:
        """After the last delta."""
        return Position(self._epoch, self._seq)

    @property
    def readers(self) -> int:
        """Open streams."""
        return len(self._readers)

    def publish(self, seq: int, data: bytes) -> None:
        """Hand the encoded JSON of delta `seq`, which is the next one, to every reader."""
        self._seq = seq
        message = b"event: delta\nid: %s\ndata: %s\n\n" % (str(self.position).encode(), data)
        self._kept.append((seq, message))
        resync = self._resync()
        for reader in self._readers:
            reader.put(message, resync)

    def restart(self) -> None:
        """Begin again where deltas cannot lead: every reader has to load a snapshot."""
        self._seq += 1
        self._kept.clear()
        resync = self._resync()
        for reader in self._readers:
            reader.replace(resync)

    def open(self, since: Position | None) -> Reader:
        """Open a stream from just after `since`, or from now on."""
        reader = Reader()
        self._readers.add(reader)
        if since is None or since == self.position:
            return reader
        missed = [message for seq, message in self._kept if seq > since.seq]
        reachable = since.epoch == self._epoch and since.seq + len(missed) == self._seq
        if reachable and len(missed) <= READER_QUEUE_MAX:
            for message in missed:
                reader.put(message, message)
        elif reachable:
            reader.put(b"".join(missed), b"")  # one piece: the limit of the queue is for slow readers
        else:
            reader.replace(self._resync())
        return reader

    def close(self, reader: Reader) -> None:
        """Forget a reader who is gone."""
        reader.close()
        self._readers.discard(reader)

    def close_all(self) -> None:
        """End every stream, so that the process can stop."""
        for reader in tuple(self._readers):
            self.close(reader)

    def _resync(self) -> bytes:
        return b"event: resync\nid: %s\ndata: {}\n\n" % str(self.position).encode()
