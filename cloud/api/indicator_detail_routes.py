"""Routes of what stands behind indicators: definitions, groups, explanations, revisions, imported values, guidance."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from cloud.api import indicator_schema as shape
from cloud.api.acting import actor_of
from cloud.api.asking import answer, instant_or_none, listing, span
from cloud.api.indicator_bodies import (
    DefinitionBody,
    definition_from_yaml,
    definition_of,
    rows_of,
    values_of,
)
from cloud.api.indicator_json import definition_json, full_json, outside, revision_json
from cloud.api.indicator_routes import NOT_FOUND, From, WindowName
from cloud.api.problems import Problem, not_found, unusable
from cloud.facts.inputs import EVERY_SITE, InputRefused
from cloud.facts.ledger import Ledger
from cloud.indicators.definition import BadWindow, UnknownGrouping, UnknownIndicator
from cloud.indicators.desk import IndicatorDesk
from cloud.indicators.entering import EntryRefused, Word
from devices.errors import ConfigurationError

YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")
_T = TypeVar("_T")


def indicator_detail_routes(desk: IndicatorDesk) -> APIRouter:
    """Build the router."""
    routes = _DetailRoutes(desk)
    router = APIRouter(prefix="/api/v1", tags=["indicators"], responses=NOT_FOUND)
    get, site, one = router.add_api_route, "/sites/{site}", "/sites/{site}/indicators/{indicator}"
    get(f"{site}/indicator-definitions", routes.definitions, responses={200: {"model": shape.Definitions}})
    get(f"{one}/groups", routes.groups, responses={200: {"model": shape.FullIndicators}})
    get(f"{one}/explain", routes.explain, responses={200: {"model": shape.Explanation}})
    get(f"{one}/revisions", routes.revisions, responses={200: {"model": shape.Revisions}})
    get(f"{site}/parking/guidance", routes.guidance, responses={200: {"model": shape.Signs}})
    post: dict[str, Any] = {"methods": ["POST"], "responses": {200: {"model": shape.Entered}}}
    get("/indicator-definitions", routes.define, **post)
    get(f"{one}/values", routes.tell, **post)
    return router


async def in_thread(work: Callable[[], _T], pointer: str = "/body") -> _T:
    """Do blocking work; what it refuses becomes a problem."""
    try:
        return await asyncio.to_thread(work)
    except UnknownIndicator as error:
        raise Problem(404, "not_found", f"{str(error).partition(';')[0]}.") from error
    except UnknownGrouping as error:
        raise unusable("/query/by", str(error), "bad_grouping") from error
    except BadWindow as error:
        raise unusable("/query/window", str(error), "bad_window") from error
    except (EntryRefused, InputRefused) as error:
        raise unusable(pointer, str(error), "refused") from error
    except ConfigurationError as error:
        raise unusable(pointer, str(error), "bad_document") from error


def ledger_at(desk: IndicatorDesk, site: str) -> Ledger:
    """The site's ledger; 404 where there is none. Blocks."""
    ledger = desk.ledger(site)
    if ledger is None:
        raise not_found("site", site)
    return ledger


class _DetailRoutes:
    def __init__(self, desk: IndicatorDesk) -> None:
        self._desk = desk

    async def definitions(self, site: str) -> Response:
        """What every indicator of a site is: formula, unit, source, which side of a target is good."""
        found = await in_thread(lambda: self._desk.definitions(ledger_at(self._desk, site)))
        return listing([definition_json(one) for one in found])

    async def groups(
        self,
        *,
        site: str,
        indicator: str,
        by: Annotated[str, Query(max_length=50)],
        window: WindowName | None = None,
        from_: From = None,
        to: str | None = None,
    ) -> Response:
        """One indicator for each group of a site's things: by class, criticality, building, floor, parking, vehicle."""
        wanted = span(from_, to) or window
        found = await in_thread(lambda: self._desk.groups(ledger_at(self._desk, site), indicator, by, wanted))
        return listing([full_json(one) for one in found])

    async def explain(
        self, site: str, indicator: str, window: WindowName | None = None, from_: From = None, to: str | None = None
    ) -> Response:
        """A number with everything it is made of, enough to work it out again by hand."""
        wanted = span(from_, to) or window
        found = await in_thread(lambda: self._desk.explain(ledger_at(self._desk, site), indicator, wanted))
        return answer(outside(found))

    async def revisions(self, site: str, indicator: str, from_: From = None, to: str | None = None) -> Response:
        """Issued results: every revision of this window, else the newest one of each window within it."""
        wanted = span(from_, to)
        if wanted is None:
            raise unusable("/query/from", "from and to are needed", "missing")
        found = await in_thread(lambda: self._desk.revisions(ledger_at(self._desk, site), indicator, wanted))
        return listing([revision_json(one) for one in found])

    async def guidance(self, site: str) -> Response:
        """What the signs of the parking groups show now."""
        found = await in_thread(lambda: self._desk.guidance(ledger_at(self._desk, site)))
        return listing([
            {
                "group": one.group, "floor": one.floor, "vehicle": one.vehicle, "total": one.total, "free": one.free,
                "unknown": one.unknown, "full": one.is_full, "since": instant_or_none(one.since_ms),
            }
            for one in found
        ])  # fmt: skip

    async def define(self, request: Request) -> Response:
        """Say what an imported indicator is: JSON, or YAML with `actor`, `reason` and `site` in the query."""
        raw = await request.body()
        query = request.query_params
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() in YAML_TYPES:
            actor, reason, site = query.get("actor"), query.get("reason") or "imported", query.get("site")
            definition = await in_thread(lambda: definition_from_yaml(raw.decode("utf-8", "replace")))
        else:
            try:
                body = DefinitionBody.model_validate_json(raw)
            except ValueError as error:
                raise unusable("/body", str(error), "unreadable") from error
            actor, reason, site = body.actor, body.reason, body.site
            definition = await in_thread(lambda: definition_of(body))
        word = Word(actor_of(request, actor), reason, self._desk.now())
        if site is not None:
            await in_thread(lambda: ledger_at(self._desk, site))
        entered = await in_thread(lambda: self._desk.define(site or EVERY_SITE, definition, word))
        return answer({"id": entered.id, "version": entered.version, "count": 1})

    async def tell(self, request: Request, site: str, indicator: str) -> Response:
        """Enter values of an imported indicator: JSON, CSV or a form. All of them or none."""
        words, rows = rows_of(request.headers.get("content-type", ""), await request.body(), request.query_params)
        is_form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        ledger = await in_thread(lambda: ledger_at(self._desk, site))
        values = values_of(indicator, rows, ledger.site.time_zone, "manual" if is_form else "imported")
        word = Word(actor_of(request, words.actor), words.reason, self._desk.now())
        entered = await in_thread(lambda: self._desk.tell(site, indicator, values, word))
        return answer({"id": indicator, "version": max(one.version for one in entered), "count": len(entered)})
