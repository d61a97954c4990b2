"""Patrols to tell a cloud: ledgers with zones and points, drives, and what robots say of themselves."""

import random
from collections.abc import Sequence

from cloud.facts.claims import QUARTER_MS
from cloud.facts.ledger import Ledger
from cloud.indicators.definition import IndicatorResult
from cloud.indicators.registry import compute_indicator
from devices.profile import load_profiles
from devices.records import DeviceInfo, Inventory, ProfileText, Record
from devices.states import Connection, Mode
from tests.cloud.patrol_reference import Step
from tests.cloud.told import Cloud, Entry, Told, Walk, ledger_text

BEGIN_MS = 20_000 * 86_400_000
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
NAME = "name: {en: N, zh-CN: N}"
FLOOR = f"floors: [{{id: b1, {NAME}, map: B1, width_m: 40.0, height_m: 30.0}}]"
ROBOTS = f"robots: [{{id: r1, {NAME}, device: d1}}, {{id: r2, {NAME}, device: d2}}]"
SPEED, RADIUS = 1500, 3000


def zone(name: str, box: tuple[float, float, float, float], more: str = "") -> str:
    x, y, right, top = box
    ring = f"[[{x}, {y}], [{right}, {y}], [{right}, {top}], [{x}, {top}], [{x}, {y}]]"
    return f"  - {{id: {name}, {NAME}, floor: b1, geometry: {{type: Polygon, coordinates: [{ring}]}}{more}}}"


def point(name: str, zone_id: str, x: float, y: float, more: str = "") -> str:
    return f"  - {{id: {name}, {NAME}, zone: {zone_id}, position: [{x}, {y}]{more}}}"


def patrol_text(*, zone_more: str = "", points: Sequence[str] = (), head: str = "") -> str:
    parts = [FLOOR, ROBOTS, "zones:", zone("all", (0, 0, 40, 30), zone_more)]
    return ledger_text(*parts, *(["checkpoints:", *points] if points else []), head)


def straight(begin_ms: int, seconds: int, start: tuple[int, int], step: tuple[int, int]) -> list[tuple[int, int, int]]:
    return [(begin_ms + 1000 * s, start[0] + step[0] * s, start[1] + step[1] * s) for s in range(seconds)]


def tell_walks(cloud: Cloud, *walks: Walk, to_ms: int = BEGIN_MS + DAY_MS) -> None:
    cloud.tell([Told(seq, BEGIN_MS, to_ms, walks=(walk,)) for seq, walk in enumerate(walks, 1)])


def ask(cloud: Cloud, ledger: Ledger, name: str, to_ms: int, from_ms: int = BEGIN_MS) -> IndicatorResult:
    return compute_indicator(cloud.facts, ledger, name, (from_ms, to_ms), to_ms)


def ledger_of(cloud: Cloud) -> Ledger:
    found = cloud.facts.ledger("site-1")
    assert found is not None
    return found


def random_drive(rng: random.Random, count: int) -> list[Step]:
    t, x, y, found = BEGIN_MS + QUARTER_MS - 60_000, rng.randrange(5_000, 35_000), rng.randrange(5_000, 25_000), []
    for _ in range(count):
        found.append((t, x, y, rng.random() > 0.05))
        t += rng.choice([200, 1000, 1000, 3000, 5000, 5001, 8000])
        reach = rng.choice([0, 500, 1500, 2500])
        x = min(max(x + rng.randint(-reach, reach), 0), 39_999)
        y = min(max(y + rng.randint(-reach, reach), 0), 29_999)
    return found


def walks_of(device: str, steps: Sequence[Step], cuts: Sequence[int]) -> list[Walk]:
    """The drive cut into walks; poses that do not count have a walk of their own."""
    found = []
    for begin, end in zip([0, *cuts], [*cuts, len(steps)], strict=True):
        for valid in (True, False):
            part = [step[:3] for step in steps[begin:end] if step[3] is valid]
            if part:
                found.append(Walk(device, part, flags=3 if valid else 1))
    return found


def robot_inventory(*devices: str) -> tuple[Record, ...]:
    profile = load_profiles()["vda5050-robot"]
    infos = tuple(DeviceInfo(device, profile.id, profile.hash, (), 0.0, 90, True) for device in devices)
    return Inventory(BEGIN_MS - DAY_MS, "0", "", infos), ProfileText(profile.hash, profile.text)


def robot_entries(device: str, at_ms: int, to_ms: int, **values: float) -> list[Entry]:
    """The robot's state held from one moment to another."""
    state = {
        "connection": float(Connection.ONLINE), "mode": float(Mode.AUTOMATIC), "estop": 0.0, "error_level": 0.0,
        "driving": 0.0, "paused": 0.0, "charging": 0.0, "order_active": 0.0, "action_running": 0.0,
    } | values  # fmt: skip
    return [Entry(device, name, at_ms, value, to_ms) for name, value in state.items()]
