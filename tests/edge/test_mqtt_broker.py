"""The driver against a real Mosquitto: protocol versions, TLS, confirmation, bursts, hostile messages."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Literal

import aiomqtt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.client import MQTTMessage

from devices.document import SecretText
from devices.errors import ConfigurationError, LinkDown
from devices.frame import SealedFrame, decode_frame
from devices.instants import format_instant
from devices.profile import load_profiles
from devices.reading import Block
from edge.clock import Clock, Moment
from edge.collector import Collector
from edge.config import MqttBroker, SiteConfig, site_of
from edge.drivers.mqtt import MqttDriver
from edge.drivers.mqtt_client import BrokerClient
from edge.drivers.mqtt_inbox import Inbox
from edge.filter import Filter
from edge.items import Item
from edge.journal import Journal
from edge.listening import Listening
from edge.series import SeriesTable
from edge.status import brokers_of
from tests.brokers import free_port, mosquitto
from tests.certificates import Authority
from tests.edge.builders import START_MS, device, moment
from tests.waiting import until

ROBOT = device(load_profiles()["vda5050-robot"], "r1", topic="uagv/v2/acme/r-01")
SPACE = device(load_profiles()["nwave-nps405"], "p1", topic="application/a/device/0001/event/up")
UNLIMITED = ("max_inflight_messages 0", "max_queued_messages 0")
BURST = 200
Version = Literal["3.1.1", 5]


def settings(port: int, version: Version = "3.1.1") -> MqttBroker:
    return MqttBroker(host="127.0.0.1", port=port, version=version)


def driver(broker: MqttBroker, *, inbox_messages_max: int = 10_000, folder: Path = Path()) -> MqttDriver:
    return MqttDriver(
        broker, [ROBOT, SPACE], moment, "gatehouse/test", folder=folder, inbox_messages_max=inbox_messages_max
    )


def state(header: int) -> bytes:
    stamp = format_instant(START_MS)
    return json.dumps({"headerId": header, "timestamp": stamp, "version": "2.1.0", "driving": header % 2 == 0}).encode()


def uplink(count: int, *, occupied: bool) -> bytes:
    data = "Aw==" if occupied else "Ag=="
    return json.dumps(
        {"deviceInfo": {"devEui": "0001"}, "fCnt": count, "fPort": 1, "data": data, "deduplicationId": str(count)}
    ).encode()


async def publish(port: int, topic: str, *payloads: bytes, qos: int = 1, retain: bool = False) -> None:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        for payload in payloads:
            await client.publish(topic, payload, qos=qos, retain=retain)


class Heard:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    async def __call__(self, items: Sequence[Item], _handled: Moment) -> None:
        self.items += items

    @property
    def blocks(self) -> list[dict[str, float]]:
        blocks = [item for item in self.items if isinstance(item, Block)]
        return [dict(zip(block.points, block.values.tolist(), strict=True)) for block in blocks]


@asynccontextmanager
async def running(listening: Listening) -> AsyncIterator[None]:
    task = asyncio.create_task(listening.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("version", ["3.1.1", 5])
async def test_both_protocol_versions_keep_the_session_over_a_restart_of_the_broker(
    tmp_path: Path, version: Version
) -> None:
    async with mosquitto(tmp_path) as broker:
        heard, one = Heard(), driver(settings(broker.port, version))
        listening = Listening("b", one, heard, Random(1))
        async with running(listening):
            await until(lambda: listening.status.connected, "the first connection")
            await publish(broker.port, SPACE.topic, uplink(1, occupied=True))
            await until(lambda: len(heard.blocks) == 1, "the first uplink")
            await broker.stop()
            await until(lambda: not listening.status.connected, "the loss to be noticed")
            await broker.start()
            await publish(broker.port, SPACE.topic, uplink(2, occupied=False))
            await until(lambda: len(heard.blocks) == 2, "the second uplink")

        assert [block["occupied"] for block in heard.blocks] == [1.0, 0.0]
        assert one.counts.lost == 0


@pytest.mark.parametrize("version", ["3.1.1", 5])
async def test_tls_with_a_client_certificate_and_a_password(tmp_path: Path, version: Version) -> None:
    authority = Authority.make(tmp_path)
    server, server_key = authority.issue("server")
    authority.issue("agent")
    secure_port = free_port()
    async with mosquitto(
        tmp_path,
        f"listener {secure_port} 127.0.0.1",
        "require_certificate true",
        f"cafile {tmp_path / 'ca.pem'}",
        f"certfile {server}",
        f"keyfile {server_key}",
    ) as broker:
        secure = MqttBroker(
            host="127.0.0.1", port=secure_port, version=version, ca_file="ca.pem", cert_file="agent.pem",
            key_file="agent.key", username=SecretText("agent"), password=SecretText("secret"),
        )  # fmt: skip
        heard = Heard()
        listening = Listening("b", driver(secure, folder=tmp_path), heard, Random(1))
        async with running(listening):
            await until(lambda: listening.status.connected, "the connection")
            await publish(broker.port, SPACE.topic, *(uplink(count, occupied=count % 2 == 1) for count in range(300)))
            await until(lambda: len(heard.blocks) == 300, "all uplinks")

        bare = secure.model_copy(update={"cert_file": None, "key_file": None})
        await _expect_refusal(bare, tmp_path)
        Authority.make(tmp_path, "stranger")
        await _expect_refusal(secure.model_copy(update={"ca_file": "stranger.pem"}), tmp_path)


async def _expect_refusal(broker: MqttBroker, folder: Path) -> None:
    with pytest.raises(LinkDown):
        async with driver(broker, folder=folder):
            pass


async def test_a_wrong_password_is_a_link_down_that_says_so(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    async with mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}") as broker:
        wrong = settings(broker.port).model_copy(update={"username": SecretText("x"), "password": SecretText("y")})
        with pytest.raises(LinkDown, match=r"(?i)not authori[sz]ed"):
            async with driver(wrong):
                pass


def test_a_certificate_that_cannot_be_read_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "broken.pem").write_text("nonsense")
    for name in ("absent.pem", "broken.pem"):
        with pytest.raises(ConfigurationError, match=name):
            driver(MqttBroker(host="127.0.0.1", ca_file=name), folder=tmp_path)


async def test_what_is_not_on_disk_is_delivered_again(tmp_path: Path) -> None:
    """The broker keeps what came of QoS 1 until the journal has it, over a restart of the agent."""
    never = asyncio.Event()

    async def stuck(_within_s: float) -> int:
        await never.wait()
        return 0

    async with mosquitto(tmp_path) as broker:
        heard = Heard()
        listening = Listening("b", driver(settings(broker.port)), heard, Random(1), stored=stuck)
        async with running(listening):
            await until(lambda: listening.status.connected, "the connection")
            await publish(broker.port, SPACE.topic, uplink(1, occupied=True))
            await until(lambda: heard.blocks, "the uplink")

        again, one = Heard(), driver(settings(broker.port))
        async with running(Listening("b", one, again, Random(1))):
            await until(lambda: again.blocks, "the uplink once more")
            await until(lambda: one.counts.confirmed == 1, "its confirmation")

        third = Heard()
        async with running(Listening("b", driver(settings(broker.port)), third, Random(1))):
            await publish(broker.port, SPACE.topic, uplink(2, occupied=False))
            await until(lambda: third.blocks, "the next uplink")

        assert [block["occupied"] for block in third.blocks] == [0.0]


async def test_a_delivery_is_confirmed_when_its_frame_is_on_disk(tmp_path: Path) -> None:
    clock, table = Clock(), SeriesTable()
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    journal = Journal.open(tmp_path / "journal", "gw-1", key, clock, table)
    keep, taken, sealed = Filter([ROBOT, SPACE], table), asyncio.Event(), list[SealedFrame]()
    journal.subscribe(sealed.append)

    async def sink(items: Sequence[Item], handled: Moment) -> None:
        journal.put(keep.take(items, handled.utc_ms), handled)
        taken.set()

    async with mosquitto(tmp_path) as broker:
        one = MqttDriver(settings(broker.port), [SPACE], clock.now, "gatehouse/test")
        listening = Listening("b", one, sink, Random(1), stored=journal.stored)
        async with running(listening):
            await until(lambda: listening.status.connected, "the connection")
            await publish(broker.port, SPACE.topic, *(uplink(at, occupied=at % 2 == 0) for at in range(30)))
            await taken.wait()
            assert one.counts.confirmed == 0  # nobody seals yet

            sealing = asyncio.create_task(journal.run())
            await until(lambda: one.counts.confirmed == 30, "the confirmations")
            values = [decode_frame(frame.data).content.numbers.value.tolist() for frame in sealed]
        journal.stop()
        await sealing
    journal.close()

    assert sum(row in {0.0, 1.0} for rows in values for row in rows) >= 30


async def test_readings_that_found_no_room_are_asked_for_again(tmp_path: Path) -> None:
    dropped = 0

    async def stored(_within_s: float) -> int:
        return dropped

    async with mosquitto(tmp_path) as broker:
        heard = Heard()
        listening = Listening("b", driver(settings(broker.port)), heard, Random(1), stored=stored)
        async with running(listening):
            await until(lambda: listening.status.connected, "the connection")
            dropped = 5
            await publish(broker.port, SPACE.topic, uplink(1, occupied=True))
            await until(lambda: len(heard.items) >= 1, "the uplink")
            await until(lambda: listening.status.error, "the agent to hang up")
            await until(lambda: listening.status.connected, "the agent to come back")
            await publish(broker.port, SPACE.topic, uplink(2, occupied=False))
            await until(lambda: {"occupied": 0.0, "previous_state_s": 60.0} in heard.blocks, "the next uplink")


def _burst(number: int) -> tuple[str, bytes]:
    kind, payload = ("state", state(number)) if number % 4 == 0 else ("visualization", b"{}")
    return f"{ROBOT.topic}/{kind}", payload


async def test_a_burst_of_twenty_thousand_messages_loses_no_state(tmp_path: Path) -> None:
    async with mosquitto(tmp_path, *UNLIMITED) as broker:
        heard, one = Heard(), driver(settings(broker.port), inbox_messages_max=500)
        async with one:  # the broker remembers the subscription
            pass
        async with aiomqtt.Client("127.0.0.1", broker.port, max_inflight_messages=BURST) as client:
            client.pending_calls_threshold = BURST
            for first in range(0, 20_000, BURST):
                numbers = range(first, first + BURST)
                await asyncio.gather(*(client.publish(*_burst(number), qos=1) for number in numbers))
        async with running(Listening("b", one, heard, Random(1))):
            await until(lambda: len(heard.blocks) == 5_000, "every state")
            await until(lambda: one.counts.confirmed == 20_000, "every confirmation")

        assert [block["driving"] for block in heard.blocks] == [1.0, 1.0] * 2_500
        assert one.counts.lost == 4_999 * 3
        assert one.counts.messages + one.counts.overflowed == 20_000


async def test_a_sink_that_waits_holds_the_broker_back_and_loses_no_state(tmp_path: Path) -> None:
    gate, heard = asyncio.Event(), Heard()

    async def slow(items: Sequence[Item], handled: Moment) -> None:
        await gate.wait()
        await heard(items, handled)

    async with mosquitto(tmp_path, *UNLIMITED) as broker:
        one = driver(settings(broker.port), inbox_messages_max=50)
        listening = Listening("b", one, slow, Random(1))
        async with running(listening):
            await until(lambda: listening.status.connected, "the connection")
            await publish(broker.port, f"{ROBOT.topic}/state", *(state(number) for number in range(2_000)))
            gate.set()
            await until(lambda: len(heard.blocks) == 2_000, "every state")

        assert (one.counts.overflowed, one.counts.lost) == (0, 0)


async def test_a_retained_reading_without_a_time_is_refused_a_retained_connection_is_news(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker:
        await publish(broker.port, SPACE.topic, uplink(1, occupied=True), retain=True)
        online = json.dumps({"headerId": 1, "version": "2.1.0", "connectionState": "ONLINE"}).encode()
        await publish(broker.port, f"{ROBOT.topic}/connection", online, retain=True)
        heard, one = Heard(), driver(settings(broker.port))
        listening = Listening("b", one, heard, Random(1))
        async with running(listening):
            await until(lambda: one.counts.messages == 2, "both retained messages")
            await broker.stop()
            await until(lambda: not listening.status.connected, "the loss")
            await broker.start()
            await until(lambda: len(heard.blocks) >= 2, "the connection once more")

        assert all(block == {"connection": 1.0} for block in heard.blocks)
        assert one.counts.rejected["retained without a time"]


async def test_a_topic_that_is_no_text_is_refused_without_losing_the_connection() -> None:
    inbox = Inbox(lambda _: True)
    client = BrokerClient(settings(free_port()), "gatehouse/test", inbox, None)

    client._client.on_message(client._client, None, MQTTMessage(1, b"\xff"))  # type: ignore[misc]

    assert (len(inbox), inbox.unreadable, client.is_lost) == (0, 1, False)


HOSTILE = [
    b"",
    b"null",
    b"\xff" * 100,
    b'{"headerId":NaN}',
    b'{"headerId":"one","timestamp":7}',
    b'{"headerId":1,"timestamp":"9999-99-99T00:00:00Z","operatingMode":3}',
    b'{"headerId":' + b"9" * 100_000 + b"}",
    b"[" * 200_000,
    b'{"a":"' + b"x" * (1 << 20) + b'"}',
    b'{"agvPosition":{"x":1e308,"y":0,"theta":0,"mapId":"B1"}}',
]


@pytest.mark.parametrize("version", ["3.1.1", 5])
async def test_hostile_messages_are_counted_and_the_agent_goes_on(tmp_path: Path, version: Version) -> None:
    async with mosquitto(tmp_path) as broker:
        heard, one = Heard(), driver(settings(broker.port, version))
        listening = Listening("b", one, heard, Random(1))
        async with running(listening):
            await until(lambda: listening.status.connected, "the connection")
            for kind in ("state", "connection", "visualization"):
                await publish(broker.port, f"{ROBOT.topic}/{kind}", *HOSTILE)
            await publish(broker.port, SPACE.topic, *HOSTILE)
            await publish(broker.port, SPACE.topic, uplink(1, occupied=True))
            await until(lambda: heard.blocks, "the one good message")

        assert len(heard.items) == 1
        assert one.counts.rejected.total() >= 4 * (len(HOSTILE) - 2)  # MQTT 5: the broker keeps the largest back
        assert listening.status.error == ""


async def test_the_status_tells_what_a_broker_sent_and_what_was_refused(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker:
        connection = {
            "id": "b",
            "mqtt": {"host": "127.0.0.1", "port": broker.port},
            "devices": [{"id": "p1", "profile": "nwave-nps405", "topic": SPACE.topic}],
        }
        config = SiteConfig.model_validate({"site": "s", "gateway": "g", "connections": [connection]}, strict=False)
        collector = Collector(site_of(config, tmp_path), Heard(), moment, rng=Random(1))
        task = asyncio.create_task(collector.run())
        await until(lambda: brokers_of(collector)["b"].connected, "the connection")
        await publish(broker.port, SPACE.topic, b"nonsense", uplink(1, occupied=True))
        await until(lambda: brokers_of(collector)["b"].confirmed == 2, "both confirmations")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    status = brokers_of(collector)["b"]
    assert (status.connected, status.messages, status.rejected) == (False, 2, {"p1": 1})
