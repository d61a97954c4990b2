"""Devices that push over MQTT, on aiomqtt. The collector owns retries and back-off."""

import asyncio
import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, cast

import aiomqtt
import numpy as np

from devices.errors import LinkDown, MessageError
from devices.messages.decode import MessageDecoder
from devices.messages.observation import Observation, PoseTuple
from devices.reading import Block, Pose, Quality, Text
from edge.clock import Moment
from edge.config import Device, MqttBroker

INBOX_MESSAGES_MAX = 10_000  # while the journal is slow; then the oldest go, counted
BATCH_MESSAGES_MAX = 200  # handled in one go
TOPICS_REMEMBERED_MAX = 10_000
SHAPES_REMEMBERED_MAX = 1_000  # sets of points that one device's messages were seen to carry
TIMEOUT_S = 10.0
KEEPALIVE_S = 15
SOURCE_PAST_MS_MAX = 24 * 3600 * 1000  # a source's own stamp counts within these bounds (design.md 4)
SOURCE_FUTURE_MS_MAX = 5_000
SEQUENCE_GAP_MAX = 10_000  # a larger jump is a counter that began anew
MILLI = 1000
COORDINATE_M_MAX = 2_000_000  # fits int32 millimetres
_QOS = 1

_silent = logging.getLogger("gatehouse.mqtt")  # what fails is raised as LinkDown or counted
_silent.addHandler(logging.NullHandler())
_silent.propagate = False

Item = Block | Text | Pose


@dataclass(slots=True)
class MqttCounts:
    """What came in. `rejected` by reason."""

    messages: int = 0
    duplicates: int = 0
    lost: int = 0  # by the sources' own sequence numbers
    overflowed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


class _Inbox(asyncio.Queue[aiomqtt.Message]):
    """Bounded; when it is full the oldest message goes."""

    overflowed = 0

    def put_nowait(self, item: aiomqtt.Message) -> None:
        if self.full():
            self.get_nowait()
            self.overflowed += 1
        super().put_nowait(item)


@dataclass(slots=True)
class _Source:
    """One device and what must be remembered of its messages."""

    device: Device
    decoder: MessageDecoder
    shapes: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    last: dict[str, tuple[int, bytes]] = field(default_factory=dict)  # sequence and payload, by scope


class MessageReader:
    """Messages to readings: by topic, with plausible times, without duplicates. No I/O."""

    def __init__(self, devices: Sequence[Device]) -> None:
        sources = [_Source(device, MessageDecoder(device.profile)) for device in devices]
        self._filters = [
            (aiomqtt.Wildcard(topic), source)
            for source in sources
            for topic in source.decoder.topics(source.device.topic)
        ]
        self._by_topic: dict[str, tuple[_Source, ...]] = {}
        self.counts = MqttCounts()

    @property
    def topics(self) -> list[str]:
        """What to subscribe to."""
        return list(dict.fromkeys(str(wildcard) for wildcard, _ in self._filters))

    def read(self, topic: str, payload: bytes, moment: Moment) -> list[Item]:
        """What a message says; nothing for what is unknown, repeated or wrong, which is counted."""
        self.counts.messages += 1
        items: list[Item] = []
        sources = self._sources(topic)
        if not sources:
            self.counts.rejected["unexpected topic"] += 1
        for source in sources:
            try:
                observations = source.decoder.decode(topic, payload, moment.utc_ms)
            except MessageError:
                self.counts.rejected[source.device.id] += 1
                continue
            for observation in observations:
                if not self._is_repeated(source, observation, payload):
                    items += self._items(source, observation, moment)
        return items

    def _sources(self, topic: str) -> tuple[_Source, ...]:
        known = self._by_topic.get(topic)
        if known is None:
            if len(self._by_topic) >= TOPICS_REMEMBERED_MAX:
                self._by_topic.clear()
            name = aiomqtt.Topic(topic)
            known = tuple(source for wildcard, source in self._filters if name.matches(wildcard))
            self._by_topic[topic] = known
        return known

    def _is_repeated(self, source: _Source, observation: Observation, payload: bytes) -> bool:
        """Whether the broker delivered this very message before; counts what the sequence says was lost."""
        if observation.sequence is None:
            return False
        last = source.last.get(observation.sequence_scope)
        source.last[observation.sequence_scope] = (observation.sequence, payload)
        if last is None:
            return False
        if last == (observation.sequence, payload):
            self.counts.duplicates += 1
            return True
        if 1 < (step := observation.sequence - last[0]) <= SEQUENCE_GAP_MAX:
            self.counts.lost += step - 1
        return False

    def _items(self, source: _Source, observation: Observation, moment: Moment) -> list[Item]:
        device = source.device.id
        time_ms, quality = judge_time(observation.source_time_ms, moment.utc_ms)
        items: list[Item] = []
        if observation.numbers:
            points = tuple(observation.numbers)
            if len(source.shapes) >= SHAPES_REMEMBERED_MAX:
                source.shapes.clear()
            points = source.shapes.setdefault(points, points)
            values = np.fromiter(observation.numbers.values(), np.float64, len(points))
            values[np.isinf(values)] = np.nan
            items.append(Block(device, points, time_ms, quality, values))
        items += [Text(device, point, time_ms, text, quality) for point, text in observation.texts.items()]
        if observation.pose is not None:
            pose = _pose(device, time_ms, quality, observation.pose)
            if pose is None:
                self.counts.rejected["impossible pose"] += 1
            else:
                items.append(pose)
        return items


def judge_time(source_ms: int | None, handled_ms: int) -> tuple[int, Quality]:
    """When a reading was true: the source's stamp if it is plausible, else the time of handling, uncertain."""
    if source_ms is not None and -SOURCE_PAST_MS_MAX <= source_ms - handled_ms <= SOURCE_FUTURE_MS_MAX:
        return source_ms, Quality.GOOD
    return handled_ms, Quality.UNCERTAIN_TIME


def _pose(device: str, time_ms: int, quality: Quality, pose: PoseTuple) -> Pose | None:
    x_m, y_m, theta_rad, map_id, flags = pose
    if not (abs(x_m) <= COORDINATE_M_MAX and abs(y_m) <= COORDINATE_M_MAX and math.isfinite(theta_rad)):
        return None
    theta_mrad = round(math.remainder(theta_rad, math.tau) * MILLI)
    return Pose(device, time_ms, round(x_m * MILLI), round(y_m * MILLI), theta_mrad, map_id, flags, quality)


class MqttDriver:
    """One subscription to a broker: `async with` connects and subscribes, `async for` gives what was read.

    The session is kept by the broker, so that messages wait for an agent that is restarted.
    """

    def __init__(
        self, broker: MqttBroker, devices: Sequence[Device], now: Callable[[], Moment], identifier: str
    ) -> None:
        self._broker = broker
        self._now = now
        self._identifier = identifier
        self._reader = MessageReader(devices)
        self._client: aiomqtt.Client | None = None
        self._inbox = _Inbox()

    @property
    def counts(self) -> MqttCounts:
        """What came in so far, over all connections."""
        return self._reader.counts

    async def __aenter__(self) -> Self:
        """Connect and subscribe. Raises LinkDown."""
        client = aiomqtt.Client(
            self._broker.host,
            self._broker.port,
            username=self._broker.username,
            password=None if self._broker.password is None else self._broker.password.reveal(),
            logger=_silent,
            identifier=self._identifier,
            clean_session=False,
            timeout=TIMEOUT_S,
            keepalive=KEEPALIVE_S,
            queue_type=cast("type[asyncio.Queue[aiomqtt.Message]]", self._new_inbox),
            max_queued_incoming_messages=INBOX_MESSAGES_MAX,
        )
        try:
            await client.__aenter__()
        except aiomqtt.MqttError as error:
            raise LinkDown(f"the broker at {self._broker.host}:{self._broker.port}: {error}") from error
        self._client = client
        try:
            await self._subscribe(client)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect. A connection that is lost already is no error."""
        client, self._client = self._client, None
        if client is not None:
            try:
                await client.__aexit__(None, None, None)
            except aiomqtt.MqttError as lost:
                _silent.debug("disconnected already: %s", lost)

    async def __aiter__(self) -> AsyncIterator[tuple[list[Item], Moment]]:
        """What was read and when it was handled, in the order of arrival. Raises LinkDown when the broker is gone."""
        if self._client is None:
            raise LinkDown("not connected")
        try:
            async for message in self._client.messages:
                moment = self._now()
                items = self._read(message, moment)
                for _ in range(min(self._inbox.qsize(), BATCH_MESSAGES_MAX)):
                    items += self._read(self._inbox.get_nowait(), moment)
                self.counts.overflowed += self._inbox.overflowed
                self._inbox.overflowed = 0
                if items:
                    yield items, moment
        except aiomqtt.MqttError as error:
            raise LinkDown(f"the broker at {self._broker.host}:{self._broker.port}: {error}") from error

    def _new_inbox(self, maxsize: int) -> _Inbox:
        self._inbox = _Inbox(maxsize)
        return self._inbox

    def _read(self, message: aiomqtt.Message, moment: Moment) -> list[Item]:
        payload = message.payload if isinstance(message.payload, bytes) else b""
        return self._reader.read(str(message.topic), payload, moment)

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        try:
            granted = await client.subscribe([(topic, _QOS) for topic in self._reader.topics])
        except aiomqtt.MqttError as error:
            raise LinkDown(f"the broker at {self._broker.host} took no subscription: {error}") from error
        refused = [topic for topic, code in zip(self._reader.topics, granted, strict=True) if _is_failure(code)]
        if refused:
            raise LinkDown(f"the broker at {self._broker.host} refused the subscription to {refused[0]}")


def _is_failure(code: object) -> bool:
    return (code if isinstance(code, int) else getattr(code, "value", 0)) >= 0x80
