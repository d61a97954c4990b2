"""Poses to covered cells and stays: poses per second of one core, and the memory of a zone-day.

A floor of 20,000 m2 in cells of 0.5 m, robots at 1 m/s with a pose a second and a radius of 3 m; quarter by quarter as
the store does it, with 20 checkpoints.
"""

import tracemalloc
import zlib

import numpy as np

from benchmarks.figures import Figure, cpu_seconds
from cloud.facts.claims import QUARTER_MS
from cloud.facts.coverage import PoseSet, Sight, cells_of, drive_of, packed
from cloud.facts.coverage_zones import rasters_of
from cloud.facts.ledger import Ledger, parse_ledger
from cloud.facts.visits import discs_of, stays_of

QUARTERS = 56  # 50,400 poses
SIGHT = Sight(3000, 1500)


def measure() -> list[Figure]:
    """Rates of the sweep alone and with stays, and what a zone-day takes in memory and in the store."""
    ledger = _ledger()
    rasters, discs = rasters_of(ledger), discs_of(ledger)
    poses = _poses()
    count = len(poses.time_ms)

    def sweep(*, stays: bool) -> int:
        stored = 0
        for quarter in range(QUARTERS):
            from_ms, to_ms = quarter * QUARTER_MS, (quarter + 1) * QUARTER_MS
            drive = drive_of(_part(poses, from_ms - 5_000, to_ms), from_ms, to_ms, rasters, SIGHT)
            for mask in cells_of(drive, rasters, SIGHT).values():
                stored += len(zlib.compress(packed(mask), 1))
            if stays:
                stays_of(drive, rasters, discs, from_ms, to_ms)
        return stored

    alone = [count / taken for taken in cpu_seconds(lambda: sweep(stays=False))]
    both = [count / taken for taken in cpu_seconds(lambda: sweep(stays=True))]
    tracemalloc.start()
    stored = sweep(stays=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    cells = rasters["B1"].zones.size
    return [
        Figure("cells of 20,000 m2 at 0.5 m, poses per CPU second", alone, "poses/s", ">= 50,000"),
        Figure("with stays at 20 checkpoints", both, "poses/s", ">= 50,000"),
        Figure("memory of a zone-day: mask and passes", [cells * (1 + 8) / 1024], "KiB"),
        Figure("memory at its peak while sweeping", [peak / 1024], "KiB"),
        Figure("stored of a robot's quarter hour of driving", [stored / QUARTERS], "bytes"),
    ]


def _ledger() -> Ledger:
    name = "name: {en: N, zh-CN: N}"
    points = "\n".join(
        f"  - {{id: c{n}, {name}, zone: z, position: [{10 + 9 * n}, {20 + 7 * (n % 9)}]}}" for n in range(20)
    )
    return parse_ledger(
        f"""
site: {{id: s, {name}, zone: UTC}}
floors: [{{id: b1, {name}, map: B1, width_m: 200.0, height_m: 100.0}}]
zones:
  - {{id: z, {name}, floor: b1, geometry: {{type: Polygon,
     coordinates: [[[0, 0], [200, 0], [200, 100], [0, 100], [0, 0]]]}}}}
checkpoints:
{points}
""",
        "ledger",
    )


def _poses() -> PoseSet:
    """Up and down the floor in lanes of 5 m, with the tremble of a localisation."""
    rng = np.random.default_rng(1)
    metres = np.arange(QUARTERS * 900, dtype=np.float64)
    lane, along = np.divmod(metres, 190.0)
    x = 5 + np.where(lane % 2 == 0, along, 190 - along) + rng.normal(0, 0.03, len(metres))
    y = 5 + lane % 18 * 5 + rng.normal(0, 0.03, len(metres))
    x_mm, y_mm = (np.rint(column * 1000).astype(np.int64) for column in (x, y))
    zeros = np.zeros(len(metres), np.int64)
    return PoseSet((metres * 1000).astype(np.int64), x_mm, y_mm, zeros, np.full(len(metres), 3, np.uint8), ("B1",))


def _part(poses: PoseSet, from_ms: int, to_ms: int) -> PoseSet:
    cut = slice(*np.searchsorted(poses.time_ms, [from_ms, to_ms]).tolist())
    columns = (getattr(poses, name)[cut] for name in ("time_ms", "x_mm", "y_mm", "map", "flags"))
    return PoseSet(*columns, poses.maps)
