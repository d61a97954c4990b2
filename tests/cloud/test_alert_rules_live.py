"""Every rule of the default pack that looks at what devices say, by frames; and what late frames do."""

from pathlib import Path

import pytest

from cloud.alerts.alert import Machine
from cloud.alerts.view import SiteView, Watched
from devices.rule_kinds import Live
from devices.rules import known_rules
from tests.cloud.live_world import SITE, START_MS
from tests.cloud.rule_world import ONLINE, Values, calm, rule_world

# rule, product, values that make it true, values that end it; all other state points are 0
PACK: list[tuple[str, str, Values, Values]] = [
    ("fire-alarm", "fire-alarm-contact", {"fire": 1}, {"fire": 0}),
    ("fire-pump-failure", "fire-pump-gpx", {"alarms_1": 1 << 5}, {"alarms_1": 0}),
    ("lift-trapped", "lift-dry-contact", {"trapped_alarm": 1}, {"trapped_alarm": 0}),
    ("mains-lost", "mains-loss", {"mains_present": 0}, {"mains_present": 1}),
    ("water-leak", "leak-contact", {"leak": 1}, {"leak": 0}),
    ("equipment-fault-a", "generic-di", {"fault": 1}, {"fault": 0}),
    ("genset-not-auto", "comap-il4", {"mode": 0}, {"mode": 2}),
    ("genset-low-fuel", "comap-il4", {"fuel": 9}, {"fuel": 50}),
    ("genset-battery-low", "comap-il4", {"battery_voltage": 21}, {"battery_voltage": 24}),
    ("ups-on-battery", "apc-smart-ups", {"status": 1 << 2}, {"status": 1 << 1}),
    ("ups-replace-battery", "apc-smart-ups", {"battery_errors": 1 << 2}, {"battery_errors": 0}),
    ("robot-fault", "vda5050-robot", {"estop": 1}, {"estop": 0}),
]
ELSEWHERE = {  # told in tests of their own, below
    "equipment-fault-b", "equipment-fault-c", "lift-outside-zone", "gateway-silent", "device-silent", "robot-offline",
    "parking-full", "sensor-stale",
}  # fmt: skip


def test_every_live_rule_of_the_pack_has_a_scenario() -> None:
    live = {rule.id for rule in known_rules().values() if isinstance(rule.when, Live)}

    assert live == {rule for rule, *_ in PACK} | ELSEWHERE


@pytest.mark.parametrize(("rule_id", "product", "wrong", "right"), PACK)
async def test_a_rule_of_the_pack_raises_after_its_delay_and_clears_after_the_end(
    tmp_path: Path, rule_id: str, product: str, wrong: Values, right: Values
) -> None:
    rule = known_rules()[rule_id]
    with rule_world(tmp_path / "facts.sqlite", product) as world:
        world.describe()
        world.tell(calm(world, right))
        await world.pass_time(2)
        quiet = world.alerts(rule_id)
        began_ms = world.now_ms
        world.tell(wrong)
        await world.engine.evaluate(SITE)
        if rule.on_delay:
            await world.pass_time(rule.on_delay - 0.001, step_s=30)
            assert world.alerts(rule_id) == []
            await world.pass_time(0.001)
        [raised] = world.alerts(rule_id)
        world.tell(right)
        await world.pass_time(rule.off_delay + 0.001)
        cleared = world.engine.book.get(raised.key)

    assert quiet == []
    assert (raised.severity, raised.opened_ms, raised.latched) == (rule.severity, began_ms, rule.latched)
    assert raised.runbook == rule.runbook
    assert cleared is not None
    assert cleared.condition is Machine.CLEARED


@pytest.mark.parametrize(("criticality", "severity"), [("B", "orange"), ("C", "yellow")])
async def test_the_colour_of_a_fault_is_that_of_its_criticality(
    tmp_path: Path, criticality: str, severity: str
) -> None:
    with rule_world(tmp_path / "facts.sqlite", "generic-di") as world:
        world.watch.seen = SiteView(SITE, known_rules(), (Watched("thing", "dev-1", criticality),))
        await world.engine.load()
        world.describe()
        world.tell({"run": 0, "fault": 1, "warning": 0})
        await world.pass_time(60)
        [alert] = world.engine.open_alerts(SITE)

    assert (alert.key.rule, alert.severity) == (f"equipment-fault-{criticality.lower()}", severity)


async def test_a_device_that_does_not_answer_is_yellow_after_ten_minutes_unless_its_gateway_is_silent(
    tmp_path: Path,
) -> None:
    with rule_world(tmp_path / "facts.sqlite", "generic-di") as world:
        world.describe()
        world.tell({"run": 1, "fault": 0, "warning": 0})
        world.now_ms += 1000
        world.silence(world.now_ms - 61_000)
        await world.pass_time(599)
        early = world.alerts("device-silent")
        await world.pass_time(2)
        [alert] = world.alerts("device-silent")
    with rule_world(tmp_path / "other.sqlite", "generic-di") as world:
        world.describe()
        world.silence(world.now_ms - 61_000)
        world.now_ms += 1_000_000
        await world.engine.evaluate(SITE)
        rules = [one.key.rule for one in world.engine.open_alerts(SITE)]

    assert early == []
    assert (alert.severity, alert.key.thing) == ("yellow", "thing")
    assert rules == ["gateway-silent"]


async def test_a_robot_unheard_in_required_hours_is_yellow_after_five_minutes(tmp_path: Path) -> None:
    with rule_world(tmp_path / "facts.sqlite", "vda5050-robot") as world:
        world.describe()
        world.tell({**ONLINE, "driving": 1, "order_active": 1})
        await world.pass_time(60)
        heard = world.alerts("robot-offline")
        await world.pass_time(90 + 300 - 60 + 31)
        [alert] = world.alerts("robot-offline")
        world.tell(ONLINE)
        await world.engine.evaluate(SITE)
        back = world.engine.book.get(alert.key)

    assert heard == []
    assert alert.opened_ms == START_MS + 90_000
    assert back is not None
    assert back.condition is Machine.CLEARED


async def test_outside_required_hours_an_unheard_robot_is_no_alert(tmp_path: Path) -> None:
    with rule_world(tmp_path / "facts.sqlite", "vda5050-robot") as world:
        [robot] = world.watch.seen.robots
        view = SiteView(SITE, known_rules(), robots=(type(robot)("thing", "dev-1", ((0, 1),)),))
        world.watch.seen = view
        await world.engine.load()
        world.describe()
        world.tell(ONLINE)
        await world.pass_time(900)

        assert world.alerts("robot-offline") == []


async def test_a_parking_sensor_that_is_not_heard_is_yellow_and_a_full_group_after_half_an_hour(tmp_path: Path) -> None:
    with rule_world(tmp_path / "facts.sqlite", "nwave-nps405") as world:
        world.describe()
        world.tell({"occupied": 1})
        await world.pass_time(1799, step_s=60)
        early = world.engine.open_alerts(SITE)
        await world.pass_time(61)
        [full] = world.alerts("parking-full")
        world.tell({"occupied": 0})
        await world.pass_time(61)
        free = world.engine.book.get(full.key)
        world.now_ms += world.profile.hold_s * 1000
        await world.pass_time(61)
        [stale] = world.alerts("sensor-stale")

    assert early == []
    assert (full.key.thing, full.opened_ms) == ("b1-cars", START_MS)
    assert free is not None
    assert free.condition is Machine.CLEARED
    assert (stale.key.thing, stale.severity) == ("thing", "yellow")
