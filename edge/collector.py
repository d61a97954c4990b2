"""Runs the drivers: one owner task per socket, each with its own schedule, breakers and links."""

import asyncio
from collections.abc import Callable
from random import Random

from devices.records import Link as LinkRecord
from edge.clock import Moment
from edge.config import Connection, ModbusServer, MqttBroker, Site
from edge.drivers.modbus import Link, ModbusDriver
from edge.drivers.modbus_device import plans_of
from edge.drivers.modbus_link import ModbusLink
from edge.drivers.mqtt import MqttDriver
from edge.drivers.mqtt_reader import MqttCounts
from edge.items import Sink, Stored
from edge.listening import Listening, ListeningStatus, stored_at_once
from edge.polling import Polling, PollingStatus


class Collector:
    """Reads every device of a site until cancelled.

    `sink` gets what was read, in order, with the moment of handling. It may wait (back-pressure): ticks
    missed meanwhile are coalesced and counted. `now` gives moments; `rate` is that of the clock, polls are
    as many times faster. `stored` waits until what the sink took is on disk; brokers hear of it then. Raises
    Permanent for a profile whose points no read can hold, or for TLS files that cannot be used. `link_to` opens
    the way to a Modbus server; a simulation brings its own.
    """

    def __init__(
        self, site: Site, sink: Sink, now: Callable[[], Moment], *, rng: Random, rate: float = 1.0,
        stored: Stored = stored_at_once, link_to: Callable[[ModbusServer], Link] = ModbusLink,
    ) -> None:  # fmt: skip
        self._site = site
        self._sink = sink
        self._stored = stored
        self._now = now
        self._rng = rng
        self._rate = rate
        self._link_to = link_to
        self._polling: dict[str, Polling] = {}
        self._listening: dict[str, Listening] = {}
        self._drivers: dict[str, MqttDriver] = {}
        for connection in site.config.connections:
            if connection.modbus is not None:
                self._add_polling(connection, connection.modbus)
            if connection.mqtt is not None:
                self._add_listening(connection, connection.mqtt)

    @property
    def status(self) -> dict[str, PollingStatus | ListeningStatus]:
        """What each socket does, by its name: the connection's id, with a number where it has several."""
        polling = {name: owner.status for name, owner in self._polling.items()}
        return {**polling, **{name: owner.status for name, owner in self._listening.items()}}

    @property
    def counts(self) -> dict[str, MqttCounts]:
        """What came in over each broker, and what was rejected."""
        return {name: driver.counts for name, driver in self._drivers.items()}

    def links(self, moment: Moment) -> tuple[LinkRecord, ...]:
        """The links of polled devices as last recorded, for a keyframe or a new epoch."""
        return tuple(link for owner in self._polling.values() for link in owner.links(moment))

    def restart_links(self) -> None:
        """Record all links afresh with the next answers. A new clock run does so by itself."""
        for owner in self._polling.values():
            owner.restart_links()

    async def run(self) -> None:
        """Poll and subscribe until cancelled. Never ends by itself; closes every connection on the way out."""
        async with asyncio.TaskGroup() as group:
            owners: dict[str, Polling | Listening] = {**self._polling, **self._listening}
            for name, owner in owners.items():
                group.create_task(owner.run(), name=f"collect {name}")
            await asyncio.Event().wait()  # with nothing configured there is still nothing to end for

    def _add_polling(self, connection: Connection, server: ModbusServer) -> None:
        devices = self._site.devices_of(connection.id)
        units = sorted({device.unit for device in devices})
        for socket in range(min(server.sockets, len(units))):
            mine = set(units[socket :: server.sockets])
            plans = [plan for device in devices if device.unit in mine for plan in plans_of(device)]
            name = connection.id if server.sockets == 1 else f"{connection.id}/{socket + 1}"
            driver = ModbusDriver(server, self._now, self._link_to(server))
            self._polling[name] = Polling(
                name, driver, plans, self._sink, now=self._now, rng=self._rng, rate=self._rate
            )

    def _add_listening(self, connection: Connection, broker: MqttBroker) -> None:
        config = self._site.config
        identifier = f"gatehouse/{config.site}/{config.gateway}/{connection.id}"
        devices = self._site.devices_of(connection.id)
        driver = MqttDriver(broker, devices, self._now, identifier, folder=self._site.folder)
        self._drivers[connection.id] = driver
        self._listening[connection.id] = Listening(connection.id, driver, self._sink, self._rng, stored=self._stored)
