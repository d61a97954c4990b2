"""The demo as a person starts it. Slow: each test starts five Python processes."""

import asyncio
import json
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.demonstration import (
    HISTORY_FILE,
    DemoOptions,
    HistoryPlan,
    free_port,
    history_plan,
    port_is_taken,
    write_history_plan,
)
from tests.waiting import until

ROOT = Path(__file__).parent.parent.parent
STOPS_WITHIN_S = 15.0  # five times what is asked: the machine may be busy
SITE_URL = "/api/v1/sites/jinji-lake"


@dataclass(slots=True)
class RunningDemo:
    process: asyncio.subprocess.Process
    url: str

    def get(self, path: str) -> dict[str, Any] | None:
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:  # noqa: S310
                return dict(json.loads(answer.read()))
        except OSError:
            return None

    def children(self) -> dict[int, str]:
        """Pid and command line of every living child."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, IndexError):
                continue
            if parent == self.process.pid:
                found[int(folder.name)] = words
        return found


def told(folder: Path, *, done: bool) -> bytes:
    """The history file of a demo's folder, when it says so; else nothing."""
    path = folder / HISTORY_FILE
    text = path.read_bytes() if path.exists() else b""
    return text if text and json.loads(text)["done"] is done else b""


@asynccontextmanager
async def running(tmp_path: Path, *flags: str) -> AsyncIterator[RunningDemo]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gatehouse", "demo", "--port", str(port), "--days", "0", "--no-browser", *flags,
        cwd=ROOT, env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            url = (await process.stdout.readline()).decode().strip()
        yield RunningDemo(process, url)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_the_demo_shows_a_living_site_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async with running(tmp_path) as demo:
        sites = demo.get("/api/v1/sites")

        def states() -> set[str]:
            found = demo.get(f"{SITE_URL}/equipment") or {"items": []}
            return {one["state"].lower() for one in found["items"]} & {"run"}

        await until(states, "equipment that runs")
        began = asyncio.get_running_loop().time()
        children = demo.children()
        demo.process.send_signal(signal.SIGINT)
        demo.process.send_signal(signal.SIGTERM)  # an impatient person must not leave children behind
        await demo.process.wait()
        took_s = asyncio.get_running_loop().time() - began

    assert sites is not None
    assert demo.process.returncode == 0
    assert took_s < STOPS_WITHIN_S
    assert list(tmp_path.iterdir()) == []
    assert len(children) >= 4
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    assert not port_is_taken(int(demo.url.rsplit(":", 1)[1]))


async def test_the_demo_notes_in_its_folder_that_the_cloud_has_the_whole_history(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    async with running(tmp_path, "--days", "1", "--data-dir", str(folder)):
        await until(lambda: told(folder, done=False), "the promise")
        await until(lambda: told(folder, done=True), "the whole history")

    assert not (folder / "edge-data" / "import").exists()


async def test_a_demo_that_is_started_again_on_its_folder_does_not_fill_in_its_history_again(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    options = DemoOptions(folder, 1, 1, 7, lambda: 1_780_000_000_000)
    write_history_plan(options, HistoryPlan(1_780_000_000_000, 1, 7, done=True))
    async with running(tmp_path, "--days", "1", "--data-dir", str(folder)) as demo:
        assert demo.process.stderr is not None
        talk = b""
        async with asyncio.timeout(20):
            while b"Live." not in talk:
                talk += await demo.process.stderr.readline()

    assert b"is there already" in talk
    assert b"Filling in" not in talk


def test_a_demo_that_was_cut_off_promises_the_same_days_again(tmp_path: Path) -> None:
    first = history_plan(DemoOptions(tmp_path, 1, 30, 7, lambda: 1_780_000_000_000))
    again = history_plan(DemoOptions(tmp_path, 1, 3, 8, lambda: 1_790_000_000_000))

    assert again == first == HistoryPlan(1_780_000_000_000, 30, 7)


async def test_a_part_that_dies_ends_the_demo_with_its_last_words(tmp_path: Path) -> None:
    async with running(tmp_path) as demo:
        simulators = await until(lambda: [pid for pid, words in demo.children().items() if "sim run" in words])
        await until(lambda: any("edge run" in words for words in demo.children().values()), "the edge")
        os.kill(simulators[0], signal.SIGKILL)
        assert demo.process.stderr is not None
        talk = (await demo.process.stderr.read()).decode()
        await demo.process.wait()

    assert demo.process.returncode == 1
    assert "simulators ended with code -9" in talk
    assert "simulation ready" in talk
    assert list(tmp_path.iterdir()) == []


async def test_a_port_that_is_taken_is_refused_at_once(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gatehouse", "demo", "--port", str(port), "--no-browser",
        cwd=ROOT, env=os.environ | {"TMPDIR": str(tmp_path)}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, talk = await process.communicate()
    server.close()

    assert process.returncode == 2
    assert f"port {port} is taken" in talk.decode()
    assert list(tmp_path.iterdir()) == []
