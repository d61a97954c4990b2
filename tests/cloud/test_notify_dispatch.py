# ruff: noqa: ARG002  what is made up has the arguments of the real thing
"""Who sees to it that messages are delivered: each channel for itself, again when it failed, nothing forgotten."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fastapi import Response
from structlog.testing import capture_logs

from cloud.alerts.alert import Key
from cloud.alerts.book import AlertBook
from cloud.alerts.notify.channels import Channel
from cloud.alerts.notify.deliveries import WAITING_MAX, DeliveryLog
from cloud.alerts.notify.dispatcher import RULE, Dispatcher
from cloud.alerts.notify.texts import Site, message_of
from cloud.alerts.outbox import Notification, Outbox
from cloud.alerts.store import AlertStore
from cloud.facts.database import open_database, writing
from devices.errors import Permanent
from devices.rules import Severity
from tests.cloud.receivers import fine, receiving
from tests.cloud.test_notify import NOW_MS, SECRET, SITE, channel, line, notification
from tests.waiting import until


@dataclass
class MadeUpAddresses:
    """Channels as entered."""

    known: dict[str, Channel]
    people: dict[str, Sequence[str]] = field(default_factory=dict)

    def channels(self, site: str) -> Mapping[str, Channel]:
        return self.known

    def of_people(self, site: str, people: Sequence[str]) -> Sequence[str]:
        return [one for name in people for one in self.people.get(name, ())]

    def site(self, site: str) -> Site:
        return SITE


@dataclass
class Post:
    """A dispatcher at work, and a clock that the test moves."""

    outbox: Outbox
    log: DeliveryLog
    book: AlertBook
    addresses: MadeUpAddresses
    now_ms: int = NOW_MS
    dispatcher: Dispatcher = field(init=False)

    def tell(self, *notifications: Notification) -> None:
        with writing(self.log._engine) as connection:
            self.outbox.add(connection, notifications)
        self.outbox.added()

    def condition(self, name: str) -> str:
        """That of the alert about a channel, empty while there is none."""
        alert = self.book.get(Key("jinji-lake", RULE, name))
        return alert.condition.value if alert is not None else ""

    def statuses(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for one in self.log.of_site("jinji-lake", 500):
            found.setdefault(one.channel, set()).add(one.status)
        return found


@asynccontextmanager
async def post_office(folder: Path, **channels: Channel) -> AsyncIterator[Post]:
    engine = open_database(folder / "facts.sqlite")
    work = Post(
        Outbox(engine),
        DeliveryLog(engine),
        AlertBook(AlertStore(engine), lambda: work.now_ms),
        MadeUpAddresses(channels),
    )
    work.dispatcher = Dispatcher(work.outbox, work.log, work.book, work.addresses, lambda: work.now_ms)
    task = asyncio.create_task(work.dispatcher.run(), name="dispatcher")
    try:
        yield work
    finally:
        task.cancel()
        await asyncio.wait({task})
        engine.dispose()


async def test_people_are_told_on_their_channels_and_listeners_of_everything_that_is_bad_enough(tmp_path: Path) -> None:
    async with receiving() as receiver:
        at = receiver.address
        async with post_office(
            tmp_path,
            mine=channel("feishu", f"{at}/mine"),
            all=channel("feishu", f"{at}/all", listens=True),
            red=channel("feishu", f"{at}/red", listens=True, severity="red"),
            idle=channel("feishu", f"{at}/idle"),
        ) as work:
            work.addresses.people["li"] = ["mine"]
            work.tell(notification(0, people=("li",), severity=Severity.ORANGE), notification(1))
            await until(lambda: len(receiver.requests) >= 4, "the messages")
            await until(lambda: work.statuses() and set.union(*work.statuses().values()) == {"delivered"}, "the log")

    assert sorted(one.path for one in receiver.requests) == ["all", "all", "mine", "red"]


async def test_a_dead_channel_raises_one_yellow_alert_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    async with (
        receiving() as good,
        receiving(lambda _: Response(status_code=503)) as bad,
        post_office(
            tmp_path,
            good=channel("feishu", f"{good.address}/good", listens=True),
            bad=channel("webhook", f"{bad.address}/bad", SECRET, listens=True),
        ) as work,
    ):
        for number in range(6):
            work.tell(notification(number))
        await until(lambda: len(good.requests) == 6, "the good channel")
        key = Key("jinji-lake", RULE, "bad")
        await until(lambda: work.book.get(key) or _later(work), "the alert")
        raised = work.book.get(key)
        assert raised is not None
        assert (raised.severity, raised.count) == (Severity.YELLOW, 1)
        assert len([one for one in work.book.of_site("jinji-lake") if one.key.rule == RULE]) == 1

        bad.answer = fine
        work.now_ms += 700_000
        await until(lambda: work.statuses()["bad"] == {"delivered"} or _later(work), "delivered in the end")
        assert work.book.get(key).condition.value == "cleared"  # type: ignore[union-attr]

    ids = {one.headers["webhook-id"] for one in bad.requests}
    assert len(ids) == 6


def _later(work: Post) -> bool:
    """Time goes on until everything was tried again."""
    work.now_ms += 10_000
    return False


async def test_what_waited_when_the_process_died_is_delivered_by_the_next_one(tmp_path: Path) -> None:
    async with receiving() as receiver:
        hook = channel("feishu", f"{receiver.address}/hook", listens=True)
        engine = open_database(tmp_path / "facts.sqlite")
        DeliveryLog(engine).add(notification(), ["hook"], NOW_MS)
        engine.dispose()
        async with post_office(tmp_path, hook=hook) as work:
            await until(lambda: work.statuses() == {"hook": {"delivered"}}, "the delivery")

    assert len(receiver.requests) == 1


async def test_a_hundred_alerts_in_a_minute_are_at_most_twenty_wecom_messages_that_name_them_all(
    tmp_path: Path,
) -> None:
    async with receiving() as receiver:
        hook = channel("wecom", f"{receiver.address}/hook", listens=True)
        async with post_office(tmp_path, hook=hook) as work:
            for number in range(100):
                work.tell(notification(number, lines=(line(f"door-{number:03d}"),)))

            def all_delivered() -> bool:
                whole = len(work.log.of_site("jinji-lake", 500)) == 100
                return whole and work.statuses() == {"hook": {"delivered"}}

            await until(all_delivered, "everything")

    said = "".join(json.loads(one.body)["markdown"]["content"] for one in receiver.requests)
    assert len(receiver.requests) <= 20
    assert [number for number in range(100) if f"door-{number:03d}" not in said] == []


async def test_a_message_whose_words_lack_goes_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(Permanent):
        message_of(notification(lines=(line(text="alert.unheard_of"),)), SITE, "en")
    async with (
        receiving() as receiver,
        post_office(tmp_path, hook=channel("feishu", f"{receiver.address}/hook", listens=True)) as work,
    ):
        work.tell(notification(lines=(line(text="alert.unheard_of"),)))
        await until(lambda: len(receiver.requests) == 1, "the message")

    assert b"red" in receiver.requests[0].body


async def test_a_sender_that_fails_as_nobody_expected_ends_its_own_delivery_and_no_other(tmp_path: Path) -> None:
    broken = Channel("broken", "webhook", "http://127.0.0.1/", ("whsec_a",), listens=True, allow_private=True)
    strange = Channel("strange", "feishu", "http://x\x00/", listens=True)
    with capture_logs() as logs:
        async with (
            receiving() as receiver,
            post_office(
                tmp_path,
                broken=broken,
                strange=strange,
                fine=channel("feishu", f"{receiver.address}/fine", listens=True),
            ) as work,
        ):
            work.tell(notification(0))
            await until(lambda: "waiting" not in set().union(*work.statuses().values(), [*_none(work)]), "all ended")
            assert work.statuses() == {"broken": {"dead"}, "strange": {"dead"}, "fine": {"delivered"}}
            work.tell(notification(1))
            await until(lambda: len(receiver.requests) == 2, "the next message")
            with pytest.raises(Permanent):
                await work.dispatcher.test("jinji-lake", "broken", broken)

    assert [one for one in logs if one["event"] == "a sender failed as nobody expected"]


def _none(work: Post) -> list[str]:
    """What counts as waiting while nothing is written down."""
    return [] if work.statuses() else ["waiting"]


async def test_a_channel_that_refuses_one_message_raises_the_alert_and_a_test_that_goes_ends_it(tmp_path: Path) -> None:
    hook_key = Key("jinji-lake", RULE, "hook")
    async with receiving(lambda _: Response(status_code=404)) as receiver:
        hook = channel("feishu", f"{receiver.address}/hook", listens=True)
        async with post_office(tmp_path, hook=hook) as work:
            work.tell(notification(0))
            await until(lambda: work.condition("hook") == "active", "the alert")
            with pytest.raises(Permanent):
                await work.dispatcher.test("jinji-lake", "hook", hook)
            assert work.condition("hook") == "active"

            receiver.answer = fine
            await work.dispatcher.test("jinji-lake", "hook", hook)
            assert work.condition("hook") == "cleared"
            assert work.statuses() == {"hook": {"dead"}}
            assert work.book.get(hook_key).count == 1  # type: ignore[union-attr]


async def test_the_alert_about_a_channel_ends_with_the_channel(tmp_path: Path) -> None:
    async with receiving(lambda _: Response(status_code=404)) as receiver:
        hook = channel("feishu", f"{receiver.address}/hook", listens=True)
        async with post_office(tmp_path, hook=hook) as work:
            work.tell(notification(0))
            await until(lambda: work.condition("hook") == "active", "the alert")
            await work.dispatcher.end_alerts_of_gone()
            assert work.condition("hook") == "active"

            del work.addresses.known["hook"]
            await work.dispatcher.end_alerts_of_gone()
            assert work.condition("hook") == "cleared"


def test_what_waits_for_one_channel_keeps_no_other_from_being_looked_at(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "facts.sqlite")
    log = DeliveryLog(engine)
    for number in range(WAITING_MAX + 5):
        log.add(notification(number), ["dead"], NOW_MS + number)
    log.add(notification(9_999), ["fine"], NOW_MS + 9_999)
    log.add(notification(10_000), ["fine"], NOW_MS + 20_000)
    found = log.waiting(NOW_MS + 10_000)
    engine.dispose()

    assert [one.channel for one in found] == ["dead"] * WAITING_MAX + ["fine"]
    assert found[0].notification.id == notification(0).id
    assert found[-1].notification.id == notification(9_999).id


async def test_channels_of_several_sites_to_one_robot_share_its_twenty_messages(tmp_path: Path) -> None:
    async with receiving() as receiver:
        hook = channel("wecom", f"{receiver.address}/hook?key=one", listens=True)
        async with post_office(tmp_path, hook=hook) as work:
            work.tell(*(notification(n, site=f"site-{n % 4}", lines=(line(f"door-{n:03d}"),)) for n in range(60)))

            def all_delivered() -> bool:
                found = [one for n in range(4) for one in work.log.of_site(f"site-{n}", 100)]
                return len(found) == 60 and {one.status for one in found} == {"delivered"}

            await until(all_delivered, "everything")

    said = "".join(json.loads(one.body)["markdown"]["content"] for one in receiver.requests)
    assert len(receiver.requests) <= 20
    assert [number for number in range(60) if f"door-{number:03d}" not in said] == []


async def test_work_orders_go_to_systems_that_listen_and_to_people_named_not_to_every_chat(tmp_path: Path) -> None:
    async with receiving() as receiver:
        at = receiver.address
        async with post_office(
            tmp_path,
            mine=channel("feishu", f"{at}/mine"),
            chat=channel("feishu", f"{at}/chat", listens=True),
            system=channel("webhook", f"{at}/system", SECRET, listens=True),
        ) as work:
            work.addresses.people["li"] = ["mine"]
            work.tell(notification(0, kind="work-order", people=("li",), lines=(), data={"thing": "pump-3"}))
            await until(lambda: work.statuses() == {"mine": {"delivered"}, "system": {"delivered"}}, "both")

    assert sorted(one.path for one in receiver.requests) == ["mine", "system"]
