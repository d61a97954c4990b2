"""Which moments of frames become alerts: late ones, bursts, blips; drills, trials, and what a change costs."""

from pathlib import Path
from typing import Any

import pytest

from cloud.alerts.alert import Machine
from cloud.alerts.checks import Check
from cloud.alerts.store import Filter
from cloud.alerts.view import SiteView, Watched
from devices.errors import StorageUnavailable
from devices.frame import Origin
from devices.profile import packaged_profile, parse_profile
from devices.records import Inventory
from devices.rules import Mode, Override, Rule, SiteRules, known_rules, parse_rules, rules_of_site
from tests.cloud.live_world import SITE, START_MS
from tests.cloud.rule_world import calm, rule_world


async def test_what_was_over_before_its_frame_was_received_is_history_and_calls_nobody(tmp_path: Path) -> None:
    with rule_world(tmp_path / "facts.sqlite", "generic-di") as world:
        world.describe()
        world.tell({"run": 1, "fault": 0, "warning": 0})
        began_ms = world.now_ms + 1000
        world.now_ms += 60_000
        world.tell_steps([(began_ms, {"fault": 1.0}), (began_ms + 20_000, {"fault": 0.0})])
        await world.engine.evaluate(SITE)
        called = world.engine.open_alerts(SITE)
        [kept] = world.store.page(Filter(open_only=False), 10)

    assert called == []
    assert (kept.historical, kept.opened_ms, kept.cleared_ms) == (True, began_ms, began_ms + 20_000)


async def test_a_blip_shorter_than_the_on_delay_is_none_however_late_it_is_learned(tmp_path: Path) -> None:
    with rule_world(tmp_path / "facts.sqlite", "generic-di") as world:
        world.describe()
        world.tell({"run": 1, "fault": 0, "warning": 0})
        began_ms = world.now_ms + 1000
        world.now_ms += 60_000
        world.tell_steps([(began_ms, {"fault": 1.0}), (began_ms + 9_000, {"fault": 0.0})])
        await world.engine.evaluate(SITE)

        assert world.store.page(Filter(open_only=False), 10) == []


async def test_a_lift_between_landings_is_red_where_a_profile_of_the_site_says_so(tmp_path: Path) -> None:
    text = packaged_profile("lift-dry-contact").text.replace("signals:", "signals:\n  lift_outside_zone: comms")
    with rule_world(tmp_path / "facts.sqlite", parse_profile(text, "own-lift.yaml")) as world:
        world.describe()
        world.tell({**dict.fromkeys(world.profile.state_points, 0.0), "comms": 1.0})
        await world.engine.evaluate(SITE)
        [alert] = world.alerts("lift-outside-zone")

    assert (alert.severity, alert.latched) == ("red", True)


async def test_a_threshold_with_a_delay_says_value_and_limit_and_comes_back_by_its_deadband(tmp_path: Path) -> None:
    [rule] = parse_rules(
        "id: own\nversion: 1\nrules:\n  - {id: hot, severity: yellow, name: Too hot, on_delay: 1min, when:"
        " {kind: threshold, measure: temperature, side: above, limit: 40, deadband: 2, classes: [machine]}}\n",
        "own.yaml",
    ).rules
    with rule_world(tmp_path / "facts.sqlite", "apc-smart-ups", {rule.id: rule}) as world:
        world.describe()
        world.tell({"temperature": 40.0})
        world.now_ms += 1000
        world.tell({"temperature": 41.5})
        await world.pass_time(60)
        [alert] = world.alerts("hot")
        world.tell({"temperature": 38.5})
        await world.engine.evaluate(SITE)
        within = world.engine.book.get(alert.key)
        world.now_ms += 1000
        world.tell({"temperature": 38.0})
        await world.engine.evaluate(SITE)
        below = world.engine.book.get(alert.key)

    assert alert.opened_ms == START_MS + 1000
    said = {name: alert.parameters[name] for name in ("value", "limit", "rule_name")}
    assert said == {"value": "41.5 degC", "limit": "40 degC", "rule_name": "Too hot"}
    assert within is not None
    assert below is not None
    assert (within.condition, below.condition) == (Machine.ACTIVE, Machine.CLEARED)


async def test_a_change_asks_the_rules_of_its_device_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    look = Check.look

    def counting(check: Check, *arguments: Any) -> bool | None:
        asked.append(check.key.rule)
        return look(check, *arguments)

    with rule_world(tmp_path / "facts.sqlite", "apc-smart-ups") as world:
        machines = tuple(Watched(f"m-{n}", f"dev-{n}", "A") for n in range(1, 201))
        world.watch.seen = SiteView(SITE, known_rules(), machines)
        await world.engine.load()
        infos = tuple(world.profile.device_info(one.device) for one in machines)
        world.describe(Inventory(world.now_ms + 1, "0", "", infos))
        world.tell(calm(world, {}))
        monkeypatch.setattr(Check, "look", counting)
        world.now_ms += 1000
        world.tell({"battery_errors": 4.0})

    assert sorted(asked) == ["equipment-fault-a", "ups-on-battery", "ups-replace-battery"]


async def test_what_could_not_be_stored_is_stored_later_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rule_world(tmp_path / "facts.sqlite", "apc-smart-ups", without_delays()) as world:
        world.describe()
        world.tell(calm(world, {}))
        save = world.store.save

        def full(changes: Any) -> None:
            raise StorageUnavailable("the disk is full")

        monkeypatch.setattr(world.store, "save", full)
        for value in (4.0, 0.0):
            world.now_ms += 1000
            world.tell({"battery_errors": value})
            with pytest.raises(StorageUnavailable):
                await world.engine.evaluate(SITE)
        monkeypatch.setattr(world.store, "save", save)
        await world.engine.evaluate(SITE)
        await world.engine.evaluate(SITE)
        [alert] = world.alerts("ups-replace-battery")
        kinds = [entry.kind for entry in world.store.history(alert)]

    assert kinds == ["opened", "cleared"]


async def test_a_pulse_shorter_than_the_off_delay_still_calls(tmp_path: Path) -> None:
    with rule_world(tmp_path / "facts.sqlite", "fire-alarm-contact") as world:
        world.describe()
        world.tell({"fire": 0, "panel_fault": 0, "disabled": 0})
        world.now_ms += 1000
        world.tell_steps([(world.now_ms - 900, {"fire": 1.0}), (world.now_ms - 400, {"fire": 0.0})])
        await world.engine.evaluate(SITE)
        [alert] = world.alerts("fire-alarm")

    assert alert.condition is Machine.ACTIVE


async def test_what_still_holds_in_the_newest_claim_calls_at_once_with_its_true_start(tmp_path: Path) -> None:
    with rule_world(tmp_path / "facts.sqlite", "generic-di") as world:
        world.describe()
        world.tell({"run": 1, "fault": 0, "warning": 0})
        began_ms = world.now_ms + 1000
        world.now_ms += 6 * 3_600_000
        world.confirm({"run": 1, "warning": 0}, world.now_ms - 6 * 3_600_000, world.now_ms)
        world.confirm({"fault": 1}, began_ms, world.now_ms)
        await world.engine.evaluate(SITE)
        [alert] = world.alerts("equipment-fault-a")
        world.tell_steps([(began_ms, {"fault": 1.0})])  # the backlog comes later and says nothing new
        await world.engine.evaluate(SITE)

    assert (alert.opened_ms, alert.historical) == (began_ms, False)


async def test_the_start_is_that_of_what_decides_not_of_what_changed_last(tmp_path: Path) -> None:
    with rule_world(tmp_path / "facts.sqlite", "lift-dry-contact") as world:
        world.describe()
        points = {**dict.fromkeys(sorted(world.profile.state_points), 0.0), "trapped_alarm": 1.0}
        began_ms = world.now_ms - 50_000
        world.confirm(points, world.now_ms - 1000, world.now_ms, first={"trapped_alarm": began_ms})
        await world.engine.evaluate(SITE)
        [fault] = world.alerts("equipment-fault-a")

    assert fault.opened_ms == began_ms


async def test_imported_frames_call_nobody(tmp_path: Path) -> None:
    with rule_world(tmp_path / "facts.sqlite", "fire-alarm-contact") as world:
        world.describe()
        world.tell({"fire": 1}, origin=Origin.IMPORT)
        await world.pass_time(60)

        assert world.engine.open_alerts(SITE) == []


async def test_alerts_of_a_drill_carry_the_mark(tmp_path: Path) -> None:
    with rule_world(tmp_path / "facts.sqlite", "fire-alarm-contact") as world:
        seen = world.watch.seen
        drills = {"thing": ((world.now_ms, world.now_ms + 60_000),)}
        world.watch.seen = SiteView(SITE, seen.rules, seen.equipment, drills=drills)
        await world.engine.load()
        world.describe()
        world.tell({"fire": 1, "panel_fault": 0, "disabled": 0})
        await world.engine.evaluate(SITE)
        [alert] = world.alerts("fire-alarm")

    assert alert.drill


def without_delays() -> dict[str, Rule]:
    """One rule, every change of which is an event."""
    rule = known_rules()["ups-replace-battery"]
    return {rule.id: rule.model_copy(update={"off_delay": 0.0})}


async def test_ten_thousand_transitions_at_once_are_all_there_in_their_order(tmp_path: Path) -> None:
    with rule_world(tmp_path / "facts.sqlite", "apc-smart-ups", without_delays()) as world:
        world.describe()
        world.tell(calm(world, {}))
        times = []
        for n in range(9_999):  # each in a frame of its own, all of them before the rules run again
            world.now_ms += 1
            times.append(world.now_ms)
            world.tell({"battery_errors": 4.0 * ((n + 1) % 2)})
        await world.engine.evaluate(SITE)
        [alert] = world.alerts("ups-replace-battery")
        entries = world.store.history(alert)

    assert [entry.kind for entry in entries] == ["opened", *["cleared", "reopened"] * 4_999]
    assert [entry.at_ms for entry in entries] == times
    assert alert.count == 5_000


async def test_a_late_frame_with_a_thousand_transitions_leaves_a_record_of_each_and_one_call(tmp_path: Path) -> None:
    with rule_world(tmp_path / "facts.sqlite", "apc-smart-ups", without_delays()) as world:
        world.describe()
        world.tell(calm(world, {}))
        start_ms = world.now_ms
        world.now_ms += 60_000
        world.tell_steps([(start_ms + n + 1, {"battery_errors": 4.0 * ((n + 1) % 2)}) for n in range(999)])
        await world.engine.evaluate(SITE)
        [alert] = world.engine.open_alerts(SITE)
        known = world.store.of_key(alert.key)

    past = [one for one in known if one.historical]
    assert [(one.opened_ms, one.cleared_ms) for one in past] == [
        (start_ms + n, start_ms + n + 1) for n in range(1, 998, 2)
    ]
    assert (alert.opened_ms, alert.count) == (start_ms + 999, 1)


async def test_a_rule_on_trial_is_written_down_and_calls_nobody(tmp_path: Path) -> None:
    rules = rules_of_site(known_rules(), SiteRules(overrides=(Override(rule="fire-alarm", mode=Mode.SHADOW),)))
    with rule_world(tmp_path / "facts.sqlite", "fire-alarm-contact", rules) as world:
        world.describe()
        world.tell({"fire": 1, "panel_fault": 0, "disabled": 0})
        await world.pass_time(10)
        tried = world.trials.of_rule(SITE, "fire-alarm")

        assert world.store.page(Filter(open_only=False), 10) == []
    assert [(one.thing, one.since_ms, one.active) for one in tried] == [("thing", START_MS, True)]


async def test_a_rule_that_is_switched_off_ends_its_alert(tmp_path: Path) -> None:
    with rule_world(tmp_path / "facts.sqlite", "fire-alarm-contact") as world:
        world.describe()
        world.tell({"fire": 1, "panel_fault": 0, "disabled": 0})
        await world.engine.evaluate(SITE)
        [alert] = world.alerts("fire-alarm")
        without = rules_of_site(known_rules(), SiteRules(overrides=(Override(rule="fire-alarm", mode=Mode.OFF),)))
        world.watch.seen = SiteView(SITE, without, world.watch.seen.equipment)
        await world.engine.load()
        await world.engine.evaluate(SITE)
        after = world.engine.book.get(alert.key)

    assert after is not None
    assert after.condition is Machine.CLEARED
