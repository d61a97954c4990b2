import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from simulators.children import Child, ChildFailed, Children
from simulators.demonstration import last_time_ms
from tests.waiting import until

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
OBEDIENT = "import signal; print('up', flush=True); signal.pause()"
TELLING = (
    "import signal, sys, time\n"
    "def end(*_):\n    print('stopped at', time.monotonic(), flush=True); sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, end); print('up', flush=True); signal.pause()"
)


def up(child: Child) -> Callable[[], bool]:
    return lambda: "up" in child.log.read_text()


async def start(children: Children, name: str, program: str) -> Child:
    child = await children.start(name, [sys.executable, "-c", program])
    await until(up(child), name)
    return child


async def test_children_stop_in_the_order_in_which_data_flows(tmp_path: Path) -> None:
    children = Children(tmp_path, os.environ)
    for name in ("cloud", "edge", "simulators"):
        await start(children, name, TELLING)
    await children.stop((("simulators",), ("edge",), ("cloud",)), 5.0)
    ends = {name: float((tmp_path / f"{name}.log").read_text().split()[-1]) for name in ("cloud", "edge", "simulators")}

    assert sorted(ends, key=lambda name: ends[name]) == ["simulators", "edge", "cloud"]


async def test_a_child_that_does_not_listen_is_killed_within_the_budget(tmp_path: Path) -> None:
    children = Children(tmp_path, os.environ)
    stubborn = await start(children, "simulators", STUBBORN)
    obedient = await start(children, "cloud", OBEDIENT)
    began = asyncio.get_running_loop().time()
    await children.stop((("simulators",), ("cloud",)), 1.0)

    assert asyncio.get_running_loop().time() - began < 15.0  # STUBBORN would go on for ever
    assert stubborn.process.returncode == -signal.SIGKILL
    assert obedient.process.returncode == -signal.SIGTERM


async def test_a_child_that_dies_is_reported_with_the_last_lines_of_its_log(tmp_path: Path) -> None:
    children = Children(tmp_path, os.environ)
    healthy = await start(children, "edge", OBEDIENT)
    dying = await children.start("cloud", [sys.executable, "-c", "print('no room on the disk'); raise SystemExit(7)"])

    with pytest.raises(ChildFailed, match=r"cloud ended with code 7\n    no room on the disk"):
        await children.watch(healthy, dying)
    await children.stop((), 2.0)


async def test_a_command_gives_what_it_printed_and_fails_with_its_words(tmp_path: Path) -> None:
    children = Children(tmp_path, os.environ)

    assert await children.run("key", [sys.executable, "-c", "print('abc')"]) == "abc\n"
    with pytest.raises(ChildFailed, match="what a pity"):
        await children.run("bad", [sys.executable, "-c", "raise SystemExit('what a pity')"])


def test_the_progress_of_a_history_is_its_last_time() -> None:
    line = b'{"device":"r1","point":"battery","time":"2026-05-01T08:00:00.123Z","value":81,"quality":"good"}\n'

    assert last_time_ms(line * 3) == 1_777_622_400_123
    assert last_time_ms(line + line[:50]) == 1_777_622_400_123
    assert last_time_ms(b"nothing") is None
