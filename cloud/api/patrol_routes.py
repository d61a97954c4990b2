"""Routes of patrol: blind spots, pictures of a day, what robots did, poses that did not count, zones as GeoJSON."""

import asyncio
import json
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from cloud.api import schema
from cloud.api.acting import actor_of
from cloud.api.asking import answer, span
from cloud.api.patrol_drawing import picture_png, picture_svg
from cloud.api.patrol_views import PatrolViews, UnknownSite
from cloud.api.problems import Problem
from cloud.facts.failures import asking
from cloud.facts.ledger import Ledger
from cloud.facts.patrol_picture import NothingToShow
from cloud.indicators.definition import Window
from cloud.indicators.windows import named_window
from devices.errors import ConfigurationError

_PROBLEMS: dict[int | str, dict[str, Any]] = {status: {"model": schema.ProblemBody} for status in (404, 422)}
Coordinates = Literal["metres", "wgs84"]
WindowName = Literal["24h", "today", "month"]
_T = TypeVar("_T")


class ZonesBody(BaseModel):
    """Zones, no-go areas and checkpoints that take the place of those before from a day on."""

    model_config = ConfigDict(extra="forbid")
    actor: str | None = Field(default=None, max_length=100)
    reason: str = Field(min_length=1, max_length=2_000)
    valid_from: date | None = None
    zones: dict[str, Any]


def patrol_routes(views: PatrolViews, now: Callable[[], int]) -> APIRouter:
    """Build the router."""
    routes = _PatrolRoutes(views, now)
    router = APIRouter(prefix="/api/v1", tags=["patrol"], responses=_PROBLEMS)
    add = router.add_api_route
    one = "/sites/{site}/patrol"
    add(f"{one}/blind-spots", routes.blind_spots, response_model=None)
    add(f"{one}/blind-spots.geojson", routes.blind_spots_geojson, response_model=None)
    add(f"{one}/utilisation", routes.utilisation, response_model=None)
    add(f"{one}/poses", routes.poses, response_model=None)
    add(f"{one}/picture", routes.picture, response_model=None)
    add(f"{one}/zones.geojson", routes.zones, response_model=None)
    add(f"{one}/zones", routes.enter_zones, methods=["PUT"], response_model=None)
    add("/patrol/deployment", routes.deployment, response_model=None)
    return router


class _PatrolRoutes:
    def __init__(self, views: PatrolViews, now: Callable[[], int]) -> None:
        self._views = views
        self._now = now

    async def blind_spots(self, site: str) -> Response:
        """What no robot visited, or too long ago: heaviest and oldest first; zones without robots."""
        return answer(await self._ask(self._views.blind_spots, site, self._now()))

    async def blind_spots_geojson(self, site: str, coordinates: Coordinates = "metres") -> Response:
        """The same as GeoJSON, in metres of the floor or, where it has a GPS origin, in degrees."""
        found = await self._ask(self._views.blind_spots_geojson, site, self._now(), coordinates)
        return _geojson(found)

    async def utilisation(
        self, site: str, window: WindowName = "today",
        from_: Annotated[str | None, Query(alias="from")] = None, to: str | None = None,
    ) -> Response:  # fmt: skip
        """What each robot did in its required hours: shares that sum to 100 %."""
        now_ms, wanted = self._now(), span(from_, to)

        def ask() -> object:
            chosen = Window(*wanted) if wanted else _named(self._views.ledger(site), window, now_ms)
            return self._views.utilisation(site, chosen, now_ms)

        return answer(await self._ask(ask))

    async def poses(
        self, site: str, window: WindowName = "today",
        from_: Annotated[str | None, Query(alias="from")] = None, to: str | None = None,
    ) -> Response:  # fmt: skip
        """How many poses counted and why others did not, with every map that no floor is called by."""
        now_ms, wanted = self._now(), span(from_, to)

        def ask() -> object:
            chosen = Window(*wanted) if wanted else _named(self._views.ledger(site), window, now_ms)
            return self._views.poses(site, chosen.from_ms, chosen.to_ms, now_ms)

        return answer(await self._ask(ask))

    async def picture(
        self, site: str, *, day: date | None = None, floor: str | None = None, zone: str | None = None,
        robot: str | None = None, form: Annotated[Literal["json", "png", "svg"], Query(alias="format")] = "json",
    ) -> Response:  # fmt: skip
        """A day's paths, passes by cell and what is not visited; of one robot or all, of a zone or a floor."""
        now_ms = self._now()

        def ask() -> Response:
            picture, head = self._views.picture(site, day, now_ms, floor=floor, zone=zone, robot=robot)
            if form == "png":
                return Response(picture_png(picture), media_type="image/png")
            if form == "svg":
                title = " ".join(str(part) for part in (site, *head.values()) if part)
                return Response(picture_svg(picture, title), media_type="image/svg+xml")
            return answer(self._views.picture_data(picture, head))

        return await self._ask(ask)

    async def zones(self, site: str, coordinates: Coordinates = "metres", day: date | None = None) -> Response:
        """Zones, no-go areas and checkpoints as GeoJSON: the newest, or those of a day."""
        return _geojson(await self._ask(self._views.zones, site, coordinates, day))

    async def enter_zones(self, site: str, body: ZonesBody, request: Request) -> Response:
        """Replace the zones from a day on: a version of the ledger."""
        actor, now_ms = actor_of(request, body.actor), self._now()

        def ask() -> object:
            text = json.dumps(body.zones, ensure_ascii=False, indent=1)
            return self._views.enter_zones(
                site, text, actor=actor, reason=body.reason, valid_from=body.valid_from, now_ms=now_ms
            )

        return answer(await self._ask(ask))

    async def deployment(self, window: WindowName = "month") -> Response:
        """Which share of sites, zones and area has robots in service."""
        now_ms = self._now()
        return answer(await self._ask(self._views.deployment, lambda one: _named(one, window, now_ms), now_ms))

    async def _ask(self, look: Callable[..., _T], *arguments: object) -> _T:
        def asked() -> _T:
            with asking("facts"):
                return look(*arguments)

        try:
            return await asyncio.to_thread(asked)
        except (UnknownSite, NothingToShow) as error:
            raise Problem(404, "not_found", f"{str(error)[:1].upper()}{str(error)[1:]}.") from error
        except ConfigurationError as error:
            problems = [{"pointer": "/body/zones", "detail": str(one), "code": "bad_zones"} for one in error.problems]
            raise Problem(422, "bad_zones", str(error.problems[0]), errors=problems) from error


def _named(ledger: Ledger, window: str, now_ms: int) -> Window:
    return named_window(window, ledger.site.time_zone, now_ms)


def _geojson(found: object) -> Response:
    return Response(json.dumps(found, ensure_ascii=False, separators=(",", ":")), media_type="application/geo+json")
