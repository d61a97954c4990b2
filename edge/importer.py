"""`gatehouse edge import`: readings of the past through a journal of their own and the uplink.

The folder has its own lock and epoch, the key is the gateway's, the frames say `import`. They are sealed by
size, their spans come from the file. When the cloud has confirmed everything the folder goes.

Each frame says by itself how far its lane has come: its clock run names the file, its monotonic time is the
number of bytes of the file that it and those before it cover. So an import that was cut off at any moment goes
on behind its last fsynced frame, lane by lane, and nothing is sealed twice.
"""

import asyncio
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import SystemRandom
from typing import BinaryIO, TextIO

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.columns import Numbers, Poses
from devices.errors import ConfigurationError, Permanent, Problem
from devices.frame import Content, Header, Origin, SealedFrame, read_header
from devices.reading import Int64s, Lane
from devices.records import Link, Record
from edge.clock import Clock, Moment
from edge.cloud_client import CloudClient
from edge.config import Site
from edge.enrol import load_key
from edge.folder_lock import lock_folder
from edge.gateway import inventory_of
from edge.import_file import IMPORTED_FILE, ImportFile, identified, remember, was_imported
from edge.import_lines import Count, LineReader, Piece
from edge.import_links import ImportLinks
from edge.journal import Journal
from edge.lane_journal import LaneJournal
from edge.merging import merge
from edge.sealer import Sealer, Span, seal_next
from edge.series import SeriesTable
from edge.uplink import Uplink

IMPORT_FOLDER = "import"
_NAME_CHARACTERS = 16  # of the content hash: each file has a journal of its own
READINGS_PER_FRAME = 10_000
CHUNK_BYTES = 512 * 1024
LINE_BYTES_MAX = 64 * 1024
IMPORT_BYTES_MAX = 16 * 1024**3
FUTURE_MS_MAX = 5 * 60_000  # as much as the cloud takes for a clock that is a little fast
PROGRESS_S = 1.0


class ImportSealing:
    """Seals pieces by size, behind what is sealed of this file already. Blocks; runs in a thread of its own."""

    def __init__(
        self, journal: Journal, sealer: Sealer, file: ImportFile, first_records: Callable[[int], tuple[Record, ...]]
    ) -> None:
        self._journal = journal
        self._sealer = sealer
        self._file = file
        self._first_records = first_records
        self._pieces: dict[Lane, list[Content]] = {lane: [] for lane in Lane}
        self._rows = dict.fromkeys(Lane, 0)
        self._from_ms: dict[Lane, int | None] = dict.fromkeys(Lane)
        self._sealed_bytes = dict.fromkeys(Lane, 0)  # of the file; one more than there are when its end is sealed
        self._end = 0
        self._last_ms = 0
        self.frames = 0
        for lane in Lane:
            self._resume(journal.lane(lane))

    @property
    def sealed_before(self) -> list[int]:
        """How many bytes of the file each lane has sealed already: chunks must end there."""
        return sorted({done for done in self._sealed_bytes.values() if 0 < done <= self._file.size})

    def put(self, piece: Piece, links: tuple[Link, ...], end: int) -> Iterator[SealedFrame]:
        """Take a piece that ends at byte `end` of the file; gives the frames that became full."""
        self._end = end
        if piece.times is None:
            return
        first_ms, last_ms = piece.times
        self._last_ms = max(self._last_ms, last_ms)
        events = Content(records=links)
        for lane, contents in ((Lane.EVENTS, (piece.events, events)), (Lane.TELEMETRY, (piece.telemetry,))):
            if self._from_ms[lane] is None:
                self._from_ms[lane] = first_ms
            if end <= self._sealed_bytes[lane]:
                continue
            self._pieces[lane].extend(contents)
            self._rows[lane] += sum(one.readings for one in contents)
            if self._rows[lane] >= READINGS_PER_FRAME:
                yield self._seal(lane, end)

    def finish(self) -> Iterator[SealedFrame]:
        """The frames that were not full. The last events span reaches to the end of the file."""
        end = self._file.size + 1
        for lane in Lane:
            if self._from_ms[lane] is None or self._sealed_bytes[lane] >= end:
                continue
            if self._rows[lane] or lane is Lane.EVENTS:
                yield self._seal(lane, end)

    def _resume(self, disk: LaneJournal) -> None:
        last = newest_frame(disk)
        if last is not None:
            self._from_ms[disk.lane] = last.to_ms
            self._sealed_bytes[disk.lane] = last.monotonic_ms

    def _seal(self, lane: Lane, end: int) -> SealedFrame:
        disk = self._journal.lane(lane)
        from_ms = self._from_ms[lane] or 0
        if lane is Lane.EVENTS and disk.next_seq == 1:
            self._pieces[lane].insert(0, Content(records=self._first_records(from_ms)))
        content = in_order(merge(self._pieces[lane], self._sealer.series_of))
        to_ms = max(self._last_ms + 1, from_ms + 1)
        moment = Moment(to_ms, end, self._file.run, trusted=True, uncertainty_ms=0)
        frame = seal_next(disk, self._sealer, content, Span(from_ms, to_ms, moment, keyframe=disk.next_seq == 1))
        with self._journal.space.room_for(disk, len(frame.data)):
            disk.append(frame)
        self._pieces[lane] = []
        self._rows[lane] = 0
        self._from_ms[lane] = to_ms
        self._sealed_bytes[lane] = end
        self.frames += 1
        return frame


def newest_frame(disk: LaneJournal) -> Header | None:
    """Of the newest frame on disk that can be read; None without one."""
    for epoch, first, last in reversed(disk.ranges()):
        for seq in range(last, first - 1, -1):
            try:
                return read_header(disk.read(epoch, seq))
            except KeyError:
                continue  # damaged since
    return None


def in_order(content: Content) -> Content:
    """Numbers and poses sorted by time; equal times keep their order."""
    numbers, poses = content.numbers, content.poses
    by = _order(numbers.time_ms)
    to = _order(poses.time_ms)
    return Content(
        series=content.series,
        numbers=Numbers(numbers.series[by], numbers.time_ms[by], numbers.value[by], numbers.quality[by]),
        texts=content.texts,
        poses=Poses(
            poses.series[to],
            poses.time_ms[to],
            poses.x_mm[to],
            poses.y_mm[to],
            poses.theta_mrad[to],
            poses.map[to],
            poses.flags[to],
            poses.quality[to],
            poses.maps,
        ),
        records=content.records,
    )


def chunks_of(source: BinaryIO, size: int, ends: Sequence[int] = ()) -> Iterator[bytes]:
    """The first `size` bytes as whole lines, about half a megabyte at a time; a chunk also ends at each of `ends`.

    A line without an end in reach is cut and will be bad.
    """
    rest = b""
    given = read = 0
    stops = deque(ends)
    while data := source.read(min(CHUNK_BYTES, size - read)):
        read += len(data)
        data = rest + data
        while stops and stops[0] <= given + len(data):
            cut = stops.popleft() - given
            if cut > 0:
                yield data[:cut]
                data, given = data[cut:], given + cut
        end = data.rfind(b"\n") + 1
        if not end and len(data) > CHUNK_BYTES + LINE_BYTES_MAX:
            end = len(data)
        rest = data[end:]
        given += end
        if end:
            yield data[:end]
    if rest:
        yield rest


async def run_import(site: Site, file: Path, talk: TextIO) -> str:
    """Import a file (`-` is standard input) and wait until the cloud has it; returns one line that says what was done.

    Raises ConfigurationError, StorageUnavailable, or Permanent when no line could be used.
    """
    if site.config.cloud is None:
        raise ConfigurationError([Problem("site.yaml", 0, 0, "an import needs `cloud`: it is sent at once")])
    if str(file) != "-" and not file.is_file():
        raise ConfigurationError([Problem(str(file), 0, 0, "there is no such file")])
    folder = site.data_path / IMPORT_FOLDER
    lock = lock_folder(folder)
    try:
        abandoned = threading.Event()
        looking = asyncio.create_task(asyncio.to_thread(identified, file, folder, abandoned), name="identify")
        try:
            found = await looking
        finally:
            abandoned.set()
            await asyncio.wait({looking})
        own = folder / found.sha256[:_NAME_CHARACTERS]
        if was_imported(site.data_path, found):
            _tidy(folder, own)
            known = site.data_path / IMPORTED_FILE
            return f"already imported: nothing was sent ({known} remembers it by its content)"
        said, complete = await _import(site, found, own, talk)
        if complete:
            remember(site.data_path, found)
            _tidy(folder, own)
    finally:
        os.close(lock)
    return said


def _tidy(folder: Path, own: Path) -> None:
    """Remove the journal of a file that is in the cloud, and the folder unless another file waits there."""
    shutil.rmtree(own, ignore_errors=True)
    if not any(one.is_dir() for one in folder.iterdir()):
        shutil.rmtree(folder)


async def _import(site: Site, file: ImportFile, folder: Path, talk: TextIO) -> tuple[str, bool]:
    """What was done, and whether the cloud has confirmed all of it."""
    key = load_key(site.key_path)
    clock, table = Clock(), SeriesTable()
    journal = Journal.open(
        folder, site.config.gateway, key, clock, table, origin=Origin.IMPORT, bytes_max=IMPORT_BYTES_MAX
    )
    client = _client(site, key, clock)
    uplink = Uplink(journal, client, clock, SystemRandom())
    sending = asyncio.create_task(uplink.run(), name="uplink")
    try:
        sealer = Sealer.of(site.config.gateway, key, Origin.IMPORT, table.__getitem__)
        latest_ms = clock.now().utc_ms + FUTURE_MS_MAX
        lines = LineReader(site.devices, table, latest_ms)
        work = _Reading(site, journal, file, sealer, lines=lines, links=ImportLinks(site.devices, table))
        progress = asyncio.create_task(_progress(work, journal, talk), name="progress")
        reading = asyncio.create_task(asyncio.to_thread(work.run), name="reading")
        try:
            await reading
            await uplink.drained(backlog=True)
        finally:
            work.abandon()
            progress.cancel()
            await asyncio.wait({progress, reading})
    finally:
        sending.cancel()
        await asyncio.wait({sending})
        await client.close()
        complete = uplink.state.connected and journal.backlog_frames() == 0
        journal.close()
    return _summary(work.count, work.frames, talk, complete=complete), complete


def _client(site: Site, key: Ed25519PrivateKey, clock: Clock) -> CloudClient:
    cloud = site.config.cloud
    if cloud is None:
        raise ValueError("this site has no cloud")
    return CloudClient(
        cloud.url, site.config.gateway, key, clock, site.folder / cloud.ca_file if cloud.ca_file else None
    )


class _Reading:
    """The part of an import that runs in a thread: lines in, frames out."""

    def __init__(
        self, site: Site, journal: Journal, file: ImportFile, sealer: Sealer, *, lines: LineReader, links: ImportLinks
    ) -> None:
        self._site = site
        self._journal = journal
        self._file = file
        self._loop = asyncio.get_running_loop()
        self._abandoned = threading.Event()
        self._lines = lines
        self._links = links
        self._sealing = ImportSealing(journal, sealer, file, self._first_records)

    @property
    def count(self) -> Count:
        return self._lines.count

    @property
    def frames(self) -> int:
        return self._sealing.frames

    def abandon(self) -> None:
        """Let `run` return after the chunk at hand."""
        self._abandoned.set()

    def run(self) -> None:
        """All of the file from its start, also what is sealed already: counts and links depend on it."""
        end = 0
        with _opened(self._file.path) as source:
            for chunk in chunks_of(source, self._file.size, self._sealing.sealed_before):
                end += len(chunk)
                piece = self._lines.read(chunk)
                links = self._links.take(piece.series, piece.time_ms, piece.answered)
                for frame in self._sealing.put(piece, links, end):
                    self._loop.call_soon_threadsafe(self._journal.tell, frame)
                if self._abandoned.is_set():
                    return
        if end < self._file.size:
            raise Permanent(f"{self._file.path} became shorter while it was read")
        for frame in self._sealing.finish():
            self._loop.call_soon_threadsafe(self._journal.tell, frame)
        if not self.count.readings:
            raise Permanent("\n".join(["no line could be used", *self.count.problems]))

    def _first_records(self, time_ms: int) -> tuple[Record, ...]:
        """What is read, and by which rules."""
        inventory, profiles = inventory_of(self._site.devices, time_ms)
        return (*profiles, inventory)


async def _progress(work: _Reading, journal: Journal, talk: TextIO) -> None:
    while talk.isatty():
        line = f"{work.count.readings} readings in {work.frames} frames, {journal.backlog_frames()} not confirmed yet"
        print(f"\r{line:<79}", end="", file=talk, flush=True)
        await asyncio.sleep(PROGRESS_S)


def _summary(count: Count, frames: int, talk: TextIO, *, complete: bool) -> str:
    if talk.isatty():
        print(file=talk)
    for problem in count.problems:
        print(problem, file=talk)
    if count.bad > len(count.problems):
        print(f"... and {count.bad - len(count.problems)} more bad lines", file=talk)
    end = "all confirmed by the cloud" if complete else "the rest is kept: import the same file again to send it"
    return f"{count.readings} readings ({count.poses} poses) in {frames} frames, {count.bad} bad lines; {end}"


def _order(times_ms: Int64s) -> Int64s:
    return np.argsort(times_ms, kind="stable")


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise Permanent(f"{file} cannot be read: {error.strerror}") from error
