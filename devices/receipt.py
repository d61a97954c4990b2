"""The Receipt: the one answer that counts as "stored". Sent by the cloud, JSON, after its fsync."""

from enum import StrEnum

import msgspec

from devices.reading import Lane


class Status(StrEnum):
    """What became of one frame."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # the same bytes were stored before
    FORK = "fork"  # other bytes were stored under this identity; quarantined, counts as received
    RETRY = "retry"  # damaged on the way: check the own copy, send again
    REFUSED = "refused"  # wrong signature or unknown gateway: keep it, raise an alarm

    @property
    def is_final(self) -> bool:
        """Whether the gateway need not send the frame again."""
        return self in {Status.STORED, Status.DUPLICATE, Status.FORK}


class FrameResult(msgspec.Struct, frozen=True):
    """What became of one frame. `epoch` and `hash` are hex; empty where the bytes did not tell."""

    lane: str
    epoch: str
    seq: int
    hash: str
    status: Status
    reason: str = ""


class LaneState(msgspec.Struct, frozen=True):
    """What the cloud holds of one epoch: everything up to `contiguous_seq`, and the gaps above it.

    Gaps are inclusive `[first, last]` pairs, the first 100 of them.
    """

    lane: Lane
    epoch: str
    contiguous_seq: int
    highest_seq: int
    gaps: tuple[tuple[int, int], ...] = ()


class Receipt(msgspec.Struct, frozen=True):
    """`server_time` is RFC 3339 UTC when the answer was made; `log_id` changes when the log is another one."""

    server_time: str
    log_id: str
    results: tuple[FrameResult, ...] = ()
    lanes: tuple[LaneState, ...] = ()
    config_revision: str = ""


def encode_receipt(receipt: Receipt) -> bytes:
    """JSON bytes."""
    return msgspec.json.encode(receipt)


def decode_receipt(data: bytes) -> Receipt:
    """Raises `msgspec.DecodeError` or `msgspec.ValidationError` when the bytes are no Receipt."""
    return msgspec.json.decode(data, type=Receipt)
