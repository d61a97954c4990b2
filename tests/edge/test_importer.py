"""What `gatehouse edge import` promises about a file."""

import io
import json
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
from edge.importer import IMPORT_FOLDER, run_import
from tests.edge.small_cloud import SmallCloud, small_cloud

START_MS = 1_780_000_000_000
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
