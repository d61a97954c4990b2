"""Notifications: to real receivers over real sockets, with words in both languages, retries and a log."""

import asyncio
import base64
import email
import email.policy
import json
from collections.abc import Mapping
from pathlib import Path

import aiomqtt
import apprise
import pytest
from fastapi import Response
from standardwebhooks import Webhook, WebhookVerificationError

from cloud.alerts.notify import bots
from cloud.alerts.notify.channels import Channel, parse_channel
from cloud.alerts.notify.deliveries import RETRY_MS, Delivery, Try
from cloud.alerts.notify.outgoing import Refused, Unreachable, checked_address, post
from cloud.alerts.notify.senders import WEBHOOK_BYTES_MAX, Parcel, host_of, sender_of, webhook_body
from cloud.alerts.notify.texts import Message, Site, message_of
from cloud.alerts.outbox import Line, Notification
from devices.rules import Severity
from tests.brokers import Mosquitto, free_port
from tests.cloud.receivers import Receiver, mail_server, receiving

NOW_MS = 1_780_000_000_000
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
SITE = Site("jinji-lake", {"pump-3": {"en": "Fire pump 3", "zh-CN": "消防泵 3"}, "jinji-lake": {"en": "Jinji Lake"}})


def line(thing: str = "pump-3", **other: object) -> Line:
    given = {"alert": "al_1", "rule": "equipment-fault-a", "thing": thing, "severity": Severity.RED, "what": "opened",
             "since_ms": NOW_MS, "text": "alert.equipment_fault", "parameters": {"thing": thing}}  # fmt: skip
    return Line(**{**given, **other})  # type: ignore[arg-type]


def notification(number: int = 0, **other: object) -> Notification:
    given = {"id": f"nt_{number:026d}", "site": "jinji-lake", "kind": "alerts", "at_ms": NOW_MS + number,
             "severity": Severity.RED, "lines": (line(),)}  # fmt: skip
    return Notification(**{**given, **other})  # type: ignore[arg-type]


def parcel(number: int = 0, language: str = "en", **other: object) -> Parcel:
    one = notification(number, **other)
    return Parcel(one, message_of(one, SITE, language))


def channel(kind: str, url: str, *secrets: str, **other: object) -> Channel:
    document = {"name": kind, "type": kind, "url": url, "secrets": secrets, "allow_private": True, **other}
    return parse_channel(json.dumps(document))


# --- words -------------------------------------------------------------------------------------------------


def test_a_message_says_colour_site_thing_since_and_how_many_more_in_both_languages() -> None:
    lines = (line(muted=200, count=3), line("pump-4", what="cleared", cleared_ms=NOW_MS + 60_000))
    english = message_of(notification(lines=lines), SITE, "en")
    chinese = message_of(notification(lines=lines), SITE, "zh-CN")

    assert english.title == "[RED] Jinji Lake: Fire pump 3 and 1 more (+200)"
    assert "Fire pump 3 reports a fault" in english.lines[0]
    assert english.lines[0].endswith("3 times, +200 muted")
    assert "over at 05-28 20:27:40" in english.lines[1]
    assert "消防泵 3" in chinese.title
    assert "+200" in chinese.title


def test_a_work_order_says_thing_matter_step_and_due_in_both_languages() -> None:
    data = {"thing": "pump-3", "title": "Leak", "step": "assigned", "due": "2026-06-01T08:00:00.000Z", "owner": "li"}
    order = notification(kind="work-order", lines=(), event="io.gatehouse.rectification.overdue", data=data)
    bare = notification(kind="work-order", lines=(), event="io.gatehouse.rectification.reported", data={"thing": None})

    english, chinese = message_of(order, SITE, "en"), message_of(order, SITE, "zh-CN")
    assert english.title == "Jinji Lake: work order"
    assert english.lines == ("Fire pump 3 – Leak: step Assigned, due 06-01 08:00:00, overdue",)
    assert chinese.lines == ("消防泵 3 – Leak：已派工，期限 06-01 08:00:00，已逾期",)
    assert message_of(bare, SITE, "en").lines == ("Jinji Lake",)


def test_a_drill_says_so_first() -> None:
    assert message_of(notification(drill=True), SITE, "en").title.startswith("DRILL ")
    assert message_of(notification(drill=True), SITE, "zh-CN").title.startswith("【演练】")


# --- signatures and limits ---------------------------------------------------------------------------------


def test_signatures_of_dingtalk_and_feishu_match_fixed_vectors() -> None:
    # made with: printf '1780000000000\nSEC-night' | openssl dgst -sha256 -hmac SEC-night -binary | base64
    assert bots.dingtalk_sign("SEC-night", 1_780_000_000_000) == "ySomz3JvqButoBQ+rtIq/Lt2NRcsMfwudubT/SszlXc="
    # made with: printf '' | openssl dgst -sha256 -hmac "$(printf '1780000000\nfs-night')" -binary | base64
    assert bots.feishu_sign("fs-night", 1_780_000_000) == "FaI+Y9uk0X1eYE1Y0MCBePOzgvCIueHQuB8B9hYPizk="


def test_a_text_is_cut_between_characters() -> None:
    assert bots.cut("消防泵", 9) == "消防泵"
    assert bots.cut("消防泵消防泵", 10) == "消防…"
    assert len(bots.wecom("https://x", [Message("n", "t", ("泵" * 4_000,))]).body) < 5_000


async def test_dingtalk_is_signed_once_and_a_refusal_in_a_200_is_a_refusal() -> None:
    async with receiving() as receiver:
        sender = sender_of(channel("dingtalk", f"{receiver.address}/robot?access_token=t", "SEC-night"), lambda: NOW_MS)
        await sender.send([parcel()])
        receiver.answer = lambda _: Response('{"errcode":310000,"errmsg":"sign not match"}')
        with pytest.raises(Refused, match="sign not match"):
            await sender.send([parcel()])

    [first, _] = receiver.requests
    assert first.query == {
        "access_token": "t", "timestamp": str(NOW_MS), "sign": bots.dingtalk_sign("SEC-night", NOW_MS),
    }  # fmt: skip
    assert json.loads(first.body)["markdown"]["title"] == "[RED] Jinji Lake: Fire pump 3"


async def test_feishu_gets_a_signed_card() -> None:
    async with receiving() as receiver:
        await sender_of(channel("feishu", f"{receiver.address}/hook", "fs-night"), lambda: NOW_MS).send([parcel()])

    body = json.loads(receiver.requests[0].body)
    assert (body["timestamp"], body["sign"]) == (str(NOW_MS // 1000), bots.feishu_sign("fs-night", NOW_MS // 1000))
    assert body["card"]["header"]["title"]["content"] == "[RED] Jinji Lake: Fire pump 3"


async def test_a_webhook_verifies_keeps_its_id_and_a_tampered_body_fails() -> None:
    second = "whsec_" + base64.b64encode(b"another-secret-of-thirty-two-byt").decode()
    async with receiving() as receiver:
        sender = sender_of(channel("webhook", f"{receiver.address}/hook", SECRET, second), now_of_this_machine)
        await sender.send([parcel()])
        await sender.send([parcel()])

    first, again = receiver.requests
    for secret in (SECRET, second):  # while one takes the place of the other, both verify
        said = Webhook(secret).verify(first.body, first.headers)
        assert said["data"]["lines"][0]["thing"] == "pump-3"
    assert first.headers["webhook-id"] == again.headers["webhook-id"] == notification().id
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(first.body.replace(b"pump-3", b"pump-4"), first.headers)


def now_of_this_machine() -> int:
    import time

    return time.time_ns() // 1_000_000


def test_a_webhook_stays_below_its_size_and_counts_what_does_not_fit() -> None:
    lines = tuple(line(f"thing-{number}", parameters={"x": "y" * 900}) for number in range(50))
    body = webhook_body(notification(lines=lines))
    data = json.loads(body)["data"]

    assert len(body) < WEBHOOK_BYTES_MAX
    assert len(data["lines"]) + data["more"] == 50


async def test_mqtt_publishes_to_a_real_broker(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    await broker.start()
    try:
        async with aiomqtt.Client("127.0.0.1", broker.port) as listener:
            await listener.subscribe("ops/alerts", qos=1)
            await sender_of(channel("mqtt", f"mqtt://127.0.0.1:{broker.port}/ops/alerts"), lambda: NOW_MS).send(
                [parcel()]
            )
            async with asyncio.timeout(20):
                message = await anext(aiter(listener.messages))
    finally:
        await broker.stop()

    assert json.loads(bytes(message.payload))["data"]["id"] == notification().id


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # Apprise's own, gone with Python 3.13
async def test_apprise_delivers_a_mail_to_a_real_server() -> None:
    port = free_port()
    with mail_server(port) as mailbox:
        url = f"mailto://127.0.0.1:{port}?from=gatehouse@example.com&to=li@example.com&mode=insecure"
        await sender_of(channel("apprise", url), lambda: NOW_MS).send([parcel()])

    [raw] = mailbox.mails
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert mail["subject"] == "[RED] Jinji Lake: Fire pump 3"
    assert "reports a fault" in str(mail.get_body().get_content())  # type: ignore[union-attr]


# --- where messages may go ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "0.0.0.0"],
)
async def test_an_address_of_a_private_network_is_refused_unless_the_channel_allows_it(host: str) -> None:
    with pytest.raises(Refused, match="private network"):
        await checked_address(host, 443, allow_private=False)
    assert await checked_address(host, 443, allow_private=True)


async def test_nobody_is_followed_elsewhere() -> None:
    async with receiving() as other, receiving() as receiver:
        receiver.answer = lambda _: Response(status_code=302, headers={"Location": f"{other.address}/there"})
        with pytest.raises(Refused, match="elsewhere"):
            await post(f"{receiver.address}/here", b"{}", {}, allow_private=True)

    assert other.requests == []


@pytest.mark.parametrize(
    "document",
    [
        {"type": "webhook", "url": "https://example.com"},
        {"type": "webhook", "url": "https://example.com", "secrets": ["plain"]},
        {"type": "feishu", "url": "file:///etc/passwd"},
        {"type": "mqtt", "url": "mqtt://host"},
        {"type": "pigeon", "url": "https://example.com"},
        {"type": "feishu", "url": "https://example.com", "colour": "blue"},
        {"type": "webhook", "url": "https://example.com", "secrets": ["whsec_a"]},
        {"type": "webhook", "url": "https://example.com", "secrets": ["whsec_"]},
        {"type": "webhook", "url": "https://example.com", "secrets": ["whsec_é"]},
        {"type": "feishu", "url": "http://a..b/"},
        {"type": "feishu", "url": f"http://{'a' * 70}.example/"},
        {"type": "feishu", "url": "http://host:99999/"},
        {"type": "feishu", "url": "http://host\x00/"},
        {"type": "feishu", "url": "http://[::1"},
        {"type": "mqtt", "url": "mqtt://host:99999/t"},
        {"type": "mqtt", "url": "mqtt:///t"},
        {"type": "mqtt", "url": "mqtt://host/alerts/+"},
        {"type": "apprise", "url": "mailto://[::1"},
        {"type": "apprise", "url": "syslog://"},
        {"type": "apprise", "url": "fcm://project?keyfile=http://127.0.0.1/"},
        {"type": "apprise", "url": "json://example.com/?KeyFile=/etc/passwd"},
        {"type": "apprise", "url": "mailto://example.com?x=1&pgp%6bey=/etc/passwd"},
        {"type": "apprise", "url": "ntfy://example.com/topic?to=x;attach=http://127.0.0.1/"},
    ],
)
def test_a_channel_that_cannot_work_is_refused_when_it_is_entered(document: Mapping[str, object]) -> None:
    with pytest.raises(ValueError, match=r"at `|Object contains|Invalid enum"):
        parse_channel(json.dumps({"name": "c", **document}))


def test_what_is_shown_of_an_address_holds_no_secret() -> None:
    shown = channel("feishu", "https://user:pass@open.feishu.cn/open-apis/bot/v2/hook/token?x=secret").shown_url

    assert shown == "https://open.feishu.cn/…"
    assert (
        channel("apprise", "mailtos://user:pass@example.com?to=li@example.com").shown_url == "mailtos://example.com/…"
    )
    for scheme in ("tgram", "discord", "pushplus", "schan", "ntfy"):  # what stands where a host would is the secret
        assert channel("apprise", f"{scheme}://token").shown_url == f"{scheme}://…"


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("tgram://123456789:abcdefg_hijklmnop/12315544/", ""),
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", ""),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general", ""),
        ("pushplus://abcdabcdabcdabcdabcdabcdabcdabcd", ""),
        ("ntfy://topic", ""),
        ("ntfy://ntfy.example/topic", "ntfy.example"),
        ("json://example.com/x", "example.com"),
        ("mailto://user:pass@example.com?smtp=10.0.0.1", "10.0.0.1"),
    ],
)
def test_only_what_is_a_host_is_looked_up_for_apprise_not_a_token(url: str, host: str) -> None:
    plugin = apprise.Apprise.instantiate(channel("apprise", url).url, suppress_exceptions=True)

    assert plugin is not None
    assert host_of(plugin) == host


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
async def test_apprise_is_kept_from_private_networks_too() -> None:
    inside = channel("apprise", "mailto://user:pass@example.com?smtp=10.0.0.1", allow_private=False)
    with pytest.raises(Refused, match="private network"):
        await sender_of(inside, lambda: NOW_MS).send([parcel()])


async def test_a_name_that_no_host_can_have_is_refused() -> None:
    with pytest.raises(Refused, match="cannot be asked"):
        await checked_address("a..b", 80, allow_private=True)


@pytest.mark.parametrize("host", ["64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "64:ff9b:1::a00:1"])
async def test_an_address_with_an_ipv4_address_inside_is_not_public(host: str) -> None:
    with pytest.raises(Refused, match="private network"):
        await checked_address(host, 443, allow_private=False)


def test_a_time_that_no_calendar_has_does_not_cost_the_message_its_words() -> None:
    said = message_of(notification(lines=(line(since_ms=10**15), line("pump-4"))), SITE, "en").lines

    assert "1000000000000000 ms" in said[0]
    assert "05-28" in said[1]


# --- retries -----------------------------------------------------------------------------------------------


def test_a_delivery_is_tried_again_less_and_less_often_and_at_last_given_up() -> None:
    one = Delivery(notification(), "c", "waiting", NOW_MS, NOW_MS)
    gaps = []
    while one.status == "waiting":
        at_ms = one.next_ms
        one = one.tried(Try(at_ms, 1, "no answer"), final=False)
        gaps.append(one.next_ms - at_ms)

    assert one.status == "dead"
    assert tuple(gaps[:-1]) == RETRY_MS
    assert Delivery(notification(), "c", "waiting", 0, 0).tried(Try(0, 1, "never"), final=True).status == "dead"


async def test_a_receiver_that_is_not_there_is_tried_again() -> None:
    with pytest.raises(Unreachable):
        await post(f"http://127.0.0.1:{free_port()}/", b"{}", {}, allow_private=True)


def test_the_receiver_of_these_tests_says_what_came() -> None:
    assert Receiver().requests == []
