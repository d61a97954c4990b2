"""A gateway for tests: seals real frames and signs real tokens."""

import time
from collections.abc import Sequence

import jwt
import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.columns import Numbers
from devices.frame import FORMAT, NO_HASH, Content, Header, Origin, SealedFrame, encode_body, key_id, seal_frame
from devices.reading import Lane, Series
from devices.records import Record

START_MS = 1_780_000_000_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class SealingGateway:
    """Seals frames one after the other, each lane with its own sequence and a span of one second."""

    def __init__(self, name: str = "gw-1", *, start_ms: int = START_MS, epoch: bytes = b"epoch--1") -> None:
        self.name = name
        self.key = Ed25519PrivateKey.generate()
        self.epoch = epoch
        self._start_ms = start_ms
        self._seqs = dict.fromkeys(Lane, 0)
        self._hashes = dict.fromkeys(Lane, NO_HASH)

    def token(self, *, expires_in_s: float = 300, audience: str = "gatehouse-cloud", subject: str = "") -> str:
        claims = {"sub": subject or self.name, "aud": audience, "exp": int(now_ms() / 1000 + expires_in_s)}
        return jwt.encode(claims, self.key, algorithm="EdDSA")

    def epoch_of(self, lane: Lane) -> bytes:
        """No two lanes share an epoch."""
        return self.epoch if lane is Lane.TELEMETRY else self.epoch[::-1]

    def seal(
        self,
        content: Content,
        lane: Lane = Lane.EVENTS,
        *,
        seq: int | None = None,
        key: Ed25519PrivateKey | None = None,
        span_end_ms: int | None = None,
        origin: Origin = Origin.LIVE,
        trusted: bool = True,
    ) -> SealedFrame:
        signing = key or self.key
        if seq is None:
            seq = self._seqs[lane] = self._seqs[lane] + 1
        body = encode_body(content)
        from_ms = self._start_ms + 1000 * (seq - 1)
        header = Header(
            gateway=self.name,
            lane=lane,
            epoch=self.epoch_of(lane),
            seq=seq,
            key_id=key_id(signing.public_key()),
            clock_run=b"clockrun",
            monotonic_ms=1000 * seq,
            from_ms=from_ms,
            to_ms=span_end_ms or from_ms + 1000,
            trusted=trusted,
            uncertainty_ms=0,
            keyframe=seq == 1,
            origin=origin,
            previous_hash=self._hashes[lane],
            previous_epoch=None,
            readings=content.readings,
            body_bytes=len(body),
        )
        sealed = seal_frame(header, body, signing)
        self._hashes[lane] = sealed.hash
        return sealed

    def values(
        self, values: Sequence[float], lane: Lane = Lane.TELEMETRY, *, device: str = "ahu-1", point: str = "speed"
    ) -> SealedFrame:
        """One series, 10 ms apart."""
        start_ms = self._start_ms + 1000 * self._seqs[lane]
        count = len(values)
        times = [start_ms + 10 * index for index in range(count)]
        numbers = Numbers.of([0] * count, times, values, [0] * count)
        return self.seal(Content(series=(Series(device, point, "percent"),), numbers=numbers), lane)

    def wide(self, series: int, rows: int, lane: Lane = Lane.TELEMETRY, *, seed: int = 1) -> SealedFrame:
        """`rows` readings of `series` series."""
        rng = np.random.default_rng(seed)
        start_ms = self._start_ms + 1000 * self._seqs[lane]
        numbers = Numbers(
            (np.arange(rows) % series).astype(np.int32),
            start_ms + np.arange(rows, dtype=np.int64) // max(series, 1),
            np.round(rng.normal(20, 5, rows), 2),
            np.zeros(rows, np.uint8),
        )
        names = tuple(Series(f"d-{index // 20}", f"p-{index % 20}", "percent") for index in range(series))
        return self.seal(Content(series=names, numbers=numbers), lane)

    def seal_ahead(self, until_ms: int) -> SealedFrame:
        """A frame that claims to know the future."""
        return self.seal(Content(), span_end_ms=until_ms)

    def undecodable(self) -> bytes:
        """A genuine frame of a format that does not exist yet."""
        return msgspec.msgpack.encode((FORMAT, 99, {"what": "ever"}))

    def records(self, *records: Record, lane: Lane = Lane.EVENTS) -> SealedFrame:
        return self.seal(Content(records=records), lane)
