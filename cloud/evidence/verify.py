"""Checks an audit package by itself: signatures, chain, gaps, daily roots, records; the indicators are in `recompute`.

Every finding names what it is about, the first forged, missing or reordered frame first.
"""

import hashlib
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cloud.evidence.merkle import root_of
from cloud.evidence.package import MEMBERS, read_frames
from cloud.evidence.root_record import SETTLED_MS
from cloud.evidence.roots import DAY_MS, DayRoot, SiteRoot, frame_leaf
from cloud.indicators.results import entry_hash
from cloud.indicators.written import read_back
from devices.errors import DamagedFrame, Permanent, UnknownVersion, WrongSignature
from devices.frame import Frame, decode_frame, verify_frame
from devices.instants import format_instant
from devices.reading import Lane
from devices.records import Loss

MEMBER_BYTES_MAX = 4 << 30
Epoch = tuple[str, str, bytes]  # gateway, lane, epoch


@dataclass(frozen=True, slots=True)
class Contents:
    """A package, unpacked."""

    manifest: Mapping[str, Any]
    manifest_bytes: bytes
    signature: bytes
    keys: list[dict[str, Any]]
    frames: list[tuple[int, bytes]]
    inputs: Mapping[str, list[dict[str, Any]]]
    records: Mapping[str, Any]
    digests: Mapping[str, str]


@dataclass(slots=True)
class Verdict:
    """What was looked at, and what is wrong."""

    frames: int = 0
    days: int = 0
    results: int = 0
    gaps: list[str] = field(default_factory=list)  # accounted for: the gateway itself says what is lost
    findings: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def unpack(path: Path) -> Contents:
    """Read a package. Raises Permanent when it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sorted(archive.namelist()) != sorted(MEMBERS):
                raise Permanent(f"{path} is no audit package: it holds {', '.join(archive.namelist()[:10])}")
            if any(one.file_size > MEMBER_BYTES_MAX for one in archive.infolist()):
                raise Permanent(f"{path} is larger than any package of ours")
            files = {name: archive.read(name) for name in MEMBERS}
    except (zipfile.BadZipFile, OSError) as error:
        raise Permanent(f"{path} cannot be read: {error}") from error
    try:
        manifest = msgspec.json.decode(files["manifest.json"], type=dict[str, Any])
        keys = msgspec.json.decode(files["keys.json"], type=list[dict[str, Any]])
        entered = msgspec.json.decode(files["inputs.json"], type=dict[str, list[dict[str, Any]]])
        records = msgspec.json.decode(files["records.json"], type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise Permanent(f"{path} is no audit package: {error}") from error
    digests = {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}
    frames = list(read_frames(files["frames.bin"]))
    return Contents(manifest, files["manifest.json"], files["manifest.sig"], keys, frames, entered, records, digests)


@dataclass(frozen=True, slots=True)
class Known:
    """What an auditor knows from elsewhere: the deployment's key, keys of gateways, roots of days. All hex."""

    key: str | None = None
    gateways: Mapping[str, frozenset[str]] = field(default_factory=dict)
    roots: Mapping[str, str] = field(default_factory=dict)  # by UTC day, like 2026-05-01


def verify(contents: Contents, known: Known | None = None) -> Verdict:
    """Everything but the recomputing of indicators."""
    known = known or Known()
    verdict = Verdict(frames=len(contents.frames))
    try:
        verdict.findings += _seal(contents, known.key)
        verdict.findings += _pinned(contents, known)
        frames = list(_genuine(contents, verdict))
        _order(contents.frames, verdict)
        _chain(frames, verdict, is_whole=contents.manifest.get("received_since_ms") == 0)
        _days(contents, verdict, known)
        _results(contents, verdict)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        verdict.findings.append(f"the package is malformed: {type(error).__name__}: {error}")
    return verdict


def _pinned(contents: Contents, known: Known) -> Iterator[str]:
    for gateway in contents.keys:
        name = gateway["gateway"]
        shown = {key["public"] for key in gateway["keys"]}
        if name in known.gateways and not shown <= known.gateways[name]:
            yield f"keys.json: gateway {name} has a key here that it was not known to have"


def _seal(contents: Contents, trusted_key: str | None) -> Iterator[str]:
    manifest = contents.manifest
    key = str(manifest.get("key", ""))
    if trusted_key is not None and key != trusted_key.lower():
        yield f"manifest: signed by {key[:16]}, not by the deployment whose key was given"
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(contents.signature, contents.manifest_bytes)
    except (InvalidSignature, ValueError):
        yield "manifest: the signature is wrong"
    for name, expected in dict(manifest.get("sha256", {})).items():
        if contents.digests.get(name) != expected:
            yield f"{name}: not what the manifest says it was"
    if manifest.get("frames") != len(contents.frames):
        yield f"frames.bin: {len(contents.frames)} frames, the manifest says {manifest.get('frames')}"


def _genuine(contents: Contents, verdict: Verdict) -> Iterator[tuple[int, Frame]]:
    """Frames that their gateway signed, with a key that was its own when they were received."""
    known = {
        (gateway["gateway"], key["id"]): (Ed25519PublicKey.from_public_bytes(bytes.fromhex(key["public"])), key)
        for gateway in contents.keys
        for key in gateway["keys"]
    }
    for index, (received_ms, data) in enumerate(contents.frames):
        where = f"frame {index + 1} (received {format_instant(received_ms)})"
        try:
            frame = decode_frame(data)
        except (DamagedFrame, UnknownVersion) as error:
            verdict.findings.append(f"{where}: cannot be read: {error}")
            continue
        where = f"{_name(frame)}, received {format_instant(received_ms)}"
        found = known.get((frame.header.gateway, frame.header.key_id))
        if found is None:
            verdict.findings.append(f"{where}: forged: no gateway of the site had the key {frame.header.key_id}")
            continue
        public, key = found
        try:
            verify_frame(data, public)
        except WrongSignature:
            verdict.findings.append(f"{where}: forged: the signature is wrong")
            continue
        if frame.header.lane is not Lane.EVENTS:
            verdict.findings.append(f"{where}: not of the evidence lane")
        if received_ms < key["valid_from_ms"]:
            verdict.findings.append(f"{where}: received before its gateway had the key that it is signed with")
        if key["revoked_ms"] is not None and received_ms >= key["revoked_ms"]:
            verdict.findings.append(f"{where}: signed with a key that had been revoked")
        yield received_ms, frame


def _order(frames: Iterable[tuple[int, bytes]], verdict: Verdict) -> None:
    before = 0
    for index, (received_ms, _) in enumerate(frames):
        if received_ms < before:
            verdict.findings.append(f"frame {index + 1}: reordered: received before the frame that stands before it")
            return
        before = received_ms


def _chain(frames: Iterable[tuple[int, Frame]], verdict: Verdict, *, is_whole: bool) -> None:
    """Each epoch's frames follow each other, by sequence and hash; what lacks is accounted for, or missing."""
    epochs: dict[Epoch, dict[int, Frame]] = defaultdict(dict)
    losses: dict[Epoch, list[tuple[int, int]]] = defaultdict(list)
    for _, frame in frames:
        header = frame.header
        known = epochs[header.gateway, header.lane.value, header.epoch].setdefault(header.seq, frame)
        if known.hash != frame.hash:
            verdict.findings.append(f"{_name(frame)}: two different frames under one identity")
        for record in frame.content.records:
            if isinstance(record, Loss):
                losses[header.gateway, record.lane, record.epoch].append((record.first_seq, record.last_seq))
    for epoch, by_seq in epochs.items():
        seqs = sorted(by_seq)
        for before, after in pairwise([0, *seqs] if is_whole else seqs):
            if after == before + 1:
                if before and by_seq[after].header.previous_hash != by_seq[before].hash:
                    verdict.findings.append(f"{_name(by_seq[after])}: does not continue the frame before it")
                continue
            lost = f"gateway {epoch[0]}, epoch {epoch[2].hex()}, seq {before + 1} to {after - 1}"
            accounted = _covers(losses[epoch], before + 1, after - 1)
            (verdict.gaps if accounted else verdict.findings).append(
                f"{lost}: {'lost, as the gateway itself says' if accounted else 'missing'}"
            )


def _covers(ranges: Iterable[tuple[int, int]], first: int, last: int) -> bool:
    """Whether these ranges together hold every number of [first, last]."""
    reached = first
    for begin, end in sorted(ranges):
        if begin > reached:
            break
        reached = max(reached, end + 1)
    return reached > last


def _days(contents: Contents, verdict: Verdict, known: Known) -> None:
    """The site's part of each recorded day is what is in the package, the day's root is over it, no day lacks."""
    site = str(contents.manifest["site"])
    leaves: dict[int, list[bytes]] = defaultdict(list)
    for received_ms, data in contents.frames:
        leaves[received_ms // DAY_MS].append(frame_leaf(received_ms, data))
    recorded = {one["day"]: one for one in contents.records["days"]}
    if leaves:
        over = (int(contents.manifest["created_ms"]) - SETTLED_MS) // DAY_MS
        for day in range(min(leaves), over):
            if day not in recorded:
                verdict.findings.append(f"day {_date(day)}: its recorded root is missing")
    for day, one in sorted(recorded.items()):
        verdict.days += 1
        parts = {name: SiteRoot(bytes.fromhex(root), count) for name, (root, count) in one["sites"].items()}
        if DayRoot(day, parts).root.hex() != one["root"]:
            verdict.findings.append(f"day {_date(day)}: the root is not over the roots of its sites")
        if known.roots.get(_date(day), one["root"]) != one["root"]:
            verdict.findings.append(f"day {_date(day)}: not the root that was known from elsewhere")
        mine, found = parts.get(site, SiteRoot(root_of([]), 0)), leaves[day]
        if mine.frames != len(found):
            verdict.findings.append(
                f"day {_date(day)}: {mine.frames} frames were received, {len(found)} are here: missing"
            )
        elif mine.root != root_of(found):
            verdict.findings.append(
                f"day {_date(day)}: frames were forged or reordered: not the root that was recorded"
            )
    for date in sorted(set(known.roots) - {_date(day) for day in recorded}):
        verdict.findings.append(f"day {date}: its recorded root is missing")


def _results(contents: Contents, verdict: Verdict) -> None:
    """Each revision of each result is as it was written, and follows the one before, of its window and of the site."""
    last: dict[tuple[str, int, int], tuple[int, str]] = {}
    entry, hash_before = 0, ""
    for row in contents.records["results"]:
        verdict.results += 1
        name = f"{row['indicator']} of {format_instant(row['from_ms'])}, revision {row['revision']}"
        previous = bytes.fromhex(row["previous_revision"]), bytes.fromhex(row["previous_entry"])
        if entry_hash(row["body"], row["revision"], row["recorded_ms"], *previous).hex() != row["hash"]:
            verdict.findings.append(f"{name}: not what was recorded")
        said = read_back(row["body"], revision=row["revision"], final=False)
        key = (row["indicator"], row["from_ms"], row["to_ms"])
        if key != (said.id, said.window.from_ms, said.window.to_ms):
            verdict.findings.append(f"{name}: speaks of {said.id} of {format_instant(said.window.from_ms)}")
        if (row["revision"] - 1, row["previous_revision"]) != last.get(key, (0, "")):
            verdict.findings.append(f"{name}: does not follow the revision before it")
        if (row["entry"] - 1, row["previous_entry"]) != (entry, hash_before):
            verdict.findings.append(f"{name}: does not follow the result that was recorded before it")
        last[key] = row["revision"], row["hash"]
        entry, hash_before = row["entry"], row["hash"]
    if contents.frames and not verdict.results:
        verdict.findings.append("records.json: there are frames, and not one result")


def _date(day: int) -> str:
    return format_instant(day * DAY_MS)[:10]


def _name(frame: Frame) -> str:
    header = frame.header
    return f"gateway {header.gateway}, epoch {header.epoch.hex()}, seq {header.seq}"
