"""Timelines of equipment that were worked out already, kept in memory for as long as what they stand on is the same.

Everything can be worked out again; what is kept is bounded and begins anew with each local day.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock

import sqlalchemy as sa

from cloud.facts.database import device_heads
from cloud.facts.equipment_past import EquipmentTimeline

INTERVALS_MAX = 4_000_000  # of all sites; 9 bytes each
_EACH = 20  # what an equipment without any interval takes, counted as intervals


@dataclass(frozen=True, slots=True)
class Stamp:
    """What kept timelines stand on, but for the states of devices: versions of ledgers and inputs, the last day."""

    ledgers: tuple[tuple[int, int], ...]
    inputs: tuple[int, int]
    last_day: int
    zone: str


@dataclass(slots=True)
class Kept:
    """Timelines of one site over [from_ms, to_ms), in the order of the roster."""

    stamp: Stamp
    days_version: int
    from_ms: int
    to_ms: int
    timelines: dict[str, EquipmentTimeline] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Intervals."""
        parts = (part for one in self.timelines.values() for part in (one.states, one.counts, one.device) if part)
        return _EACH * len(self.timelines) + sum(len(part.starts) for part in parts)


class KeptTimelines:
    """Kept timelines by site, those asked for last; safe to call from several threads."""

    def __init__(self, intervals_max: int = INTERVALS_MAX) -> None:
        self._intervals_max = intervals_max
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._lock = Lock()

    def get(self, site: str) -> Kept | None:
        """What is kept of a site, as it was put."""
        with self._lock:
            kept = self._kept.get(site)
            if kept is not None:
                self._kept.move_to_end(site)
            return kept

    def put(self, site: str, kept: Kept) -> None:
        """Keep these, and let go of those that were not asked for the longest."""
        with self._lock:
            self._kept[site] = kept
            self._kept.move_to_end(site)
            while len(self._kept) > 1 and sum(one.size for one in self._kept.values()) > self._intervals_max:
                self._kept.popitem(last=False)


def changed_devices(connection: sa.Connection, site: str, after_version: int) -> set[str]:
    """Devices of which the states of any past day changed after a version."""
    mine = (device_heads.c.site == site) & (device_heads.c.version > after_version)
    return set(connection.execute(sa.select(device_heads.c.device).where(mine)).scalars())


def refreshed(
    kept: Kept, days_version: int, stale: Iterable[str],
    work_out: Callable[[Sequence[str]], Iterable[EquipmentTimeline]],
) -> Kept:  # fmt: skip
    """The same with timelines of this equipment worked out again."""
    names = sorted(set(stale) & kept.timelines.keys())
    timelines = dict(kept.timelines)
    if names:
        timelines |= {one.equipment.id: one for one in work_out(names)}
    return Kept(kept.stamp, days_version, kept.from_ms, kept.to_ms, timelines)
