from collections.abc import Mapping

import pytest

from devices.expressions import parse_expression
from devices.profile import load_profiles
from devices.states import (
    Connection,
    Counts,
    EquipmentState,
    ErrorLevel,
    Mode,
    RobotState,
    SpaceState,
    StateRules,
    equipment_state,
    robot_health,
    robot_state,
    space_state,
)

POINTS = ("f", "x", "d", "r", "speed")
RULES = StateRules(
    parse_expression("f", POINTS, ()),
    parse_expression("x", POINTS, ()),
    parse_expression("d", POINTS, ()),
    parse_expression("r and speed > 1", POINTS, ("speed",)),
)
HEALTHY = {
    "connection": 1.0,
    "mode": 0.0,
    "estop": 0.0,
    "error_level": 0.0,
    "driving": 1.0,
    "paused": 0.0,
    "charging": 0.0,
    "order_active": 1.0,
    "action_running": 0.0,
}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"f": 1, "x": 1, "d": 1, "r": 1, "speed": 5}, EquipmentState.FAULT),
        ({"f": 0, "x": 1, "d": 1, "r": 1, "speed": 5}, EquipmentState.EXT),
        ({"f": 0, "x": 0, "d": 1, "r": 1, "speed": 5}, EquipmentState.DEGRADED),
        ({"f": 0, "x": 0, "d": 0, "r": 1, "speed": 5}, EquipmentState.RUN),
        ({"f": 0, "x": 0, "d": 0, "r": 1, "speed": 0}, EquipmentState.STANDBY),
        ({"f": None, "x": 1, "d": 1, "r": 1, "speed": 5}, EquipmentState.UNKNOWN),
        ({"x": 1}, EquipmentState.UNKNOWN),
        ({"f": 0}, EquipmentState.STANDBY),
    ],
)
def test_rules_are_asked_in_order(values: Mapping[str, float | None], expected: EquipmentState) -> None:
    assert RULES.state(values) is expected


def test_rules_name_their_points_and_comparisons() -> None:
    assert RULES.points == {"f", "x", "d", "r", "speed"}
    assert RULES.comparisons({"speed": 2}) == (True,)


def test_every_state_counts_as_something_and_has_a_precedence() -> None:
    assert [state for state in EquipmentState if state.counts_as is Counts.DOWN] == [EquipmentState.FAULT]
    assert {state for state in EquipmentState if state.counts_as is Counts.EXCLUDED} == {
        EquipmentState.OFF_DUTY,
        EquipmentState.PM,
        EquipmentState.DRILL,
    }
    assert EquipmentState.UNKNOWN.counts_as is Counts.UNKNOWN
    assert min(EquipmentState, key=lambda state: state.precedence) is EquipmentState.DRILL


@pytest.mark.parametrize(
    ("change", "health", "doing"),
    [
        ({}, EquipmentState.RUN, RobotState.PATROLLING),
        ({"driving": 0.0, "action_running": 1.0}, EquipmentState.RUN, RobotState.PATROLLING),
        ({"driving": 0.0}, EquipmentState.RUN, RobotState.IDLE),
        ({"driving": 0.0, "order_active": 0.0}, EquipmentState.STANDBY, RobotState.IDLE),
        ({"charging": 1.0, "driving": 0.0}, EquipmentState.RUN, RobotState.CHARGING),
        ({"paused": 1.0}, EquipmentState.RUN, RobotState.PAUSED),
        ({"mode": float(Mode.SERVICE)}, EquipmentState.RUN, RobotState.MANUAL),
        ({"mode": float(Mode.INTERVENED)}, EquipmentState.RUN, RobotState.MANUAL),
        ({"mode": float(Mode.STARTUP)}, EquipmentState.UNKNOWN, RobotState.UNKNOWN),
        ({"mode": None}, EquipmentState.RUN, RobotState.UNKNOWN),
        ({"estop": 1.0}, EquipmentState.FAULT, RobotState.FAULT),
        ({"error_level": float(ErrorLevel.FATAL)}, EquipmentState.FAULT, RobotState.FAULT),
        ({"error_level": float(ErrorLevel.CRITICAL)}, EquipmentState.FAULT, RobotState.FAULT),
        ({"error_level": float(ErrorLevel.URGENT)}, EquipmentState.DEGRADED, RobotState.PATROLLING),
        ({"error_level": float(ErrorLevel.WARNING)}, EquipmentState.DEGRADED, RobotState.PATROLLING),
        ({"connection": float(Connection.BROKEN)}, EquipmentState.UNKNOWN, RobotState.OFFLINE),
        ({"connection": float(Connection.OFFLINE)}, EquipmentState.UNKNOWN, RobotState.OFFLINE),
        ({"connection": None}, EquipmentState.RUN, RobotState.PATROLLING),
        ({"estop": None}, EquipmentState.UNKNOWN, RobotState.UNKNOWN),
        ({"estop": float("nan")}, EquipmentState.UNKNOWN, RobotState.UNKNOWN),
    ],
)
def test_a_robot_has_a_health_and_a_doing(
    change: dict[str, float | None], health: EquipmentState, doing: RobotState
) -> None:
    values = {**HEALTHY, **change}

    assert (robot_health(values), robot_state(values)) == (health, doing)


def test_a_robot_unheard_of_is_unknown_but_a_hibernating_one_is_on_standby() -> None:
    assert (robot_health({}), robot_state({})) == (EquipmentState.UNKNOWN, RobotState.UNKNOWN)

    asleep = {"connection": float(Connection.HIBERNATING)}

    assert (robot_health(asleep), robot_state(asleep)) == (EquipmentState.STANDBY, RobotState.IDLE)


def test_a_space_is_what_its_sensor_says_unless_the_ledger_knows_better() -> None:
    assert space_state({"occupied": 1.0}) is SpaceState.OCCUPIED
    assert space_state({"occupied": 0.0}) is SpaceState.FREE
    assert space_state({}) is SpaceState.UNKNOWN
    assert space_state({"occupied": 1.0}, SpaceState.CLOSED) is SpaceState.CLOSED


def test_one_function_judges_equipment_robots_and_sensors() -> None:
    profiles = load_profiles()

    assert equipment_state(profiles["abb-acs580"], {"status": 8.0}) is EquipmentState.FAULT
    assert equipment_state(profiles["vda5050-robot"], HEALTHY) is EquipmentState.RUN
    assert equipment_state(profiles["nwave-nps405"], {"occupied": 0.0}) is EquipmentState.RUN
    assert equipment_state(profiles["nwave-nps405"], {}) is EquipmentState.UNKNOWN
