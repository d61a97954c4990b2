"""Payloads of strangers: size-limited, strictly parsed, every failure a MessageError."""

import base64
import binascii
from typing import Any, TypeVar

import msgspec

from devices.errors import MessageError
from devices.instants import parse_instant

PAYLOAD_BYTES_MAX = 256 << 10  # a VDA 5050 state with a long order has some 50 KB
TEXT_CHARACTERS_MAX = 256
TIME_MS_MAX = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z

T = TypeVar("T")


def parse_payload(payload: bytes, shape: type[T] | Any = Any) -> T:
    """JSON of the given shape. Raises MessageError: too large, not JSON, not of that shape."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise MessageError(f"the message has {len(payload)} bytes, at most {PAYLOAD_BYTES_MAX} are read")
    try:
        parsed: T = msgspec.json.decode(payload, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MessageError(f"the message is not as expected: {error}") from error
    except RecursionError as error:
        raise MessageError("the message is nested too deep") from error
    return parsed


def stamp(text: str | None) -> int | None:
    """Unix ms UTC of a source's own stamp, None when it cannot be read as a time with a zone."""
    if not text or len(text) > TEXT_CHARACTERS_MAX:
        return None
    try:
        time_ms = parse_instant(text)
    except (ValueError, OverflowError):
        return None
    return time_ms if 0 <= time_ms <= TIME_MS_MAX else None


def short(text: str, name: str) -> str:
    """The text itself. Raises MessageError when it is longer than any device's texts."""
    if len(text) > TEXT_CHARACTERS_MAX:
        raise MessageError(f"{name} has {len(text)} characters, at most {TEXT_CHARACTERS_MAX} are read")
    return text


def from_base64(text: str) -> bytes:
    """The bytes behind base64. Raises MessageError."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MessageError(f"the payload is not base64: {error}") from error
