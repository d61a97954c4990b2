"""Routes of people, teams, calendars and the ladder of a site, and of who is told now."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from cloud.alerts.duties import LEVELS
from cloud.alerts.entering import BadDocument, Entering, UnknownKind
from cloud.alerts.people import Roster, roster_of
from cloud.api import schema
from cloud.api.acting import actor_of
from cloud.api.asking import answer, instant, listing
from cloud.api.matching import IfMatch, etag, must_have_seen, seen_version
from cloud.api.picture import Json
from cloud.api.problems import Problem, not_found, unusable
from cloud.facts.database import reading
from cloud.facts.failures import asking
from cloud.facts.inputs import Input, InputRefused, InputVersionMismatch
from cloud.facts.store import FactStore
from devices.instants import format_instant

LATEST_MS = 7_258_118_400_000  # 2200-01-01, for which every zone has an answer
PersonId = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
_PROBLEMS: dict[int | str, dict[str, Any]] = {status: {"model": schema.ProblemBody} for status in (404, 412, 422, 428)}


class DutyBody(BaseModel):
    """A person, team, calendar or ladder as it shall be from now on (docs/alerts.md)."""

    actor: str | None = Field(default=None, max_length=100)
    document: dict[str, Any]


class DutyItem(BaseModel):
    """One of them, with its version."""

    id: str
    version: int
    recorded_at: schema.Time
    actor: str
    document: dict[str, Any]


class DutyItems(BaseModel):
    """All of a kind."""

    items: list[DutyItem]
    next_cursor: str | None


class OnDuty(BaseModel):
    """Who is told at a moment: by level of the ladder, of red alerts and of others."""

    at: schema.Time
    quiet: bool
    levels: list[list[str]]
    red_levels: list[list[str]]


def duty_routes(store: FactStore, now: Callable[[], int]) -> APIRouter:
    """Build the router. `now` is Unix ms UTC."""
    routes = _DutyRoutes(store, now)
    router = APIRouter(prefix="/api/v1/sites/{site}", tags=["people"], responses=_PROBLEMS)
    item: dict[int | str, dict[str, Any]] = {200: {"model": DutyItem}}
    add = router.add_api_route
    add("/on-duty", routes.on_duty, response_model=None, responses={200: {"model": OnDuty}})
    add("/duty/{kind}", routes.of_kind, response_model=None, responses={200: {"model": DutyItems}})
    add("/duty/{kind}/{name}", routes.enter, methods=["PUT"], response_model=None, responses=item)
    add("/duty/{kind}/{name}", routes.withdraw, methods=["DELETE"], response_model=None, responses=item)
    return router


class _DutyRoutes:
    def __init__(self, store: FactStore, now: Callable[[], int]) -> None:
        self._store = store
        self._entering = Entering(store.engine)
        self._now = now

    async def on_duty(self, site: str, at: Annotated[str | None, Query(max_length=40)] = None) -> Response:
        """Who is told of an alert now, or at a moment."""
        at_ms = instant("at", at) if at is not None else self._now()
        if not 0 <= at_ms < LATEST_MS:
            raise unusable("/query/at", "a moment lies between 1970 and 2200", "bad_time")
        roster = await asyncio.to_thread(self._roster, site)
        levels = range(1, LEVELS + 1)
        body = {
            "at": format_instant(at_ms),
            "quiet": roster.is_quiet(at_ms),
            "levels": [roster.to_tell(level, at_ms, red=False) for level in levels],
            "red_levels": [roster.to_tell(level, at_ms, red=True) for level in levels],
        }
        return answer(body)

    async def of_kind(self, site: str, kind: str) -> Response:
        """Everything of a kind that holds: person, team, duty-calendar, ladder."""
        await asyncio.to_thread(self._must_exist, site)
        try:
            found = await asyncio.to_thread(self._entering.of, site, kind)
        except UnknownKind as error:
            raise Problem(404, "not_found", str(error)) from error
        return listing([_item(one) for one in found])

    async def enter(
        self, request: Request, site: str, kind: str, name: PersonId, *, body: DutyBody, if_match: IfMatch = None
    ) -> Response:
        """Enter or change one. With If-Match only if nobody changed it meanwhile; `"0"` means: only if it is new."""
        await asyncio.to_thread(self._must_exist, site)
        actor, version = actor_of(request, body.actor), seen_version(if_match)
        document = msgspec.json.encode(body.document)
        return await self._done(
            lambda: self._entering.enter(site, kind, name, document, actor=actor, now_ms=self._now(), version=version)
        )

    async def withdraw(
        self,
        request: Request,
        site: str,
        kind: str,
        name: PersonId,
        *,
        actor: str | None = None,
        if_match: IfMatch = None,
    ) -> Response:
        """Take one back."""
        await asyncio.to_thread(self._must_exist, site)
        who, version = actor_of(request, actor), must_have_seen(if_match)
        return await self._done(
            lambda: self._entering.withdraw(site, kind, name, actor=who, now_ms=self._now(), version=version)
        )

    async def _done(self, change: Callable[[], Input]) -> Response:
        try:
            done = await asyncio.to_thread(change)
        except UnknownKind as error:
            raise Problem(404, "not_found", str(error)) from error
        except (BadDocument, InputRefused) as error:
            raise unusable("/body/document", str(error), "bad_document") from error
        except InputVersionMismatch as error:
            raise Problem(412, "version_mismatch", str(error)) from error
        return answer(_item(done), headers={"ETag": etag(done.version)})

    def _must_exist(self, site: str) -> None:
        with asking("ledgers"):
            if self._store.ledger(site) is None:
                raise not_found("site", site)

    def _roster(self, site: str) -> Roster:
        with asking("people"):
            ledger = self._store.ledger(site)
            if ledger is None:
                raise not_found("site", site)
            with reading(self._store.engine) as connection:
                return roster_of(connection, site, ledger.site.time_zone, self._now())


def _item(one: Input) -> Json:
    return {
        "id": one.id,
        "version": one.version,
        "recorded_at": format_instant(one.recorded_ms),
        "actor": one.actor,
        "document": msgspec.json.decode(one.document),
    }
