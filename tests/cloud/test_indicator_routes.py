"""What stands behind numbers, over HTTP: a real server over a real store with two days of a pump."""

from collections.abc import AsyncIterator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from cloud.api.benchmark_routes import benchmark_routes
from cloud.api.indicator_detail_routes import indicator_detail_routes
from cloud.api.problems import install_problems
from cloud.facts.store import FactStore
from cloud.indicators.desk import IndicatorDesk
from devices.instants import parse_instant
from tests.cloud.serving import serving
from tests.cloud.test_issued_results import EQUIPMENT, day, issue_all, three_days
from tests.cloud.told import SITE, Cloud, ledger_text, new_cloud

Json = dict[str, Any]
RATE = "equipment.intact_rate"
DAY = {"from": "1970-01-12T00:00:00Z", "to": "1970-01-13T00:00:00Z"}  # day 11
MINE = f"/api/v1/sites/{SITE}"
WHO = {"actor": "li.wei", "reason": "agreed"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    one = new_cloud(Path(tmp_path_factory.mktemp("routes")))
    one.ledger(ledger_text(EQUIPMENT).replace("zone: UTC", "zone: UTC, company: acme"))
    one.tell(three_days())
    issue_all(one, day(13, 1))
    yield one
    one.engine.dispose()


@pytest.fixture
async def http(cloud: Cloud) -> AsyncIterator[httpx.AsyncClient]:
    desk = IndicatorDesk(FactStore(cloud.engine, eager=False), lambda: day(13, 1))
    app = FastAPI()
    app.include_router(indicator_detail_routes(desk))
    app.include_router(benchmark_routes(desk))
    install_problems(app)
    async with serving(app) as address, httpx.AsyncClient(base_url=address, timeout=20) as client:
        yield client


async def items(http: httpx.AsyncClient, path: str, **query: str) -> list[Json]:
    answer = await http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["items"]
    return found


async def test_an_explanation_gives_the_number_again_by_hand(http: httpx.AsyncClient) -> None:
    answer = (await http.get(f"{MINE}/indicators/{RATE}/explain", params=DAY)).json()
    times = {"up": 0, "down": 0, "unknown": 0}
    for thing in answer["things"]:
        for begin, end, _, counts in thing["intervals"]:
            times[counts] += parse_instant(end) - parse_instant(begin)
    result = answer["result"]

    assert Fraction(times["up"], times["up"] + times["down"]) == Fraction(result["value"])
    assert (result["numerator"], result["denominator"]) == (times["up"], times["up"] + times["down"])
    assert {one["epoch"] for one in answer["frames"]} == {b"epoch--1".hex()}
    assert answer["result"]["from"] == "1970-01-12T00:00:00.000Z"
    assert answer["terms"]["policy"]["weights"] == {"A": 1, "B": 1, "C": 1}


async def test_groups_revisions_and_definitions_are_listed(http: httpx.AsyncClient) -> None:
    groups = await items(http, f"{MINE}/indicators/{RATE}/groups", by="criticality", **DAY)
    revisions = await items(http, f"{MINE}/indicators/{RATE}/revisions", **DAY)
    within = await items(http, f"{MINE}/indicators/{RATE}/revisions", **{**DAY, "to": "1970-01-14T00:00:00Z"})
    definitions = await items(http, f"{MINE}/indicator-definitions")

    assert [(one["group"]["name"], one["value"]) for one in groups] == [("A", 0.75), ("C", 1.0)]
    assert [(one["revision"], one["value"], one["after_final"]) for one in revisions] == [(1, 0.875, False)]
    assert [one["value"] for one in within] == [0.875, 1.0]
    assert RATE in {one["id"] for one in definitions}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v1/sites/nope/indicators/equipment.intact_rate/explain", 404, "not_found"),
        (f"{MINE}/indicators/nope.nope/explain", 404, "not_found"),
        (f"{MINE}/indicators/{RATE}/groups?by=vehicle", 422, "bad_grouping"),
        (f"{MINE}/indicators/{RATE}/revisions", 422, "missing"),
        (f"{MINE}/indicators/{RATE}/explain?from=1970-01-01&to=1970-01-02", 422, "naive_time"),
    ],
)
async def test_what_is_not_there_or_cannot_be_read_is_a_problem(
    http: httpx.AsyncClient, path: str, status: int, code: str
) -> None:
    answer = await http.get(path)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def define(http: httpx.AsyncClient, name: str) -> None:
    definition = {
        "id": name,
        "name": {"en": "C", "zh-CN": "投诉"},
        "value_unit": "ms",
        "better": "lower",
    }
    entered = await http.post("/api/v1/indicator-definitions", json={**WHO, "definition": definition})
    assert entered.status_code == 200, entered.text


async def test_values_come_as_json_csv_and_forms_and_say_where_from(http: httpx.AsyncClient) -> None:
    await define(http, "complaint.response")
    path, one = f"{MINE}/indicators/complaint.response/values", f"{MINE}/indicators/complaint.response/explain"
    january, february = ({"from": f"1970-0{n}-01T00:00:00Z", "to": f"1970-0{n + 1}-01T00:00:00Z"} for n in (1, 2))
    by_json = await http.post(path, json={**WHO, "items": [{"period": "1970-01", "value": "100"}]})
    first = (await http.get(one, params=january)).json()["result"]
    by_csv = await http.post(
        path, content="period,value\n1970-01,200\n1970-02,300\n", headers={"content-type": "text/csv"}, params=WHO
    )
    second = (await http.get(one, params=january)).json()["result"]
    by_form = await http.post(path, data={"period": "1970-02", "value": "400", **WHO})
    third = (await http.get(one, params=february)).json()

    assert [answer.json().get("count") for answer in (by_json, by_csv, by_form)] == [1, 2, 1]
    assert [found["value"] for found in (first, second, third["result"])] == ["100/1", "200/1", "400/1"]
    assert [found["details"]["origin"] for found in (first, third["result"])] == ["imported", "manual"]
    assert [(value["actor"], value["version"]) for value in third["values"]] == [("li.wei", 2)]


async def test_one_bad_row_keeps_all_of_them_out_and_is_named(http: httpx.AsyncClient) -> None:
    await define(http, "complaint.handling")
    path = f"{MINE}/indicators/complaint.handling/values"
    rows = "period,value\n1970-01,200\n1970-02,many\n1970-03,1\n"
    refused = await http.post(path, content=rows, headers={"content-type": "text/csv"}, params=WHO)
    held = (await http.get(f"{MINE}/indicators/complaint.handling/explain", params=DAY)).json()

    assert (refused.status_code, [error["pointer"] for error in refused.json()["errors"]]) == (422, ["/body/items/1"])
    assert held["values"] == []


NAME = {"en": "a", "zh-CN": "a"}
SINCE = {"valid_from": "1970-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("indicator-definitions", {**WHO, "definition": {"id": "equipment.x", "name": NAME}}, "refused"),
        ("indicator-definitions", {**WHO, "definition": {"id": "a.b", "nmae": 1}}, "bad_document"),
        ("indicator-definitions", {"reason": "x", "definition": {"id": "a.b", "name": NAME}}, "actor_missing"),
        ("target-packs/choice", {**WHO, "pack": "nope", **SINCE}, "refused"),
        ("benchmarks", {**WHO, "benchmark": {"id": "x", "indicator": RATE, "kind": "industry"}, **SINCE}, "refused"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_code(
    http: httpx.AsyncClient, path: str, body: Json, code: str
) -> None:
    answer = await http.post(f"/api/v1/{path}", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, code)


@pytest.mark.parametrize("when", [("0001-01-01T00:00:00Z", "0001-02-01T00:00:00Z"),
                                  ("2026-01-01T00:00:00Z", "9999-12-31T23:59:59Z")])  # fmt: skip
async def test_a_window_that_no_zone_can_show_is_refused(http: httpx.AsyncClient, when: tuple[str, str]) -> None:
    for path in ("explain", "revisions"):
        answer = await http.get(f"{MINE}/indicators/{RATE}/{path}", params=dict(zip(("from", "to"), when, strict=True)))

        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "bad_time")


async def test_an_override_is_visible_beside_its_pack(http: httpx.AsyncClient) -> None:
    since = {"valid_from": "1970-01-01T00:00:00Z"}
    await http.post("/api/v1/target-packs/choice", json={**WHO, "site": SITE, "pack": "service-upgrade", **since})
    await http.post(f"{MINE}/targets/{RATE}", json={**WHO, "value": 0.8, **since})
    held = (await http.get(f"{MINE}/targets")).json()

    assert (held["pack"], held["period"]) == ("service-upgrade", "quarter")
    assert {one["indicator"]: one["override"] for one in held["items"]}[RATE] is True
    assert sum(one["override"] for one in held["items"]) == 1


async def test_a_portfolio_shows_each_site_and_pools_by_sums(http: httpx.AsyncClient) -> None:
    whole = (await http.get("/api/v1/portfolio")).json()
    [mine] = whole["items"]
    lines = {line[0]: dict(zip(whole["columns"], line, strict=True)) for line in mine["lines"]}
    pooled = (await http.get(f"/api/v1/portfolio/{RATE}", params={"site": SITE, **DAY})).json()

    grouped = await items(http, f"/api/v1/portfolio/{RATE}/groups", by="company", **DAY)

    assert [(one["group"], one["value"]) for one in grouped] == [({"by": "company", "name": "acme"}, 0.875)]
    assert (mine["site"], lines[RATE]["value"], lines[RATE]["to_ms"]) == (SITE, 1.0, day(13))
    assert (pooled["value"], pooled["parts"]["down"]) == (0.875, 6 * 3_600_000)


async def test_a_benchmark_shows_gap_and_stage(http: httpx.AsyncClient) -> None:
    benchmark = {
        "id": "leader",
        "indicator": RATE,
        "kind": "industry",
        "value": "0.99",
        "source": "yearbook",
        "year": 2025,
    }
    since = {"valid_from": "1970-01-01T00:00:00Z"}
    await http.post("/api/v1/benchmarks", json={**WHO, "benchmark": benchmark, **since})
    [found] = await items(http, f"{MINE}/benchmarks")
    frozen = await http.post(f"{MINE}/benchmarks/leader/freeze", json=WHO)

    assert (found["stage"], found["value"], found["source"], found["year"]) == ("set", 0.99, "yearbook", 2025)
    assert found["expires_at"] == "1971-01-01T00:00:00.000Z"
    assert (frozen.status_code, frozen.json()["code"]) == (422, "refused")
