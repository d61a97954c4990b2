"""Robots of three chat services: what is sent to them, and what their answers mean. Pure.

Own code because of what Apprise 2.2 does: it quotes DingTalk's signature twice and takes a refusal in the body for a
success, it cannot sign for Feishu, and it knows nothing of WeCom's 20 messages a minute.
Sources: DingTalk open platform, custom robot access and security settings; Feishu open platform, custom bot guide;
WeCom developer centre, group robot configuration.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cloud.alerts.notify.outgoing import Refused, Unreachable
from cloud.alerts.notify.texts import Message

WECOM_BYTES_MAX = 4_000  # of 4,096; the rest is left for what was cut
FEISHU_BYTES_MAX = 18_000  # of 20 KB for the whole request
DINGTALK_BYTES_MAX = 18_000
_CUT = "…"


@dataclass(frozen=True, slots=True)
class BotRequest:
    """One request to a robot."""

    url: str
    body: bytes


def dingtalk_sign(secret: str, time_ms: int) -> str:
    """HMAC-SHA256 with the secret over time and secret, base64."""
    return _base64(hmac.new(secret.encode(), f"{time_ms}\n{secret}".encode(), hashlib.sha256))


def feishu_sign(secret: str, time_s: int) -> str:
    """HMAC-SHA256 of nothing, with time and secret as the key, base64. Not the same as DingTalk's."""
    return _base64(hmac.new(f"{time_s}\n{secret}".encode(), b"", hashlib.sha256))


def dingtalk(url: str, secret: str | None, message: Message, now_ms: int) -> BotRequest:
    """Markdown, signed in the address when there is a secret."""
    if secret is not None:
        glue = "&" if "?" in url else "?"
        url = f"{url}{glue}timestamp={now_ms}&sign={quote(dingtalk_sign(secret, now_ms), safe='')}"
    text = cut(f"### {message.title}\n\n" + "\n\n".join(message.lines), DINGTALK_BYTES_MAX)
    if message.link:
        text += f"\n\n[{message.link}]({message.link})"
    return _request(url, {"msgtype": "markdown", "markdown": {"title": message.title, "text": text}})


def feishu(url: str, secret: str | None, message: Message, now_ms: int) -> BotRequest:
    """A card with a button, signed in the body when there is a secret."""
    elements: list[dict[str, Any]] = [{"tag": "markdown", "content": cut("\n".join(message.lines), FEISHU_BYTES_MAX)}]
    if message.link:
        button = {"tag": "button", "text": {"tag": "plain_text", "content": "Gatehouse"}, "url": message.link}
        elements.append({"tag": "action", "actions": [{**button, "type": "primary"}]})
    card = {"header": {"title": {"tag": "plain_text", "content": message.title}}, "elements": elements}
    body: dict[str, Any] = {"msg_type": "interactive", "card": card}
    if secret is not None:
        time_s = now_ms // 1000
        body |= {"timestamp": str(time_s), "sign": feishu_sign(secret, time_s)}
    return _request(url, body)


def wecom(url: str, messages: Sequence[Message]) -> BotRequest:
    """Markdown; several messages become one digest, each with its title."""
    if len(messages) == 1:
        [one] = messages
        parts = [f"**{one.title}**", *one.lines, *([f"[Gatehouse]({one.link})"] if one.link else [])]
    else:
        parts = [f"> {one.title}" for one in messages]
    return _request(url, {"msgtype": "markdown", "markdown": {"content": cut("\n".join(parts), WECOM_BYTES_MAX)}})


def wecom_digest(messages: Sequence[Message]) -> int:
    """How many of these fit into one digest with nothing cut; at least one."""
    taken = 0
    for count, message in enumerate(messages, 1):
        taken += len(f"> {message.title}\n".encode())
        if taken > WECOM_BYTES_MAX:
            return max(count - 1, 1)
    return len(messages)


def check_answer(kind: str, answer: bytes) -> None:
    """Robots answer 200 with their refusal in the body. Raises Refused or Unreachable."""
    try:
        said = json.loads(answer)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise Unreachable(f"{kind}: the answer is not what a robot says")
    code = said.get("errcode", said.get("code", said.get("StatusCode", 0)))
    if code == 0:
        return
    reason = str(said.get("errmsg") or said.get("msg") or "")[:200]
    busy = {"dingtalk": {-1, 130101, 410100}, "feishu": {11232, 9499}, "wecom": {-1, 45009}}
    raise (Unreachable if code in busy.get(kind, set()) else Refused)(f"{kind} answered {code}: {reason}")


def cut(text: str, bytes_max: int) -> str:
    """The text, cut between characters where it is too long."""
    data = text.encode()
    if len(data) <= bytes_max:
        return text
    return data[: bytes_max - len(_CUT.encode())].decode(errors="ignore") + _CUT


def _request(url: str, body: object) -> BotRequest:
    return BotRequest(url, json.dumps(body, ensure_ascii=False).encode())


def _base64(digest: "hmac.HMAC") -> str:
    return base64.b64encode(digest.digest()).decode()
