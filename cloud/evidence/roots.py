"""The daily root: what was received of the evidence lane on a UTC day, in log order, as one hash.

A day's root is over the roots of its sites, so that one site's package proves its part without the others' frames.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cloud.evidence.merkle import leaf_hash, root_of
from cloud.ingest.gateways import GatewayKeys
from cloud.ingest.log import FrameLog, LogEntry
from devices.errors import DamagedFrame, UnknownVersion
from devices.frame import read_header
from devices.reading import Lane

DAY_MS = 86_400_000
READ_ENTRIES = 500


@dataclass(frozen=True, slots=True)
class SiteRoot:
    """One site's part of a day."""

    root: bytes
    frames: int


@dataclass(frozen=True, slots=True)
class DayRoot:
    """A UTC day, counted from 1970-01-01."""

    day: int
    sites: Mapping[str, SiteRoot]

    @property
    def root(self) -> bytes:
        """Over the sites by id."""
        return root_of([leaf_hash(site.encode() + b"\x00" + one.root) for site, one in sorted(self.sites.items())])


def frame_leaf(received_ms: int, data: bytes) -> bytes:
    """The leaf of a frame: when it was received is part of the evidence."""
    return leaf_hash(received_ms.to_bytes(8, "big") + data)


def entries_from(log: FrameLog, received_ms: int) -> Iterator[LogEntry]:
    """Everything on the evidence lane that was received from then on, in log order. Blocks."""
    position = log.since(Lane.EVENTS, received_ms)
    while found := log.read(Lane.EVENTS, position, READ_ENTRIES):
        yield from (entry for entry in found if entry.received_ms >= received_ms)
        position = found[-1].position


def site_of_frame(keys: GatewayKeys, data: bytes) -> str:
    """Whose frame it is; empty for what no gateway of ours can have sent, or what is too new for us."""
    try:
        gateway = keys.get(read_header(data).gateway)
    except (DamagedFrame, UnknownVersion):
        return ""
    return "" if gateway is None else gateway.site


def day_roots(entries: Iterable[LogEntry], keys: GatewayKeys, before_day: int) -> list[DayRoot]:
    """The roots of all days before one, from the first with a frame on, of entries in log order.

    A day on which nothing was received has a root too: else a day that is left out could not be told from it.
    """
    leaves: dict[int, dict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        day = entry.received_ms // DAY_MS
        if day < before_day:
            site = site_of_frame(keys, entry.data)
            leaves[day][site].append(frame_leaf(entry.received_ms, entry.data))
    days = range(min(leaves), before_day) if leaves else range(0)
    return [
        DayRoot(day, {site: SiteRoot(root_of(found), len(found)) for site, found in leaves.get(day, {}).items()})
        for day in days
    ]
