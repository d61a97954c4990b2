"""Blind spots, pictures and the other views of patrol: through HTTP, and from the command line."""

import base64
import json
import random
import struct
import sys
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from subprocess import run
from typing import Any

import httpx
import numpy as np
import pytest
import shapely
from fastapi import FastAPI
from typer.testing import CliRunner

from cloud.api.patrol_drawing import PICTURE_BYTES_MAX, picture_json, picture_png, picture_svg
from cloud.api.patrol_routes import patrol_routes
from cloud.api.patrol_views import PatrolViews
from cloud.api.problems import install_problems
from cloud.cli_coverage import app
from cloud.facts.claims import QUARTER_MS
from cloud.facts.ledger import Ledger
from cloud.facts.patrol_picture import patrol_picture
from tests.cloud.patrols import (
    BEGIN_MS,
    FLOOR,
    HOUR_MS,
    MINUTE_MS,
    NAME,
    ROBOTS,
    point,
    robot_entries,
    robot_inventory,
    straight,
    tell_walks,
    zone,
)
from tests.cloud.serving import serving
from tests.cloud.told import Cloud, Told, Walk, ledger_text, new_cloud

NOW_MS = BEGIN_MS + 12 * HOUR_MS
DAY = 20_000 + 719_163  # the ordinal of BEGIN_MS in UTC
LEDGER = ledger_text(
    FLOOR,
    ROBOTS,
    "zones:",
    zone("west", (0, 0, 20, 30), ", max_interval_min: 60, robots: [r1]"),
    zone("east", (20, 0, 40, 30), ", weight: 5"),
    "checkpoints:",
    point("door", "west", 5, 15),
    point("safe", "west", 15, 28, ", weight: 9"),
    point("lift", "west", 10, 15, ", max_interval_min: 1440"),
)


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = new_cloud(tmp_path)
    made.ledger(LEDGER)
    tell_walks(
        made,
        Walk("d1", straight(BEGIN_MS + HOUR_MS, 30, (3_000, 15_000), (500, 0))),
        Walk("d1", straight(BEGIN_MS + 2 * HOUR_MS, 5, (3_000, 5_000), (500, 0)), map_id="B7"),
        Walk("d2", straight(BEGIN_MS + 11 * HOUR_MS + 55 * MINUTE_MS, 20, (3_000, 5_000), (500, 0))),
    )
    entries = robot_entries("d1", BEGIN_MS, BEGIN_MS + 6 * HOUR_MS, driving=1.0, order_active=1.0)
    made.tell([Told(9, BEGIN_MS, NOW_MS, entries=tuple(entries), records=robot_inventory("d1", "d2"))])
    yield made
    made.engine.dispose()


@pytest.fixture
async def client(cloud: Cloud) -> AsyncIterator[httpx.AsyncClient]:
    routed = FastAPI()
    routed.include_router(patrol_routes(PatrolViews(cloud.facts), lambda: NOW_MS))
    install_problems(routed)
    async with serving(routed) as address, httpx.AsyncClient(base_url=f"{address}/api/v1") as one:
        yield one


async def got(client: httpx.AsyncClient, path: str, **query: str) -> Any:
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_blind_spots_are_ranked_by_weight_and_age(client: httpx.AsyncClient) -> None:
    found = await got(client, "/sites/site-1/patrol/blind-spots")

    assert [one["id"] for one in found["zones_without_robots"]] == ["east"]
    # the door's robot went by at 01:00 and it may wait for an hour; the lift may wait for a day
    assert [(one["id"], one["state"]) for one in found["points"]] == [
        ("safe", "never"),
        ("east", "never"),
        ("door", "stale"),
    ]
    assert found["points"][2]["age_s"] > 10 * 3600
    states = [(one["zone"], one["state"]) for one in found["patches"]]
    assert states[0] == ("east", "never")
    assert ("west", "stale") in states
    assert [one["rank"] for one in found["patches"]] == list(range(1, len(states) + 1))


async def test_patches_and_what_was_seen_lately_make_the_whole_zone(client: httpx.AsyncClient) -> None:
    """The area of the patches is that of the zones less what the last drive saw: worked out with shapely."""
    found = await got(client, "/sites/site-1/patrol/blind-spots.geojson")
    patches = [
        shapely.geometry.shape(one["geometry"]) for one in found["features"] if one["properties"]["kind"] == "patch"
    ]
    fresh = shapely.LineString([(3, 5), (12.5, 5)]).buffer(3, quad_segs=64).intersection(shapely.box(0, 0, 20, 30))
    all_of_them = shapely.union_all(patches)

    assert all(one.is_valid for one in patches)
    assert sum(one.area for one in patches) == pytest.approx(all_of_them.area)  # none lies on another
    assert all_of_them.area == pytest.approx(1200 - fresh.area, abs=8)
    assert all_of_them.intersection(fresh.buffer(-0.4)).area == 0


async def test_time_and_poses_are_accounted_for(client: httpx.AsyncClient) -> None:
    time = await got(client, "/sites/site-1/patrol/utilisation")
    poses = await got(client, "/sites/site-1/patrol/poses")

    assert [one["id"] for one in time["robots"]] == ["r1", "r2"]
    assert all(round(sum(one["percent"].values()), 6) == 100 for one in (time["all"], *time["robots"]))
    assert time["robots"][0]["percent"]["patrolling"] == pytest.approx(50, abs=0.5)
    assert poses["unknown_maps"] == [{"robot": "r1", "map": "B7", "poses": 5}]
    assert poses["robots"][0]["counted"] == 30


async def test_a_picture_tells_cells_and_paths(client: httpx.AsyncClient) -> None:
    found = await got(client, "/sites/site-1/patrol/picture", zone="west", robot="r1")
    passes = np.frombuffer(zlib.decompress(base64.b64decode(found["passes"])), np.uint8)
    passes = passes.reshape(found["rows"], found["columns"])
    required = np.unpackbits(np.frombuffer(zlib.decompress(base64.b64decode(found["required"])), np.uint8))

    assert (found["rows"], found["columns"], found["row"], found["column"]) == (60, 40, 0, 0)
    assert required[: passes.size].sum() == found["cells_required"] == 2400
    assert (passes > 0).sum() == found["cells_covered"]
    assert passes[30, 20] == 1
    assert found["paths"] == {"r1": [[30, 150, 145, 0]]}


async def test_what_there_is_not_is_told(client: httpx.AsyncClient) -> None:
    for query in ({"robot": "r9"}, {"zone": "north"}, {"floor": "b9"}):
        answer = await client.get("/sites/site-1/patrol/picture", params=query)
        assert answer.status_code == 404, answer.text
    assert (await client.get("/sites/nowhere/patrol/blind-spots")).status_code == 404


async def test_zones_go_out_and_come_in(client: httpx.AsyncClient) -> None:
    zones = await got(client, "/sites/site-1/patrol/zones.geojson")
    zones["features"] = [one for one in zones["features"] if one["properties"]["kind"] == "zone"]
    body = {"actor": "gis", "reason": "new survey", "zones": zones}
    entered = await client.put("/sites/site-1/patrol/zones", json=body)
    zones["features"][0]["properties"]["floor"] = "b9"
    refused = await client.put("/sites/site-1/patrol/zones", json=body)

    assert entered.json() == {"zones": 2, "no_go": 0, "checkpoints": 0}
    assert refused.status_code == 422
    assert "there is no floor 'b9'" in refused.json()["errors"][0]["detail"]
    assert (await client.get("/sites/site-1/patrol/zones.geojson", params={"coordinates": "wgs84"})).status_code == 422


async def test_days_beyond_the_calendar_are_told_as_such(client: httpx.AsyncClient) -> None:
    zones = await got(client, "/sites/site-1/patrol/zones.geojson")
    for day in ("9999-12-31", "0001-01-01", "2200-01-01"):
        for path in ("picture", "zones.geojson"):
            answer = await client.get(f"/sites/site-1/patrol/{path}", params={"day": day})
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), answer.text
            assert "2199-12-31" in answer.text
        body = {"actor": "gis", "reason": "survey", "zones": zones, "valid_from": day}
        answer = await client.put("/sites/site-1/patrol/zones", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_zones"), answer.text
    assert (await client.get("/sites/site-1/patrol/picture", params={"day": "2199-12-31"})).status_code == 200


async def test_a_kind_that_is_no_word_is_told_as_such(client: httpx.AsyncClient) -> None:
    zones = await got(client, "/sites/site-1/patrol/zones.geojson")
    zones["features"][0]["properties"]["kind"] = ["zone"]
    body = {"actor": "gis", "reason": "survey", "zones": zones}
    refused = await client.put("/sites/site-1/patrol/zones", json=body)

    assert refused.status_code == 422
    assert "expected a kind" in refused.text


async def test_deployment_counts_sites(client: httpx.AsyncClient) -> None:
    found = await got(client, "/patrol/deployment", window="today")

    assert (found["sites_served"], found["sites_total"]) == (0, 1)
    assert found["sites"][0]["zones"] == 2


def large_floor(cloud: Cloud) -> Ledger:
    """20,000 m2 and a robot that drives all day, back and forth and to all sides."""
    floor = f"floors: [{{id: b1, {NAME}, map: B1, width_m: 200.0, height_m: 100.0}}]"
    ledger = cloud.ledger(ledger_text(floor, ROBOTS, "zones:", zone("all", (0, 0, 200, 100))))
    rng = random.Random(3)
    x, y, steps = 100_000, 50_000, []
    goal = (x, y)
    for second in range(0, 12 * 3600, 2):
        if abs(goal[0] - x) + abs(goal[1] - y) < 2_000:
            goal = (rng.randrange(2_000, 198_000), rng.randrange(2_000, 98_000))
        size = max(abs(goal[0] - x) + abs(goal[1] - y), 1)
        x, y = x + 1_500 * (goal[0] - x) // size, y + 1_500 * (goal[1] - y) // size
        steps.append((BEGIN_MS + second * 1000, x + rng.randint(-80, 80), y + rng.randint(-80, 80)))
    tell_walks(cloud, Walk("d1", steps))
    return ledger


def test_the_picture_of_a_large_floor_is_small(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    ledger = large_floor(cloud)
    cloud.facts.settle(ledger, NOW_MS)
    history = cloud.facts.patrol_history(ledger)
    picture = patrol_picture(cloud.engine, history, DAY, NOW_MS)
    data = picture_json(picture, {})
    told = json.dumps(data, separators=(",", ":"))

    assert data["cells_required"] == 80_000
    assert data["cells_covered"] > 40_000
    assert len(told) <= PICTURE_BYTES_MAX
    assert data["path_tolerance_m"] <= 0.4
    assert data["passes_rounded"]
    assert sum(len(line) for line in data["paths"]["r1"]) > 400
    cloud.engine.dispose()


def pixels_of(png: bytes) -> Any:
    """Our own kind of PNG, read by hand."""
    width, height = struct.unpack(">II", png[16:24])
    data, at = b"", 8
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        assert zlib.crc32(png[at + 4 : at + 8 + size]) == struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0]
        data += png[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + width * 3)
    return rows[:, 1:].reshape(height, width, 3)


def test_a_drawing_shows_what_was_seen_and_what_was_not(cloud: Cloud) -> None:
    ledger = cloud.facts.ledger("site-1")
    assert ledger is not None
    cloud.facts.settle(ledger, NOW_MS)
    picture = patrol_picture(cloud.engine, cloud.facts.patrol_history(ledger), DAY, NOW_MS)
    pixels = pixels_of(picture_png(picture))
    drawing = picture_svg(picture, "site <1>")

    assert pixels.shape == (60 * 6, 80 * 6, 3)
    assert tuple(pixels[3, 3]) == (240, 163, 94)  # the upper left corner was not visited
    assert tuple(pixels[359 - 12 * 15, 12 * 5]) == (16, 40, 130)  # the path at (5 m, 15 m)
    assert tuple(pixels[359 - 12 * 16, 12 * 5 + 2]) == (222, 239, 228)  # seen once
    assert "site &lt;1&gt;" in drawing
    assert drawing.count("<polyline") == 2


def test_the_command_line_renders_and_exports(cloud: Cloud, tmp_path: Path) -> None:
    ledger = cloud.facts.ledger("site-1")
    assert ledger is not None
    cloud.facts.settle(ledger, NOW_MS + QUARTER_MS)

    def gatehouse(*words: str) -> str:
        command = [sys.executable, "-m", "gatehouse", "coverage", *words, "--data-dir", str(tmp_path)]
        done = run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = gatehouse("render", "site-1", str(tmp_path / "day.png"), "--day", "2024-10-04")
    assert "of 4800 cells visited" in said
    assert not said.split(": ")[1].startswith("0 ")
    exported = tmp_path / "zones.geojson"
    exported.write_text(gatehouse("zones", "export", "site-1"), encoding="utf-8")

    assert "2 zones, 0 no-go, 3 checkpoints" in gatehouse(
        "zones", "import", "site-1", str(exported), "--reason", "test"
    )
    assert (tmp_path / "day.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("render", "site-1", "{0}/a.png", "--data-dir", "{0}/none"), 1, "there is no aggregator's data in"),
        (("blind-spots", "site-1", "--data-dir", "{0}/none"), 1, "there is no aggregator's data in"),
        (("zones", "export", "site-1", "--data-dir", "{0}/none"), 1, "there is no aggregator's data in"),
        (("render", "site-1", "{0}/none/a.png", "--data-dir", "{0}"), 2, "there is no folder"),
        (("render", "site-1", "{0}/a.png", "--data-dir", "{0}", "--day", "9999-12-31"), 1, "days are from 2000"),
    ],
)
@pytest.mark.usefixtures("cloud")
def test_what_the_command_line_cannot_do_is_told_in_a_line(
    tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    done = CliRunner().invoke(app, [word.format(tmp_path) for word in words])

    assert done.exit_code == code, done.exception
    assert said in " ".join(done.output.replace("│", " ").split())
    assert not (tmp_path / "none").exists()
