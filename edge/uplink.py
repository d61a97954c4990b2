"""Sends frames until the cloud has confirmed them: live first, the backlog oldest-first beside it.

The journal is the queue. A frame counts as delivered when a Receipt says so, never because bytes were
written to a socket; what was under way when a connection broke is sent again and stored once.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import structlog

from devices.batches import REQUEST_BYTES_MAX, REQUEST_FRAMES_MAX
from devices.errors import GatehouseError, LinkDown, Refused
from edge.backoff import CAP_S, Backoff
from edge.clock import Clock
from edge.cloud_client import Busy, CloudClient, Unreachable
from edge.journal import Journal
from edge.outbox import FrameName, Outbox, Parcel

SIGN_OF_LIFE_S = 10.0
RECEIPT_INTERVAL_S = 600.0
DEPTH_MAX = 4  # backlog requests in flight while no live frame waits
DEPTH_GROWS_AFTER_S = 10.0
PROBE_INTERVAL_S = 1.0
TOO_MANY_PAUSE_S = 1.0  # after a 429 that names no time
BACKLOG_BYTES_FIRST = 64 * 1024
BACKLOG_BYTES_MIN = 16 * 1024
QUICK_S, SLOW_S = 0.25, 1.0  # a backlog request should take about this long: live frames share its link
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class UplinkState:
    """For the status file. `last_receipt_ms` is Unix ms UTC of the agent's clock, 0 for never."""

    connected: bool = False
    last_receipt_ms: int = 0
    delivered_frames: int = 0
    requests: int = 0
    problem: str = "not connected yet"


class Uplink:
    """Run `run` as a task; cancel it to end. `drained` waits for what is still under way."""

    def __init__(self, journal: Journal, client: CloudClient, clock: Clock, rng: Random) -> None:
        self._journal = journal
        self._client = client
        self._clock = clock
        self._rng = rng
        self._backoff = Backoff(rng)
        self._outbox = Outbox(journal)
        self._depth = float(DEPTH_MAX)
        self._depth_changed_s = 0.0
        self._backlog_requests = 0
        self._live_requests = 0
        self._backlog_bytes = BACKLOG_BYTES_FIRST
        self._was_connected = False
        self.state = UplinkState()
        journal.subscribe(self._outbox.hear)

    @property
    def alarms(self) -> str:
        """The last thing that a person has to look at, empty if there was none."""
        return self._outbox.alarms.last

    async def run(self) -> None:
        """Connect, deliver, and connect again, for ever."""
        while True:
            failure = await self._one_session()
            self._outbox.disconnect()
            self.state.connected = False
            self.state.problem = str(failure)
            self._backlog_requests = self._live_requests = 0
            _log.warning("uplink down", reason=str(failure))
            await self._wait(failure)

    async def drained(self, *, backlog: bool) -> None:
        """Wait until the live frames are answered, at once without a connection; with `backlog` until all are."""
        while self.state.connected or backlog:
            waiting = self._outbox.live_waits or self._live_requests
            if backlog:
                waiting = waiting or self._outbox.backlog_waits or self._backlog_requests or not self.state.connected
            if not waiting:
                return
            await self._changed()

    async def _one_session(self) -> GatehouseError:
        """Why a session ended. It is a task of its own: a failing TaskGroup forgets that it was cancelled."""
        session = asyncio.create_task(self._session(), name="uplink-session")
        try:
            await asyncio.wait({session})
        finally:
            session.cancel()
            await asyncio.wait({session})
        error = session.exception()
        if error is None:
            raise RuntimeError("an uplink session ended without a reason")
        return _reason(error)

    async def _session(self) -> None:
        self._outbox.connect(await self._client.receipt())
        if self._was_connected:
            self._journal.want_keyframe()  # an outage ended
        self._was_connected = True
        self.state.connected = True
        self.state.problem = ""
        _log.info("uplink up", backlog_frames=self._journal.backlog_frames())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_live(), name="uplink-live")
            group.create_task(self._send_backlog(group), name="uplink-backlog")
            group.create_task(self._compare(), name="uplink-compare")

    async def _send_live(self) -> None:
        """Live frames at once, a sign of life when there are none."""
        while True:
            parcels = self._outbox.take_live(REQUEST_FRAMES_MAX, REQUEST_BYTES_MAX)
            self._live_requests = 1
            await self._deliver(parcels)
            self._live_requests = 0
            self._outbox.changed.set()
            deadline = time.monotonic() + SIGN_OF_LIFE_S
            while not self._outbox.live_waits and (left_s := deadline - time.monotonic()) > 0:
                await self._changed(left_s)

    async def _send_backlog(self, group: asyncio.TaskGroup) -> None:
        while True:
            while not self._outbox.backlog_waits or self._backlog_requests >= self._allowed():
                await self._changed()
            names = self._outbox.next_backlog(REQUEST_FRAMES_MAX)
            self._backlog_requests += 1  # at once: `drained` must not see a moment without work
            parcels = await asyncio.to_thread(self._outbox.read, names, self._backlog_bytes)
            self._outbox.give_back(_rest(names, parcels))
            group.create_task(self._deliver_backlog(parcels), name="uplink-backlog-request")

    async def _deliver_backlog(self, parcels: list[Parcel]) -> None:
        started = time.monotonic()
        if parcels:
            await self._deliver(parcels)
        elapsed_s = time.monotonic() - started
        if elapsed_s < QUICK_S:
            self._backlog_bytes = min(self._backlog_bytes * 2, REQUEST_BYTES_MAX)
        elif elapsed_s > SLOW_S:
            self._backlog_bytes = max(self._backlog_bytes // 2, BACKLOG_BYTES_MIN)
        self._backlog_requests -= 1
        self._outbox.changed.set()

    async def _deliver(self, parcels: list[Parcel]) -> None:
        """One request. Raises what ends the session; a 429 only slows it down."""
        self.state.requests += 1
        try:
            receipt = await self._client.post([parcel.data for parcel in parcels])
        except Busy as busy:
            if not busy.too_many:
                raise
            self._outbox.give_back([parcel.name for parcel in parcels])
            self._depth = max(self._depth / 2, 1.0)
            self._depth_changed_s = time.monotonic()
            await asyncio.sleep(busy.retry_after_s or TOO_MANY_PAUSE_S)
            return
        self._outbox.settle(parcels, receipt)
        self._backoff.reset()
        self.state.delivered_frames += len(parcels)
        self.state.last_receipt_ms = self._clock.now().utc_ms

    async def _compare(self) -> None:
        """Ask now and then what the cloud holds: it may have been restored from a backup."""
        while True:
            await asyncio.sleep(RECEIPT_INTERVAL_S)
            self._outbox.connect(await self._client.receipt())

    def _allowed(self) -> int:
        """How many backlog requests may be under way now."""
        now_s = time.monotonic()
        if self._depth < DEPTH_MAX and now_s - self._depth_changed_s >= DEPTH_GROWS_AFTER_S:
            self._depth = min(self._depth + 1, DEPTH_MAX)
            self._depth_changed_s = now_s
        return 1 if self._outbox.live_waits else int(self._depth)

    async def _changed(self, timeout_s: float = DEPTH_GROWS_AFTER_S) -> None:
        """Wait until the outbox changed, or for a while."""
        self._outbox.changed.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._outbox.changed.wait()
        except TimeoutError:
            return

    async def _wait(self, failure: GatehouseError) -> None:
        """Wait before the next connect: as long as asked, else with jitter, cut short when the link is back."""
        if isinstance(failure, Refused):
            await asyncio.sleep(CAP_S / 2 + self._rng.uniform(0.0, CAP_S / 2))
            return
        delay_s = self._backoff.next_s()
        if isinstance(failure, Busy):
            await asyncio.sleep(max(failure.retry_after_s, delay_s))
            return
        deadline = time.monotonic() + delay_s
        was_down = isinstance(failure, Unreachable)  # a probe that succeeds says something only after one failed
        while (left_s := deadline - time.monotonic()) > 0:
            await asyncio.sleep(min(left_s, self._rng.uniform(0.5, 1.0) * PROBE_INTERVAL_S))
            if left_s > PROBE_INTERVAL_S:
                reachable = await self._client.probe()
                if reachable and was_down:
                    return
                was_down = was_down or not reachable


def _rest(names: Sequence[FrameName], parcels: Sequence[Parcel]) -> Sequence[FrameName]:
    """The names behind the last one that was read: the request had no room for them."""
    if not parcels:
        return ()
    return names[names.index(parcels[-1].name) + 1 :]


def _reason(error: BaseException) -> GatehouseError:
    """The first of several failures, which have one cause as a rule; what is not expected is raised."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, GatehouseError):
        return error
    if isinstance(error, ValueError):
        return LinkDown(f"the cloud's answer makes no sense: {error}")
    raise error
