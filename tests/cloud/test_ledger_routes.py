"""What people enter over the API: checked, kept with its versions, told with who, when and why."""

from collections.abc import AsyncIterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from cloud.api.ledger_routes import ledger_routes
from cloud.api.problems import install_problems
from cloud.facts.database import reading
from cloud.facts.desk import Desk
from cloud.facts.result_marks import marked_days
from cloud.indicators.registry import compute_indicator
from cloud.sheets import text_of_workbook
from devices.instants import format_instant
from tests.cloud.serving import serving
from tests.cloud.told import SITE, Cloud, Entry, Told, inventory, ledger_text, new_cloud

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
BEGIN_MS = 20_000 * DAY_MS
BEGIN_DAY = date(2024, 10, 4).toordinal()
NOW_MS = BEGIN_MS + 3 * HOUR_MS
NAME = "name: {en: N, zh-CN: N}"
LEDGER = ledger_text(
    f"equipment: [{{id: pump, {NAME}, code: P-1, class: pump, criticality: A, device: pump}}, "
    f"{{id: hydrant, {NAME}, code: H-1, class: hydrant, criticality: A, inspection_days: 31}}, "
    f"{{id: fan, {NAME}, code: F-1, class: fan, criticality: C, device: never-heard}}]"
)


class World:
    """A store with a site, its desk, and a client of its API."""

    def __init__(self, cloud: Cloud, client: httpx.AsyncClient) -> None:
        self.cloud = cloud
        self.client = client
        self.now_ms = NOW_MS

    async def enter(self, kind: str, name: str, document: Mapping[str, object], **more: Any) -> httpx.Response:
        body = {"actor": "li", "reason": "because", "valid_from": format_instant(BEGIN_MS), "document": document}
        headers = more.pop("headers", {})
        return await self.client.put(f"/inputs/{kind}/{name}", json=body | more, headers=headers)

    def rate(self, hours: int) -> tuple[int, int]:
        """Numerator and denominator of the intact rate over the first hours, in hours."""
        ledger = self.cloud.facts.ledger(SITE)
        assert ledger is not None
        window = (BEGIN_MS, BEGIN_MS + hours * HOUR_MS)
        found = compute_indicator(self.cloud.facts, ledger, "equipment.intact_rate", window, BEGIN_MS + DAY_MS)
        return found.numerator // HOUR_MS, found.denominator // HOUR_MS


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    cloud = new_cloud(tmp_path)
    cloud.ledger(LEDGER)
    records = inventory(["pump", "stranger"], BEGIN_MS)
    fine, broken = Entry("pump", "alarm", BEGIN_MS, 0.0), Entry("pump", "alarm", BEGIN_MS + 4 * HOUR_MS, 1.0)
    cloud.tell([
        Told(1, BEGIN_MS, BEGIN_MS + 4 * HOUR_MS, (fine,), records),
        Told(2, BEGIN_MS + 4 * HOUR_MS, BEGIN_MS + 10 * HOUR_MS, (broken,)),
    ])  # fmt: skip
    app = FastAPI()
    install_problems(app)
    holder: list[World] = []
    app.include_router(ledger_routes(Desk(cloud.facts), lambda: holder[0].now_ms))
    async with (
        serving(app) as address,
        httpx.AsyncClient(base_url=f"{address}/api/v1/sites/{SITE}") as client,
    ):
        holder.append(World(cloud, client))
        yield holder[0]
    cloud.engine.dispose()


async def test_a_window_entered_before_the_stop_takes_it_out_of_the_rate(world: World) -> None:
    assert world.rate(10) == (4, 10)
    until = format_instant(BEGIN_MS + 8 * HOUR_MS)
    planned = {"equipment": ["pump"], "work": "bearings", "approved_by": "wang"}
    answer = await world.enter(
        "maintenance-window", "w-1", planned, valid_from=format_instant(BEGIN_MS + 4 * HOUR_MS), valid_to=until
    )

    assert answer.status_code == 200
    assert answer.headers["etag"] == '"1"'
    assert answer.json()["recorded_at"] == format_instant(NOW_MS)
    assert world.rate(10) == (4, 6)  # 8 to 10 h: overran its planned end


@pytest.mark.parametrize("late", [{"now_ms": BEGIN_MS + 5 * HOUR_MS}, {"approved_by": None}])
async def test_a_window_entered_after_the_stop_or_not_approved_takes_nothing_out(
    world: World, late: dict[str, Any]
) -> None:
    world.now_ms = late.get("now_ms", NOW_MS)
    planned = {"equipment": ["pump"], "work": "bearings"} | ({"approved_by": "wang"} if "now_ms" in late else {})
    begin, end = format_instant(BEGIN_MS + 4 * HOUR_MS), format_instant(BEGIN_MS + 10 * HOUR_MS)
    await world.enter("maintenance-window", "w-1", planned, valid_from=begin, valid_to=end)

    assert world.rate(10) == (4, 10)


async def test_an_exclusion_takes_its_time_out_and_a_withdrawal_puts_it_back(world: World) -> None:
    end = format_instant(BEGIN_MS + 10 * HOUR_MS)
    await world.enter("exclusion", "x-1", {"equipment": ["pump"]}, valid_to=end)
    excluded = world.rate(10)
    gone = await world.client.post("/inputs/exclusion/x-1/withdrawal", json={"actor": "wang", "reason": "no reason"})

    assert excluded == (0, 0)
    assert gone.json()["withdrawn"] is True
    assert world.rate(10) == (4, 10)


async def test_what_is_entered_marks_its_days_for_another_look_at_their_results(world: World) -> None:
    def marked() -> list[int]:
        with reading(world.cloud.engine) as connection:
            return [day - BEGIN_DAY for day in marked_days(connection, SITE)]

    world.now_ms = BEGIN_MS + 3 * DAY_MS
    before = marked()
    end = format_instant(BEGIN_MS + DAY_MS + 1)
    await world.enter("exclusion", "x-1", {"equipment": ["fan"]}, valid_to=end)
    excluded = marked()
    await world.client.put("/ledger", json={"actor": "li", "reason": "r", "text": LEDGER, "valid_from": "2024-10-06"})

    assert (before, excluded, marked()) == ([], [0, 1], [0, 1, 2])


async def test_an_inspection_makes_what_has_no_device_known(world: World) -> None:
    before = world.rate(10)
    found = {"equipment": "hydrant", "result": "intact", "inspector": "li"}
    await world.enter("inspection", "i-1", found, valid_from=format_instant(BEGIN_MS))

    assert before == (4, 10)
    assert world.rate(10) == (14, 20)


async def test_the_trail_tells_who_entered_what_when_and_why(world: World) -> None:
    end = format_instant(BEGIN_MS + HOUR_MS)
    for number in range(3):
        await world.enter("exclusion", f"x-{number}", {"equipment": ["fan"]}, valid_to=end, reason=f"why {number}")
    first = (await world.client.get("/inputs", params={"limit": 2})).json()
    rest = (await world.client.get("/inputs", params={"limit": 2, "after": first["next_cursor"]})).json()

    assert [(one["id"], one["actor"], one["reason"]) for one in first["items"] + rest["items"]] == [
        ("x-0", "li", "why 0"), ("x-1", "li", "why 1"), ("x-2", "li", "why 2"),
    ]  # fmt: skip
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    ("kind", "document", "more", "status"),
    [
        ("exclusion", {"equipment": ["pump"]}, {}, 422),  # without an end
        ("exclusion", {"equipment": ["nobody"]}, {"valid_to": format_instant(BEGIN_MS + 1)}, 404),
        ("exclusion", {"equipment": ["pump"], "more": 1}, {"valid_to": format_instant(BEGIN_MS + 1)}, 422),
        ("exclusion", {"equipment": ["pump"]}, {"valid_to": format_instant(BEGIN_MS)}, 422),
        ("exclusion", {"equipment": ["pump"]}, {"valid_to": format_instant(BEGIN_MS + 1), "reason": ""}, 422),
        ("exclusion", {"equipment": ["pump"]}, {"valid_to": format_instant(BEGIN_MS + 1), "actor": None}, 422),
        ("exclusion", {"equipment": ["pump"]}, {"valid_to": "tomorrow"}, 422),
        ("inspection", {"equipment": "pump", "result": "intact", "inspector": "li"},
         {"valid_from": format_instant(NOW_MS + 1)}, 422),
        ("maintenance-window", {"equipment": ["pump"], "work": "w"},
         {"valid_to": format_instant(BEGIN_MS + 93 * DAY_MS)}, 422),
        ("exclusion", {"equipment": ["pump"]}, {"valid_to": "9999-12-31T23:59:59Z"}, 422),
        ("exclusion", {"equipment": ["pump"]}, {"valid_from": "0001-01-01T00:00:00Z",
                                                "valid_to": format_instant(BEGIN_MS)}, 422),
        ("miracle", {}, {}, 404),
    ],
)  # fmt: skip
async def test_what_cannot_be_entered_is_refused(
    world: World, kind: str, document: dict[str, object], more: dict[str, Any], status: int
) -> None:
    answer = await world.enter(kind, "one", document, **more)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await world.client.get("/inputs")).json()["items"] == []


async def test_who_has_not_seen_the_newest_version_is_told_so(world: World) -> None:
    end = format_instant(BEGIN_MS + HOUR_MS)
    await world.enter("exclusion", "x-1", {"equipment": ["fan"]}, valid_to=end)
    stale = await world.enter("exclusion", "x-1", {"equipment": ["pump"]}, valid_to=end, headers={"If-Match": '"7"'})

    assert stale.status_code == 412


async def test_a_ledger_that_is_entered_for_a_day_leaves_the_days_before_alone(world: World) -> None:
    text = LEDGER.replace("device: pump", "device: pump, retired: 2024-10-05")
    body = {"actor": "li", "reason": "sold", "text": text, "valid_from": "2024-10-05"}  # the day after BEGIN_MS
    answer = await world.client.put("/ledger", json=body)

    assert [one["reason"] for one in answer.json()["items"]] == ["", "sold"]
    assert world.rate(10) == (4, 10)
    assert (await world.client.get("/ledger")).text == text
    assert (await world.client.get("/ledger", params={"version": 1})).text == LEDGER
    assert (await world.client.get("/ledger", params={"version": 9})).status_code == 404


@pytest.mark.parametrize("valid_from", ["9999-12-31", "2201-01-01", "1969-12-30", "0001-01-01"])
async def test_a_ledger_from_a_day_that_no_page_can_show_is_refused(world: World, valid_from: str) -> None:
    text = LEDGER.replace("P-1", "P-2")
    said = {"actor": "li", "reason": "a slip", "valid_from": valid_from}
    whole = await world.client.put("/ledger", json={**said, "text": text})
    sheet = (await world.client.get("/ledger/sheets/equipment")).text.replace("P-1", "P-2")
    section = await world.client.put("/ledger/sheets/equipment", params=said, content=sheet.encode())

    assert [whole.status_code, section.status_code] == [422, 422], whole.text
    assert len((await world.client.get("/ledger/versions")).json()["items"]) == 1
    assert world.rate(4) == (4, 4)


async def test_a_site_commissioned_in_year_one_has_a_history_that_can_be_told(world: World) -> None:
    text = ledger_text(site="old").replace("zone: UTC", "zone: Asia/Shanghai, commissioned: 0001-01-01")
    world.cloud.ledger(text)
    client = world.client
    answer = await client.get(str(client.base_url).replace(SITE, "old") + "ledger/versions")

    assert answer.status_code == 200, answer.text


async def test_a_ledger_goes_out_as_a_workbook_and_comes_in_as_sheets(world: World) -> None:
    params = {"actor": "li", "reason": "codes", "valid_from": "2024-10-05"}
    sheet = (await world.client.get("/ledger/sheets/equipment")).content
    changed = await world.client.put("/ledger/sheets/equipment", content=sheet.replace(b"P-1", b"P-9"), params=params)
    book = (await world.client.get("/ledger/workbook")).content
    again = await world.client.put("/ledger/workbook", content=book, params=params | {"reason": "the same"})
    wrong = await world.client.put("/ledger/sheets/equipment", content=sheet.replace(b"A,", b"X,"), params=params)

    assert [one["reason"] for one in changed.json()["items"]] == ["", "codes"]
    assert text_of_workbook(book, "b").count("P-9") == 1
    assert again.status_code == 200
    assert wrong.status_code == 422
    assert "equipment, F2: criticality" in wrong.json()["errors"][0]["detail"]


async def test_a_ledger_with_mistakes_or_of_another_site_is_refused(world: World) -> None:
    for text in (LEDGER.replace("criticality: C", "criticality: D"), LEDGER.replace(SITE, "elsewhere")):
        answer = await world.client.put("/ledger", json={"actor": "li", "reason": "r", "text": text})
        assert answer.status_code == 422


async def test_what_nobody_monitors_and_what_nobody_listed_is_told(world: World) -> None:
    found = (await world.client.get("/ledger/not-monitored")).json()

    assert found == {
        "entries": 3,
        "silent": [
            {"kind": "equipment", "id": "hydrant", "device": None, "why": "never-inspected"},
            {"kind": "equipment", "id": "fan", "device": "never-heard", "why": "never-heard"},
        ],
        "unlisted": [{"device": "stranger", "gateway": "gw-1", "reported": False}],
    }
