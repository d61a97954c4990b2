"""Evidence over the API of a real aggregator: a package that verifies, spot checks with what was found."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from cloud.aggregator import server_now_ms
from cloud.evidence.verify import unpack, verify
from cloud.facts.database import open_database
from cloud.facts.ledgers import import_ledger
from cloud.settings import Places
from tests.cloud.running import running
from tests.cloud.told import SITE, ledger_text

EQUIPMENT = ", ".join(
    f"{{id: pump-{number}, name: {{en: N, zh-CN: N}}, code: P, class: pump, criticality: C, device: pump-{number}}}"
    for number in range(10)
)
AT = f"/api/v1/sites/{SITE}"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    engine = open_database(Places(tmp_path).facts)
    ledger = ledger_text(f"equipment: [{EQUIPMENT}]")
    import_ledger(engine, ledger, "ledger.yaml", actor="cli", now_ms=server_now_ms())
    engine.dispose()
    async with running(tmp_path) as cloud, httpx.AsyncClient(base_url=cloud.address, timeout=20) as http:
        yield http


async def test_a_package_from_a_running_aggregator_verifies(api: httpx.AsyncClient, tmp_path: Path) -> None:
    window = {"from": "2026-05-01T00:00:00Z", "to": "2026-05-02T00:00:00Z"}
    given = await api.get(f"{AT}/audit-package", params=window)
    backwards = await api.get(f"{AT}/audit-package", params={"from": window["to"], "to": window["from"]})
    nowhere = await api.get("/api/v1/sites/nowhere/audit-package", params=window)
    (tmp_path / "given.zip").write_bytes(given.content)

    assert verify(unpack(tmp_path / "given.zip")).findings == []
    assert (backwards.status_code, nowhere.status_code) == (422, 404)


async def test_what_is_found_in_a_spot_check_is_counted_and_only_of_what_was_drawn(api: httpx.AsyncClient) -> None:
    drawn = (await api.get(f"{AT}/spot-checks/2026-05")).json()
    again = (await api.get(f"{AT}/spot-checks/2026-05")).json()
    undrawn = next(f"pump-{number}" for number in range(10) if f"pump-{number}" not in drawn["drawn"])
    for thing, right in zip(drawn["drawn"], (True, False), strict=True):
        body = {"thing": thing, "as_recorded": right, "actor": "auditor"}
        after = (await api.post(f"{AT}/spot-checks/2026-05/findings", json=body)).json()
    wrong = {"thing": undrawn, "as_recorded": False, "actor": "auditor"}
    refused = await api.post(f"{AT}/spot-checks/2026-05/findings", json=wrong)

    assert drawn["drawn"] == again["drawn"]
    assert (len(drawn["drawn"]), drawn["checked"], drawn["interval_95"]) == (2, 0, None)
    assert (after["checked"], after["wrong"], after["rate"], after["left"]) == (2, 1, 0.5, [])
    assert after["interval_95"][0] < 0.5 < after["interval_95"][1]
    assert refused.json()["code"] == "not_drawn"
