"""The body of the uplink's request: each frame behind its length, four bytes big-endian."""

from collections.abc import Iterable

from devices.errors import MessageError

CONTENT_TYPE = "application/vnd.gatehouse.frames"
REQUEST_BYTES_MAX = 8 * 1024 * 1024
REQUEST_FRAMES_MAX = 256
LENGTH_BYTES = 4


def join_frames(frames: Iterable[bytes]) -> bytes:
    """One body of several frames; the caller keeps the bounds."""
    return b"".join(part for frame in frames for part in (len(frame).to_bytes(LENGTH_BYTES, "big"), frame))


def split_frames(body: bytes) -> list[bytes]:
    """The frames of a body. Raises MessageError when a length does not fit or there are too many frames."""
    frames: list[bytes] = []
    offset = 0
    while offset < len(body):
        start = offset + LENGTH_BYTES
        end = start + int.from_bytes(body[offset:start], "big")
        if start > len(body) or end > len(body):
            raise MessageError(f"frame {len(frames) + 1} is cut off: the body ends at byte {len(body)}")
        if len(frames) == REQUEST_FRAMES_MAX:
            raise MessageError(f"a request holds at most {REQUEST_FRAMES_MAX} frames")
        frames.append(body[start:end])
        offset = end
    return frames
