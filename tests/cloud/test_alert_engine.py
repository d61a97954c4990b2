import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloud.alerts.engine import AlertEngine, Watched
from cloud.alerts.lifecycle import Acknowledged, AlreadyAcknowledged, Handling, Machine, Resolved
from cloud.alerts.store import AlertStore, Filter, VersionMismatch
from cloud.facts.database import open_database
from cloud.live import LiveState
from devices.columns import Numbers
from devices.frame import Content, Frame, Header, Origin
from devices.profile import load_profiles
from devices.reading import Lane, Series
from devices.records import DeviceInfo, Inventory, ProfileText, Record

SITE = "jinji-lake"
START_MS = 1_780_000_000_000
PROFILE = load_profiles()["generic-di"]
POINT = min(PROFILE.state_points)


class Watch:
    def __init__(self, equipment: Sequence[Watched]) -> None:
        self._equipment = equipment

    def sites(self) -> list[str]:
        return [SITE]

    def equipment(self, site: str) -> Sequence[Watched]:
        return self._equipment if site == SITE else ()

    def gateways(self, site: str) -> list[str]:
        return ["gw-1"] if site == SITE else []


class World:
    """A site with one class A pump behind one gateway, and a clock that the test moves."""

    def __init__(self, database: Path) -> None:
        self.now_ms = START_MS
        self._seq = 0
        self._database = open_database(database)
        self.store = AlertStore(self._database)
        self.live = LiveState()
        watch = Watch([Watched("pump-3", "di-1", "A")])
        self.engine = AlertEngine(self.store, self.live, watch, lambda: self.now_ms)

    def close(self) -> None:
        self._database.dispose()

    def frame(self, *records: Record, value: float | None = None, origin: Origin = Origin.LIVE) -> None:
        self._seq += 1
        header = Header(
            gateway="gw-1",
            lane=Lane.EVENTS,
            epoch=bytes(8),
            seq=self._seq,
            key_id="",
            clock_run=bytes(8),
            monotonic_ms=self.now_ms,
            from_ms=self.now_ms - 1000,
            to_ms=self.now_ms,
            trusted=True,
            uncertainty_ms=0,
            keyframe=False,
            origin=origin,
            previous_hash=b"",
            previous_epoch=None,
            readings=1,
            body_bytes=0,
        )
        numbers = Numbers.empty() if value is None else Numbers.of([0], [self.now_ms], [value], [0])
        series = (Series("di-1", POINT, "", 60),)
        self.live.frames_arrived(SITE, [Frame(header, Content(series, numbers, records=records), b"")], self.now_ms)

    def inventory(self) -> None:
        info = DeviceInfo("di-1", PROFILE.id, PROFILE.hash, ((POINT, ""),), 1.0, 60, pushes=False)
        self.frame(ProfileText(PROFILE.hash, PROFILE.text), Inventory(self.now_ms, "0", "", (info,)))

    async def after(self, seconds: float, value: float | None = None) -> None:
        """Let time pass, with or without a frame at the end of it."""
        self.now_ms += round(seconds * 1000)
        if value is not None:
            self.frame(value=value)
        await self.engine.evaluate(SITE)

    def kinds(self) -> list[str]:
        [alert] = self.engine.open_alerts(SITE)
        return [entry.kind for entry in self.store.history(alert)]


@contextmanager
def started(database: Path) -> Iterator[World]:
    world = World(database)
    try:
        yield world
    finally:
        world.close()


def faulty() -> float:
    return next(value for value in (0.0, 1.0) if PROFILE.rules and PROFILE.rules.state({POINT: value}).name == "FAULT")


FAULT = faulty()
FINE = 1.0 - FAULT


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
