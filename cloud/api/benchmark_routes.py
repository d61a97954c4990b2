"""Routes of targets and what sites are compared by: packs, overrides, benchmarks, assessments, rankings, portfolio."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from cloud.api import indicator_schema as shape
from cloud.api.acting import actor_of
from cloud.api.asking import answer, instant, instant_or_none, listing, span
from cloud.api.indicator_bodies import (
    BenchmarkBody,
    PackBody,
    TargetBody,
    Words,
    benchmark_of,
    choice_of,
    target_of,
    validity,
)
from cloud.api.indicator_detail_routes import in_thread, ledger_at
from cloud.api.indicator_json import assessment_json, compared_json, full_json, place_json
from cloud.api.indicator_routes import NOT_FOUND, From
from cloud.api.problems import Problem, unusable
from cloud.api.sign_in import visible
from cloud.facts.inputs import EVERY_SITE
from cloud.indicators.desk import IndicatorDesk
from cloud.indicators.entering import Word
from cloud.indicators.targets import known_packs

PeriodName = Literal["month", "quarter", "half-year"]
IndicatorQuery = Annotated[str, Query(max_length=100)]
SITES_MAX = 20_000


def benchmark_routes(desk: IndicatorDesk) -> APIRouter:
    """Build the router."""
    routes = _BenchmarkRoutes(desk)
    router = APIRouter(prefix="/api/v1", tags=["targets"], responses=NOT_FOUND)
    add = router.add_api_route
    add("/target-packs", routes.packs, responses={200: {"model": shape.Packs}})
    add("/sites/{site}/targets", routes.targets, responses={200: {"model": shape.TargetList}})
    add("/sites/{site}/benchmarks", routes.compared, responses={200: {"model": shape.ComparedList}})
    add("/sites/{site}/assessments", routes.assessments, responses={200: {"model": shape.AssessmentList}})
    add("/rankings", routes.ranking, responses={200: {"model": shape.Ranking}})
    add("/portfolio", routes.portfolio, responses={200: {"model": shape.PortfolioBody}})
    add("/portfolio/{indicator}", routes.pooled, responses={200: {"model": shape.FullIndicator}})
    add("/portfolio/{indicator}/groups", routes.pooled_by, responses={200: {"model": shape.FullIndicators}})
    post: dict[str, Any] = {"methods": ["POST"], "responses": {200: {"model": shape.Entered}}}
    add("/target-packs/choice", routes.choose, **post)
    add("/sites/{site}/targets/{indicator}", routes.set_target, **post)
    add("/benchmarks", routes.set_benchmark, **post)
    add("/sites/{site}/benchmarks/{benchmark}/freeze", routes.freeze, **post)
    return router


class _BenchmarkRoutes:
    def __init__(self, desk: IndicatorDesk) -> None:
        self._desk = desk

    async def packs(self) -> Response:
        """The target packs there are to choose from."""
        return listing([one.model_dump(mode="json", by_alias=True) for one in known_packs().values()])

    async def targets(self, site: str) -> Response:
        """What holds at a site now, and which of it departs from its pack."""
        found = await in_thread(lambda: self._desk.targets(ledger_at(self._desk, site)))
        items = [
            {
                "indicator": name, "value": float(one.value), "version": one.version, "origin": one.origin,
                "override": one.is_override, "since": instant_or_none(one.since_ms),
            }
            for name, one in sorted(found.by_indicator.items()) if one is not None
        ]  # fmt: skip
        return answer({"pack": found.pack, "pack_version": found.pack_version, "period": found.period, "items": items})

    async def compared(self, site: str) -> Response:
        """A site against every benchmark: gap, stage, expiry."""
        found = await in_thread(lambda: self._desk.compared(ledger_at(self._desk, site)))
        return listing([compared_json(one) for one in found])

    async def assessments(self, site: str, indicator: Annotated[str | None, Query(max_length=100)] = None) -> Response:
        """Judged periods of a site with their cards, oldest first."""
        found = await in_thread(lambda: self._desk.assessments(ledger_at(self._desk, site), indicator))
        return listing([assessment_json(one) for one in found])

    async def ranking(
        self, request: Request, indicator: IndicatorQuery, period: PeriodName, from_: From = None, to: str | None = None
    ) -> Response:
        """Sites by one indicator over a judged period, and whose place earns a yellow card; those that one may see."""
        wanted = span(from_, to)
        if wanted is None:
            raise unusable("/query/from", "from and to are needed", "missing")
        places, cards = await in_thread(lambda: self._desk.ranking(indicator, period, wanted))
        mine = [place_json(one) for one in places if visible(request, one.site)]
        cards = [one for one in cards if visible(request, one)]
        return answer({"items": mine, "yellow_cards": cards, "next_cursor": None})

    async def portfolio(self, request: Request) -> Response:
        """The newest issued result of every indicator of every site, as lines with the columns named."""
        found = await in_thread(self._desk.portfolio)
        items = [{"site": site, "lines": lines} for site, lines in found.items() if visible(request, site)]
        return answer({"columns": shape.PORTFOLIO_COLUMNS, "items": items, "next_cursor": None})

    async def pooled(
        self, request: Request, indicator: str, site: Annotated[list[str], Query(max_length=SITES_MAX)],
        from_: From = None, to: str | None = None,
    ) -> Response:  # fmt: skip
        """One indicator of several sites as one number, pooled from issued results of the same window."""
        wanted = span(from_, to)
        if wanted is None:
            raise unusable("/query/from", "from and to are needed", "missing")
        mine = [one for one in site if visible(request, one)]
        found = await in_thread(lambda: self._desk.pooled(mine, indicator, wanted))
        if found is None:
            raise Problem(404, "not_found", f"Nothing of {indicator!r} was issued for these sites and this window.")
        return answer(full_json(found))

    async def pooled_by(
        self, indicator: str, by: Literal["type", "group", "company"], from_: From = None, to: str | None = None
    ) -> Response:
        """One indicator for each type, group or company of sites, pooled from issued results of the same window."""
        wanted = span(from_, to)
        if wanted is None:
            raise unusable("/query/from", "from and to are needed", "missing")
        found = await in_thread(lambda: self._desk.pooled_by(by, indicator, wanted))
        return listing([full_json(one) for _, one in found])

    async def choose(self, request: Request, body: PackBody) -> Response:
        """Choose a pack for one site, or for every one."""
        word, valid = self._word(request, body), validity(body)
        choice = await in_thread(lambda: choice_of(body))
        if body.site is not None:
            await in_thread(lambda: ledger_at(self._desk, body.site or ""))
        entered = await in_thread(lambda: self._desk.choose_pack(body.site or EVERY_SITE, choice, word, valid))
        return answer({"id": entered.id, "version": entered.version, "count": 1})

    async def set_target(self, request: Request, site: str, indicator: str, body: TargetBody) -> Response:
        """Set a target of one site that departs from its pack."""
        word, valid = self._word(request, body), validity(body)
        await in_thread(lambda: ledger_at(self._desk, site))
        target = await in_thread(lambda: target_of(indicator, body))
        entered = await in_thread(lambda: self._desk.set_target(site, target, word, valid))
        return answer({"id": entered.id, "version": entered.version, "count": 1})

    async def set_benchmark(self, request: Request, body: BenchmarkBody) -> Response:
        """Set a benchmark for every site."""
        word, since_ms = self._word(request, body), instant("valid_from", body.valid_from)
        benchmark = await in_thread(lambda: benchmark_of(body))
        entered = await in_thread(lambda: self._desk.set_benchmark(benchmark, word, since_ms))
        return answer({"id": entered.id, "version": entered.version, "count": 1})

    async def freeze(self, request: Request, site: str, benchmark: str, body: Words) -> Response:
        """Make a benchmark that is reached the site's new standard."""
        word = self._word(request, body)
        entered = await in_thread(lambda: self._desk.freeze(ledger_at(self._desk, site), benchmark, word))
        return answer({"id": entered.id, "version": entered.version, "count": 1})

    def _word(self, request: Request, body: Words) -> Word:
        return Word(actor_of(request, body.actor), body.reason, self._desk.now())
