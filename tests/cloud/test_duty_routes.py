"""Entering who is on duty, over HTTP; what is entered is what alerts are told by."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from cloud.alerts.places import SitePlaces
from cloud.api.duty_routes import duty_routes
from cloud.api.problems import RequestGuard, install_problems
from cloud.facts.database import open_database
from cloud.facts.ledgers import import_ledger
from cloud.facts.store import FactStore
from cloud.live import LiveState
from tests.cloud.live_world import LEDGER, SITE, START_MS
from tests.cloud.serving import serving

WEEK = [1, 2, 3, 4, 5, 6, 7]
CALENDAR = {"name": "Duty", "shifts": [{"days": WEEK, "from": "00:00", "to": "12:00", "people": ["li.wei"]}]}
LADDER = {
    "levels": [{"calendar": "duty"}, {"people": ["zhao"]}],
    "red_team": "t",
    "quiet": {"from": "22:00", "to": "07:00"},
}


class Duty:
    def __init__(self, http: httpx.AsyncClient, store: FactStore) -> None:
        self.http = http
        self.store = store

    async def put(self, kind: str, name: str, document: dict[str, Any], **headers: str) -> httpx.Response:
        url = f"/api/v1/sites/{SITE}/duty/{kind}/{name}"
        return await self.http.put(url, json={"actor": "li", "document": document}, headers=headers)


@pytest.fixture
async def duty(tmp_path: Path) -> AsyncIterator[Duty]:
    engine = open_database(tmp_path / "facts.sqlite")
    import_ledger(engine, LEDGER, "ledger.yaml", actor="li", now_ms=START_MS)
    store, app = FactStore(engine, eager=False), FastAPI()
    app.include_router(duty_routes(store, lambda: START_MS))
    install_problems(app)
    app.add_middleware(RequestGuard)
    async with serving(app) as address, httpx.AsyncClient(base_url=address, timeout=20) as http:
        yield Duty(http, store)
    engine.dispose()


async def test_who_is_told_follows_what_was_entered(duty: Duty) -> None:
    before = (await duty.http.get(f"/api/v1/sites/{SITE}/on-duty")).json()
    for kind, name, document in (
        ("duty-calendar", "duty", CALENDAR),
        ("team", "t", {"name": "T", "people": ["chen"]}),
        ("person", "zhao", {"name": "Zhao Min"}),
        ("ladder", "ladder", LADDER),
    ):
        assert (await duty.put(kind, name, document)).status_code == 200
    url = f"/api/v1/sites/{SITE}/on-duty"
    morning = (await duty.http.get(url, params={"at": "2026-05-29T03:00:00+08:00"})).json()
    evening = (await duty.http.get(url, params={"at": "2026-05-29T15:00:00+08:00"})).json()
    places = SitePlaces(duty.store, LiveState())
    places.refresh(SITE, START_MS)

    assert before["levels"] == [[], [], []]
    assert (morning["quiet"], morning["levels"]) == (True, [["li.wei"], ["li.wei", "zhao"], ["li.wei", "zhao"]])
    assert (evening["quiet"], evening["red_levels"][1]) == (False, ["chen", "zhao"])
    assert places.roster(SITE).to_tell(2, START_MS, red=True) == ("chen", "li.wei", "zhao")


async def test_what_is_entered_has_versions_and_two_at_once_do_not_overwrite_each_other(duty: Duty) -> None:
    first = await duty.put("team", "t", {"name": "T", "people": ["chen"]}, **{"If-Match": '"0"'})
    second = await duty.put("team", "t", {"name": "T", "people": ["wang"]}, **{"If-Match": '"1"'})
    stale = await duty.put("team", "t", {"name": "T", "people": ["li"]}, **{"If-Match": '"1"'})
    url = f"/api/v1/sites/{SITE}/duty/team/t"
    bare = await duty.http.delete(url, params={"actor": "li"})
    gone = await duty.http.delete(url, params={"actor": "li"}, headers={"If-Match": '"2"'})
    listed = (await duty.http.get(f"/api/v1/sites/{SITE}/duty/team")).json()["items"]

    assert [one.status_code for one in (first, second, stale, bare, gone)] == [200, 200, 412, 428, 200]
    assert (second.headers["etag"], second.json()["document"]["people"]) == ('"2"', ["wang"])
    assert listed == []


@pytest.mark.parametrize(
    ("kind", "name", "document", "status"),
    [
        ("ladder", "other", {"levels": [{}]}, 422),
        ("ladder", "ladder", {"levels": []}, 422),
        ("ladder", "ladder", {"levels": [{"team": "nobody"}]}, 422),
        ("ladder", "ladder", {"levels": [{"calendar": "never"}]}, 422),
        ("ladder", "ladder", {"levels": [{"people": ["ghost"]}]}, 422),
        ("ladder", "ladder", {"levels": [{}], "red_team": "nobody"}, 422),
        ("ladder", "ladder", {"levels": [{}], "quiet": {"from": "22:00", "to": "22:00"}}, 422),
        ("team", "t", {"name": "T", "poeple": []}, 422),
        ("gang", "t", {"name": "T"}, 404),
        ("team", "T T", {"name": "T"}, 422),
    ],
)
async def test_what_makes_no_sense_is_refused(
    duty: Duty, kind: str, name: str, document: dict[str, Any], status: int
) -> None:
    assert (await duty.put(kind, name, document)).status_code == status
