"""From raw points to states: equipment, robots and spaces. Pure; the edge and the cloud use these very functions.

Values are the numbers held now, by point id; a point that is not held is absent, None or NaN, and unknown.
Sources: design.md sections 7 and 8, domain.md 1.2 and 3.1.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Protocol

from devices.expressions import Expression, Truth

Values = Mapping[str, float | None]


class Counts(StrEnum):
    """How time in a state enters the intact rate."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"
    EXCLUDED = "excluded"


class EquipmentState(StrEnum):
    """What an equipment is doing. OFF_DUTY, PM and DRILL come from calendars and windows, never from points."""

    RUN = "run"
    STANDBY = "standby"
    DEGRADED = "degraded"
    EXT = "ext"
    FAULT = "fault"
    UNKNOWN = "unknown"
    OFF_DUTY = "off_duty"
    PM = "pm"
    DRILL = "drill"

    @property
    def counts_as(self) -> Counts:
        """How time in this state enters the intact rate (domain.md 1.2)."""
        return _COUNTS_AS[self]

    @property
    def precedence(self) -> int:
        """Of several causes at one time the lowest number decides (domain.md 1.4)."""
        return _PRECEDENCE.index(self)


_COUNTS_AS = {
    EquipmentState.RUN: Counts.UP,
    EquipmentState.STANDBY: Counts.UP,
    EquipmentState.DEGRADED: Counts.UP,
    EquipmentState.EXT: Counts.UP,
    EquipmentState.FAULT: Counts.DOWN,
    EquipmentState.UNKNOWN: Counts.UNKNOWN,
    EquipmentState.OFF_DUTY: Counts.EXCLUDED,
    EquipmentState.PM: Counts.EXCLUDED,
    EquipmentState.DRILL: Counts.EXCLUDED,
}
_PRECEDENCE = (
    EquipmentState.DRILL,
    EquipmentState.OFF_DUTY,
    EquipmentState.PM,
    EquipmentState.FAULT,
    EquipmentState.EXT,
    EquipmentState.UNKNOWN,
    EquipmentState.DEGRADED,
    EquipmentState.RUN,
    EquipmentState.STANDBY,
)


class SpaceState(StrEnum):
    """A parking space. CLOSED and RESERVED come from the ledger, never from a sensor."""

    FREE = "free"
    OCCUPIED = "occupied"
    UNKNOWN = "unknown"
    CLOSED = "closed"
    RESERVED = "reserved"


class RobotState(StrEnum):
    """What a robot is doing, for the map and for utilisation."""

    PATROLLING = "patrolling"
    IDLE = "idle"
    CHARGING = "charging"
    PAUSED = "paused"
    MANUAL = "manual"
    FAULT = "fault"
    OFFLINE = "offline"
    UNKNOWN = "unknown"


class Connection(IntEnum):
    """The robot point `connection`."""

    OFFLINE = 0
    ONLINE = 1
    HIBERNATING = 2
    BROKEN = 3


class Mode(IntEnum):
    """The robot point `mode` (VDA 5050 operating modes)."""

    AUTOMATIC = 0
    SEMIAUTOMATIC = 1
    MANUAL = 2
    SERVICE = 3
    TEACHIN = 4
    STARTUP = 5
    INTERVENED = 6


class ErrorLevel(IntEnum):
    """The robot point `error_level`: the worst of its errors."""

    NONE = 0
    WARNING = 1
    URGENT = 2
    CRITICAL = 3
    FATAL = 4


AUTOMATIC_MODES = frozenset({Mode.AUTOMATIC, Mode.SEMIAUTOMATIC})
ROBOT_STATE_POINTS = frozenset(
    {"connection", "mode", "estop", "error_level", "driving", "paused", "charging", "order_active", "action_running"}
)
SPACE_STATE_POINTS = frozenset({"occupied"})
BARRIER_STATE_POINTS = frozenset({"entered", "left"})  # counters of passages
BANK_STATE_PREFIX = "occupied_"  # of the state inputs of a bank of parking sensors, one for each space


@dataclass(frozen=True, slots=True, eq=False)
class StateRules:
    """The rules of one equipment profile. A rule that is absent is never true.

    `signals` are the named conditions that alert rules ask for; they do not enter the state.
    """

    fault: Expression
    ext: Expression | None = None
    degraded: Expression | None = None
    run: Expression | None = None
    signals: Mapping[str, Expression] = field(default_factory=dict)

    @property
    def points(self) -> frozenset[str]:
        """Every point that a rule or a signal names."""
        return frozenset().union(*(rule.points for rule in self._rules()))

    def state(self, values: Values) -> EquipmentState:
        """Fault, ext, degraded, run in this order, else standby; unknown when `fault` is unknown."""
        faulty = self.fault.evaluate(values)
        if faulty is None:
            return EquipmentState.UNKNOWN
        if faulty:
            return EquipmentState.FAULT
        if self.ext is not None and self.ext.evaluate(values):
            return EquipmentState.EXT
        if self.degraded is not None and self.degraded.evaluate(values):
            return EquipmentState.DEGRADED
        if self.run is not None and self.run.evaluate(values):
            return EquipmentState.RUN
        return EquipmentState.STANDBY

    def comparisons(self, values: Values, point: str | None = None) -> tuple[Truth, ...]:
        """The truth of each comparison an analogue point (or the named one) stands in, over all rules."""
        return tuple(truth for rule in self._rules() for truth in rule.comparisons(values, point))

    def _rules(self) -> tuple[Expression, ...]:
        states = (rule for rule in (self.fault, self.ext, self.degraded, self.run) if rule is not None)
        return (*states, *self.signals.values())


class Judged(Protocol):
    """What `equipment_state` must know of a profile; `devices.profile.LoadedProfile` is one."""

    @property
    def kind(self) -> str:
        """equipment, robot, space, space-bank or barrier."""

    @property
    def state_points(self) -> frozenset[str]:
        """The points that decide the state."""

    @property
    def rules(self) -> StateRules | None:
        """The state rules of an equipment."""


def equipment_state(profile: Judged, values: Values) -> EquipmentState:
    """The state of whatever the profile describes, seen as equipment.

    A parking sensor or a barrier runs while it is heard, a bank of sensors while all of them are.
    """
    if profile.kind == "robot":
        return robot_health(values)
    if profile.kind == "space":
        return EquipmentState.UNKNOWN if _held(values, "occupied") is None else EquipmentState.RUN
    if profile.kind in {"space-bank", "barrier"}:
        silent = any(_held(values, point) is None for point in profile.state_points)
        return EquipmentState.UNKNOWN if silent else EquipmentState.RUN
    return EquipmentState.UNKNOWN if profile.rules is None else profile.rules.state(values)


def robot_health(values: Values) -> EquipmentState:
    """A robot as equipment: emergency stop or a FATAL or CRITICAL error is a fault (domain.md 3.1).

    Offline, broken or unheard is unknown, except that a hibernating robot (VDA 5050 3.0) is on standby.
    """
    connection, mode = _held(values, "connection"), _held(values, "mode")
    estop, error_level = _held(values, "estop"), _held(values, "error_level")
    if connection in {Connection.OFFLINE, Connection.BROKEN}:
        return EquipmentState.UNKNOWN
    if (estop is not None and estop != 0) or (error_level is not None and error_level >= ErrorLevel.CRITICAL):
        return EquipmentState.FAULT
    if connection == Connection.HIBERNATING:
        return EquipmentState.STANDBY
    if estop is None or error_level is None or mode == Mode.STARTUP:
        return EquipmentState.UNKNOWN
    if error_level >= ErrorLevel.WARNING:
        return EquipmentState.DEGRADED
    busy = _held(values, "driving") or _held(values, "order_active")
    return EquipmentState.RUN if busy else EquipmentState.STANDBY


def robot_state(values: Values) -> RobotState:
    """What the robot does. Patrolling: driving or a running action, in an automatic mode, with an active order."""
    connection, mode = _held(values, "connection"), _held(values, "mode")
    if connection in {Connection.OFFLINE, Connection.BROKEN}:
        return RobotState.OFFLINE
    health = robot_health(values)
    if health == EquipmentState.FAULT:
        return RobotState.FAULT
    if connection == Connection.HIBERNATING:
        return RobotState.IDLE
    if health == EquipmentState.UNKNOWN or mode is None:
        return RobotState.UNKNOWN
    if mode not in AUTOMATIC_MODES:
        return RobotState.MANUAL
    if _held(values, "charging"):
        return RobotState.CHARGING
    if _held(values, "paused"):
        return RobotState.PAUSED
    moving = _held(values, "driving") or _held(values, "action_running")
    return RobotState.PATROLLING if moving and _held(values, "order_active") else RobotState.IDLE


def space_state(values: Values, ledger: SpaceState | None = None, point: str | None = None) -> SpaceState:
    """A space by its sensor, or by one `point` of a bank of them; what the ledger says (closed, reserved) wins."""
    if ledger is not None:
        return ledger
    occupied = _held(values, point or "occupied")
    if occupied is None:
        return SpaceState.UNKNOWN
    return SpaceState.OCCUPIED if occupied != 0 else SpaceState.FREE


def _held(values: Values, point: str) -> float | None:
    value = values.get(point)
    return None if value is None or math.isnan(value) else value
