"""The owner of one subscription: reconnects, hands on what was read, confirms what is kept."""

import asyncio
from collections import deque
from dataclasses import dataclass
from random import Random

import structlog

from devices.errors import LinkDown
from edge.backoff import Backoff
from edge.drivers.mqtt import Heard, MqttDriver
from edge.items import Sink, Stored
from edge.polling import is_cancelled
from edge.thinning import Thinning

CONNECT_CAP_S = 30.0
CONFIRM_WITHIN_S = 1.0  # how long a delivery may wait for others to be sealed with it ...
WAITING_MAX = 10  # ... unless that many wait: a broker sends some twenty (Mosquitto) before the first is confirmed

log = structlog.get_logger(__name__)


async def stored_at_once(_within_s: float) -> int:
    """Where no journal has to be waited for."""
    return 0


@dataclass(slots=True)
class ListeningStatus:
    """What a subscription does."""

    connected: bool = False
    error: str = ""


class Listening:
    """Listens to some devices over one driver.

    `stored` waits until what the sink took is on disk and says how many readings were ever lost before that;
    without it a delivery is confirmed as soon as the sink took it.
    """

    def __init__(
        self, name: str, driver: MqttDriver, sink: Sink, rng: Random, *, stored: Stored = stored_at_once
    ) -> None:
        self._name = name
        self._driver = driver
        self._sink = sink
        self._stored = stored
        self._dropped = 0
        self._thinning = Thinning()
        self._backoff = Backoff(rng, cap_s=CONNECT_CAP_S)
        self._waiting: deque[Heard] = deque()  # bounded by what a broker sends before the first is confirmed
        self._some_wait = asyncio.Event()
        self.status = ListeningStatus()

    async def run(self) -> None:
        """Listen until cancelled; disconnect on the way out."""
        while not is_cancelled():
            try:
                async with self._driver as driver:
                    self._connected()
                    self._waiting.clear()
                    confirming = asyncio.create_task(self._confirm(driver), name=f"confirm {self._name}")
                    try:
                        async for heard in driver:
                            await self._take(heard)
                            if is_cancelled():
                                return
                    finally:
                        confirming.cancel()
                        await asyncio.wait({confirming})
            except LinkDown as error:
                if not self.status.error:
                    log.warning("broker lost", connection=self._name, reason=str(error))
                self.status.error = str(error)
            finally:
                self.status.connected = False
                await self._settle()
            await asyncio.sleep(self._backoff.next_s())

    async def _take(self, heard: Heard) -> None:
        items = self._thinning.take(heard.items, heard.moment.monotonic_ms)
        if heard.items:
            self._backoff.reset()
        if items:
            await self._sink(items, heard.moment)
        if heard.deliveries:
            self._waiting.append(heard)
            self._some_wait.set()

    async def _settle(self) -> None:
        """Nobody comes after the last poses: they are kept."""
        poses = self._thinning.settle()
        if poses:
            await self._sink(poses, self._driver.now())

    async def _confirm(self, driver: MqttDriver) -> None:
        """Confirm deliveries once they are on disk; let those come again that found no room."""
        while True:
            await self._some_wait.wait()
            self._some_wait.clear()
            heard = list(self._waiting)
            self._waiting.clear()
            few = sum(len(one.deliveries) for one in heard) < WAITING_MAX
            dropped = await self._stored(CONFIRM_WITHIN_S if few else 0.0)
            if dropped != self._dropped:
                self._dropped = dropped
                log.warning("readings found no room, asking the broker again", connection=self._name)
                driver.hang_up()
                return
            for one in heard:
                driver.confirm(one)

    def _connected(self) -> None:
        if self.status.error:
            log.info("broker is back", connection=self._name)
        self.status.connected, self.status.error = True, ""
