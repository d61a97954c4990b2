"""Messages to readings: by topic, with plausible times, without duplicates. No I/O, no clock."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiomqtt
import numpy as np

from devices.errors import MessageError
from devices.messages.decode import MessageDecoder
from devices.messages.observation import Observation, PoseTuple
from devices.reading import Block, Pose, Quality, Text
from edge.clock import Moment
from edge.config import Device

TOPICS_REMEMBERED_MAX = 10_000
SHAPES_REMEMBERED_MAX = 1_000  # sets of points that one device's messages were seen to carry
SOURCE_PAST_MS_MAX = 24 * 3600 * 1000  # a source's own stamp counts within these bounds (design.md 4)
SOURCE_FUTURE_MS_MAX = 5_000
SEQUENCE_GAP_MAX = 10_000  # a larger jump is a counter that began anew
MILLI = 1000
COORDINATE_M_MAX = 2_000_000  # fits int32 millimetres

Item = Block | Text | Pose


@dataclass(slots=True)
class MqttCounts:
    """What came in. `rejected` by reason or by the device whose decoder refused."""

    messages: int = 0
    duplicates: int = 0
    lost: int = 0  # by the sources' own sequence numbers
    overflowed: int = 0  # messages without a state that went while nobody had time for them
    confirmed: int = 0  # QoS 1 messages that the broker was told to forget
    rejected: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Source:
    """One device and what must be remembered of its messages."""

    device: Device
    decoder: MessageDecoder
    shapes: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    last: dict[str, tuple[int, bytes]] = field(default_factory=dict)  # sequence and payload, by scope


class MessageReader:
    """The messages of some devices."""

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

    def is_state(self, topic: str) -> bool:
        """Whether messages under this topic may decide a state, so that none of them may be lost."""
        return any(source.decoder.is_state(topic) for source in self._sources(topic))

    def read(self, topic: str, payload: bytes, moment: Moment, *, retained: bool = False) -> list[Item]:
        """What a message says; nothing for what is unknown, repeated or wrong, which is counted.

        `retained` is a message that the broker kept for whoever subscribes: it says when it was true, or it says
        nothing.
        """
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
                if retained and not observation.at_receipt and not _is_dated(observation, moment):
                    self.counts.rejected["retained without a time"] += 1
                elif not self._is_repeated(source, observation, payload, retained=retained):
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

    def _is_repeated(self, source: _Source, observation: Observation, payload: bytes, *, retained: bool) -> bool:
        """Whether the broker delivered this very message before; counts what the sequence says was lost.

        A retained message that holds at its receipt is repeated to say that it still does.
        """
        if observation.sequence is None or (retained and observation.at_receipt):
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
        if observation.is_estimate:
            quality = Quality.UNCERTAIN_TIME
        known_ms = min(
            time_ms, moment.utc_ms
        )  # nobody knows a state before it is heard: a last will must come after it
        items: list[Item] = []
        if observation.numbers:
            points = tuple(observation.numbers)
            if len(source.shapes) >= SHAPES_REMEMBERED_MAX:
                source.shapes.clear()
            points = source.shapes.setdefault(points, points)
            values = np.fromiter(observation.numbers.values(), np.float64, len(points))
            values[np.isinf(values)] = np.nan
            items.append(Block(device, points, known_ms, quality, values))
        items += [Text(device, point, known_ms, text, quality) for point, text in observation.texts.items()]
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


def _is_dated(observation: Observation, moment: Moment) -> bool:
    return judge_time(observation.source_time_ms, moment.utc_ms)[1] is Quality.GOOD


def _pose(device: str, time_ms: int, quality: Quality, pose: PoseTuple) -> Pose | None:
    x_m, y_m, theta_rad, map_id, flags = pose
    if not (abs(x_m) <= COORDINATE_M_MAX and abs(y_m) <= COORDINATE_M_MAX and math.isfinite(theta_rad)):
        return None
    theta_mrad = round(math.remainder(theta_rad, math.tau) * MILLI)
    return Pose(device, time_ms, round(x_m * MILLI), round(y_m * MILLI), theta_mrad, map_id, flags, quality)
