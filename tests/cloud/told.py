"""Frames as a gateway would tell them, without sealing: for tests of facts and indicators."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from cloud.facts.claims import facts_of
from cloud.facts.database import open_database, writing
from cloud.facts.intake import store_facts
from cloud.facts.ledger import Ledger
from cloud.facts.ledgers import import_ledger
from cloud.facts.store import FactStore
from devices.columns import Confirmations, Numbers, Poses, Texts
from devices.frame import Content, Frame, Header, Origin
from devices.profile import parse_profile
from devices.reading import Lane, Series
from devices.records import DeviceInfo, Inventory, Link, ProfileText, Record

SITE = "site-1"
GATEWAY = "gw-1"
POINTS = {"alarm": "", "running": "", "fill": "percent"}

MACHINE = """
id: machine
source: {document: "made up", verified: unverified}
modbus: {address_base: 0}
poll: {state: 1s}
points:
  - {id: alarm, function: holding, address: 0, type: u16, poll: state}
  - {id: running, function: holding, address: 1, type: u16, poll: state}
  - {id: warning, function: holding, address: 2, type: u16, poll: state}
states:
  fault: alarm == 1
  degraded: warning == 1
  run: running == 1
"""
SENSOR = """
id: bay-sensor
kind: space
source: {document: "made up", verified: unverified}
mqtt: {message: json}
hold_s: 3600
points:
  - {id: occupied, type: number, field: occupied}
"""


def inventory(devices: Sequence[str], time_ms: int, *, text: str = MACHINE, hold_s: int = 60) -> tuple[Record, ...]:
    """These devices, all of one profile, and its text."""
    profile = parse_profile(text, "machine.yaml")
    infos = tuple(
        DeviceInfo(device, profile.id, profile.hash, (), 0.0 if profile.pushes else 1.0, hold_s, profile.pushes)
        for device in devices
    )
    return Inventory(time_ms, "0", "", infos), ProfileText(profile.hash, text)


@dataclass(frozen=True, slots=True)
class Entry:
    """A change (confirmed_ms None) or a keyframe entry."""

    device: str
    point: str
    changed_ms: int
    value: float
    confirmed_ms: int | None = None
    quality: int = 0


@dataclass(frozen=True, slots=True)
class Walk:
    """Poses of one robot: (time_ms, x_mm, y_mm)."""

    device: str
    steps: Sequence[tuple[int, int, int]]
    map_id: str = "B1"
    flags: int = 3


@dataclass(frozen=True, slots=True)
class Told:
    """A frame and what it says."""

    seq: int
    from_ms: int
    to_ms: int
    entries: tuple[Entry, ...] = ()
    records: tuple[Record, ...] = ()
    walks: tuple[Walk, ...] = ()
    epoch: bytes = b"epoch--1"
    clock_run: bytes = b"run----1"
    origin: Origin = Origin.LIVE
    hold_s: int = 60
    gateway: str = GATEWAY
    trusted: bool = True
    nodes: tuple[tuple[str, int, str], ...] = ()  # device, when, the node that it named

    def frame(self) -> Frame:
        """As decoded."""
        devices = [(one.device, one.point) for one in self.entries] + [(walk.device, "pose") for walk in self.walks]
        names = list(dict.fromkeys([*devices, *((device, "last_node") for device, _, _ in self.nodes)]))
        index = {name: place for place, name in enumerate(names)}
        series = tuple(Series(device, point, "", self.hold_s) for device, point in names)
        changes = [one for one in self.entries if one.confirmed_ms is None]
        kept = [one for one in self.entries if one.confirmed_ms is not None]
        content = Content(
            series=series,
            numbers=Numbers.of(
                [index[one.device, one.point] for one in changes],
                [one.changed_ms for one in changes],
                [one.value for one in changes],
                [one.quality for one in changes],
            ),
            confirmations=Confirmations.of(
                [index[one.device, one.point] for one in kept],
                [one.changed_ms for one in kept],
                [one.confirmed_ms or 0 for one in kept],
                [one.value for one in kept],
                [one.quality for one in kept],
            ),
            texts=Texts.of(
                [index[device, "last_node"] for device, _, _ in self.nodes],
                [time_ms for _, time_ms, _ in self.nodes],
                [node for _, _, node in self.nodes],
                [0] * len(self.nodes),
            ),
            poses=self._poses(index),
            records=self.records,
        )
        header = Header(
            self.gateway, Lane.EVENTS, self.epoch, self.seq, "key", self.clock_run, 0, self.from_ms, self.to_ms,
            trusted=self.trusted, uncertainty_ms=0, keyframe=bool(kept), origin=self.origin, previous_hash=b"",
            previous_epoch=None, readings=content.readings, body_bytes=0,
        )  # fmt: skip
        return Frame(header, content, b"")

    def _poses(self, index: dict[tuple[str, str], int]) -> Poses:
        rows = [(index[walk.device, "pose"], *step, walk) for walk in self.walks for step in walk.steps]
        if not rows:
            return Poses.empty()
        maps = sorted({walk.map_id for walk in self.walks})
        return Poses(
            series=np.array([row[0] for row in rows], np.int32),
            time_ms=np.array([row[1] for row in rows], np.int64),
            x_mm=np.array([row[2] for row in rows], np.int32),
            y_mm=np.array([row[3] for row in rows], np.int32),
            theta_mrad=np.zeros(len(rows), np.int32),
            map=np.array([maps.index(row[4].map_id) for row in rows], np.int32),
            flags=np.array([row[4].flags for row in rows], np.uint8),
            quality=np.zeros(len(rows), np.uint8),
            maps=tuple(maps),
        )


def bad_link(device: str, time_ms: int, last_ok_ms: int | None, point: str = "") -> Link:
    """No answer since."""
    return Link(device, point, good=False, time_ms=time_ms, last_ok_ms=last_ok_ms)


@dataclass(slots=True)
class Cloud:
    """A store that is told frames."""

    engine: sa.Engine
    facts: FactStore = field(init=False)

    def __post_init__(self) -> None:
        self.facts = FactStore(self.engine)

    def tell(self, frames: Iterable[Told], site: str = SITE) -> None:
        """Frames in this order, in one transaction."""
        with writing(self.engine) as connection:
            for told in frames:
                store_facts(connection, facts_of(told.frame(), told.to_ms, site))

    def ledger(self, text: str) -> Ledger:
        """Enter a ledger."""
        return import_ledger(self.engine, text, "ledger.yaml", actor="test", now_ms=0)


def new_cloud(folder: Path) -> Cloud:
    """An empty store in this folder."""
    return Cloud(open_database(folder / "facts.sqlite"))


def ledger_text(*parts: str, zone: str = "UTC", site: str = SITE) -> str:
    """A ledger with these further sections."""
    return "\n".join([f"site: {{id: {site}, name: {{en: S, zh-CN: S}}, zone: {zone}}}", *parts])
