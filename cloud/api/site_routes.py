"""Routes of sites: list, equipment, snapshot, stream, series."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from cloud.api import schema
from cloud.api.asking import answer, ledger_of, listing, span
from cloud.api.gateway_routes import gateway_items
from cloud.api.painting import equipment_row
from cloud.api.problems import Problem, unusable
from cloud.api.services import Services
from cloud.api.sign_in import visible
from cloud.api.stream import DeltaStream, Position, parse_position
from cloud.history.store import POINTS_MAX
from devices.instants import format_instant

_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": schema.ProblemBody}, 422: {"model": schema.ProblemBody}}


def site_routes(services: Services) -> APIRouter:
    """Build the router."""
    routes = _SiteRoutes(services)
    router = APIRouter(prefix="/api/v1/sites", tags=["sites"], responses=_NOT_FOUND)
    add = router.add_api_route
    add("", routes.sites, response_model=None, responses={200: {"model": schema.Sites}})
    add("/{site}/equipment", routes.equipment, response_model=None, responses={200: {"model": schema.EquipmentList}})
    add("/{site}/snapshot", routes.snapshot, response_model=None, responses={200: {"model": schema.Snapshot}})
    events = {"description": "Numbered deltas", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    add("/{site}/stream", routes.stream, response_model=None, responses={200: events})
    add("/{site}/series", routes.series, response_model=None, responses={200: {"model": schema.Series}})
    return router


class _SiteRoutes:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def sites(self, request: Request) -> Response:
        """Every site that who asks may see."""
        ledgers = await asyncio.to_thread(self._services.numbers.sites)
        ledgers = [ledger for ledger in ledgers if visible(request, ledger.site.id)]
        gateways = gateway_items(self._services)
        items: list[object] = []
        for ledger in ledgers:
            mine = [one for one in gateways if one["site"] == ledger.site.id]
            items.append(
                {
                    "id": ledger.site.id,
                    "name": ledger.site.name.in_languages(),
                    "type": ledger.site.type,
                    "zone": ledger.site.zone,
                    "gateways_online": sum(one["online"] for one in mine),
                    "gateways_total": len(mine),
                }
            )
        return listing(items)

    async def equipment(self, site: str) -> Response:
        """Every equipment of a site with its state and its last 24 hours."""
        services, now_ms = self._services, self._services.now()
        ledger = await asyncio.to_thread(ledger_of, services, site)
        past = await services.pages.page(site).past(now_ms)
        devices = services.live.site(site).devices
        return listing([equipment_row(one, devices.get(one.device), past, now_ms) for one in ledger.equipment])

    async def snapshot(self, site: str, request: Request) -> Response:
        """Everything the page of a site shows; its ETag is the position in the stream."""
        await asyncio.to_thread(ledger_of, self._services, site)
        position, body = await self._services.pages.page(site).snapshot(self._services.now())
        headers = {"ETag": f'"{position}"', "Cache-Control": "no-cache"}
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    async def stream(self, site: str, request: Request, since: str | None = None) -> Response:
        """Server-sent events from `since` (or the header Last-Event-ID) on."""
        await asyncio.to_thread(ledger_of, self._services, site)
        if self._services.pages.is_stopped:
            raise Problem(503, "stopping", "The server is stopping.", headers={"Retry-After": "1"})
        position = _since(request.headers.get("last-event-id"), since)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        events = _events(self._services.pages.page(site).stream, position)
        return StreamingResponse(events, headers=headers, media_type="text/event-stream")

    async def series(
        self,
        *,
        site: str,
        device: str,
        point: str,
        from_: Annotated[str, Query(alias="from")],
        to: str,
        points: Annotated[int, Query(ge=2, le=POINTS_MAX)] = 500,
    ) -> Response:
        """A series for a chart, in at most `points` buckets."""
        if (wanted := span(from_, to)) is None:
            raise unusable("/query/from", "from and to are needed", "missing")
        await asyncio.to_thread(ledger_of, self._services, site)
        chart = await asyncio.to_thread(self._services.history.series, site, device, point, *wanted, points=points)
        known = {bucket.from_ms: bucket for bucket in chart.buckets}
        begin = wanted[0] // chart.resolution_ms * chart.resolution_ms
        items: list[object] = []
        for start in range(begin, wanted[1], chart.resolution_ms):
            one = known.get(start)
            numbers = (one.minimum, one.average, one.maximum, one.count) if one else (None, None, None, 0)
            items.append((format_instant(start), *numbers))
        known_as = self._services.live.site(site).devices.get(device)
        held = known_as.held.get(point) if known_as is not None else None
        return answer({"items": items, "resolution_ms": chart.resolution_ms, "unit": held.unit if held else None})


def _since(last_event_id: str | None, since: str | None) -> Position | None:
    text = last_event_id or since
    if not text:
        return None
    try:
        return parse_position(text)
    except ValueError as error:
        raise unusable("/query/since", str(error), "bad_position") from error


async def _events(stream: DeltaStream, since: Position | None) -> AsyncIterator[bytes]:
    # opened in here, so that a reader who leaves before the first byte leaves nothing behind
    reader = stream.open(since)
    try:
        async for message in reader.messages():
            yield message
    finally:
        stream.close(reader)
