"""What the frames of a gateway say about each other: which time each epoch covers, and who follows whom.

Two epochs of one lane cover no time together while one machine seals them, and an events frame names the hash of
the one before it. What contradicts that is told; the result does not depend on the order of arrival.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import msgspec

from cloud.ingest.integrity import IntegrityKind
from devices.frame import Header, Origin
from devices.reading import Lane
from devices.sequences import SeqRanges

OVERLAP_MS_MAX = 4_000  # two trusted clocks of one gateway, before and after a restart, may be off by 2 s each
DAY_MS = 86_400_000
PREFIX_BYTES = 8  # of a hash, as `identities` keeps it


class Suspicion(NamedTuple):
    """Something that a frame showed."""

    kind: IntegrityKind
    header: Header
    detail: str


class Past(NamedTuple):
    """Frames that follow each other, from a checkpoint. `named` is the prefix of the hash before the first."""

    gateway: str
    lane: Lane
    epoch: bytes
    first_seq: int
    last_seq: int
    named: int


@dataclass(slots=True)
class _Trail:
    """Of one epoch: milliseconds that trusted frames cover, and whom frames without a known predecessor follow."""

    covered: SeqRanges = field(default_factory=SeqRanges)
    from_ms: int = 2**62
    to_ms: int = 0
    awaited: dict[int, int] = field(default_factory=dict)  # seq -> prefix of the hash that the next frame named

    def cover(self, from_ms: int, to_ms: int) -> None:
        self.covered.add(from_ms, to_ms - 1)
        self.from_ms = min(self.from_ms, from_ms)
        self.to_ms = max(self.to_ms, to_ms)


def fork_of(header: Header, digest: bytes) -> Suspicion:
    """A second, different frame was found under an identity."""
    return Suspicion(IntegrityKind.FORK, header, f"another frame with SHA-256 {digest.hex()} is in quarantine")


class Trails:
    """Feed it with every stored frame, once."""

    def __init__(self) -> None:
        self._trails: dict[tuple[str, Lane], dict[bytes, _Trail]] = {}
        self._told: set[tuple[str, Lane, frozenset[bytes], int]] = set()

    def follow(self, header: Header, prefix: int, stored_prefix: Callable[[int], int | None]) -> list[Suspicion]:
        """What a frame shows. `stored_prefix` gives the hash prefix of another frame of the epoch, None if unknown."""
        if header.origin is Origin.IMPORT:
            return []
        lane = self._trails.setdefault((header.gateway, header.lane), {})
        trail = lane.setdefault(header.epoch, _Trail())
        found = _chain(header, prefix, trail, stored_prefix) if header.lane is Lane.EVENTS else []
        if header.trusted and header.origin is Origin.LIVE and header.to_ms > header.from_ms:
            trail.cover(header.from_ms, header.to_ms)
            if len(lane) > 1:
                found += self._overlaps(header, trail, lane)
        return found

    def restore(self, past: Past, origin: Origin, spans: Iterable[tuple[int, int]], *, knows_before: bool) -> None:
        """Take what a checkpoint says; what it contradicts was told when it arrived."""
        if origin is Origin.IMPORT:
            return
        trail = self._trails.setdefault((past.gateway, past.lane), {}).setdefault(past.epoch, _Trail())
        if past.lane is Lane.EVENTS:
            trail.awaited.pop(past.last_seq, None)
            if past.first_seq > 1 and not knows_before:
                trail.awaited[past.first_seq - 1] = past.named
        if origin is Origin.LIVE:
            for from_ms, to_ms in spans:
                trail.cover(from_ms, to_ms)

    def restored(self) -> None:
        """After `restore`: pairs of epochs that cover the same time were told, day by day."""
        for (gateway, lane), epochs in self._trails.items():
            for one, other in combinations(epochs, 2):
                a, b = epochs[one], epochs[other]
                from_ms, to_ms = max(a.from_ms, b.from_ms), min(a.to_ms, b.to_ms)
                for day in range(from_ms // DAY_MS, (to_ms - 1) // DAY_MS + 1) if to_ms > from_ms else ():
                    first_ms, end_ms = max(from_ms, day * DAY_MS), min(to_ms, (day + 1) * DAY_MS)
                    if _shared_ms(a.covered, b.covered, first_ms, end_ms) > OVERLAP_MS_MAX:
                        self._told.add((gateway, lane, frozenset((one, other)), day))

    def _overlaps(self, header: Header, trail: _Trail, lane: dict[bytes, _Trail]) -> list[Suspicion]:
        """Other epochs that cover the same time on the day of this frame; each pair is told once a day."""
        day = header.from_ms // DAY_MS
        found: list[Suspicion] = []
        for epoch, other in lane.items():
            from_ms = max(trail.from_ms, other.from_ms, day * DAY_MS)
            to_ms = min(trail.to_ms, other.to_ms, (day + 1) * DAY_MS)
            if other is trail or to_ms - from_ms <= OVERLAP_MS_MAX:
                continue
            pair = (header.gateway, header.lane, frozenset((epoch, header.epoch)), day)
            if pair in self._told:
                continue
            both_ms = _shared_ms(trail.covered, other.covered, from_ms, to_ms)
            if both_ms > OVERLAP_MS_MAX:
                self._told.add(pair)
                detail = f"epochs {header.epoch.hex()} and {epoch.hex()} both cover {both_ms} ms"
                found.append(Suspicion(IntegrityKind.TWO_SENDERS, header, detail))
        return found


def _chain(header: Header, prefix: int, trail: _Trail, stored_prefix: Callable[[int], int | None]) -> list[Suspicion]:
    found: list[Suspicion] = []
    awaited = trail.awaited.pop(header.seq, None)
    if awaited is not None and awaited != prefix:
        found.append(_broken(msgspec.structs.replace(header, seq=header.seq + 1)))
    if header.seq > 1:
        named = int.from_bytes(header.previous_hash[:PREFIX_BYTES], "big")
        before = stored_prefix(header.seq - 1)
        if before is None:
            trail.awaited[header.seq - 1] = named
        elif before != named:
            found.append(_broken(header))
    return found


def _broken(header: Header) -> Suspicion:
    return Suspicion(IntegrityKind.CHAIN_BROKEN, header, "names another frame before it than the stored one")


def _shared_ms(one: SeqRanges, other: SeqRanges, from_ms: int, to_ms: int) -> int:
    """How many milliseconds of [from_ms, to_ms) both cover."""
    shared = 0
    for low, high in one:
        first, last = max(low, from_ms), min(high, to_ms - 1)
        if first <= last:
            shared += last - first + 1 - sum(b - a + 1 for a, b in other.missing(first, last))
    return shared
