import hashlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import ConfigurationError
from devices.profile import LoadedProfile, load_profiles, parse_profile
from devices.reading import Series
from devices.states import ROBOT_STATE_POINTS

PUMP = """\
id: pump
source: {document: manual, verified: manual}
modbus: {address_base: 1}
poll: {state: 500ms, value: 2min}
points:
  - {id: status, function: holding, address: 1, type: u16, poll: state, enum: {0: stopped, 1: running, 9: broken}}
  - {id: level, function: input, address: 10, type: s16, scale: 0.01, unit: percent, deadband: 0.5}
  - {id: alarm, function: coil, address: 4, type: bool, poll: state}
  - {id: serial, function: holding, address: 20, type: string, length: 8}
states:
  fault: status == 'broken' or alarm
  run: status == 'running' and level > 20
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_profile(text, "pump.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.fixture(scope="module")
def profiles() -> dict[str, LoadedProfile]:
    return load_profiles()


def test_a_profile_knows_what_its_points_are() -> None:
    pump = parse_profile(PUMP, "pump.yaml")

    assert pump.hash == hashlib.sha256(PUMP.encode()).hexdigest()
    assert (pump.kind, pump.pushes) == ("equipment", False)
    assert pump.state_points == {"status", "alarm", "level"}
    assert pump.discrete_points == {"status", "alarm"}
    assert pump.analogue_state_points == {"level"}
    assert pump.text_points == {"serial"}
    assert pump.unit_of("level") == "percent"


def test_addresses_count_from_zero_whatever_the_manual_says() -> None:
    pump = parse_profile(PUMP, "pump.yaml")

    assert [point.address for point in pump.profile.points] == [0, 9, 3, 19]


def test_a_value_is_held_for_three_polls_of_the_slowest_state_point_but_a_minute_at_least() -> None:
    pump = parse_profile(PUMP, "pump.yaml")

    assert (pump.state_poll_interval_s, pump.hold_s) == (120.0, 360)
    assert pump.hold_for(slowed_to_s=600.0) == 1800
    assert parse_profile(PUMP.replace("2min", "1s"), "p").hold_s == 60
    assert parse_profile(PUMP.replace("2min", "20100ms"), "p").hold_s == 61
    assert parse_profile("hold_s: 90s\n" + PUMP, "p").hold_s == 90


def test_a_site_can_only_slow_the_polls() -> None:
    pump = parse_profile(PUMP, "pump.yaml")

    assert pump.poll_interval_s("status") == 0.5
    assert pump.poll_interval_s("status", slowed_to_s=5.0) == 5.0
    assert pump.poll_interval_s("level", slowed_to_s=5.0) == 120.0


def test_a_series_carries_its_hold_when_it_decides_the_state() -> None:
    pump = parse_profile(PUMP, "pump.yaml")

    assert pump.series("p1", "alarm") == Series("p1", "alarm", "", 360)
    assert pump.series("p1", "serial") == Series("p1", "serial", "", 0)


def test_the_inventory_entry_names_points_units_and_hold() -> None:
    info = parse_profile(PUMP, "pump.yaml").device_info("p1")

    assert info.points == (("status", ""), ("level", "percent"), ("alarm", ""), ("serial", ""))
    assert (info.poll_interval_s, info.hold_s, info.pushes) == (120.0, 360, False)


def test_the_packaged_profiles_are_found_by_id(profiles: dict[str, LoadedProfile]) -> None:
    assert {
        "abb-acs580",
        "eastron-sdm630",
        "generic-di",
        "lift-dry-contact",
        "nwave-nps405",
        "vda5050-robot",
    } <= profiles.keys()
    assert profiles["vda5050-robot"].state_points == ROBOT_STATE_POINTS
    assert profiles["nwave-nps405"].state_points == {"occupied"}


def test_a_profile_text_from_a_frame_is_the_same_profile(profiles: dict[str, LoadedProfile]) -> None:
    for profile in profiles.values():
        record = profile.record()

        assert parse_profile(record.text, "frame").hash == record.hash == profile.hash


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("id: pump", "id: Pump_1", "1:5: id: 'Pump_1'"),
        ("modbus: {address_base: 1}", "", "1:5: a profile has either modbus or mqtt"),
        ("fault: status ==", "fault: statu ==", "11:10: fault: unknown point 'statu'"),
        ("or alarm", "or alar", "11:32: fault: unknown point 'alar'"),
        ("'running' and", "'runing' and", "12:18: run: unknown label 'runing'"),
        ("unit: percent", "unit: prozent", "7:77: unknown unit 'prozent'"),
        ("poll: state, enum", "poll: fast, enum", "6:66: unknown poll class 'fast': expected one of state, value"),
        ("500ms", "500 ms", "4:15: poll.state: '500 ms': expected a duration like 500ms"),
        ("500ms", "-1", "4:15: poll.state: -1: input should be greater than 0"),
        ("address: 4, type: bool", "address: 0, type: bool", "8:42: 0 is outside the table"),
        ("address: 10", "address: 65537", "7:43: points.1.address: 65537"),
        ("address: 4, type: bool", "address: 4, type: u16", "8:51: a coil is one bit: expected bool"),
        ("type: s16", "type: bit", "7:53: bit: 0 to 15 belongs to the type bit"),
        ("scale: 0.01", "scale: 0", "7:65: a scale of 0"),
        ("deadband: 0.5", "deadband: -1", "deadband: -1: input should be greater than or equal to 0"),
        ("type: u16, poll", "type: u16, deadband: 1, poll", "a deadband needs a unit"),
        ("type: s16", "type: s16, invalid: [65536]", "a sentinel does not fit into s16"),
        ("length: 8", "unit: V", "length (in registers) belongs to the type string"),
        ("id: alarm", "id: level", "8:10: the point 'level' stands here twice"),
        ("id: serial", "id: not", "9:10: 'not' is a word of the rule language"),
        ("9: broken", "9: running", "two numbers have the same label"),
        ("function: coil, ", "", "8:10: a Modbus point needs function and address"),
        ("run: status", "rnu: status", "12:3: unknown key 'rnu': did you mean 'run'?"),
        ("modbus: {address_base: 1}", "mqtt: {message: vda5050}", "3:7: hold_s is required for a device that pushes"),
        ("id: pump\n", "id: pump\nkind: robot\n", "a robot needs the points action_running, charging"),
    ],
)
def test_a_mistake_is_refused_with_its_place(old: str, new: str, expected: str) -> None:
    assert old in PUMP

    found = problems(PUMP.replace(old, new))

    assert any(expected in problem for problem in found), found


def test_an_expression_in_quotes_is_blamed_at_its_character() -> None:
    found = problems(PUMP.replace("fault: status == 'broken' or alarm", 'fault: "alarm or broken"'))

    assert found == ["pump.yaml:11:20: fault: unknown point 'broken': expected one of alarm, level, status"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_profile_is_refused_or_read_but_nothing_else(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(PUMP)))
    end = data.draw(st.integers(start, min(start + 30, len(PUMP))))
    piece = data.draw(st.text(st.characters(codec="utf-8"), max_size=10))
    with suppress(ConfigurationError):
        parse_profile(PUMP[:start] + piece + PUMP[end:], "pump.yaml")
