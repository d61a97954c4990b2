"""What a ledger names and nobody reports, and what reports and no ledger names (R1-2, R1-4). Blocks (SQLite)."""

from dataclasses import dataclass

import sqlalchemy as sa

from cloud.facts.database import claims, device_infos, poses, reading
from cloud.facts.ledger import Ledger
from cloud.facts.ledger_equipment import NO_DEVICE

DAY_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Silent:
    """An entry of the ledger. `why`: its device never reported, or it has none and was never inspected."""

    kind: str  # "equipment", "space", "barrier" (with the id of its group) or "robot"
    id: str
    device: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A device that an inventory named and no ledger entry does; `reported`: whether it ever said anything."""

    device: str
    gateway: str
    reported: bool


@dataclass(frozen=True, slots=True)
class NotMonitored:
    """Both lists, by id, and how many entries the ledger has."""

    entries: int
    silent: tuple[Silent, ...]
    unlisted: tuple[Unlisted, ...]


def not_monitored(engine: sa.Engine, ledger: Ledger, inspected: frozenset[str]) -> NotMonitored:
    """Of one site. `inspected` are ids of equipment that an inspection has looked at. Counted groups need no sensor."""
    site = ledger.site.id
    with reading(engine) as connection:
        heard = {
            device
            for table in (claims, poses)
            for device in connection.execute(sa.select(table.c.device).where(table.c.site == site).distinct()).scalars()
        }
        named = sa.select(device_infos.c.device, sa.func.max(device_infos.c.gateway)).where(device_infos.c.site == site)
        rows = connection.execute(named.group_by(device_infos.c.device)).all()
        inventory = {row[0]: row[1] for row in rows}
    silent = [
        Silent("equipment", one.id, one.device or None, "never-inspected" if one.device == NO_DEVICE else "never-heard")
        for one in ledger.equipment
        if (one.id not in inspected if one.device == NO_DEVICE else one.device not in heard)
    ]
    for space in ledger.sensed_spaces:
        if space.device is None:
            silent.append(Silent("space", space.id, None, "no-sensor"))
        elif space.device not in heard:
            silent.append(Silent("space", space.id, space.device, "never-heard"))
    silent += [
        Silent("barrier", group.id, barrier.device, "never-heard")
        for group in ledger.parking
        for barrier in (group.counted.barriers if group.counted is not None else ())
        if barrier.device not in heard
    ]
    silent += [Silent("robot", one.id, one.device, "never-heard") for one in ledger.robots if one.device not in heard]
    unlisted = [
        Unlisted(device, gateway, device in heard)
        for device, gateway in sorted(inventory.items())
        if device not in ledger.devices
    ]
    entries = len(ledger.equipment) + len(ledger.sensed_spaces) + len(ledger.robots)
    return NotMonitored(entries, tuple(silent), tuple(unlisted))
