import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from simulators.broker import STAND_IN_NOTICE
from simulators.demonstration import free_port
from simulators.mqtt import Broker
from simulators.running import LEDGER_FILE, SITE_FILE
from tests.simulators.conftest import answers
from tests.simulators.test_mqtt import listening, living, some
from tests.waiting import until

ROOT = Path(__file__).parent.parent.parent
SIM = (sys.executable, "-m", "gatehouse", "sim")


async def run(*words: str) -> tuple[int | None, bytes, str]:
    process = await asyncio.create_subprocess_exec(
        *SIM, *words, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, talk = await process.communicate()
    return process.returncode, output, talk.decode()


async def test_history_goes_to_standard_output_as_json_lines() -> None:
    code, output, _ = await run("history", "-", "--days", "0.01", "--until", "2026-11-18T04:00:00Z")
    lines = [json.loads(line) for line in output.splitlines()]

    assert code == 0
    assert lines
    assert all(line["time"] < "2026-11-18T04:00:00Z" for line in lines)


async def test_a_time_without_a_zone_is_refused() -> None:
    code, _, talk = await run("history", "-", "--until", "2026-11-18T04:00:00")

    assert code == 2
    assert "zone" in talk


async def test_example_files_are_written(tmp_path: Path) -> None:
    code, _, _ = await run("example", str(tmp_path))

    assert code == 0
    assert {path.name for path in tmp_path.iterdir()} == {SITE_FILE, LEDGER_FILE}


async def test_a_command_for_a_simulation_that_does_not_run_ends_with_code_4(tmp_path: Path) -> None:
    code, _, talk = await run("do", "announce", "--folder", str(tmp_path))

    assert code == 4
    assert "no simulation listens" in talk


async def test_a_running_simulation_writes_its_files_and_obeys(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *SIM, "run", "--folder", str(tmp_path), "--mqtt-port", str(free_port()), cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    await until((tmp_path / SITE_FILE).exists, "site.yaml")
    obeyed, _, _ = await run("do", "--folder", str(tmp_path), "set", "ahu-1", "status", "8")
    refused, _, talk = await run("do", "--folder", str(tmp_path), "fail", "nobody")
    process.send_signal(signal.SIGTERM)

    assert (obeyed, refused) == (0, 1)
    assert "no equipment or robot 'nobody'" in talk
    assert await process.wait() == 0
    assert {path.name for path in tmp_path.iterdir()} == {SITE_FILE, LEDGER_FILE}


async def test_the_stand_in_carries_the_site_and_says_what_it_is() -> None:
    broker = Broker(free_port())
    process = await asyncio.create_subprocess_exec(
        *SIM, "broker", "--stand-in", "--port", str(broker.port), cwd=ROOT, stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert process.stderr is not None
    try:
        assert STAND_IN_NOTICE in (await process.stderr.readline()).decode()
        await until(lambda: answers(broker), "the stand-in")
        async with listening(broker) as heard, living(broker):
            await until(some(heard, "r-01/visualization"), "a position")
    finally:
        process.terminate()
        async with asyncio.timeout(10):
            await process.communicate()
