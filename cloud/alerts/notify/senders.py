"""The ways out: one sender a type of channel. Each takes what waits for it, oldest first, and says how much it took."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import unquote, urlsplit

import aiomqtt
import apprise
import msgspec
from standardwebhooks import Webhook

from cloud.alerts.notify import bots
from cloud.alerts.notify.channels import Channel
from cloud.alerts.notify.outgoing import TIMEOUT_S, NotYet, Refused, Unreachable, checked_address, post
from cloud.alerts.notify.texts import Message
from cloud.alerts.outbox import Notification

WECOM_PER_MINUTE = 18  # of 20, since clocks differ
WECOM_ALONE = 10  # so many messages of a minute come one by one, those after them in digests
MINUTE_MS = 60_000
ROBOTS_MAX = 1_000  # robots whose last minute is remembered
WEBHOOK_BYTES_MAX = 20_000
APPRISE_S = 60.0
_JSON = {"Content-Type": "application/json; charset=utf-8"}


class Parcel(msgspec.Struct, frozen=True):
    """A notification with its words."""

    notification: Notification
    message: Message


class ChannelSender(Protocol):
    """Delivers on one channel."""

    async def send(self, parcels: Sequence[Parcel]) -> int:
        """Deliver the first of these, or some of the first; how many. Raises Refused or Unreachable."""


class Senders:
    """Makes the senders of a process: those to one robot share what it takes in a minute."""

    def __init__(self) -> None:
        self._sent: dict[str, deque[int]] = {}

    def __call__(self, channel: Channel, now: Callable[[], int]) -> ChannelSender:
        """The sender for a channel."""
        if channel.type != "wecom":
            return sender_of(channel, now)
        if len(self._sent) >= ROBOTS_MAX:  # what was sent over a minute ago no longer counts
            over_ms = now() - MINUTE_MS
            self._sent = {url: sent for url, sent in self._sent.items() if sent and sent[-1] > over_ms}
        return _WeCom(channel, now, self._sent.setdefault(channel.url, deque(maxlen=WECOM_PER_MINUTE)))


def sender_of(channel: Channel, now: Callable[[], int]) -> ChannelSender:
    """The sender for a channel, with nothing sent before."""
    match channel.type:
        case "apprise":
            return _Apprise(channel)
        case "webhook":
            return _Webhook(channel, now)
        case "mqtt":
            return _Mqtt(channel)
        case "wecom":
            return _WeCom(channel, now, deque(maxlen=WECOM_PER_MINUTE))
        case _:
            return _Bot(channel, now)


class _Bot:
    """DingTalk and Feishu: a message each."""

    def __init__(self, channel: Channel, now: Callable[[], int]) -> None:
        self._channel = channel
        self._now = now

    async def send(self, parcels: Sequence[Parcel]) -> int:
        channel = self._channel
        make = bots.dingtalk if channel.type == "dingtalk" else bots.feishu
        secret = channel.secrets[0] if channel.secrets else None
        request = make(channel.url, secret, parcels[0].message, self._now())
        answer = await post(request.url, request.body, _JSON, allow_private=channel.allow_private)
        bots.check_answer(channel.type, answer)
        return 1


class _WeCom:
    """Twenty messages a minute for a robot: the first of a minute one by one, what comes after them in digests.

    `sent` is when messages went to this robot, by whichever channel.
    """

    def __init__(self, channel: Channel, now: Callable[[], int], sent: deque[int]) -> None:
        self._channel = channel
        self._now = now
        self._sent = sent

    async def send(self, parcels: Sequence[Parcel]) -> int:
        now_ms = self._now()
        recent = sum(1 for sent_ms in self._sent if now_ms - sent_ms < MINUTE_MS)
        if recent >= WECOM_PER_MINUTE:
            raise NotYet(self._sent[0] + MINUTE_MS - now_ms)
        messages = [parcel.message for parcel in parcels]
        count = 1 if recent < WECOM_ALONE else bots.wecom_digest(messages)
        self._sent.append(now_ms)
        request = bots.wecom(self._channel.url, messages[:count])
        answer = await post(request.url, request.body, _JSON, allow_private=self._channel.allow_private)
        bots.check_answer("wecom", answer)
        return count


class _Webhook:
    """Standard Webhooks 1.0: signed by every secret there is, the same id however often it is tried."""

    def __init__(self, channel: Channel, now: Callable[[], int]) -> None:
        self._channel = channel
        self._now = now

    async def send(self, parcels: Sequence[Parcel]) -> int:
        notification = parcels[0].notification
        at = datetime.fromtimestamp(self._now() / 1000, UTC)
        body = webhook_body(notification)
        signatures = [Webhook(secret).sign(notification.id, at, body.decode()) for secret in self._channel.secrets]
        headers = {
            **_JSON,
            "webhook-id": notification.id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
        await post(self._channel.url, body, headers, allow_private=self._channel.allow_private)
        return 1


def webhook_body(notification: Notification) -> bytes:
    """`{type, timestamp, data}`, below 20 KB: lines that do not fit are counted in `more`."""
    kind = notification.event or "io.gatehouse.alerts"
    at = datetime.fromtimestamp(notification.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    lines = notification.lines
    while True:
        left = len(notification.lines) - len(lines)
        shown = msgspec.structs.replace(notification, lines=lines, more=notification.more + left)
        body = msgspec.json.encode({"type": kind, "timestamp": at.replace("+00:00", "Z"), "data": shown})
        if len(body) < WEBHOOK_BYTES_MAX or not lines:
            return body
        lines = lines[: len(lines) // 2]


class _Mqtt:
    """The webhook's body on a topic, QoS 1."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def send(self, parcels: Sequence[Parcel]) -> int:
        parts = urlsplit(self._channel.url)
        secure = parts.scheme == "mqtts"
        port = parts.port or (8883 if secure else 1883)
        host = parts.hostname or ""
        await checked_address(host, port, allow_private=self._channel.allow_private)
        try:
            async with aiomqtt.Client(
                host,
                port,
                username=unquote(parts.username) if parts.username else None,
                password=unquote(parts.password) if parts.password else None,
                tls_params=aiomqtt.TLSParameters() if secure else None,
                timeout=TIMEOUT_S,
            ) as client:
                await client.publish(parts.path.strip("/"), webhook_body(parcels[0].notification), qos=1)
        except aiomqtt.MqttError as error:
            raise Unreachable(f"{host}: {error}") from error
        return 1


def host_of(plugin: apprise.NotifyBase) -> str:
    """Where the service connects to, empty where that is its own address: `host` is a token there, or a topic."""
    if "host" not in plugin.template_tokens or getattr(plugin, "mode", "") == "cloud":
        return ""
    return str(getattr(plugin, "smtp_host", "") or getattr(plugin, "host", "") or "")


class _Apprise:
    """Everything else that Apprise knows; it waits and blocks, so it works in a thread."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def send(self, parcels: Sequence[Parcel]) -> int:
        asset = apprise.AppriseAsset(http_redirects=False, app_id="Gatehouse", app_desc="Gatehouse", async_mode=False)
        plugin = apprise.Apprise.instantiate(self._channel.url, asset=asset, suppress_exceptions=True)
        if plugin is None:
            raise Refused("Apprise does not know this address")
        if host := host_of(plugin):
            await checked_address(host, getattr(plugin, "port", None) or 443, allow_private=self._channel.allow_private)
        message = parcels[0].message
        sending = asyncio.to_thread(plugin.notify, body=message.text, title=message.title, body_format="text")
        try:
            sent = await asyncio.wait_for(sending, APPRISE_S)
        except TimeoutError:
            raise Unreachable(f"no answer within {APPRISE_S:.0f} s") from None
        if not sent:
            raise Unreachable("Apprise could not deliver; it does not say why")
        return 1
