"""A small site for scenarios: Modbus devices in this process, edge agent and cloud as children of the front door."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx

from devices.errors import FrameError
from devices.frame import Frame, decode_frame
from devices.profile import load_profiles
from devices.reading import Lane
from devices.segments import Record, scan
from simulators.modbus import SimulatedDevice, serve
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent.parent
SITE, GATEWAY = "test-site", "gw-test"
STOP_PATIENCE_S = 20.0
CHANGE_S = 0.25
STAMP_BYTES = 8  # the cloud's time of receipt before each frame in its log

LEDGER = """
site: {id: test-site, name: {en: Test site, zh-CN: 测试项目}, type: commercial, zone: Asia/Shanghai,
       commissioned: 2026-01-01}
floors:
  - {id: b1, name: {en: B1, zh-CN: B1}, map: B1, width_m: 40.0, height_m: 20.0, walls: []}
equipment:
  - {id: pump-1, name: {en: Fire pump 1, zh-CN: 消防泵 1}, code: PUMP-01, class: fire-pump, criticality: A,
     device: drive-1, floor: b1, position: [5.0, 5.0]}
  - {id: fan-1, name: {en: Fan 1, zh-CN: 排风机 1}, code: FAN-01, class: fan, criticality: C, device: drive-2,
     floor: b1, position: [9.0, 5.0]}
  - {id: meter-1, name: {en: Meter 1, zh-CN: 电表 1}, code: METER-01, class: meter, criticality: C, device: meter-1,
     floor: b1, position: [12.0, 5.0]}
targets: {equipment.intact_rate: 0.98}
"""

SITE_YAML = """
site: test-site
gateway: gw-test
cloud: {{url: "http://127.0.0.1:{cloud_port}"}}
key_file: gw.key
data_dir: edge-data
connections:
  - id: plant-room
    modbus: {{host: 127.0.0.1, port: {modbus_port}}}
    devices:
      - {{id: drive-1, profile: abb-acs580, unit: 1}}
      - {{id: drive-2, profile: abb-acs580, unit: 2}}
      - {{id: meter-1, profile: eastron-sdm630, unit: 3}}
"""


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Child:
    """A command of the front door as a process, with its log in a file."""

    def __init__(self, folder: Path, name: str, *arguments: str) -> None:
        self._arguments = arguments
        self._log = folder / f"{name}.log"
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gatehouse",
                *self._arguments,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    async def kill(self) -> None:
        """SIGKILL: what a power cut is for the process."""
        assert self._process is not None
        assert self._process.returncode is None, self.log
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, and wait for a clean end."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_PATIENCE_S):
            code = await self._process.wait()
        assert code == 0, f"ended with {code}:\n{self.log}"

    async def end(self) -> None:
        """Make sure that nothing is left, however the test went."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def command(folder: Path, *arguments: str) -> str:
    """Run a command of the front door to its end; gives its standard output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gatehouse",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    output, talk = await process.communicate()
    assert process.returncode == 0, talk.decode()
    return output.decode()


class SmallSite:
    """The site with everything running. `devices` are set by the test; `api` asks the cloud."""

    def __init__(self, folder: Path, devices: dict[str, SimulatedDevice], cloud_port: int) -> None:
        self.folder = folder
        self.devices = devices
        self.cloud = Child(
            folder,
            "cloud",
            "cloud",
            "run",
            "--data-dir",
            "cloud-data",
            "--host",
            "127.0.0.1",
            "--port",
            str(cloud_port),
        )
        self.edge = Child(folder, "edge", "edge", "run", "site.yaml")
        self.url = f"http://127.0.0.1:{cloud_port}"
        self._client = httpx.AsyncClient(base_url=self.url, timeout=10)

    async def api(self, path: str, **parameters: str) -> Any:
        answer = await self._client.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def is_up(self) -> bool:
        """Whether the cloud answers."""
        try:
            return (await self._client.get("/healthz")).status_code == 200
        except httpx.TransportError:
            return False

    async def start_cloud(self) -> None:
        await self.cloud.start()
        await eventually(self.is_up, "the cloud to answer")

    async def stored_seq(self, lane: Lane = Lane.EVENTS) -> int:
        """Up to which frame the cloud has everything of the newest epoch."""
        gateways = (await self.api("/api/v1/gateways"))["items"]
        return int(gateways[0]["lanes"][lane]["stored_seq"]) if gateways and gateways[0]["lanes"] else 0

    def journal_frames(self) -> list[Frame]:
        """Every frame that the edge's journal holds on disk."""
        return [
            decode_frame(record.payload)
            for lane in Lane
            for folder in (self.folder / "edge-data").rglob(str(lane))
            if folder.is_dir()
            for record in scan(folder)
            if isinstance(record, Record)
        ]

    def log_frames(self) -> list[Frame]:
        """Every frame in the cloud's log."""
        return list(self._log_frames())

    def _log_frames(self) -> Iterator[Frame]:
        for lane in Lane:
            for record in scan(self.folder / "cloud-data" / "log" / lane):
                if isinstance(record, Record):
                    with contextlib.suppress(FrameError):
                        yield decode_frame(record.payload[STAMP_BYTES:])

    async def close(self) -> None:
        await self.edge.end()
        await self.cloud.end()
        await self._client.aclose()


@contextlib.asynccontextmanager
async def small_site(folder: Path) -> AsyncIterator[SmallSite]:
    """Devices answer, gateway and ledger are registered; edge and cloud wait to be started."""
    profiles = load_profiles()
    devices = {
        "drive-1": SimulatedDevice("drive-1", 1, profiles["abb-acs580"]),
        "drive-2": SimulatedDevice("drive-2", 2, profiles["abb-acs580"]),
        "meter-1": SimulatedDevice("meter-1", 3, profiles["eastron-sdm630"]),
    }
    cloud_port = free_port()
    async with serve(devices.values()) as modbus_port:
        (folder / "site.yaml").write_text(SITE_YAML.format(cloud_port=cloud_port, modbus_port=modbus_port))
        (folder / "ledger.yaml").write_text(LEDGER)
        public = (await command(folder, "edge", "key", "site.yaml")).strip()
        data = ("--data-dir", "cloud-data")
        await command(folder, "cloud", "gateway", "add", GATEWAY, "--site", SITE, "--public-key", public, *data)
        await command(folder, "cloud", "ledger", "import", "ledger.yaml", *data)
        site = SmallSite(folder, devices, cloud_port)
        try:
            yield site
        finally:
            await site.close()


@contextlib.asynccontextmanager
async def changing_values(site: SmallSite, rng: random.Random) -> AsyncIterator[None]:
    """Registers that change several times between two polls, state inputs among them."""

    async def change() -> None:
        while True:
            for name in ("drive-1", "drive-2"):
                site.devices[name].set("status", float(rng.choice([0x0607, 0x0637, 0x0627])))
            site.devices["meter-1"].set("power", float(rng.randrange(-5000, 5000)))
            await asyncio.sleep(CHANGE_S)

    task = asyncio.create_task(change(), name="changing-values")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
