"""Zones as GeoJSON: out and in again, versions, and clear words for what is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from cloud.facts.ledger import Ledger, parse_ledger
from cloud.facts.patrol_geojson import import_geojson, to_geojson, with_geojson
from devices.errors import ConfigurationError
from tests.cloud.told import ledger_text, new_cloud

NAME = "name: {en: N, zh-CN: 名}"
LEDGER = f"""
floors:
  - {{id: b1, {NAME}, map: B1, width_m: 40.0, height_m: 30.0}}
  - {{id: yard, {NAME}, map: YARD, width_m: 90.0, height_m: 80.0, cell_m: 1.0,
     gps: {{lat: 31.3, lon: 120.7, rotation: 20}}}}
robots: [{{id: r1, {NAME}, device: d1}}]
zones:
  - {{id: hall, {NAME}, floor: b1, required_hours: ["08:00-20:00"], max_interval_min: 120, rounds: ["08:30"],
     robots: [r1],
     min_agents: 2, geometry: {{type: Polygon, coordinates: [[[1, 1], [39, 1], [39, 29], [1, 29], [1, 1]],
     [[10, 10], [12, 10], [12, 12], [10, 10]]]}}}}
no_go: [{{id: shaft, {NAME}, floor: b1, geometry: {{type: Polygon, coordinates: [[[5, 5], [6, 5], [6, 6], [5, 5]]]}}}}]
checkpoints:
  - {{id: c1, {NAME}, zone: hall, position: [20.5, 3], radius_m: 1.5, dwell_s: 10, weight: 3}}
  - {{id: c2, {NAME}, zone: hall, node: n7}}
"""
YARD = """
  - {id: outside, name: {en: N, zh-CN: N}, floor: yard, geometry: {type: Polygon,
     coordinates: [[[1, 1], [80, 1], [80, 70.5], [1, 1]]]}}
no_go:"""


def ledger(text: str = LEDGER) -> Ledger:
    return parse_ledger(ledger_text(text), "ledger.yaml")


def features(of: Ledger) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(to_geojson(of)))
    return found


def refused(document: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as found:
        with_geojson(ledger(), json.dumps(document, indent=1), "zones.geojson")
    return str(found.value)


def test_what_goes_out_comes_in_again() -> None:
    one = ledger()

    assert with_geojson(one, json.dumps(features(one)), "zones.geojson") == one


def test_degrees_go_out_and_come_in_to_a_millimetre() -> None:
    outdoors = ledger(LEDGER.replace("\nno_go:", YARD).replace("floor: b1, required", "floor: yard, required"))
    outdoors = outdoors.model_copy(update={"no_go": ()})
    text = json.dumps(to_geojson(outdoors, "wgs84"))

    assert with_geojson(outdoors, text, "zones.geojson") == outdoors
    assert '"coordinates": "wgs84"' in text
    assert "120.7" in text


def test_degrees_of_a_floor_without_an_origin_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="the floor 'b1' has no GPS origin"):
        to_geojson(ledger(), "wgs84")
    assert "has no GPS origin" in refused(features(ledger()) | {"coordinates": "wgs84"})


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (
            0,
            {"geometry": {"type": "Polygon", "coordinates": [[[1, 1], [9, 9], [9, 1], [1, 9], [1, 1]]]}},
            "Self-inters",
        ),
        (0, {"geometry": {"type": "Polygon", "coordinates": [[[1, 1], [41, 1], [9, 9], [1, 1]]]}}, "beyond the floor"),
        (0, {"geometry": None}, "a zone is a Polygon"),
        (1, {"geometry": {"type": "Point", "coordinates": [1, 1]}}, "a no-go is a Polygon"),
        (2, {"geometry": {"type": "Point", "coordinates": [50, 1]}}, "lies beyond the floor"),
        (3, {"properties": {"kind": "checkpoint", "id": "c2", "zone": "hall"}}, "'name' is missing"),
        (3, {"properties": {"kind": "gate"}}, "expected a kind"),
        (0, {"properties": {"kind": ["zone"]}}, "expected a kind"),
        (0, {"properties": {"kind": {"a": 1}}}, "expected a kind"),
    ],
)
def test_what_is_wrong_is_told_at_its_line(index: int, change: dict[str, Any], message: str) -> None:
    document = features(ledger())
    document["features"][index] |= change

    text = refused(document)

    assert message in text
    assert text.startswith("zones.geojson:")
    assert text.split(":")[1].isdigit()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("floor", "b7", "there is no floor 'b7'"),
        ("robots", ["r9"], "there is no robot 'r9'"),
        ("open_to", ["nowhere"], "there is no zone 'nowhere'"),
        ("rounds", ["25:00"], "time of day"),
        ("required_hours", [], "required_hours"),
        ("speed", 3, "unknown key 'speed'"),
    ],
)
def test_references_and_values_are_checked(key: str, value: object, message: str) -> None:
    document = features(ledger())
    document["features"][0]["properties"][key] = value

    assert message in refused(document)


@pytest.mark.parametrize(
    ("corner", "held"), [((0.25, 0.25), True), ((0.24, 0.24), False), ((0.26, 0.26), True)], ids=str
)
def test_a_zone_without_the_centre_of_a_cell_is_refused_unless_nobody_need_go_there(
    corner: tuple[float, float], *, held: bool
) -> None:
    """The centres are at 0.25 m; the zone reaches from (0, 0) to the corner or, to hold one, a millimetre farther."""
    x, y = (size + 0.001 for size in corner)
    ring = [[0, 0], [x, 0], [x, y], [0, y], [0, 0]]
    document = features(ledger())
    document["features"][0]["geometry"] = {"type": "Polygon", "coordinates": [ring]}
    unpatrolled = json.loads(json.dumps(document))
    unpatrolled["features"][0]["properties"]["requires_patrol"] = False

    assert with_geojson(ledger(), json.dumps(unpatrolled), "zones.geojson")
    if held:
        assert with_geojson(ledger(), json.dumps(document), "zones.geojson")
    else:
        assert "holds no cell of the grid" in refused(document)


def test_a_zone_that_is_all_no_go_is_refused() -> None:
    document = features(ledger())
    document["features"][0]["geometry"] = document["features"][1]["geometry"]

    assert "holds no cell of the grid" in refused(document)


def test_floors_with_more_cells_than_memory_is_meant_for_are_refused() -> None:
    large = LEDGER.replace("width_m: 40.0, height_m: 30.0", "width_m: 1000.0, height_m: {}")

    assert ledger(large.replace("{}", "1000.0"))
    with pytest.raises(ConfigurationError, match="4002000 cells, at most 4000000"):
        ledger(large.replace("{}", "1000.5"))


def test_an_import_is_a_version_of_the_ledger(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    first = cloud.ledger(ledger_text(LEDGER))
    document = features(first)
    document["features"] = document["features"][:1]
    entered = import_geojson(
        cloud.engine, first, json.dumps(document), "zones.geojson", actor="gis", reason="survey", now_ms=10**12
    )
    history = cloud.facts.ledgers("site-1")

    assert [len(one.ledger.checkpoints) for one in history] == [2, 0]
    assert history[-1].ledger == entered
    assert cloud.facts.ledger("site-1") == entered
    cloud.engine.dispose()
