"""A notification channel: an input of the kind `channel`, whose id is what people name in their `channels`.

    {"name": "Night desk", "type": "feishu", "url": "https://open.feishu.cn/...", "secrets": ["..."]}

Types: `apprise` (any Apprise URL: mailtos://, tgram://, ...), `webhook` (Standard Webhooks 1.0), `dingtalk`, `feishu`,
`wecom` (the robot's own URL), `mqtt` (mqtt://user:password@host:1883/topic).
"""

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from cloud.alerts.outbox import Notification
from devices.rules import Severity

KIND = "channel"
HTTP_TYPES = frozenset({"webhook", "dingtalk", "feishu", "wecom"})
Secret = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How somebody is reached. `secrets` are the signing keys: two while one takes the place of the other.

    `listens`: told of everything at its site from `severity` on, not only when a person names it. `allow_private`: it
    may be an address of a private network, where a webhook could otherwise be made to knock on our own doors.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    type: Literal["apprise", "webhook", "dingtalk", "feishu", "wecom", "mqtt"]
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
    secrets: Annotated[tuple[Secret, ...], msgspec.Meta(max_length=2)] = ()
    language: Literal["en", "zh-CN"] = "en"
    listens: bool = False
    severity: Severity = Severity.YELLOW
    allow_private: bool = False

    @property
    def shown_url(self) -> str:
        """What may be shown of the address: tokens stand in paths and queries."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname or ''}/…"

    def wants(self, notification: Notification) -> bool:
        """Whether it is told although nobody named it."""
        return self.listens and notification.severity.rank >= self.severity.rank


def parse_channel(document: str | bytes) -> Channel:
    """A channel from its document. Raises msgspec.ValidationError saying what is wrong and where."""
    channel = msgspec.json.decode(document, type=Channel)
    parts = urlsplit(channel.url)
    if channel.type in HTTP_TYPES and (parts.scheme not in {"http", "https"} or not parts.hostname):
        raise msgspec.ValidationError("expected an https address - at `$.url`")
    if channel.type == "mqtt" and (parts.scheme not in {"mqtt", "mqtts"} or not parts.path.strip("/")):
        raise msgspec.ValidationError("expected mqtt://host/topic - at `$.url`")
    if channel.type == "webhook" and not channel.secrets:
        raise msgspec.ValidationError("a webhook needs a secret to sign with - at `$.secrets`")
    if channel.type == "webhook" and not all(secret.startswith("whsec_") for secret in channel.secrets):
        raise msgspec.ValidationError("expected whsec_ and base64 - at `$.secrets`")
    return channel
