"""How fast bodies of requests may be sent: a bucket of bytes that fills at a fixed rate, live frames first."""

import asyncio
from collections.abc import AsyncIterator

CHUNK_BYTES_MAX = 16 * 1024
CHUNK_BYTES_MIN = 256
CHUNKS_PER_S = 4  # a live frame waits for one chunk of another request at most


class Bandwidth:
    """`bytes_s` is the limit over all requests together, None for none. Belongs to one event loop."""

    def __init__(self, bytes_s: int | None = None) -> None:
        self._bytes_s = bytes_s
        self._chunk = max(CHUNK_BYTES_MIN, min(CHUNK_BYTES_MAX, (bytes_s or 0) // CHUNKS_PER_S))
        self._left = float(self._chunk)
        self._filled_s = 0.0
        self._live_waiting = 0

    def request_bytes(self, seconds: float) -> int | None:
        """How much a request that takes so long holds; None without a limit."""
        return None if self._bytes_s is None else max(self._chunk, int(self._bytes_s * seconds))

    def body(self, data: bytes, *, live: bool) -> bytes | AsyncIterator[bytes]:
        """The body as it may be sent: at once, or in chunks as their time comes."""
        return data if self._bytes_s is None or not data else self._chunks(data, self._bytes_s, live=live)

    async def _chunks(self, data: bytes, bytes_s: int, *, live: bool) -> AsyncIterator[bytes]:
        for start in range(0, len(data), self._chunk):
            chunk = data[start : start + self._chunk]
            await self._take(len(chunk), bytes_s, live=live)
            yield chunk

    async def _take(self, size: int, bytes_s: int, *, live: bool) -> None:
        self._live_waiting += live
        try:
            while True:
                now_s = asyncio.get_running_loop().time()
                self._left = min(self._chunk, self._left + (now_s - self._filled_s) * bytes_s)
                self._filled_s = now_s
                if self._left >= size and (live or not self._live_waiting):
                    self._left -= size
                    return
                await asyncio.sleep(max(size - self._left, 1.0) / bytes_s)
        finally:
            self._live_waiting -= live
