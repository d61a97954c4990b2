"""The figures of alarm management over HTTP: from real alerts and their histories, without drills."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloud.alerts.alert import Key, Terms
from cloud.alerts.lifecycle import Raised
from devices.instants import format_instant
from devices.rules import Severity
from tests.cloud.live_world import SITE
from tests.cloud.test_alert_api import post, raise_many
from tests.cloud.test_api import Site, site_served

FIGURES = f"/api/v1/sites/{SITE}/alert-figures"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with site_served(tmp_path) as one:
        yield one


async def test_a_flood_its_colours_its_actors_and_the_time_to_acknowledge(site: Site) -> None:
    begin = site.world.now_ms
    yellow = await raise_many(site, 9)
    await raise_many(site, 3, Severity.ORANGE)
    site.world.now_ms += 60_000
    await post(site, yellow[0], "acknowledgement", {"actor": "li", "note": ""})
    drill = Key(SITE, "rule-red", "drilled")
    event = Raised(drill, Terms(Severity.RED, "alert.equipment_fault"), site.world.now_ms, {}, drill=True)
    await site.world.engine.book.apply([(drill, event)])
    site.world.now_ms += 540_000
    window = {"from": format_instant(begin), "to": format_instant(begin + 600_000)}
    found = (await site.http.get(FIGURES, params={**window, "operators": 2})).json()

    assert (found["alerts"], found["rate_10_min"]) == (12, {"mean": 6.0, "peak": 6.0})
    assert found["split"] == {"yellow": 0.75, "orange": 0.25, "red": 0.0}
    assert [(one["count"], one["peak"]) for one in found["floods"]] == [(12, 12)]
    assert found["mtta_ms"] == 60_000 + 11_000
    assert len(found["bad_actors"]["items"]) == 10
    assert found["bad_actors"]["share"] == pytest.approx(10 / 12)
    assert found["complete"] is True


async def test_a_quiet_site_has_no_figures_rather_than_good_ones(site: Site) -> None:
    found = (await site.http.get(FIGURES)).json()

    assert (found["alerts"], found["split"], found["mtta_ms"], found["acknowledged_in_time"]) == (0, {}, None, None)
    assert (await site.http.get("/api/v1/sites/nowhere/alert-figures")).status_code == 404
    assert (await site.http.get(FIGURES, params={"from": "2026-05-01"})).status_code == 422
