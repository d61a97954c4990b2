"""Who is told of ends, returns, assignments and late items, on real files."""

from pathlib import Path

from cloud.alerts.handling import Acknowledged, Assigned, Shelved
from cloud.alerts.rectification import Forward, Planned, Step
from tests.cloud.desk_world import SITE, at_the_desk

MINUTE, HOUR = 60, 3600


async def test_the_end_is_told_also_of_what_came_back_or_became_worse_or_was_put_aside_meanwhile(
    tmp_path: Path,
) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        await world.raised("fan-1")
        await world.after(MINUTE, look_s=5)
        await world.cleared("fan-1")
        await world.after(20, look_s=5)
        await world.raised("fan-1")
        await world.after(20, look_s=5)
        await world.cleared("fan-1")
        await world.raised("fan-2")
        await world.after(31 * MINUTE, look_s=30)
        await world.cleared("fan-2")
        aside = await world.raised("fan-3")
        await world.after(MINUTE * 6, look_s=5)
        await world.done(aside, Shelved("li.wei", "being repaired", world.now_ms + 60_000))
        await world.after(MINUTE)
        await world.cleared("fan-3")
        await world.after(10 * MINUTE, look_s=5)
        ended = {line.thing for one in world.told() for line in one.lines if line.what == "cleared"}

    assert ended == {"fan-1", "fan-2", "fan-3"}


async def test_who_gets_an_alert_assigned_is_told_at_once_and_once_and_nobody_else(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        await world.raised("fan-1")
        await world.after(MINUTE, look_s=1)
        await world.done(world.alert("fan-1"), Acknowledged("li.wei"))
        await world.done(world.alert("fan-1"), Assigned("li.wei", "wang"))
        await world.after(HOUR, look_s=MINUTE)
        once = world.said()
        await world.done(world.alert("fan-1"), Assigned("li.wei", None))
        await world.after(1)
        await world.done(world.alert("fan-1"), Assigned("li.wei", "wang"))
        await world.after(1)
        again = world.said()[len(once) :]

    assert once == [(30, "opened", ("li.wei",)), (2 * MINUTE, "assigned", ("wang",))]
    assert [(what, people) for _, what, people in again] == [("assigned", ("wang",))]


async def test_a_red_alert_that_somebody_acknowledged_is_told_at_once_when_it_is_back(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        fire = await world.raised("panel-9", rule="fire-alarm")
        await world.after(5, look_s=1)
        await world.done(fire, Acknowledged("li.wei"))
        await world.cleared("panel-9", rule="fire-alarm")
        await world.after(20, look_s=1)
        await world.raised("panel-9", rule="fire-alarm")
        await world.after(20, look_s=1)
        said = [(when, what) for when, what, _ in world.said()]

    assert said == [(1, "opened"), (26, "back")]


async def test_an_item_whose_date_has_passed_goes_to_its_owner_and_the_next_level(tmp_path: Path) -> None:
    with at_the_desk(tmp_path / "facts.sqlite") as world:
        await world.raised("lamp-1", rule="equipment-fault-c")
        await world.after(1)
        [item] = world.items.open_items(SITE)
        await world.items.handle(item.id, Planned("li.wei", "replace the driver"))
        await world.items.handle(item.id, Forward("li.wei", Step.ACCEPTED))
        await world.items.handle(
            item.id, Forward("li.wei", Step.ASSIGNED, owner="sun.li", due_ms=world.now_ms + 60_000)
        )
        await world.after(2 * MINUTE)
        [late] = [one for one in world.outbox.of_site(SITE) if one.event.endswith(".overdue")]

    assert late.people == ("sun.li", "li.wei", "zhao.min")
