"""A broker for the demo: Mosquitto as a child when it is installed, else amqtt in this process.

amqtt 0.12 hands retained messages to clients that never subscribed; it is a stand-in for the demo, nothing else.
"""

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
from pathlib import Path

MOSQUITTO = "mosquitto"
STOP_TIMEOUT_S = 2.0
STAND_IN_NOTICE = "Mosquitto is not installed: amqtt stands in as the broker, for the demo only."


def mosquitto_path() -> str | None:
    """Where Mosquitto is, None when it is not installed. Debian keeps it out of users' PATH."""
    return shutil.which(MOSQUITTO) or shutil.which(MOSQUITTO, path="/usr/sbin:/usr/local/sbin")


def mosquitto_configuration(port: int, host: str = "127.0.0.1") -> str:
    """A Mosquitto that listens on one address only, keeps nothing on disk and asks for no password."""
    return f"listener {port} {host}\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n"


async def run_broker(port: int, host: str = "127.0.0.1", *, stand_in: bool = False) -> int:
    """Serve MQTT until cancelled. Gives the exit code when the broker ends by itself."""
    path = None if stand_in else mosquitto_path()
    if path is None:
        sys.stderr.write(STAND_IN_NOTICE + "\n")
        return await _run_amqtt(port, host)
    with tempfile.TemporaryDirectory(prefix="gatehouse-broker-") as folder:
        configuration = Path(folder) / "mosquitto.conf"
        configuration.write_text(mosquitto_configuration(port, host), "utf-8")
        child = await asyncio.create_subprocess_exec(path, "-c", str(configuration))
        try:
            return await child.wait()
        finally:
            await _stop(child)


async def _stop(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    child.send_signal(signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(child.wait(), STOP_TIMEOUT_S)
    if child.returncode is None:
        child.kill()
        await child.wait()


async def _run_amqtt(port: int, host: str) -> int:
    from amqtt.broker import Broker  # here: an extra that only the stand-in needs

    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    try:
        await asyncio.Event().wait()
    finally:
        await broker.shutdown()
    return 0
