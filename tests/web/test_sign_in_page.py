"""Signing in with a real browser, at a real aggregator."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from cloud.access.door import Door
from cloud.access.rights import Grant, Role
from cloud.aggregator import server_now_ms
from cloud.facts.database import open_database
from cloud.facts.ledgers import import_ledger
from cloud.settings import Places
from tests.browsers import require_chromium
from tests.cloud.told import ledger_text
from tests.web.conftest import WAIT_MS, wait_live

ROOT = Path(__file__).parent.parent.parent
PASSWORD = "correct horse battery"
STOPS_S = 20


@dataclass
class Deployment:
    address: str
    link: str


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    require_chromium()
    folder = tmp_path_factory.mktemp("cloud")
    engine = open_database(Places(folder).facts)
    import_ledger(engine, ledger_text(site="site-a"), "ledger.yaml", actor="cli", now_ms=server_now_ms())
    door = Door(engine)
    user = door.users.add("lin", [Grant(Role.ENGINEER, "site-a")], actor="cli", now_ms=server_now_ms())
    link = door.sessions.make_link(user.id, actor="cli", now_ms=server_now_ms())
    engine.dispose()
    command = (sys.executable, "-m", "gatehouse", "cloud", "run", "--data-dir", str(folder), "--port", "0", "--sign-in")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"address\S*?(http://[\d.]+:\d+)", line):
                break
        else:
            pytest.fail("".join(said))
        yield Deployment(found[1], link)
        process.terminate()
        process.wait(STOPS_S)


def test_somebody_comes_by_a_link_goes_and_comes_back_by_password_to_where_they_wanted(
    deployment: Deployment, page: Page
) -> None:
    wanted = f"{deployment.address}/s/site-a?view=alerts"
    page.goto(wanted)
    page.wait_for_url("**/sign-in?next=*", timeout=WAIT_MS)
    page.goto(f"{deployment.address}/sign-in#{deployment.link}")
    page.reload()  # only the part behind # differs from the page before
    page.get_by_test_id("sign-in-password").fill(PASSWORD)
    page.get_by_test_id("sign-in-go").click()
    wait_live(page)
    page.get_by_test_id("sign-out").click()
    page.wait_for_url("**/sign-in", timeout=WAIT_MS)

    page.goto(wanted)
    page.get_by_test_id("sign-in-name").fill("lin")
    page.get_by_test_id("sign-in-password").fill("not this password")
    page.get_by_test_id("sign-in-go").click()
    expect(page.get_by_test_id("sign-in-problem")).to_have_text("Name or password is wrong.", timeout=WAIT_MS)
    page.get_by_test_id("sign-in-password").fill(PASSWORD)
    page.get_by_test_id("sign-in-go").click()
    wait_live(page)

    assert page.url.startswith(wanted)


@pytest.mark.parametrize("elsewhere", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example"])
def test_signing_in_never_leads_to_another_site(deployment: Deployment, page: Page, elsewhere: str) -> None:
    page.goto(f"{deployment.address}/sign-in?next={elsewhere}")
    page.get_by_test_id("sign-in-name").fill("lin")
    page.get_by_test_id("sign-in-password").fill(PASSWORD)
    page.get_by_test_id("sign-in-go").click()
    page.wait_for_url(f"{deployment.address}/s/site-a", timeout=WAIT_MS)


def test_the_sign_in_page_fits_a_narrow_phone_in_both_languages(deployment: Deployment, page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    for language in ("en", "zh-CN", "xx"):
        page.goto(f"{deployment.address}/sign-in?lang={language}")
        expect(page.get_by_test_id("sign-in-go")).to_be_visible(timeout=WAIT_MS)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        assert page.get_by_test_id("sign-in-go").bounding_box()["height"] >= 44  # type: ignore[index]
