"""VDA 5050 2.0, 2.1 and 3.0 as an observer: state, visualization, connection and factsheet of a mobile robot.

The versions differ in names, not in meaning, so one reading serves all (domain.md 3.1). A mode that the standard
does not know is no mode; an emergency stop or error level that it does not know is taken for the worse.
"""

import math
from dataclasses import dataclass

import msgspec

from devices.errors import MessageError
from devices.messages.observation import Observation, PoseTuple
from devices.messages.payload import parse_payload, short, stamp
from devices.reading import PoseFlag
from devices.states import AUTOMATIC_MODES, Connection, ErrorLevel, Mode

POSITION_M_MAX = 1_000_000.0  # a site is not a thousand kilometres wide
THETA_RAD_MAX = 1_000.0
SPEED_M_S_MAX = 100.0
MAJOR_VERSIONS = ("1", "2", "3")

_MODES = {mode.name: mode for mode in Mode} | {"TEACH_IN": Mode.TEACHIN}
_ERROR_LEVELS = {level.name: level for level in ErrorLevel}
_CONNECTIONS = {
    "ONLINE": Connection.ONLINE,
    "OFFLINE": Connection.OFFLINE,
    "HIBERNATING": Connection.HIBERNATING,
    "CONNECTIONBROKEN": Connection.BROKEN,
    "CONNECTION_BROKEN": Connection.BROKEN,
}
_ENDED = frozenset({"FINISHED", "FAILED"})


class _Header(msgspec.Struct, rename="camel"):
    header_id: int = 0
    timestamp: str | None = None
    version: str = ""


class _Position(msgspec.Struct, rename="camel"):
    x: float
    y: float
    theta: float
    map_id: str = ""
    position_initialized: bool = False
    localized: bool = False


class _Battery(msgspec.Struct, rename="camel"):
    battery_charge: float | None = None
    state_of_charge: float | None = None
    charging: bool = False


class _Action(msgspec.Struct, rename="camel"):
    action_status: str = ""


class _Error(msgspec.Struct, rename="camel"):
    error_level: str = ""


class _Safety(msgspec.Struct, rename="camel"):
    e_stop: str | None = None
    active_emergency_stop: str | None = None


class _State(_Header, rename="camel"):
    order_id: str = ""
    last_node_id: str = ""
    driving: bool = False
    paused: bool | None = False
    operating_mode: str = ""
    node_states: list[msgspec.Raw] = []
    edge_states: list[msgspec.Raw] = []
    action_states: list[_Action] = []
    errors: list[_Error] = []
    battery_state: _Battery | None = None
    power_supply: _Battery | None = None
    safety_state: _Safety | None = None
    agv_position: _Position | None = None
    mobile_robot_position: _Position | None = None


class _Visualization(_Header, rename="camel"):
    agv_position: _Position | None = None
    mobile_robot_position: _Position | None = None


class _Connection(_Header, rename="camel"):
    connection_state: str = ""


class _Kind(msgspec.Struct, rename="camel"):
    series_name: str = ""


class _Physics(msgspec.Struct, rename="camel"):
    speed_max: float | None = None
    maximum_speed: float | None = None  # 3.0


class _Factsheet(_Header, rename="camel"):
    type_specification: _Kind | None = None
    physical_parameters: _Physics | None = None


@dataclass(frozen=True, slots=True)
class RobotContext:
    """What of a robot's last state the next visualization needs: its flags, and when they were received."""

    flags: PoseFlag
    received_ms: int


def decode_state(payload: bytes) -> tuple[Observation, PoseFlag]:
    """What a `state` message says, and the flags that hold until the next. Raises MessageError."""
    state: _State = parse_payload(payload, _State)
    _check(state)
    mode = _MODES.get(state.operating_mode)
    battery = state.battery_state or state.power_supply
    charging = battery is not None and battery.charging
    unfinished = [action for action in state.action_states if action.action_status not in _ENDED]
    active = bool(state.node_states or state.edge_states or unfinished) or (state.driving and state.order_id != "")
    numbers = {
        "connection": float(Connection.ONLINE),
        "mode": math.nan if mode is None else float(mode),
        "estop": _emergency_stop(state.safety_state),
        "error_level": max((_error_level(error) for error in state.errors), default=0.0),
        "driving": float(state.driving),
        "paused": float(state.paused or False),
        "charging": math.nan if battery is None else float(charging),
        "order_active": float(active),
        "action_running": float(any(action.action_status == "RUNNING" for action in unfinished)),
        "battery": _charge(battery),
    }
    if mode is Mode.STARTUP:  # 3.0: what else the message says may not be valid yet
        numbers |= dict.fromkeys(numbers.keys() - {"connection", "mode"}, math.nan)
        return Observation(stamp(state.timestamp), numbers, {}, None, state.header_id, "state"), PoseFlag(0)
    flags = PoseFlag.DRIVING if state.driving else PoseFlag(0)
    if mode in AUTOMATIC_MODES:
        flags |= PoseFlag.AUTOMATIC
    if charging:
        flags |= PoseFlag.CHARGING
    texts = {"last_node": short(state.last_node_id, "lastNodeId")}
    pose = _pose(state.agv_position or state.mobile_robot_position, flags)
    return Observation(stamp(state.timestamp), numbers, texts, pose, state.header_id, "state"), flags


def decode_visualization(payload: bytes, flags: PoseFlag) -> Observation:
    """The position in a `visualization` message; `flags` are those of the robot's last state. Raises MessageError."""
    seen: _Visualization = parse_payload(payload, _Visualization)
    _check(seen)
    pose = _pose(seen.agv_position or seen.mobile_robot_position, flags)
    return Observation(stamp(seen.timestamp), pose=pose, sequence=seen.header_id, sequence_scope="visualization")


def decode_connection(payload: bytes) -> Observation:
    """What a `connection` message says. Raises MessageError.

    It is retained or a last will: its stamp is from when it was composed, not from when it became true, so the time of
    receipt counts. A will's header id is outdated too and says nothing about lost messages.
    """
    message: _Connection = parse_payload(payload, _Connection)
    _check(message)
    connection = _CONNECTIONS.get(message.connection_state)
    if connection is None:
        raise MessageError(f"unknown connectionState {message.connection_state[:40]!r}")
    sequence = None if connection is Connection.BROKEN else message.header_id
    numbers = {"connection": float(connection)}
    return Observation(None, numbers, sequence=sequence, sequence_scope="connection", at_receipt=True)


def decode_factsheet(payload: bytes) -> Observation:
    """What a `factsheet` message says about the product: its name and top speed, m/s. Raises MessageError.

    It is retained and does not change, so it holds when it is received.
    """
    sheet: _Factsheet = parse_payload(payload, _Factsheet)
    _check(sheet)
    physics = sheet.physical_parameters or _Physics()
    speed = physics.speed_max if physics.speed_max is not None else physics.maximum_speed
    numbers = {"speed_max": speed} if speed is not None and 0 <= speed <= SPEED_M_S_MAX else {}
    name = short(sheet.type_specification.series_name, "seriesName") if sheet.type_specification else ""
    return Observation(None, numbers, {"model": name} if name else {}, at_receipt=True)


def _check(header: _Header) -> None:
    if header.version and header.version.split(".", 1)[0] not in MAJOR_VERSIONS:
        raise MessageError(f"VDA 5050 version {header.version[:20]!r} is not known: expected 2 or 3")
    if not 0 <= header.header_id < 1 << 63:
        raise MessageError("headerId is out of range")


def _emergency_stop(safety: _Safety | None) -> float:
    text = None if safety is None else safety.e_stop or safety.active_emergency_stop
    return math.nan if text is None else float(text != "NONE")


def _error_level(error: _Error) -> float:
    return float(_ERROR_LEVELS.get(error.error_level, ErrorLevel.CRITICAL))


def _charge(battery: _Battery | None) -> float:
    if battery is None:
        return math.nan
    charge = battery.battery_charge if battery.battery_charge is not None else battery.state_of_charge
    return charge if charge is not None and 0 <= charge <= 100 else math.nan


def _pose(position: _Position | None, flags: PoseFlag) -> PoseTuple | None:
    if position is None or not position.map_id:
        return None
    if abs(position.x) > POSITION_M_MAX or abs(position.y) > POSITION_M_MAX or abs(position.theta) > THETA_RAD_MAX:
        raise MessageError("the position is absurd")
    if position.position_initialized or position.localized:
        flags |= PoseFlag.LOCALIZED
    theta = math.remainder(position.theta, math.tau)
    return (position.x, position.y, theta, short(position.map_id, "mapId"), flags)
