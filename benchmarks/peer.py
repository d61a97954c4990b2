"""Gatehouse beside thingsboard-gateway: the same devices, one core each, in turns: `python -m benchmarks peer`.

Gatehouse keeps every value in its fsynced journal; values are counted on disk, no uplink is configured. The peer keeps
every value in its SQLite storage and publishes it with QoS 1; values are counted at a subscriber of a mosquitto. So
the peer does one thing more, and part of its time it sleeps: read the CPU per value beside the values per second. The
peer is installed for the run, from the package index that pip knows, and its configuration is made from its own sample.
"""

import contextlib
import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import polling
from benchmarks.figures import Figure

PEER = "thingsboard-gateway==3.8.5"
NEEDS = ("pymodbus==3.9.2", "pyserial", "pyserial-asyncio")  # what its Modbus connector would install while it runs
PAIRS = 3
DEVICES, REGISTERS = 50, 100
POLL_MS = 100
START_S = 90.0  # to its first value
WARM_UP_S = 5.0
INSTALL_S = 300.0
_ASKED, _ANSWERED = "v1/devices/me/rpc/request/", "v1/devices/me/rpc/response/"
_TELEMETRY = "v1/gateway/telemetry"
_LIMITS: dict[str, dict[str, str]] = {
    scope: {"messages": "", "telemetryMessages": "", "telemetryDataPoints": ""}
    for scope in ("rateLimits", "gatewayRateLimits")
}
_NO_LIMITS = json.dumps(_LIMITS | {"maxPayloadSize": 65536, "maxInflightMessages": 1000})


class PeerError(Exception):
    """The peer cannot be measured here; the text says why."""


class Counter:
    """The server side of the peer: answers that there are no limits, keeps what was published until it is counted."""

    def __init__(self, port: int) -> None:
        self._kept: list[tuple[float, bytes]] = []
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([(_TELEMETRY, 1), (_ASKED + "+", 1)])
        self._client.loop_start()

    def _take(self, client: Client, _: object, message: MQTTMessage) -> None:
        if message.topic == _TELEMETRY:
            self._kept.append((time.monotonic(), bytes(message.payload)))
        elif b"getSessionLimits" in message.payload:
            client.publish(_ANSWERED + message.topic.removeprefix(_ASKED), _NO_LIMITS, qos=1)

    @property
    def arrived(self) -> bool:
        return bool(self._kept)

    def values(self, from_s: float, to_s: float) -> int:
        """Distinct (device, time, register) that arrived in that time."""
        found: set[tuple[str, int, str]] = set()
        for at_s, payload in self._kept:
            if from_s <= at_s < to_s:
                for device, entries in json.loads(payload).items():
                    found |= {(device, entry["ts"], key) for entry in entries for key in entry["values"]}
        return len(found)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def measure(cache: Path | None = None) -> list[Figure]:
    """Both, in turns. Without a peer there is nothing to compare: the reason is printed, no figure returned.

    `cache` keeps the installed peer for the next time; without it, the installation is thrown away.
    """
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as thrown_away:
        try:
            python = _installed(cache or Path(thrown_away))
            ours, theirs, loads = [], [], []
            for _ in range(PAIRS):
                loads.append(os.getloadavg()[0])
                ours.append(polling.run_agent(DEVICES, REGISTERS, 0.005))
                theirs.append(_run_peer(python))
        except PeerError as problem:
            print(f"peer      not measured: {problem}")
            return []
    return _figures(ours, theirs, loads)


def _figures(ours: list[dict[str, float]], theirs: list[dict[str, float]], loads: list[float]) -> list[Figure]:
    rates = [[run["values"] / run["seconds"] for run in runs] for runs in (ours, theirs)]
    costs = [[run["cpu"] / run["values"] * 1e6 for run in runs] for runs in (ours, theirs)]
    busy = [[run["cpu"] / run["seconds"] for run in runs] for runs in (ours, theirs)]
    figures = []
    for name, rate, cost, cores, runs in zip(("Gatehouse", PEER), rates, costs, busy, (ours, theirs), strict=True):
        figures += [
            Figure(f"{name}: sustained", rate, "values/s"),
            Figure(f"{name}: CPU per value", cost, "us"),
            Figure(f"{name}: CPU", cores, "cores"),
            Figure(f"{name}: memory", [run["rss_mb"] for run in runs], "MB"),
        ]
    times = [ours / theirs for ours, theirs in zip(*rates, strict=True)]
    cheaper = [theirs / ours for ours, theirs in zip(*costs, strict=True)]
    return [
        *figures,
        Figure("values/s: times the peer's, pair by pair", times, "times", ">= 25"),
        Figure("CPU per value: the peer's, in ours, pair by pair", cheaper, "times"),
        Figure("load average before each pair", loads, "processes"),
    ]


def _installed(cache: Path) -> Path:
    """The interpreter of an environment that holds the peer."""
    folder = cache / "peer"
    python = folder / "bin" / "python"
    complete = folder / PEER
    if not complete.exists():
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PEER, *NEEDS],
        ):
            try:
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_S)
            except subprocess.CalledProcessError as problem:
                last = (problem.stderr.strip() or problem.stdout.strip() or "no message").splitlines()[-1]
                raise PeerError(f"{PEER} does not install: {last}") from problem
            except subprocess.TimeoutExpired as problem:
                raise PeerError(f"{PEER} does not install within {INSTALL_S:.0f} s") from problem
        complete.touch()
    return python


def _run_peer(python: Path) -> dict[str, float]:
    """One run of the peer on one core; keys as of `polling.run_agent`."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gatehouse-bench-")))
        ports = stack.enter_context(polling.modbus_server(DEVICES))
        broker = stack.enter_context(_mosquitto(folder))
        counter = Counter(broker)
        stack.callback(counter.close)
        _configure(python, folder, ports, broker)
        peer = stack.enter_context(
            subprocess.Popen(
                [str(python), "-m", "thingsboard_gateway.tb_gateway"],
                cwd=folder,
                env=os.environ | {"TB_GW_CONFIG_DIR": str(folder / "config")},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        stack.callback(peer.kill)
        os.sched_setaffinity(peer.pid, {min(os.sched_getaffinity(0))})  # its threads inherit it
        deadline = time.monotonic() + START_S
        while not counter.arrived:
            if peer.poll() is not None or time.monotonic() > deadline:
                raise PeerError(f"{PEER} published nothing in {START_S:.0f} s (exit code {peer.poll()})")
            time.sleep(0.1)
        time.sleep(WARM_UP_S)
        used, from_s = _cpu_s(peer.pid), time.monotonic()
        time.sleep(polling.SECONDS)
        cpu, to_s = _cpu_s(peer.pid) - used, time.monotonic()
        if (values := counter.values(from_s, to_s)) == 0:
            raise PeerError(f"{PEER} published nothing any more after {WARM_UP_S:.0f} s")
        return {"values": values, "seconds": to_s - from_s, "cpu": cpu, "rss_mb": _rss_mb(peer.pid)}


def _configure(python: Path, folder: Path, ports: list[int], broker: int) -> None:
    """The peer's own sample, with SQLite storage and one range of registers for each device."""
    asked = "import thingsboard_gateway as it; print(it.__path__[0])"
    package = subprocess.run([str(python), "-c", asked], check=True, capture_output=True, text=True).stdout.strip()
    config = folder / "config"
    config.mkdir()
    (folder / "logs").mkdir()
    (folder / "data").mkdir()
    shutil.copy(Path(package) / "config" / "logs.json", config)
    gateway: dict[str, Any] = json.loads((Path(package) / "config" / "tb_gateway.json").read_text(encoding="utf-8"))
    gateway["thingsboard"] |= {"host": "127.0.0.1", "port": broker, "remoteConfiguration": False, "qos": 1}
    gateway["storage"] |= {"type": "sqlite", "data_file_path": "./data/"}
    gateway["connectors"] = [{"type": "modbus", "name": "bench", "configuration": "modbus.json"}]
    devices = [
        {
            "host": "127.0.0.1",
            "port": port,
            "type": "tcp",
            "method": "socket",
            "unitId": 1,
            "deviceName": f"d{n}",
            "timeout": 5,
            "byteOrder": "BIG",
            "wordOrder": "BIG",
            "pollPeriod": POLL_MS,
            "attributes": [],
            "timeseries": [
                {
                    "tag": "p${address}",
                    "type": "16uint",
                    "functionCode": 3,
                    "objectsCount": 1,
                    "address": f"0-{REGISTERS - 1}",
                    "maxRegistersPerRequest": REGISTERS,
                }
            ],
        }
        for n, port in enumerate(ports)
    ]
    (config / "tb_gateway.json").write_text(json.dumps(gateway), encoding="utf-8")
    (config / "modbus.json").write_text(json.dumps({"master": {"slaves": devices}}), encoding="utf-8")


@contextlib.contextmanager
def _mosquitto(folder: Path) -> Iterator[int]:
    """The port of a broker that takes anybody and drops nothing."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise PeerError("mosquitto is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    lines = [f"user {getpass.getuser()}", "allow_anonymous true", "max_queued_messages 0", f"listener {port} 127.0.0.1"]
    (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with subprocess.Popen([program, "-c", str(folder / "mosquitto.conf")], stderr=subprocess.DEVNULL) as broker:
        try:
            deadline = time.monotonic() + 10
            while not _listens(port):
                if time.monotonic() > deadline:
                    raise PeerError("mosquitto does not listen")
                time.sleep(0.05)
            yield port
        finally:
            broker.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    for figure in measure(Path(sys.argv[1]) if len(sys.argv) > 1 else None):
        print(f"peer      {figure}")
