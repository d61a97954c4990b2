"""Which frames the log holds: tells a duplicate from a fork and makes the Receipt's lanes.

Eight bytes of each frame's hash are kept in memory, in pages, and rebuilt from the log at start.
"""

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Self

from cloud.ingest.log import FIRST_POSITION, FrameLog, LogEntry
from cloud.ingest.trails import PREFIX_BYTES, Suspicion, Trails, fork_of
from devices.errors import FrameError, UnknownVersion
from devices.frame import Header, Identity, open_frame
from devices.reading import Lane
from devices.receipt import LaneState
from devices.sequences import SeqRanges

GAPS_LISTED_MAX = 100  # of one epoch in a Receipt
# Of each hash PREFIX_BYTES are kept: two different frames of one identity share 8 bytes of a SHA-256 once in 2**64.
SCAN_FRAMES = 1_000  # read at once while rebuilding
_PAGE = 1024  # sequence numbers in a page: 8 KiB


class Known(Enum):
    """How a frame stands to the log."""

    NEW = auto()
    DUPLICATE = auto()
    FORK = auto()


@dataclass(slots=True)
class _Epoch:
    seqs: SeqRanges = field(default_factory=SeqRanges)
    closed: SeqRanges = field(default_factory=SeqRanges)  # stored, or accounted for by a loss record
    pages: "dict[int, array[int]]" = field(default_factory=dict)

    def prefix(self, seq: int) -> int:
        page = self.pages.get(seq // _PAGE)
        return page[seq % _PAGE] if page else 0

    def stored_prefix(self, seq: int) -> int | None:
        return self.prefix(seq) if seq in self.seqs else None

    def add(self, seq: int, prefix: int) -> None:
        page = self.pages.get(seq // _PAGE)
        if page is None:
            page = self.pages[seq // _PAGE] = array("Q", bytes(8 * _PAGE))
        page[seq % _PAGE] = prefix
        self.seqs.add(seq, seq)
        self.closed.add(seq, seq)


class Identities:
    """Known frames by gateway, lane, epoch and sequence. Used from one thread."""

    def __init__(self) -> None:
        self._gateways: dict[str, dict[tuple[Lane, bytes], _Epoch]] = {}
        self._forks: set[tuple[Identity, int]] = set()
        self._strangers: set[int] = set()  # frames of newer formats: their identity cannot be read
        self._trails = Trails()
        self.suspicions: list[Suspicion] = []  # what the log itself shows, for whoever opened it

    @classmethod
    def of_log(cls, log: FrameLog) -> Self:
        """What a log holds. Reads headers only. Raises StorageUnavailable."""
        self = cls()
        for lane in Lane:
            for entry in _entries(log, lane):
                self._add_bytes(entry.data)
        after = FIRST_POSITION
        while entries := log.read_quarantine(after, SCAN_FRAMES):
            for entry in entries:
                sealed = open_frame(entry.data)
                self.add_fork(identity_of(sealed.header), sealed.hash)
                self.suspicions.append(fork_of(sealed.header, sealed.hash))
            after = entries[-1].position
        return self

    def look_up(self, identity: Identity, digest: bytes) -> Known:
        """Whether a frame with this SHA-256 is new."""
        epoch = self._gateways.get(identity.gateway, {}).get((identity.lane, identity.epoch))
        if epoch is None or identity.seq not in epoch.seqs:
            return Known.NEW
        return Known.DUPLICATE if epoch.prefix(identity.seq) == _prefix(digest) else Known.FORK

    def add(self, header: Header, digest: bytes) -> list[Suspicion]:
        """Take note of a stored frame; what it contradicts. The first one under an identity counts."""
        lanes = self._gateways.setdefault(header.gateway, {})
        epoch = lanes.setdefault((header.lane, header.epoch), _Epoch())
        if header.seq in epoch.seqs:
            return []
        prefix = _prefix(digest)
        found = self._trails.follow(header, prefix, epoch.stored_prefix)
        epoch.add(header.seq, prefix)
        return found

    def account_for(self, gateway: str, lane: Lane, epoch: bytes, first_seq: int, last_seq: int) -> None:
        """Take note of a loss record: these frames will never come, so no Receipt asks for them any more."""
        lanes = self._gateways.setdefault(gateway, {})
        lanes.setdefault((lane, epoch), _Epoch()).closed.add(max(first_seq, 1), last_seq)

    def knows_fork(self, identity: Identity, digest: bytes) -> bool:
        """Whether this very fork is quarantined already."""
        return (identity, _prefix(digest)) in self._forks

    def add_fork(self, identity: Identity, digest: bytes) -> None:
        """Take note of a quarantined frame."""
        self._forks.add((identity, _prefix(digest)))

    def knows_stranger(self, digest: bytes) -> bool:
        """Whether a frame of a newer format with this SHA-256 is in the log."""
        return _prefix(digest) in self._strangers

    def add_stranger(self, digest: bytes) -> None:
        """Take note of a stored frame of a newer format."""
        self._strangers.add(_prefix(digest))

    def states(self, gateway: str, only: set[tuple[Lane, bytes]] | None = None) -> tuple[LaneState, ...]:
        """What is held of a gateway's epochs, of all or of some; epochs nothing is held of say so."""
        epochs = self._gateways.get(gateway, {})
        wanted = epochs.keys() if only is None else only
        return tuple(_state(lane, name, epochs.get((lane, name))) for lane, name in sorted(wanted))

    def _add_bytes(self, data: bytes) -> None:
        try:
            sealed = open_frame(data)
        except UnknownVersion:
            self.add_stranger(stranger_hash(data))
        except FrameError:
            return  # the segment's checksum held, so it was stored like this; the processor sets it aside
        else:
            self.suspicions += self.add(sealed.header, sealed.hash)


def identity_of(header: Header) -> Identity:
    """What a frame with this header is called."""
    return Identity(header.gateway, header.lane, header.epoch, header.seq)


def stranger_hash(data: bytes) -> bytes:
    """SHA-256 of a whole frame whose format is not known."""
    return hashlib.sha256(data).digest()


def _prefix(digest: bytes) -> int:
    return int.from_bytes(digest[:PREFIX_BYTES], "big")


def _state(lane: Lane, name: bytes, epoch: _Epoch | None) -> LaneState:
    if epoch is None:
        return LaneState(lane, name.hex(), 0, 0)
    closed = epoch.closed
    return LaneState(lane, name.hex(), closed.contiguous, closed.highest, closed.gaps(GAPS_LISTED_MAX))


def _entries(log: FrameLog, lane: Lane) -> Iterator[LogEntry]:
    after = FIRST_POSITION
    while entries := log.read(lane, after, SCAN_FRAMES):
        yield from entries
        after = entries[-1].position
