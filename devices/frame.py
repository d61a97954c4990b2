"""Frames: readings sealed into bytes that are never rewritten.

The journal, the uplink, the cloud's log and the audit package hold the same bytes.

A frame is the msgpack array [`GHF`, version, header, body, seal]. Header and body are byte strings, the
body zstd-compressed. Its hash is SHA-256 over header and body; the seal is an Ed25519 signature over that
hash on the events lane and the hash itself on the telemetry lane. Times are Unix ms UTC.
"""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec
import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from devices.columns import Confirmations, Numbers, Poses, Texts
from devices.errors import DamagedFrame, UnknownVersion, WrongSignature
from devices.reading import Lane, Series
from devices.records import Record

FORMAT = "GHF"
VERSION = 1
FRAME_BYTES_MAX = 8 * 1024 * 1024  # one request holds at most this much
BODY_BYTES_MAX = 16 * 1024 * 1024  # inflated; a hostile frame must not fill the memory
SERIES_CACHE = 128  # a gateway repeats its dictionary frame after frame; making 1,000 objects anew costs 250 us
SERIES_CACHE_BYTES = 256 * 1024  # a larger dictionary is not kept: 128 hostile ones must not fill the memory
COMPRESSION_LEVEL = 1  # level 3 costs 10 % more time for 2 % less size on such columns
EPOCH_BYTES = 8
HASH_BYTES = 32
NO_HASH = b""
_SIGNING_CONTEXT = b"gatehouse frame v1\x00"


class Origin(StrEnum):
    """How a frame came to be."""

    LIVE = "live"
    IMPORT = "import"
    RAM = "ram"  # sealed in memory while the disk took nothing


class PreviousEpoch(msgspec.Struct, frozen=True, array_like=True):
    """Where an epoch's predecessor ended, as far as the journal knows."""

    epoch: bytes
    last_seq: int
    last_hash: bytes


class Header(msgspec.Struct, frozen=True, array_like=True):
    """Identity, time and provenance of a frame; readable without inflating the body.

    `from_ms` (inclusive) to `to_ms` (exclusive) is the span: everything handled in it is inside.
    """

    gateway: str
    lane: Lane
    epoch: bytes
    seq: int  # from 1
    key_id: str
    clock_run: bytes
    monotonic_ms: int
    from_ms: int
    to_ms: int
    trusted: bool  # whether the clock run was trusted when the frame was sealed
    uncertainty_ms: int
    keyframe: bool
    origin: Origin
    previous_hash: bytes  # of the frame with seq - 1, empty for the first of an epoch
    previous_epoch: PreviousEpoch | None
    readings: int  # rows of all columns, for accounting without inflating
    body_bytes: int  # inflated


@dataclass(frozen=True, slots=True)
class Content:
    """What was handled in the span. Columns name their series by index into `series`."""

    series: tuple[Series, ...] = ()
    numbers: Numbers = field(default_factory=Numbers.empty)
    texts: Texts = field(default_factory=Texts.empty)
    poses: Poses = field(default_factory=Poses.empty)
    confirmations: Confirmations = field(default_factory=Confirmations.empty)
    records: tuple[Record, ...] = ()

    @property
    def readings(self) -> int:
        """Values that were measured; confirmations repeat earlier ones and do not count."""
        return len(self.numbers) + len(self.texts) + len(self.poses)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a frame is called. Everything that refers to a frame uses this."""

    gateway: str
    lane: Lane
    epoch: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame."""

    header: Header
    content: Content
    hash: bytes

    @property
    def identity(self) -> Identity:
        """Gateway, lane, epoch and sequence number."""
        return Identity(self.header.gateway, self.header.lane, self.header.epoch, self.header.seq)


class SealedFrame(msgspec.Struct, frozen=True):
    """A frame as bytes, with its header at hand."""

    header: Header
    data: bytes
    hash: bytes


class _Body(msgspec.Struct, frozen=True, array_like=True):
    series: msgspec.Raw  # of tuple[Series, ...]
    numbers: tuple[bytes, ...]
    texts: tuple[bytes, ...]
    poses: tuple[bytes, ...]
    confirmations: tuple[bytes, ...]
    words: tuple[str, ...]
    maps: tuple[str, ...]
    records: tuple[Record, ...]


_NAME_BYTES = 64  # at both ends of a dictionary: enough to find the one it may equal
_series_known: dict[tuple[int, bytes, bytes], tuple[bytes, tuple[Series, ...]]] = {}
_decompressors: list[zstandard.ZstdDecompressor] = []
_NO_NUMBERS, _NO_TEXTS, _NO_POSES, _NO_CONFIRMATIONS = (
    Numbers.empty(), Texts.empty(), Poses.empty(), Confirmations.empty(),
)  # fmt: skip
_header_decoder = msgspec.msgpack.Decoder(Header)
_body_decoder = msgspec.msgpack.Decoder(_Body)
_series_decoder = msgspec.msgpack.Decoder(tuple[Series, ...])
_envelope_decoder = msgspec.msgpack.Decoder(tuple[str, int, bytes, bytes, bytes])
_version_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # what hostile msgpack raises


def key_id(public_key: Ed25519PublicKey) -> str:
    """Short name of a key: the first 16 hex digits of the SHA-256 of its raw public bytes."""
    return hashlib.sha256(public_key.public_bytes_raw()).hexdigest()[:16]


def encode_body(content: Content) -> bytes:
    """The body before compression. The header needs its length, so it is made first."""
    body = _Body(
        series=msgspec.Raw(msgspec.msgpack.encode(content.series)),
        numbers=content.numbers.pack(),
        texts=content.texts.pack(),
        poses=content.poses.pack(),
        confirmations=content.confirmations.pack(),
        words=content.texts.words,
        maps=content.poses.maps,
        records=content.records,
    )
    return msgspec.msgpack.encode(body)


def seal_frame(header: Header, body: bytes, key: Ed25519PrivateKey) -> SealedFrame:
    """Bytes of a frame. `header.body_bytes` must be len(body), `header.key_id` that of `key`.

    Raises ValueError when they are not, or when the body is larger than `BODY_BYTES_MAX`.
    """
    if header.body_bytes != len(body) or len(body) > BODY_BYTES_MAX:
        raise ValueError(f"header says {header.body_bytes} body bytes, body has {len(body)}")
    head = msgspec.msgpack.encode(header)
    packed = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL).compress(body)
    digest = _hash(head, packed)
    seal = key.sign(_SIGNING_CONTEXT + digest) if header.lane is Lane.EVENTS else digest
    data = msgspec.msgpack.encode((FORMAT, VERSION, head, packed, seal))
    return SealedFrame(header, data, digest)


def open_frame(data: bytes) -> SealedFrame:
    """Header and hash of a frame's bytes, without inflating its body.

    Raises DamagedFrame when the bytes are not a whole frame, UnknownVersion when they are a newer one.
    """
    head, packed, _ = _envelope(data)
    return SealedFrame(_header(head), data, _hash(head, packed))


def read_header(data: bytes) -> Header:
    """The header of a frame's bytes, without hashing them. Raises as `open_frame`."""
    return _header(_envelope(data)[0])


def verify_frame(data: bytes, public_key: Ed25519PublicKey) -> None:
    """Check that the holder of the key sealed exactly these bytes.

    The telemetry lane is not signed: there the hash is checked. Raises WrongSignature, or as `open_frame`.
    """
    head, packed, seal = _envelope(data)
    digest = _hash(head, packed)
    header = _header(head)
    if header.key_id != key_id(public_key):
        raise WrongSignature(f"frame names key {header.key_id}, checked with {key_id(public_key)}")
    if header.lane is Lane.TELEMETRY:
        if seal != digest:
            raise WrongSignature("hash does not belong to the bytes")
        return
    try:
        public_key.verify(seal, _SIGNING_CONTEXT + digest)
    except InvalidSignature:
        raise WrongSignature("signature does not belong to the bytes") from None


def decode_frame(data: bytes) -> Frame:
    """Everything a frame says. Verifies no signature. Raises as `open_frame`."""
    head, packed, _ = _envelope(data)
    header = _header(head)
    if not 0 <= header.body_bytes <= BODY_BYTES_MAX:
        raise DamagedFrame(f"declares {header.body_bytes} body bytes, at most {BODY_BYTES_MAX} are allowed")
    return Frame(header, _decode_body(packed, header.body_bytes), _hash(head, packed))


def _hash(head: bytes, packed: bytes) -> bytes:
    # The header ends where the body begins only if its length is hashed too.
    return hashlib.sha256(len(head).to_bytes(4, "big") + head + packed).digest()


def _envelope(data: bytes) -> tuple[bytes, bytes, bytes]:
    try:
        magic, version, head, packed, seal = _envelope_decoder.decode(data)
    except _UNREADABLE:
        raise _not_an_envelope(data) from None
    if magic != FORMAT:
        raise DamagedFrame("does not begin like a frame")
    if version != VERSION:
        raise UnknownVersion(f"frame format {version}, this software knows {VERSION}")
    return head, packed, seal


def _not_an_envelope(data: bytes) -> DamagedFrame | UnknownVersion:
    """A newer version may have another envelope; only its first two fields are promised."""
    try:
        parts = _version_decoder.decode(data)
        if len(parts) > 1 and msgspec.msgpack.decode(parts[0], type=str) == FORMAT:
            version = msgspec.msgpack.decode(parts[1], type=int)
            if version != VERSION:
                return UnknownVersion(f"frame format {version}, this software knows {VERSION}")
    except _UNREADABLE:
        pass  # then it is damaged, as said below
    return DamagedFrame("not a frame: the envelope cannot be read")


def _header(head: bytes) -> Header:
    try:
        header = _header_decoder.decode(head)
    except _UNREADABLE as error:
        raise DamagedFrame(f"header: {error}") from None
    if header.seq < 1 or len(header.epoch) != EPOCH_BYTES or header.to_ms < header.from_ms:
        raise DamagedFrame("header: sequence, epoch or span is impossible")
    return header


def _decode_series(raw: bytes) -> tuple[Series, ...]:
    """The dictionary of a frame, remembered: hashing 20 KB costs more than comparing them with the last ones."""
    name = (len(raw), raw[:_NAME_BYTES], raw[-_NAME_BYTES:])
    known = _series_known.get(name)
    if known is not None and known[0] == raw:
        return known[1]
    series = _series_decoder.decode(raw)
    if len(raw) <= SERIES_CACHE_BYTES:
        if len(_series_known) >= SERIES_CACHE:
            _series_known.clear()  # in one step: other threads are in here, too
        _series_known[name] = (raw, series)
    return series


def _inflate(packed: bytes, body_bytes: int) -> bytes:
    """Making a decompressor costs as much as a small frame, and no two threads may use one at a time."""
    try:
        decompressor = _decompressors.pop()
    except IndexError:
        decompressor = zstandard.ZstdDecompressor()
    try:
        return decompressor.decompress(packed, max_output_size=max(body_bytes, 1))
    finally:
        _decompressors.append(decompressor)


def _decode_body(packed: bytes, body_bytes: int) -> Content:
    try:
        if zstandard.frame_content_size(packed) != body_bytes:
            raise DamagedFrame("body does not inflate to the size declared")
        body = _body_decoder.decode(_inflate(packed, body_bytes))
        series = _decode_series(bytes(body.series))
        content = Content(
            series=series,
            numbers=Numbers.unpack(body.numbers) if body.numbers else _NO_NUMBERS,
            texts=Texts.unpack(body.texts, body.words) if body.texts else _NO_TEXTS,
            poses=Poses.unpack(body.poses, body.maps) if body.poses else _NO_POSES,
            confirmations=Confirmations.unpack(body.confirmations) if body.confirmations else _NO_CONFIRMATIONS,
            records=body.records,
        )
    except (zstandard.ZstdError, *_UNREADABLE, ValueError) as error:
        raise DamagedFrame(f"body: {error}") from None
    for columns in (content.numbers, content.texts, content.poses, content.confirmations):
        if len(columns) and not 0 <= int(columns.series.min()) <= int(columns.series.max()) < len(series):
            raise DamagedFrame("body: a row names a series that the frame does not list")
    return content
