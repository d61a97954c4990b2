"""A site with one class A pump behind one gateway, alerts on real files, and a clock that the test moves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloud.alerts.engine import AlertEngine
from cloud.alerts.store import AlertStore
from cloud.alerts.view import SiteView, Watched
from cloud.facts.database import open_database
from cloud.live import LiveState
from devices.columns import Numbers
from devices.frame import Content, Frame, Header, Origin
from devices.profile import load_profiles
from devices.reading import Lane, Series
from devices.records import DeviceInfo, Inventory, ProfileText, Record
from devices.rules import known_rules

SITE = "jinji-lake"
START_MS = 1_780_000_000_000
PROFILE = load_profiles()["generic-di"]
POINT = min(PROFILE.state_points)


def sealed(
    content: Content, to_ms: int, *, seq: int = 1, origin: Origin = Origin.LIVE, from_ms: int | None = None
) -> Frame:
    """An events frame as the processor hands it on, of the second before `to_ms` unless it began at `from_ms`."""
    header = Header(
        gateway="gw-1",
        lane=Lane.EVENTS,
        epoch=bytes(8),
        seq=seq,
        key_id="",
        clock_run=bytes(8),
        monotonic_ms=to_ms,
        from_ms=to_ms - 1000 if from_ms is None else from_ms,
        to_ms=to_ms,
        trusted=True,
        uncertainty_ms=0,
        keyframe=False,
        origin=origin,
        previous_hash=b"",
        previous_epoch=None,
        readings=1,
        body_bytes=0,
    )
    return Frame(header, content, b"")


def described(time_ms: int) -> Frame:
    """A frame in which the gateway says what it reads, and by which profile."""
    info = DeviceInfo("di-1", PROFILE.id, PROFILE.hash, ((POINT, ""),), 1.0, 60, pushes=False)
    records = (ProfileText(PROFILE.hash, PROFILE.text), Inventory(time_ms, "0", "", (info,)))
    return sealed(Content(records=records), time_ms)


class Watch:
    def __init__(self, view: SiteView) -> None:
        self.seen = view

    def refresh(self) -> None:
        """Nothing is ever entered here."""

    def sites(self) -> list[str]:
        return [self.seen.site]

    def view(self, site: str) -> SiteView:
        return self.seen if site == self.seen.site else SiteView(site, known_rules())

    def gateways(self, site: str) -> list[str]:
        return ["gw-1"] if site == self.seen.site else []


class World:
    """A site with one class A pump behind one gateway, and a clock that the test moves."""

    def __init__(self, database: Path) -> None:
        self.now_ms = START_MS
        self._seq = 0
        self.database = open_database(database)
        self.store = AlertStore(self.database)
        self.live = LiveState()
        self.watch = Watch(SiteView(SITE, known_rules(), (Watched("pump-3", "di-1", "A"),)))
        self.engine = AlertEngine(self.store, self.live, self.watch, lambda: self.now_ms)
        self.engine.view(SITE)

    def close(self) -> None:
        self.database.dispose()

    def frame(self, *records: Record, value: float | None = None, origin: Origin = Origin.LIVE) -> None:
        """Let a frame arrive, with a value of the pump's state input or without one."""
        numbers = Numbers.empty() if value is None else Numbers.of([0], [self.now_ms], [value], [0])
        self._arrive(Content((Series("di-1", POINT, "", 60),), numbers, records=records), origin)

    def frame_of(self, device: str, point: str, value: float) -> None:
        """Let a frame arrive with one value of any device."""
        numbers = Numbers.of([0], [self.now_ms], [value], [0])
        self._arrive(Content((Series(device, point, "", 60),), numbers), Origin.LIVE)

    def _arrive(self, content: Content, origin: Origin) -> None:
        self._seq += 1
        frame = sealed(content, self.now_ms, seq=self._seq, origin=origin)
        self.live.frames_arrived(SITE, [frame], self.now_ms)

    def inventory(self) -> None:
        """Let the gateway describe itself."""
        self._arrive(described(self.now_ms).content, Origin.LIVE)

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


LEDGER = f"""
site: {{id: {SITE}, name: {{en: Jinji Lake Centre, zh-CN: 金鸡湖中心}}, zone: Asia/Shanghai}}
floors: [{{id: b1, name: {{en: B1, zh-CN: B1}}, map: B1, width_m: 20.0, height_m: 10.0}}]
equipment:
  - {{id: pump-3, name: {{en: Fire pump 3, zh-CN: 消防泵 3}}, code: PUMP-03, class: fire-pump, criticality: A,
      device: di-1, floor: b1, position: [10.0, 5.0]}}
parking: [{{id: b1-cars, name: {{en: Cars, zh-CN: 车位}}, floor: b1}}]
spaces: [{{id: b1-017, group: b1-cars, device: p-017, rect: [1, 1, 2.5, 5]}}]
robots: [{{id: r1, name: {{en: R1, zh-CN: R1}}, device: r1}}]
"""
