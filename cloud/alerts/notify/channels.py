"""A notification channel: an input of the kind `channel`, whose id is what people name in their `channels`.

    {"name": "Night desk", "type": "feishu", "url": "https://open.feishu.cn/...", "secrets": ["..."]}

Types: `apprise` (an Apprise URL of a scheme listed here: mailtos://, tgram://, ...), `webhook` (Standard Webhooks
1.0), `dingtalk`, `feishu`,
`wecom` (the robot's own URL), `mqtt` (mqtt://user:password@host:1883/topic).
"""

import re
from typing import Annotated, Literal
from urllib.parse import SplitResult, unquote, urlsplit

import httpx
import msgspec
from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from cloud.alerts.outbox import Notification
from devices.rules import Severity

KIND = "channel"
WORK_ORDER_TYPES = frozenset({"webhook", "mqtt"})  # where a work-order system may listen; chats hear by name only
HTTP_TYPES = frozenset({"webhook", "dingtalk", "feishu", "wecom"})
# Of Apprise's services those that only post to their own host, or to the one that stands in the address and is checked.
# Others read files, talk to this machine (syslog, dbus) or go where a server sends them.
APPRISE_HOSTED = frozenset(
    [
        "mailto",
        "mailtos",
        "bark",
        "barks",
        "ntfy",
        "ntfys",
        "gotify",
        "gotifys",
        "json",
        "jsons",
        "xml",
        "xmls",
        "form",
        "forms",
        "mmost",
        "mmosts",
        "rocket",
        "rockets",
        "workflow",
        "workflows",
    ]
)
APPRISE_BY_TOKEN = frozenset(
    [
        "tgram",
        "slack",
        "discord",
        "schan",
        "pushplus",
        "twilio",
        "pover",
        "pbul",
        "wxpusher",
        "dingtalk",
        "feishu",
        "lark",
        "wecombot",
    ]
)
# Options that make Apprise read a file or fetch what the address says; `pgp...` too.
APPRISE_REFUSED = frozenset({"attach", "keyfile", "subfile", "template", "wkd"})
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
        """What may be shown of the address: tokens stand in paths and queries, with some services also as the host."""
        parts = urlsplit(self.url)
        ntfy_topic = parts.scheme in {"ntfy", "ntfys"} and not parts.path.strip("/")
        if self.type == "apprise" and (parts.scheme not in APPRISE_HOSTED or ntfy_topic):
            return f"{parts.scheme}://…"
        return f"{parts.scheme}://{parts.hostname or ''}/…"

    def wants(self, notification: Notification) -> bool:
        """Whether it is told although nobody named it. Of work orders only what other systems listen to."""
        if notification.kind == "work-order" and self.type not in WORK_ORDER_TYPES:
            return False
        return self.listens and notification.severity.rank >= self.severity.rank


def parse_channel(document: str | bytes) -> Channel:
    """A channel from its document. Raises msgspec.ValidationError saying what is wrong and where."""
    channel = msgspec.json.decode(document, type=Channel)
    try:
        problem = _problem_of_address(channel)
    except (ValueError, httpx.InvalidURL) as error:
        problem = str(error)
    if problem:
        raise msgspec.ValidationError(f"{problem} - at `$.url`")
    if channel.type == "webhook":
        _check_secrets(channel)
    return channel


def _problem_of_address(channel: Channel) -> str:
    """What is wrong with the address, empty if nothing. Raises ValueError, httpx.InvalidURL."""
    if not channel.url.isprintable():
        return "expected an address without control characters"
    parts = urlsplit(channel.url)
    if channel.type == "apprise":
        return _problem_of_apprise(channel.url, parts)
    host = parts.hostname or ""
    try:
        host.encode("idna")
    except UnicodeError:
        return f"{host[:80]} cannot be the name of a host"
    if parts.port == 0:
        return "expected a port from 1 to 65535"
    if channel.type == "mqtt":
        topic = parts.path.strip("/")
        usable = parts.scheme in {"mqtt", "mqtts"} and host and topic and "+" not in topic and not parts.fragment
        return "" if usable else "expected mqtt://host/topic"
    httpx.URL(channel.url)
    return "" if parts.scheme in {"http", "https"} and host else "expected an https address"


def _problem_of_apprise(url: str, parts: SplitResult) -> str:
    if parts.scheme not in APPRISE_HOSTED | APPRISE_BY_TOKEN:
        return f"{parts.scheme or 'nothing'} is no scheme of Apprise that can be used here"
    for option in re.split(r"[?&;#]", url)[1:]:
        name = unquote(option.partition("=")[0]).strip("+-: ").lower()
        if name in APPRISE_REFUSED or name.startswith("pgp"):
            return f"the option {name} cannot be used here"
    return ""


def _check_secrets(channel: Channel) -> None:
    if not channel.secrets:
        raise msgspec.ValidationError("a webhook needs a secret to sign with - at `$.secrets`")
    for secret in channel.secrets:
        try:
            usable = secret.startswith("whsec_") and Webhook(secret) is not None
        except (ValueError, EmptyWebhookSecretError):
            usable = False
        if not usable:
            raise msgspec.ValidationError("expected whsec_ and base64 - at `$.secrets`")
