"""Devices that push over MQTT. The collector owns retries and back-off.

**What is confirmed when.** A QoS 1 message is confirmed to the broker (PUBACK) by whoever listens, after the journal
has fsynced what came of it; until then the broker keeps it and delivers it again after a lost connection or a restart
of the agent. aiomqtt itself would confirm at once; paho's manual confirmation is used underneath (`mqtt_client`).
Where that cannot help: messages that a device publishes with QoS 0 (VDA 5050 `state` and `visualization`, The Things
Stack) are never confirmed by anyone; a pose that the thinning still weighs (4 s at most) is confirmed before it is
kept; a message that the full inbox dropped, which is never a state, is confirmed and counted. With MQTT 3.1.1 the
broker decides how many messages it sends before the first is confirmed (Mosquitto: max_inflight_messages, 20); with
MQTT 5 it may send a thousand.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiomqtt

from devices.errors import ConfigurationError, LinkDown
from edge.clock import Moment
from edge.config import Device, MqttBroker
from edge.drivers.mqtt_client import BrokerClient, tls_context
from edge.drivers.mqtt_inbox import INBOX_MESSAGES_MAX, Inbox
from edge.drivers.mqtt_reader import Item, MessageReader, MqttCounts

BATCH_MESSAGES_MAX = 200  # handled in one go
TICK_S = 1.0  # how long nothing may be heard before that, too, is said


@dataclass(frozen=True, slots=True)
class Heard:
    """What some messages said, when they were handled, and the deliveries to confirm once it is kept.

    A confirmation belongs to the connection over which the message came.
    """

    items: list[Item]
    moment: Moment
    deliveries: tuple[aiomqtt.Message, ...]
    connection: int


class MqttDriver:
    """One subscription to a broker: `async with` connects and subscribes, `async for` gives what was read.

    The session is kept by the broker, so that messages wait for an agent that is restarted, unless `keep_session`
    says that nobody will come back. Files of the broker's
    settings are looked for in `folder`; they are read again at each connect. Raises ConfigurationError when they
    cannot be used.
    """

    def __init__(
        self,
        broker: MqttBroker,
        devices: Sequence[Device],
        now: Callable[[], Moment],
        identifier: str,
        *,
        folder: Path = Path(),
        inbox_messages_max: int = INBOX_MESSAGES_MAX,
        keep_session: bool = True,
    ) -> None:
        tls_context(broker, folder)
        self._broker = broker
        self._folder = folder
        self._now = now
        self._identifier = identifier
        self._keep_session = keep_session
        self._reader = MessageReader(devices)
        self._client: BrokerClient | None = None
        self._connection = 0
        self._inbox = Inbox(
            self._reader.is_state, messages_max=inbox_messages_max, on_full=self._pause, on_room=self._resume
        )

    @property
    def counts(self) -> MqttCounts:
        """What came in so far, over all connections."""
        return self._reader.counts

    async def __aenter__(self) -> Self:
        """Connect and subscribe. Raises LinkDown."""
        self._inbox.begin_connection()
        client = BrokerClient(self._broker, self._identifier, self._inbox, self._tls(), keep_session=self._keep_session)
        try:
            await client.__aenter__()
        except aiomqtt.MqttError as error:
            raise LinkDown(f"{self._name}: {error}") from error
        self._connection += 1
        try:
            await self._subscribe(client)
        except BaseException:
            await client.close()
            raise
        self._client = client
        if self._inbox.is_full:  # the answer to the subscription stood behind all that had waited
            client.pause()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect. A connection that is lost already is no error."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def __aiter__(self) -> AsyncIterator[Heard]:
        """What was read and when it was handled, in the order of arrival; every second, if only that nothing was.

        Raises LinkDown when the broker is gone and everything that it sent was given.
        """
        client = self._client
        if client is None:
            raise LinkDown("not connected")
        while True:
            await client.wait(TICK_S)
            messages = self._inbox.take(BATCH_MESSAGES_MAX)
            if not messages and client.is_lost:
                raise LinkDown(f"{self._name}: {client.reason}")
            moment = self._now()
            items = [item for message in messages for item in self._read(message, moment)]
            self._count()
            deliveries = tuple(message for message in (*messages, *self._inbox.take_dropped()) if message.qos)
            yield Heard(items, moment, deliveries, self._connection)

    def now(self) -> Moment:
        """The present moment of handling."""
        return self._now()

    def confirm(self, heard: Heard) -> None:
        """Tell the broker that it may forget these; what came over an earlier connection it delivers again anyway."""
        if self._client is not None and heard.connection == self._connection:
            self.counts.confirmed += self._client.confirm(heard.deliveries)

    def hang_up(self) -> None:
        """Let the broker deliver again what was not confirmed: the present iteration ends with LinkDown."""
        if self._client is not None:
            self._client.hang_up()

    @property
    def _name(self) -> str:
        return f"the broker at {self._broker.host}:{self._broker.port}"

    def _tls(self) -> ssl.SSLContext | None:
        try:
            return tls_context(self._broker, self._folder)
        except ConfigurationError as error:  # a certificate is being renewed: the next try finds it whole
            raise LinkDown(str(error)) from error

    def _read(self, message: aiomqtt.Message, moment: Moment) -> list[Item]:
        return self._reader.read(str(message.topic), message.payload, moment, retained=bool(message.retain))

    def _count(self) -> None:
        self.counts.overflowed = self._inbox.overflowed
        if self._inbox.oversized:
            self.counts.rejected["too large"] = self._inbox.oversized
        if self._inbox.unreadable:
            self.counts.rejected["topic is no text"] = self._inbox.unreadable

    def _pause(self) -> None:
        if self._client is not None:
            self._client.pause()

    def _resume(self) -> None:
        if self._client is not None:
            self._client.resume()

    async def _subscribe(self, client: BrokerClient) -> None:
        try:
            refused = await client.listen_to(self._reader.topics)
        except aiomqtt.MqttError as error:
            raise LinkDown(f"{self._name} took no subscription: {error}") from error
        if refused:
            raise LinkDown(f"{self._name} refused the subscription to {refused[0]}")
