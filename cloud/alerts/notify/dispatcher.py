"""Takes messages from the outbox and sees to it that they are delivered, each channel for itself.

A channel that hangs keeps nobody else waiting: each has a task of its own. One that failed three times in a row, or
that lost a message for good, raises a yellow alert, which ends with its next success, also of a test, or with the
channel.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

import httpx
import structlog

from cloud.alerts.alert import Key, Terms
from cloud.alerts.book import AlertBook
from cloud.alerts.lifecycle import Cleared, Raised
from cloud.alerts.notify.channels import Channel
from cloud.alerts.notify.deliveries import ERROR_LENGTH_MAX, KEPT_MS, RETRY_MS, Delivery, DeliveryLog, Try
from cloud.alerts.notify.outgoing import NotYet, Refused, Unreachable
from cloud.alerts.notify.senders import ChannelSender, Parcel, Senders
from cloud.alerts.notify.texts import Message, Site, message_of
from cloud.alerts.outbox import Notification, Outbox
from devices.errors import Permanent, StorageUnavailable, Transient
from devices.instants import format_instant
from devices.rules import Severity

TICK_S = 1.0
GONE_LOOK_S = 10.0  # how often it is looked whether a channel with an alert is there still
FAILURES_ALARMED = 3
PAUSES = 4  # a channel that fails is left alone for up to ten minutes, then one message tries it again
RULE = "channel-dead"
_TERMS = Terms(Severity.YELLOW, "alert.channel_dead")
# What a sender, or a library below it, raises where nobody thought of it. It ends one delivery, never the others.
_UNEXPECTED = (
    ValueError, RuntimeError, TypeError, LookupError, ArithmeticError, AttributeError, httpx.InvalidURL,
)  # fmt: skip
_log = structlog.get_logger(__name__)

ChannelKey = tuple[str, str]  # site, id


class Addresses(Protocol):
    """Who is reached how. Both block."""

    def channels(self, site: str) -> Mapping[str, Channel]:
        """The channels of a site and of all sites, by id."""

    def of_people(self, site: str, people: Sequence[str]) -> Sequence[str]:
        """The channels that people named for themselves."""

    def site(self, site: str) -> Site:
        """What messages must know of a site."""


@dataclass(slots=True)
class _Lane:
    """One channel at work."""

    channel: Channel
    sender: ChannelSender
    failures: int = 0
    not_before_ms: int = 0
    task: "asyncio.Task[None] | None" = None


@dataclass(slots=True)
class Dispatcher:
    """One for a process; belongs to its event loop."""

    outbox: Outbox
    log: DeliveryLog
    book: AlertBook
    addresses: Addresses
    now: Callable[[], int]
    make_sender: Callable[[Channel, Callable[[], int]], ChannelSender] = field(default_factory=Senders)
    _lanes: dict[ChannelKey, _Lane] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Deliver until cancelled."""
        loop = asyncio.get_running_loop()

        def added() -> None:
            loop.call_soon_threadsafe(self._wake.set)

        self.outbox.listen(added)
        forgot = looked = 0.0
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                try:
                    await self._take_out()
                    await self._start_lanes(group)
                    if monotonic() - looked > GONE_LOOK_S:
                        looked = monotonic()
                        await self.end_alerts_of_gone()
                    if monotonic() - forgot > 3600:
                        forgot = monotonic()
                        await asyncio.to_thread(self.log.forget, self.now() - KEPT_MS)
                except StorageUnavailable as error:
                    _log.warning("messages wait for the disk", problem=str(error))
                try:
                    await asyncio.wait_for(self._wake.wait(), TICK_S)
                except TimeoutError:
                    continue

    async def test(self, site: str, name: str, channel: Channel) -> None:
        """Send one message that says it is a test; once it went, the channel is well. Raises Refused, Unreachable."""
        about = await asyncio.to_thread(self.addresses.site, site)
        now_ms = self.now()
        notification = Notification(f"nt_test_{now_ms}", site, "alerts", now_ms, Severity.YELLOW, drill=True)
        parcel = _parcel(notification, about, channel.language)
        await _send(self.make_sender(channel, self.now), [parcel])
        lane = self._lanes.get((site, name))
        if lane is not None:
            lane.failures = lane.not_before_ms = 0
        await self._end_alert(Key(site, RULE, name))

    async def end_alerts_of_gone(self) -> None:
        """End the alerts about channels that were taken back. Raises StorageUnavailable."""
        for site in list(self.book.sites()):
            about = [one.key for one in self.book.open_alerts(site) if one.key.rule == RULE]
            channels = await asyncio.to_thread(self.addresses.channels, site) if about else {}
            for key in about:
                if key.thing not in channels:
                    await self._end_alert(key)

    async def _end_alert(self, key: Key) -> None:
        known = self.book.get(key)
        if known is not None and known.is_active:
            await self.book.apply([(key, Cleared(self.now()))])

    async def _take_out(self) -> None:
        """From the outbox into the log of deliveries: for each message the channels that are to carry it."""
        for one in await asyncio.to_thread(self.outbox.waiting):
            await asyncio.to_thread(self._address, one)

    def _address(self, one: Notification) -> None:
        channels = self.addresses.channels(one.site)
        named = [name for name in self.addresses.of_people(one.site, one.people) if name in channels]
        listening = [name for name, channel in channels.items() if channel.wants(one)]
        self.log.add(one, dict.fromkeys([*named, *listening]), self.now())
        self.outbox.finished(one.site, [one.id], self.now())

    async def _start_lanes(self, group: asyncio.TaskGroup) -> None:
        waiting: dict[ChannelKey, list[Delivery]] = {}
        for one in await asyncio.to_thread(self.log.waiting, self.now()):
            waiting.setdefault((one.notification.site, one.channel), []).append(one)
        for key, deliveries in waiting.items():
            lane = await self._lane(key)
            if lane is None:
                gone = Try(self.now(), 0, "there is no such channel any more")
                await asyncio.to_thread(self.log.keep, [one.tried(gone, final=True) for one in deliveries])
                continue
            if lane.not_before_ms <= self.now() and (lane.task is None or lane.task.done()):
                lane.task = group.create_task(self._deliver(key, lane, deliveries), name=f"channel {key[1]}")

    async def _lane(self, key: ChannelKey) -> _Lane | None:
        """The channel as it is entered now; a changed one has a new sender."""
        channel = (await asyncio.to_thread(self.addresses.channels, key[0])).get(key[1])
        known = self._lanes.get(key)
        if channel is None:
            self._lanes.pop(key, None)
            return None
        if known is None or known.channel != channel:
            failures = known.failures if known is not None else 0
            running = known.task if known is not None else None
            known = self._lanes[key] = _Lane(channel, self.make_sender(channel, self.now), failures, task=running)
        return known

    async def _deliver(self, key: ChannelKey, lane: _Lane, due: Sequence[Delivery]) -> None:
        """Send what is due on one channel, in order, until something fails."""
        try:
            about = await asyncio.to_thread(self.addresses.site, key[0])
        except StorageUnavailable as full:
            _log.warning("messages wait for the disk", problem=str(full))
            return
        left = list(due)
        while left:
            parcels = [_parcel(one.notification, about, lane.channel.language) for one in left]
            began = monotonic()
            final, error, count = False, "", 1
            try:
                count = await _send(lane.sender, parcels)
            except NotYet as wait:
                lane.not_before_ms = self.now() + wait.wait_ms
                return
            except Transient as failed:
                error = str(failed)
            except Permanent as failed:
                error, final = str(failed), True
            attempt = Try(self.now(), round((monotonic() - began) * 1000), error[:ERROR_LENGTH_MAX])
            try:
                tried = [one.tried(attempt, final=final) for one in left[:count]]
                await asyncio.to_thread(self.log.keep, tried)
                await self._note(key, lane, error, lost=any(one.status == "dead" for one in tried))
            except StorageUnavailable as full:
                _log.warning("a delivery could not be written down", problem=str(full))
                return
            if error:
                if not final:
                    lane.not_before_ms = self.now() + RETRY_MS[min(lane.failures, PAUSES) - 1]
                return
            left = left[count:]

    async def _note(self, key: ChannelKey, lane: _Lane, error: str, *, lost: bool) -> None:
        """Raise or end the alert about a channel. `lost`: a message will never be delivered."""
        lane.failures = lane.failures + 1 if error else 0
        alert_key = Key(key[0], RULE, key[1])
        if not error:
            await self._end_alert(alert_key)
            return
        known = self.book.get(alert_key)
        active = known is not None and known.is_active
        if not active and (lost or lane.failures >= FAILURES_ALARMED):
            now_ms = self.now()
            parameters = {"thing": key[1], "since": format_instant(now_ms)}
            await self.book.apply([(alert_key, Raised(alert_key, _TERMS, now_ms, parameters))])


async def _send(sender: ChannelSender, parcels: Sequence[Parcel]) -> int:
    """How many were sent. Raises Transient or Permanent and nothing else."""
    try:
        return await sender.send(parcels)
    except OSError as error:
        raise Unreachable(f"{type(error).__name__}: {error}") from error
    except _UNEXPECTED as error:
        _log.exception("a sender failed as nobody expected", notification=parcels[0].notification.id)
        raise Refused(f"{type(error).__name__}: {error}") from error


def _parcel(notification: Notification, about: Site, language: str) -> Parcel:
    try:
        return Parcel(notification, message_of(notification, about, language))
    except (Permanent, OSError, *_UNEXPECTED) as error:  # a word lacks: the message goes all the same
        _log.error("a message has no words", notification=notification.id, problem=str(error))
        return Parcel(notification, Message(notification.id, f"Gatehouse: {notification.severity.value}", ()))
