"""What robots and parking sensors say, and when. No I/O: state in, messages out."""

from dataclasses import dataclass, field

import numpy as np

from devices.messages.parking_sensors import HEARTBEAT, STATUS, encode_nps405_heartbeat, encode_nps405_status
from simulators.behaviour import RobotState, WorldState
from simulators.payloads import Sensor, chirpstack_uplink, connection, encode, robot_message, visualization
from simulators.site import MAP_ID, Robot, Space

STATE_EVERY_MS = 10_000  # VDA 5050 asks for 30 s at least
HEARTBEAT_EVERY_S = 1800
ANNOUNCE_PER_TICK = 60  # a gateway does not hear 286 sensors in the same second
SENSOR_BATTERY_V, SENSOR_DEGC = 3.4, 18.0


@dataclass(slots=True)
class RobotVoice:
    """What one robot says and when: numbers its messages, remembers what it told last. No I/O."""

    robot: Robot
    map_id: str = MAP_ID
    _headers: dict[str, int] = field(default_factory=dict)
    _told: tuple[object, ...] = ()
    _told_ms: int = -STATE_EVERY_MS

    def next_header(self, topic: str) -> int:
        """The header id of the next message of a topic; each topic counts for itself."""
        number = self._headers.get(topic, 0)
        self._headers[topic] = (number + 1) % 2**32
        return number

    def messages(self, time_ms: int, state: RobotState) -> list[tuple[str, bytes]]:
        """(topic, payload) that are due: always the position; the state on change and every ten seconds."""
        found = []
        told = (state.driving, state.charging, state.broken, state.order, state.last_node, state.last_node_sequence)
        if told != self._told or time_ms - self._told_ms >= STATE_EVERY_MS:
            self._told, self._told_ms = told, time_ms
            payload = robot_message(self.robot, self.next_header("state"), time_ms, state, self.map_id)
            found.append((f"{self.robot.topic}/state", encode(payload)))
        seen = visualization(self.robot, self.next_header("visualization"), time_ms, state, self.map_id)
        found.append((f"{self.robot.topic}/visualization", encode(seen)))
        return found

    def connection(self, time_ms: int, state: str) -> bytes:
        """The payload of a connection message."""
        return encode(connection(self.robot, self.next_header("connection"), time_ms, state))


class ParkingVoice:
    """What the parking sensors say and when: status on change, heartbeats by turns. No I/O."""

    def __init__(self, spaces: tuple[Space, ...], application: str) -> None:
        self._sensed = [index for index, space in enumerate(spaces) if space.device]
        self._sensors = {
            index: Sensor(space.device, space.dev_eui, application)
            for index, space in enumerate(spaces)
            if space.device
        }
        self._counters = dict.fromkeys(self._sensed, 0)
        self._since_ms: dict[int, int] = {}
        self._taken: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None
        self._announced = 0
        self._asked: list[int] = []
        self._heartbeat_ms = 0

    def messages(self, state: WorldState, announcements: int) -> list[tuple[str, bytes]]:
        """(topic, payload) that are due."""
        taken, time_ms = state.taken, state.time_ms
        found: list[tuple[str, bytes]] = []
        if self._taken is not None:
            changed = [index for index in np.flatnonzero(taken != self._taken).tolist() if index in self._sensors]
            found = [self._status(index, time_ms, occupied=bool(taken[index])) for index in changed]
        self._taken = taken
        if announcements != self._announced:
            self._announced = announcements
            self._asked = list(self._sensed)
        due, self._asked = self._asked[:ANNOUNCE_PER_TICK], self._asked[ANNOUNCE_PER_TICK:]
        found += [self._heartbeat(index, time_ms, occupied=bool(taken[index])) for index in due + self._turn(time_ms)]
        return found

    def _turn(self, time_ms: int) -> list[int]:
        """The sensors whose heartbeat is due since the last call: evenly spread over the interval."""
        share_ms = HEARTBEAT_EVERY_S * 1000 / max(len(self._sensed), 1)
        before, self._heartbeat_ms = self._heartbeat_ms or time_ms, time_ms
        first, last = int(before // share_ms), int(time_ms // share_ms)
        return [self._sensed[turn % len(self._sensed)] for turn in range(first, min(last, first + ANNOUNCE_PER_TICK))]

    def _status(self, index: int, time_ms: int, *, occupied: bool) -> tuple[str, bytes]:
        previous_s = (time_ms - self._since_ms.get(index, time_ms)) / 1000
        self._since_ms[index] = time_ms
        return self._uplink(
            index, time_ms, STATUS, encode_nps405_status(occupied=occupied, previous_minutes=int(previous_s // 60))
        )

    def _heartbeat(self, index: int, time_ms: int, *, occupied: bool) -> tuple[str, bytes]:
        data = encode_nps405_heartbeat(occupied=occupied, battery_v=SENSOR_BATTERY_V, temperature_c=SENSOR_DEGC)
        return self._uplink(index, time_ms, HEARTBEAT, data)

    def _uplink(self, index: int, time_ms: int, port: int, data: bytes) -> tuple[str, bytes]:
        sensor = self._sensors[index]
        counter = self._counters[index]
        self._counters[index] = counter + 1
        return sensor.topic, encode(chirpstack_uplink(sensor, time_ms, counter, port, data))
