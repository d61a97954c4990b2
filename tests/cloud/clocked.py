"""Frames of a gateway whose clock was wrong at first, and a cloud that takes them in: real log, processor, feed."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.facts.database import open_database, reading
from cloud.facts.parked import Releases, parked_frames
from cloud.history.embedded import EmbeddedHistory
from cloud.history.feed import HistoryFeed
from cloud.ingest.gateways import GatewayRegister
from cloud.ingest.integrity import Finding
from cloud.ingest.log import Received
from cloud.ingest.log_segments import SegmentLog
from cloud.processor import Processor
from devices.columns import Numbers
from devices.frame import Content, Frame, SealedFrame, encode_body, key_id, seal_frame
from devices.reading import Lane, Series
from devices.records import ClockFix
from tests.cloud.told import GATEWAY, SITE, Told

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
TABLES = ("claims", "reaches", "runs", "stops", "poses", "profiles", "device_infos", "inventories", "losses")


def sealed(frame: Frame) -> SealedFrame:
    """A decoded frame as a gateway would seal it."""
    body = encode_body(frame.content)
    header = msgspec.structs.replace(frame.header, key_id=key_id(KEY.public_key()), body_bytes=len(body))
    return seal_frame(header, body, KEY)


def chart_frame(seq: int, from_ms: int, values: Sequence[float], *, like: Told) -> Frame:
    """A telemetry frame of the same clock run as `like`: values a second apart."""
    header = msgspec.structs.replace(
        like.frame().header, lane=Lane.TELEMETRY, seq=seq, from_ms=from_ms, to_ms=from_ms + 1000 * len(values)
    )
    times = [from_ms + 1000 * index for index in range(len(values))]
    numbers = Numbers.of([0] * len(values), times, values, [0] * len(values))
    return Frame(header, Content(series=(Series("pump", "speed", "percent"),), numbers=numbers), b"")


def fix_of(run: bytes, shown_ms: int, utc_ms: int) -> ClockFix:
    """The run's clock showed one time when it was another."""
    return ClockFix(run, 7_000, utc_ms, 20, "cloud", shown_ms)


@dataclass
class Taking:
    """A log and what reads it, in a folder of its own. `close` it."""

    folder: Path
    findings: list[Finding] = field(default_factory=list)
    heard: list[Frame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log = SegmentLog(self.folder / "log")
        self.keys = GatewayRegister(self.folder / "gateways.sqlite")
        self.keys.add(GATEWAY, SITE, KEY.public_key(), 0)
        self.engine = open_database(self.folder / "facts.sqlite")
        self.history = EmbeddedHistory(self.folder / "history", self.log.log_id)
        self.start()

    def start(self) -> None:
        """Read on as a process that has just started."""
        self.processor = Processor(self.log, self.keys, self.engine, self.findings.append)
        self.processor.listen(lambda _, frames, __: self.heard.extend(frames))
        self.feed = HistoryFeed(self.log, self.keys, self.history, lambda: 0, Releases(self.engine))

    async def take(self, frames: Iterable[Frame], received_ms: int) -> None:
        """These frames arrive, in this order, at one moment; everything is processed."""
        await self.log.append([Received(received_ms, GATEWAY, one.header.lane, sealed(one).data) for one in frames])
        while await self.processor.step():
            pass
        while await asyncio.to_thread(self.feed.step):
            pass

    def facts(self) -> Mapping[str, object]:
        """Everything that frames prove, without the order in which it was found."""
        with reading(self.engine) as connection:
            found = {name: sorted(map(repr, connection.execute(sa.text(f"SELECT * FROM {name}")))) for name in TABLES}  # noqa: S608
        rows = self.history.rows(SITE, "pump", "speed", -(2**60), 2**60)
        return {**found, "history": [replace(row) for row in rows]}

    def waiting(self) -> list[tuple[str, int]]:
        """Lane and seq of the frames that are parked."""
        return sorted((str(one.identity.lane), one.identity.seq) for one in parked_frames(self.engine))

    def close(self) -> None:
        self.history.close()
        self.engine.dispose()
        self.keys.close()
        self.log.close()
