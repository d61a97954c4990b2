"""Parking groups with counted barriers: the store's facts -> how many are inside over time."""

import sqlalchemy as sa

from cloud.facts.barriers import Balance, Barrier, balance, empty_times
from cloud.facts.database import reading
from cloud.facts.day_work import NO_CARRY, carries_into
from cloud.facts.days import day_bounds, day_of
from cloud.facts.ledger import Ledger
from cloud.facts.ledger_parking import Counted
from cloud.facts.rows import Profiles, load_devices, runs_from
from cloud.facts.timelines import Steps, point_steps

DAYS_BACK = 7  # an empty time lies at most a day before any moment, and a silence around it is rarely longer than this


def group_balances(
    engine: sa.Engine, ledger: Ledger, from_ms: int, to_ms: int, *, known: Profiles
) -> dict[str, Balance]:
    """How many are inside each counted group, by group id, over more than [from_ms, to_ms).

    `to_ms` must not lie ahead of now. A barrier without facts leaves its group unknown.
    """
    places = {group.id: group.counted for group in ledger.parking if group.counted is not None}
    if not places or from_ms >= to_ms:
        return {}
    zone = ledger.site.time_zone
    day = day_of(from_ms, zone) - DAYS_BACK
    begin = day_bounds(day, zone)[0]
    devices = sorted({barrier.device for place in places.values() for barrier in place.barriers})
    with reading(engine) as connection:
        carries = carries_into(connection, ledger.site.id, devices, day)
        by_epoch = runs_from(connection, ledger.site.id, begin)
        loaded = load_devices(connection, ledger.site.id, devices, (begin, to_ms), known=known, by_epoch=by_epoch)
    steps = {
        device: point_steps(*loaded[device].day(carries.get(device, NO_CARRY), begin, to_ms), begin, to_ms)[0]
        for device in devices
    }
    found = {}
    for group, place in places.items():
        barriers = _barriers(place, steps)
        if barriers is not None:
            found[group] = balance(barriers, place, empty_times(place, zone, begin, to_ms), to_ms)
    return found


def _barriers(place: Counted, steps: dict[str, dict[str, Steps]]) -> list[Barrier] | None:
    found = [(steps[one.device].get("entered"), steps[one.device].get("left"), one.reversed) for one in place.barriers]
    barriers = [Barrier(entered, left, turned) for entered, left, turned in found if entered and left]
    return barriers if len(barriers) == len(found) else None
