"""What it costs to accept readings durably, and to come back after a crash."""

import re
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.frames import content, sealed
from devices.segments import Record, Segments, scan

FRAMES = 3_000  # several segments, so that preallocation does not show as waste
READINGS = 1_000
RECOVERED_FRAMES = 5_000
_SECTOR = 512


def measure() -> list[Figure]:
    """Appends of 1,000-reading frames with one sync each; device bytes from /proc/diskstats; scan of a journal."""
    frame = sealed(content(READINGS, READINGS)).data
    waits: list[float] = []
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as folder:
        segments = Segments.open(Path(folder) / "journal")
        written = _device_bytes(Path(folder))
        for _ in range(FRAMES):
            start = time.perf_counter()
            segments.append(frame)
            segments.sync()
            waits.append((time.perf_counter() - start) * 1000)
        grown = _device_bytes(Path(folder)) - written
        on_disk = sum(segments.sizes().values())
        segments.close()
        waits.sort()
        figures = [
            Figure("append and fsync of 1,000 readings, p50", [waits[len(waits) // 2]], "ms"),
            Figure("append and fsync of 1,000 readings, p99", [waits[len(waits) * 99 // 100]], "ms"),
            Figure("journal size", [on_disk / FRAMES / READINGS], "B/reading"),
        ]
        if grown:
            figures.append(
                Figure("written to the device", [grown / FRAMES / READINGS], "B/reading (whole device)", "<= 10")
            )
    return [*figures, *_recovery(frame)]


def _recovery(frame: bytes) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as name:
        folder = Path(name) / "journal"
        segments = Segments.open(folder)
        for _ in range(RECOVERED_FRAMES):
            segments.append(frame)
        segments.close()
        start = time.perf_counter()
        found = sum(isinstance(one, Record) for one in scan(folder))
        seconds = time.perf_counter() - start
    if found != RECOVERED_FRAMES:
        raise AssertionError(f"{found} of {RECOVERED_FRAMES} frames found")
    rate = RECOVERED_FRAMES * READINGS / seconds / 1e6
    return [Figure("scan of a journal at start", [rate], "M readings/s")]


def _device_bytes(folder: Path) -> int:
    """Bytes written so far to the device of a folder; 0 where the kernel does not tell."""
    number = folder.stat().st_dev
    major, minor = number >> 8 & 0xFFF, number & 0xFF
    try:
        lines = Path("/proc/diskstats").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    for line in lines:
        fields = re.split(r"\s+", line.strip())
        if fields[:2] == [str(major), str(minor)]:
            return int(fields[9]) * _SECTOR
    return 0
