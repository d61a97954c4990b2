"""Routes of what people enter: the ledger with its versions, windows, exclusions, inspections, policies, the trail."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from cloud.api import schema
from cloud.api.acting import actor_of
from cloud.api.asking import answer, listing, shown_instant
from cloud.api.problems import Problem, unusable
from cloud.facts.desk import Desk, UnknownThing, Wish
from cloud.facts.inputs import Input, InputRefused, InputVersionMismatch
from cloud.sheets import csv_of, text_of_csv, text_of_workbook, workbook_of
from devices.errors import ConfigurationError
from devices.instants import format_instant

PAGE_MAX = 500
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_PROBLEMS: dict[int | str, dict[str, Any]] = {status: {"model": schema.ProblemBody} for status in (404, 412, 422)}
_T = TypeVar("_T")
IfMatch = Annotated[str | None, Header()]
Reason = Annotated[str, Query(min_length=1, max_length=2_000)]
Actor = Annotated[str | None, Query(max_length=100)]


class InputBody(BaseModel):
    """A thing to enter. `document` is what its kind is about (docs/ledger.md)."""

    model_config = ConfigDict(extra="forbid")
    actor: str | None = Field(default=None, max_length=100)
    reason: str = Field(min_length=1, max_length=2_000)
    valid_from: schema.Time
    valid_to: schema.Time | None = None
    document: dict[str, Any]


class WithdrawalBody(BaseModel):
    """Why something is taken back."""

    model_config = ConfigDict(extra="forbid")
    actor: str | None = Field(default=None, max_length=100)
    reason: str = Field(min_length=1, max_length=2_000)


class LedgerBody(BaseModel):
    """A ledger document (YAML) that takes the place of the others from a day on."""

    model_config = ConfigDict(extra="forbid")
    actor: str | None = Field(default=None, max_length=100)
    reason: str = Field(min_length=1, max_length=2_000)
    valid_from: date | None = None
    text: str


class InputItem(BaseModel):
    """One version of a thing that was entered."""

    kind: str
    id: str
    version: int
    recorded_at: schema.Time
    actor: str
    reason: str
    valid_from: schema.Time
    valid_to: schema.Time | None
    withdrawn: bool
    document: dict[str, Any]


class InputItems(BaseModel):
    """A page of the trail, in the order of entry."""

    items: list[InputItem]
    next_cursor: str | None


class LedgerVersionItem(BaseModel):
    """A line of the ledger's history."""

    version: int
    recorded_at: schema.Time
    actor: str
    reason: str
    valid_from: schema.Time


class LedgerVersions(BaseModel):
    """Every version, oldest first."""

    items: list[LedgerVersionItem]
    next_cursor: str | None


def ledger_routes(desk: Desk, now: Callable[[], int]) -> APIRouter:
    """Build the router."""
    routes = _LedgerRoutes(desk, now)
    router = APIRouter(prefix="/api/v1/sites/{site}", tags=["ledger"], responses=_PROBLEMS)
    add = router.add_api_route
    item: dict[int | str, dict[str, Any]] = {200: {"model": InputItem}}
    add("/inputs", routes.trail, response_model=None, responses={200: {"model": InputItems}})
    add("/inputs/{kind}", routes.of_kind, response_model=None, responses={200: {"model": InputItems}})
    add("/inputs/{kind}/{name}", routes.enter, methods=["PUT"], response_model=None, responses=item)
    add("/inputs/{kind}/{name}/withdrawal", routes.withdraw, methods=["POST"], response_model=None, responses=item)
    text = {"description": "YAML", "content": {"application/yaml": {"schema": {"type": "string"}}}}
    add("/ledger", routes.ledger, response_model=None, responses={200: text})
    add("/ledger", routes.replace, methods=["PUT"], response_model=None, responses={200: {"model": LedgerVersions}})
    book = {"description": "The whole ledger", "content": {XLSX: {"schema": {"type": "string", "format": "binary"}}}}
    add("/ledger/workbook", routes.workbook, response_model=None, responses={200: book})
    changed: dict[int | str, dict[str, Any]] = {200: {"model": LedgerVersions}}
    add("/ledger/workbook", routes.replace_by_workbook, methods=["PUT"], response_model=None, responses=changed)
    sheet = {"description": "One section", "content": {"text/csv": {"schema": {"type": "string"}}}}
    add("/ledger/sheets/{section}", routes.sheet, response_model=None, responses={200: sheet})
    one = "/ledger/sheets/{section}"
    add(one, routes.replace_section, methods=["PUT"], response_model=None, responses=changed)
    add("/ledger/versions", routes.versions, response_model=None, responses={200: {"model": LedgerVersions}})
    add("/ledger/not-monitored", routes.not_monitored, response_model=None)
    return router


class _LedgerRoutes:
    def __init__(self, desk: Desk, now: Callable[[], int]) -> None:
        self._desk = desk
        self._now = now

    async def trail(
        self, site: str, after: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100
    ) -> Response:
        """What was entered for a site, of any kind, oldest first; `after` is a `next_cursor`."""
        found = await _asked(self._desk.trail, site, after, limit + 1)
        cursor = str(found[limit - 1].entry) if len(found) > limit else None
        return listing([input_json(one) for one in found[:limit]], cursor)

    async def of_kind(self, site: str, kind: str) -> Response:
        """Everything of a kind, each with all its versions."""
        return listing([input_json(one) for one in await _asked(self._desk.of_kind, site, kind)])

    async def enter(
        self, request: Request, *, site: str, kind: str, name: str, body: InputBody, if_match: IfMatch = None
    ) -> Response:
        """Enter a thing, or a further version of it. `If-Match` names the version that the writer has seen."""
        wish = Wish(
            json.dumps(body.document), actor_of(request, body.actor), body.reason,
            _time("/body/valid_from", body.valid_from),
            None if body.valid_to is None else _time("/body/valid_to", body.valid_to), _version(if_match),
        )  # fmt: skip
        return _versioned(await _asked(self._desk.enter, site, kind, name, wish, self._now()))

    async def withdraw(
        self, request: Request, *, site: str, kind: str, name: str, body: WithdrawalBody, if_match: IfMatch = None
    ) -> Response:
        """Take a thing back; its versions stay in the trail."""
        actor, version = actor_of(request, body.actor), _version(if_match)

        def act() -> Input:
            return self._desk.withdraw(
                site, kind, name, actor=actor, reason=body.reason, now_ms=self._now(), expected_version=version
            )

        return _versioned(await _asked(act))

    async def ledger(self, site: str, version: Annotated[int | None, Query(ge=1)] = None) -> Response:
        """The newest ledger, or a version of it, as it was entered."""
        return Response(await _asked(self._desk.ledger_text, site, version), media_type="application/yaml")

    async def replace(self, request: Request, site: str, body: LedgerBody) -> Response:
        """Enter a ledger; it is valid from the beginning of a local day on, without one from now on."""
        actor = actor_of(request, body.actor)

        def act() -> object:
            return self._desk.import_ledger(
                site, body.text, actor=actor, reason=body.reason, now_ms=self._now(), valid_from=body.valid_from
            )

        await _asked(act)
        return await self.versions(site)

    async def workbook(self, site: str) -> Response:
        """The newest ledger as XLSX, a sheet for each section."""
        data = await _asked(lambda: workbook_of(self._desk.ledger(site)))
        headers = {"Content-Disposition": f'attachment; filename="{site}.xlsx"'}
        return Response(data, headers=headers, media_type=XLSX)

    async def sheet(self, site: str, section: str) -> Response:
        """One section of the newest ledger as CSV."""
        text = await _asked(lambda: csv_of(self._desk.ledger(site), section))
        return Response(text.encode("utf-8-sig"), media_type="text/csv; charset=utf-8")

    async def replace_by_workbook(
        self, request: Request, *, site: str, reason: Reason, actor: Actor = None, valid_from: date | None = None
    ) -> Response:
        """Enter a ledger as a workbook (the body). Mistakes name sheet, row and column."""
        data = await request.body()
        said = (reason, actor, valid_from)
        return await self._replaced(request, site, said, lambda: text_of_workbook(data, "workbook"))

    async def replace_section(
        self, request: Request, *, site: str, section: str, reason: Reason, actor: Actor = None,
        valid_from: date | None = None,
    ) -> Response:  # fmt: skip
        """Enter one section as CSV (the body) in place of that of the newest ledger."""
        data = await request.body()

        def text() -> str:
            return text_of_csv(_text(data), f"{section}.csv", section, self._desk.ledger(site))

        return await self._replaced(request, site, (reason, actor, valid_from), text)

    async def _replaced(
        self, request: Request, site: str, said: tuple[str, str | None, date | None], text: Callable[[], str]
    ) -> Response:
        reason, named, valid_from = said
        actor = actor_of(request, named)

        def act() -> object:
            return self._desk.import_ledger(
                site, text(), actor=actor, reason=reason, now_ms=self._now(), valid_from=valid_from
            )

        await _asked(act)
        return await self.versions(site)

    async def versions(self, site: str) -> Response:
        """Who entered which version of the ledger when and why."""
        found = await _asked(self._desk.ledger_history, site)
        return listing([
            {"version": one.version, "recorded_at": format_instant(one.recorded_ms), "actor": one.actor,
             "reason": one.reason, "valid_from": format_instant(one.valid_from_ms)}
            for one in found
        ])  # fmt: skip

    async def not_monitored(self, site: str) -> Response:
        """Ledger entries that never reported, and devices that no ledger names."""
        found = await _asked(self._desk.not_monitored, site)
        return answer(asdict(found))


def input_json(one: Input) -> dict[str, object]:
    """As the API tells it."""
    return {
        "kind": one.kind, "id": one.id, "version": one.version, "recorded_at": format_instant(one.recorded_ms),
        "actor": one.actor, "reason": one.reason, "valid_from": format_instant(one.valid_from_ms),
        "valid_to": None if one.valid_to_ms is None else format_instant(one.valid_to_ms),
        "withdrawn": one.withdrawn, "document": json.loads(one.document),
    }  # fmt: skip


async def _asked(act: Callable[..., _T], *arguments: object) -> _T:
    try:
        return await asyncio.to_thread(act, *arguments)
    except UnknownThing as error:
        raise Problem(404, "not_found", f"{error}.") from error
    except InputVersionMismatch as error:
        raise Problem(412, "version_mismatch", str(error)) from error
    except InputRefused as error:
        raise unusable("/body", str(error), "refused") from error
    except ConfigurationError as error:
        problems = [
            {"pointer": "/body/document", "detail": str(problem), "code": "mistake"} for problem in error.problems
        ]
        raise Problem(422, "mistake", "The document has mistakes.", errors=problems) from error


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise unusable("/body", "is not UTF-8 text", "bad_text") from error


def _time(pointer: str, text: str) -> int:
    try:
        return shown_instant(text)
    except (ValueError, OverflowError) as error:
        raise unusable(pointer, str(error), "bad_time") from error


def _version(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    text = if_match.strip().strip('"')
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise unusable("/header/if-match", 'expected the ETag of the input, like "3"', "bad_etag")
    return int(text)


def _versioned(one: Input) -> Response:
    return answer(input_json(one), headers={"ETag": f'"{one.version}"'})
