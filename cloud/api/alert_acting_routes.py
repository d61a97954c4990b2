"""Routes by which people handle alerts, one at a time or many in one request.

POST takes If-Match (412 when the alert changed meanwhile) and Idempotency-Key; what removes or replaces needs
If-Match (428).
"""

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from cloud.access.rights import Act
from cloud.alerts.alert import Alert, AlreadyAcknowledged, AlreadyResolved, BadRequest, ConditionActive
from cloud.alerts.handling import (
    Acknowledged,
    Arrived,
    Assigned,
    Commented,
    Resolved,
    Shelved,
    Ticketed,
    Unshelved,
)
from cloud.alerts.lifecycle import OfPeople
from cloud.alerts.store import VersionMismatch
from cloud.api import alert_schema, schema
from cloud.api.acting import actor_of
from cloud.api.alert_routes import names_of, shown_alert
from cloud.api.asking import answer
from cloud.api.matching import IfMatch, etag, must_have_seen, seen_version
from cloud.api.once import once_route
from cloud.api.picture import Json
from cloud.api.problems import Problem, not_found, unusable
from cloud.api.services import Services
from cloud.api.sign_in import must
from devices.instants import format_instant, parse_instant

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": schema.ProblemBody} for status in (404, 409, 412, 422, 428)
}


def alert_acting_routes(services: Services) -> APIRouter:
    """Build the router."""
    routes = _ActingRoutes(services)
    answered = services.office.answered if services.office is not None else None
    router = APIRouter(
        prefix="/api/v1/alerts",
        tags=["alerts"],
        responses=_PROBLEMS,
        route_class=once_route(answered, services.now),
    )
    item: dict[int | str, dict[str, Any]] = {200: {"model": schema.AlertItem}}
    bulk: dict[int | str, dict[str, Any]] = {200: {"model": alert_schema.BulkResult}}
    router.add_api_route("/bulk", routes.bulk, methods=["POST"], response_model=None, responses=bulk)
    for path, method, route in (
        ("acknowledgement", "POST", routes.acknowledge),
        ("assignment", "POST", routes.assign),
        ("comments", "POST", routes.comment),
        ("shelf", "POST", routes.shelve),
        ("shelf", "DELETE", routes.unshelve),
        ("arrival", "POST", routes.arrive),
        ("resolution", "POST", routes.resolve),
        ("ticket", "PUT", routes.ticket),
    ):
        router.add_api_route(f"/{{alert}}/{path}", route, methods=[method], response_model=None, responses=item)
    return router


class _ActingRoutes:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def acknowledge(
        self, request: Request, alert: str, body: alert_schema.AcknowledgementBody, if_match: IfMatch = None
    ) -> Response:
        """Say that somebody has taken notice. 409 names who was first."""
        event = Acknowledged(actor_of(request, body.actor), body.note)
        return await self._done(alert, event, seen_version(if_match))

    async def assign(
        self, request: Request, alert: str, body: alert_schema.AssignmentBody, if_match: IfMatch = None
    ) -> Response:
        """Name who is to see to it."""
        event = Assigned(actor_of(request, body.actor), body.assignee, body.note)
        return await self._done(alert, event, seen_version(if_match))

    async def comment(
        self, request: Request, alert: str, body: alert_schema.CommentBody, if_match: IfMatch = None
    ) -> Response:
        """Say something; closed alerts take comments, too."""
        event = Commented(actor_of(request, body.actor), body.note)
        return await self._done(alert, event, seen_version(if_match))

    async def shelve(
        self, request: Request, alert: str, body: alert_schema.ShelfBody, if_match: IfMatch = None
    ) -> Response:
        """Put aside until a time at most seven days ahead; it is back by itself."""
        event = Shelved(actor_of(request, body.actor), body.reason, _instant(body.until))
        return await self._done(alert, event, seen_version(if_match))

    async def unshelve(
        self, request: Request, alert: str, actor: str | None = None, if_match: IfMatch = None
    ) -> Response:
        """Take back from the shelf before its time."""
        event = Unshelved(actor_of(request, actor))
        return await self._done(alert, event, must_have_seen(if_match))

    async def arrive(
        self, request: Request, alert: str, body: alert_schema.ActionBody, if_match: IfMatch = None
    ) -> Response:
        """Say that somebody is on the scene; the first one counts."""
        event = Arrived(actor_of(request, body.actor), body.note)
        return await self._done(alert, event, seen_version(if_match))

    async def resolve(
        self, request: Request, alert: str, body: alert_schema.ResolutionBody, if_match: IfMatch = None
    ) -> Response:
        """Say that it is dealt with, after its condition has ended; orange and red need a cause and a note."""
        event = Resolved(actor_of(request, body.actor), body.cause, body.note)
        return await self._done(alert, event, seen_version(if_match))

    async def ticket(
        self, request: Request, alert: str, body: alert_schema.TicketBody, if_match: IfMatch = None
    ) -> Response:
        """Keep the number that another system has for it."""
        event = Ticketed(actor_of(request, body.actor), body.ticket)
        return await self._done(alert, event, must_have_seen(if_match))

    async def bulk(self, request: Request, body: alert_schema.BulkBody) -> Response:
        """Do one thing to many alerts. Each item of the answer has the status that it would have had alone."""
        event = _event_of(body, actor_of(request, body.actor))
        act = Act.DIRECT if body.action == "assign" else Act.HANDLE
        store, names = self._services.alert_store, dict[str, dict[str, Json]]()
        ids = list(dict.fromkeys(one.id for one in body.alerts))
        known = {alert.id: alert for alert in await asyncio.to_thread(store.of_ids, ids)}
        items: list[Json] = []
        for one in body.alerts:
            found = known.get(one.id)
            try:
                if found is None:
                    raise not_found("alert", one.id)
                must(request, act, found.key.site, f"/api/v1/alerts/{one.id}")
                after = await self._apply(found, event, one.version)
            except Problem as problem:
                wrong = {"code": problem.code, "detail": problem.detail, **problem.extra}
                items.append({"id": one.id, "status": problem.status, "alert": None, "problem": wrong})
                continue
            site = after.key.site
            if site not in names:
                names[site] = await asyncio.to_thread(names_of, self._services, site)
            shown = shown_alert(self._services, after, names[site])
            items.append({"id": one.id, "status": 200, "alert": shown, "problem": None})
        return answer({"items": items})

    async def _done(self, alert: str, event: OfPeople, version: int | None) -> Response:
        found = await asyncio.to_thread(self._services.alert_store.find, alert)
        if found is None:
            raise not_found("alert", alert)
        after = await self._apply(found, event, version)
        names = await asyncio.to_thread(names_of, self._services, after.key.site)
        return answer(shown_alert(self._services, after, names), headers={"ETag": etag(after.version)})

    async def _apply(self, alert: Alert, event: OfPeople, version: int | None) -> Alert:
        try:
            return await self._services.alerts.book.handle(alert, event, version)
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
            raise Problem(412, "version_mismatch", str(error), extra=await self._last_change(alert)) from error

    async def _last_change(self, alert: Alert) -> dict[str, object]:
        """Who changed it meanwhile, and how."""
        history = await asyncio.to_thread(self._services.alert_store.history, alert)
        last = history[-1] if history else None
        return {"changed_by": last.actor or None, "change": last.kind} if last is not None else {}


def _event_of(body: alert_schema.BulkBody, actor: str) -> OfPeople:
    events: dict[str, Callable[[], OfPeople]] = {
        "acknowledge": lambda: Acknowledged(actor, body.note),
        "assign": lambda: Assigned(actor, body.assignee, body.note),
        "comment": lambda: Commented(actor, body.note),
        "shelve": lambda: Shelved(actor, body.reason, _instant(body.until or "")),
        "unshelve": lambda: Unshelved(actor),
        "resolve": lambda: Resolved(actor, body.cause, body.note),
    }
    return events[body.action]()


def _instant(text: str) -> int:
    try:
        return parse_instant(text)
    except (ValueError, OverflowError) as error:
        raise unusable("/body/until", str(error), "bad_time") from error
