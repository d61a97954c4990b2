"""What was found that an honest gateway with one set of files never does. Kept for ever, told to whoever listens.

A small SQLite file of its own, beside the register of gateways: it is neither computed from the log nor entered
by a person. Each finding is noted once, however often the frames that show it arrive.
"""

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import structlog

from devices.errors import StorageUnavailable

EVENTS_PER_DAY_MAX = 100  # of one gateway and kind: a gateway gone wild must not fill the disk or the pagers
BUSY_TIMEOUT_S = 5.0
_DAY_MS = 86_400_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS integrity_event (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, site TEXT NOT NULL, gateway TEXT NOT NULL,
    kind TEXT NOT NULL, lane TEXT NOT NULL, epoch BLOB NOT NULL, seq INTEGER NOT NULL, detail TEXT NOT NULL,
    UNIQUE (gateway, kind, lane, epoch, seq)) STRICT;
"""
_EVENTS = (
    "SELECT id, at_ms, site, gateway, kind, lane, epoch, seq, detail FROM integrity_event"
    " WHERE id > ? ORDER BY id LIMIT ?"
)
_TODAY = "SELECT count(*) FROM integrity_event WHERE gateway = ? AND kind = ? AND at_ms > ?"
_NOTE = (
    "INSERT INTO integrity_event (at_ms, site, gateway, kind, lane, epoch, seq, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING RETURNING id, at_ms, site, gateway, kind, lane, epoch, seq, detail"
)
_log = structlog.get_logger(__name__)


class IntegrityKind(StrEnum):
    """What was found."""

    FORK = "fork"  # a second, different frame under one identity: the first stored one counts
    TWO_SENDERS = "two-senders"  # trusted spans of two epochs overlap: the gateway's files were copied
    WRONG_SIGNATURE = "wrong-signature"  # refused and not stored: forged, or signed with a key that may not be used
    CHAIN_BROKEN = "chain-broken"  # an events frame does not name the hash of the stored frame before it
    CLOCK_FIX = "clock-fix"  # a clock run is said to have been at another time than before: the first fix counts


@dataclass(frozen=True, slots=True)
class IntegrityEvent:
    """One finding. `at_ms` is the cloud's time, Unix ms UTC; `epoch` and `seq` name the frame that showed it."""

    id: int
    at_ms: int
    site: str
    gateway: str
    kind: IntegrityKind
    lane: str
    epoch: bytes
    seq: int
    detail: str  # English, for logs and evidence


@dataclass(frozen=True, slots=True)
class Finding:
    """What `note` takes: an event that has no number yet."""

    site: str
    gateway: str
    kind: IntegrityKind
    lane: str
    epoch: bytes
    seq: int
    detail: str


Listener = Callable[[IntegrityEvent], None]


class IntegrityRecord:
    """The findings of one data directory. `events` and `note` may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Open or create."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.executescript(_SCHEMA)
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call `listener` with each new event, after it is durable, in the thread that noted it."""
        self._listeners.append(listener)

    def events(self, after_id: int = 0, limit: int = 1_000) -> list[IntegrityEvent]:
        """At most `limit` events behind an id, oldest first; ids grow with time and are never used again."""
        with self._lock:
            rows = self._database.execute(_EVENTS, (after_id, limit)).fetchall()
        return [_event(row) for row in rows]

    def note(self, finding: Finding, at_ms: int) -> IntegrityEvent | None:
        """Keep a finding durably and tell the listeners.

        None when it is known already or its gateway has had its share of today. Raises StorageUnavailable.
        """
        try:
            with self._lock:
                row = self._insert(finding, at_ms)
        except sqlite3.OperationalError as error:
            raise StorageUnavailable(f"the record of integrity events cannot be written: {error}") from error
        if row is None:
            return None
        event = _event(row)
        _log.error("integrity", kind=str(event.kind), gateway=event.gateway, lane=event.lane, seq=event.seq,
                   epoch=event.epoch.hex(), detail=event.detail)  # fmt: skip
        for listener in self._listeners:
            listener(event)
        return event

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _insert(self, finding: Finding, at_ms: int) -> tuple[object, ...] | None:
        since = (finding.gateway, str(finding.kind), at_ms - _DAY_MS)
        (today,) = self._database.execute(_TODAY, since).fetchone()
        if today >= EVENTS_PER_DAY_MAX:
            return None
        values = (
            at_ms, finding.site, finding.gateway, str(finding.kind), finding.lane, finding.epoch, finding.seq,
            finding.detail,
        )  # fmt: skip
        row: tuple[object, ...] | None = self._database.execute(_NOTE, values).fetchone()
        return row


def _event(row: tuple[object, ...]) -> IntegrityEvent:
    number, at_ms, site, gateway, kind, lane, epoch, seq, detail = row
    return IntegrityEvent(
        int(str(number)), int(str(at_ms)), str(site), str(gateway), IntegrityKind(str(kind)), str(lane),
        epoch if isinstance(epoch, bytes) else b"", int(str(seq)), str(detail),
    )  # fmt: skip
