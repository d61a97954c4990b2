"""A journal that was filled while nobody listened: real frames, written as fast as the disk takes them."""

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.columns import Numbers
from devices.frame import Content, Header, Origin, encode_body, key_id, seal_frame
from devices.reading import Lane, Series
from edge.lane_journal import LaneJournal


def fill(lane: LaneJournal, frames: int, key: Ed25519PrivateKey, *, start_ms: int, rows: int = 1) -> None:
    """Append frames of one second each, with `rows` readings that no compression makes small."""
    rng = np.random.default_rng(1)
    series = tuple(Series(f"d-{number // 20}", f"p-{number % 20}", "percent", 60) for number in range(rows))
    for number in range(frames):
        from_ms = start_ms + 1000 * number
        times = np.full(rows, from_ms + 500, np.int64)
        numbers = Numbers(np.arange(rows, dtype=np.int32), times, rng.normal(20, 5, rows), np.zeros(rows, np.uint8))
        body = encode_body(Content(series=series, numbers=numbers))
        header = Header(
            "gw-1", lane.lane, lane.epoch, lane.next_seq, key_id(key.public_key()), b"run-1---", 1000 * number,
            from_ms, from_ms + 1000, trusted=True, uncertainty_ms=0, keyframe=False, origin=Origin.LIVE,
            previous_hash=lane.last_hash, previous_epoch=lane.previous_epoch, readings=rows, body_bytes=len(body),
        )  # fmt: skip
        lane.append(seal_frame(header, body, key))


def seqs(stored: dict[tuple[Lane, str, int], bytes], lane: Lane = Lane.EVENTS) -> list[int]:
    """What a small cloud holds of a lane."""
    return sorted(seq for one, _, seq in stored if one is lane)
