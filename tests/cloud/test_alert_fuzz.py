"""Whatever is sent to the routes of alerts and items: an answer or a problem, never a crash (ux.md 12, 33)."""

import random
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.cloud.live_world import SITE
from tests.cloud.test_api import Site, site_served

TEXTS = [
    "", " ", "x" * 3000, "\0", "💥", "../..", "al_1", "-1", "9" * 30, "null", "2026-01-01T00:00:00", "s.x.1",
    "s..", "'; drop",
    "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z", "2026-11-20T10:00:00Z", "red",
]  # fmt: skip
VALUES: list[Any] = [*TEXTS, None, 0, -1, 10**30, 1.5, True, [], {}, [{}], ["x"], {"a": 1}]
GOOD = {
    "actor": "li", "note": "n", "reason": "r", "until": "2026-11-20T10:00:00Z", "title": "t", "site": SITE, "plan": "p",
    "to": "accepted", "assignee": "w", "ticket": "T", "action": "acknowledge", "due": "2026-12-01T00:00:00Z",
}  # fmt: skip
ROUNDS = 4


class Fuzz:
    """Makes requests out of the OpenAPI document and chance."""

    def __init__(self, site: Site, document: dict[str, Any], names: dict[str, str]) -> None:
        self._site = site
        self._document = document
        self._names = names
        self._rng = random.Random(7)

    async def requests(self) -> list[tuple[object, ...]]:
        """What was answered wrongly."""
        wrong: list[tuple[object, ...]] = []
        for path, methods in self._document["paths"].items():
            if "alert" in path or "rectification" in path:
                for method, operation in methods.items():
                    for _ in range(ROUNDS):
                        wrong += await self._one(path, method, operation)
        return wrong

    async def _one(self, path: str, method: str, operation: dict[str, Any]) -> list[tuple[object, ...]]:
        rng = self._rng
        for name, good in self._names.items():
            path = path.replace(f"{{{name}}}", quote(good if rng.random() < 0.8 else rng.choice(TEXTS[2:]), safe=""))
        query = {one["name"]: rng.choice(TEXTS) for one in operation.get("parameters", ()) if one["in"] == "query"}
        query = {name: value for name, value in query.items() if rng.random() < 0.3}
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        shape = self._document["components"]["schemas"].get(body.get("$ref", "").rsplit("/", 1)[-1], {})
        sent = {
            name: GOOD[name] if name in GOOD and rng.random() < 0.7 else rng.choice(VALUES)
            for name in shape.get("properties", {})
        }
        headers = {"If-Match": rng.choice(['"1"', '"x"', "*", "", '"99999999999"'])} if rng.random() < 0.5 else {}
        headers |= {"Idempotency-Key": rng.choice(["k1", "k2", "x" * 300])} if rng.random() < 0.2 else {}
        content = {"json": sent} if sent and method != "get" else {}
        answer = await self._site.http.request(method, path, params=query, headers=headers, **content)  # type: ignore[arg-type]
        if answer.status_code < 400:
            return []
        problem = answer.headers["content-type"] == "application/problem+json"
        told = problem and {"code", "request_id", "errors"} <= answer.json().keys()
        return [] if told and answer.status_code < 500 else [(method, path, query, sent, answer.text[:300])]


async def test_whatever_is_sent_gets_an_answer_or_a_problem(tmp_path: Path) -> None:
    async with site_served(tmp_path) as site:
        alert = await site.fault()
        reported = {"actor": "li", "site": SITE, "title": "x"}
        item = (await site.http.post("/api/v1/rectification", json=reported)).json()
        document = (await site.http.get("/api/v1/openapi.json")).json()
        names = {"alert": alert["id"], "item": item["id"], "site": SITE, "attachment": "at_1"}
        wrong = await Fuzz(site, document, names).requests()
        lists = [await site.http.get(f"/api/v1/{path}") for path in ("alerts?state=all", "rectification/export")]

    assert wrong == []
    assert [one.status_code for one in lists] == [200, 200]
