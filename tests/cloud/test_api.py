"""The API over a real socket, with real files; what the facts would say is made up here."""

# ruff: noqa: ARG002  what is made up has the arguments of the real thing

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from fractions import Fraction
from pathlib import Path

import httpx
import pytest

from cloud.alerts.office import open_office
from cloud.api.app import build_api
from cloud.api.pages import SitePages
from cloud.api.painting import EquipmentPast, Past
from cloud.api.picture import Json, applied
from cloud.api.problems import BODY_BYTES_MAX
from cloud.api.services import Services, TrendLine
from cloud.facts.ledger import Ledger, parse_ledger
from cloud.facts.store import FactStore
from cloud.history.store import Bucket, Chart
from cloud.indicators.definition import IndicatorResult, UnknownIndicator, Verdict, Window
from cloud.ingest.gateways import GatewayRegister, parse_public_key
from cloud.ingest.identities import Identities
from devices.states import EquipmentState
from tests.cloud.live_world import FAULT, FINE, LEDGER, SITE, World, started
from tests.cloud.serving import serving


class MadeUp:
    """Facts and indicators of one site, as the routes ask for them."""

    def __init__(self) -> None:
        self._ledger = parse_ledger(LEDGER, "ledger.yaml")
        self.cells = {4: 1}
        self.crash = False

    def sites(self) -> Sequence[Ledger]:
        return [self._ledger]

    def ledger(self, site: str) -> Ledger | None:
        if self.crash:
            raise ZeroDivisionError
        return self._ledger if site == SITE else None

    def past(self, site: str, now_ms: int) -> Past:
        pump = EquipmentPast(EquipmentState.RUN, now_ms - 5000, [EquipmentState.RUN] * 24, Fraction(97_999, 100_000))
        grid = {"b1": {"cell_m": 0.5, "columns": 40, "rows": 20}}
        found = [self.indicator(site, "equipment.intact_rate", None, now_ms)]
        return Past({"pump-3": pump}, grid, {"b1": dict(self.cells)}, found)

    def indicator(
        self, site: str, indicator: str, window: str | tuple[int, int] | None, now_ms: int
    ) -> IndicatorResult:
        if indicator != "equipment.intact_rate":
            raise UnknownIndicator(indicator)
        span = Window(*window) if isinstance(window, tuple) else Window(now_ms - 86_400_000, now_ms)
        share = Fraction(99, 100)
        return IndicatorResult(
            indicator, share, share, share, Fraction(1), Verdict.PASS, Fraction(49, 50), 99, 100, "ms", span
        )

    def indicators(self, site: str, window: str | tuple[int, int] | None, now_ms: int) -> Sequence[IndicatorResult]:
        return [self.indicator(site, "equipment.intact_rate", window, now_ms)]

    def trend(self, site: str, indicator: str, days: int | None, now_ms: int) -> TrendLine:
        return TrendLine("day", 0.98, [(now_ms - 86_400_000 * back, None) for back in range(days or 7)])


class MadeUpHistory:
    def series(self, site: str, device: str, point: str, from_ms: int, to_ms: int, *, points: int) -> Chart:
        return Chart(1000, (Bucket(from_ms + 1000, 1.0, 2.0, 3.0, 4),))

    def count(self) -> int:
        return 0


class Site:
    """A running server and its world."""

    def __init__(
        self,
        world: World,
        made_up: MadeUp,
        pages: SitePages,
        http: httpx.AsyncClient,
        services: Services,
    ) -> None:
        self.services = services
        self.world = world
        self.made_up = made_up
        self.pages = pages
        self.http = http

    async def fault(self) -> Json:
        """Let the pump fail; the alert as the API lists it."""
        self.world.inventory()
        await self.world.after(1, FAULT)
        await self.world.after(11)
        [alert] = (await self.http.get("/api/v1/alerts")).json()["items"]
        found: Json = alert
        return found


@asynccontextmanager
async def site_served(folder: Path) -> AsyncIterator[Site]:
    with started(folder / "facts.sqlite") as world:
        made_up = MadeUp()
        register = GatewayRegister(folder / "gateways.sqlite")
        register.add("gw-1", SITE, parse_public_key("11" * 32), world.now_ms)
        pages = SitePages(made_up, world.live, world.engine, "e0", lambda: world.now_ms)
        services = Services(
            lambda: world.now_ms,
            world.live,
            world.engine,
            world.store,
            pages,
            made_up,
            MadeUpHistory(),
            register,
            Identities(),
            office=open_office(
                FactStore(world.database), world.live, world.engine.book, folder / "files", lambda: world.now_ms
            ),
        )
        async with serving(build_api(services)) as address, httpx.AsyncClient(base_url=address, timeout=20) as http:
            yield Site(world, made_up, pages, http, services)
            pages.stop()
        register.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with site_served(tmp_path) as one:
        yield one


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/v1/sites/other/snapshot", 404, "not_found"),
        ("GET", "/api/v1/sites/other/stream", 404, "not_found"),
        ("GET", f"/api/v1/sites/{SITE}/indicators/nope", 404, "not_found"),
        ("DELETE", "/api/v1/sites", 405, "method_not_allowed"),
        ("GET", f"/api/v1/sites/{SITE}/indicators?window=year", 422, "unprocessable"),
        ("GET", f"/api/v1/sites/{SITE}/indicators/equipment.intact_rate/trend?days=91", 422, "unprocessable"),
        ("GET", f"/api/v1/sites/{SITE}/stream?since=x", 422, "bad_position"),
        ("GET", "/api/v1/alerts?severity=pink", 422, "bad_choice"),
        ("GET", "/api/v1/alerts/al_0", 404, "not_found"),
        ("POST", "/api/v1/alerts/al_0/acknowledgement", 422, "unprocessable"),
    ],
)
async def test_every_error_is_a_problem_with_code_and_request_id(
    site: Site, method: str, path: str, status: int, code: str
) -> None:
    answer = await site.http.request(method, path, headers={"X-Request-Id": "abc-1"})
    body = answer.json()

    assert (answer.status_code, body["status"], body["code"]) == (status, status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["request_id"] == answer.headers["x-request-id"] == "abc-1"
    assert body["instance"] == path.split("?", maxsplit=1)[0]


async def test_a_crash_is_a_problem_too(site: Site) -> None:
    site.made_up.crash = True
    answer = await site.http.get(f"/api/v1/sites/{SITE}/equipment")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_a_body_over_the_limit_is_refused_however_it_is_sent(site: Site) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * (BODY_BYTES_MAX // 2)

    path = "/api/v1/alerts/al_0/acknowledgement"
    whole = await site.http.post(path, content=b"x" * (BODY_BYTES_MAX + 1))
    chunked = await site.http.post(path, content=pieces(), headers={"content-type": "application/json"})

    assert [one.json()["code"] for one in (whole, chunked)] == ["too_large", "too_large"]


@pytest.mark.parametrize("text", ["2026-05-01T08:00:00", "2026-05-01", "yesterday", ""])
async def test_a_time_without_a_zone_is_refused_with_its_pointer(site: Site, text: str) -> None:
    path = f"/api/v1/sites/{SITE}/indicators/equipment.intact_rate"
    answer = await site.http.get(path, params={"from": text, "to": "2026-05-02T00:00:00Z"})

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/query/from"]


async def test_the_list_of_indicators_is_over_the_window_that_was_asked_for(site: Site) -> None:
    span = {"from": "2026-05-01T00:00:00.000Z", "to": "2026-05-02T00:00:00.000Z"}
    [found] = (await site.http.get(f"/api/v1/sites/{SITE}/indicators", params=span)).json()["items"]
    half = await site.http.get(f"/api/v1/sites/{SITE}/indicators", params={"from": span["from"]})

    assert found["window"] == span
    assert [error["pointer"] for error in half.json()["errors"]] == ["/query/to"]


async def test_an_indicator_carries_its_bounds_and_window(site: Site) -> None:
    path = f"/api/v1/sites/{SITE}/indicators/equipment.intact_rate"
    window = {"from": "2026-05-01T08:00:00.000Z", "to": "2026-05-02T08:00:00.000Z"}
    answer = (await site.http.get(path, params={"from": "2026-05-01T16:00:00+08:00", "to": window["to"]})).json()

    assert answer["window"] == window
    assert (answer["value"], answer["numerator"], answer["denominator"], answer["verdict"]) == (0.99, 99, 100, "PASS")


async def test_rows_cut_the_share_towards_the_unfavourable_side(site: Site) -> None:
    [row] = (await site.http.get(f"/api/v1/sites/{SITE}/equipment")).json()["items"]

    assert row["intact_24h"] == 0.9799


async def test_a_gateway_shows_when_it_was_heard(site: Site) -> None:
    [silent] = (await site.http.get("/api/v1/gateways")).json()["items"]
    site.world.inventory()
    [heard] = (await site.http.get("/api/v1/gateways")).json()["items"]
    [listed] = (await site.http.get("/api/v1/sites")).json()["items"]

    assert (silent["online"], silent["last_frame_at"]) == (False, None)
    assert (heard["online"], heard["software_version"], heard["clock_offset_ms"]) == (True, "0", 0)
    assert (listed["gateways_online"], listed["gateways_total"]) == (1, 1)


async def test_a_chart_leaves_gaps_as_gaps(site: Site) -> None:
    window = {"from": "2026-05-01T08:00:00Z", "to": "2026-05-01T08:00:03Z"}
    answer = await site.http.get(f"/api/v1/sites/{SITE}/series", params={"device": "d", "point": "p", **window})

    assert [row[1:] for row in answer.json()["items"]] == [
        [None, None, None, 0],
        [1.0, 2.0, 3.0, 4],
        [None, None, None, 0],
    ]


async def test_the_second_person_to_acknowledge_sees_who_was_first(site: Site) -> None:
    alert = await site.fault()
    path = f"/api/v1/alerts/{alert['id']}/acknowledgement"
    first = await site.http.post(path, json={"actor": "li", "note": "on my way"})
    again = await site.http.post(path, json={"actor": "li"})
    second = await site.http.post(path, json={"actor": "wang"})
    detail = (await site.http.get(f"/api/v1/alerts/{alert['id']}")).json()

    assert first.status_code == again.status_code == 200
    assert (second.status_code, second.json()["acknowledged_by"]) == (409, "li")
    assert [(entry["kind"], entry["actor"], entry["note"]) for entry in detail["history"]] == [
        ("opened", None, None),
        ("acknowledged", "li", "on my way"),
    ]
    assert alert["thing_name"]["zh-CN"] == "消防泵 3"


async def test_an_alert_that_changed_in_between_is_not_handled(site: Site) -> None:
    alert = await site.fault()
    path = f"/api/v1/alerts/{alert['id']}/acknowledgement"
    stale = await site.http.post(path, json={"actor": "li"}, headers={"If-Match": '"0"'})
    fresh = await site.http.post(path, json={"actor": "li"}, headers={"If-Match": f'"{alert["version"]}"'})

    assert (stale.status_code, stale.json()["code"]) == (412, "version_mismatch")
    assert fresh.status_code == 200


async def test_what_still_fails_cannot_be_resolved_and_leaves_the_list_when_it_can(site: Site) -> None:
    alert = await site.fault()
    path = f"/api/v1/alerts/{alert['id']}/resolution"
    early = await site.http.post(path, json={"actor": "li", "cause": "bearing"})
    await site.world.after(1, FINE)
    await site.world.after(6)
    bare = await site.http.post(path, json={"actor": "li", "cause": "bearing"})
    done = await site.http.post(path, json={"actor": "li", "cause": "bearing", "note": "replaced"})
    left = (await site.http.get("/api/v1/alerts")).json()["items"]
    kept = (await site.http.get("/api/v1/alerts", params={"state": "all"})).json()["items"]

    assert (early.status_code, early.json()["code"]) == (409, "condition_active")
    assert (bare.status_code, bare.json()["errors"][0]["pointer"]) == (422, "/body/note")
    assert done.status_code == 200
    assert (left, [one["id"] for one in kept]) == ([], [alert["id"]])


async def test_pages_of_alerts_return_each_once(site: Site) -> None:
    spans = {"pump-3": [(site.world.now_ms - 60_000 * n, site.world.now_ms - 60_000 * n + 20_000) for n in range(1, 8)]}
    await site.world.engine.record_passed(SITE, spans)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"state": "all", "limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = (await site.http.get("/api/v1/alerts", params=query)).json()
        seen += [one["opened_at"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert len(seen) == 7
    assert seen == sorted(seen, reverse=True)


async def test_an_unchanged_snapshot_is_not_sent_again(site: Site) -> None:
    path = f"/api/v1/sites/{SITE}/snapshot"
    first = await site.http.get(path)
    again = await site.http.get(path, headers={"If-None-Match": first.headers["etag"]})

    assert first.headers["etag"] == f'"{first.json()["epoch"]}-{first.json()["seq"]}"'
    assert again.status_code == 304


async def test_the_stream_tells_what_the_next_snapshot_shows(site: Site) -> None:
    site.world.inventory()
    snapshot: Json = (await site.http.get(f"/api/v1/sites/{SITE}/snapshot")).json()
    url = f"/api/v1/sites/{SITE}/stream?since={snapshot['epoch']}-{snapshot['seq']}"
    async with site.http.stream("GET", url) as stream:
        lines = stream.aiter_lines()
        await site.fault()
        site.world.frame_of("p-017", "occupied", 1.0)
        site.made_up.cells = {5: 2}
        await site.pages.page(SITE).tick(site.world.now_ms)
        later = (await site.http.get(f"/api/v1/sites/{SITE}/snapshot")).json()
        while snapshot["seq"] < later["seq"]:
            line = await asyncio.wait_for(anext(lines), 10)
            if line.startswith("data: "):
                snapshot = applied(snapshot, json.loads(line.removeprefix("data: ")))

    assert stream.headers["x-accel-buffering"] == "no"
    assert stream.headers.get("content-encoding") is None
    assert snapshot == later
    assert [row["state"] for row in snapshot["equipment"]] == ["FAULT"]


async def test_streams_end_at_once_when_the_server_stops(site: Site) -> None:
    await site.http.get(f"/api/v1/sites/{SITE}/snapshot")
    async with site.http.stream("GET", f"/api/v1/sites/{SITE}/stream") as stream:
        site.pages.stop()
        rest = await asyncio.wait_for(stream.aread(), 5)

    assert rest == b": ping\n\n"


async def test_the_open_api_document_knows_every_route_and_no_page_loads_from_elsewhere(site: Site) -> None:
    document = (await site.http.get("/api/v1/openapi.json")).json()
    bare = [
        path
        for path, methods in document["paths"].items()
        for operation in methods.values()
        if not operation["responses"]["200"].get("content")
    ]

    assert len(document["paths"]) >= 32
    assert bare == []
    assert (await site.http.get("/docs")).status_code == 404
