import asyncio
from pathlib import Path

import pytest

from cloud.alerts.alert import AlreadyAcknowledged, Handling, Machine
from cloud.alerts.handling import Acknowledged, Resolved
from cloud.alerts.store import Filter, VersionMismatch
from devices.frame import Origin
from tests.cloud.live_world import FAULT, FINE, SITE, START_MS, started


async def test_a_fault_that_lasts_its_delay_raises_red_with_its_true_start(tmp_path: Path) -> None:
    with started(tmp_path / "facts.sqlite") as world:
        world.inventory()
        await world.after(1, FINE)
        await world.after(1, FAULT)
        began_ms = world.now_ms
        await world.after(9)
        early = world.engine.open_alerts(SITE)
        await world.after(1)
        [alert] = world.engine.open_alerts(SITE)

    assert early == []
    assert (alert.opened_ms, alert.severity, alert.key.thing) == (began_ms, "red", "pump-3")


async def test_a_restart_neither_loses_nor_repeats_nor_reopens(tmp_path: Path) -> None:
    with started(tmp_path / "facts.sqlite") as world:
        world.inventory()
        await world.after(1, FAULT)
        await world.after(11)
        [alert] = world.engine.open_alerts(SITE)
        await world.engine.acknowledge(alert, Acknowledged("li"))
        stopped_ms = world.now_ms
    with started(tmp_path / "facts.sqlite") as world:
        world.now_ms = stopped_ms + 5000
        await world.engine.load()
        await world.engine.evaluate(SITE)
        unheard = world.kinds()
        world.inventory()
        await world.after(1, FAULT)
        await world.after(20)
        still = world.kinds()
        await world.after(1, FINE)
        await world.after(6)
        over = world.kinds()

    assert unheard == still == ["opened", "acknowledged"]
    assert over == ["opened", "acknowledged", "cleared"]


async def test_imported_readings_raise_nothing(tmp_path: Path) -> None:
    with started(tmp_path / "facts.sqlite") as world:
        world.inventory()
        world.frame(value=FAULT, origin=Origin.IMPORT)
        await world.after(60)

        assert world.engine.open_alerts(SITE) == []


async def test_what_was_over_before_it_was_known_is_recorded_once_and_not_open(tmp_path: Path) -> None:
    spans = {"pump-3": [(START_MS - 100_000, START_MS - 50_000), (START_MS - 9_000, START_MS - 8_000)]}
    with started(tmp_path / "facts.sqlite") as world:
        first = await world.engine.record_passed(SITE, spans)
        again = await world.engine.record_passed(SITE, spans)
        everything = world.store.page(Filter(open_only=False), 50)

        assert (first, again) == (1, 0)
        assert world.engine.open_alerts(SITE) == []
    assert [(alert.historical, alert.cleared_ms) for alert in everything] == [(True, START_MS - 50_000)]


async def test_a_silent_gateway_is_an_orange_alert_until_it_is_heard(tmp_path: Path) -> None:
    with started(tmp_path / "facts.sqlite") as world:
        world.inventory()
        await world.after(179)
        early = world.engine.open_alerts(SITE)
        await world.after(1)
        [silent] = world.engine.open_alerts(SITE)
        world.inventory()
        await world.after(1)
        [heard] = world.engine.open_alerts(SITE)

    assert early == []
    assert (silent.severity, silent.key.thing, silent.condition) == ("orange", "gw-1", Machine.ACTIVE)
    assert heard.condition is Machine.CLEARED


async def test_of_two_people_at_once_one_wins_and_the_other_learns_who(tmp_path: Path) -> None:
    with started(tmp_path / "facts.sqlite") as world:
        world.inventory()
        await world.after(1, FAULT)
        await world.after(11)
        [alert] = world.engine.open_alerts(SITE)
        done = await asyncio.gather(
            world.engine.acknowledge(alert, Acknowledged("li")),
            world.engine.acknowledge(alert, Acknowledged("wang")),
            return_exceptions=True,
        )
        with pytest.raises(VersionMismatch):
            await world.engine.resolve(alert, Resolved("li"), version=alert.version)

    refused = [one for one in done if isinstance(one, AlreadyAcknowledged)]
    assert [one.actor for one in refused] == ["li"]


async def test_the_run_evaluates_what_arrives_without_being_asked(tmp_path: Path) -> None:
    with started(tmp_path / "facts.sqlite") as world:
        changed = asyncio.Event()
        world.engine.listen(lambda _: changed.set())
        running = asyncio.create_task(world.engine.run())
        world.inventory()
        world.frame(value=FAULT)
        world.now_ms += 11_000
        await asyncio.wait_for(changed.wait(), 10)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        [alert] = world.store.page(Filter(), 50)

    assert alert.handling is Handling.NEW
