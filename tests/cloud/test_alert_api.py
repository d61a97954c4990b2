"""What people do with alerts over HTTP: real server, real files."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud.alerts.alert import Key, Terms
from cloud.alerts.lifecycle import Cleared, Raised
from devices.instants import format_instant
from devices.rules import Severity
from tests.cloud.live_world import FINE, SITE
from tests.cloud.test_api import Site, site_served

Json = dict[str, Any]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with site_served(tmp_path) as one:
        yield one


async def raise_many(site: Site, count: int, severity: Severity = Severity.YELLOW, first: int = 0) -> list[str]:
    """Alerts of `count` things, a second apart; their ids in this order."""
    found = []
    for number in range(first, first + count):
        site.world.now_ms += 1000
        key = Key(SITE, f"rule-{severity.value}", f"thing-{number:03d}")
        raised = Raised(key, Terms(severity, "alert.equipment_fault"), site.world.now_ms, {"since": "x"})
        [alert] = await site.world.engine.book.apply([(key, raised)])
        found.append(alert.id)
    return found


async def post(site: Site, alert: str, path: str, body: Json, **headers: str) -> httpx.Response:
    return await site.http.post(f"/api/v1/alerts/{alert}/{path}", json=body, headers=headers)


async def pages(site: Site, **query: str) -> AsyncIterator[list[Json]]:
    cursor: str | None = None
    while True:
        answer = await site.http.get("/api/v1/alerts", params=query | ({"cursor": cursor} if cursor else {}))
        assert answer.status_code == 200, answer.text
        yield answer.json()["items"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return


async def test_an_alert_is_assigned_commented_put_aside_and_taken_back(site: Site) -> None:
    alert = await site.fault()
    until = format_instant(site.world.now_ms + 3_600_000)
    await post(site, alert["id"], "assignment", {"actor": "li", "assignee": "wang"})
    await post(site, alert["id"], "comments", {"actor": "wang", "note": "pump room is locked"})
    aside = (await post(site, alert["id"], "shelf", {"actor": "wang", "reason": "waiting", "until": until})).json()
    bare = await site.http.delete(f"/api/v1/alerts/{alert['id']}/shelf", params={"actor": "li"})
    headers = {"If-Match": f'"{aside["version"]}"'}
    back = await site.http.delete(f"/api/v1/alerts/{alert['id']}/shelf", params={"actor": "li"}, headers=headers)
    there = await post(site, alert["id"], "arrival", {"actor": "wang"})
    detail = (await site.http.get(f"/api/v1/alerts/{alert['id']}")).json()

    assert (aside["assignee"], aside["shelved_by"], aside["shelf_reason"]) == ("wang", "wang", "waiting")
    assert aside["shelved_until"] == until
    assert (bare.status_code, bare.json()["code"]) == (428, "if_match_required")
    assert (back.status_code, back.json()["shelved_until"]) == (200, None)
    assert there.json()["arrived_by"] == "wang"
    kinds = [entry["kind"] for entry in detail["history"]]
    assert kinds == ["opened", "assigned", "commented", "shelved", "unshelved", "arrived"]


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("shelf", {"actor": "li", "reason": "x", "until": "2999-01-01T00:00:00Z"}, "/body/until"),
        ("shelf", {"actor": "li", "reason": "x", "until": "2026-01-01T00:00:00"}, "/body/until"),
        ("shelf", {"actor": "li", "reason": " ", "until": "2999-01-01T00:00:00Z"}, "/body/reason"),
        ("comments", {"actor": "li", "note": ""}, "/body/note"),
        ("comments", {"note": "who says so?"}, "/body/actor"),
        ("resolution", {"actor": "li", "cause": "Not A Code", "note": "x"}, "/body/cause"),
    ],
)
async def test_what_lacks_something_is_refused_with_its_pointer(
    site: Site, path: str, body: Json, pointer: str
) -> None:
    alert = await site.fault()
    answer = await post(site, alert["id"], path, body)

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_of_two_at_once_one_wins_and_the_other_sees_who(site: Site) -> None:
    alert = await site.fault()
    headers = {"If-Match": f'"{alert["version"]}"'}
    answers = await asyncio.gather(
        *(post(site, alert["id"], "assignment", {"actor": who, "assignee": who}, **headers) for who in ("li", "wang"))
    )
    by_status = {answer.status_code: answer.json() for answer in answers}

    assert sorted(by_status) == [200, 412]
    assert by_status[412]["changed_by"] == by_status[200]["assignee"]
    assert by_status[412]["code"] == "version_mismatch"


async def test_50_are_acknowledged_with_one_request_and_each_says_how_it_went(site: Site) -> None:
    ids = await raise_many(site, 50)
    await post(site, ids[7], "acknowledgement", {"actor": "wang"})
    wanted = [{"id": one} for one in ids] + [{"id": "al_0"}, {"id": ids[0], "version": 99}]
    answer = await site.http.post(
        "/api/v1/alerts/bulk", json={"action": "acknowledge", "alerts": wanted, "actor": "li", "note": "all one cause"}
    )
    items = answer.json()["items"]

    assert [item["id"] for item in items] == [*ids, "al_0", ids[0]]
    assert [item["status"] for item in items] == [200] * 7 + [409] + [200] * 42 + [404, 412]
    assert items[7]["problem"]["acknowledged_by"] == "wang"
    assert items[0]["alert"]["acknowledged_by"] == "li"


async def test_every_action_works_in_bulk(site: Site) -> None:
    ids = [{"id": one} for one in await raise_many(site, 2, Severity.RED)]
    until = format_instant(site.world.now_ms + 60_000)
    statuses = []
    for more in (
        {"action": "assign", "assignee": "wang"},
        {"action": "comment", "note": "x"},
        {"action": "shelve", "reason": "x", "until": until},
        {"action": "unshelve"},
        {"action": "resolve", "cause": "wear", "note": "x"},
        {"action": "shelve", "reason": "x", "until": "soon"},
    ):
        answer = await site.http.post("/api/v1/alerts/bulk", json={"alerts": ids, "actor": "li", **more})
        statuses.append([item["status"] for item in answer.json()["items"]] if "items" in answer.json() else 422)

    assert statuses == [[200, 200]] * 4 + [[409, 409], 422]


async def test_the_same_key_with_the_same_body_does_it_once_and_with_another_is_refused(site: Site) -> None:
    alert = await site.fault()
    body = {"actor": "li", "note": "on my way"}
    key = {"Idempotency-Key": "7f3c"}
    answers = await asyncio.gather(*(post(site, alert["id"], "comments", body, **key) for _ in range(3)))
    again = await post(site, alert["id"], "comments", body, **key)
    other = await post(site, alert["id"], "comments", body | {"note": "x"}, **key)
    site.world.now_ms += 24 * 3_600_000
    later = await post(site, alert["id"], "comments", body, **key)
    history = (await site.http.get(f"/api/v1/alerts/{alert['id']}")).json()["history"]

    assert {answer.text for answer in [*answers, again]} == {answers[0].text}
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["etag"] == answers[0].headers["etag"]
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert later.status_code == 200
    assert [entry["kind"] for entry in history].count("commented") == 2


async def test_a_key_of_a_refused_request_may_come_again(site: Site) -> None:
    alert = await site.fault()
    body, key = {"actor": "li", "cause": "wear", "note": "replaced"}, {"Idempotency-Key": "k"}
    early = await post(site, alert["id"], "resolution", body, **key)
    await site.world.after(1, FINE)
    await site.world.after(6)
    done = await post(site, alert["id"], "resolution", body, **key)

    assert (early.status_code, done.status_code) == (409, 200)


async def test_a_key_of_a_body_that_made_no_sense_may_come_again_with_a_better_one(site: Site) -> None:
    alert = await site.fault()
    key = {"Idempotency-Key": "k"}
    wrong = await post(site, alert["id"], "comments", {"actor": "li", "note": 7}, **key)
    done = await post(site, alert["id"], "comments", {"actor": "li", "note": "seven"}, **key)

    assert (wrong.status_code, done.status_code) == (422, 200)


async def test_filters_are_and_across_names_and_or_within(site: Site) -> None:
    yellow = await raise_many(site, 3)
    red = await raise_many(site, 2, Severity.RED)
    await post(site, red[0], "assignment", {"actor": "li", "assignee": "wang"})
    await post(site, yellow[0], "shelf", {"actor": "li", "reason": "x", "until": format_instant(site.world.now_ms + 1)})

    async def ids(**query: str) -> set[str]:
        return {item["id"] for item in (await site.http.get("/api/v1/alerts", params=query)).json()["items"]}

    assert await ids() == {*yellow, *red}
    assert await ids(severity="red,yellow", thing="thing-000") == {yellow[0], red[0]}
    assert await ids(severity="red", assignee="wang") == {red[0]}
    assert await ids(shelved="true") == {yellow[0]}
    assert await ids(rule="rule-red,rule-yellow", thing="thing-001,thing-002") == {yellow[1], yellow[2], red[1]}
    assert await ids(site="elsewhere") == await ids(drill="true") == set()


async def test_there_is_no_time_window_and_the_total_only_on_request(site: Site) -> None:
    [old] = await raise_many(site, 1)
    site.world.now_ms += 400 * 86_400_000
    plain = (await site.http.get("/api/v1/alerts")).json()
    counted = (await site.http.get("/api/v1/alerts", params={"count": "true"})).json()

    assert [item["id"] for item in plain["items"]] == [old]
    assert "total" not in plain
    assert counted["total"] == 1


async def test_a_sorted_list_gives_each_old_alert_once_however_it_changes(site: Site) -> None:
    yellow, red = await raise_many(site, 6), await raise_many(site, 6, Severity.RED)
    seen: list[str] = []
    first: list[str] = []
    async for items in pages(site, sort="-severity,opened_at", limit="4"):
        seen += [item["id"] for item in items]
        first = first or list(seen)
        await raise_many(site, 2, Severity.ORANGE, first=len(seen))
        for one in (*seen, yellow[5]):
            found = await asyncio.to_thread(site.world.store.find, one)
            assert found is not None
            await site.world.engine.book.apply([(found.key, Cleared(site.world.now_ms))])

    assert first == red[:4]
    assert sorted(seen) == sorted([*yellow, *red])


async def test_the_default_list_gives_each_old_alert_once_while_new_ones_come(site: Site) -> None:
    old, seen = await raise_many(site, 9), []
    async for items in pages(site, limit="2"):
        seen += [item["id"] for item in items]
        await raise_many(site, 1, Severity.RED, first=len(seen))

    assert [one for one in seen if one in set(old)] == list(reversed(old))


@pytest.mark.parametrize("query", ["sort=colour", "sort=severity,severity", "cursor=s.nope.0", "limit=0"])
async def test_a_list_that_makes_no_sense_is_refused(site: Site, query: str) -> None:
    assert (await site.http.get(f"/api/v1/alerts?{query}")).status_code == 422


async def test_the_detail_shows_the_value_around_the_start(site: Site) -> None:
    alert = await site.fault()
    detail = (await site.http.get(f"/api/v1/alerts/{alert['id']}")).json()

    assert detail["around"]["device"] == "di-1"
    assert [row[1:] for row in detail["around"]["items"]] == [[1.0, 2.0, 3.0, 4]]
    assert detail["history"][0]["recorded_at"] >= detail["history"][0]["at"]


async def test_how_it_stands_at_a_site(site: Site) -> None:
    yellow = await raise_many(site, 2)
    await raise_many(site, 1, Severity.RED)
    await post(site, yellow[0], "acknowledgement", {"actor": "li"})
    await post(site, yellow[1], "shelf", {"actor": "li", "reason": "x", "until": format_instant(site.world.now_ms + 1)})
    state = (await site.http.get(f"/api/v1/sites/{SITE}/alert-state")).json()

    assert state["open"] == {"yellow": 2, "orange": 0, "red": 1}
    assert (state["new"], state["shelved"], state["flood"]) == (2, 1, False)
    assert (await site.http.get("/api/v1/sites/nowhere/alert-state")).status_code == 404


async def test_causes_have_words_in_both_languages(site: Site) -> None:
    english = (await site.http.get("/api/v1/alerts/causes")).json()["items"]
    chinese = (await site.http.get("/api/v1/alerts/causes", params={"language": "zh-CN"})).json()["items"]

    assert english[0] == {"id": "wear", "text": "Wear or end of life"}
    assert chinese[0]["text"] == "磨损或寿命到期"
