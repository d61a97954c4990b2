"""Runs the simulated site: Modbus servers, messages, control socket; writes the files that fit its ports."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog

from devices.errors import Permanent
from devices.profile import load_profiles
from simulators import control, modbus, mqtt
from simulators.documents import Endpoints, ledger_yaml, site_yaml
from simulators.replay import Value, machine_temperature, play
from simulators.site import Site
from simulators.world import SimulatedClock, World

CONTROL_SOCKET = "sim.sock"
SITE_FILE = "site.yaml"
LEDGER_FILE = "ledger.yaml"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run. Ports of 0 come from the OS; `modbus_port_first` numbers the servers in the site's order.

    `folder` gets `site.yaml`, `ledger.yaml` and the control socket; the files are written when all ports are open.
    `advertise` is the host name by which others reach the Modbus servers.
    """

    folder: Path
    broker: mqtt.Broker
    seed: int
    start_ms: int
    clock_rate: float = 1.0
    host: str = "127.0.0.1"
    advertise: str = "127.0.0.1"
    modbus_port_first: int = 0
    cloud_url: str = "http://127.0.0.1:8080"


async def run_site(site: Site, options: RunOptions) -> None:
    """Simulate until cancelled."""
    options.folder.mkdir(parents=True, exist_ok=True)
    world = World(site, options.seed, SimulatedClock(options.start_ms, options.clock_rate), load_profiles())
    async with AsyncExitStack() as stack:
        ports: dict[str, int] = {}
        for index, name in enumerate(site.connections):
            behind = [world.devices[one.id] for one in site.equipment if one.connection == name]
            port = options.modbus_port_first + index if options.modbus_port_first else 0
            ports[name] = await stack.enter_async_context(modbus.serve(behind, options.host, port))
        await stack.enter_async_context(control.listen(world, options.folder / CONTROL_SOCKET))
        endpoints = Endpoints(ports, options.broker.port, options.advertise, options.broker.host, options.cloud_url)
        write_documents(site, endpoints, options.folder)
        log.info("simulation ready", modbus=ports, mqtt=options.broker.port, folder=str(options.folder))
        async with asyncio.TaskGroup() as group:
            group.create_task(world.run(), name="world")
            group.create_task(mqtt.run_messages(world, options.broker), name="messages")


def write_documents(site: Site, endpoints: Endpoints, folder: Path) -> None:
    """Write `ledger.yaml`, then `site.yaml`: whoever waits for the latter finds both whole."""
    for name, text in ((LEDGER_FILE, ledger_yaml(site)), (SITE_FILE, site_yaml(site, endpoints))):
        unfinished = folder / f".{name}.part"
        unfinished.write_text(text, "utf-8")
        unfinished.replace(folder / name)


async def play_register(
    recording: Path,
    stretch: tuple[int, int],
    device: tuple[str, str, int],
    address: tuple[str, int],
    clock: tuple[int, float],
) -> None:
    """Serve one device and play rows of a recording on one of its points.

    `stretch` is (first row, rows), `device` (profile, point, unit id), `address` (host, port), `clock` (start in
    Unix ms UTC, rate). Raises Permanent.
    """
    profile_id, point, unit = device
    profile = load_profiles().get(profile_id)
    if profile is None:
        raise Permanent(f"there is no packaged profile {profile_id!r}")
    simulated = modbus.SimulatedDevice("recorded", unit, profile)
    values = machine_temperature(recording, *stretch, clock[0])

    async def show(one: Value) -> None:
        simulated.set(point, one.value)

    async with modbus.serve([simulated], *address) as port:
        log.info("replay ready", port=port, unit=unit, point=point)
        await play(values, lambda one: one.time_ms, SimulatedClock(*clock), show)
