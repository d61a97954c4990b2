"""What `gatehouse edge import` promises about a file."""

import asyncio
import io
import json
import signal
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from devices.errors import Permanent
from devices.frame import Origin
from devices.instants import format_instant
from devices.reading import Lane
from devices.records import Inventory, Link, ProfileText
from edge import importer
from edge.clock import Clock
from edge.config import Site, load_site
from edge.enrol import make_key
from edge.import_file import IMPORTED_FILE
from edge.importer import IMPORT_FOLDER, run_import
from tests.edge.small_cloud import SmallCloud, small_cloud

START_MS = 1_780_000_000_000
KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from edge import importer
from edge.config import load_site

importer.CHUNK_BYTES, importer.READINGS_PER_FRAME = 4096, 100
left, when, real = int(sys.argv[3]), sys.argv[4], os.fdatasync

def sync(file):
    global left
    left -= 1
    if not left and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    real(file)
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

os.fdatasync = sync
print(asyncio.run(importer.run_import(load_site(Path(sys.argv[1])), Path(sys.argv[2]), sys.stderr)))
"""
SITE = """
site: jinji-lake
gateway: gw-1
cloud: {url: "%s"}
connections:
  - id: plant
    modbus: {host: 127.0.0.1, port: 5020}
    devices: [{id: ahu-1, profile: abb-acs580, unit: 1}]
  - id: broker
    mqtt: {host: 127.0.0.1, port: 1883}
    devices: [{id: r1, profile: vda5050-robot, topic: uagv/v2/acme/r-01}]
"""


def line(device: str, point: str, at_ms: int, value: object, quality: str = "good") -> str:
    record = {"device": device, "point": point, "time": format_instant(at_ms), "value": value, "quality": quality}
    return json.dumps(record)


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[SmallCloud]:
    key, clock = make_key(tmp_path / "gateway.key"), Clock()
    async with small_cloud(key.public_key(), lambda: clock.now().utc_ms) as one:
        yield one


@pytest.fixture
def site(tmp_path: Path, cloud: SmallCloud) -> Site:
    path = tmp_path / "site.yaml"
    path.write_text(SITE % cloud.url, "utf-8")
    return load_site(path)


def written(tmp_path: Path, lines: list[str]) -> Path:
    path = tmp_path / "history.jsonl"
    path.write_text("\n".join(lines), "utf-8")
    return path


async def test_every_reading_of_a_file_arrives_once_in_import_frames_whose_spans_join(
    tmp_path: Path, site: Site, cloud: SmallCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "CHUNK_BYTES", 4096)
    monkeypatch.setattr(importer, "READINGS_PER_FRAME", 100)
    lines, points = [], 400
    for index in range(points):
        at_ms = START_MS + 1000 * index
        lines.append(line("ahu-1", "status", at_ms, index))
        lines.append(line("r1", "pose", at_ms + 1, [index / 10, 2.0, 0.5, "B1", 11]))
        lines.append(line("r1", "battery", at_ms + 2, 50.5))
    said = await run_import(site, written(tmp_path, lines), io.StringIO())

    events = sorted(cloud.frames(Lane.EVENTS), key=lambda one: one.header.seq)
    telemetry = cloud.frames(Lane.TELEMETRY)
    numbers = [value for frame in events for value in frame.content.numbers.value.tolist()]
    poses = [x_mm for frame in events for x_mm in frame.content.poses.x_mm.tolist()]
    assert said == "1200 readings (400 poses) in " + f"{len(events) + len(telemetry)} frames, 0 bad lines; " + (
        "all confirmed by the cloud"
    )
    assert numbers == [float(index) for index in range(points)]
    assert poses == [100 * index for index in range(points)]
    assert sum(len(frame.content.numbers) for frame in telemetry) == points
    assert {frame.header.origin for frame in [*events, *telemetry]} == {Origin.IMPORT}
    assert all(after.header.from_ms == before.header.to_ms for before, after in pairwise(events))
    assert (events[0].header.from_ms, events[-1].header.to_ms) == (START_MS, START_MS + 1000 * points - 1000 + 3)
    kinds = [type(record) for record in events[0].content.records]
    assert kinds == [ProfileText, ProfileText, Inventory, Link]
    assert not (site.data_path / IMPORT_FOLDER).exists()


async def test_bad_lines_are_counted_with_their_numbers_and_the_rest_goes_in(
    tmp_path: Path, site: Site, cloud: SmallCloud
) -> None:
    lines = [
        line("ahu-1", "status", START_MS, 1),
        "not json",
        line("nobody", "status", START_MS, 1),
        line("ahu-1", "status", START_MS, "words"),
        json.dumps({"device": "ahu-1", "point": "status", "time": "yesterday", "value": 1}),
        line("ahu-1", "status", START_MS, 1, "superb"),
        line("r1", "pose", START_MS, 3),
        line("ahu-1", "status", START_MS + 1, None, "bad"),
    ]
    talk = io.StringIO()
    said = await run_import(site, written(tmp_path, lines), talk)

    assert said.startswith("2 readings (0 poses)")
    assert "6 bad lines" in said
    assert [row.split(":")[0] for row in talk.getvalue().splitlines()] == [f"line {n}" for n in (2, 3, 4, 5, 6, 7)]
    assert sum(len(frame.content.numbers) for frame in cloud.frames(Lane.EVENTS)) == 2


async def test_a_file_without_one_good_line_is_an_error(tmp_path: Path, site: Site) -> None:
    with pytest.raises(Permanent, match="no line could be used"):
        await run_import(site, written(tmp_path, ["{}", "[]"]), io.StringIO())


def many_lines(count: int) -> list[str]:
    """`count` of each: an event and a reading for the charts."""
    lines = []
    for index in range(count):
        at_ms = START_MS + 1000 * index
        lines += [line("ahu-1", "status", at_ms, index), line("r1", "battery", at_ms + 2, index)]
    return lines


def received(cloud: SmallCloud, lane: Lane) -> list[float]:
    return sorted(value for frame in cloud.frames(lane) for value in frame.content.numbers.value.tolist())


def links_of(cloud: SmallCloud) -> list[Link]:
    frames = sorted(cloud.frames(Lane.EVENTS), key=lambda one: one.header.seq)
    return [record for frame in frames for record in frame.content.records if isinstance(record, Link)]


@pytest.mark.parametrize("kill", ["1 before", "1 after", "4 before", "5 after", "8 after"])
async def test_an_import_killed_at_any_moment_goes_on_without_a_reading_lost_or_doubled(
    tmp_path: Path, site: Site, cloud: SmallCloud, monkeypatch: pytest.MonkeyPatch, kill: str
) -> None:
    monkeypatch.setattr(importer, "CHUNK_BYTES", 4096)
    monkeypatch.setattr(importer, "READINGS_PER_FRAME", 100)
    file = written(tmp_path, many_lines(450))
    words = [sys.executable, "-c", KILLED, str(tmp_path / "site.yaml"), str(file), *kill.split()]
    killed = await asyncio.create_subprocess_exec(*words)
    assert await killed.wait() == -signal.SIGKILL
    said = await run_import(site, file, io.StringIO())

    assert said.endswith("0 bad lines; all confirmed by the cloud")
    for lane in Lane:
        frames = sorted(cloud.frames(lane), key=lambda one: one.header.seq)
        assert received(cloud, lane) == [float(index) for index in range(450)]
        assert len({frame.header.epoch for frame in frames}) == 1
        assert all(after.header.from_ms == before.header.to_ms for before, after in pairwise(frames))


async def test_a_file_that_went_in_is_not_sent_again_under_any_name(
    tmp_path: Path, site: Site, cloud: SmallCloud
) -> None:
    file = written(tmp_path, many_lines(20))
    await run_import(site, file, io.StringIO())
    stored = dict(cloud.stored)
    said = await run_import(site, file.rename(tmp_path / "again.jsonl"), io.StringIO())

    assert said.startswith("already imported")
    assert IMPORTED_FILE in said
    assert cloud.stored == stored
    assert not (site.data_path / IMPORT_FOLDER).exists()


async def test_another_file_goes_in_beside_one_that_was_cut_off_and_both_arrive_once(
    tmp_path: Path, site: Site, cloud: SmallCloud
) -> None:
    first = written(tmp_path, many_lines(450)).rename(tmp_path / "first.jsonl")
    words = [sys.executable, "-c", KILLED, str(tmp_path / "site.yaml"), str(first), "5", "after"]
    killed = await asyncio.create_subprocess_exec(*words)
    assert await killed.wait() == -signal.SIGKILL
    second = written(tmp_path, [line("r1", "battery", START_MS - 5000 + at, 1000 + at) for at in range(7)])
    await run_import(site, second, io.StringIO())
    await run_import(site, first, io.StringIO())

    expected = [float(index) for index in range(450)]
    assert received(cloud, Lane.EVENTS) == expected
    assert received(cloud, Lane.TELEMETRY) == expected + [1000.0 + at for at in range(7)]


async def test_standard_input_is_known_by_its_content_too(
    tmp_path: Path, site: Site, cloud: SmallCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, many_lines(20))
    await run_import(site, file, io.StringIO())
    for text in (file.read_bytes(), file.read_bytes() + b"\n" + line("r1", "battery", START_MS, 99).encode()):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        said = await run_import(site, Path("-"), io.StringIO())

    assert said.startswith("41 readings")  # the second one has another line: it is another file
    assert received(cloud, Lane.TELEMETRY).count(99.0) == 1
    assert not (site.data_path / IMPORT_FOLDER).exists()


async def test_a_line_from_the_future_is_bad_and_moves_no_span(tmp_path: Path, site: Site, cloud: SmallCloud) -> None:
    now_ms = Clock().now().utc_ms
    lines = [line("ahu-1", "status", at, 1) for at in (now_ms, now_ms + 60_000, now_ms + 3_600_000, now_ms + 61_000)]
    talk = io.StringIO()
    said = await run_import(site, written(tmp_path, lines), talk)

    assert "1 bad lines" in said
    assert talk.getvalue().startswith("line 3: ")
    assert "in the future" in talk.getvalue()
    assert max(frame.header.to_ms for frame in cloud.frames(Lane.EVENTS)) == now_ms + 61_001


async def test_a_polled_device_that_falls_silent_within_the_file_is_closed_at_its_last_line(
    tmp_path: Path, site: Site, cloud: SmallCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importer, "CHUNK_BYTES", 1024)  # the silence reaches over chunks
    minute_ms = 60_000
    heard = [at for at in range(0, 600, 5) if not 60 < at < 180 and at <= 400]
    lines = [
        line(*who, START_MS + at * minute_ms, 1)
        for at in range(0, 600, 5)
        for who in ([("ahu-1", "status")] if at in heard else []) + [("r1", "battery")]
    ]
    await run_import(site, written(tmp_path, lines), io.StringIO())

    found = [(one.good, (one.time_ms - START_MS) // minute_ms, one.last_ok_ms) for one in links_of(cloud)]
    ends = [START_MS + at * minute_ms for at in (60, 400)]
    assert found == [(True, 0, None), (False, 60, ends[0]), (True, 180, None), (False, 400, ends[1])]


async def test_lines_that_say_no_answer_do_not_keep_a_polled_device_alive(
    tmp_path: Path, site: Site, cloud: SmallCloud
) -> None:
    lines = [line("ahu-1", "status", START_MS, 1)]
    lines += [line("ahu-1", "status", START_MS + at * 600_000, None, "bad") for at in range(1, 12)]
    await run_import(site, written(tmp_path, lines), io.StringIO())

    assert [(one.good, one.last_ok_ms) for one in links_of(cloud)] == [(True, None), (False, START_MS)]
