"""Storms, escalation and notification of a site as hours and days go by, on real files."""

from pathlib import Path

import pytest

from cloud.alerts.alert import HOLD_MS, Handling
from cloud.alerts.duties import DAY_MS
from cloud.alerts.handling import Acknowledged, Arrived, Assigned, Resolved, Shelved, Suppressed
from cloud.alerts.people import Hours, Ladder, Roster, Rung
from cloud.alerts.rectification import Planned, Step
from devices.rules import Severity
from tests.cloud.desk_world import SITE, START_MS, at_the_desk

MINUTE, HOUR, DAY = 60, 3600, 86_400


async def test_200_things_behind_a_dead_gateway_are_one_message_that_says_200(tmp_path: Path) -> None:
    things = [f"sensor-{number}" for number in range(200)]
    with at_the_desk(tmp_path / "facts.sqlite", parents=dict.fromkeys(things, "gw-1")) as world:
        cause = await world.raised("gw-1", rule="gateway-silent")
        await world.after(1)
        await world.raised(*things, rule="device-silent")
        await world.after(2 * HOUR, look_s=7 * MINUTE)
        told = [one for one in world.told() if any(line.thing != "gw-1" for line in one.lines)]
        first = world.told()[0]
        suppressed = {world.alert(thing, "device-silent").suppressed_by for thing in things}
        items = world.items.open_items(SITE)

    assert told == []
    assert [(line.thing, line.what, line.muted) for line in first.lines] == [("gw-1", "opened", 200)]
    assert suppressed == {cause.id}
    assert [item.thing for item in items] == ["gw-1"]


async def test_silences_that_came_before_their_gateway_was_known_are_not_told_either(tmp_path: Path) -> None:
    things = [f"sensor-{number}" for number in range(20)]
    with at_the_desk(tmp_path / "facts.sqlite", parents=dict.fromkeys(things, "gw-1")) as world:
        silent_ms = world.now_ms
        world.now_ms += 20_000
        await world.raised(*things, rule="device-silent")
        await world.after(5)
        known = [world.alert(thing, "device-silent").suppressed_by for thing in things]
        world.now_ms -= world.now_ms - silent_ms
        await world.raised("gw-1", rule="gateway-silent")
        world.now_ms += 26_000
        await world.after(60)
        lines = [line.thing for one in world.told() for line in one.lines]

    assert known.count(None) == 1, "one stands for all until it is known why"
    assert lines == ["gw-1"]


async def test_what_is_still_silent_after_its_gateway_is_back_is_told_alone(tmp_path: Path) -> None:
    parents = {"a": "gw-1", "b": "gw-1", "never-silent": "gw-1"}
    with at_the_desk(tmp_path / "facts.sqlite", parents=parents) as world:
        await world.raised("gw-1", rule="gateway-silent")
        await world.raised("a", "b", rule="device-silent")
        await world.after(MINUTE)
        await world.cleared("gw-1", rule="gateway-silent")
        await world.after(5)
        await world.cleared("a", rule="device-silent")
        await world.after(10 * MINUTE, look_s=20)
        closed, alone = world.alert("a", "device-silent"), world.alert("b", "device-silent")
        lines = [(line.thing, line.what) for one in world.told() for line in one.lines]

    assert closed.handling is Handling.RESOLVED
    assert alone.suppressed_by is None
    assert lines == [("gw-1", "opened"), ("gw-1", "cleared"), ("b", "opened")]


async def test_a_panel_mutes_what_it_feeds_but_no_red_alert_and_nothing_that_was_there_before(tmp_path: Path) -> None:
    parents = {"fan-1": "panel-1", "fan-2": "panel-1", "pump-3": "panel-1"}
    with at_the_desk(tmp_path / "facts.sqlite", parents=parents) as world:
        await world.raised("fan-1")
        await world.after(MINUTE)
        cause = await world.raised("panel-1")
        await world.raised("fan-2")
        await world.raised("pump-3", rule="equipment-fault-a")
        await world.after(1)
        muted = [world.alert("fan-1").suppressed_by, world.alert("fan-2").suppressed_by]
        red = world.alert("pump-3", "equipment-fault-a")

    assert muted == [None, cause.id]
    assert red.suppressed_by is None


@pytest.mark.parametrize("rule", ["maintenance-overdue", "equipment-fault-c", "evidence-broken"])
async def test_what_is_no_fault_of_the_panel_or_less_bad_mutes_nothing(tmp_path: Path, rule: str) -> None:
    with at_the_desk(tmp_path / "facts.sqlite", parents={"fan-1": "panel-1", "meter-1": "panel-1"}) as world:
        await world.raised("panel-1", rule=rule)
        await world.after(MINUTE)
        await world.raised("fan-1")
        await world.after(MINUTE, look_s=5)
        muted = world.alert("fan-1").suppressed_by

    assert muted is None


async def test_what_was_muted_by_what_is_no_cause_is_told_after_all(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite", parents={"fan-1": "panel-1"}) as world:
        late = await world.raised("panel-1", rule="maintenance-overdue")
        fan = await world.raised("fan-1")
        await world.done(fan, Suppressed(late.id))
        await world.after(6 * MINUTE, look_s=30)
        lines = {line.thing for one in world.told() for line in one.lines}

    assert "fan-1" in lines


async def test_of_things_that_feed_each_other_one_is_told(tmp_path: Path) -> None:
    for name, stuck in (("fresh", False), ("stuck", True)):
        with at_the_desk(tmp_path / name, parents={"a": "b", "b": "c", "c": "a"}) as world:
            await world.raised("a", "b", "c")
            if stuck:  # as an earlier version left them
                for thing, cause in (("a", "b"), ("b", "c"), ("c", "a")):
                    await world.done(world.alert(thing), Suppressed(world.alert(cause).id))
            await world.after(20 * MINUTE, look_s=30)
            alone = [thing for thing in ("a", "b", "c") if world.alert(thing).suppressed_by is None]
            told = {line.thing for one in world.told() for line in one.lines}

        assert len(alone) == 1, name
        assert told == set(alone)


async def test_a_bus_behind_a_gateway_is_told_with_the_gateway(tmp_path: Path) -> None:
    parents = {"meter-1": "gw-1/bus-a", "gw-1/bus-a": "gw-1"}
    with at_the_desk(tmp_path / "facts.sqlite", parents=parents) as world:
        bus = await world.raised("gw-1/bus-a", rule="device-silent")
        await world.raised("meter-1", rule="sensor-stale")
        await world.after(1)
        by_bus = world.alert("meter-1", "sensor-stale").suppressed_by
        await world.after(10)
        world.now_ms -= 11_000
        gateway = await world.raised("gw-1", rule="gateway-silent")
        await world.after(12)
        by_gateway = [world.alert("meter-1", "sensor-stale"), world.alert("gw-1/bus-a", "device-silent")]

    assert by_bus == bus.id
    assert [one.suppressed_by for one in by_gateway] == [gateway.id, gateway.id]


async def test_a_bus_on_which_everything_is_silent_is_one_message(tmp_path: Path) -> None:
    meters = [f"meter-{number}" for number in range(9)]
    parents = {**dict.fromkeys(meters, "gw-1/bus-a"), "gw-1/bus-a": "gw-1", "lamp-1": "gw-1/bus-b"}
    with at_the_desk(tmp_path / "facts.sqlite", parents=parents) as world:
        for meter in meters[:-1]:
            await world.raised(meter, rule="device-silent")
            await world.after(1)
        alone = [world.alert(meter, "device-silent").suppressed_by for meter in meters[:-1]]
        await world.raised(meters[-1], rule="device-silent")
        await world.after(60)
        causes = [world.alert(meter, "device-silent").suppressed_by for meter in meters]
        lines = [(line.thing, line.muted) for one in world.told() for line in one.lines]

    assert set(alone) == {None}
    assert causes == [None] + [world.alert("meter-0", "device-silent").id] * 8
    assert lines == [("meter-0", 8)]


async def test_red_is_told_at_once_and_every_15_minutes_a_level_up_until_acknowledged(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        red = await world.raised("pump-3", rule="equipment-fault-a")
        await world.after(50 * MINUTE, look_s=MINUTE)
        await world.done(red, Acknowledged("li.wei"))
        await world.after(5 * HOUR, look_s=15 * MINUTE)
        said = world.said()

    team, levels = ("chen.na",), ("li.wei", "zhao.min", "director")
    assert [when // MINUTE for when, *_ in said] == [1, 16, 31, 46]
    assert [what for _, what, _ in said] == ["opened", "reminder", "reminder", "reminder"]
    assert [people for *_, people in said] == [team + levels[:1], team + levels[:2], team + levels, team + levels]


async def test_orange_becomes_red_after_30_minutes_and_goes_to_the_next_level(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        await world.raised("fan-1")
        await world.after(31 * MINUTE, look_s=30)
        alert = world.alert("fan-1")
        said = world.said()

    assert (alert.severity, alert.latched, alert.handling) == (Severity.RED, True, Handling.NEW)
    assert said == [
        (30, "opened", ("li.wei",)),
        (30 * MINUTE, "escalated", ("chen.na", "li.wei", "zhao.min")),
    ]


async def test_a_plan_keeps_yellow_yellow_and_without_one_it_becomes_orange_after_3_days(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        await world.raised("lamp-1", "lamp-2", rule="equipment-fault-c")
        await world.after(1)
        items = {item.thing: item for item in world.items.open_items(SITE)}
        await world.items.handle(items["lamp-1"].id, Planned("li.wei", "replace the driver"))
        await world.after(3 * DAY - 2)
        early = world.alert("lamp-2", "equipment-fault-c").severity
        await world.after(2)
        colours = [world.alert(thing, "equipment-fault-c").severity for thing in ("lamp-1", "lamp-2")]
        followed = world.items.get(items["lamp-2"].id)

    assert [item.plan_due_ms for item in items.values()] == [START_MS + 3 * DAY_MS] * 2
    assert early is Severity.YELLOW
    assert colours == [Severity.YELLOW, Severity.ORANGE]
    assert followed is not None
    assert (followed.severity, followed.plan_due_ms) == (Severity.ORANGE, world.now_ms + DAY_MS)


@pytest.mark.parametrize(("rule", "days", "plan_days"), [("equipment-fault-b", 2, 1), ("equipment-fault-c", 10, 3)])
async def test_time_to_plan_begins_again_when_it_is_back_after_days(
    tmp_path: Path, rule: str, days: int, plan_days: int
) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        first = await world.raised("fan-1", rule=rule)
        await world.after(2 * MINUTE)
        await world.cleared("fan-1", rule=rule)
        await world.after(days * DAY, look_s=6 * HOUR)
        await world.raised("fan-1", rule=rule)
        await world.after(1)
        back, [item] = world.alert("fan-1", rule), world.items.open_items(SITE)

    assert (back.id, back.severity, back.escalated_for) == (first.id, first.severity, "")
    assert item.plan_due_ms == world.now_ms - 1000 + plan_days * DAY_MS


async def test_what_comes_and_goes_within_minutes_does_not_put_off_its_plan(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        fan = await world.raised("fan-1", rule="equipment-fault-c")
        for _ in range(3):
            await world.after(HOUR)
            await world.cleared("fan-1", rule="equipment-fault-c")
            await world.after(5 * MINUTE)
            await world.raised("fan-1", rule="equipment-fault-c")
        severity_ms = world.alert("fan-1", "equipment-fault-c").severity_ms

    assert severity_ms == fan.severity_ms


async def test_yellow_and_orange_come_as_one_message_and_changes_every_5_minutes_at_most(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        await world.raised("fan-1")
        await world.after(10)
        await world.raised("lamp-1", rule="equipment-fault-c")
        await world.after(25, look_s=1)
        await world.raised("fan-2")
        await world.after(10 * MINUTE, look_s=5)
        told = [((one.at_ms - START_MS) // 1000, [line.thing for line in one.lines]) for one in world.told()]

    assert told == [(30, ["fan-1", "lamp-1"]), (330, ["fan-2"])]


async def test_what_chatters_is_told_once_in_5_minutes(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        chattering: set[str] = set()
        for _ in range(30):
            alert = await world.raised("pump-3", rule="equipment-fault-a")
            await world.after(5)
            chattering |= set(world.desk.chattering(SITE))
            await world.cleared("pump-3", rule="equipment-fault-a")
            await world.after(5)
        told = world.told()

    assert chattering == {alert.id}
    assert len(told) <= 2


async def test_a_flood_is_a_state_of_the_site_and_drills_flood_nobody(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        await world.raised(*[f"lamp-{n}" for n in range(30)], rule="equipment-fault-c", drill=True)
        await world.after(1)
        drilled = world.desk.is_flooded(SITE)
        await world.raised(*[f"fan-{n}" for n in range(11)])
        await world.after(40, look_s=10)
        flooded = world.desk.is_flooded(SITE)
        messages = world.told()
        await world.after(11 * MINUTE)
        over = world.desk.is_flooded(SITE)

    assert (drilled, flooded, over) == (False, True, False)
    assert {one.drill: (one.flood, len(one.lines)) for one in messages} == {True: (True, 30), False: (True, 11)}


async def test_yellow_waits_for_the_end_of_the_quiet_hours_and_orange_does_not(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        # 2026-05-28T20:26:40Z
        world.around.people = Roster(ladder=Ladder((Rung(people=("li.wei",)),), quiet=Hours("20:00", "21:00")))
        await world.raised("lamp-1", rule="equipment-fault-c")
        await world.raised("fan-1")
        await world.after(HOUR, look_s=MINUTE)
        told = [((one.at_ms - START_MS) // MINUTE // 1000, [line.thing for line in one.lines]) for one in world.told()]

    assert told[0] == (1, ["fan-1"])
    assert ["lamp-1"] in [things for minutes, things in told if minutes == 34]


async def test_what_is_put_aside_is_told_to_nobody_until_it_is_back(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        red = await world.raised("pump-3", rule="equipment-fault-a")
        await world.after(1)
        await world.done(red, Shelved("li.wei", "being repaired", world.now_ms + 2 * HOUR * 1000))
        await world.after(2 * HOUR, look_s=5 * MINUTE)
        await world.after(1)
        said = world.said()

    assert [(when, what) for when, what, _ in said] == [(1, "opened"), (2 * HOUR + 1, "back")]


async def test_who_it_is_assigned_to_is_told_and_a_fire_needs_somebody_there(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        fire = await world.raised("panel-9", rule="fire-alarm")
        other = await world.raised("panel-8", rule="fire-alarm")
        await world.done(fire, Assigned("li.wei", "sun.li"))
        await world.done(other, Arrived("sun.li"))
        await world.after(1)
        for alert in (fire, other):
            await world.done(alert, Acknowledged("sun.li"))
        await world.after(30 * MINUTE)
        last = world.told()[-1]

    assert "sun.li" in world.told()[0].people or "sun.li" in world.told()[1].people
    assert [(line.thing, line.what, line.reason) for line in last.lines] == [("panel-9", "missed", "on-scene")]
    assert "director" in last.people


async def test_the_end_is_told_once_and_only_of_what_was_told(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        await world.raised("fan-1")
        await world.raised("fan-2")
        await world.cleared("fan-2")
        await world.after(31, look_s=1)
        await world.cleared("fan-1")
        await world.after(2 * HOUR, look_s=MINUTE)
        lines = [(line.thing, line.what) for one in world.told() for line in one.lines]
        await world.done(world.alert("fan-1"), Resolved("li.wei", "wear", "replaced"))
        await world.after(HOLD_MS / 1000 + 1)
        after = [(line.thing, line.what) for one in world.told() for line in one.lines]

    assert lines == after == [("fan-1", "opened"), ("fan-1", "cleared")]


async def test_an_item_nobody_took_up_ends_with_its_alert_and_one_taken_up_stays(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        await world.raised("lamp-1", "lamp-2", rule="equipment-fault-c")
        await world.after(1)
        items = {item.thing: item.id for item in world.items.open_items(SITE)}
        await world.items.handle(items["lamp-1"], Planned("li.wei", "replace the driver"))
        for thing in ("lamp-1", "lamp-2"):
            await world.done(world.alert(thing, "equipment-fault-c"), Acknowledged("li.wei"))
        await world.cleared("lamp-1", "lamp-2", rule="equipment-fault-c")
        await world.after(1)
        left = [item.thing for item in world.items.open_items(SITE)]
        await world.after(60)
        await world.raised("lamp-2", rule="equipment-fault-c")
        await world.after(1)
        again = world.items.get(items["lamp-2"])

    assert left == ["lamp-1"]
    assert again is not None
    assert (again.step, again.is_closed) == (Step.REPORTED, False)


async def test_a_restart_at_any_look_repeats_no_message_and_loses_none(tmp_path: Path) -> None:
    async def day(database: Path, *, restarts: bool) -> list[tuple[int, str, tuple[str, ...]]]:
        now_ms = START_MS
        for minute in range(0, 50, 5 if restarts else 50):
            with at_the_desk(database, now_ms=now_ms) as world:
                await world.book.load()
                await world.items.load()
                if minute == 0:
                    await world.raised("pump-3", rule="equipment-fault-a")
                    await world.raised("fan-1")
                    await world.raised("lamp-1", rule="equipment-fault-c")
                await world.after((5 if restarts else 50) * MINUTE, look_s=30)
                now_ms = world.now_ms
                said = [(one.at_ms, line.what, (line.thing, *one.people)) for one in world.told() for line in one.lines]
        return said

    without = await day(tmp_path / "a.sqlite", restarts=False)
    assert await day(tmp_path / "b.sqlite", restarts=True) == without
    assert len(without) > 5
