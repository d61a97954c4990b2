"""Routes that show alerts: list, detail, how it stands at a site. What people do is in alert_acting_routes.py."""

import asyncio
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from cloud.alerts.alert import CAUSES, Alert, Handling, Machine
from cloud.alerts.kpis import put_aside, stale
from cloud.alerts.store import PAGE_MAX, SORTS, Filter
from cloud.api import alert_schema, schema
from cloud.api.asking import answer, choices, ledger_of
from cloud.api.listings import IDS_MAX, SettledLists, is_settled, sorting
from cloud.api.matching import etag
from cloud.api.painting import alert_json, entry_json, thing_names
from cloud.api.picture import Json
from cloud.api.problems import not_found
from cloud.api.services import Services
from devices.instants import format_instant
from devices.rules import Severity
from devices.words import best_language, catalogue

AROUND_MS = 15 * 60_000  # of the value around the start of an alert, to either side
AROUND_POINTS = 60
_PROBLEMS: dict[int | str, dict[str, Any]] = {status: {"model": schema.ProblemBody} for status in (404, 422)}
Commas = Annotated[str | None, Query(max_length=2_000, description="comma: one of these")]


class Which(StrEnum):
    """Which alerts a list holds."""

    OPEN = "open"
    ALL = "all"


def alert_routes(services: Services) -> APIRouter:
    """Build the router."""
    routes = _AlertRoutes(services)
    router = APIRouter(tags=["alerts"], responses=_PROBLEMS)
    add = router.add_api_route
    add("/api/v1/alerts", routes.alerts, response_model=None, responses={200: {"model": alert_schema.Alerts}})
    causes: dict[int | str, dict[str, Any]] = {200: {"model": alert_schema.Causes}}
    add("/api/v1/alerts/causes", routes.causes, response_model=None, responses=causes)
    detail: dict[int | str, dict[str, Any]] = {200: {"model": alert_schema.AlertDetail}}
    add("/api/v1/alerts/{alert}", routes.alert, response_model=None, responses=detail)
    state: dict[int | str, dict[str, Any]] = {200: {"model": alert_schema.AlertState}}
    add("/api/v1/sites/{site}/alert-state", routes.state, response_model=None, responses=state)
    return router


class _AlertRoutes:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._lists = SettledLists()

    async def alerts(
        self,
        *,
        site: Commas = None,
        condition: Commas = None,
        handling: Commas = None,
        severity: Commas = None,
        rule: Commas = None,
        thing: Commas = None,
        assignee: Commas = None,
        shelved: bool | None = None,
        suppressed: bool | None = None,
        drill: bool | None = None,
        historical: bool | None = None,
        state: Which = Which.OPEN,
        sort: Annotated[str | None, Query(max_length=200)] = None,
        count: bool = False,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
        cursor: Annotated[str | None, Query(max_length=64)] = None,
    ) -> Response:
        """Alerts, newest first; by default those that are open, however old. Commas mean "or", names "and".

        Sorted otherwise (`sort=-severity,opened_at`) a list is settled with its first page.
        """
        handlings = choices("handling", handling, Handling)
        everything = state is Which.ALL or Handling.RESOLVED.value in handlings or historical is True
        wanted = Filter(
            sites=_names(site),
            conditions=choices("condition", condition, Machine),
            handlings=handlings,
            severities=choices("severity", severity, Severity),
            rules=_names(rule),
            things=_names(thing),
            assignees=_names(assignee),
            shelved=shelved,
            suppressed=suppressed,
            drill=drill,
            historical=historical,
            open_only=not everything,
        )
        found, following = await self._page(wanted, sorting(sort, list(SORTS)), limit, cursor)
        body: Json = {"items": await asyncio.to_thread(self._all_json, found), "next_cursor": following}
        if count:
            body["total"] = await asyncio.to_thread(self._services.alert_store.count, wanted)
        return answer(body)

    async def alert(self, alert: str) -> Response:
        """One alert, everything that happened to it, and the value around its start."""
        found = await asyncio.to_thread(self._services.alert_store.find, alert)
        if found is None:
            raise not_found("alert", alert)
        body = await asyncio.to_thread(self._detail, found)
        return answer(body, headers={"ETag": etag(found.version)})

    async def causes(self, language: Annotated[str, Query(max_length=20)] = "en") -> Response:
        """Causes that ship with words, for resolving an alert."""
        words = catalogue(best_language(language))
        items = [{"id": cause, "text": words[f"cause.{cause}"]} for cause in CAUSES]
        return answer({"items": items, "next_cursor": None})

    async def state(self, site: str) -> Response:
        """How many alerts are open, put aside or muted, whether the site is flooded, and what chatters or is stale."""
        await asyncio.to_thread(ledger_of, self._services, site)
        found = self._services.alerts.book.of_site(site)
        live = [one for one in found if one.is_open and not one.drill]
        shelved, suppressed = put_aside(found)
        office = self._services.office
        body = {
            "open": {colour.value: sum(one.severity is colour for one in live) for colour in Severity},
            "new": sum(one.handling is Handling.NEW for one in live),
            "shelved": shelved,
            "suppressed": suppressed,
            "flood": office is not None and office.desk.is_flooded(site),
            "chattering": office.desk.chattering(site) if office is not None else [],
            "stale": [one.id for one in stale(found, self._services.now())],
        }
        return answer(body)

    async def _page(
        self, wanted: Filter, sort: list[tuple[str, bool]], limit: int, cursor: str | None
    ) -> tuple[list[Alert], str | None]:
        store = self._services.alert_store
        if sort and cursor is None:
            cursor = self._lists.settle(await asyncio.to_thread(store.ids, wanted, sort, IDS_MAX))
        if cursor is not None and is_settled(cursor):
            ids, following = self._lists.page(cursor, limit)
            found = await asyncio.to_thread(store.of_ids, ids)
            return [one for one in found if not wanted.sites or one.key.site in wanted.sites], following
        found = await asyncio.to_thread(store.page, wanted, limit + 1, cursor)
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    def _all_json(self, alerts: list[Alert]) -> list[Json]:
        names = {site: names_of(self._services, site) for site in {alert.key.site for alert in alerts}}
        return [shown_alert(self._services, alert, names[alert.key.site]) for alert in alerts]

    def _detail(self, alert: Alert) -> Json:
        history = self._services.alert_store.history(alert)
        body = shown_alert(self._services, alert, names_of(self._services, alert.key.site))
        return body | {"history": [entry_json(entry) for entry in history], "around": self._around(alert)}

    def _around(self, alert: Alert) -> Json | None:
        """The value that stands for the device, else one that its state comes of, around the start."""
        ledger = self._services.numbers.ledger(alert.key.site)
        devices: dict[str, str] = {}
        if ledger is not None:
            devices = {one.id: one.device for one in ledger.equipment} | {one.id: one.device for one in ledger.robots}
        named = devices.get(alert.key.thing, alert.key.thing)
        device = self._services.live.site(alert.key.site).devices.get(named)
        profile = device.profile if device is not None else None
        if profile is None:
            return None
        measured = [one for one in profile.points if profile.unit_of(one)]
        point = alert.parameters.get("point") or next(iter([*measured, *sorted(profile.state_points)]), None)
        if point is None:
            return None
        span = alert.opened_ms - AROUND_MS, alert.opened_ms + AROUND_MS
        chart = self._services.history.series(alert.key.site, named, point, *span, points=AROUND_POINTS)
        items = [
            [format_instant(one.from_ms), one.minimum, one.average, one.maximum, one.count] for one in chart.buckets
        ]
        unit = profile.unit_of(point) if point in profile.points else None
        return {"device": named, "point": point, "unit": unit, "items": items}


def names_of(services: Services, site: str) -> dict[str, Json]:
    """Names of the things of a site by id; none where it has no ledger. Blocks."""
    ledger = services.numbers.ledger(site)
    return thing_names(ledger) if ledger is not None else {}


def shown_alert(services: Services, alert: Alert, names: dict[str, Json]) -> Json:
    """An alert as the routes show it: with how much is told with it."""
    muted = services.office.desk.muted(alert) if services.office is not None and alert.is_open else 0
    return alert_json(alert, names) | {"muted": muted}


def _names(text: str | None) -> frozenset[str]:
    return frozenset(part for part in (text or "").split(",") if part)
