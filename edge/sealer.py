"""Content becomes a frame: who seals it, which identity is next, which span it covers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.frame import Content, Header, Origin, PreviousEpoch, SealedFrame, encode_body, key_id, seal_frame
from devices.reading import Lane, Series
from edge.clock import Moment


class Seat(Protocol):
    """Where the next frame of a lane gets its identity: the lane on disk, or its buffer in memory."""

    @property
    def lane(self) -> Lane:
        """Which lane it is."""
        ...

    @property
    def epoch(self) -> bytes:
        """Of the next frame."""
        ...

    @property
    def next_seq(self) -> int:
        """Of the next frame."""
        ...

    @property
    def last_hash(self) -> bytes:
        """Of the frame before the next one."""
        ...

    @property
    def previous_epoch(self) -> PreviousEpoch | None:
        """What the next frame has to name."""
        ...

    def prepare(self) -> None:
        """Begin an epoch that is wanted. Raises StorageUnavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Sealer:
    """Whose frames these are."""

    gateway: str
    key: Ed25519PrivateKey
    key_id: str
    origin: Origin
    series_of: Callable[[int], Series]

    @classmethod
    def of(cls, gateway: str, key: Ed25519PrivateKey, origin: Origin, series_of: Callable[[int], Series]) -> Self:
        """With the short name of the key."""
        return cls(gateway, key, key_id(key.public_key()), origin, series_of)


@dataclass(frozen=True, slots=True)
class Span:
    """Everything handled in [from_ms, to_ms) is in the frame, which was cut at a moment of one clock run."""

    from_ms: int
    to_ms: int
    cut: Moment
    keyframe: bool


def seal_next(journal: Seat, sealer: Sealer, content: Content, span: Span) -> SealedFrame:
    """The lane's next frame, not yet written. Raises StorageUnavailable when a new epoch cannot begin.

    Raises ValueError when the content is too large for a frame.
    """
    journal.prepare()
    body = encode_body(content)
    header = Header(
        gateway=sealer.gateway,
        lane=journal.lane,
        epoch=journal.epoch,
        seq=journal.next_seq,
        key_id=sealer.key_id,
        clock_run=span.cut.run,
        monotonic_ms=span.cut.monotonic_ms,
        from_ms=span.from_ms,
        to_ms=span.to_ms,
        trusted=span.cut.trusted,
        uncertainty_ms=span.cut.uncertainty_ms,
        keyframe=span.keyframe,
        origin=sealer.origin,
        previous_hash=journal.last_hash,
        previous_epoch=journal.previous_epoch,
        readings=content.readings,
        body_bytes=len(body),
    )
    return seal_frame(header, body, sealer.key)
