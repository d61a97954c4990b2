"""Patrol as routes and the command line ask for it: facts and indicators -> JSON. Blocks; `now_ms` is an argument."""

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np

from cloud.api.patrol_drawing import picture_json
from cloud.facts.blind_spots import LOOK_BACK_DAYS, Patch, last_seen, stale_patches
from cloud.facts.claims import QUARTER_MS
from cloud.facts.coverage_days import COUNTED, UNKNOWN_MAP, pose_counts
from cloud.facts.days import day_of
from cloud.facts.ledger import Ledger
from cloud.facts.ledger_patrol import Checkpoint
from cloud.facts.patrol_geojson import METRES, import_geojson, to_geojson
from cloud.facts.patrol_picture import NothingToShow, PatrolPicture, patrol_picture
from cloud.facts.patrol_plan import degrees_of
from cloud.facts.store import FactStore
from cloud.facts.visit_rows import last_end, last_visits, stays_between
from cloud.indicators.asking import Asked
from cloud.indicators.definition import Window
from cloud.indicators.patrol_look import Point, dwells_until, points_of
from cloud.indicators.patrol_use import deployment, patrolling, shares_of_hundred, sites_deployed
from devices.errors import ConfigurationError, Permanent, Problem
from devices.instants import format_instant

PATIENCE_S = 0.5
DAYS = date(2000, 1, 1), date(2199, 12, 31)  # first and last one that can be asked about
Json = dict[str, Any]
Outward = Callable[[str, float, float], list[float]]


class UnknownSite(Permanent):
    """A site without a ledger."""


class PatrolViews:
    """Over the store of facts; safe to call from several threads.

    `derives`: helps for a moment to derive what is missing, which one process at a time may do.
    """

    def __init__(self, store: FactStore, *, derives: bool = True) -> None:
        self._store = store
        self._derives = derives

    def ledger(self, site: str) -> Ledger:
        """The site's newest ledger. Raises UnknownSite."""
        ledger = self._store.ledger(site)
        if ledger is None:
            raise UnknownSite(f"there is no site {site!r}")
        return ledger

    def blind_spots(self, site: str, now_ms: int) -> Json:
        """Zones without robots, points and patches of cells that wait for a visit: heaviest and oldest first."""
        ledger, patches, points = self._blind(site, now_ms)
        return {
            "as_of": format_instant(now_ms),
            "look_back_days": LOOK_BACK_DAYS,
            "zones_without_robots": [
                {"id": zone.id, "name": zone.name.in_languages(), "floor": zone.floor}
                for zone in ledger.zones
                if zone.requires_patrol and not zone.robots
            ],
            "points": points,
            "patches": [
                {**_patch(one, place), "centre": [round(one.polygon.representative_point().x, 2),
                                                   round(one.polygon.representative_point().y, 2)]}
                for place, one in enumerate(patches, 1)
            ],
            "area_m2": sum(one.area_m2 for one in patches),
        }  # fmt: skip

    def blind_spots_geojson(self, site: str, now_ms: int, coordinates: str = METRES) -> Json:
        """The same as features: polygons of patches and points of checkpoints, in order of their rank."""
        ledger, patches, points = self._blind(site, now_ms)
        to_geojson(
            ledger.model_copy(update={"checkpoints": (), "no_go": ()}), coordinates
        )  # refuses what has no origin
        outward = _outward(ledger, coordinates)
        features: list[Json] = []
        for place, one in enumerate(patches, 1):
            rings = [one.polygon.exterior, *one.polygon.interiors]
            corners = [[outward(one.floor, x, y) for x, y in ring.coords] for ring in rings]
            features.append({"type": "Feature", "properties": {"kind": "patch", **_patch(one, place)},
                             "geometry": {"type": "Polygon", "coordinates": corners}})  # fmt: skip
        where = {one.id: one for one in ledger.checkpoints}
        for point in points:
            at = where.get(point["id"]) if point["kind"] == "checkpoint" else None
            position = at.position if isinstance(at, Checkpoint) else None
            geometry = None
            if position is not None:
                geometry = {"type": "Point", "coordinates": outward(point["floor"], *position)}
            features.append({"type": "Feature", "properties": point, "geometry": geometry})
        return {"type": "FeatureCollection", "coordinates": coordinates, "features": features}

    def utilisation(self, site: str, window: Window, now_ms: int) -> Json:
        """What each robot did in its required hours, in shares that sum to 100 %."""
        ledger = self.ledger(site)
        self._settle(ledger, now_ms)
        found = patrolling(Asked(self._store, ledger, window, now_ms))
        rows = {**found.by_robot, "": found.by_cause}
        shares = {
            robot: {"required_ms": sum(by_cause.values()), "ms": dict(by_cause), "percent": shares_of_hundred(by_cause)}
            for robot, by_cause in rows.items()
        }
        return {"all": shares.pop(""), "robots": [{"id": robot, **one} for robot, one in shares.items()]}

    def poses(self, site: str, from_ms: int, to_ms: int, now_ms: int) -> Json:
        """How many poses counted, why the others did not, and every map that no floor is called by."""
        ledger = self.ledger(site)
        self._settle(ledger, now_ms)
        history = self._store.patrol_history(ledger)
        wanted = range(from_ms // QUARTER_MS, -(-min(to_ms, now_ms) // QUARTER_MS))
        counts = pose_counts(self._store.engine, history, wanted, now_ms)
        names = {robot.device: robot.id for plan in history.plans for robot in plan.ledger.robots}
        unknown = [
            {"robot": names[device], "map": reason.removeprefix(UNKNOWN_MAP), "poses": count}
            for device, found in counts.items()
            for reason, count in found.items()
            if reason.startswith(UNKNOWN_MAP)
        ]
        robots = [
            {
                "id": names[device],
                "poses": sum(found.values()),
                "counted": found[COUNTED],
                "not_counted": {reason: count for reason, count in found.items() if reason != COUNTED},
            }
            for device, found in counts.items()
        ]
        return {"robots": robots, "unknown_maps": sorted(unknown, key=lambda one: -int(str(one["poses"])))}

    def picture(
        self, site: str, day: date | None, now_ms: int, *, floor: str | None = None, zone: str | None = None,
        robot: str | None = None,
    ) -> tuple[PatrolPicture, Json]:  # fmt: skip
        """A day's picture and what it is of. Raises NothingToShow."""
        ledger = self.ledger(site)
        self._settle(ledger, now_ms)
        ordinal = day_of(now_ms, ledger.site.time_zone) if day is None else _known(day).toordinal()
        history = self._store.patrol_history(ledger)
        picture = patrol_picture(self._store.engine, history, ordinal, now_ms, floor=floor, zone=zone, robot=robot)
        head = {
            "day": date.fromordinal(ordinal).isoformat(),
            "floor": picture.raster.floor,
            "zone": zone,
            "robot": robot,
        }
        return picture, head

    def picture_data(self, picture: PatrolPicture, head: Json) -> Json:
        """As a page takes it."""
        return picture_json(picture, head)

    def zones(self, site: str, coordinates: str, day: date | None) -> Json:
        """Zones as GeoJSON, those of a day or the newest. Raises ConfigurationError, NothingToShow."""
        newest = self.ledger(site)
        then = self._store.ledger_on(site, _known(day).toordinal()) if day is not None else None
        return to_geojson(then or newest, coordinates)

    def enter_zones(
        self, site: str, text: str, *, actor: str, reason: str, valid_from: date | None, now_ms: int
    ) -> Json:  # fmt: skip
        """Make these the site's zones from a day on. Raises ConfigurationError."""
        ledger = self.ledger(site)
        if valid_from is not None and not DAYS[0] <= valid_from <= DAYS[1]:
            raise ConfigurationError([Problem("zones", 0, 0, f"valid_from is a day from {DAYS[0]} to {DAYS[1]}")])
        entered = import_geojson(
            self._store.engine, ledger, text, "zones", actor=actor, reason=reason, now_ms=now_ms, valid_from=valid_from
        )
        return {"zones": len(entered.zones), "no_go": len(entered.no_go), "checkpoints": len(entered.checkpoints)}

    def deployment(self, window_of: Callable[[Ledger], Window], now_ms: int) -> Json:
        """DEPLOY over all sites: by area of zones, by zones, and by sites of which any zone is served."""
        sites = []
        for ledger in self._store.sites():
            found = deployment(Asked(self._store, ledger, window_of(ledger), now_ms))
            if found:
                served = [one for one in found if one.is_served]
                sites.append({
                    "site": ledger.site.id, "served": sites_deployed(found), "zones_served": len(served),
                    "zones": len(found), "area_dm2_served": sum(one.area_dm2 for one in served),
                    "area_dm2": sum(one.area_dm2 for one in found),
                })  # fmt: skip
        return {
            "sites": sites,
            "sites_served": sum(int(str(one["served"])) for one in sites),
            "sites_total": len(sites),
        }

    def is_settled(self, site: str, now_ms: int) -> bool:
        """Whether everything up to the running quarter hour is derived."""
        return self._store.is_settled(self.ledger(site), now_ms)

    def _settle(self, ledger: Ledger, now_ms: int) -> None:
        if self._derives:
            self._store.settle(ledger, now_ms, PATIENCE_S)

    def _blind(self, site: str, now_ms: int) -> tuple[Ledger, list[Patch], list[Json]]:
        ledger = self.ledger(site)
        self._settle(ledger, now_ms)
        history = self._store.patrol_history(ledger)
        plan = history.of_quarter(now_ms // QUARTER_MS)
        patches = stale_patches(plan, last_seen(self._store.engine, history, now_ms), now_ms)
        points = points_of(plan.ledger)
        dwells = dwells_until(history, day_of(now_ms, history.zone))
        last = last_visits(self._store.engine, history, dwells, now_ms)
        for place, by_device in stays_between(self._store.engine, history, now_ms - QUARTER_MS, now_ms, now_ms).items():
            end = last_end(by_device.values(), dwells[place], now_ms) if place in dwells else None
            if end is not None:
                last[place] = max(last.get(place, 0), end)
        rows = [_point(point, last.get(point.place), now_ms) for point in points]
        waiting = [row for row in rows if row["state"] != "fresh"]
        return plan.ledger, patches, sorted(waiting, key=_point_rank)


def _known(day: date) -> date:
    if not DAYS[0] <= day <= DAYS[1]:
        raise NothingToShow(f"days are from {DAYS[0]} to {DAYS[1]}")
    return day


def _point(point: Point, last_ms: int | None, now_ms: int) -> Json:
    age_ms = None if last_ms is None else now_ms - last_ms
    late = age_ms is not None and point.interval_ms is not None and age_ms > point.interval_ms
    return {
        "kind": "checkpoint" if point.is_checkpoint else "zone",
        "id": point.place.split("/", 1)[1],
        "zone": point.zone.id,
        "floor": point.zone.floor,
        "weight": point.weight,
        "state": "never" if last_ms is None else "stale" if late else "fresh",
        "last_visit_at": None if last_ms is None else format_instant(last_ms),
        "age_s": None if age_ms is None else age_ms // 1000,
        "interval_s": None if point.interval_ms is None else point.interval_ms // 1000,
    }


def _point_rank(row: Json) -> tuple[int, float, str]:
    age = np.inf if row["age_s"] is None else row["age_s"]
    return -row["weight"], -age, row["id"]


def _patch(one: Patch, place: int) -> Json:
    return {
        "rank": place,
        "zone": one.zone,
        "floor": one.floor,
        "state": "never" if one.seen_ms is None else "stale",
        "last_seen_at": None if one.seen_ms is None else format_instant(one.seen_ms),
        "cells": one.cells,
        "area_m2": one.area_m2,
        "weight": one.weight,
    }


def _outward(ledger: Ledger, coordinates: str) -> Outward:
    origins = {floor.id: floor.gps for floor in ledger.floors}

    def place(floor: str, x_m: float, y_m: float) -> list[float]:
        gps = origins[floor]
        if coordinates == METRES or gps is None:
            return [x_m, y_m]
        lat, lon = degrees_of(gps, x_m, y_m)
        return [round(lon, 9), round(lat, 9)]

    return place
