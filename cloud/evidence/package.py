"""An audit package: one file that can be checked without us, without a network and without our database.

A zip of: `manifest.json` (what it is about, and the SHA-256 of every other file), `manifest.sig` (Ed25519 by the
deployment's own key), `keys.json` (every key a gateway of the site ever had), `frames.bin` (the evidence lane in log
order: 8 bytes received_ms, 4 bytes length, frame), `inputs.json` (what people entered), `records.json` (issued results
with their revisions, daily roots).
"""

import hashlib
import os
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.evidence.root_record import RootRecord
from cloud.evidence.roots import DAY_MS, entries_from, site_of_frame
from cloud.facts.database import ledgers, reading
from cloud.facts.inputs import EVERY_SITE
from cloud.facts.tables_inputs import inputs
from cloud.facts.tables_results import results
from cloud.ingest.gateways import GatewayKeys
from cloud.ingest.log import FrameLog
from devices.errors import Permanent
from devices.instants import format_instant

FORMAT = 1
HEAD = struct.Struct(">QI")  # received_ms, bytes of the frame
MEMBERS = ("manifest.json", "manifest.sig", "keys.json", "frames.bin", "inputs.json", "records.json")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a package is about. Times are Unix ms UTC.

    `lookback_days` None: every frame since the first, so that every chain is seen from its beginning and every number
    can be computed again. Else an excerpt: what was received since so many days before the window.
    """

    site: str
    from_ms: int
    to_ms: int
    lookback_days: int | None = None

    @property
    def first_ms(self) -> int:
        """From when on received frames are in it."""
        if self.lookback_days is None:
            return 0
        return max(self.from_ms // DAY_MS - self.lookback_days, 0) * DAY_MS


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a package is taken from."""

    engine: sa.Engine
    log: FrameLog
    keys: GatewayKeys
    key: Ed25519PrivateKey
    version: str
    now: Callable[[], int]


def deployment_key(path: Path) -> Ed25519PrivateKey:
    """The key that signs packages; made when there is none, readable by nobody else."""
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(Ed25519PrivateKey.generate().private_bytes_raw())
            file.flush()
            os.fsync(file.fileno())
    raw = path.read_bytes()
    if len(raw) != 32:
        raise Permanent(f"{path} is no key: remove it, and packages will be signed with a new one")
    return Ed25519PrivateKey.from_private_bytes(raw)


def export(sources: Sources, scope: Scope, target: Path) -> int:
    """Write a package; how many frames are in it. Raises Permanent for a site that nobody entered. Blocks."""
    record = RootRecord(sources.engine, sources.log, sources.keys, sources.now)
    record.record()
    part = target.with_suffix(target.suffix + ".part")
    files: dict[str, bytes] = {
        "keys.json": _json(_keys(sources.keys, scope.site)),
        "inputs.json": _json(_inputs(sources.engine, scope.site)),
        "records.json": _json(_records(sources.engine, scope, record, sources.now() // DAY_MS)),
    }
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        digest, count = hashlib.sha256(), 0
        with archive.open("frames.bin", "w", force_zip64=True) as frames:
            for piece in _frames(sources, scope):
                digest.update(piece)
                frames.write(piece)
                count += 1
        for name, body in files.items():
            archive.writestr(name, body)
        hashes = {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}
        manifest = _json(_manifest(sources, scope, count, hashes | {"frames.bin": digest.hexdigest()}))
        archive.writestr("manifest.json", manifest)
        archive.writestr("manifest.sig", sources.key.sign(manifest))
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(target)
    return count


def _manifest(sources: Sources, scope: Scope, frames: int, hashes: dict[str, str]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "site": scope.site,
        "from": format_instant(scope.from_ms),
        "to": format_instant(scope.to_ms),
        "from_ms": scope.from_ms,
        "to_ms": scope.to_ms,
        "received_since_ms": scope.first_ms,
        "frames": frames,
        "created_ms": sources.now(),
        "software": sources.version,
        "log": sources.log.log_id,
        "key": sources.key.public_key().public_bytes_raw().hex(),
        "sha256": hashes,
    }


def _frames(sources: Sources, scope: Scope) -> Iterator[bytes]:
    for entry in entries_from(sources.log, scope.first_ms):
        if site_of_frame(sources.keys, entry.data) == scope.site:
            yield HEAD.pack(entry.received_ms, len(entry.data)) + entry.data


def _keys(keys: GatewayKeys, site: str) -> list[dict[str, Any]]:
    return [
        {
            "gateway": gateway.id,
            "keys": [
                {
                    "id": key.id,
                    "public": key.public.public_bytes_raw().hex(),
                    "valid_from_ms": key.valid_from_ms,
                    "revoked_ms": key.revoked_ms,
                }
                for key in gateway.keys
            ],
        }
        for gateway in keys.all()
        if gateway.site == site
    ]


def _inputs(engine: sa.Engine, site: str) -> dict[str, list[dict[str, Any]]]:
    with reading(engine) as connection:
        entered = sa.select(ledgers).where(ledgers.c.site == site).order_by(ledgers.c.version)
        versions = [dict(row) for row in connection.execute(entered).mappings()]
        order = (inputs.c.site, inputs.c.entry)
        said = sa.select(inputs).where(inputs.c.site.in_([site, EVERY_SITE])).order_by(*order)
        others = [dict(row) for row in connection.execute(said).mappings()]
    if not versions:
        raise Permanent(f"there is no site {site!r}")
    return {"ledgers": versions, "inputs": others}


def _records(engine: sa.Engine, scope: Scope, record: RootRecord, today: int) -> dict[str, Any]:
    mine = results.c.site == scope.site  # all of them: their chain must be whole
    with reading(engine) as connection:
        rows = connection.execute(sa.select(results).where(mine).order_by(results.c.entry)).mappings().all()
    roots = record.between(scope.first_ms // DAY_MS, today - 1)
    return {
        "results": [_hexed(dict(row)) for row in rows],
        "days": [
            {
                "day": one.day,
                "root": one.root.hex(),
                "sites": {site: [part.root.hex(), part.frames] for site, part in sorted(one.sites.items())},
            }
            for one in roots
        ],
    }


def _hexed(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()}


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1)


def read_frames(data: bytes) -> Iterable[tuple[int, bytes]]:
    """received_ms and bytes of each frame of `frames.bin`. Raises Permanent where it is cut."""
    at = 0
    while at < len(data):
        if at + HEAD.size > len(data):
            raise Permanent("frames.bin ends within a frame")
        received_ms, length = HEAD.unpack_from(data, at)
        at += HEAD.size
        if at + length > len(data):
            raise Permanent("frames.bin ends within a frame")
        yield received_ms, data[at : at + length]
        at += length
