"""The newest thing that the facts say of every device: where a process that has just started takes up from.

Imported readings are history and say nothing about now. Times are Unix ms UTC.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import numpy as np
import sqlalchemy as sa

from cloud.facts.claims import ClaimRows, decode_claims, decode_poses
from cloud.facts.database import claims, inventories, poses, profiles, reading, runs, stops
from devices.frame import Origin
from devices.reading import Pose, PoseFlag
from devices.records import Inventory, ProfileText

DAYS_BACK = 1  # keyframes come every hour, so the newest day and the one before it hold every point
_decode_inventory = msgspec.msgpack.Decoder(Inventory).decode


@dataclass(frozen=True, slots=True)
class NewestValue:
    """A point has had `value` since `from_ms`, last confirmed by a claim at `to_ms`."""

    value: float
    from_ms: int
    to_ms: int


@dataclass(slots=True)
class NewestDevice:
    """`stopped` are the points that ceased to answer after their last value; "" is the whole device."""

    gateway: str
    values: dict[str, NewestValue] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
    pose: Pose | None = None


@dataclass(frozen=True, slots=True)
class Newest:
    """A site as the facts know it. `spans` are the ends of the newest live events frames, by gateway."""

    profiles: tuple[ProfileText, ...]
    inventories: tuple[tuple[str, Inventory], ...]
    spans: dict[str, int]
    devices: dict[str, NewestDevice]


def newest(engine: sa.Engine, site: str) -> Newest:
    """Read the newest of a site. Blocks; in proportion to the claims of a day."""
    with reading(engine) as connection:
        texts = connection.execute(sa.select(profiles.c.hash, profiles.c.text).where(profiles.c.site == site))
        known = tuple(ProfileText(row.hash, row.text) for row in texts)
        lists = connection.execute(
            sa.select(inventories.c.gateway, inventories.c.body)
            .where(inventories.c.site == site)
            .order_by(inventories.c.time_ms)
        )
        said = {row.gateway: _decode_inventory(row.body) for row in lists}
        live = (runs.c.site == site) & (runs.c.origin != Origin.IMPORT.value)
        ends = connection.execute(sa.select(runs.c.gateway, sa.func.max(runs.c.to_ms)).where(live).group_by("gateway"))
        spans = {gateway: int(end_ms) for gateway, end_ms in ends}
        devices = _values(connection, site)
        _stop(connection, site, devices)
        _place(connection, site, devices)
    return Newest(known, tuple(said.items()), spans, devices)


def _values(connection: sa.Connection, site: str) -> dict[str, NewestDevice]:
    days = (
        sa.select(claims.c.device, sa.func.max(claims.c.utc_day).label("day"))
        .where(claims.c.site == site)
        .group_by(claims.c.device)
        .subquery()
    )
    recent = (claims.c.site == site) & (claims.c.device == days.c.device) & (claims.c.utc_day >= days.c.day - DAYS_BACK)
    found: dict[str, NewestDevice] = {}
    for row in connection.execute(sa.select(claims.c.device, claims.c.gateway, claims.c.body).where(recent)):
        block = decode_claims(row.body)
        if block.key.live:
            device = found.setdefault(row.device, NewestDevice(row.gateway))
            for point, value in _claimed(block):
                known = device.values.get(point)
                if known is None or (known.to_ms, known.from_ms) < (value.to_ms, value.from_ms):
                    device.values[point] = value
    return found


def _claimed(block: ClaimRows) -> Iterable[tuple[str, NewestValue]]:
    columns = (
        np.frombuffer(block.point, "<u2").tolist(),
        np.frombuffer(block.value, "<f8").tolist(),
        np.frombuffer(block.from_ms, "<i8").tolist(),
        np.frombuffer(block.to_ms, "<i8").tolist(),
    )
    for point, value, from_ms, to_ms in zip(*columns, strict=True):
        yield block.points[int(point)], NewestValue(float(value), int(from_ms), int(to_ms))


def _stop(connection: sa.Connection, site: str, devices: dict[str, NewestDevice]) -> None:
    last = (
        sa.select(stops.c.device, stops.c.point, sa.func.max(stops.c.time_ms).label("time_ms"))
        .where(stops.c.site == site)
        .group_by(stops.c.device, stops.c.point)
    )
    for row in connection.execute(last):
        device = devices.get(row.device)
        if device is None:
            continue
        heard = [value.to_ms for point, value in device.values.items() if row.point in {"", point}]
        if row.time_ms > max(heard, default=0):
            device.stopped.add(row.point)


def _place(connection: sa.Connection, site: str, devices: dict[str, NewestDevice]) -> None:
    last = (
        sa.select(poses.c.device, sa.func.max(poses.c.utc_quarter).label("quarter"))
        .where(poses.c.site == site)
        .group_by(poses.c.device)
        .subquery()
    )
    where = (poses.c.site == site) & (poses.c.device == last.c.device) & (poses.c.utc_quarter == last.c.quarter)
    for row in connection.execute(sa.select(poses.c.device, poses.c.gateway, poses.c.body).where(where)):
        block = decode_poses(row.body)
        times = np.frombuffer(block.time_ms, "<i8")
        if not block.key.live or not len(times):
            continue
        index = int(times.argmax())
        device = devices.setdefault(row.device, NewestDevice(row.gateway))
        if device.pose is None or device.pose.time_ms < int(times[index]):
            device.pose = Pose(
                row.device,
                int(times[index]),
                int(np.frombuffer(block.x_mm, "<i4")[index]),
                int(np.frombuffer(block.y_mm, "<i4")[index]),
                int(np.frombuffer(block.theta_mrad, "<i4")[index]),
                block.maps[int(np.frombuffer(block.map, "<i4")[index])],
                PoseFlag(int(np.frombuffer(block.flags, "u1")[index])),
            )
