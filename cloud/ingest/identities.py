"""Which frames the log holds: tells a duplicate from a fork and makes the Receipt's lanes.

Eight bytes of each frame's hash are kept in memory, in pages, and rebuilt at start from a checkpoint and the log.
"""

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Self

from cloud.ingest.log import FIRST_POSITION, FrameLog, LogEntry
from cloud.ingest.trails import PREFIX_BYTES, Past, Suspicion, Trails, fork_of
from devices.errors import FrameError, UnknownVersion
from devices.frame import Frame, Header, Identity, Origin, open_frame
from devices.reading import Lane
from devices.receipt import LaneState
from devices.records import Loss
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

    def add_run(self, first_seq: int, prefixes: "array[int]") -> None:
        """Frames that follow each other; those that are known stay as they are."""
        last_seq = first_seq + len(prefixes) - 1
        for low, high in list(self.seqs.missing(first_seq, last_seq)):
            at = low
            while at <= high:
                number, offset = divmod(at, _PAGE)
                count = min(_PAGE - offset, high - at + 1)
                page = self.pages.setdefault(number, array("Q", bytes(8 * _PAGE)))
                page[offset : offset + count] = prefixes[at - first_seq : at - first_seq + count]
                at += count
        self.seqs.add(first_seq, last_seq)
        self.closed.add(first_seq, last_seq)


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
        self.read_on(log, dict.fromkeys(Lane, FIRST_POSITION))
        return self

    def read_on(self, log: FrameLog, positions: dict[Lane, int]) -> int:
        """Take what a log holds behind these positions, and its quarantine; how many frames were read."""
        count = 0
        for lane, position in positions.items():
            for entry in _entries(log, lane, position):
                self._add_bytes(entry.data)
                count += 1
        after = FIRST_POSITION
        while entries := log.read_quarantine(after, SCAN_FRAMES):
            for entry in entries:
                sealed = open_frame(entry.data)
                self.add_fork(identity_of(sealed.header), sealed.hash)
                self.suspicions.append(fork_of(sealed.header, sealed.hash))
            after = entries[-1].position
        return count

    def restore(self, past: Past, prefixes: "array[int]", origin: Origin, spans: Iterable[tuple[int, int]]) -> None:
        """Take frames that follow each other from a checkpoint; what they contradict was told before."""
        lanes = self._gateways.setdefault(past.gateway, {})
        epoch = lanes.setdefault((past.lane, past.epoch), _Epoch())
        epoch.add_run(past.first_seq, prefixes)
        self._trails.restore(past, origin, spans, knows_before=past.first_seq - 1 in epoch.seqs)

    def restored(self) -> None:
        """A checkpoint was read to its end."""
        self._trails.restored()

    def look_up(self, identity: Identity, digest: bytes) -> Known:
        """Whether a frame with this SHA-256 is new."""
        epoch = self._gateways.get(identity.gateway, {}).get((identity.lane, identity.epoch))
        if epoch is None or identity.seq not in epoch.seqs:
            return Known.NEW
        return Known.DUPLICATE if epoch.prefix(identity.seq) == prefix_of(digest) else Known.FORK

    def add(self, header: Header, digest: bytes) -> list[Suspicion]:
        """Take note of a stored frame; what it contradicts. The first one under an identity counts."""
        lanes = self._gateways.setdefault(header.gateway, {})
        epoch = lanes.setdefault((header.lane, header.epoch), _Epoch())
        if header.seq in epoch.seqs:
            return []
        prefix = prefix_of(digest)
        found = self._trails.follow(header, prefix, epoch.stored_prefix)
        epoch.add(header.seq, prefix)
        return found

    def account_for(self, gateway: str, lane: Lane, epoch: bytes, first_seq: int, last_seq: int) -> None:
        """Take note of a loss record: these frames will never come, so no Receipt asks for them any more."""
        lanes = self._gateways.setdefault(gateway, {})
        lanes.setdefault((lane, epoch), _Epoch()).closed.add(max(first_seq, 1), last_seq)

    def account_for_all(self, losses: Iterable[tuple[str, str, bytes, int, int]]) -> None:
        """Loss records that are known: gateway, lane, epoch, first and last number."""
        for gateway, lane, epoch, first_seq, last_seq in losses:
            if lane in set(Lane):  # else a gateway said so that knows lanes we do not
                self.account_for(gateway, Lane(lane), epoch, first_seq, last_seq)

    def losses_arrived(self, _: str, frames: Iterable[Frame], __: int) -> None:
        """Take note of the loss records in frames; for whoever listens to the processor."""
        for frame in frames:
            for one in frame.content.records:
                if isinstance(one, Loss):
                    gateway = frame.header.gateway
                    self.account_for_all([(gateway, one.lane, one.epoch, one.first_seq, one.last_seq)])

    def knows_fork(self, identity: Identity, digest: bytes) -> bool:
        """Whether this very fork is quarantined already."""
        return (identity, prefix_of(digest)) in self._forks

    def add_fork(self, identity: Identity, digest: bytes) -> None:
        """Take note of a quarantined frame."""
        self._forks.add((identity, prefix_of(digest)))

    def knows_stranger(self, digest: bytes) -> bool:
        """Whether a frame of a newer format with this SHA-256 is in the log."""
        return prefix_of(digest) in self._strangers

    def add_stranger_prefix(self, prefix: int) -> None:
        """As `add_stranger`, from a checkpoint."""
        self._strangers.add(prefix)

    def add_stranger(self, digest: bytes) -> None:
        """Take note of a stored frame of a newer format."""
        self._strangers.add(prefix_of(digest))

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


def prefix_of(digest: bytes) -> int:
    """What is kept of a hash; 0 of an empty one."""
    return int.from_bytes(digest[:PREFIX_BYTES], "big")


def _state(lane: Lane, name: bytes, epoch: _Epoch | None) -> LaneState:
    if epoch is None:
        return LaneState(lane, name.hex(), 0, 0)
    closed = epoch.closed
    return LaneState(lane, name.hex(), closed.contiguous, closed.highest, closed.gaps(GAPS_LISTED_MAX))


def _entries(log: FrameLog, lane: Lane, after: int) -> Iterator[LogEntry]:
    while entries := log.read(lane, after, SCAN_FRAMES):
        yield from entries
        after = entries[-1].position
