"""When a robot was at a place: stays as spans of whole milliseconds, both ends included. Pure, exact in int64.

On a leg a robot goes evenly from one pose to the next; it is at a point at every millisecond at which its place on the
leg lies within the radius. It is in a zone between two poses that a leg joins when both lie in the zone. A valid pose
without a leg is a stay of length 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cloud.facts.coverage import LEG_MS_MAX, Drive
from cloud.facts.coverage_zones import Raster
from cloud.facts.ledger import Ledger
from devices.reading import Int64s, PoseFlag

ZONE, POINT = "zone/", "point/"  # what the name of a place begins with; the rest is its id
Stay = tuple[int, int]  # first and last millisecond


@dataclass(frozen=True, slots=True)
class Disc:
    """A place that is a point and a radius."""

    name: str
    map_id: str
    x_mm: int
    y_mm: int
    radius_mm: int


def discs_of(ledger: Ledger) -> tuple[Disc, ...]:
    """The checkpoints that have a position."""
    maps = {floor.id: floor.map for floor in ledger.floors}
    zone_map = {zone.id: maps[zone.floor] for zone in ledger.zones}
    return tuple(
        Disc(
            POINT + one.id,
            zone_map[one.zone],
            round(one.position[0] * 1000),
            round(one.position[1] * 1000),
            round(one.radius_m * 1000),
        )
        for one in ledger.checkpoints
        if one.position is not None
    )


def stays_of(
    drive: Drive, rasters: "dict[str, Raster]", discs: Sequence[Disc], from_ms: int, to_ms: int
) -> dict[str, list[Stay]]:
    """Stays at each place, ascending and apart: of poses in [from_ms, to_ms) and of the drive's legs."""
    poses = drive.poses
    single = np.flatnonzero(drive.valid & (poses.time_ms >= from_ms) & (poses.time_ms < to_ms))
    found: dict[str, list[Stay]] = {}
    for index, name in enumerate(poses.maps):
        alone, legs = single[poses.map[single] == index], drive.legs_on(index)
        if name not in rasters or not len(alone):
            continue
        found |= _in_zones(drive, rasters[name], alone, legs)
        for disc in discs:
            if disc.map_id == name and (stays := _at_disc(drive, disc, alone, legs)):
                found[disc.name] = stays
    return found


def _in_zones(drive: Drive, raster: Raster, alone: Int64s, legs: Int64s) -> dict[str, list[Stay]]:
    poses = drive.poses
    everywhere = np.union1d(np.union1d(alone, legs), legs + 1)
    bits = np.zeros(len(poses.time_ms), np.int64)
    bits[everywhere] = raster.zones_at(poses.x_mm[everywhere], poses.y_mm[everywhere])
    found = {}
    for index, zone in enumerate(raster.zone_ids):
        inside = bits >> index & 1 == 1
        through = legs[inside[legs] & inside[legs + 1]]
        still = poses.time_ms[alone[inside[alone]]]
        starts = np.concatenate([still, poses.time_ms[through]])
        ends = np.concatenate([still, poses.time_ms[through + 1]])
        if len(starts):
            found[ZONE + zone] = merged_stays(zip(starts.tolist(), ends.tolist(), strict=True))
    return found


def _at_disc(drive: Drive, disc: Disc, alone: Int64s, legs: Int64s) -> list[Stay]:
    poses, radius = drive.poses, disc.radius_mm
    x_mm, y_mm = poses.x_mm - disc.x_mm, poses.y_mm - disc.y_mm
    near = (np.abs(x_mm[alone]) <= radius) & (np.abs(y_mm[alone]) <= radius)
    alone = alone[near]
    still = poses.time_ms[alone[x_mm[alone] ** 2 + y_mm[alone] ** 2 <= radius**2]]
    stays = [(time_ms, time_ms) for time_ms in still.tolist()]
    # Legs whose box does not touch the disc's are left out, so that products stay within int64.
    for axis in (x_mm, y_mm):
        low, high = np.minimum(axis[legs], axis[legs + 1]), np.maximum(axis[legs], axis[legs + 1])
        legs = legs[(low <= radius) & (high >= -radius)]
    if len(legs):
        after = legs + 1
        took = poses.time_ms[after] - poses.time_ms[legs]
        steps = x_mm[after] - x_mm[legs], y_mm[after] - y_mm[legs]
        first, last = _within((x_mm[legs], y_mm[legs]), steps, took, radius)
        some, begin = first <= last, poses.time_ms[legs]
        stays += zip((begin + first)[some].tolist(), (begin + last)[some].tolist(), strict=True)
    return merged_stays(stays)


def _within(
    begin: tuple[Int64s, Int64s], steps: tuple[Int64s, Int64s], took: Int64s, radius: int
) -> tuple[Int64s, Int64s]:  # fmt: skip
    """First and last whole millisecond of each leg within the radius of (0, 0); first > last for none.

    At s of `took` milliseconds the square of the distance less that of the radius, times took^2, is the parabola
    a s^2 + 2 b s + c. With legs of 120 m in 5 s at most all of it stays below 2^62.
    """
    (x, y), (step_x, step_y) = begin, steps
    a = step_x**2 + step_y**2
    b = took * (x * step_x + y * step_y)
    c = took**2 * (x**2 + y**2 - radius**2)

    def beyond(s: Int64s) -> Int64s:
        return (a * s + 2 * b) * s + c

    lowest = np.clip(-b // np.maximum(a, 1), 0, took)
    following = np.minimum(lowest + 1, took)
    lowest = np.where(beyond(following) < beyond(lowest), following, lowest)
    inside = beyond(lowest) <= 0
    first_out, first_in = np.full(len(a), -1), lowest.copy()
    last_in, last_out = lowest.copy(), took + 1
    for _ in range(14):  # halves 5,001 moments down to one
        middle = (first_out + first_in) // 2
        within = (beyond(np.maximum(middle, 0)) <= 0) & (middle >= 0)
        first_in, first_out = np.where(within, middle, first_in), np.where(within, first_out, middle)
        middle = (last_in + last_out) // 2
        within = (beyond(np.minimum(middle, took)) <= 0) & (middle <= took)
        last_in, last_out = np.where(within, middle, last_in), np.where(within, last_out, middle)
    return np.where(inside, first_in, 1), np.where(inside, last_in, 0)


def merged_stays(stays: Iterable[Stay]) -> list[Stay]:
    """The union of stays, ascending; those that share a millisecond are one."""
    found: list[Stay] = []
    for begin, end in sorted(stays):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


def pack_stays(stays: Sequence[Stay]) -> bytes:
    """As stored."""
    return np.array(stays, "<i8").tobytes()


def unpack_stays(packed: bytes) -> list[Stay]:
    """The reverse of `pack_stays`."""
    return [(begin, end) for begin, end in np.frombuffer(packed, "<i8").reshape(-1, 2).tolist()]


def node_stays(
    drive: Drive, named: Sequence[tuple[int, str]], places: Mapping[str, Sequence[str]], from_ms: int
) -> dict[str, list[Stay]]:
    """Moments from `from_ms` on at which a robot named a node that is a place, having named another one before.

    `named` is ascending. A moment does not count when the robot's last pose of the 5 s before was not driven by itself.
    """
    times = drive.poses.time_ms
    found: dict[str, list[Stay]] = {}
    before = ""
    for time_ms, node in named:
        is_new, before = node != before, node
        last = int(np.searchsorted(times, time_ms, "right")) - 1
        if last >= 0 and time_ms - int(times[last]) <= LEG_MS_MAX and not _drives_itself(int(drive.poses.flags[last])):
            continue
        if is_new and time_ms >= from_ms:
            for place in places.get(node, ()):
                found.setdefault(place, []).append((time_ms, time_ms))
    return found


def _drives_itself(flags: int) -> bool:
    return bool(flags & PoseFlag.AUTOMATIC) and not flags & PoseFlag.CHARGING
