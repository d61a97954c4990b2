"""Which parking spaces are taken, as a pure function of seed and day.

The demand curve is that of a shopping centre with offices: two peaks, few cars at night. Each space is taken
while demand plus its own luck exceeds its unpopularity; luck changes every one to three hours.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from simulators.day import DAY_S
from simulators.script import Seconds, chance

SLOT_S = 300
SLOTS = DAY_S // SLOT_S
_HOURS = (0.0, 5.0, 7.0, 9.0, 11.0, 12.5, 14.5, 16.0, 18.0, 19.5, 21.0, 22.5, 24.0)
_DEMAND = (0.10, 0.06, 0.12, 0.38, 0.60, 0.80, 0.62, 0.58, 0.78, 0.88, 0.62, 0.25, 0.10)
_WEEKEND = 1.12
_LUCK = 0.16  # standard deviation, in units of demand
_STREAM_PARKING = 3


@dataclass(frozen=True, slots=True, eq=False)
class ParkingDay:
    """`taken[space, slot]` over the five-minute slots of a day; a space changes `phase_s[space]` into a slot."""

    taken: NDArray[np.bool_]
    phase_s: Seconds
    before: NDArray[np.bool_]  # at the very beginning of the day, until the first phase

    def at(self, second: int) -> NDArray[np.bool_]:
        """Which spaces are taken at a second after local midnight."""
        slots = (second - self.phase_s) // SLOT_S
        rows = np.arange(len(self.phase_s))
        return np.where(slots < 0, self.before, self.taken[rows, np.clip(slots, 0, SLOTS - 1)])

    def changes(self) -> tuple[NDArray[np.int64], Seconds, NDArray[np.bool_]]:
        """(space, second, taken) of every change of the day, by space and time."""
        whole = np.column_stack([self.before, self.taken])
        spaces, slots = np.nonzero(whole[:, 1:] != whole[:, :-1])
        return spaces, slots * SLOT_S + self.phase_s[spaces], self.taken[spaces, slots]


def _taken(seed: int, day: date, total: int) -> NDArray[np.bool_]:
    rng = chance(seed, day, _STREAM_PARKING)
    # The popular spaces are the same every day: near the lifts, by seed only.
    unpopularity = np.random.default_rng([seed, _STREAM_PARKING]).permutation(total) / total
    demand = np.interp(np.arange(SLOTS) * SLOT_S / 3600, _HOURS, _DEMAND)
    if day.weekday() >= 5:
        demand = demand * _WEEKEND
    stretch = rng.integers(12, 37, total)  # slots: one to three hours
    offset = rng.integers(0, 37, total)
    luck = rng.normal(0.0, _LUCK, (total, SLOTS // 12 + 5))
    column = (np.arange(SLOTS)[None, :] + offset[:, None]) // stretch[:, None]
    taken: NDArray[np.bool_] = demand[None, :] + luck[np.arange(total)[:, None], column] > unpopularity[:, None]
    return taken


def parking_day(seed: int, day: date, total: int) -> ParkingDay:
    """The day of `total` spaces."""
    yesterday = _taken(seed, date.fromordinal(day.toordinal() - 1), total)
    phase_s = np.random.default_rng([seed, _STREAM_PARKING, 1]).integers(1, SLOT_S, total)
    return ParkingDay(_taken(seed, day, total), phase_s, yesterday[:, -1])
