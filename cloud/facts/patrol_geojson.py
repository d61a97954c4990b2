"""Zones, no-go areas and checkpoints as GeoJSON (RFC 7946), and back into a ledger.

Coordinates are metres of the floor unless the collection says `"coordinates": "wgs84"`: then they are longitude and
latitude, and the floor must have a GPS origin. What a feature is stands in its `kind`: zone, no-go or checkpoint; its
other properties are the fields of the ledger. A collection is complete: what it leaves out is left out of the ledger.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import Field

from cloud.facts.ledger import Floor, Ledger
from cloud.facts.ledger_patrol import Checkpoint, NoGo, Polygon, Zone
from cloud.facts.ledgers import import_ledger
from cloud.facts.patrol_plan import degrees_of, metres_on
from devices.document import Mistake, Path_, Section, locate, parse_document
from devices.errors import ConfigurationError, Problem

METRES, WGS84 = "metres", "wgs84"
FEATURES_MAX = 15_000
DEGREE_DECIMALS, METRE_DECIMALS = 9, 3  # a tenth of a millimetre, a millimetre
Json = dict[str, Any]
Pair = tuple[float, float]
_SECTIONS: dict[str, tuple[str, type[Section]]] = {
    "zone": ("zones", Zone), "no-go": ("no_go", NoGo), "checkpoint": ("checkpoints", Checkpoint),
}  # fmt: skip


class _Point(Section):
    type: Literal["Point"]
    coordinates: Pair


class _Feature(Section):
    type: Literal["Feature"]
    id: str | int | None = None
    bbox: tuple[float, ...] | None = None
    properties: dict[str, Any]
    geometry: Polygon | _Point | None = None


class _Collection(Section):
    type: Literal["FeatureCollection"]
    name: str | None = None
    bbox: tuple[float, ...] | None = None
    coordinates: Literal["metres", "wgs84"] = "metres"
    features: tuple[_Feature, ...] = Field(max_length=FEATURES_MAX)

    def mistakes(self) -> Iterable[Mistake]:
        for index, feature in enumerate(self.features):
            kind, place = feature.properties.get("kind"), ("features", index)
            if not isinstance(kind, str) or kind not in _SECTIONS:
                yield Mistake((*place, "properties"), "expected a kind: zone, no-go or checkpoint")
            elif kind == "checkpoint" and isinstance(feature.geometry, Polygon):
                yield Mistake((*place, "geometry"), "a checkpoint is a Point, or has no geometry but a node")
            elif kind != "checkpoint" and not isinstance(feature.geometry, Polygon):
                yield Mistake((*place, "geometry"), f"a {kind} is a Polygon")


def to_geojson(ledger: Ledger, coordinates: str = METRES) -> Json:
    """The patrol of a ledger. Raises ConfigurationError for WGS 84 where a floor has no GPS origin."""
    floors = {floor.id: floor for floor in ledger.floors}
    zone_floor = {zone.id: floors[zone.floor] for zone in ledger.zones}
    features = [_area("zone", zone, floors[zone.floor], coordinates) for zone in ledger.zones]
    features += [_area("no-go", area, floors[area.floor], coordinates) for area in ledger.no_go]
    for one in ledger.checkpoints:
        place = None
        if one.position is not None:
            at = _outward(zone_floor[one.zone], coordinates)(one.position)
            place = {"type": "Point", "coordinates": list(at)}
        features.append(_feature("checkpoint", one, place, exclude={"position"}))
    return {"type": "FeatureCollection", "name": ledger.site.id, "coordinates": coordinates, "features": features}


def with_geojson(ledger: Ledger, text: str, file_name: str) -> Ledger:
    """The ledger with the patrol of a GeoJSON text in place of its own.

    Raises ConfigurationError with every problem: outlines that cross themselves, areas beyond the floor, ids of
    floors, zones or robots that there are not.
    """
    collection = parse_document(text, file_name, _Collection)
    floors = {floor.id: floor for floor in ledger.floors}
    zone_floor = {
        str(one.properties.get("id")): str(one.properties.get("floor"))
        for one in collection.features
        if one.properties.get("kind") == "zone"
    }
    found: dict[str, list[Section]] = {"zones": [], "no_go": [], "checkpoints": []}
    sources: dict[str, list[int]] = {section: [] for section in found}
    mistakes: list[Mistake] = []
    for index, feature in enumerate(collection.features):
        section, model = _SECTIONS[feature.properties["kind"]]
        named = feature.properties.get("floor") or zone_floor.get(str(feature.properties.get("zone")))
        try:
            item = _item(feature, floors.get(str(named)), collection.coordinates)
            found[section].append(parse_document(json.dumps(item), file_name, model))
            sources[section].append(index)
        except _NoOrigin as error:
            mistakes.append(Mistake(("features", index, "properties"), str(error)))
        except ConfigurationError as error:
            mistakes += [Mistake(("features", index, "properties"), problem.message) for problem in error.problems]
    if mistakes:
        raise ConfigurationError(locate(text, file_name, mistakes))
    fields = {name: getattr(ledger, name) for name in Ledger.model_fields}
    entered = Ledger.model_construct(**fields | {section: tuple(items) for section, items in found.items()})
    wrong = [_in_collection(mistake, sources) for mistake in entered.mistakes()]
    if wrong:
        raise ConfigurationError(_problems(text, file_name, wrong))
    return entered


def import_geojson(
    engine: sa.Engine, ledger: Ledger, text: str, file_name: str, *, actor: str, reason: str, now_ms: int,
    valid_from: date | None = None,
) -> Ledger:  # fmt: skip
    """Make the ledger with this patrol the site's newest version. Raises ConfigurationError."""
    entered = with_geojson(ledger, text, file_name)
    return import_ledger(
        engine, ledger_text_of(entered), file_name, actor=actor, now_ms=now_ms, reason=reason, valid_from=valid_from
    )


def ledger_text_of(ledger: Ledger) -> str:
    """A ledger as a document again: JSON, which is YAML."""
    return json.dumps(
        ledger.model_dump(mode="json", by_alias=True, exclude_defaults=True), ensure_ascii=False, indent=1
    )


class _NoOrigin(ValueError):
    """Degrees on a floor that does not say where it lies."""


def _feature(kind: str, one: Section, geometry: Json | None, exclude: set[str]) -> Json:
    fields = one.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=exclude)
    return {"type": "Feature", "id": fields["id"], "properties": {"kind": kind, **fields}, "geometry": geometry}


def _area(kind: str, one: Zone | NoGo, floor: Floor, coordinates: str) -> Json:
    move = _outward(floor, coordinates)
    rings = [[list(move(corner)) for corner in ring] for ring in one.geometry.coordinates]
    return _feature(kind, one, {"type": "Polygon", "coordinates": rings}, exclude={"geometry"})


def _outward(floor: Floor, coordinates: str) -> Callable[[Pair], Pair]:
    if coordinates == METRES:
        return lambda place: place
    gps = floor.gps
    if gps is None:
        raise ConfigurationError([Problem("ledger", 0, 0, f"the floor {floor.id!r} has no GPS origin")])

    def degrees(place: Pair) -> Pair:
        lat, lon = degrees_of(gps, *place)
        return round(lon, DEGREE_DECIMALS), round(lat, DEGREE_DECIMALS)

    return degrees


def _item(feature: _Feature, floor: Floor | None, coordinates: str) -> Json:
    """The feature as the ledger writes it."""
    item = {key: value for key, value in feature.properties.items() if key != "kind"}
    move = _inward(floor, coordinates)
    if isinstance(feature.geometry, Polygon):
        rings = [[list(move(corner)) for corner in ring] for ring in feature.geometry.coordinates]
        item["geometry"] = {"type": "Polygon", "coordinates": rings}
    elif feature.geometry is not None:
        item["position"] = list(move(feature.geometry.coordinates))
    return item


def _inward(floor: Floor | None, coordinates: str) -> Callable[[Pair], Pair]:
    if coordinates == METRES or floor is None:  # an unknown floor is told as such later
        return lambda place: place
    gps = floor.gps
    if gps is None:
        raise _NoOrigin(f"the floor {floor.id!r} has no GPS origin, so degrees say nothing there")

    def metres(place: Pair) -> Pair:
        x_m, y_m = metres_on(gps, place[1], place[0])
        return round(x_m, METRE_DECIMALS), round(y_m, METRE_DECIMALS)

    return metres


def _in_collection(mistake: Mistake, sources: Mapping[str, Sequence[int]]) -> Mistake:
    """The mistake at its feature; one about something else of the ledger stays where it is."""
    match mistake.path:
        case (str() as section, int() as index, *rest) if section in sources:
            inner: Path_ = tuple(rest) if rest[:1] == ["geometry"] else ("properties", *rest)
            return Mistake(("features", sources[section][index], *inner), mistake.message)
    return mistake


def _problems(text: str, file_name: str, mistakes: Sequence[Mistake]) -> list[Problem]:
    inside = [one for one in mistakes if one.path[:1] == ("features",)]
    outside = [one for one in mistakes if one.path[:1] != ("features",)]
    elsewhere = [Problem("ledger", 0, 0, f"{'.'.join(map(str, one.path))}: {one.message}") for one in outside]
    return locate(text, file_name, inside) + elsewhere
