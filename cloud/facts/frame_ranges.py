"""Which frames a number stands on: per gateway and epoch the first and the last that say anything about its window."""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from cloud.facts.claims import DAY_MS, QUARTER_MS
from cloud.facts.database import claims, poses
from devices.reading import Lane

DEVICES_MAX = 500  # more are asked for as the whole site


@dataclass(frozen=True, slots=True, order=True)
class Frames:
    """Frames of one epoch, first and last seq inclusive. Frames in between may be about something else."""

    gateway: str
    epoch: bytes
    first_seq: int
    last_seq: int
    lane: str = Lane.EVENTS.value


def frames_about(
    connection: sa.Connection, site: str, window: tuple[int, int], devices: Collection[str] | None = None
) -> list[Frames]:  # fmt: skip
    """Frames that hold claims or poses which end within the UTC days of [from, to), Unix ms UTC."""
    days = (window[0] // DAY_MS, max(window[1] - 1, window[0]) // DAY_MS)
    quarters = (window[0] // QUARTER_MS, max(window[1] - 1, window[0]) // QUARTER_MS)
    found: dict[tuple[str, bytes], tuple[int, int]] = {}
    for table, column, span in ((claims, claims.c.utc_day, days), (poses, poses.c.utc_quarter, quarters)):
        where = (table.c.site == site) & column.between(*span)
        if devices is not None and len(devices) <= DEVICES_MAX:
            where &= table.c.device.in_(sorted(devices))
        columns = (table.c.gateway, table.c.epoch, sa.func.min(table.c.seq), sa.func.max(table.c.seq))
        for gateway, epoch, first, last in connection.execute(
            sa.select(*columns).where(where).group_by(table.c.gateway, table.c.epoch)
        ):
            known = found.get((gateway, epoch), (first, last))
            found[gateway, epoch] = (min(first, known[0]), max(last, known[1]))
    return sorted(Frames(gateway, epoch, *seqs) for (gateway, epoch), seqs in found.items())
