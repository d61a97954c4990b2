"""States of devices by local day: past days from the store, today worked out when asked for."""

from collections.abc import Iterable, Iterator, Sequence
from zoneinfo import ZoneInfo

import numpy as np
import sqlalchemy as sa

from cloud.facts.database import device_days, reading
from cloud.facts.day_work import all_devices, carries_into, computed_day, sensor
from cloud.facts.days import day_bounds, day_of
from cloud.facts.rows import Profiles, load_devices, runs_from
from cloud.facts.timelines import UNKNOWN, Carry, Timeline, joined

NO_CARRY = Carry()


def device_timelines(
    engine: sa.Engine, site: str, zone: ZoneInfo, window: tuple[int, int], *, known: Profiles,
    devices: Iterable[str] | None = None,
) -> dict[str, Timeline]:  # fmt: skip
    """State codes of each device from the beginning of the window's first local day to the window's end.

    A point of a bank of parking sensors is asked for, and answered, as `device/point` (`day_work.sensor`).
    `window` must end at or before now. Past days are as they were last computed (`day_work`), unknown when they were
    not yet. Before a device's first fact it is unknown; devices without any fact are left out. FAULT that is kept in
    silence has the bit `timelines.SILENT`.
    """
    from_ms, to_ms = window
    today = day_of(max(to_ms - 1, from_ms), zone)
    first = min(day_of(from_ms, zone), today)
    with reading(engine) as connection:
        named = sorted(all_devices(connection, site) if devices is None else set(devices))
        wanted = sorted({name.partition("/")[0] for name in named})
        past = stored_days(connection, site, zone, range(first, today), None if devices is None else named)
        begin, end = day_bounds(today, zone)
        by_epoch = runs_from(connection, site, begin)
        carries = carries_into(connection, site, wanted, today)
        loaded = load_devices(connection, site, wanted, (begin, end), known=known, by_epoch=by_epoch)
    now = {}
    for device in wanted:
        carry, facts = carries.get(device), loaded[device]
        if carry is None and not facts.blocks and not facts.crossing and device not in past:
            continue
        computed = computed_day(facts, carry or NO_CARRY, begin, end)
        now[device] = computed.timeline
        now.update((sensor(device, point), space) for point, space in computed.spaces.items())
    timelines = {
        name: joined(list(gapless([*past.get(name, []), now[name]], day_bounds(first, zone)[0])))
        for name in named
        if name in now
    }
    return {device: timeline.clipped(int(timeline.starts[0]), to_ms) for device, timeline in timelines.items()}


def stored_days(
    connection: sa.Connection, site: str, zone: ZoneInfo, days: range, devices: Sequence[str] | None
) -> dict[str, list[Timeline]]:
    """Stored days of devices (None: all of the site), in order."""
    table = device_days
    where = (table.c.site == site) & table.c.day.between(days.start, days.stop - 1)
    if devices is not None:
        where &= table.c.device.in_(devices)
    columns = (table.c.device, table.c.day, table.c.starts, table.c.codes)
    found: dict[str, list[Timeline]] = {}
    for device, day, starts, codes in connection.execute(sa.select(*columns).where(where).order_by(*columns[:2])):
        end_ms = day_bounds(day, zone)[1]
        found.setdefault(device, []).append(
            Timeline(np.frombuffer(starts, "<i8"), np.frombuffer(codes, np.uint8), end_ms)
        )
    return found


def gapless(parts: Sequence[Timeline], from_ms: int) -> Iterator[Timeline]:
    """The days before a device's first fact, and those that were not computed yet, are unknown."""
    for part in parts:
        first_ms = int(part.starts[0])
        if first_ms > from_ms:
            yield Timeline(np.array([from_ms], np.int64), np.array([UNKNOWN], np.uint8), first_ms)
        yield part
        from_ms = part.end_ms
