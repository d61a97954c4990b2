"""Routes of alerts: list, detail, acknowledge, resolve."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from cloud.alerts.alert import (
    Alert,
    AlreadyAcknowledged,
    AlreadyResolved,
    BadRequest,
    ConditionActive,
    Handling,
    Machine,
)
from cloud.alerts.handling import Acknowledged, Resolved
from cloud.alerts.store import PAGE_MAX, Filter, VersionMismatch
from cloud.api import schema
from cloud.api.asking import answer, choices, listing
from cloud.api.painting import alert_json, entry_json, thing_names
from cloud.api.picture import Json
from cloud.api.problems import Problem, not_found, unusable
from cloud.api.services import Services
from devices.instants import format_instant
from devices.rules import Severity

_PROBLEMS: dict[int | str, dict[str, Any]] = {status: {"model": schema.ProblemBody} for status in (404, 409, 412, 422)}
IfMatch = Annotated[str | None, Header()]


class Which(StrEnum):
    """Which alerts a list holds."""

    OPEN = "open"
    ALL = "all"


def alert_routes(services: Services) -> APIRouter:
    """Build the router."""
    routes = _AlertRoutes(services)
    router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"], responses=_PROBLEMS)
    add = router.add_api_route
    item: dict[int | str, dict[str, Any]] = {200: {"model": schema.AlertItem}}
    add("", routes.alerts, response_model=None, responses={200: {"model": schema.Alerts}})
    add("/{alert}", routes.alert, response_model=None, responses={200: {"model": schema.AlertDetail}})
    add("/{alert}/acknowledgement", routes.acknowledge, methods=["POST"], response_model=None, responses=item)
    add("/{alert}/resolution", routes.resolve, methods=["POST"], response_model=None, responses=item)
    return router


class _AlertRoutes:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def alerts(
        self,
        *,
        site: str | None = None,
        condition: str | None = None,
        handling: str | None = None,
        severity: str | None = None,
        state: Which = Which.OPEN,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
        cursor: Annotated[str | None, Query(max_length=64)] = None,
    ) -> Response:
        """Alerts, newest first; by default those that are open, however old. Commas mean "or"."""
        handlings = choices("handling", handling, Handling)
        wanted = Filter(
            sites=frozenset(part for part in (site or "").split(",") if part),
            conditions=choices("condition", condition, Machine),
            handlings=handlings,
            severities=choices("severity", severity, Severity),
            open_only=state is Which.OPEN and Handling.RESOLVED.value not in handlings,
        )
        found = await asyncio.to_thread(self._services.alert_store.page, wanted, limit + 1, cursor)
        items: list[object] = [await asyncio.to_thread(self._json, alert) for alert in found[:limit]]
        return listing(items, found[limit - 1].id if len(found) > limit else None)

    async def alert(self, alert: str) -> Response:
        """One alert and everything that happened to it."""
        found = await self._find(alert)
        history = await asyncio.to_thread(self._services.alert_store.history, found)
        body = await asyncio.to_thread(self._json, found)
        return _versioned(found, body | {"history": [entry_json(entry) for entry in history]})

    async def acknowledge(self, alert: str, body: schema.AcknowledgementBody, if_match: IfMatch = None) -> Response:
        """Say that somebody has taken notice. 409 names who was first."""
        found, event = await self._find(alert), Acknowledged(body.actor, body.note)
        return await self._handled(self._services.alerts.acknowledge, found, event, if_match)

    async def resolve(self, alert: str, body: schema.ResolutionBody, if_match: IfMatch = None) -> Response:
        """Say that it is dealt with, after its condition has ended."""
        found, event = await self._find(alert), Resolved(body.actor, body.cause, body.note)
        return await self._handled(self._services.alerts.resolve, found, event, if_match)

    async def _handled(
        self,
        act: "Callable[[Alert, Any, int | None], Awaitable[Alert]]",
        alert: Alert,
        event: Acknowledged | Resolved,
        if_match: str | None,
    ) -> Response:
        try:
            after = await act(alert, event, _version(if_match))
        except AlreadyAcknowledged as error:
            who = {"acknowledged_by": error.actor, "acknowledged_at": format_instant(error.at_ms)}
            raise Problem(409, "already_acknowledged", str(error), extra=who) from error
        except AlreadyResolved as error:
            raise Problem(409, "already_resolved", str(error)) from error
        except ConditionActive as error:
            raise Problem(409, "condition_active", str(error)) from error
        except BadRequest as error:
            raise unusable(f"/body/{error.field}", str(error), "lacking") from error
        except VersionMismatch as error:
            raise Problem(412, "version_mismatch", str(error)) from error
        return _versioned(after, await asyncio.to_thread(self._json, after))

    async def _find(self, alert: str) -> Alert:
        found = await asyncio.to_thread(self._services.alert_store.find, alert)
        if found is None:
            raise not_found("alert", alert)
        return found

    def _json(self, alert: Alert) -> Json:
        ledger = self._services.numbers.ledger(alert.key.site)
        return alert_json(alert, thing_names(ledger) if ledger is not None else {})


def _version(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().strip('"')
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise unusable("/header/if-match", 'expected the ETag of the alert, like "3"', "bad_etag")
    return int(text)


def _versioned(alert: Alert, body: Json) -> Response:
    return answer(body, headers={"ETag": f'"{alert.version}"'})
