"""Channels over the API of a real aggregator: entered, shown without secrets, tested, taken back; deliveries listed."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from cloud.aggregator import server_now_ms
from cloud.alerts.outbox import Notification, Outbox
from cloud.facts.database import open_database, writing
from cloud.facts.ledgers import import_ledger
from cloud.settings import Places
from devices.rules import Severity
from tests.cloud.receivers import receiving
from tests.cloud.running import running
from tests.cloud.told import SITE, ledger_text
from tests.waiting import eventually

CHANNELS = f"/api/v1/sites/{SITE}/channels"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    engine = open_database(Places(tmp_path).facts)
    import_ledger(engine, ledger_text(), "ledger.yaml", actor="cli", now_ms=server_now_ms())
    one = Notification("nt_1", SITE, "alerts", server_now_ms(), Severity.RED)
    with writing(engine) as connection:
        Outbox(engine).add(connection, [one])
    engine.dispose()
    async with running(tmp_path) as cloud, httpx.AsyncClient(base_url=cloud.address, timeout=20) as http:
        yield http


async def test_a_channel_is_entered_tested_used_and_taken_back(api: httpx.AsyncClient) -> None:
    async with receiving() as receiver:
        hook = {
            "name": "Night desk", "type": "feishu", "url": f"{receiver.address}/hook/token-in-path",
            "secrets": ["s3cr3t"], "listens": True, "allow_private": True,
        }  # fmt: skip
        put = await api.put(f"{CHANNELS}/night", json={"channel": hook, "actor": "li"})
        listed = await api.get(CHANNELS)
        tested = await api.post(f"{CHANNELS}/night/test")
        with_nobody = await api.post(f"{CHANNELS}/day/test")
        gone = await api.request("DELETE", f"{CHANNELS}/night", json={"actor": "li"})
        after = await api.get(CHANNELS)

    assert (put.status_code, tested.json(), with_nobody.status_code) == (200, {"delivered": True}, 404)
    assert listed.json()["items"][0]["address"] == "http://127.0.0.1/…"
    assert "s3cr3t" not in listed.text + put.text
    assert "token-in-path" not in listed.text + put.text
    assert len(receiver.requests) >= 1
    assert (gone.status_code, after.json()["items"]) == (204, [])


async def test_a_receiver_that_refuses_is_reported_by_the_test_button(api: httpx.AsyncClient) -> None:
    hook = {"name": "Inside", "type": "feishu", "url": "http://127.0.0.1:1/hook"}
    await api.put(f"{CHANNELS}/inside", json={"channel": hook, "actor": "li"})
    tested = await api.post(f"{CHANNELS}/inside/test")

    assert (tested.status_code, tested.json()["code"]) == (502, "not_delivered")
    assert "private network" in tested.json()["detail"]


@pytest.mark.parametrize(
    "channel",
    [
        {},
        {"name": "x", "type": "webhook", "url": "https://x.example"},
        {"name": "x", "type": "post", "url": "x"},
        {"name": "x", "type": "feishu", "url": "http://[::1"},
    ],
)
async def test_a_channel_that_cannot_work_is_refused_with_the_place(
    api: httpx.AsyncClient, channel: dict[str, str]
) -> None:
    answer = await api.put(f"{CHANNELS}/x", json={"channel": channel, "actor": "li"})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/body/channel")


async def test_a_message_nobody_listens_to_is_not_kept_waiting_and_deliveries_are_listed(
    api: httpx.AsyncClient,
) -> None:
    async def listed() -> list[object] | None:
        answer = await api.get(f"/api/v1/sites/{SITE}/deliveries")
        assert answer.status_code == 200
        return [answer.json()["items"]]

    assert (await eventually(listed))[0] == []
    assert (await api.get("/api/v1/sites/elsewhere/deliveries")).status_code == 404
