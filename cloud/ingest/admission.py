"""What becomes of each frame of a request: looked at, checked, stored, receipted. In this order.

Bodies are not inflated here: header, hash and seal decide.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import structlog

from cloud.ingest.gateways import Gateway, GatewayKeys
from cloud.ingest.identities import Identities, Known, identity_of, stranger_hash
from cloud.ingest.integrity import Finding, IntegrityKind, IntegrityRecord
from cloud.ingest.log import FrameLog, Received
from cloud.ingest.trails import Suspicion, fork_of
from devices.errors import DamagedFrame, StorageUnavailable, UnknownVersion, WrongSignature
from devices.frame import Header, Identity, SealedFrame, open_frame, verify_frame
from devices.instants import format_instant
from devices.reading import Lane
from devices.receipt import FrameResult, Receipt, Status

THREAD_BYTES = 64 * 1024  # larger requests are checked beside the event loop
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Checked:
    """A frame that was looked at. `sealed` is None for a newer format; `refusal` is set when it is not taken."""

    data: bytes
    sealed: SealedFrame | None
    refusal: FrameResult | None


@dataclass(slots=True)
class Seen:
    """When a gateway was last heard, Unix ms UTC; None: not since this process began."""

    request_ms: int | None = None
    frame_ms: int | None = None


@dataclass(slots=True)
class _Sorted:
    """A request's frames by what must be written."""

    results: list[FrameResult] = field(default_factory=list)
    store: list[Received] = field(default_factory=list)
    stored: list[SealedFrame] = field(default_factory=list)
    strangers: list[bytes] = field(default_factory=list)
    quarantine: list[Received] = field(default_factory=list)
    forks: list[tuple[Identity, bytes]] = field(default_factory=list)
    suspicions: list[Suspicion] = field(default_factory=list)
    touched: set[tuple[Lane, bytes]] = field(default_factory=set)


class Admission:
    """Takes the frames of gateways that proved who they are."""

    def __init__(
        self,
        log: FrameLog,
        keys: GatewayKeys,
        identities: Identities,
        now_ms: Callable[[], int],
        integrity: IntegrityRecord | None = None,
    ) -> None:
        self._log = log
        self._keys = keys
        self._identities = identities
        self._now_ms = now_ms
        self._integrity = integrity
        for suspicion in identities.suspicions:  # what a crash kept from being noted; the rest is known there
            self._note(suspicion)
        self._turns: dict[str, asyncio.Lock] = {}
        self.seen: dict[str, Seen] = {}

    @property
    def identities(self) -> Identities:
        """What is stored, for whoever shows gaps."""
        return self._identities

    async def take(self, gateway: Gateway, frames: Sequence[bytes]) -> Receipt:
        """Store what is new and answer for each frame, in order. Raises StorageUnavailable: then nothing counts."""
        now_ms = self._now_ms()
        seen = self.seen.setdefault(gateway.id, Seen())
        seen.request_ms = now_ms
        if not frames:
            return self._receipt((), gateway.id, set())
        if sum(map(len, frames)) > THREAD_BYTES:
            checked = await asyncio.to_thread(check_frames, gateway, frames, now_ms)
        else:
            checked = check_frames(gateway, frames, now_ms)
        # One request of a gateway at a time from here on: a frame that is being written must not look new to
        # a second request. Requests of different gateways share the log's commits.
        async with self._turns.setdefault(gateway.id, asyncio.Lock()):
            found = self._sort(gateway.id, checked, now_ms)
            await self._log.quarantine(found.quarantine)
            for identity, digest in found.forks:
                self._identities.add_fork(identity, digest)
            await self._log.append(found.store)
            for sealed in found.stored:
                found.suspicions += self._identities.add(sealed.header, sealed.hash)
            for digest in found.strangers:
                self._identities.add_stranger(digest)
        if found.suspicions:
            await asyncio.to_thread(self._note_all, found.suspicions)
        if any(result.status.is_final for result in found.results):
            seen.frame_ms = now_ms
        return self._receipt(tuple(found.results), gateway.id, found.touched)

    def receipt(self, gateway: Gateway) -> Receipt:
        """What is held of every epoch of a gateway."""
        self.seen.setdefault(gateway.id, Seen()).request_ms = self._now_ms()
        return self._receipt((), gateway.id, None)

    def _receipt(self, results: tuple[FrameResult, ...], gateway: str, only: set[tuple[Lane, bytes]] | None) -> Receipt:
        lanes = self._identities.states(gateway, only)
        return Receipt(format_instant(self._now_ms()), self._log.log_id, results, lanes)

    def _note_all(self, suspicions: Sequence[Suspicion]) -> None:
        for suspicion in suspicions:
            self._note(suspicion)

    def _note(self, suspicion: Suspicion) -> None:
        """Keep a finding. The frames are stored already, so a record that cannot be written fails no request."""
        header = suspicion.header
        gateway = self._keys.get(header.gateway)
        if gateway is None or self._integrity is None:
            _log.error("integrity", kind=str(suspicion.kind), gateway=header.gateway, detail=suspicion.detail)
            return
        finding = Finding(
            gateway.site, header.gateway, suspicion.kind, str(header.lane), header.epoch, header.seq, suspicion.detail
        )
        try:
            self._integrity.note(finding, self._now_ms())
        except StorageUnavailable as error:
            _log.error("integrity", kind=str(suspicion.kind), gateway=header.gateway, reason=str(error))

    def _sort(self, gateway: str, checked: Sequence[Checked], now_ms: int) -> _Sorted:
        found = _Sorted()
        here: dict[Identity, bytes] = {}
        for frame in checked:
            if frame.refusal is not None:
                _log.warning(
                    "frame not taken", gateway=gateway, status=frame.refusal.status, reason=frame.refusal.reason
                )
                found.results.append(frame.refusal)
                if frame.sealed is not None and frame.refusal.status is Status.REFUSED:
                    found.suspicions.append(_wrong(gateway, frame.sealed.header, frame.refusal.reason))
            elif frame.sealed is None:
                self._sort_stranger(gateway, frame.data, now_ms, found)
            else:
                self._sort_frame(frame.sealed, here, now_ms, found)
        return found

    def _sort_stranger(self, gateway: str, data: bytes, now_ms: int, found: _Sorted) -> None:
        digest = stranger_hash(data)
        if self._identities.knows_stranger(digest) or digest in found.strangers:
            found.results.append(FrameResult("", "", 0, digest.hex(), Status.DUPLICATE))
            return
        found.strangers.append(digest)
        found.store.append(Received(now_ms, gateway, Lane.EVENTS, data))
        found.results.append(FrameResult("", "", 0, digest.hex(), Status.STORED, "of a newer format"))

    def _sort_frame(self, sealed: SealedFrame, here: dict[Identity, bytes], now_ms: int, found: _Sorted) -> None:
        identity = identity_of(sealed.header)
        found.touched.add((identity.lane, identity.epoch))
        known = self._identities.look_up(identity, sealed.hash)
        if known is Known.NEW and identity in here:
            known = Known.DUPLICATE if here[identity] == sealed.hash else Known.FORK
        received = Received(now_ms, identity.gateway, identity.lane, sealed.data)
        if known is Known.NEW:
            here[identity] = sealed.hash
            found.store.append(received)
            found.stored.append(sealed)
            found.results.append(_result(sealed, Status.STORED))
        elif known is Known.DUPLICATE:
            found.results.append(_result(sealed, Status.DUPLICATE))
        else:
            if not self._identities.knows_fork(identity, sealed.hash):
                found.quarantine.append(received)
                found.forks.append((identity, sealed.hash))
                found.suspicions.append(fork_of(sealed.header, sealed.hash))
            found.results.append(_result(sealed, Status.FORK, "another frame was stored under this identity"))


def check_frames(gateway: Gateway, frames: Sequence[bytes], now_ms: int) -> list[Checked]:
    """Look at each frame: whole, this gateway's, and signed with a key it may use. Pure; for any thread."""
    return [_check(gateway, data, now_ms) for data in frames]


def _check(gateway: Gateway, data: bytes, now_ms: int) -> Checked:
    try:
        sealed = open_frame(data)
    except UnknownVersion:
        return Checked(data, None, None)
    except DamagedFrame as error:
        return Checked(data, None, FrameResult("", "", 0, "", Status.RETRY, str(error)))
    header = sealed.header
    if header.gateway != gateway.id:
        return _refused(data, sealed, f"the frame is of gateway {header.gateway}")
    key = gateway.key(header.key_id)
    if key is None or not key.is_valid(now_ms):
        return _refused(data, sealed, f"key {header.key_id} is not one that this gateway may use")
    try:
        verify_frame(data, key.public)
    except WrongSignature as error:
        if header.lane is Lane.TELEMETRY:  # not signed, only hashed: the bytes suffered, nobody forged them
            return Checked(data, sealed, _result(sealed, Status.RETRY, str(error)))
        return _refused(data, sealed, str(error))
    return Checked(data, sealed, None)


def _wrong(sender: str, header: Header, reason: str) -> Suspicion:
    """Who sent a frame is to blame, whatever gateway it names."""
    return Suspicion(IntegrityKind.WRONG_SIGNATURE, msgspec.structs.replace(header, gateway=sender), reason)


def _refused(data: bytes, sealed: SealedFrame, reason: str) -> Checked:
    return Checked(data, sealed, _result(sealed, Status.REFUSED, reason))


def _result(sealed: SealedFrame, status: Status, reason: str = "") -> FrameResult:
    header = sealed.header
    return FrameResult(str(header.lane), header.epoch.hex(), header.seq, sealed.hash.hex(), status, reason)
