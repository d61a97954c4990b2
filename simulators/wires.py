"""What passes over a wire: a byte stream cut into messages of its protocol, and a link of limited bandwidth."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum

READ_BYTES = 16 * 1024
PACKET_BYTES = 1_500  # a raw stream over a slow link passes in pieces of this size, so that connections share it
MESSAGE_BYTES_MAX = 64 * 1024 * 1024
HEAD_BYTES_MAX = 64 * 1024
_MBAP_BYTES = 6  # transaction, protocol, length; the rest is as long as the length says
_ACKS = frozenset({4, 5, 6, 7})  # PUBACK, PUBREC, PUBREL, PUBCOMP
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_NO_BODY = re.compile(rb"HTTP/1\.[01] (1\d\d|204|304)\b")


class Protocol(StrEnum):
    """How bytes become messages; `raw` is whatever comes at once."""

    RAW = "raw"
    MODBUS = "modbus"
    MQTT = "mqtt"
    HTTP = "http"


@dataclass(slots=True)
class Wire:
    """One direction of a link. `bytes_s` is what it carries in a second, None without limit."""

    bytes_s: float | None = None
    _free_s: float = 0.0

    async def carry(self, size: int, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until `size` bytes have passed. Who waits has its turn among all who do, in order."""
        if self.bytes_s is None:
            return
        self._free_s = max(self._free_s, loop.time()) + size / self.bytes_s
        wait_s = self._free_s - loop.time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)


async def messages(reader: asyncio.StreamReader, protocol: Protocol) -> AsyncIterator[bytes]:
    """Cut a stream into messages until it ends; a last unfinished one counts as one.

    Raises ConnectionError when it breaks or holds something larger than `MESSAGE_BYTES_MAX`.
    """
    cut = {Protocol.RAW: _raw, Protocol.MODBUS: _modbus, Protocol.MQTT: _mqtt, Protocol.HTTP: _Http().message}[protocol]
    while True:
        try:
            message = await cut(reader)
        except asyncio.IncompleteReadError as error:
            message = error.partial
        except asyncio.LimitOverrunError as error:
            raise ConnectionError("a message without end") from error
        if not message:
            return
        yield message


def is_ack(message: bytes, protocol: Protocol, *, up: bool) -> bool:
    """Whether a message only says that another one arrived. `up` is from client to server."""
    if protocol is Protocol.MQTT:
        return message[0] >> 4 in _ACKS
    return not up


async def _raw(reader: asyncio.StreamReader) -> bytes:
    return await reader.read(PACKET_BYTES)


async def _modbus(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(_MBAP_BYTES)
    return head + await _rest(reader, int.from_bytes(head[4:6], "big"), head)


async def _mqtt(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(2)
    while head[-1] & 0x80 and len(head) < 5:
        head += await _rest(reader, 1, head)
    size = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(head[1:]))
    return head + await _rest(reader, size, head)


class _Http:
    """HTTP/1.1 in one direction: a message is head and body; of a chunked one the head and each chunk are one each."""

    def __init__(self) -> None:
        self._in_chunks = False

    async def message(self, reader: asyncio.StreamReader) -> bytes:
        if self._in_chunks:
            return await self._chunk(reader)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = await reader.readline()
            if not line:
                return head
            head += line
            if len(head) > HEAD_BYTES_MAX:
                raise ConnectionError("a head without end")
        self._in_chunks = bool(_CHUNKED.search(head))
        length = _LENGTH.search(head)
        if self._in_chunks or length is None or _NO_BODY.match(head):
            return head
        return head + await _rest(reader, int(length[1]), head)

    async def _chunk(self, reader: asyncio.StreamReader) -> bytes:
        line = await reader.readline()
        try:
            size = int(line.split(b";")[0].strip() or b"0", 16)
        except ValueError:
            raise ConnectionError("a chunk without a length") from None
        self._in_chunks = size > 0
        return line + await _rest(reader, size + 2, line)


async def _rest(reader: asyncio.StreamReader, size: int, begun: bytes) -> bytes:
    """The other `size` bytes of a message. Raises IncompleteReadError with all there is of it."""
    if size > MESSAGE_BYTES_MAX:
        raise ConnectionError(f"a message of {size} bytes")
    try:
        return await reader.readexactly(size)
    except asyncio.IncompleteReadError as error:
        raise asyncio.IncompleteReadError(begun + error.partial, size) from error
