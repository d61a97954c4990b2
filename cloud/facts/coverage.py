"""Poses -> the cells that a robot has seen. Pure, vectorised, exact in int64 millimetres on every machine.

A leg joins two poses that follow each other in time; it counts when both are valid, on one map, at most 5 s apart
and no faster than 1.2 times the robot's top speed (domain.md 3.4). It belongs to the quarter hour of its later pose.
A cell is covered when its centre lies within the radius of the leg and in a zone that is seen from one of its ends.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloud.facts.claims import PoseRows
from cloud.facts.coverage_zones import Mask, Raster
from devices.reading import Bytes8, Int64s, PoseFlag

LEG_MS_MAX = 5_000
LEG_MM_MAX = 500_000  # keeps squares within int64; far beyond what any allowed speed covers in 5 s
_VALID_MASK = int(PoseFlag.LOCALIZED | PoseFlag.AUTOMATIC | PoseFlag.CHARGING)
_VALID = int(PoseFlag.LOCALIZED | PoseFlag.AUTOMATIC)

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Sight:
    """How far a robot sees and how fast it can be."""

    radius_mm: int
    speed_max_mm_s: int


@dataclass(frozen=True, slots=True, eq=False)
class PoseSet:
    """Poses of one robot, one per moment, ascending. `map` indexes `maps`."""

    time_ms: Int64s
    x_mm: Int64s
    y_mm: Int64s
    map: Int64s
    flags: Bytes8
    maps: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Legs:
    """Ends of legs in mm, and the bits of the zones that are seen from them."""

    from_x: Int64s
    from_y: Int64s
    to_x: Int64s
    to_y: Int64s


def pose_set(blocks: Iterable[PoseRows]) -> PoseSet:
    """The set of poses of any blocks of one robot, whatever their order: at one moment the greatest key counts."""
    ordered = sorted(set(blocks), key=lambda block: (block.key, block.time_ms))
    maps = tuple(sorted({name for block in ordered for name in block.maps}))
    code = {name: index for index, name in enumerate(maps)}
    columns = [
        np.concatenate([np.frombuffer(getattr(block, name), kind).astype(np.int64) for block in ordered] or [_none()])
        for name, kind in (("time_ms", "<i8"), ("x_mm", "<i4"), ("y_mm", "<i4"), ("flags", "u1"))
    ]
    map_of = [np.array([code[name] for name in block.maps], np.int64)[np.frombuffer(block.map, "<i4")]
              for block in ordered]  # fmt: skip
    time_ms, x_mm, y_mm, flags = columns
    order = np.argsort(time_ms, kind="stable")
    last = np.append(np.diff(time_ms[order]) != 0, np.ones(min(len(order), 1), np.bool_))
    order = order[last]
    which = np.concatenate(map_of or [_none()])
    return PoseSet(time_ms[order], x_mm[order], y_mm[order], which[order], flags[order].astype(np.uint8), maps)


@dataclass(frozen=True, slots=True, eq=False)
class Drive:
    """Poses of one robot and what may be made of them: `legs[k]` joins pose `legs[k]` and the one after it."""

    poses: PoseSet
    valid: Bools
    legs: Int64s

    def legs_on(self, map_index: int) -> Int64s:
        """The legs on one of the maps."""
        chosen: Int64s = self.legs[self.poses.map[self.legs] == map_index]
        return chosen


def drive_of(poses: PoseSet, from_ms: int, to_ms: int, known: Iterable[str], sight: Sight) -> Drive:
    """Which poses count, and the legs whose later pose lies in [from_ms, to_ms). `known` are the maps that count.

    `poses` should reach back to the last pose of the 5 s before `from_ms`.
    """
    names = frozenset(known)
    on_plan = np.array([name in names for name in poses.maps], np.bool_)
    on_plan = on_plan[poses.map] if len(poses.maps) else np.zeros(0, np.bool_)
    valid = (poses.flags & _VALID_MASK == _VALID) & on_plan
    step_ms = np.diff(poses.time_ms)
    step_x, step_y = np.diff(poses.x_mm), np.diff(poses.y_mm)
    joined = valid[1:] & valid[:-1] & (poses.map[1:] == poses.map[:-1]) & (step_ms <= LEG_MS_MAX)
    joined &= (poses.time_ms[1:] >= from_ms) & (poses.time_ms[1:] < to_ms)
    joined &= (np.abs(step_x) <= LEG_MM_MAX) & (np.abs(step_y) <= LEG_MM_MAX)
    legs = np.flatnonzero(joined)
    # distance <= 1.2 v t  <=>  distance^2 * 2500^2 <= (3 v t)^2, with v in mm/s and t in ms
    squares = (step_x[legs] ** 2 + step_y[legs] ** 2) * 6_250_000
    legs = legs[squares <= (3 * sight.speed_max_mm_s * step_ms[legs]) ** 2]
    return Drive(poses, valid, legs)


def covered_cells(
    poses: PoseSet, from_ms: int, to_ms: int, rasters: Mapping[str, Raster], sight: Sight
) -> dict[str, Mask]:
    """Cells seen on the legs whose later pose lies in [from_ms, to_ms), by map; maps without any are left out."""
    return cells_of(drive_of(poses, from_ms, to_ms, rasters, sight), rasters, sight)


def cells_of(drive: Drive, rasters: Mapping[str, Raster], sight: Sight) -> dict[str, Mask]:
    """Cells seen on the legs of a drive, by map; maps without any are left out."""
    poses = drive.poses
    found = {}
    for index, name in enumerate(poses.maps):
        mine = drive.legs_on(index)
        if len(mine):
            ends = _Legs(poses.x_mm[mine], poses.y_mm[mine], poses.x_mm[mine + 1], poses.y_mm[mine + 1])
            found[name] = _sweep(ends, rasters[name], sight.radius_mm)
    return found


def _sweep(legs: _Legs, raster: Raster, radius_mm: int) -> Mask:
    """Union of the legs' surroundings, each clipped to the zones that are seen from its ends."""
    covered = np.zeros(raster.zones.shape, np.bool_)
    zones = raster.zones_at(legs.from_x, legs.from_y) | raster.zones_at(legs.to_x, legs.to_y)
    for bits in np.unique(zones).tolist():
        seen = raster.seen_from(bits)
        if seen:
            mine = np.flatnonzero(zones == bits)
            part = _Legs(legs.from_x[mine], legs.from_y[mine], legs.to_x[mine], legs.to_y[mine])
            covered |= _within(part, raster, radius_mm) & (raster.zones & seen != 0)
    return covered


def _within(legs: _Legs, raster: Raster, radius_mm: int) -> Mask:
    """Cells whose centre lies within the radius of any leg.

    Row by row: what a leg covers of a row of centres is one interval, since a leg's surroundings are convex. The
    intervals' begins and ends are counted and summed along the row.
    """
    cell, half = raster.cell_mm, raster.cell_mm // 2
    low = np.maximum(-((half + radius_mm - np.minimum(legs.from_y, legs.to_y)) // cell), 0)
    high = np.minimum((np.maximum(legs.from_y, legs.to_y) + radius_mm - half) // cell, raster.rows - 1)
    count = np.maximum(high - low + 1, 0)
    leg = np.repeat(np.arange(len(count)), count)
    row = low[leg] + np.arange(len(leg)) - np.repeat(np.cumsum(count) - count, count)
    begin_x, end_x = _interval(legs, leg, row * cell + half, radius_mm)
    begin = np.maximum(-((half - begin_x) // cell), 0)
    end = np.minimum((end_x - half) // cell, raster.columns - 1) + 1
    some = begin < end
    width = raster.columns + 1
    size = raster.rows * width
    base = row[some] * width
    steps = np.bincount(base + begin[some], minlength=size) - np.bincount(base + end[some], minlength=size)
    inside = np.cumsum(steps.reshape(raster.rows, width), axis=1) > 0
    return np.asarray(inside[:, :-1], np.bool_)


def _interval(legs: _Legs, leg: Int64s, centre_y: Int64s, radius_mm: int) -> tuple[Int64s, Int64s]:
    """First and last whole x (mm) within the radius of a leg at the height `centre_y`; first > last for none."""
    from_x, to_x = legs.from_x[leg], legs.to_x[leg]
    below = centre_y - legs.from_y[leg]
    first, last = _disc(from_x, below, radius_mm)
    for begin, end in (
        _disc(to_x, centre_y - legs.to_y[leg], radius_mm),
        _band(legs, leg, below, radius_mm),
    ):
        some = begin <= end
        first, last = np.where(some, np.minimum(first, begin), first), np.where(some, np.maximum(last, end), last)
    return first, last


def _disc(x: Int64s, below: Int64s, radius_mm: int) -> tuple[Int64s, Int64s]:
    square = radius_mm * radius_mm - below * below
    half = np.sqrt(np.maximum(square, 0)).astype(np.int64)  # exact below 2**52
    none = square < 0
    return np.where(none, _FAR, x - half), np.where(none, -_FAR, x + half)


_FAR = 2**60


def _band(legs: _Legs, leg: Int64s, below: Int64s, radius_mm: int) -> tuple[Int64s, Int64s]:
    """Between the leg's ends and not farther from its line than the radius: two pairs of linear bounds on x."""
    along_x, along_y = legs.to_x - legs.from_x, legs.to_y - legs.from_y
    square = along_x * along_x + along_y * along_y
    reach = _root(square * (radius_mm * radius_mm))
    along_x, along_y, square, reach = along_x[leg], along_y[leg], square[leg], reach[leg]
    lift = below * along_y
    first_a, last_a = _bounds(along_x, -lift, square - lift)
    side = below * along_x
    first_b, last_b = _bounds(along_y, side - reach, side + reach)
    first, last = np.maximum(first_a, first_b), np.minimum(last_a, last_b)
    none = (square == 0) | (first > last)
    from_x = legs.from_x[leg]
    return np.where(none, _FAR, from_x + first), np.where(none, -_FAR, from_x + last)


def _bounds(factor: Int64s, low: Int64s, high: Int64s) -> tuple[Int64s, Int64s]:
    """Whole x with low <= factor x <= high: first and last."""
    down = factor < 0
    factor, low, high = np.abs(factor), np.where(down, -high, low), np.where(down, -low, high)
    divisor = np.maximum(factor, 1)
    anywhere = (factor == 0) & (low <= 0) & (high >= 0)
    nowhere = (factor == 0) & ~anywhere
    first = np.where(anywhere, -_FAR // 2, np.where(nowhere, _FAR // 2, -(-low // divisor)))
    last = np.where(anywhere, _FAR // 2, np.where(nowhere, -_FAR // 2, high // divisor))
    return first, last


def _root(square: Int64s) -> Int64s:
    """Floor of the square root, exact for int64."""
    root = np.sqrt(square.astype(np.float64)).astype(np.int64)
    root = np.where(root * root > square, root - 1, root)
    return np.where((root + 1) * (root + 1) <= square, root + 1, root)


def _none() -> Int64s:
    return np.empty(0, np.int64)


def packed(mask: Mask) -> bytes:
    """A mask as bits."""
    return np.packbits(mask).tobytes()


def unpacked(bits: bytes, raster: Raster) -> Mask:
    """The reverse of `packed`."""
    size = raster.rows * raster.columns
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=size).astype(np.bool_).reshape(raster.zones.shape)


def union(parts: Sequence[bytes]) -> bytes:
    """Bits that are set in any of several packed masks of one raster."""
    total = np.frombuffer(parts[0], np.uint8).copy()
    for part in parts[1:]:
        total |= np.frombuffer(part, np.uint8)
    return total.tobytes()
