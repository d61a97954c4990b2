"""Routes of a site's indicators: list, one, trend."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from cloud.api import schema
from cloud.api.asking import answer, ledger_of, listing, span
from cloud.api.painting import indicator_json
from cloud.api.problems import Problem, unusable
from cloud.api.services import Services
from cloud.indicators.definition import BadWindow, UnknownIndicator
from devices.instants import format_instant

TREND_DAYS_MAX = 90
WindowName = Literal["24h", "today", "month", "now"]
From = Annotated[str | None, Query(alias="from")]
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": schema.ProblemBody}, 422: {"model": schema.ProblemBody}}


def indicator_routes(services: Services) -> APIRouter:
    """Build the router."""
    routes = _IndicatorRoutes(services)
    router = APIRouter(prefix="/api/v1/sites/{site}/indicators", tags=["indicators"], responses=NOT_FOUND)
    add = router.add_api_route
    add("", routes.indicators, response_model=None, responses={200: {"model": schema.Indicators}})
    add("/{indicator}", routes.indicator, response_model=None, responses={200: {"model": schema.IndicatorItem}})
    add("/{indicator}/trend", routes.trend, response_model=None, responses={200: {"model": schema.Trend}})
    return router


class _IndicatorRoutes:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def indicators(
        self, site: str, window: WindowName | None = None, from_: From = None, to: str | None = None
    ) -> Response:
        """Every indicator of a site, over its own default window, the one named, or [from, to)."""
        wanted = span(from_, to) or window

        def compute() -> list[object]:
            ledger_of(self._services, site)
            found = self._services.numbers.indicators(site, wanted, self._services.now())
            return [indicator_json(one) for one in found]

        return listing(await asyncio.to_thread(compute))

    async def indicator(
        self, site: str, indicator: str, window: WindowName | None = None, from_: From = None, to: str | None = None
    ) -> Response:
        """One indicator, over a named window or over [from, to)."""
        wanted = span(from_, to) or window

        def compute() -> object:
            ledger_of(self._services, site)
            return indicator_json(self._services.numbers.indicator(site, indicator, wanted, self._services.now()))

        try:
            return answer(await asyncio.to_thread(compute))
        except UnknownIndicator as error:
            raise Problem(404, "not_found", f"There is no indicator {indicator!r}.") from error
        except BadWindow as error:
            raise unusable("/query/window", str(error), "bad_window") from error

    async def trend(
        self, site: str, indicator: str, days: Annotated[int | None, Query(ge=1, le=TREND_DAYS_MAX)] = None
    ) -> Response:
        """One indicator by day (occupancy: by hour)."""

        def compute() -> object:
            ledger_of(self._services, site)
            line = self._services.numbers.trend(site, indicator, days, self._services.now())
            items = [(format_instant(time_ms), value) for time_ms, value in line.items]
            return {"items": items, "step": line.step, "target": line.target}

        try:
            return answer(await asyncio.to_thread(compute))
        except UnknownIndicator as error:
            raise Problem(404, "not_found", f"There is no indicator {indicator!r}.") from error
