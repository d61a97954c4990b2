"""A real Mosquitto for tests: its own port, its own configuration, gone at the end."""

import asyncio
import getpass
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.waiting import until

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
STOP_S = 10.0


def require_mosquitto() -> str:
    """The broker's path; skips the test where there is none, fails it in CI."""
    if MOSQUITTO is None:
        reason = "mosquitto is not installed (Debian: apt-get install mosquitto)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return MOSQUITTO


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass
class Mosquitto:
    """A broker on 127.0.0.1. Can be stopped and started again on the same port, with its sessions.

    `settings` are lines for its configuration; the one about anonymous clients stands first, so that it can be undone.
    """

    folder: Path
    settings: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    _process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start and wait until it takes connections."""
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {self.folder}/\nset_tcp_nodelay true\n"
            f"user {getpass.getuser()}\n"  # started by root it would become `mosquitto`, who may not write here
            + "".join(f"{line}\n" for line in self.settings)
        )
        arguments = (require_mosquitto(), "-c", str(config))
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*arguments, stdout=log, stderr=log)
        await until(self._listens, f"mosquitto on port {self.port}")

    async def stop(self) -> None:
        """Stop it as its service would; sessions are kept in the folder."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.terminate()
            async with asyncio.timeout(STOP_S):
                await process.wait()

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, (self.folder / "mosquitto.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@asynccontextmanager
async def mosquitto(folder: Path, *settings: str) -> AsyncIterator[Mosquitto]:
    """A running broker whose files are in `folder`."""
    require_mosquitto()
    broker = Mosquitto(folder, settings)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()
