"""Routes of rectification items: the tracker, its five steps, evidence, export."""

import asyncio
import secrets
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from cloud.access.rights import Act
from cloud.alerts.alert import BadRequest, Key, alert_id
from cloud.alerts.attachments import BYTES_MAX, NAME_LENGTH_MAX, Unacceptable
from cloud.alerts.items import PAGE_MAX, ItemFilter
from cloud.alerts.office import Office
from cloud.alerts.rectification import (
    Budget,
    Changed,
    Event,
    Forward,
    Item,
    Noted,
    Planned,
    SentBack,
    Step,
    Withdrawn,
    WrongStep,
    item_id,
)
from cloud.alerts.store import VersionMismatch
from cloud.api import rectification_schema as shapes
from cloud.api import schema
from cloud.api.acting import actor_of
from cloud.api.alert_routes import names_of
from cloud.api.asking import answer, choices, ledger_of, listing
from cloud.api.matching import IfMatch, etag, must_have_seen, seen_version
from cloud.api.once import once_route
from cloud.api.painting import entry_json, indicator_json
from cloud.api.picture import Json
from cloud.api.problems import Problem, not_found, unusable
from cloud.api.rectification_json import attachment_json, item_json, table
from cloud.api.services import Services
from cloud.api.sign_in import must
from cloud.indicators.definition import BadWindow, UnknownIndicator
from cloud.sheets import csv_of_table, workbook_of_tables
from devices.instants import parse_instant
from devices.rules import Severity
from devices.words import best_language

WINDOW_MS = 7 * 86_400_000  # of the indicator before and after
EXPORT_MAX = 10_000
LATEST_MS = 7_258_118_400_000  # 2200-01-01: a date that every zone and every spreadsheet can show
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": schema.ProblemBody} for status in (404, 409, 412, 413, 422, 428)
}


class Which(StrEnum):
    """Which items a list holds."""

    OPEN = "open"
    ALL = "all"


class Form(StrEnum):
    """Of an export."""

    CSV = "csv"
    XLSX = "xlsx"


def rectification_routes(services: Services, office: Office) -> APIRouter:
    """Build the router."""
    routes = _RectificationRoutes(services, office)
    router = APIRouter(
        prefix="/api/v1/rectification",
        tags=["rectification"],
        responses=_PROBLEMS,
        route_class=once_route(office.answered, services.now),
    )
    item: dict[int | str, dict[str, Any]] = {200: {"model": shapes.RectificationItem}}
    files: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}
    page: dict[int | str, dict[str, Any]] = {200: {"model": shapes.RectificationList}}
    detail: dict[int | str, dict[str, Any]] = {200: {"model": shapes.RectificationDetail}}
    attachment: dict[int | str, dict[str, Any]] = {200: {"model": shapes.AttachmentItem}}
    for path, method, route, responses in (
        ("", "GET", routes.items, page),
        ("", "POST", routes.report, item),
        ("/export", "GET", routes.export, files),
        ("/{item}", "GET", routes.item, detail),
        ("/{item}", "PATCH", routes.change, item),
        ("/{item}/plan", "POST", routes.plan, item),
        ("/{item}/step", "POST", routes.forward, item),
        ("/{item}/return", "POST", routes.send_back, item),
        ("/{item}/notes", "POST", routes.note, item),
        ("/{item}/withdrawal", "POST", routes.withdraw, item),
        ("/{item}/attachments/{attachment}", "GET", routes.attachment, files),
    ):
        router.add_api_route(path, route, methods=[method], response_model=None, responses=responses)
    # a file is known by its content: it needs no key, and it is too large to be held twice
    plain = APIRouter()
    path = "/{item}/attachments"
    plain.add_api_route(path, routes.attach, methods=["POST"], response_model=None, responses=attachment)
    router.include_router(plain)
    return router


class _RectificationRoutes:
    def __init__(self, services: Services, office: Office) -> None:
        self._services = services
        self._office = office

    async def items(
        self,
        *,
        site: str | None = None,
        step: str | None = None,
        owner: str | None = None,
        overdue: bool = False,
        state: Which = Which.OPEN,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
        cursor: Annotated[str | None, Query(max_length=64)] = None,
    ) -> Response:
        """Items, newest first; by default the open ones, however old. Commas mean "or", names "and"."""
        wanted = self._wanted(site, step, owner, overdue=overdue, state=state)
        found = await asyncio.to_thread(self._office.item_store.page, wanted, limit + 1, cursor)
        items = await asyncio.to_thread(self._all_json, found[:limit])
        return listing(items, found[limit - 1].id if len(found) > limit else None)

    async def export(
        self,
        *,
        site: str | None = None,
        step: str | None = None,
        owner: str | None = None,
        overdue: bool = False,
        state: Which = Which.ALL,
        form: Annotated[Form, Query(alias="format")] = Form.CSV,
        language: Annotated[str, Query(max_length=20)] = "en",
    ) -> Response:
        """The rectification table as CSV or XLSX, at most 10,000 items, newest first."""
        wanted = self._wanted(site, step, owner, overdue=overdue, state=state)
        content = await asyncio.to_thread(self._exported, wanted, form, best_language(language))
        media_type = XLSX if form is Form.XLSX else "text/csv; charset=utf-8"
        headers = {"Content-Disposition": f'attachment; filename="rectification.{form.value}"'}
        return Response(content, media_type=media_type, headers=headers)

    async def item(self, item: str) -> Response:
        """One item, what happened to it, its evidence, and the indicator before and after."""
        found = await self._find(item)
        return answer(await asyncio.to_thread(self._detail, found), headers={"ETag": etag(found.version)})

    async def report(self, request: Request, body: shapes.ReportBody) -> Response:
        """Report something by hand."""
        must(request, Act.HANDLE, body.site, f"/api/v1/sites/{body.site}")
        await asyncio.to_thread(ledger_of, self._services, body.site)
        now_ms, actor = self._services.now(), actor_of(request, body.actor)
        reported = Item(
            id=item_id(alert_id(Key(body.site, "reported", secrets.token_hex(8)), now_ms)),
            site=body.site,
            title=body.title,
            reported_ms=now_ms,
            reporter=actor,
            thing=body.thing,
            severity=Severity(body.severity),
            indicator=body.indicator,
            opened_ms=now_ms,
            plan_due_ms=_instant_or_none("plan_due", body.plan_due),
        )
        return await self._shown(await self._office.items.report(reported, actor, body.note))

    async def plan(self, request: Request, item: str, body: shapes.PlanBody, if_match: IfMatch = None) -> Response:
        """Say what will be done."""
        return await self._done(item, Planned(actor_of(request, body.actor), body.plan), seen_version(if_match))

    async def forward(self, request: Request, item: str, body: shapes.StepBody, if_match: IfMatch = None) -> Response:
        """Take the next of the five steps."""
        due_ms = _instant_or_none("due", body.due)
        event = Forward(actor_of(request, body.actor), Step(body.to), body.note, body.owner, due_ms)
        return await self._done(item, event, seen_version(if_match))

    async def send_back(
        self, request: Request, item: str, body: shapes.ReasonBody, if_match: IfMatch = None
    ) -> Response:
        """Say that what was executed is not good enough."""
        return await self._done(item, SentBack(actor_of(request, body.actor), body.note), seen_version(if_match))

    async def note(self, request: Request, item: str, body: shapes.ReasonBody, if_match: IfMatch = None) -> Response:
        """Say something."""
        return await self._done(item, Noted(actor_of(request, body.actor), body.note), seen_version(if_match))

    async def withdraw(
        self, request: Request, item: str, body: shapes.ReasonBody, if_match: IfMatch = None
    ) -> Response:
        """Say that nothing has to be done."""
        return await self._done(item, Withdrawn(actor_of(request, body.actor), body.note), seen_version(if_match))

    async def change(self, request: Request, item: str, body: shapes.ChangeBody, if_match: IfMatch = None) -> Response:
        """Change owner, date, budget, progress or the number that another system has for it."""
        version = must_have_seen(if_match)
        given = body.model_fields_set & {"owner", "due", "budget", "progress", "ticket"}
        values: dict[str, Any] = {}
        if "owner" in given:
            values["owner"] = body.owner or ""
        if "due" in given:
            values["due_ms"] = _instant_or_none("due", body.due)
        if "budget" in given:
            values["budget"] = Budget(body.budget.amount, body.budget.currency) if body.budget else None
        if "progress" in given:
            values["progress"] = body.progress or 0
        if "ticket" in given:
            values["ticket"] = body.ticket or ""
        return await self._done(item, Changed(actor_of(request, body.actor), values, body.note), version)

    async def attach(
        self,
        request: Request,
        item: str,
        name: Annotated[str, Query(min_length=1, max_length=NAME_LENGTH_MAX)],
        actor: Annotated[str | None, Query(max_length=100)] = None,
    ) -> Response:
        """Keep a file as evidence; the body is the file."""
        found, who = await self._find(item), actor_of(request, actor)
        content = b""
        async for part in request.stream():
            content += part
            if len(content) > BYTES_MAX:
                raise Problem(413, "too_large", f"A file may have at most {BYTES_MAX} bytes.")
        try:
            kept = await asyncio.to_thread(
                self._office.attachments.add,
                found.site,
                found.id,
                name,
                content,
                actor=who,
                now_ms=self._services.now(),
            )
        except Unacceptable as error:
            raise unusable("/body", str(error), "unacceptable_file") from error
        known = await asyncio.to_thread(self._office.item_store.history, found)
        if all(entry.detail.get("attachment") != kept.sha256 for entry in known):
            await self._office.items.handle(found.id, Noted(who, kept.name, kept.sha256))
        return answer(attachment_json(kept))

    async def attachment(self, item: str, attachment: str) -> Response:
        """A file as it was sent. Browsers are told to save it, never to show it as part of this page."""
        found = await self._find(item)
        files = await asyncio.to_thread(self._office.attachments.of, found.site, found.id)
        kept = next((one for one in files if one.id == attachment), None)
        if kept is None:
            raise not_found("attachment", attachment)
        content = await asyncio.to_thread(self._office.attachments.content, kept)
        ascii_name = kept.name.encode("ascii", "replace").decode().replace("?", "_")
        headers = {
            "Content-Disposition": f'attachment; filename="{ascii_name}"',
            "X-Content-Type-Options": "nosniff",
            "ETag": f'"{kept.sha256}"',
        }
        return Response(content, media_type=kept.media_type, headers=headers)

    async def _find(self, item: str) -> Item:
        found = await asyncio.to_thread(self._office.item_store.find, item)
        if found is None:
            raise not_found("rectification item", item)
        return found

    async def _done(self, item: str, event: Event, version: int | None) -> Response:
        try:
            after = await self._office.items.handle(item, event, version)
        except WrongStep as error:
            raise Problem(409, "wrong_step", str(error)) from error
        except BadRequest as error:
            raise unusable(f"/body/{error.field}", str(error), "lacking") from error
        except VersionMismatch as error:
            raise Problem(412, "version_mismatch", str(error)) from error
        if after is None:
            raise not_found("rectification item", item)
        return await self._shown(after)

    async def _shown(self, item: Item) -> Response:
        [body] = await asyncio.to_thread(self._all_json, [item])
        return answer(body, headers={"ETag": etag(item.version)})

    def _wanted(
        self, site: str | None, step: str | None, owner: str | None, *, overdue: bool, state: Which
    ) -> ItemFilter:
        return ItemFilter(
            sites=frozenset(part for part in (site or "").split(",") if part),
            steps=choices("step", step, Step),
            owners=frozenset(part for part in (owner or "").split(",") if part),
            overdue_at_ms=self._services.now() if overdue else None,
            open_only=state is Which.OPEN,
        )

    def _all_json(self, items: list[Item]) -> list[object]:
        names = {site: names_of(self._services, site) for site in {item.site for item in items}}
        return [item_json(item, names[item.site], self._services.now()) for item in items]

    def _detail(self, item: Item) -> Json:
        now_ms = self._services.now()
        executed_ms = item.executed_ms
        before = self._measured(item, item.opened_ms - WINDOW_MS, item.opened_ms)
        after = None
        if executed_ms is not None and executed_ms < now_ms:
            after = self._measured(item, executed_ms, min(executed_ms + WINDOW_MS, now_ms))
        return item_json(item, names_of(self._services, item.site), now_ms) | {
            "history": [entry_json(entry) for entry in self._office.item_store.history(item)],
            "attachments": [attachment_json(one) for one in self._office.attachments.of(item.site, item.id)],
            "effect": {"before": before, "after": after},
        }

    def _measured(self, item: Item, from_ms: int, to_ms: int) -> Json | None:
        try:
            window = from_ms, to_ms
            return indicator_json(
                self._services.numbers.indicator(item.site, item.indicator, window, self._services.now())
            )
        except (UnknownIndicator, BadWindow):  # the indicator of a rule may be gone; the item stays
            return None

    def _exported(self, wanted: ItemFilter, form: Form, language: str) -> bytes:
        items: list[Item] = []
        while len(items) < EXPORT_MAX:
            found = self._office.item_store.page(wanted, PAGE_MAX, items[-1].id if items else None)
            items += found
            if len(found) < PAGE_MAX:
                break
        sites = {item.site for item in items}
        ledgers = {site: self._services.numbers.ledger(site) for site in sites}
        zones = {site: ledger.site.time_zone for site, ledger in ledgers.items() if ledger is not None}
        names = {site: names_of(self._services, site) for site in sites}
        rows = table(items[:EXPORT_MAX], names, zones, language, self._services.now())
        return (
            workbook_of_tables([("rectification", rows)])
            if form is Form.XLSX
            else csv_of_table(rows).encode("utf-8-sig")
        )


def _instant_or_none(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        time_ms = parse_instant(text)
    except (ValueError, OverflowError) as error:
        raise unusable(f"/body/{name}", str(error), "bad_time") from error
    if not 0 <= time_ms < LATEST_MS:
        raise unusable(f"/body/{name}", "a date lies between 1970 and 2200", "bad_time")
    return time_ms
