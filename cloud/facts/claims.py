"""Frames -> facts. A fact is a claim: a point had a value from one moment to another.

A change is a claim of length 0, a keyframe entry the claim [changed, confirmed]. Everything here is pure;
`cloud.facts.intake` writes the result down. Times are Unix ms UTC.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from devices.columns import Poses
from devices.frame import Frame, Origin
from devices.reading import FIRST_BAD_QUALITY, Bytes8, Floats, Int32s, Int64s, Lane
from devices.records import DeviceInfo, Inventory, Link, LocalAlert, Loss, ProfileText

DAY_MS = 86_400_000
QUARTER_MS = 900_000
AHEAD_MS = 5 * 60_000  # how far a clock may be ahead of the one that receives
NODE_POINT = "last_node"  # of a robot: the node that it reached last (VDA 5050)


class FrameKey(msgspec.Struct, frozen=True, order=True, array_like=True):
    """The source frame of a fact, ordered: of two claims for one moment the one with the later key counts.

    Live comes before import (so its key is the greater), then the later span end, epoch and sequence.
    """

    live: bool
    span_end_ms: int
    epoch: bytes
    seq: int


class ClaimRows(msgspec.Struct, frozen=True, array_like=True):
    """Claims of one frame about one device; parallel columns as bytes, `point` indexing `points`."""

    key: FrameKey
    points: tuple[str, ...]
    point: bytes  # uint16
    from_ms: bytes  # int64
    to_ms: bytes  # int64
    value: bytes  # float64
    hold_ms: bytes  # int64


class PoseRows(msgspec.Struct, frozen=True, array_like=True):
    """Poses of one frame of one robot in one UTC quarter hour; parallel columns as bytes."""

    key: FrameKey
    maps: tuple[str, ...]
    time_ms: bytes  # int64
    x_mm: bytes  # int32
    y_mm: bytes  # int32
    theta_mrad: bytes  # int32
    map: bytes  # int32
    flags: bytes  # uint8, 0 where the quality is bad


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim that crosses a UTC midnight, for the reach of its value."""

    point: str
    from_ms: int
    to_ms: int
    value: float
    hold_ms: int


@dataclass(frozen=True, slots=True)
class ClaimBlock:
    """The claims of a frame about one device that end in one UTC day."""

    device: str
    utc_day: int
    rows: ClaimRows
    from_ms: int  # the earliest moment at which the block says something that its day alone does not tell
    to_ms: int
    crossing: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class PoseBlock:
    """The poses of a frame of one robot in one UTC quarter hour."""

    device: str
    utc_quarter: int
    rows: PoseRows


@dataclass(frozen=True, slots=True)
class Stop:
    """A device (point "") or one point ceased to answer: sealed at `time_ms`, last good at `stop_ms`."""

    device: str
    point: str
    time_ms: int
    stop_ms: int


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """Everything one events frame proves about one site. `stop`s include bad readings of a point."""

    site: str
    gateway: str
    lane: Lane
    epoch: bytes
    seq: int
    from_ms: int
    to_ms: int
    clock_run: bytes
    origin: Origin
    received_ms: int
    claims: tuple[ClaimBlock, ...] = ()
    poses: tuple[PoseBlock, ...] = ()
    stops: tuple[Stop, ...] = ()
    profiles: tuple[ProfileText, ...] = ()
    inventories: tuple[Inventory, ...] = ()
    losses: tuple[Loss, ...] = ()
    local_alerts: tuple[LocalAlert, ...] = ()
    nodes: tuple[tuple[str, int, str], ...] = ()  # device, when, the node that it named as its last one

    @property
    def devices(self) -> frozenset[str]:
        """Devices about which the frame says something."""
        named = {block.device for block in self.claims} | {stop.device for stop in self.stops}
        return frozenset(named | {info.id for one in self.inventories for info in one.devices})


def facts_of(frame: Frame, received_ms: int, site: str) -> FrameFacts:
    """What a frame proves, its times as they are: see `cloud.ingest.clocks` for those that need a fix.

    A telemetry frame proves nothing: its values are for charts.
    """
    header = frame.header
    key = FrameKey(header.origin is not Origin.IMPORT, header.to_ms, header.epoch, header.seq)
    events = header.lane is Lane.EVENTS
    records = frame.content.records if events else ()
    return FrameFacts(
        site=site, gateway=header.gateway, lane=header.lane, epoch=header.epoch, seq=header.seq,
        from_ms=header.from_ms, to_ms=header.to_ms, clock_run=header.clock_run,
        origin=header.origin, received_ms=received_ms,
        claims=tuple(_claims(frame, key)) if events else (),
        poses=tuple(_poses(frame, key)) if events else (),
        stops=tuple(_stops(frame)) if events else (),
        profiles=tuple(one for one in records if isinstance(one, ProfileText)),
        inventories=tuple(one for one in records if isinstance(one, Inventory)),
        losses=tuple(one for one in records if isinstance(one, Loss)),
        local_alerts=tuple(_timed(one, received_ms) for one in records if isinstance(one, LocalAlert)),
        nodes=tuple(_nodes(frame)) if events else (),
    )  # fmt: skip


def is_plausible(time_ms: int, received_ms: int) -> bool:
    """Whether a condition can have turned then, by what was received when: after 1970 and hardly in the future."""
    return 0 <= time_ms <= received_ms + AHEAD_MS


def _timed(one: LocalAlert, received_ms: int) -> LocalAlert:
    """An alert of a gateway; one at an impossible time counts from when it was learned, so that nobody misses it."""
    return one if is_plausible(one.since_ms, received_ms) else msgspec.structs.replace(one, since_ms=received_ms)


def encode_claims(rows: ClaimRows) -> bytes:
    """As stored."""
    return msgspec.msgpack.encode(rows)


def encode_poses(rows: PoseRows) -> bytes:
    """As stored."""
    return msgspec.msgpack.encode(rows)


def rank_of(key: FrameKey) -> bytes:
    """A frame key as bytes that compare as it does. Times are after 1970, as everything that a run can be fixed to."""
    return bytes([key.live]) + max(key.span_end_ms, 0).to_bytes(8, "big") + key.epoch + key.seq.to_bytes(8, "big")


def key_of_rank(rank: bytes) -> FrameKey:
    """The reverse of `rank_of`."""
    return FrameKey(bool(rank[0]), int.from_bytes(rank[1:9], "big"), rank[9:-8], int.from_bytes(rank[-8:], "big"))


decode_claims = msgspec.msgpack.Decoder(ClaimRows).decode
decode_poses = msgspec.msgpack.Decoder(PoseRows).decode
encode_info = msgspec.msgpack.Encoder().encode
decode_info = msgspec.msgpack.Decoder(DeviceInfo).decode
encode_inventory = msgspec.msgpack.Encoder().encode


def _claims(frame: Frame, key: FrameKey) -> Iterable[ClaimBlock]:
    """Readings of state inputs that count, then keyframe entries, by device and UTC day of their end."""
    content = frame.content
    if not content.series:
        return
    hold_ms = np.array([one.hold_s * 1000 for one in content.series], np.int64)
    numbers, entries = content.numbers, content.confirmations
    series = np.concatenate([numbers.series, entries.series])
    from_ms = np.concatenate([numbers.time_ms, entries.changed_ms])
    to_ms = np.concatenate([numbers.time_ms, entries.confirmed_ms])
    value = np.concatenate([numbers.value, entries.value]) + 0.0  # no negative zero: equal values compare by bits
    quality = np.concatenate([numbers.quality, entries.quality])
    counts = (quality < FIRST_BAD_QUALITY) & (hold_ms[series] > 0) & ~np.isnan(value) & (to_ms >= from_ms)
    devices, device_of = _grouping([one.device for one in content.series])
    rows = np.flatnonzero(counts)
    group = device_of[series[rows]].astype(np.int64) * (1 << 32) + to_ms[rows] // DAY_MS
    for bucket, chosen in _groups(group):
        index = rows[chosen]
        yield _claim_block(
            devices[bucket >> 32],
            bucket & 0xFFFFFFFF,
            key,
            [one.point for one in content.series],
            _Columns(series[index], from_ms[index], to_ms[index], value[index], hold_ms[series[index]]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    series: Int32s
    from_ms: Int64s
    to_ms: Int64s
    value: Floats
    hold_ms: Int64s


def _claim_block(device: str, utc_day: int, key: FrameKey, names: Sequence[str], rows: _Columns) -> ClaimBlock:
    used, point = np.unique(rows.series, return_inverse=True)
    points = tuple(names[one] for one in used.tolist())
    crosses = rows.from_ms // DAY_MS < utc_day
    within = rows.from_ms[~crosses]
    return ClaimBlock(
        device=device,
        utc_day=utc_day,
        rows=ClaimRows(
            key,
            points,
            point.astype("<u2").tobytes(),
            rows.from_ms.astype("<i8").tobytes(),
            rows.to_ms.astype("<i8").tobytes(),
            rows.value.astype("<f8").tobytes(),
            rows.hold_ms.astype("<i8").tobytes(),
        ),
        from_ms=int(within.min()) if len(within) else int(rows.to_ms.max()),
        to_ms=int(rows.to_ms.max()),
        crossing=tuple(
            Claim(points[one], from_ms, to_ms, value, hold_ms)
            for one, from_ms, to_ms, value, hold_ms in zip(
                point[crosses].tolist(), rows.from_ms[crosses].tolist(), rows.to_ms[crosses].tolist(),
                rows.value[crosses].tolist(), rows.hold_ms[crosses].tolist(), strict=True,
            )
        ),
    )  # fmt: skip


def _poses(frame: Frame, key: FrameKey) -> Iterable[PoseBlock]:
    poses = frame.content.poses
    if not len(poses):
        return
    devices, device_of = _grouping([one.device for one in frame.content.series])
    times = poses.time_ms
    group = device_of[poses.series].astype(np.int64) * (1 << 32) + times // QUARTER_MS
    for bucket, index in _groups(group):
        yield PoseBlock(devices[bucket >> 32], bucket & 0xFFFFFFFF, _pose_rows(poses, times, index, key))


def _pose_rows(poses: Poses, times: Int64s, index: Int64s, key: FrameKey) -> PoseRows:
    flags: Bytes8 = np.where(poses.quality[index] < FIRST_BAD_QUALITY, poses.flags[index], 0).astype(np.uint8)
    columns = (poses.x_mm, poses.y_mm, poses.theta_mrad, poses.map)
    x_mm, y_mm, theta_mrad, maps = (column[index].astype("<i4").tobytes() for column in columns)
    return PoseRows(key, poses.maps, times[index].astype("<i8").tobytes(), x_mm, y_mm, theta_mrad, maps,
                    flags.tobytes())  # fmt: skip


def _stops(frame: Frame) -> Iterable[Stop]:
    """Bad links, and bad readings: these stop confirming their point but say nothing else."""
    for record in frame.content.records:
        if isinstance(record, Link) and not record.good:
            last = record.time_ms if record.last_ok_ms is None else min(record.last_ok_ms, record.time_ms)
            yield Stop(record.device, record.point, record.time_ms, last)
    numbers, series = frame.content.numbers, frame.content.series
    for row in np.flatnonzero(numbers.quality >= FIRST_BAD_QUALITY).tolist():
        one = series[numbers.series[row]]
        if one.hold_s:
            moment = int(numbers.time_ms[row])
            yield Stop(one.device, one.point, moment, moment)


def _nodes(frame: Frame) -> Iterable[tuple[str, int, str]]:
    texts, series = frame.content.texts, frame.content.series
    for index, time_ms, text, quality in zip(
        texts.series.tolist(), texts.time_ms.tolist(), texts.texts, texts.quality.tolist(), strict=True
    ):
        if series[index].point == NODE_POINT and text and quality < FIRST_BAD_QUALITY:
            yield series[index].device, time_ms, text


def _grouping(names: Sequence[str]) -> tuple[list[str], Int64s]:
    """Distinct names in order of appearance, and the index of each name among them."""
    index: dict[str, int] = {}
    return_index = np.array([index.setdefault(name, len(index)) for name in names], np.int64)
    return list(index), return_index


def _groups(group: Int64s) -> Iterable[tuple[int, Int64s]]:
    """Each distinct number with the rows that have it, rows in their order."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    begins = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1)).tolist()
    for begin, end in zip(begins, [*begins[1:], len(group)], strict=False):
        yield int(ordered[begin]), order[begin:end]
