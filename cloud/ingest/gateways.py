"""Which gateways there are, the site of each, and every public key each ever had. Only ever added to.

A small SQLite file of its own, so that the command line can add a gateway while the aggregator runs.
"""

import base64
import binascii
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from devices.errors import Permanent
from devices.frame import key_id

BUSY_TIMEOUT_S = 10.0  # another process writes for milliseconds
_KEY_BYTES = 32
_SCHEMA = """
CREATE TABLE IF NOT EXISTS gateway (id TEXT PRIMARY KEY, site TEXT NOT NULL, added_ms INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS gateway_key (
    gateway TEXT NOT NULL REFERENCES gateway, key_id TEXT NOT NULL, public_key BLOB NOT NULL,
    valid_from_ms INTEGER NOT NULL, PRIMARY KEY (gateway, key_id)) STRICT;
CREATE TABLE IF NOT EXISTS gateway_key_revocation (
    gateway TEXT NOT NULL, key_id TEXT NOT NULL, revoked_ms INTEGER NOT NULL,
    PRIMARY KEY (gateway, key_id)) STRICT;
"""


class GatewayError(Permanent):
    """A gateway or key that cannot be added."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key. Times are Unix ms UTC; a revoked key verifies only what was received before."""

    id: str
    public: Ed25519PublicKey
    valid_from_ms: int
    revoked_ms: int | None

    def is_valid(self, now_ms: int) -> bool:
        """Whether what arrives now may be signed with it."""
        return self.revoked_ms is None or now_ms < self.revoked_ms


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway. It belongs to one site."""

    id: str
    site: str
    keys: tuple[Key, ...]

    def key(self, wanted: str) -> Key | None:
        """The key of this id."""
        return next((key for key in self.keys if key.id == wanted), None)


class GatewayKeys(Protocol):
    """What ingest must know of gateways."""

    @property
    def generation(self) -> int:
        """Another number whenever something was added or revoked."""
        ...

    def get(self, gateway: str) -> Gateway | None:
        """The gateway of this id."""
        ...

    def all(self) -> Sequence[Gateway]:
        """Every gateway, by id."""
        ...


class GatewayRegister:
    """`GatewayKeys` in a file. Changes by other processes are seen at the next question."""

    def __init__(self, path: Path) -> None:
        """Open or create."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.executescript(_SCHEMA)
        self._gateways: dict[str, Gateway] = {}
        self._seen_version = -1
        self._generation = 0

    @property
    def generation(self) -> int:
        """See `GatewayKeys.generation`."""
        self._refresh()
        return self._generation

    def get(self, gateway: str) -> Gateway | None:
        """See `GatewayKeys.get`."""
        self._refresh()
        return self._gateways.get(gateway)

    def all(self) -> Sequence[Gateway]:
        """See `GatewayKeys.all`."""
        self._refresh()
        return tuple(self._gateways[name] for name in sorted(self._gateways))

    def add(self, gateway: str, site: str, public_key: Ed25519PublicKey, now_ms: int) -> None:
        """Add a gateway, or a further key of one. Adding the same again changes nothing.

        Raises GatewayError when the gateway belongs to another site.
        """
        with self._lock, self._transaction() as database:
            found = database.execute("SELECT site FROM gateway WHERE id = ?", (gateway,)).fetchone()
            if found and found[0] != site:
                raise GatewayError(f"gateway {gateway} belongs to site {found[0]}")
            database.execute("INSERT OR IGNORE INTO gateway VALUES (?, ?, ?)", (gateway, site, now_ms))
            database.execute(
                "INSERT OR IGNORE INTO gateway_key VALUES (?, ?, ?, ?)",
                (gateway, key_id(public_key), public_key.public_bytes_raw(), now_ms),
            )
        self._seen_version = -1

    def revoke(self, gateway: str, revoked_key: str, now_ms: int) -> None:
        """From `now_ms` on nothing signed with this key is taken. Raises GatewayError for an unknown key."""
        with self._lock, self._transaction() as database:
            known = database.execute(
                "SELECT 1 FROM gateway_key WHERE gateway = ? AND key_id = ?", (gateway, revoked_key)
            ).fetchone()
            if not known:
                raise GatewayError(f"gateway {gateway} has no key {revoked_key}")
            database.execute(
                "INSERT OR IGNORE INTO gateway_key_revocation VALUES (?, ?, ?)", (gateway, revoked_key, now_ms)
            )
        self._seen_version = -1

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._database)

    def _refresh(self) -> None:
        with self._lock:
            (version,) = self._database.execute("PRAGMA data_version").fetchone()
            if version == self._seen_version:
                return
            rows = self._database.execute(
                "SELECT g.id, g.site, k.key_id, k.public_key, k.valid_from_ms, r.revoked_ms FROM gateway g"
                " JOIN gateway_key k ON k.gateway = g.id"
                " LEFT JOIN gateway_key_revocation r ON r.gateway = k.gateway AND r.key_id = k.key_id"
                " ORDER BY g.id, k.valid_from_ms, k.key_id"
            ).fetchall()
            gateways: dict[str, Gateway] = {}
            for name, site, known_as, raw, valid_from_ms, revoked_ms in rows:
                key = Key(known_as, Ed25519PublicKey.from_public_bytes(raw), valid_from_ms, revoked_ms)
                earlier = gateways[name].keys if name in gateways else ()
                gateways[name] = Gateway(name, site, (*earlier, key))
            self._gateways, self._seen_version = gateways, version
            self._generation += 1


class _Transaction:
    """BEGIN IMMEDIATE to COMMIT: readers in other processes see all of it or nothing."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        self._database.execute("BEGIN IMMEDIATE")
        return self._database

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._database.execute("COMMIT" if error is None else "ROLLBACK")


def parse_public_key(text: str) -> Ed25519PublicKey:
    """A key as `gatehouse edge key` prints it: hex, base64 (also URL-safe) or PEM. Raises GatewayError."""
    text = text.strip()
    try:
        if text.startswith("-----"):
            key = load_pem_public_key(text.encode())
            if isinstance(key, Ed25519PublicKey):
                return key
        else:
            return Ed25519PublicKey.from_public_bytes(_raw_key(text))
    except (ValueError, UnsupportedAlgorithm):
        pass  # as said below
    raise GatewayError("not an Ed25519 public key: 64 hex digits, base64 of 32 bytes, or PEM is expected")


def _raw_key(text: str) -> bytes:
    if len(text) == 2 * _KEY_BYTES:
        return bytes.fromhex(text)
    standard = text.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
