"""The owner of one subscription: reconnects, and hands on what was read."""

import asyncio
from dataclasses import dataclass
from random import Random

import structlog

from devices.errors import LinkDown
from edge.backoff import Backoff
from edge.drivers.mqtt import MqttDriver
from edge.items import Sink
from edge.polling import is_cancelled

CONNECT_CAP_S = 30.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ListeningStatus:
    """What a subscription does."""

    connected: bool = False
    error: str = ""


class Listening:
    """Listens to some devices over one driver."""

    def __init__(self, name: str, driver: MqttDriver, sink: Sink, rng: Random) -> None:
        self._name = name
        self._driver = driver
        self._sink = sink
        self._backoff = Backoff(rng, cap_s=CONNECT_CAP_S)
        self.status = ListeningStatus()

    async def run(self) -> None:
        """Listen until cancelled; disconnect on the way out."""
        while not is_cancelled():
            try:
                async with self._driver as driver:
                    self._connected()
                    async for items, moment in driver:
                        self._backoff.reset()
                        await self._sink(items, moment)
                        if is_cancelled():
                            return
            except LinkDown as error:
                if not self.status.error:
                    log.warning("broker lost", connection=self._name, reason=str(error))
                self.status.error = str(error)
            finally:
                self.status.connected = False
            await asyncio.sleep(self._backoff.next_s())

    def _connected(self) -> None:
        if self.status.error:
            log.info("broker is back", connection=self._name)
        self.status.connected, self.status.error = True, ""
