"""From a POSTed frame to the page: real log, processor, facts, alerts and server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx

from cloud.api.front import Front, Sources
from cloud.api.picture import Json
from cloud.facts.database import open_database
from cloud.facts.inputs import import_ledger
from cloud.facts.store import FactStore
from cloud.history.embedded import EmbeddedHistory
from cloud.ingest.admission import Admission
from cloud.ingest.gateways import GatewayRegister
from cloud.ingest.identities import Identities
from cloud.ingest.log_segments import SegmentLog
from cloud.ingest.receive import receiving
from cloud.ingest.tokens import Tokens
from cloud.live import LiveState
from cloud.processor import Processor
from devices.columns import Numbers
from devices.frame import Content
from devices.reading import Series
from tests.cloud.live_world import FAULT, LEDGER, POINT, SITE, described
from tests.cloud.sealed import SealingGateway, now_ms
from tests.cloud.serving import Uplink, serving
from tests.waiting import until

BEGAN_S = 20  # longer than the on-delay of a class A fault: the alert is due when the frame arrives


@asynccontextmanager
async def cloud(folder: Path, gateway: SealingGateway) -> AsyncIterator[httpx.AsyncClient]:
    """Start everything on a data directory, and stop it again."""
    log, keys = SegmentLog(folder / "log"), GatewayRegister(folder / "gateways.sqlite")
    keys.add(gateway.name, SITE, gateway.key.public_key(), now_ms())
    database = open_database(folder / "facts.sqlite")
    import_ledger(database, LEDGER, "ledger.yaml", actor="test", now_ms=now_ms())
    live, identities = LiveState(), Identities.of_log(log)
    history = EmbeddedHistory(folder / "history", log.log_id)
    admission = Admission(log, keys, identities, now_ms)
    processor = Processor(log, keys, database)
    processor.listen(live.frames_arrived)
    front = Front(Sources(FactStore(database), live, keys, identities, history, now_ms, "e0"))
    await front.restore()
    jobs = {"processor": processor.run, **front.work}
    tasks = [asyncio.create_task(job(), name=name) for name, job in jobs.items()]
    app = front.app(receiving(admission, Tokens(keys), now_ms))
    async with serving(app) as address, httpx.AsyncClient(base_url=address, timeout=20) as http:
        yield http
        front.stop()
    for task in tasks:
        task.cancel()
    assert [type(end) for end in await asyncio.gather(*tasks, return_exceptions=True)] == [
        asyncio.CancelledError
    ] * len(tasks)
    for one in (history, keys, log):
        one.close()
    database.dispose()


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
        found: list[Json] = await until(partial(open_alerts, http), "the alert")
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
