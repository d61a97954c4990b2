"""Size and cost of a frame."""

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.figures import Figure, cpu_seconds
from devices.columns import Numbers
from devices.frame import (
    Content,
    Header,
    Origin,
    SealedFrame,
    decode_frame,
    encode_body,
    key_id,
    seal_frame,
    verify_frame,
)
from devices.reading import Lane, Series

KEY = Ed25519PrivateKey.generate()
KEY_ID = key_id(KEY.public_key())
START_MS = 1_780_000_000_000
REPEATS = 40
SIZES = ((30, 30, "<= 700 B whole"), (1_000, 1_000, "<= 6.5 B"), (10_000, 1_000, "<= 4 B"))


def content(readings: int, series_count: int, seed: int = 7) -> Content:
    """Like `measurements`: walks of two decimals, counters and switches; every value changes every scan."""
    rng = np.random.default_rng(seed)
    values = np.round(200 + np.cumsum(rng.normal(0, 1, readings)), 2)
    values[::5] = rng.integers(0, 2, len(values[::5]))
    values[1::5] = np.rint(values[1::5] * 100)
    series = tuple(Series(f"device-{n // 20}", f"point-{n % 20}", "V") for n in range(series_count))
    times = START_MS + np.repeat(np.arange(readings // 20 + 1, dtype=np.int64), 20)[:readings] * 7
    index = np.arange(readings, dtype=np.int32) % series_count
    return Content(series=series, numbers=Numbers(index, times, values, np.zeros(readings, np.uint8)))


def sealed(
    what: Content, lane: Lane = Lane.EVENTS, seq: int = 1, gateway: str = "gw-1", key: Ed25519PrivateKey = KEY
) -> SealedFrame:
    """A frame of it."""
    body = encode_body(what)
    header = Header(
        gateway=gateway,
        lane=lane,
        epoch=b"epoch--1",
        seq=seq,
        key_id=KEY_ID if key is KEY else key_id(key.public_key()),
        clock_run=b"run----1",
        monotonic_ms=seq * 1000,
        from_ms=START_MS + seq * 1000,
        to_ms=START_MS + seq * 1000 + 1000,
        trusted=True,
        uncertainty_ms=5,
        keyframe=False,
        origin=Origin.LIVE,
        previous_hash=b"h" * 32,
        previous_epoch=None,
        readings=what.readings,
        body_bytes=len(body),
    )
    return seal_frame(header, body, key)


def measure() -> list[Figure]:
    """Bytes per reading; microseconds of CPU per reading to encode with signature, decode, verify."""
    figures = []
    for readings, series_count, goal in SIZES:
        what = content(readings, series_count)
        frame = sealed(what)
        name = f"{readings} readings of {series_count} series"
        per_reading = 1e6 / REPEATS / readings
        large = readings >= 1_000  # a small frame is dominated by its signature

        def encode(what: Content = what) -> None:
            for _ in range(REPEATS):
                sealed(what)

        def decode(data: bytes = frame.data) -> None:
            for _ in range(REPEATS):
                decode_frame(data)

        def verify(data: bytes = frame.data) -> None:
            for _ in range(REPEATS):
                verify_frame(data, KEY.public_key())

        figures += [
            Figure(f"{name}: size", [len(frame.data) / readings], "B/reading", goal),
            Figure(
                f"{name}: encode and sign",
                [s * per_reading for s in cpu_seconds(encode)],
                "us/reading",
                "<= 0.4" * large,
            ),
            Figure(f"{name}: decode", [s * per_reading for s in cpu_seconds(decode)], "us/reading", "<= 0.08" * large),
            Figure(f"{name}: verify", [s * per_reading for s in cpu_seconds(verify)], "us/reading"),
        ]
    return figures
