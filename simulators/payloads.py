"""Messages as devices write them: VDA 5050 2.1 of robots, ChirpStack v4 uplinks of Nwave parking sensors. Pure."""

import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from devices.instants import format_instant
from simulators.behaviour import RobotState
from simulators.site import MAP_ID, Robot

VDA_VERSION = "2.1.0"
Payload = dict[str, object]


def encode(payload: Mapping[str, object]) -> bytes:
    """The JSON that travels."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def _header(robot: Robot, header_id: int, time_ms: int) -> Payload:
    return {
        "headerId": header_id,
        "timestamp": format_instant(time_ms),
        "version": VDA_VERSION,
        "manufacturer": robot.manufacturer,
        "serialNumber": robot.serial,
    }


def connection(robot: Robot, header_id: int, time_ms: int, state: str) -> Payload:
    """ONLINE, OFFLINE or CONNECTIONBROKEN; retained, QoS 1."""
    return _header(robot, header_id, time_ms) | {"connectionState": state}


def _position(state: RobotState, map_id: str) -> Payload:
    return {
        "x": round(state.x_m, 3), "y": round(state.y_m, 3), "theta": round(state.theta_rad, 4),
        "mapId": map_id, "positionInitialized": True,
    }  # fmt: skip


def visualization(robot: Robot, header_id: int, time_ms: int, state: RobotState, map_id: str = MAP_ID) -> Payload:
    """Where the robot is, once a second."""
    speed_m_s = 1.0 if state.driving else 0.0
    return _header(robot, header_id, time_ms) | {
        "agvPosition": _position(state, map_id),
        "velocity": {"vx": speed_m_s, "vy": 0.0, "omega": 0.0},
    }


def robot_message(robot: Robot, header_id: int, time_ms: int, state: RobotState, map_id: str = MAP_ID) -> Payload:
    """The state message. While an order is active one node and one edge of it are still ahead."""
    sequence = state.last_node_sequence
    ahead: list[Payload] = [{"nodeId": "ahead", "sequenceId": sequence + 2, "released": True}]
    edges: list[Payload] = [{"edgeId": "to-ahead", "sequenceId": sequence + 1, "released": True}]
    looking: list[Payload] = []
    if state.order and not state.driving:  # it stands and looks around: that is patrol too
        looking.append({"actionId": f"look-{sequence}", "actionType": "lookAround", "actionStatus": "RUNNING"})
    errors: list[Payload] = []
    if state.broken:
        errors.append({"errorType": "driveFault", "errorLevel": "FATAL", "errorDescription": "left drive: overcurrent"})
    return _header(robot, header_id, time_ms) | {
        "orderId": state.order,
        "orderUpdateId": 0,
        "lastNodeId": state.last_node,
        "lastNodeSequenceId": sequence,
        "nodeStates": ahead if state.order else [],
        "edgeStates": edges if state.order else [],
        "driving": state.driving,
        "paused": False,
        "actionStates": looking,
        "agvPosition": _position(state, map_id),
        "batteryState": {"batteryCharge": round(state.battery_percent, 1), "charging": state.charging},
        "operatingMode": "AUTOMATIC",
        "errors": errors,
        "safetyState": {"eStop": "NONE", "fieldViolation": False},
    }


@dataclass(frozen=True, slots=True)
class Sensor:
    """A LoRaWAN device as ChirpStack names it."""

    device: str
    dev_eui: str
    application: str

    @property
    def topic(self) -> str:
        """Where ChirpStack publishes its uplinks."""
        return f"application/{self.application}/device/{self.dev_eui}/event/up"


def chirpstack_uplink(sensor: Sensor, time_ms: int, counter: int, port: int, data: bytes) -> Payload:
    """An uplink event of ChirpStack v4. The first counter, 0, is left out, as ChirpStack does with defaults."""
    name = f"{sensor.dev_eui}/{counter}/{time_ms}"
    payload: Payload = {
        "deduplicationId": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        "time": format_instant(time_ms),
        "deviceInfo": {
            "tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242",
            "tenantName": "Gatehouse simulation",
            "applicationId": sensor.application,
            "applicationName": "parking",
            "deviceProfileId": "605d08d4-65f5-4d2c-8a5a-3d2457662f79",
            "deviceProfileName": "NPS405",
            "deviceName": sensor.device,
            "devEui": sensor.dev_eui,
            "tags": {},
        },
        "devAddr": sensor.dev_eui[-8:],
        "adr": True,
        "dr": 5,
        "fPort": port,
        "confirmed": False,
        "data": base64.b64encode(data).decode(),
        "rxInfo": [{"gatewayId": "6a7e111a10000000", "rssi": -87, "snr": 7.5, "crcStatus": "CRC_OK"}],
        "txInfo": {"frequency": 470_300_000},
    }
    return payload | ({"fCnt": counter} if counter else {})
