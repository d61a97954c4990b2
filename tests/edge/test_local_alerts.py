"""Rules judged on the gateway: delays, silence, clock steps, restarts. Nothing but values and moments."""

from dataclasses import replace

import numpy as np
import pytest

from devices.profile import packaged_profile, parse_profile
from devices.reading import Block, Quality
from devices.records import LocalAlert
from devices.rules import Override, parse_site_rules
from edge.alert_settings import AlertSettings, rules_at_edge
from edge.clock import Moment
from edge.config import Device
from edge.local_alerts import LocalAlerts

START_MS = 1_780_000_000_000
BOOT_MS = 50_000


def at(seconds: float, *, ahead_ms: int = 0) -> Moment:
    elapsed_ms = round(seconds * 1000)
    return Moment(START_MS + elapsed_ms + ahead_ms, BOOT_MS + elapsed_ms, b"r" * 8, trusted=True, uncertainty_ms=5)


FIRE = Device("panel", packaged_profile("fire-alarm-contact"), "c", 1)
LEAK = Device("leak", packaged_profile("leak-contact"), "c", 2)
POINTS = {name: tuple(packaged_profile(name).points) for name in ("fire-alarm-contact", "leak-contact")}


def read(device: Device, seconds: float, values: dict[str, float] | None = None, **named: float) -> Block:
    points = tuple(device.profile.points)
    numbers = np.array([((values or {}) | named).get(point, 0.0) for point in points])
    return Block(device.id, points, at(seconds).utc_ms, Quality.GOOD, numbers)


def unanswered(device: Device, seconds: float) -> Block:
    points = tuple(device.profile.points)
    return Block(device.id, points, at(seconds).utc_ms, Quality.BAD_NO_ANSWER, np.full(len(points), np.nan))


def alerts_of(*devices: Device, settings: AlertSettings | None = None) -> LocalAlerts:
    return LocalAlerts(devices, rules_at_edge(settings or AlertSettings()), at(0))


def told(alerts: list[LocalAlert]) -> list[tuple[str, str, str, float]]:
    return [(one.rule, one.thing, one.condition, (one.since_ms - START_MS) / 1000) for one in alerts]


def test_a_fire_alarm_is_told_by_the_read_that_shows_it() -> None:
    alerts = alerts_of(FIRE)
    alerts.take([read(FIRE, 1)], at(1))

    found = alerts.take([read(FIRE, 2, fire=1)], at(2))

    assert told(found) == [("fire-alarm", "panel", "active", 2.0)]
    assert (found[0].severity, found[0].latched) == ("red", True)


def test_a_delay_counts_from_the_reading_and_ends_without_another_one() -> None:
    alerts = alerts_of(LEAK)
    point = next(iter(LEAK.profile.profile.signals.values()))
    wet = read(LEAK, 10, values={name: 1.0 for name in LEAK.profile.points if name in point})

    assert alerts.take([wet], at(10.2)) == []
    assert alerts.tick(at(14.9)) == []
    assert told(alerts.tick(at(15))) == [("water-leak", "leak", "active", 10.0)]
    assert alerts.tick(at(15.5)) == []


def test_what_is_over_before_its_delay_is_told_to_nobody() -> None:
    alerts = alerts_of(LEAK)
    name = next(iter(LEAK.profile.points))

    alerts.take([read(LEAK, 10, values={name: 1.0})], at(10))
    alerts.take([read(LEAK, 13)], at(13))

    assert alerts.tick(at(20)) == []


def test_an_end_is_told_after_the_off_delay() -> None:
    alerts = alerts_of(FIRE)
    alerts.take([read(FIRE, 1, fire=1)], at(1))

    assert alerts.take([read(FIRE, 20)], at(20)) == []
    assert told(alerts.tick(at(25))) == [("fire-alarm", "panel", "cleared", 20.0)]


def test_silence_neither_raises_nor_clears() -> None:
    alerts = alerts_of(FIRE)
    alerts.take([read(FIRE, 1, fire=1)], at(1))

    alerts.take([unanswered(FIRE, 30)], at(30))

    assert alerts.tick(at(4000)) == []
    assert [one.rule for one in alerts.active(at(4000))] == ["fire-alarm"]


def test_a_clock_that_is_put_right_ends_no_delay() -> None:
    alerts = alerts_of(LEAK)
    name = next(iter(LEAK.profile.points))
    alerts.take([read(LEAK, 10, values={name: 1.0})], at(10))

    assert alerts.tick(at(11, ahead_ms=86_400_000)) == []
    found = alerts.tick(at(15, ahead_ms=86_400_000))

    assert told(found) == [("water-leak", "leak", "active", 86_400 + 10)]  # in the time of the new clock run


def test_a_class_a_fault_needs_to_be_told_which_class_it_is() -> None:
    named = replace(FIRE, id="named", criticality="A")
    alerts = alerts_of(FIRE, named)

    for device in (FIRE, named):
        alerts.take([read(device, 1, panel_fault=1)], at(1))

    assert told(alerts.tick(at(11))) == [("equipment-fault-a", "named", "active", 1.0)]


def test_an_override_changes_the_delay_and_a_rule_can_be_switched_off() -> None:
    slow = AlertSettings(overrides=(Override.model_validate({"rule": "fire-alarm", "on_delay": 3.0}, strict=False),))
    none = AlertSettings(overrides=(Override.model_validate({"rule": "fire-alarm", "mode": "off"}, strict=False),))
    delayed, off = alerts_of(FIRE, settings=slow), alerts_of(FIRE, settings=none)

    for alerts in (delayed, off):
        assert alerts.take([read(FIRE, 1, fire=1)], at(1)) == []

    assert told(delayed.tick(at(4))) == [("fire-alarm", "panel", "active", 1.0)]
    assert off.tick(at(4)) == []


TANK = parse_profile(
    """
id: tank
source: {document: none, verified: unverified}
modbus: {}
poll: {state: 5s}
points:
  - {id: level, function: holding, address: 0, type: u16, unit: percent, poll: state}
states: {fault: level > 200}
measures: {level: level}
""",
    "tank.yaml",
)
OWN_RULES = """
rules:
  - id: tank-high
    severity: orange
    name: Tank is too full
    when: {kind: threshold, measure: level, side: above, limit: 90, deadband: 5}
    at: edge
  - id: tank-silent
    severity: yellow
    name: Tank does not answer
    when: {kind: missing-data, of: device}
    on_delay: 2min
    at: edge
"""


def tank_alerts() -> tuple[Device, LocalAlerts]:
    rules = parse_site_rules(OWN_RULES, "rules.yaml")
    tank = Device("tank", TANK, "c", 1)
    return tank, alerts_of(tank, settings=AlertSettings(rules=rules.rules))


def test_a_threshold_has_its_deadband_and_tells_value_and_limit() -> None:
    tank, alerts = tank_alerts()
    seen = [alerts.take([read(tank, second, level=level)], at(second)) for second, level in
            enumerate([80, 91, 88, 92, 84])]  # fmt: skip

    assert [told(one) for one in seen if one] == [
        [("tank-high", "tank", "active", 1.0)],
        [("tank-high", "tank", "cleared", 4.0)],
    ]
    assert dict(seen[1][0].parameters) == {"value": "91 percent", "limit": "90 percent"}


def test_a_device_that_is_silent_for_too_long_is_told_and_so_is_its_return() -> None:
    tank, alerts = tank_alerts()
    alerts.take([read(tank, 5, level=10)], at(5))

    assert alerts.tick(at(124.9)) == []
    assert told(alerts.tick(at(125))) == [("tank-silent", "tank", "active", 5.0)]
    assert told(alerts.take([read(tank, 300, level=10)], at(300))) == [("tank-silent", "tank", "cleared", 300.0)]


def test_after_a_restart_an_active_alert_is_not_told_again_but_its_end_is() -> None:
    first = alerts_of(FIRE)
    first.take([read(FIRE, 1, fire=1)], at(1))
    second = LocalAlerts((FIRE,), rules_at_edge(AlertSettings()), at(60), first.standing(at(50)))

    assert second.take([read(FIRE, 61, fire=1)], at(61)) == []
    second.take([read(FIRE, 70)], at(70))
    assert told(second.tick(at(75))) == [("fire-alarm", "panel", "cleared", 70.0)]


def test_an_older_message_is_not_the_present() -> None:
    alerts = alerts_of(FIRE)
    alerts.take([read(FIRE, 100)], at(100))

    assert alerts.take([read(FIRE, 50, fire=1)], at(101)) == []


@pytest.mark.parametrize("mode", ["shadow", "off"])
def test_a_shadow_rule_is_the_clouds_alone(mode: str) -> None:
    override = Override.model_validate({"rule": "fire-alarm", "mode": mode}, strict=False)

    assert "fire-alarm" not in {rule.id for rule in rules_at_edge(AlertSettings(overrides=(override,)))}
