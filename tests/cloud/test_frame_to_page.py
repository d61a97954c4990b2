"""From a POSTed frame to the page: real log, processor, facts, alerts and server."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx

from cloud.aggregator import Aggregator
from cloud.api.picture import Json
from cloud.facts.ledgers import import_ledger
from cloud.settings import Places
from devices.columns import Numbers
from devices.frame import Content
from devices.reading import Series
from tests.cloud.live_world import FAULT, LEDGER, POINT, SITE, described
from tests.cloud.sealed import SealingGateway, now_ms
from tests.cloud.serving import Uplink
from tests.waiting import eventually

BEGAN_S = 20  # longer than the on-delay of a class A fault: the alert is due when the frame arrives


@asynccontextmanager
async def cloud(folder: Path, gateway: SealingGateway) -> AsyncIterator[httpx.AsyncClient]:
    """Start the aggregator on a data directory, and stop it again."""
    aggregator, stop = Aggregator(Places(folder)), asyncio.Event()
    aggregator.keys.add(gateway.name, SITE, gateway.key.public_key(), now_ms())
    import_ledger(aggregator.facts, LEDGER, "ledger.yaml", actor="test", now_ms=now_ms())
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = asyncio.create_task(aggregator.run(listening, stop), name="aggregator")
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=address, timeout=20) as http:
            yield http
        stop.set()
        await asyncio.wait_for(running, 20)
    aggregator.close()


async def open_alerts(http: httpx.AsyncClient) -> list[Json]:
    found: list[Json] = (await http.get("/api/v1/alerts")).json()["items"]
    return found


def faulty_frame(gateway: SealingGateway, began_ms: int) -> bytes:
    told = described(began_ms).content
    numbers = Numbers.of([0], [began_ms], [FAULT], [0])
    series = (Series("di-1", POINT, "", 60),)
    return gateway.seal(Content(series, numbers, records=told.records)).data


async def test_a_fault_in_a_frame_is_an_alert_and_survives_a_restart(tmp_path: Path) -> None:
    began_ms = now_ms() - BEGAN_S * 1000
    gateway = SealingGateway(start_ms=began_ms)
    async with cloud(tmp_path, gateway) as http:
        before = (await http.get(f"/api/v1/sites/{SITE}/snapshot")).json()
        await Uplink(http, gateway).post(faulty_frame(gateway, began_ms))
        found: list[Json] = await eventually(partial(open_alerts, http), "the alert")
        alert = found[0]
        snapshot = (await http.get(f"/api/v1/sites/{SITE}/snapshot")).json()
        path = f"/api/v1/alerts/{alert['id']}/acknowledgement"
        assert (await http.post(path, json={"actor": "li"})).status_code == 200
    async with cloud(tmp_path, gateway) as http:
        restored = (await http.get(f"/api/v1/sites/{SITE}/snapshot")).json()
        history = (await http.get(f"/api/v1/alerts/{alert['id']}")).json()["history"]

    assert [row["state"] for row in before["equipment"]] == ["UNKNOWN"]
    assert (alert["rule"], alert["thing"], alert["severity"]) == ("equipment-fault-a", "pump-3", "red")
    assert [row["state"] for row in snapshot["equipment"]] == ["FAULT"]
    assert [one["id"] for one in snapshot["alerts"]] == [alert["id"]]
    assert [row["state"] for row in restored["equipment"]] == ["FAULT"]
    assert [(one["id"], one["handling"]) for one in restored["alerts"]] == [(alert["id"], "acknowledged")]
    assert [entry["kind"] for entry in history] == ["opened", "acknowledged"]


async def test_the_page_hears_of_a_change_by_itself(tmp_path: Path) -> None:
    began_ms = now_ms() - BEGAN_S * 1000
    gateway = SealingGateway(start_ms=began_ms)
    async with cloud(tmp_path, gateway) as http:
        at = (await http.get(f"/api/v1/sites/{SITE}/snapshot")).json()
        url = f"/api/v1/sites/{SITE}/stream?since={at['epoch']}-{at['seq']}"
        async with http.stream("GET", url) as stream, asyncio.timeout(20):
            await Uplink(http, gateway).post(faulty_frame(gateway, began_ms))
            seen = ""
            async for line in stream.aiter_lines():
                seen += line
                if '"equipment-fault-a"' in seen and '"state":"FAULT"' in seen:
                    break

    assert "event: delta" in seen
