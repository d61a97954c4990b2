"""Signing in over HTTP, at a real aggregator with two sites."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import sqlalchemy as sa

from cloud.access.door import Door
from cloud.access.rights import Grant, Role
from cloud.aggregator import server_now_ms
from cloud.alerts.alert import Key, Terms, alert_id
from cloud.alerts.lifecycle import Raised, step
from cloud.alerts.store import AlertStore
from cloud.facts.database import open_database
from cloud.facts.ledgers import import_ledger
from cloud.settings import Places
from devices.rules import Severity
from tests.cloud.running import running
from tests.cloud.told import ledger_text
from tests.waiting import eventually

PASSWORD = "correct horse battery"
KEY = Key("site-b", "equipment-fault-a", "pump")
OPENED_MS = 1_780_000_000_000
FOREIGN = alert_id(KEY, OPENED_MS)
OWN = {"X-Gatehouse": "1"}
PEOPLE = {
    "viewer": Grant(Role.VIEWER, "site-a"),
    "engineer": Grant(Role.ENGINEER, "site-a"),
    "manager": Grant(Role.MANAGER, "site-a"),
    "auditor": Grant(Role.AUDITOR),
    "admin": Grant(Role.ADMIN),
}
STREAM_ENDS_S = 25.0  # five times what is promised


class Deployment:
    """A running aggregator, and the door of its database from outside."""

    def __init__(self, address: str, door: Door) -> None:
        self.address = address
        self.door = door

    def link(self, name: str) -> str:
        return self.door.sessions.make_link(name, actor="cli", now_ms=server_now_ms())

    @asynccontextmanager
    async def signed_in(self, name: str) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(base_url=self.address, timeout=20) as http:
            answer = await http.post("/api/v1/session/link", json={"token": self.link(name)})
            assert answer.status_code == 200, answer.text
            yield http


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("cloud")
    engine = open_database(Places(folder).facts)
    door = Door(engine)
    for site in ("site-a", "site-b"):
        import_ledger(engine, ledger_text(site=site), "ledger.yaml", actor="cli", now_ms=server_now_ms())
    for name, grant in PEOPLE.items():
        door.users.add(name, [grant], actor="cli", now_ms=server_now_ms())
    _raise_foreign(engine)
    async with running(folder, "--sign-in") as cloud:
        yield Deployment(cloud.address, door)
    engine.dispose()


def _raise_foreign(engine: sa.Engine) -> None:
    """An alert of site-b in the store."""
    event = Raised(KEY, Terms(Severity.RED, "alert.equipment_fault"), OPENED_MS, {"thing": "pump", "since": ""})
    raised, entries = step(None, event, OPENED_MS)
    assert raised is not None
    AlertStore(engine).save([(raised, entries)])


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_who_has_not_signed_in_gets_pages_and_health_and_nothing_else(deployment: Deployment) -> None:
    async with httpx.AsyncClient(base_url=deployment.address) as http:
        status = {
            path: (await http.get(path)).status_code
            for path in ("/healthz", "/", "/sign-in", "/api/v1/sites", "/api/v1/sites/site-a/snapshot", "/api/v1/audit")
        }

    assert status == {
        "/healthz": 200, "/": 200, "/sign-in": 200, "/api/v1/sites": 401, "/api/v1/sites/site-a/snapshot": 401,
        "/api/v1/audit": 401,
    }  # fmt: skip


async def test_a_link_lets_in_once_and_a_password_from_then_on(deployment: Deployment) -> None:
    token = deployment.link("engineer")
    async with httpx.AsyncClient(base_url=deployment.address) as http:
        first = await http.post("/api/v1/session/link", json={"token": token, "password": PASSWORD})
        again = await http.post("/api/v1/session/link", json={"token": token}, headers=OWN)
    async with httpx.AsyncClient(base_url=deployment.address) as http:
        wrong = await http.post("/api/v1/session", json={"name": "engineer", "password": "not this one"})
        right = await http.post("/api/v1/session", json={"name": "engineer", "password": PASSWORD})
        me = await http.get("/api/v1/session")
        out = await http.request("DELETE", "/api/v1/session", headers=OWN)
        after = await http.get("/api/v1/sites")

    assert (first.status_code, again.json()["code"]) == (200, "link_used")
    assert (wrong.json()["code"], right.status_code) == ("wrong_password", 200)
    assert me.json()["grants"] == [{"role": "engineer", "site": "site-a"}]
    assert (out.status_code, after.status_code) == (204, 401)


async def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(deployment: Deployment) -> None:
    async with httpx.AsyncClient(base_url=deployment.address) as http:
        answer = await http.post("/api/v1/session/link", json={"token": deployment.link("viewer")})
    flags = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}

    assert {"httponly", "samesite=lax", "path=/"} <= flags
    assert answer.headers["set-cookie"].startswith("gatehouse=")  # the plain name: this is http on this machine


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        (OWN, 404),
        ({**OWN, "Origin": "https://elsewhere.example"}, 403),
        ({**OWN, "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_a_change_comes_from_our_own_page(deployment: Deployment, headers: dict[str, str], status: int) -> None:
    async with deployment.signed_in("admin") as http:
        answer = await http.request("DELETE", "/api/v1/keys/nokey", headers=headers)

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("viewer", [200, 404, 403, 403]),
        ("engineer", [200, 404, 403, 403]),
        ("manager", [200, 404, 403, 403]),
        ("auditor", [200, 200, 403, 200]),
        ("admin", [200, 200, 200, 200]),
    ],
)
async def test_each_role_sees_what_is_its_own(deployment: Deployment, name: str, expected: list[int]) -> None:
    async with deployment.signed_in(name) as http:
        paths = ("/api/v1/sites/site-a/snapshot", "/api/v1/sites/site-b/snapshot", "/api/v1/users", "/api/v1/audit")
        status = [(await http.get(path)).status_code for path in paths]
        sites = [one["id"] for one in (await http.get("/api/v1/sites")).json()["items"]]

    assert status == expected
    assert sites == (["site-a"] if expected[1] == 404 else ["site-a", "site-b"])


async def test_a_site_that_is_not_yours_is_answered_like_one_that_is_not_there(deployment: Deployment) -> None:
    async with deployment.signed_in("viewer") as http:
        for rest in ("", "/snapshot", "/stream", "/indicators", "/equipment", "/nothing-yet"):
            foreign = await http.get(f"/api/v1/sites/site-b{rest}")
            missing = await http.get(f"/api/v1/sites/site-x{rest}")

            assert (foreign.status_code, missing.status_code) == (404, 404)
            assert foreign.json()["detail"].replace("site-b", "") == missing.json()["detail"].replace("site-x", "")


async def test_alerts_of_a_foreign_site_are_in_no_list_and_at_no_address(deployment: Deployment) -> None:
    async with deployment.signed_in("engineer") as http:
        status = [
            (await http.get("/api/v1/alerts?site=site-b")).status_code,
            (await http.get(f"/api/v1/alerts/{FOREIGN}")).status_code,
            (await http.post(f"/api/v1/alerts/{FOREIGN}/acknowledgement", json={"note": ""}, headers=OWN)).status_code,
        ]
        listed = [(await http.get(f"/api/v1/alerts{query}")).json()["items"] for query in ("", "?site=site-b")]
    async with deployment.signed_in("admin") as http:
        seen = (await http.get(f"/api/v1/alerts/{FOREIGN}")).status_code

    assert (status, listed, seen) == ([200, 404, 404], [[], []], 200)


class Filled(dict[str, str]):
    """What stands for the parts of an address; anything else is `x`."""

    def __missing__(self, key: str) -> str:
        return "x"


FILLED = Filled(site="site-b", alert=FOREIGN, item=FOREIGN.replace("al_", "ri_"), indicator="equipment.intact_rate")


@pytest.mark.parametrize("name", ["viewer", "engineer", "manager"])
async def test_no_route_tells_a_stranger_anything_of_a_site_or_does_anything_there(
    deployment: Deployment, name: str
) -> None:
    """The whole route table: what names a foreign site is not there, what names none says nothing of it."""
    async with deployment.signed_in(name) as http:
        document = (await http.get("/api/v1/openapi.json")).json()
        wrong, asked = [], 0
        for path, operations in document["paths"].items():
            if "/gateways/{" in path or path.startswith("/api/v1/session") or path == "/healthz":
                continue  # gateways show tokens of their own; signing in is open
            address = path.format_map(FILLED)
            for method in operations:
                answer = await http.request(method, address, headers=OWN, json={} if method != "get" else None)
                asked += 1
                named = "{site}" in path or "{alert}" in path or "{item}" in path
                tells = answer.status_code < 400 and ("site-b" in answer.text or FOREIGN in answer.text)
                if tells or (named and answer.status_code != 404):
                    wrong.append((method, path, answer.status_code))

    assert wrong == []
    assert asked > 50


async def test_a_key_opens_as_a_header_and_never_in_an_address(deployment: Deployment) -> None:
    async with deployment.signed_in("admin") as http:
        body = {"name": "export", "grants": [{"role": "viewer", "site": "site-a"}]}
        made = (await http.post("/api/v1/keys", json=body, headers=OWN)).json()
        listed = (await http.get("/api/v1/keys")).json()["items"]
    async with httpx.AsyncClient(base_url=deployment.address) as script:
        bearer = {"Authorization": f"Bearer {made['key']}"}
        seen = await script.get("/api/v1/sites/site-a/snapshot", headers=bearer)
        in_address = await script.get(f"/api/v1/sites?key={made['key']}", headers=bearer)
        deployment.door.keys.revoke(made["id"], actor="cli", now_ms=server_now_ms())
        after = await script.get("/api/v1/sites/site-a/snapshot", headers=bearer)

    assert "key" not in listed[0]
    assert (seen.status_code, in_address.json()["code"], after.status_code) == (200, "key_in_address", 401)


async def test_a_stream_ends_when_its_reader_may_no_longer_see_the_site(deployment: Deployment) -> None:
    user = deployment.door.users.add("leaver", [Grant(Role.VIEWER, "site-a")], actor="cli", now_ms=server_now_ms())
    async with (
        deployment.signed_in("leaver") as http,
        http.stream("GET", "/api/v1/sites/site-a/stream") as stream,
    ):
        assert stream.status_code == 200
        deployment.door.users.disable(user.id, actor="cli", now_ms=server_now_ms())

        async def read_to_the_end() -> None:
            async for _ in stream.aiter_raw():
                pass

        async with asyncio.timeout(STREAM_ENDS_S):
            await read_to_the_end()

    async with httpx.AsyncClient(base_url=deployment.address) as admin:
        assert (await admin.get("/api/v1/sites")).status_code == 401


async def test_every_change_is_in_the_audit_log_with_who_made_it(deployment: Deployment) -> None:
    async with deployment.signed_in("admin") as http:
        body = {"name": "newcomer", "grants": [{"role": "viewer", "site": "site-b"}]}
        added = await http.post("/api/v1/users", json=body, headers=OWN)
        twice = await http.post("/api/v1/users", json=body, headers=OWN)

        async def written() -> dict[str, str] | None:
            items, after = [], 0
            while page := (await http.get(f"/api/v1/audit?after={after}&limit=500")).json()["items"]:
                items += page
                after = page[-1]["number"]
            return next((one for one in items if one["subject"] == "newcomer" and one["act"] == "user.add"), None)

        entry = await eventually(written, "the entry")

    assert (added.status_code, twice.json()["code"]) == (201, "name_taken")
    assert added.json()["link"].startswith("/sign-in#")
    assert entry["actor"] == "admin"
