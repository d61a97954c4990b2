"""One Chromium per module of page tests; each test has its own made-up site, server and window."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from tests.browsers import CHROMIUM_ARGUMENTS, require_chromium
from tests.web.made_up_site import MadeUpSite
from tests.web.site_server import Stage, create_app

START_S = 15
WAIT_MS = 12_000
RECONNECT_MS = 40_000  # generous: the machine may be busy with other suites


class PageServer:
    """The stand-in cloud in a thread of its own; may be stopped and started again on the same port."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()  # connections wait from here on, before the server has started
        self.port = listener.getsockname()[1]
        ready = threading.Event()
        config = uvicorn.Config(create_app(self.stage), log_level="warning", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)

        async def serve() -> None:
            self.loop = asyncio.get_running_loop()
            ready.set()
            await self.server.serve([listener])

        self.thread = threading.Thread(target=lambda: asyncio.run(serve()), name="page-server")
        self.thread.start()
        assert ready.wait(START_S)

    def stop(self) -> None:
        self.run(self.stage.drop_streams)
        self.server.should_exit = True
        self.thread.join(START_S)
        assert not self.thread.is_alive()

    def run(self, change: Callable[[], object]) -> None:
        """Runs a change of the stage in the server's own thread and waits for it."""
        done = threading.Event()

        def step() -> None:
            change()
            done.set()

        self.loop.call_soon_threadsafe(step)
        assert done.wait(START_S)


def wait_live(page: Page) -> None:
    """Waits until the page has its data and its stream."""
    try:
        page.wait_for_selector("[data-testid=live-badge][data-state=live]", timeout=RECONNECT_MS)
    except PlaywrightTimeoutError:
        shown = page.locator("body").inner_text()[:300]
        asked = page.evaluate("performance.getEntriesByType('resource').slice(-6).map(e => [e.name, e.duration])")
        pytest.fail(f"never live; the page shows {shown!r} and asked last for {asked}")


@pytest.fixture(scope="module")  # not longer: while Playwright's loop lives in this thread, asyncio tests cannot run
def browser() -> Iterator[Browser]:
    program = require_chromium()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def stage() -> Stage:
    return Stage(MadeUpSite(datetime.now(UTC)))


@pytest.fixture
def server(stage: Stage) -> Iterator[PageServer]:
    running = PageServer(stage)
    yield running
    if running.thread.is_alive():
        running.stop()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    window = browser.new_context(viewport={"width": 1440, "height": 1000}, locale="en-GB", color_scheme="light")
    window.set_default_timeout(WAIT_MS)
    yield window
    window.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def live(page: Page, server: PageServer) -> Page:
    """The page of the site, loaded and live."""
    page.goto(f"{server.url}/s/jinji-lake")
    wait_live(page)
    return page
