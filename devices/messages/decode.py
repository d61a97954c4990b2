"""One entry for all message formats: a decoder per device, with the little it must remember."""

from collections import deque
from dataclasses import replace
from typing import Any

from devices.errors import MessageError, Permanent
from devices.messages.chirpstack import decode_chirpstack
from devices.messages.json_mapping import decode_json
from devices.messages.lost_uplink import SpaceUplink, lost_change
from devices.messages.observation import Observation
from devices.messages.parking_sensors import decode_parking
from devices.messages.payload import parse_payload
from devices.messages.things_stack import decode_things_stack
from devices.messages.uplink import LoraUplink
from devices.messages.vda5050 import (
    RobotContext,
    decode_connection,
    decode_factsheet,
    decode_state,
    decode_visualization,
)
from devices.profile import LoadedProfile, Mqtt
from devices.reading import PoseFlag
from devices.states import Connection

ROBOT_TOPICS = ("connection", "state", "visualization", "factsheet")
ROBOT_STATE_TOPICS = ("connection", "state")
UPLINKS_REMEMBERED = 64
COPY_MS_MAX = 60_000  # copies of an uplink arrive within seconds of each other; a re-joined device takes longer


class MessageDecoder:
    """Decodes the messages of one device. Times are Unix ms UTC."""

    def __init__(self, profile: LoadedProfile) -> None:
        if profile.profile.mqtt is None:
            raise Permanent(f"the profile {profile.id} does not describe messages")
        self._profile = profile
        self._mqtt: Mqtt = profile.profile.mqtt
        self._seen: deque[tuple[LoraUplink, int]] = deque(maxlen=UPLINKS_REMEMBERED)
        self._space: SpaceUplink | None = None
        self._robot: RobotContext | None = None
        self._hibernating = False

    def topics(self, device_topic: str) -> list[str]:
        """What to subscribe to for a device configured with this topic."""
        if self._mqtt.message == "vda5050":
            return [f"{device_topic.rstrip('/')}/{kind}" for kind in ROBOT_TOPICS]
        return [device_topic]

    def is_state(self, topic: str) -> bool:
        """Whether messages under this topic may say something that decides the device's state."""
        if self._mqtt.message == "vda5050":
            return topic.rsplit("/", 1)[-1] in ROBOT_STATE_TOPICS
        return bool(self._profile.state_points)

    def decode(self, topic: str, payload: bytes, received_ms: int) -> list[Observation]:
        """What a message says, oldest first: nothing for copies and for kinds without readings. Raises MessageError."""
        match self._mqtt.message:
            case "vda5050":
                robot = self._decode_robot(topic.rsplit("/", 1)[-1], payload, received_ms)
                found = [] if robot is None else [robot]
            case "lorawan":
                found = self._decode_lorawan(topic, payload, received_ms)
            case "json":
                found = [decode_json(payload, self._profile.profile.points, self._mqtt.time, self._mqtt.pose)]
        return [self._known_points(one) for one in found]

    def _decode_robot(self, kind: str, payload: bytes, received_ms: int) -> Observation | None:
        if kind == "state":
            observation, flags = decode_state(payload)
            self._robot = RobotContext(flags, received_ms)
            if self._hibernating:  # a state out of its sleep does not say that it woke
                observation.numbers.pop("connection", None)
            return observation
        if kind == "visualization":
            return decode_visualization(payload, self._flags(received_ms))
        if kind == "connection":
            observation = decode_connection(payload)
            self._hibernating = observation.numbers["connection"] == Connection.HIBERNATING
            if observation.numbers["connection"] != Connection.ONLINE:
                self._robot = None
            return observation
        return decode_factsheet(payload) if kind == "factsheet" else None

    def _flags(self, received_ms: int) -> PoseFlag:
        """Of the last state, as long as it is held: a pose without a known mode covers nothing."""
        if self._robot is None or abs(received_ms - self._robot.received_ms) > self._profile.hold_s * 1000:
            return PoseFlag(0)
        return self._robot.flags

    def _decode_lorawan(self, topic: str, payload: bytes, received_ms: int) -> list[Observation]:
        if topic.endswith("/join"):  # the frame counter begins anew
            self._seen.clear()
            self._space = None
        if topic.endswith("/join") or ("/event/" in topic and not topic.endswith("/up")):
            return []  # join, ack, status and log events carry no reading of ours
        uplink = _unwrap(payload)
        time_ms = received_ms if uplink.time_ms is None else uplink.time_ms
        if any(_is_copy(uplink, time_ms, *seen) for seen in self._seen):
            return []
        decoded = decode_parking(self._mqtt.codec or "", uplink.f_port, uplink.data) if uplink.f_port else None
        self._seen.append((uplink, time_ms))
        if decoded is None or not (decoded.numbers or decoded.texts):
            return []
        scope = f"uplink/{uplink.device_eui}"
        said = Observation(uplink.time_ms, decoded.numbers, decoded.texts, None, uplink.f_count, scope)
        lost = self._lost_change(uplink, time_ms, decoded.numbers)
        return [said] if lost is None else [lost, said]

    def _lost_change(self, uplink: LoraUplink, time_ms: int, numbers: dict[str, float]) -> Observation | None:
        """The change that the one lost uplink before this one said."""
        before = self._space
        if "occupied" not in numbers:
            return None
        self._space = SpaceUplink(uplink.f_count, numbers["occupied"], time_ms)
        lost = None if before is None else lost_change(before, self._space, numbers.get("previous_state_s"))
        return None if lost is None else Observation(lost.time_ms, {"occupied": lost.occupied}, is_estimate=True)

    def _known_points(self, found: Observation) -> Observation:
        points = self._profile.points
        if found.numbers.keys() <= points.keys() and found.texts.keys() <= points.keys():
            return found
        numbers = {point: value for point, value in found.numbers.items() if point in points}
        texts = {point: text for point, text in found.texts.items() if point in points}
        return replace(found, numbers=numbers, texts=texts)


def _is_copy(uplink: LoraUplink, time_ms: int, seen: LoraUplink, seen_ms: int) -> bool:
    """The same device and frame count; by the network's own id, or soon after and with the same payload."""
    if uplink.key == seen.key:
        return True
    same = (uplink.device_eui, uplink.f_count, uplink.f_port, uplink.data)
    return same == (seen.device_eui, seen.f_count, seen.f_port, seen.data) and abs(time_ms - seen_ms) <= COPY_MS_MAX


def _unwrap(payload: bytes) -> LoraUplink:
    """Told apart by shape: The Things Stack has `end_device_ids`, ChirpStack `deviceInfo`."""
    shape: Any = parse_payload(payload)
    if not isinstance(shape, dict):
        raise MessageError("the message is not an object")
    return decode_things_stack(payload) if "end_device_ids" in shape else decode_chirpstack(payload)
