"""The agent of one site: builds the parts, wires them, and ends them in the order data flows."""

import asyncio
import hashlib
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom

import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.disk import MACHINE, Disk
from devices.errors import StorageUnavailable
from devices.records import Inventory, ProfileText
from devices.version import software_version
from edge.boot import Boot, boot_id
from edge.clock import Clock, Moment
from edge.cloud_client import CloudClient
from edge.collector import Collector
from edge.config import Device, ModbusServer, Site
from edge.drivers.modbus import Link
from edge.drivers.modbus_link import ModbusLink
from edge.enrol import load_key
from edge.filter import Filter
from edge.items import Item
from edge.journal import Journal
from edge.local_alerts_desk import AlertDesk
from edge.series import SeriesTable
from edge.status import brokers_of, local_alerts_of, status_of, write_status
from edge.uplink import Uplink

JOURNAL_FOLDER = "journal"
CLOCK_FILE = "clock-runs"
STATUS_INTERVAL_S = 5.0
CLOCK_CHECK_S = 10.0
LAST_TRY_S = 1.0  # for frames sealed at the end; what is left is sent after the next start
_log = structlog.get_logger(__name__)


def inventory_of(devices: Sequence[Device], time_ms: int) -> tuple[Inventory, tuple[ProfileText, ...]]:
    """What a gateway reads, and the texts of the profiles it reads by. `time_ms` is Unix ms UTC."""
    infos = tuple(one.profile.device_info(one.id, one.slowed_to_s, one.connection) for one in devices)
    profiles = {device.profile.hash: device.profile.record() for device in devices}
    configuration = hashlib.sha256(msgspec.msgpack.encode(infos)).hexdigest()
    return Inventory(time_ms, software_version(), configuration, infos), tuple(profiles.values())


@dataclass(frozen=True, slots=True)
class World:
    """What the agent touches outside of this process: devices, the cloud, chance. A simulation brings its own."""

    link_to: Callable[[ModbusServer], Link] = ModbusLink
    client: Callable[[str, str, Ed25519PrivateKey, Clock, Path | None], CloudClient] = CloudClient
    rng: Random = field(default_factory=SystemRandom)
    disk: Disk = MACHINE


class Gateway:
    """One agent. `open` finds every problem of the set-up before anything is started."""

    def __init__(self, site: Site, key: Ed25519PrivateKey, clock: Clock, world: World) -> None:
        self._site = site
        self._clock = clock
        self._run = clock.now().run
        self._table = SeriesTable()
        reading, sending, telling = (Random(world.rng.getrandbits(64)) for _ in range(3))  # an outage changes no poll
        self._collector = Collector(
            site, self._sink, clock.now, rng=reading, rate=clock.rate, stored=self._stored, link_to=world.link_to
        )
        self._filter = Filter(site.devices, self._table)
        cloud = site.config.cloud
        ca_file = site.folder / cloud.ca_file if cloud is not None and cloud.ca_file else None
        gateway = site.config.gateway
        self._client = world.client(cloud.url, gateway, key, clock, ca_file) if cloud is not None else None
        space = site.config.journal
        self._journal = Journal.open(
            site.data_path / JOURNAL_FOLDER, gateway, key, clock, self._table,
            bytes_max=space.max_bytes, free_bytes_min=space.min_free_bytes, disk=world.disk,
        )  # fmt: skip
        self._journal.confirm_from(self._filter.confirmations, self._collector.links)
        self._journal.announce(*inventory_of(site.devices, clock.now().utc_ms))
        limit = cloud.bandwidth_bytes_s if cloud is not None else None
        self._alerts = AlertDesk(site, clock.now, telling, self._journal.put_record, clock.rate)
        self._uplink = Uplink(self._journal, self._client, clock, sending, limit) if self._client is not None else None

    @classmethod
    def open(cls, site: Site, clock: Clock, world: World | None = None) -> "Gateway":
        """Raises ConfigurationError when the set-up is wrong. A disk that takes nothing now is no reason."""
        return cls(site, load_key(site.key_path), clock, world or World())

    @property
    def alerts(self) -> AlertDesk:
        """The alerts that the agent raises by itself."""
        return self._alerts

    @property
    def journal(self) -> Journal:
        """What was read and is kept."""
        return self._journal

    async def run(self, stop: asyncio.Event) -> None:
        """Read, keep and send until `stop` is set, then end within two seconds."""
        async with asyncio.TaskGroup() as group:
            journal = group.create_task(self._journal.run(), name="journal")
            watch = group.create_task(self._watch(), name="watch")
            alerts = group.create_task(self._alerts.run(), name="local alerts")
            uplink = group.create_task(self._uplink.run(), name="uplink") if self._uplink is not None else None
            collector = group.create_task(self._collector.run(), name="collector")
            await stop.wait()
            _log.info("stopping")
            collector.cancel()
            alerts.cancel()
            await asyncio.wait({collector, alerts})
            self._journal.stop()
            await asyncio.wait({journal})
            if self._uplink is not None and uplink is not None:
                await self._last_try(self._uplink)
                uplink.cancel()
                await asyncio.wait({uplink})
            watch.cancel()

    async def close(self) -> None:
        """Close the files and connections, whatever `run` did. Raises StorageUnavailable."""
        if self._client is not None:
            await self._client.close()
        try:
            await self._write_status(running=False)
        finally:
            await asyncio.to_thread(self._journal.close)

    async def _sink(self, items: Sequence[Item], handled: Moment) -> None:
        """From driver to journal without a pause: what a span covers must be in its frame."""
        if handled.run != self._run:
            self._run = handled.run
            self._filter.interrupt()
        self._journal.put(self._filter.take(items, handled.utc_ms), handled)
        self._alerts.take(items, handled)

    async def _stored(self, within_s: float) -> int:
        return await self._journal.stored(within_s)

    async def _watch(self) -> None:
        """Write the status file and look after the clock."""
        checked_s = 0.0
        loop = asyncio.get_running_loop()
        while True:
            if loop.time() - checked_s >= CLOCK_CHECK_S:
                checked_s = loop.time()
                self._clock.check()
            await self._write_status(running=True)
            await asyncio.sleep(STATUS_INTERVAL_S)

    async def _write_status(self, *, running: bool) -> None:
        status = status_of(
            self._site.config.site, len(self._site.devices), self._journal, self._clock, self._uplink, running=running,
            brokers=brokers_of(self._collector), local_alerts=local_alerts_of(self._alerts),
        )  # fmt: skip
        try:
            await asyncio.to_thread(write_status, self._site.data_path, status)
        except StorageUnavailable as error:
            _log.warning("no status file", reason=str(error))  # sealing meets the same disk and raises the alarm

    async def _last_try(self, uplink: Uplink) -> None:
        try:
            async with asyncio.timeout(LAST_TRY_S):
                await uplink.drained(backlog=False)
        except TimeoutError:
            return  # the journal has it; the next start sends it


async def run_gateway(site: Site, clock: Clock) -> None:
    """Run the agent of a site until SIGINT or SIGTERM. Raises as `Gateway.open`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if boot := boot_id():
        clock.remember(Boot.load(site.data_path / CLOCK_FILE, boot))
    gateway = Gateway.open(site, clock)
    _log.info("running", site=site.config.site, gateway=site.config.gateway, devices=len(site.devices))
    try:
        await gateway.run(stop)
    finally:
        await gateway.close()
