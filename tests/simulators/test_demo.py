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

from simulators.demonstration import free_port, port_is_taken
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
