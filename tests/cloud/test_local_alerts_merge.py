"""What gateways say by their own rules and what the cloud finds are one alert: real facts, real alerts."""

import asyncio
import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts.alert import Alert
from cloud.alerts.local import LocalAlerts, Turned, stretches
from cloud.alerts.store import Filter
from cloud.facts.claims import facts_of
from cloud.facts.database import writing
from cloud.facts.intake import store_facts
from devices.columns import Numbers
from devices.frame import Content
from devices.reading import Series
from devices.records import LocalAlert
from tests.cloud.live_world import FAULT, FINE, POINT, SITE, START_MS, World, sealed, started
from tests.waiting import until

RULE = "equipment-fault-a"


class Merged:
    """The world of the rules with a gateway that says things by itself; frames reach facts and live state alike."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.local = LocalAlerts(world.engine, world.database, lambda: world.now_ms)
        self._seq = 0

    async def says(self, condition: str, since_ms: int, *, rule: str = RULE, seq: int | None = None) -> None:
        """A frame with a local alert arrives now."""
        self._seq += 1
        record = LocalAlert(rule, "di-1", condition, "red", since_ms, (("value", "1"),), latched=True)
        frame = sealed(Content(records=(record,)), self.world.now_ms, seq=seq or self._seq)
        with writing(self.world.database) as connection:
            store_facts(connection, facts_of(frame, self.world.now_ms, SITE))
        self.local.frames_arrived(SITE, [frame], self.world.now_ms)
        await self.local.look(SITE, since_ms)

    async def arrives(self, record: LocalAlert, seq: int) -> None:
        """A frame with this record arrives now, and whoever runs is told."""
        frame = sealed(Content(records=(record,)), self.world.now_ms, seq=seq)
        with writing(self.world.database) as connection:
            store_facts(connection, facts_of(frame, self.world.now_ms, SITE))
        self.local.frames_arrived(SITE, [frame], self.world.now_ms)

    def alerts(self) -> list[Alert]:
        return self.world.store.page(Filter(open_only=False), 50)

    def kinds(self, alert: Alert) -> list[str]:
        return [entry.kind for entry in self.world.store.history(alert)]


async def test_the_gateway_and_the_cloud_raise_one_alert_that_ends_when_both_say_so(tmp_path: Path) -> None:
    with started(tmp_path / "facts.sqlite") as world:
        merged = Merged(world)
        world.inventory()
        await world.after(1, FAULT)
        began_ms = world.now_ms
        await merged.says("active", began_ms)
        early = [alert.sources for alert in merged.alerts()]
        await world.after(11)
        both = [alert.sources for alert in merged.alerts()]
        await merged.says("active", began_ms)  # keyframes say it again
        await world.after(1, FINE)
        ended_ms = world.now_ms
        await world.after(6)
        still = [alert.is_active for alert in merged.alerts()]
        await merged.says("cleared", ended_ms)
        [alert] = merged.alerts()

        assert (early, both, still) == ([("edge:gw-1",)], [("cloud", "edge:gw-1")], [True])
        assert (alert.opened_ms, alert.is_active, alert.key.thing) == (began_ms, False, "pump-3")
        assert merged.kinds(alert) == ["opened", "confirmed", "relieved", "cleared"]


async def test_a_late_alert_that_still_holds_pages_now_with_its_true_start(tmp_path: Path) -> None:
    with started(tmp_path / "facts.sqlite") as world:
        merged = Merged(world)
        began_ms = world.now_ms
        world.now_ms += 6 * 3_600_000
        await merged.says("active", began_ms)
        [alert] = merged.alerts()

        assert (alert.opened_ms, alert.new_ms, alert.historical) == (began_ms, world.now_ms, False)


async def test_one_that_had_ended_before_it_was_known_goes_to_the_record_once(tmp_path: Path) -> None:
    with started(tmp_path / "facts.sqlite") as world:
        merged = Merged(world)
        began_ms = world.now_ms
        world.now_ms += 6 * 3_600_000
        await merged.says("cleared", began_ms + 60_000, seq=2)  # the newest frame comes first
        await merged.says("active", began_ms, seq=1)
        await merged.local.look(SITE, 0)
        found = [(alert.historical, alert.opened_ms, alert.cleared_ms) for alert in merged.alerts()]

    assert found == [(True, began_ms, began_ms + 60_000)]


async def test_a_restart_takes_up_what_was_said_and_nothing_twice(tmp_path: Path) -> None:
    with started(tmp_path / "facts.sqlite") as world:
        merged = Merged(world)
        await merged.says("active", START_MS)
        stopped_ms = world.now_ms
        record = LocalAlert(RULE, "di-1", "cleared", "red", START_MS + 20_000)
        with writing(world.database) as connection:  # stored, and then the power went
            frame = sealed(Content(records=(record,)), world.now_ms, seq=9)
            store_facts(connection, facts_of(frame, world.now_ms, SITE))
    with started(tmp_path / "facts.sqlite") as world:
        merged = Merged(world)
        world.now_ms = stopped_ms + 60_000
        await world.engine.load()
        for _ in range(2):
            await merged.local.look(SITE, 0)
        [alert] = merged.alerts()

        assert merged.kinds(alert) == ["opened", "cleared"]


async def test_a_frame_with_values_and_an_alert_is_one_alert_as_well(tmp_path: Path) -> None:
    with started(tmp_path / "facts.sqlite") as world:
        merged = Merged(world)
        world.inventory()
        await world.after(1, FAULT)
        await world.after(11)
        numbers = Numbers.of([0], [world.now_ms], [FAULT], [0])
        record = LocalAlert(RULE, "di-1", "active", "red", world.now_ms - 11_000)
        frame = sealed(Content((Series("di-1", POINT, "", 60),), numbers, records=(record,)), world.now_ms, seq=77)
        with writing(world.database) as connection:
            store_facts(connection, facts_of(frame, world.now_ms, SITE))
        await merged.local.look(SITE, 0)

        assert len(merged.alerts()) == 1


@pytest.mark.parametrize("since_ms", [10**15, -(10**15), 2**62, START_MS + 3_600_000])
async def test_an_alert_at_an_impossible_time_counts_from_when_it_was_learned_and_stops_nobody(
    tmp_path: Path, since_ms: int
) -> None:
    with started(tmp_path / "facts.sqlite") as world:
        merged = Merged(world)
        world.engine.book.loaded.set()
        learned_ms = world.now_ms
        running = asyncio.create_task(merged.local.run())
        await merged.arrives(LocalAlert(RULE, "di-1", "active", "red", since_ms), seq=1)
        await until(lambda: merged.alerts() or running.done())
        await merged.arrives(LocalAlert("mains-lost", "di-1", "active", "red", learned_ms), seq=2)
        await until(lambda: len(merged.alerts()) > 1 or running.done())
        found = sorted((alert.key.rule, alert.opened_ms) for alert in merged.alerts())
        ended = running.done()
        running.cancel()

    assert found == [(RULE, learned_ms), ("mains-lost", learned_ms)]
    assert not ended


async def test_a_restart_survives_impossible_times_that_were_stored_before(tmp_path: Path) -> None:
    with started(tmp_path / "facts.sqlite") as world:
        merged = Merged(world)
        world.engine.book.loaded.set()
        for seq, (rule, since_ms) in enumerate([(RULE, 10**15), ("smoke", -(10**15)), ("mains-lost", START_MS)], 1):
            facts = facts_of(sealed(Content(), world.now_ms, seq=seq), world.now_ms, SITE)
            said = LocalAlert(rule, "di-1", "active", "red", since_ms)
            with writing(world.database) as connection:
                store_facts(connection, dataclasses.replace(facts, local_alerts=(said,)))
        running = asyncio.create_task(merged.local.run())
        await until(lambda: merged.alerts() or running.done())
        found = [alert.key.rule for alert in merged.alerts()]
        ended = running.done()
        running.cancel()

    assert found == ["mains-lost"]
    assert not ended


TURNS = [
    Turned("gw-1", RULE, "di-1", time_ms, condition, "red", True, "{}")
    for time_ms, condition in zip((10, 11, 20, 30, 45, 50), ("active", "active", "cleared") * 2, strict=True)
]


@given(st.lists(st.sampled_from(TURNS), max_size=12))
def test_stretches_never_overlap_and_what_holds_is_the_newest(turns: Sequence[Turned]) -> None:
    ended, holds = stretches(sorted(set(turns)))

    assert all(begin < end for begin, end in ended)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(ended))
    last = max(turns, default=None)
    assert (holds is not None) == (last is not None and last.condition == "active")
