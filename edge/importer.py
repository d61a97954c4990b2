"""`gatehouse edge import`: readings of the past through a journal of their own and the uplink.

The folder has its own lock and epoch, the key is the gateway's, the frames say `import`. They are sealed by
size, their spans come from the file. When the cloud has confirmed everything the folder goes.
"""

import asyncio
import secrets
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from random import SystemRandom
from typing import BinaryIO, TextIO

import numpy as np

from devices.columns import Numbers, Poses
from devices.errors import ConfigurationError, Permanent, Problem
from devices.frame import Content, Origin, SealedFrame
from devices.reading import Int64s, Lane
from devices.records import Link, Record
from edge.clock import RUN_BYTES, Clock, Moment
from edge.cloud_client import CloudClient
from edge.config import Site
from edge.enrol import load_key
from edge.gateway import inventory_of
from edge.import_lines import Count, LineReader, Piece
from edge.journal import Journal
from edge.merging import merge
from edge.sealing import Sealer, Span, seal_next
from edge.series import SeriesTable
from edge.uplink import Uplink

IMPORT_FOLDER = "import"
READINGS_PER_FRAME = 10_000
CHUNK_BYTES = 512 * 1024
LINE_BYTES_MAX = 64 * 1024
IMPORT_BYTES_MAX = 16 * 1024**3
PROGRESS_S = 1.0


class ImportSealing:
    """Seals pieces by size. Blocks; runs in a thread of its own."""

    def __init__(self, journal: Journal, sealer: Sealer, first_records: Callable[[int], tuple[Record, ...]]) -> None:
        self._journal = journal
        self._sealer = sealer
        self._first_records = first_records
        self._run = secrets.token_bytes(RUN_BYTES)
        self._pieces: dict[Lane, list[Content]] = {lane: [] for lane in Lane}
        self._rows = dict.fromkeys(Lane, 0)
        self._from_ms: dict[Lane, int | None] = dict.fromkeys(Lane)
        self._last_ms = 0
        self.frames = 0

    def put(self, piece: Piece) -> Iterator[SealedFrame]:
        """Take a piece; gives the frames that became full."""
        if piece.times is None:
            return
        first_ms, last_ms = piece.times
        self._last_ms = max(self._last_ms, last_ms)
        for lane, content in ((Lane.EVENTS, piece.events), (Lane.TELEMETRY, piece.telemetry)):
            if self._from_ms[lane] is None:
                self._from_ms[lane] = first_ms
                if lane is Lane.EVENTS:
                    self._pieces[lane].append(Content(records=self._first_records(first_ms)))
            self._pieces[lane].append(content)
            self._rows[lane] += content.readings
            if self._rows[lane] >= READINGS_PER_FRAME:
                yield self._seal(lane)

    def finish(self) -> Iterator[SealedFrame]:
        """The frames that were not full. The last events span reaches to the end of the file."""
        for lane in Lane:
            if self._from_ms[lane] is not None and (self._rows[lane] or lane is Lane.EVENTS):
                yield self._seal(lane)

    def _seal(self, lane: Lane) -> SealedFrame:
        disk = self._journal.lane(lane)
        content = in_order(merge(self._pieces[lane], self._sealer.series_of))
        from_ms = self._from_ms[lane] or 0
        to_ms = max(self._last_ms + 1, from_ms + 1)
        moment = Moment(to_ms, 0, self._run, trusted=True, uncertainty_ms=0)
        frame = seal_next(disk, self._sealer, content, Span(from_ms, to_ms, moment, keyframe=disk.next_seq == 1))
        with self._journal.space.room_for(disk, len(frame.data)):
            disk.append(frame)
        self._pieces[lane] = []
        self._rows[lane] = 0
        self._from_ms[lane] = to_ms
        self.frames += 1
        return frame


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


def chunks_of(source: BinaryIO) -> Iterator[bytes]:
    """Whole lines, about half a megabyte at a time. A line without an end in reach is cut and will be bad."""
    rest = b""
    while data := source.read(CHUNK_BYTES):
        data = rest + data
        end = data.rfind(b"\n") + 1
        if not end and len(data) > CHUNK_BYTES + LINE_BYTES_MAX:
            end = len(data)
        rest = data[end:]
        if end:
            yield data[:end]
    if rest:
        yield rest


async def run_import(site: Site, file: Path, talk: TextIO) -> str:
    """Import a file (`-` is standard input) and wait until the cloud has it; returns one line that says what was done.

    Raises ConfigurationError, StorageUnavailable, or Permanent when no line could be used.
    """
    cloud = site.config.cloud
    if cloud is None:
        raise ConfigurationError([Problem("site.yaml", 0, 0, "an import needs `cloud`: it is sent at once")])
    if str(file) != "-" and not file.is_file():
        raise ConfigurationError([Problem(str(file), 0, 0, "there is no such file")])
    key = load_key(site.key_path)
    clock, table = Clock(), SeriesTable()
    folder = site.data_path / IMPORT_FOLDER
    journal = Journal.open(
        folder, site.config.gateway, key, clock, table, origin=Origin.IMPORT, bytes_max=IMPORT_BYTES_MAX
    )
    client = CloudClient(
        cloud.url, site.config.gateway, key, clock, site.folder / cloud.ca_file if cloud.ca_file else None
    )
    uplink = Uplink(journal, client, clock, SystemRandom())
    sending = asyncio.create_task(uplink.run(), name="uplink")
    try:
        for lane in Lane:
            if journal.lane(lane).next_seq > 1:
                journal.lane(lane).begin_epoch()
        sealer = Sealer.of(site.config.gateway, key, Origin.IMPORT, table.__getitem__)
        work = _Reading(site, journal, sealer, table, asyncio.get_running_loop())
        progress = asyncio.create_task(_progress(work, journal, talk), name="progress")
        reading = asyncio.create_task(asyncio.to_thread(work.run, file), name="reading")
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
    if complete:
        shutil.rmtree(folder)
    return _summary(work.count, work.frames, talk, complete=complete)


class _Reading:
    """The part of an import that runs in a thread: lines in, frames out."""

    def __init__(
        self, site: Site, journal: Journal, sealer: Sealer, table: SeriesTable, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._site = site
        self._journal = journal
        self._loop = loop
        self._abandoned = threading.Event()
        self._lines = LineReader(site.devices, table)
        self._sealing = ImportSealing(journal, sealer, self._first_records)

    @property
    def count(self) -> Count:
        return self._lines.count

    @property
    def frames(self) -> int:
        return self._sealing.frames

    def abandon(self) -> None:
        """Let `run` return after the chunk at hand."""
        self._abandoned.set()

    def run(self, file: Path) -> None:
        with _opened(file) as source:
            for chunk in chunks_of(source):
                for frame in self._sealing.put(self._lines.read(chunk)):
                    self._loop.call_soon_threadsafe(self._journal.tell, frame)
                if self._abandoned.is_set():
                    return
        for frame in self._sealing.finish():
            self._loop.call_soon_threadsafe(self._journal.tell, frame)
        if not self.count.readings:
            raise Permanent("\n".join(["no line could be used", *self.count.problems]))

    def _first_records(self, time_ms: int) -> tuple[Record, ...]:
        """What is read, by which rules, and that the polled devices answered: their values are held by that."""
        inventory, profiles = inventory_of(self._site.devices, time_ms)
        links = [Link(one.id, "", good=True, time_ms=time_ms) for one in self._site.devices if not one.pushes]
        return (*profiles, inventory, *links)


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
    end = "all confirmed by the cloud" if complete else "kept, to be sent by the next import"
    return f"{count.readings} readings ({count.poses} poses) in {frames} frames, {count.bad} bad lines; {end}"


def _order(times_ms: Int64s) -> Int64s:
    return np.argsort(times_ms, kind="stable")


def _opened(file: Path) -> AbstractContextManager[BinaryIO]:
    if str(file) == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return file.open("rb")
    except OSError as error:
        raise Permanent(f"{file} cannot be read: {error.strerror}") from error
