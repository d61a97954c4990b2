"""docs/commissioning.md, executed: its commands on its site.yaml, with a serial line and a server that are here."""

import asyncio
import re
import shlex
import sys
from pathlib import Path

from devices.profile import load_profiles
from simulators.modbus import SimulatedDevice, serve
from tests.edge.serial_bus import RtuPeer, serial_peer

ROOT = Path(__file__).parent.parent.parent
GUIDE = ROOT / "docs" / "commissioning.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)


async def ran(command: str, folder: Path, turn: asyncio.Lock) -> tuple[str, int | None, str]:
    """What a command says. Those that use the serial port take turns."""
    if "/dev/" in command or " try " in command:
        async with turn:
            return await run(command, folder)
    return await run(command, folder)


async def run(command: str, folder: Path) -> tuple[str, int | None, str]:
    gatehouse, *words = shlex.split(command)
    assert gatehouse == "gatehouse"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gatehouse", *words),
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(50):
        out, _ = await process.communicate()
    return command, process.returncode, out.decode()


async def test_every_command_of_the_guide_works_on_its_site(tmp_path: Path) -> None:
    meter = SimulatedDevice("m", 3, load_profiles()["eastron-sdm630"])
    bus = RtuPeer(registers={0: 0x4366, 1: 0x8000}, dead_units=set(range(3, 13)))
    turn = asyncio.Lock()
    async with serial_peer(bus) as path, serve([meter]) as port:

        def here(text: str) -> str:
            text = text.replace("10.0.0.7:502", f"127.0.0.1:{port}").replace("/dev/ttyUSB0", path)
            return text.replace("host: 10.0.0.7, port: 502", f"host: 127.0.0.1, port: {port}")

        (site,) = blocks("yaml")
        (tmp_path / "site.yaml").write_text(here(site), "utf-8")
        commands = [here(line) for block in blocks("sh") for line in block.splitlines() if line]
        results = await asyncio.gather(*(ran(command, tmp_path, turn) for command in commands))

    assert {words.split()[2] for words in commands} == {"scan", "explain", "check", "plan", "try"}
    assert [result for result in results if result[1] != 0] == []
    assert "unit 1: input register 0 holds" in results[0][2] or "unit 1: holding register 0 holds" in results[0][2]
    assert "230.5" in results[2][2]
