"""One connection to a broker, on aiomqtt: MQTT 3.1.1 or 5, TLS, messages confirmed by hand, reading that can pause.

aiomqtt confirms a QoS 1 message as soon as it has put it into its queue. paho, below it, can leave that to its user
(`manual_ack`); this subclass is the one place that reaches through to it.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import aiomqtt
from aiomqtt.types import PahoSocket
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, DisconnectFlags, MQTTMessage
from paho.mqtt.client import Client as Paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from devices.errors import ConfigurationError, Problem
from devices.messages.payload import PAYLOAD_BYTES_MAX
from edge.config import MqttBroker
from edge.drivers.mqtt_inbox import Inbox

TIMEOUT_S = 10.0
KEEPALIVE_S = 15
SESSION_KEPT_S = 7 * 24 * 3600  # MQTT 5: how long the broker keeps what waits for an agent that is away
UNCONFIRMED_MAX = 1_000  # MQTT 5: QoS 1 messages on their way before the journal has the first of them
PACKET_BYTES_MAX = PAYLOAD_BYTES_MAX + 128 * 1024  # MQTT 5: with the longest topic and some properties
QOS = 1

_silent = logging.getLogger("gatehouse.mqtt")  # what fails is raised as LinkDown or counted
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


def tls_context(broker: MqttBroker, folder: Path) -> ssl.SSLContext | None:
    """How to speak TLS to this broker, None for plain TCP. Paths start from `folder`.

    Raises ConfigurationError when a file cannot be read or is not what it should be.
    """
    if not broker.speaks_tls:
        return None
    at = broker.ca_file or ""
    try:
        context = ssl.create_default_context(cafile=folder / at if at else None)
        if broker.cert_file is not None:
            at = broker.cert_file
            key_file = folder / broker.key_file if broker.key_file is not None else None
            context.load_cert_chain(folder / broker.cert_file, key_file, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = error.strerror if isinstance(error, FileNotFoundError) else error
        raise ConfigurationError([Problem(str(folder / at), 0, 0, f"not usable for TLS: {reason}")]) from error
    context.sslsocket_class = _ClosedWhenRefused
    return context


class _ClosedWhenRefused(ssl.SSLSocket):
    """paho forgets a socket whose handshake failed."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 (as the standard library has it)
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _no_password() -> str:
    """Instead of OpenSSL's own question on the terminal, which nobody would answer."""
    raise ValueError("the private key is encrypted; give one that is not, readable by the agent alone")


class BrokerClient(aiomqtt.Client):
    """A connection whose session the broker keeps, so that messages wait for an agent that is away.

    Without `keep_session` the broker forgets it at once.
    """

    def __init__(
        self,
        broker: MqttBroker,
        identifier: str,
        inbox: Inbox,
        tls: ssl.SSLContext | None,
        *,
        keep_session: bool = True,
    ) -> None:
        self._is_5 = broker.version == 5
        properties = None
        if self._is_5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_KEPT_S if keep_session else 0
            properties.ReceiveMaximum = UNCONFIRMED_MAX
            properties.MaximumPacketSize = PACKET_BYTES_MAX
        super().__init__(
            broker.host,
            broker.port,
            username=None if broker.username is None else broker.username.reveal(),
            password=None if broker.password is None else broker.password.reveal(),
            logger=_silent,
            identifier=identifier,
            protocol=aiomqtt.ProtocolVersion.V5 if self._is_5 else aiomqtt.ProtocolVersion.V311,
            clean_session=None if self._is_5 else not keep_session,
            clean_start=False if self._is_5 else MQTT_CLEAN_START_FIRST_ONLY,
            properties=properties,
            timeout=TIMEOUT_S,
            keepalive=KEEPALIVE_S,
            queue_type=cast("type[asyncio.Queue[aiomqtt.Message]]", lambda maxsize: inbox),  # noqa: ARG005
            tls_context=tls,
        )
        self._client.manual_ack_set(on=True)
        self._inbox = inbox
        self._arrived = asyncio.Event()
        self._socket: PahoSocket | None = None
        inbox.on_arrival = self._arrived.set

    async def close(self) -> None:
        """Disconnect. A connection that is lost already is no error."""
        try:
            await self.__aexit__(None, None, None)
        except aiomqtt.MqttError as lost:
            _silent.debug("disconnected already: %s", lost)

    @property
    def is_lost(self) -> bool:
        """Whether the connection ended."""
        return self._disconnected.done()

    @property
    def reason(self) -> str:
        """Why it ended."""
        error = self._disconnected.exception() if self._disconnected.done() else None
        return str(error) if error is not None else "disconnected"

    async def wait(self, seconds: float) -> None:
        """Until something is in the inbox, the connection is lost, or the time is over."""
        if len(self._inbox) or self.is_lost:
            return
        self._arrived.clear()
        arrival: asyncio.Future[Any] = asyncio.ensure_future(self._arrived.wait())
        lost: asyncio.Future[Any] = self._disconnected
        try:
            await asyncio.wait({arrival, lost}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrival.cancel()

    async def listen_to(self, topics: list[str]) -> list[str]:
        """Subscribe; the topics that the broker refused. Retained messages come again. Raises aiomqtt.MqttError."""
        options = [(topic, SubscribeOptions(qos=QOS) if self._is_5 else QOS) for topic in topics]
        granted = await self.subscribe(cast("list[tuple[str, int]]", options))
        return [topic for topic, code in zip(topics, granted, strict=True) if _is_failure(code)]

    def confirm(self, messages: Sequence[aiomqtt.Message]) -> int:
        """Tell the broker that it may forget these; how many. Where the connection is lost they come again."""
        if self.is_lost:
            return 0
        return sum(self._client.ack(message.mid, message.qos) == MQTTErrorCode.MQTT_ERR_SUCCESS for message in messages)

    def hang_up(self) -> None:
        """End the connection; the broker delivers again what was not confirmed."""
        self._client.disconnect()

    def pause(self) -> None:
        """Read no more from the socket until `resume`. The keepalive goes on counting."""
        if self._socket is not None and self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())

    def resume(self) -> None:
        """Read on."""
        if self._socket is not None and self._socket.fileno() >= 0 and not self.is_lost:
            self._loop.add_reader(self._socket.fileno(), self._read)

    def _on_socket_open(self, client: Paho, userdata: Any, sock: PahoSocket) -> None:
        super()._on_socket_open(client, userdata, sock)
        self._socket = sock

    def _on_disconnect(
        self, client: Paho, userdata: Any, flags: DisconnectFlags, reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:  # fmt: skip
        """A broker that closes before it accepted (TLS 1.3: the client certificate) is not waited for."""
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("closed before the connection was accepted"))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_message(self, client: Paho, userdata: Any, message: MQTTMessage) -> None:
        """A topic that is no text is refused by itself; it does not cost the connection."""
        try:
            super()._on_message(client, userdata, message)
        except ValueError:
            self._inbox.unreadable += 1
            self._client.ack(message.mid, message.qos)

    def _read(self) -> None:
        """As aiomqtt's own reader, which it keeps to itself."""
        reading: Callable[[], object] = self._client.loop_read
        try:
            reading()
            while isinstance(self._socket, ssl.SSLSocket) and self._socket.fileno() >= 0 and self._socket.pending():
                reading()
        except (OSError, ValueError) as error:
            if not self._disconnected.done():
                self._disconnected.set_exception(error)


def _is_failure(code: object) -> bool:
    return (code if isinstance(code, int) else getattr(code, "value", 0)) >= 0x80
