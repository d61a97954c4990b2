"""Routes of evidence: a signed package to take away, and spot checks."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response, StreamingResponse

from cloud.api.acting import actor_of
from cloud.api.asking import answer, instant
from cloud.api.problems import not_found, unusable
from cloud.evidence.findings import Finding, SpotCheck, SpotChecks, UnknownThing
from cloud.evidence.package import Scope, Sources, export
from cloud.evidence.spot_checks import SHARE_MIN
from cloud.facts.store import FactStore
from devices.errors import Permanent

PIECE_BYTES = 1 << 20
Seed = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,63}$")]
Percent = Annotated[int, Query(ge=SHARE_MIN, le=100)]


class FindingBody(BaseModel):
    """What somebody found who looked at a thing that was drawn."""

    thing: str = Field(max_length=100)
    as_recorded: bool
    note: str = Field(default="", max_length=500)
    actor: str | None = Field(default=None, max_length=100)


def evidence_routes(store: FactStore, sources: Sources, now: Callable[[], int]) -> APIRouter:
    """Build the router."""
    routes = _EvidenceRoutes(store, sources, now)
    router = APIRouter(prefix="/api/v1/sites/{site}", tags=["evidence"])
    router.add_api_route("/audit-package", routes.package, methods=["GET"], response_class=StreamingResponse)
    router.add_api_route("/spot-checks/{seed}", routes.check, methods=["GET"])
    router.add_api_route("/spot-checks/{seed}/findings", routes.enter, methods=["POST"])
    return router


class _EvidenceRoutes:
    def __init__(self, store: FactStore, sources: Sources, now: Callable[[], int]) -> None:
        self._store = store
        self._sources = sources
        self._checks = SpotChecks(store, now)

    async def package(self, site: str, from_: Annotated[str, Query(alias="from")], to: str) -> Response:
        """Give a signed package of evidence over [from, to); `gatehouse audit verify` checks it anywhere."""
        window = instant("from", from_), instant("to", to)
        if window[0] >= window[1]:
            raise unusable("/query/to", "to must be later than from", "bad_window")
        if await asyncio.to_thread(self._store.ledger, site) is None:
            raise not_found("site", site)
        scope = Scope(site, *window)
        folder = tempfile.TemporaryDirectory(prefix="gatehouse-audit-")
        file = FilePath(folder.name) / "package.zip"
        try:
            await asyncio.to_thread(export, self._sources, scope, file)
        except BaseException:
            folder.cleanup()
            raise
        named = {"Content-Disposition": f'attachment; filename="audit-{site}.zip"'}
        return StreamingResponse(_pieces(file, folder), headers=named, media_type="application/zip")

    async def check(self, site: str, seed: Seed, percent: Percent = SHARE_MIN) -> Response:
        """Draw equipment to be looked at, and say what was found so far, with the interval of the rate at 95 %."""
        try:
            found = await asyncio.to_thread(self._checks.check, site, seed, percent)
        except UnknownThing as error:
            raise not_found("site", site) from error
        return answer(_check_json(found))

    async def enter(
        self, request: Request, site: str, seed: Seed, body: FindingBody, percent: Percent = SHARE_MIN
    ) -> Response:
        """Write down what was found of one thing that was drawn."""
        finding = Finding(seed, percent, body.thing, body.as_recorded, body.note)
        try:
            await asyncio.to_thread(self._checks.enter, site, finding, actor_of(request, body.actor))
            found = await asyncio.to_thread(self._checks.check, site, seed, percent)
        except UnknownThing as error:
            raise unusable("/body/thing", str(error), "not_drawn") from error
        except Permanent as error:
            raise unusable("/body", str(error), "refused") from error
        return answer(_check_json(found))


def _pieces(file: FilePath, folder: "tempfile.TemporaryDirectory[str]") -> Iterator[bytes]:
    with folder, file.open("rb") as opened:
        while piece := opened.read(PIECE_BYTES):
            yield piece


def _check_json(found: SpotCheck) -> dict[str, object]:
    interval = found.found.interval
    return {
        "seed": found.seed,
        "percent": found.percent,
        "drawn": found.drawn,
        "left": found.left,
        "checked": found.found.checked,
        "wrong": found.found.wrong,
        "rate": found.found.wrong / found.found.checked if found.found.checked else None,
        "interval_95": None if interval is None else list(interval),
    }
