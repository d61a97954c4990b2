"""What it costs to accept readings durably, and to come back after a crash.

A day of a site with 2,000 readings a second is 172.8 million readings; `GATEHOUSE_BENCH_FULL=1` makes all of it
(about 1 GB of disk), otherwise a tenth.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.figures import Figure, cpu_seconds
from benchmarks.frames import content, sealed
from devices.disk import Disk
from devices.frame import Header, Origin, SealedFrame, encode_body, key_id, seal_frame
from devices.reading import Lane
from devices.segments import Record, Segments, scan
from edge.clock import Clock
from edge.enrol import load_key
from edge.journal import Journal
from edge.lane_journal import LaneJournal
from edge.series import SeriesTable

FRAMES = 3_000  # several segments, so that preallocation does not show as waste
READINGS = 1_000
DAY_FRAMES = 86_400
DAY_READINGS = 2_000  # in each
GROUP_FRAMES = 64  # written with one fsync while a journal is made for the benchmark
_SECTOR = 512
_START_MS = 1_780_000_000_000


class CountingDisk(Disk):
    """The file system of this machine, counted."""

    def __init__(self) -> None:
        self.syncs = 0

    def sync_data(self, file: int) -> None:
        self.syncs += 1
        super().sync_data(file)

    def sync(self, file: int) -> None:
        self.syncs += 1
        super().sync(file)

    def sync_folder(self, folder: Path) -> None:
        self.syncs += 1
        super().sync_folder(folder)


def measure() -> list[Figure]:
    """Appends of 1,000-reading frames with one sync each; device bytes from /proc/diskstats; start after a day."""
    return [*_appends(), *_small_frames(), *_start()]


def _appends() -> list[Figure]:
    frame = sealed(content(READINGS, READINGS))
    waits: list[float] = []
    disk = CountingDisk()
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as name:
        folder = Path(name) / "journal"
        journal = LaneJournal.open(folder, "gw-1", Lane.TELEMETRY, disk=disk)
        disk.syncs, own, device = 0, _own_bytes(), _device_bytes(Path(name))
        for seq in range(1, FRAMES + 1):
            start = time.perf_counter()
            journal.append(_renamed(frame, journal.epoch, seq))
            waits.append((time.perf_counter() - start) * 1000)
        own, device = _own_bytes() - own, _device_bytes(Path(name)) - device
        on_disk, syncs = journal.bytes_on_disk, disk.syncs
        journal.close()
    waits.sort()
    total = FRAMES * READINGS
    figures = [
        Figure("append and fsync of 1,000 readings, p50", [waits[len(waits) // 2]], "ms"),
        Figure("append and fsync of 1,000 readings, p99", [waits[len(waits) * 99 // 100]], "ms"),
        Figure("fsyncs", [syncs / FRAMES], "per frame", "1"),
        Figure("journal size", [on_disk / total], "B/reading"),
    ]
    if own:
        figures.append(Figure("written by this process (/proc/self/io)", [own / total], "B/reading", "<= 10"))
    if device:
        figures.append(Figure("written to the whole device (/proc/diskstats)", [device / total], "B/reading", "<= 10"))
    return figures


def _small_frames() -> list[Figure]:
    """Frames of 30 readings: what an events lane that is never idle writes."""
    frame = sealed(content(30, 30))
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as name:
        segments = Segments.open(Path(name) / "journal")
        own = _own_bytes()
        for _ in range(FRAMES):
            segments.append(frame.data)
            segments.sync()
        own = _own_bytes() - own
        size = segments.end.offset + (segments.end.segment - 1) * segments.segment_bytes
        segments.close()
    figures = [Figure("30 readings a frame: journal size", [size / FRAMES], "B/frame")]
    return [*figures, Figure("30 readings a frame: written", [own / FRAMES], "B/frame")] if own else figures


def _renamed(frame: SealedFrame, epoch: bytes, seq: int) -> SealedFrame:
    """The journal looks at the header it is handed; the bytes cost the same whatever they name."""
    return SealedFrame(msgspec.structs.replace(frame.header, epoch=epoch, seq=seq), frame.data, frame.hash)


def _start() -> list[Figure]:
    """From the start of the agent's process to its first frame on disk, with a day in the journal, cold."""
    full = bool(os.environ.get("GATEHOUSE_BENCH_FULL"))
    frames = DAY_FRAMES if full else DAY_FRAMES // 10
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as name:
        empty, day = Path(name) / "empty", Path(name) / "day"
        for folder in (empty, day):
            folder.mkdir()
            _command(folder, "edge", "key", "gw.key")
            (folder / "site.yaml").write_text(
                "site: s\ngateway: gw-1\nkey_file: gw.key\ndata_dir: data\nconnections: []\n", encoding="utf-8"
            )
        size = _make_day(day, frames)
        runs = [(_first_frame_s(empty), _first_frame_s(day)) for _ in range(3)]
        opened = cpu_seconds(lambda: _open(day), 3)
    what = f"{frames * DAY_READINGS / 1e6:,.1f} M readings, {size / 1e6:,.0f} MB"
    goal = "<= 3" if full else "<= 3 (full form)"
    return [
        Figure("process start to first live frame, empty journal", [one for one, _ in runs], "s"),
        Figure(f"the same, {what}, cold", [one for _, one in runs], "s", goal),
        Figure("of it opening the journal, CPU", opened, "s"),
    ]


def _open(folder: Path) -> None:
    path = folder / "data" / "journal"
    Journal.open(path, "gw-1", load_key(folder / "gw.key"), Clock(), SeriesTable()).close()


def _make_day(folder: Path, frames: int) -> int:
    key = load_key(folder / "gw.key")
    journal = LaneJournal.open(folder / "data" / "journal" / Lane.TELEMETRY, "gw-1", Lane.TELEMETRY)
    body = encode_body(content(DAY_READINGS, DAY_READINGS))
    seq = 1
    while seq <= frames:
        group = [_day_frame(key, journal.epoch, one, body) for one in range(seq, min(seq + GROUP_FRAMES, frames + 1))]
        journal.take_in(group)
        seq += len(group)
    size = journal.bytes_on_disk
    journal.close()
    return size


def _day_frame(key: Ed25519PrivateKey, epoch: bytes, seq: int, body: bytes) -> SealedFrame:
    at_ms = _START_MS + 1000 * seq
    header = Header(
        "gw-1", Lane.TELEMETRY, epoch, seq, key_id(key.public_key()), b"clockrun", 1000 * seq, at_ms - 1000, at_ms,
        True, 0, False, Origin.LIVE, b"", None, DAY_READINGS, len(body),
    )  # fmt: skip
    return seal_frame(header, body, key)


def _first_frame_s(folder: Path) -> float:
    events = folder / "data" / "journal" / Lane.EVENTS
    _forget_pages(folder)
    before = sum(isinstance(one, Record) for one in scan(events)) if events.exists() else 0
    start = time.perf_counter()
    command = [sys.executable, "-m", "gatehouse", "edge", "run", str(folder / "site.yaml")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not events.exists() or sum(isinstance(one, Record) for one in scan(events)) <= before:
                if process.poll() is not None:
                    raise AssertionError("the agent ended")
                time.sleep(0.01)
            return time.perf_counter() - start
        finally:
            process.terminate()


def _forget_pages(folder: Path) -> None:
    """Let the system read the files from the disk again."""
    for path in folder.rglob("*.seg"):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def _command(folder: Path, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "gatehouse", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip


def _own_bytes() -> int:
    """Bytes that this process caused to be written to the storage layer; 0 where the kernel does not tell."""
    try:
        found = re.search(r"^write_bytes: (\d+)", Path("/proc/self/io").read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


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
