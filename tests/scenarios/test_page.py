"""The page in a real browser, on a real cloud, fed by a real agent."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.browsers import CHROMIUM_ARGUMENTS, require_chromium
from tests.scenarios.site import SITE, SmallSite, small_site
from tests.waiting import eventually

WAIT_MS = 30_000
TRIPPED = float(0x0607 | 0x8)  # ABB Drives profile: bit 3 of the status word
RUNNING = float(0x0607)


@asynccontextmanager
async def open_page(site: SmallSite) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=require_chromium(), args=CHROMIUM_ARGUMENTS)
        page = await browser.new_page(locale="en")
        await page.goto(site.url)
        await expect(page.get_by_test_id("site")).to_be_visible(timeout=WAIT_MS)
        yield page
        await browser.close()


async def running_site(site: SmallSite) -> None:
    for name in ("drive-1", "drive-2"):
        site.devices[name].set("status", RUNNING)
        site.devices[name].set("speed", 42.0)
    meter = site.devices["meter-1"]
    meter.set("frequency", 50.0)
    for phase in ("voltage_l1", "voltage_l2", "voltage_l3"):
        meter.set(phase, 230.0)  # without a supply it is EXT
    await site.start_cloud()
    await site.edge.start()

    async def known() -> bool:
        rows = (await site.api(f"/api/v1/sites/{SITE}/equipment"))["items"]
        return {row["state"] for row in rows} <= {"RUN", "STANDBY"}

    await eventually(known, "every machine's state")


@pytest.mark.browser
async def test_the_page_shows_the_indicators_that_the_api_returns(tmp_path: Path) -> None:
    async with small_site(tmp_path) as site:
        await running_site(site)
        async with open_page(site) as page:
            card = page.get_by_test_id("card-equipment.intact_rate")
            await expect(card.get_by_test_id("value")).to_contain_text("100.0", timeout=WAIT_MS)

            found: dict[str, Any] = await site.api(
                f"/api/v1/sites/{SITE}/indicators/equipment.intact_rate", window="24h"
            )
            shown = await card.get_by_test_id("verdict").get_attribute("data-verdict")

    assert found["value"] == found["numerator"] / found["denominator"] == 1.0
    assert shown == found["verdict"]


@pytest.mark.browser
async def test_a_register_that_changes_changes_the_page_and_raises_an_alert_that_can_be_acknowledged(
    tmp_path: Path,
) -> None:
    async with small_site(tmp_path) as site:
        await running_site(site)
        async with open_page(site) as page:
            row = page.locator("[data-testid=equipment-row][data-id=pump-1]")
            await expect(row).to_contain_text(re.compile("Running"), timeout=WAIT_MS)

            site.devices["drive-1"].set("status", TRIPPED)

            await expect(row).to_contain_text(re.compile("Fault"), timeout=WAIT_MS)
            alert = page.get_by_test_id("alert").filter(has_text="Fire pump 1")
            await expect(alert).to_be_visible(timeout=WAIT_MS)
            await alert.get_by_test_id("acknowledge").click()
            await alert.get_by_test_id("actor").fill("Li Wei")
            await alert.get_by_test_id("acknowledge").click()
            await expect(alert.get_by_test_id("acknowledged-by")).to_contain_text("Li Wei", timeout=WAIT_MS)

            (told,) = (await site.api("/api/v1/alerts"))["items"]

    assert (told["thing"], told["severity"], told["condition"]) == ("pump-1", "red", "active")
    assert (told["handling"], told["acknowledged_by"]) == ("acknowledged", "Li Wei")
