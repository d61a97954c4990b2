"""Parking: timelines of spaces -> how many were taken, and for how long. Pure; domain.md 4."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cloud.facts.barriers import UNKNOWN as NOBODY_KNOWS
from cloud.facts.barriers import Balance
from cloud.facts.ledger_parking import ParkingGroup, Space
from cloud.facts.timelines import SPACE_CODES, STATE_BITS, UNKNOWN, Timeline, debounced
from devices.states import SpaceState

FLICKER_MS = 60_000  # a space does not change hands faster
OCCUPIED = SPACE_CODES[SpaceState.OCCUPIED]
FREE = SPACE_CODES[SpaceState.FREE]
_STATE_OF = {code: state for state, code in SPACE_CODES.items()}


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Counts of spaces at a moment, or their sums over time in ms; closed spaces are left out.

    `estimated` of the known ones rest on counted barriers, not on sensors.
    """

    occupied: int
    free: int
    unknown: int
    estimated: int = 0

    def __add__(self, other: "Occupancy") -> "Occupancy":
        """Of both together."""
        return Occupancy(
            self.occupied + other.occupied,
            self.free + other.free,
            self.unknown + other.unknown,
            self.estimated + other.estimated,
        )

    @property
    def known(self) -> int:
        """Where it is known whether somebody stands."""
        return self.occupied + self.free

    @property
    def open(self) -> int:
        """All that are not closed."""
        return self.known + self.unknown


def occupancy_at(spaces: Sequence[Space], devices: Mapping[str, Timeline], time_ms: int) -> Occupancy:
    """Spaces taken at a moment. A reserved space counts by its sensor."""
    codes = [_code_at(space, devices, time_ms) for space in _counted(spaces)]
    return Occupancy(codes.count(OCCUPIED), codes.count(FREE), len(codes) - codes.count(OCCUPIED) - codes.count(FREE))


def occupancy_over(spaces: Sequence[Space], devices: Mapping[str, Timeline], from_ms: int, to_ms: int) -> Occupancy:
    """Space-milliseconds in [from_ms, to_ms), flicker shorter than 60 s merged."""
    occupied = free = unknown = 0
    for space in _counted(spaces):
        timeline = devices.get(space.sensor) if space.sensor else None
        part = None if timeline is None else debounced(timeline, FLICKER_MS).clipped(from_ms, to_ms)
        known = (part.duration_ms([OCCUPIED]), part.duration_ms([FREE])) if part is not None else (0, 0)
        occupied, free = occupied + known[0], free + known[1]
        unknown += to_ms - from_ms - sum(known)
    return Occupancy(occupied, free, unknown)


def occupancy_between(
    spaces: Sequence[Space], devices: Mapping[str, Timeline], edges_ms: Sequence[int]
) -> list[Occupancy]:
    """As `occupancy_over` for each stretch between neighbouring edges (ascending), in one pass."""
    edges = np.array(edges_ms, np.int64)
    totals = np.zeros((2, len(edges) - 1), np.int64)
    counted = _counted(spaces)
    for space in counted:
        timeline = devices.get(space.sensor) if space.sensor else None
        if timeline is None:
            continue
        part = debounced(timeline, FLICKER_MS)
        for row, code in enumerate((OCCUPIED, FREE)):
            chosen = (part.codes & STATE_BITS) == code
            starts, ends = part.starts[chosen], part.ends[chosen]
            until = np.clip(edges[:, None] - starts, 0, ends - starts).sum(axis=1)
            totals[row] += np.diff(until)
    lengths = np.diff(edges) * len(counted)
    return [
        Occupancy(occupied, free, length - occupied - free)
        for occupied, free, length in zip(*totals.tolist(), lengths.tolist(), strict=True)
    ]


def counted_at(groups: Iterable[ParkingGroup], balances: Mapping[str, Balance], time_ms: int) -> Occupancy:
    """Places taken at a moment in the groups whose barriers are counted."""
    total = Occupancy(0, 0, 0)
    for capacity, found in _capacities(groups, balances):
        inside = NOBODY_KNOWS if found is None else found.at(time_ms)
        if inside == NOBODY_KNOWS:
            total += Occupancy(0, 0, capacity)
        else:
            total += Occupancy(inside, capacity - inside, 0, capacity)
    return total


def counted_over(
    groups: Iterable[ParkingGroup], balances: Mapping[str, Balance], from_ms: int, to_ms: int
) -> Occupancy:
    """Space-milliseconds in [from_ms, to_ms) of the groups whose barriers are counted."""
    total = Occupancy(0, 0, 0)
    for capacity, found in _capacities(groups, balances):
        taken, known_ms = (0, 0) if found is None else found.over(from_ms, to_ms)
        known = capacity * known_ms
        total += Occupancy(taken, known - taken, capacity * (to_ms - from_ms) - known, known)
    return total


def _capacities(
    groups: Iterable[ParkingGroup], balances: Mapping[str, Balance]
) -> Iterator[tuple[int, Balance | None]]:
    for group in groups:
        if group.counted is not None:
            yield group.counted.capacity, balances.get(group.id)


def states_at(spaces: Sequence[Space], devices: Mapping[str, Timeline], time_ms: int) -> dict[str, SpaceState]:
    """What each space shows at a moment, by space id; what the ledger says goes before the sensor."""
    return {space.id: space.ledger_state or _STATE_OF[_code_at(space, devices, time_ms)] for space in spaces}


def _counted(spaces: Sequence[Space]) -> list[Space]:
    return [space for space in spaces if space.ledger_state is not SpaceState.CLOSED]


def _code_at(space: Space, devices: Mapping[str, Timeline], time_ms: int) -> int:
    timeline = devices.get(space.sensor) if space.sensor else None
    if timeline is None or not timeline.starts[0] <= time_ms <= timeline.end_ms:
        return UNKNOWN
    return timeline.code_at(min(time_ms, timeline.end_ms - 1))[0]
