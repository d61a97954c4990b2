"""Sends frames until the cloud has confirmed them: live first, the backlog oldest-first beside it.

The journal is the queue. A frame counts as delivered when a Receipt says so, never because bytes were
written to a socket; what was under way when a connection broke is sent again and stored once.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import structlog

from devices.batches import REQUEST_BYTES_MAX, REQUEST_FRAMES_MAX
from devices.errors import GatehouseError, LinkDown, Refused
from edge.backoff import CAP_S, Backoff
from edge.bandwidth import Bandwidth
from edge.clock import Clock
from edge.cloud_client import Busy, CloudClient, NotTaken, Unreachable, Untrusted
from edge.journal import Journal
from edge.outbox import FrameName, Outbox, Parcel

SIGN_OF_LIFE_S = 10.0
RECEIPT_INTERVAL_S = 600.0
COMPARE_AGAIN_S = 10.0  # doubled each time, when nothing was delivered since the last comparison
DEPTH_MAX = 4  # backlog requests in flight while no live frame waits
DEPTH_GROWS_AFTER_S = 10.0
PROBE_INTERVAL_S = 1.0
SPREAD_S = 1.0  # over which gateways that wake up together connect: a site's power or the cloud came back
SERVER_ERRORS_MAX = 3  # of one request; then it is taken apart
SUSPECTS_MAX = 1_000
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


@dataclass(slots=True)
class _Suspect:
    """A request that made the cloud fail. `progress` is the outbox's before the first time."""

    progress: int
    failures: int = 0


class Uplink:
    """Run `run` as a task; cancel it to end. `drained` waits for what is still under way."""

    def __init__(
        self, journal: Journal, client: CloudClient, clock: Clock, rng: Random,
        bandwidth_bytes_s: int | None = None, *, spread_s: float = SPREAD_S,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._bandwidth = Bandwidth(bandwidth_bytes_s)
        self._spread_s = spread_s
        self._quiet_until_s = 0.0  # the cloud asked for a pause
        self._untrusted = ""
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
        self._frames_tried = False  # in this session
        self._suspects: dict[FrameName, _Suspect] = {}  # by the first frame of a request
        self._compared_s, self._compared_at, self._compare_pause_s = 0.0, -1, COMPARE_AGAIN_S
        self.state = UplinkState()
        journal.subscribe(self._outbox.hear)

    @property
    def alarms(self) -> str:
        """The last thing that a person has to look at, empty if there was none."""
        return self._untrusted or self._outbox.alarms.last

    async def run(self) -> None:
        """Connect, deliver, and connect again, for ever."""
        await self._spread()
        while True:
            began_s, self._frames_tried = _now_s(), False
            failure = await self._one_session()
            if self.state.connected and not self._frames_tried:
                self._backoff.lasted(_now_s() - began_s)
            self._outbox.disconnect()
            self.state.connected = False
            self.state.problem = str(failure)
            self._untrusted = str(failure) if isinstance(failure, Untrusted) else ""
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
        self._untrusted = ""
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
            parcels = self._outbox.take_live(REQUEST_FRAMES_MAX, max(self._backlog_bytes, BACKLOG_BYTES_FIRST))
            self._live_requests = 1
            await self._deliver(parcels, live=True)
            self._live_requests = 0
            self._outbox.changed.set()
            deadline_s = _now_s() + SIGN_OF_LIFE_S
            while not self._outbox.live_waits and (left_s := deadline_s - _now_s()) > 0:
                await self._changed(left_s)

    async def _send_backlog(self, group: asyncio.TaskGroup) -> None:
        while True:
            while not self._outbox.backlog_waits or self._backlog_requests >= self._allowed():
                if self._outbox.partly_planned and not self._outbox.backlog_waits and not self._backlog_requests:
                    await self._compare_rest()
                    continue
                await self._changed()
            names = self._outbox.next_backlog(REQUEST_FRAMES_MAX)
            self._backlog_requests += 1  # at once: `drained` must not see a moment without work
            size = min(self._backlog_bytes, self._bandwidth.request_bytes(SLOW_S) or REQUEST_BYTES_MAX)
            parcels = await asyncio.to_thread(self._outbox.read, names, size)
            self._outbox.release(names, parcels)
            self._outbox.give_back(_rest(names, parcels))
            group.create_task(self._deliver_backlog(parcels), name="uplink-backlog-request")

    async def _deliver_backlog(self, parcels: list[Parcel]) -> None:
        started_s = _now_s()
        if parcels:
            await self._deliver(parcels, live=False)
        elapsed_s = _now_s() - started_s
        if elapsed_s < QUICK_S:
            self._backlog_bytes = min(self._backlog_bytes * 2, REQUEST_BYTES_MAX)
        elif elapsed_s > SLOW_S:
            self._backlog_bytes = max(self._backlog_bytes // 2, BACKLOG_BYTES_MIN)
        self._backlog_requests -= 1
        self._outbox.changed.set()

    async def _deliver(self, parcels: list[Parcel], *, live: bool) -> None:
        """One request. Raises what ends the session; a 429 only slows it down."""
        await self._observe_pause()
        self.state.requests += 1
        self._frames_tried |= bool(parcels)
        try:
            receipt = await self._client.post([parcel.data for parcel in parcels], self._bandwidth, live=live)
        except Busy as busy:
            if busy.too_many:
                self._outbox.give_back([parcel.name for parcel in parcels])
                self._slow_down(busy.retry_after_s or TOO_MANY_PAUSE_S)
                return
            if not parcels or not self._is_suspect(parcels[0].name, busy):
                raise
            await self._isolate(parcels, busy, live=live)
            return
        except NotTaken as error:
            await self._deliver_parts(parcels, str(error), live=live)
            return
        self._outbox.settle(parcels, receipt)
        if parcels:  # a cloud that answers signs of life may still fail at every frame
            self._backoff.reset()
            self._suspects.pop(parcels[0].name, None)
        self.state.delivered_frames += len(parcels)
        self.state.last_receipt_ms = self._clock.now().utc_ms

    async def _deliver_parts(self, parcels: list[Parcel], reason: str, *, live: bool) -> None:
        """Find the frame that spoils a request: the others must not wait for it."""
        if len(parcels) == 1:
            self._outbox.refuse(parcels[0].name, reason)
            return
        middle = len(parcels) // 2
        await self._deliver(parcels[:middle], live=live)
        await self._deliver(parcels[middle:], live=live)

    def _is_suspect(self, first: FrameName, busy: Busy) -> bool:
        """Whether the request that begins with this frame fails again and again."""
        if busy.retry_after_s:
            return False  # the cloud knows that it is busy
        if len(self._suspects) >= SUSPECTS_MAX:
            self._suspects.clear()
        suspect = self._suspects.setdefault(first, _Suspect(self._outbox.progress))
        suspect.failures += 1
        return suspect.failures > SERVER_ERRORS_MAX

    async def _isolate(self, parcels: list[Parcel], busy: Busy, *, live: bool) -> None:
        """Find the frame that makes the cloud fail. It is set apart only when others pass, else all is tried again.

        From the left and from the right in turn: wherever it is, others come to their turn before it.
        """
        suspect = self._suspects[parcels[0].name]
        if len(parcels) == 1:
            if self._outbox.progress == suspect.progress:
                raise busy
            del self._suspects[parcels[0].name]
            self._outbox.refuse(parcels[0].name, str(busy))
            return
        middle = len(parcels) // 2
        halves = [parcels[:middle], parcels[middle:]]
        for half in halves if suspect.failures % 2 else reversed(halves):
            self._suspects[half[0].name] = replace(suspect)
            await self._deliver(half, live=live)

    async def _observe_pause(self) -> None:
        await asyncio.sleep(max(self._quiet_until_s - _now_s(), 0.0))

    def _slow_down(self, pause_s: float) -> None:
        now_s = _now_s()
        self._depth = max(self._depth / 2, 1.0)
        self._depth_changed_s = now_s
        self._quiet_until_s = max(self._quiet_until_s, now_s + pause_s)

    async def _compare(self) -> None:
        """Ask now and then what the cloud holds: it may have been restored from a backup."""
        while True:
            await asyncio.sleep(RECEIPT_INTERVAL_S)
            await self._compare_now()

    async def _compare_rest(self) -> None:
        """What was listed is sent: ask for more, at once after progress, else ever more rarely."""
        if self._outbox.progress != self._compared_at:
            self._compare_pause_s = COMPARE_AGAIN_S
        elif (left_s := self._compared_s + self._compare_pause_s - _now_s()) > 0:
            await self._changed(left_s)
            return
        else:
            self._compare_pause_s = min(self._compare_pause_s * 2, RECEIPT_INTERVAL_S)
        self._compared_at = self._outbox.progress
        await self._compare_now()
        self._compared_s = _now_s()

    async def _compare_now(self) -> None:
        await self._observe_pause()
        self._outbox.expect_receipt()
        self._outbox.compare(await self._client.receipt())

    def _allowed(self) -> int:
        """How many backlog requests may be under way now."""
        now_s = _now_s()
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
        deadline_s = _now_s() + delay_s
        was_down = isinstance(failure, Unreachable)  # a probe that succeeds says something only after one failed
        while (left_s := deadline_s - _now_s()) > 0:
            await asyncio.sleep(min(left_s, self._rng.uniform(0.5, 1.0) * PROBE_INTERVAL_S))
            if left_s > PROBE_INTERVAL_S:
                reachable = await self._client.probe()
                if reachable and was_down:
                    await self._spread()
                    return
                was_down = was_down or not reachable

    async def _spread(self) -> None:
        await asyncio.sleep(self._rng.uniform(0.0, self._spread_s))


def _now_s() -> float:
    return asyncio.get_running_loop().time()


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
