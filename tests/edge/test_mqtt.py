import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random

import aiomqtt
import numpy as np
import pytest

from devices.errors import LinkDown
from devices.instants import format_instant
from devices.profile import load_profiles
from devices.reading import Block, Pose, Quality
from edge.clock import Moment
from edge.config import MqttBroker
from edge.drivers.mqtt import MqttDriver
from edge.drivers.mqtt_inbox import Inbox
from edge.drivers.mqtt_reader import Item, MessageReader, judge_time
from edge.items import Item as AnyItem
from edge.listening import Listening
from tests.brokers import Mosquitto, free_port, mosquitto
from tests.edge.builders import START_MS, device, moment
from tests.waiting import until

PROFILES = load_profiles()
ROBOT = device(PROFILES["vda5050-robot"], "r1", topic="uagv/v2/acme/r-01")
NOW = Moment(START_MS, 0, b"r" * 8, trusted=True, uncertainty_ms=0)


def visualization(x_m: float, header: int = 1, time_ms: int = START_MS) -> bytes:
    position = {"x": x_m, "y": 2.0, "theta": 0.5, "mapId": "B1", "positionInitialized": True}
    return message(header, time_ms, agvPosition=position)


def connection(state: str, header: int = 1, time_ms: int = START_MS) -> bytes:
    return message(header, time_ms, connectionState=state)


def message(header: int, time_ms: int, **content: object) -> bytes:
    head = {"headerId": header, "version": "2.1.0", "manufacturer": "acme", "serialNumber": "r-01"}
    return json.dumps({**head, "timestamp": format_instant(time_ms), **content}).encode()


def read(reader: MessageReader, kind: str, payload: bytes, at: Moment = NOW) -> list[Item]:
    return reader.read(f"uagv/v2/acme/r-01/{kind}", payload, at)


@pytest.fixture
def reader() -> MessageReader:
    return MessageReader([ROBOT])


def test_a_pose_is_millimetres_and_milliradians(reader: MessageReader) -> None:
    (pose,) = read(reader, "visualization", visualization(1.2345))

    assert isinstance(pose, Pose)
    assert (pose.x_mm, pose.y_mm, pose.theta_mrad, pose.map_id) == (1234, 2000, 500, "B1")
    assert (pose.time_ms, pose.quality) == (START_MS, Quality.GOOD)


@pytest.mark.parametrize(
    ("source_ms", "expected"),
    [
        (START_MS - 24 * 3_600_000, (START_MS - 24 * 3_600_000, Quality.GOOD)),
        (START_MS - 24 * 3_600_000 - 1, (START_MS, Quality.UNCERTAIN_TIME)),
        (START_MS + 5_000, (START_MS + 5_000, Quality.GOOD)),
        (START_MS + 5_001, (START_MS, Quality.UNCERTAIN_TIME)),
        (None, (START_MS, Quality.UNCERTAIN_TIME)),
    ],
)
def test_a_sources_own_stamp_counts_within_a_day_back_and_five_seconds_ahead(
    source_ms: int | None, expected: tuple[int, Quality]
) -> None:
    assert judge_time(source_ms, START_MS) == expected


def test_a_message_delivered_twice_is_taken_once(reader: MessageReader) -> None:
    read(reader, "visualization", visualization(1.0))

    assert read(reader, "visualization", visualization(1.0)) == []
    assert reader.counts.duplicates == 1


def test_a_counter_that_begins_anew_is_no_duplicate(reader: MessageReader) -> None:
    read(reader, "connection", connection("ONLINE", header=0))
    read(reader, "connection", connection("CONNECTIONBROKEN", header=0))

    (block,) = read(reader, "connection", connection("ONLINE", header=0, time_ms=START_MS + 1))

    assert isinstance(block, Block)
    assert dict(zip(block.points, block.values.tolist(), strict=True)) == {"connection": 1.0}


def state(time_ms: int, header: int = 1) -> bytes:
    return message(header, time_ms, operatingMode="AUTOMATIC", driving=True)


def test_a_last_will_comes_after_the_state_of_a_robot_whose_clock_is_ahead(reader: MessageReader) -> None:
    (said, _) = read(reader, "state", state(START_MS + 5_000))
    (will,) = read(reader, "connection", connection("CONNECTIONBROKEN", time_ms=START_MS - 60_000))

    assert isinstance(said, Block)
    assert isinstance(will, Block)
    assert said.time_ms == will.time_ms == START_MS
    assert said.quality is Quality.GOOD


def test_poses_keep_the_robots_own_stamps(reader: MessageReader) -> None:
    """Their distances in time decide how fast it went."""
    (pose,) = read(reader, "visualization", visualization(1.0, time_ms=START_MS + 4_000))

    assert pose.time_ms == START_MS + 4_000


def test_a_change_computed_for_a_lost_uplink_is_uncertain_in_time() -> None:
    space = device(PROFILES["nwave-nps405"], "p1", topic="a/event/up")
    reader, hour_ms = MessageReader([space]), 3_600_000

    def uplink(f_count: int, data: str, at_ms: int) -> bytes:
        stamped = {"time": format_instant(at_ms), "deviceInfo": {"devEui": "1"}}
        return json.dumps({**stamped, "fCnt": f_count, "fPort": 1, "data": data}).encode()

    reader.read("a/event/up", uplink(1, "AQ==", START_MS - hour_ms), NOW)
    lost, said = reader.read("a/event/up", uplink(3, "FQ==", START_MS), NOW)  # occupied, ten minutes after being free

    assert isinstance(lost, Block)
    assert (lost.time_ms, lost.quality, lost.values.tolist()) == (START_MS - 600_000, Quality.UNCERTAIN_TIME, [0.0])
    assert (said.time_ms, said.quality) == (START_MS, Quality.GOOD)
    assert reader.counts.lost == 1


def test_messages_that_never_came_are_counted(reader: MessageReader) -> None:
    read(reader, "visualization", visualization(1.0, header=1))
    read(reader, "visualization", visualization(2.0, header=5))

    assert reader.counts.lost == 3


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"\xff", b'{"headerId": "x"}', visualization(1e9)])
def test_nonsense_is_rejected_and_counted(reader: MessageReader, payload: bytes) -> None:
    assert read(reader, "visualization", payload) == []
    assert reader.counts.rejected.total() == 1


def test_a_topic_of_nobody_is_counted(reader: MessageReader) -> None:
    assert reader.read("elsewhere", b"{}", NOW) == []
    assert reader.counts.rejected == {"unexpected topic": 1}


def test_the_points_of_like_messages_are_one_object(reader: MessageReader) -> None:
    blocks = [
        item
        for header in (1, 2)
        for item in read(reader, "connection", connection("ONLINE", header=header))
        if isinstance(item, Block)
    ]

    assert blocks[0].points is blocks[1].points
    assert np.array_equal(blocks[0].values, blocks[1].values)


def test_a_full_inbox_loses_the_oldest_that_is_no_state_and_counts_it() -> None:
    inbox = Inbox(lambda topic: topic == "state", messages_max=3)
    for number, topic in enumerate(["state", "pose", "state", "pose", "pose"]):
        inbox.put_nowait(aiomqtt.Message(topic, b"%d" % number, 0, False, 0, None))

    assert [message.payload for message in inbox.take(9)] == [b"0", b"2", b"4"]
    assert inbox.overflowed == 2


def test_an_inbox_full_of_states_keeps_them_all_and_stops_the_reading() -> None:
    told: list[str] = []
    inbox = Inbox(
        lambda _: True, messages_max=3, on_full=lambda: told.append("full"), on_room=lambda: told.append("room")
    )
    for number in range(5):
        inbox.put_nowait(aiomqtt.Message("state", b"%d" % number, 0, False, 0, None))

    assert told == ["full"]
    assert [message.payload for message in inbox.take(9)] == [b"0", b"1", b"2", b"3", b"4"]
    assert (told, inbox.overflowed) == (["full", "room"], 0)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    async with mosquitto(tmp_path) as running:
        yield running


def driver(port: int) -> MqttDriver:
    return MqttDriver(MqttBroker(host="127.0.0.1", port=port), [ROBOT], moment, "gatehouse/test")


async def publish(port: int, *payloads: bytes) -> None:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        for payload in payloads:
            await client.publish("uagv/v2/acme/r-01/visualization", payload, qos=1)


def poses_of(items: list[AnyItem]) -> list[int]:
    return [item.x_mm for item in items if isinstance(item, Pose)]


async def test_what_a_robot_publishes_is_read_in_order(broker: Mosquitto) -> None:
    seen: list[AnyItem] = []
    async with driver(broker.port) as listening:
        await publish(broker.port, *(visualization(float(at), header=at) for at in range(50)))
        async with asyncio.timeout(20):
            async for heard in listening:
                seen += heard.items
                listening.confirm(heard)
                if len(seen) == 50:
                    break

    assert poses_of(seen) == [1000 * at for at in range(50)]


async def test_nobody_listening_is_a_link_down() -> None:
    with pytest.raises(LinkDown, match="the broker at"):
        async with driver(free_port()):
            pass


async def test_a_broker_that_comes_back_is_listened_to_again(broker: Mosquitto) -> None:
    seen: list[AnyItem] = []

    async def sink(items: Sequence[AnyItem], handled: Moment) -> None:
        seen.extend(items)

    owner = Listening("b", driver(broker.port), sink, Random(1))
    task = asyncio.create_task(owner.run())
    await until(lambda: owner.status.connected, "the first connection")
    await publish(broker.port, visualization(1.0, header=1))
    await until(lambda: len(seen) == 1, "the first pose")
    await broker.stop()
    await until(lambda: not owner.status.connected, "the loss to be noticed")
    await broker.start()
    await publish(broker.port, visualization(2.0, header=2))
    await until(lambda: len(seen) == 2, "the second pose")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert poses_of(seen) == [1000, 2000]


async def test_messages_wait_for_an_agent_that_is_restarted(broker: Mosquitto) -> None:
    async with driver(broker.port):
        pass
    await publish(broker.port, visualization(3.0))

    async with driver(broker.port) as listening, asyncio.timeout(20):
        async for heard in listening:
            if heard.items:
                break

    assert poses_of(list(heard.items)) == [3000]
