"""When the polled devices of an imported file answered: a file says it only by its lines.

A device is taken to answer while its lines come at least as often as its points promise. Then its values are
confirmed up to the file's end; a longer silence is a link that was down since its last line.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from devices.reading import Int32s, Int64s
from devices.records import Link
from edge.config import Device
from edge.series import SeriesTable

REPORT_WITHIN_S = 3_600  # a file of past readings repeats its state inputs at least hourly
SLACK_S = 300


class ImportLinks:
    """Feed it every usable line, in the order of the file; it gives the link changes that they prove."""

    def __init__(self, devices: Sequence[Device], table: SeriesTable) -> None:
        polled = [one for one in devices if not one.pushes]
        index = {one.id: at for at, one in enumerate(polled)}
        self._names = [one.id for one in polled]
        self._limit_ms = np.array([_limit_ms(one) for one in polled], np.int64)
        self._last_ms = np.full(len(polled), -1, np.int64)  # of each device; -1 is never
        self._good = np.zeros(len(polled), bool)
        self._device_of = np.array([index.get(table[at].device, -1) for at in range(len(table))], np.int64)

    def take(self, series: Int32s, time_ms: Int64s, answered: NDArray[np.bool_]) -> tuple[Link, ...]:
        """Link changes up to the last of these lines; its time is how far the file has come.

        `answered` is false for lines that say that the device gave no answer.
        """
        if not len(series) or not self._names:
            return ()
        device = self._device_of[series]
        polled = np.flatnonzero((device >= 0) & answered)
        order = polled[np.lexsort((time_ms[polled], device[polled]))]
        device, sorted_ms = device[order], time_ms[order]
        links: list[Link] = []
        if len(order):
            begins = np.diff(device, prepend=-1) != 0
            before_ms = np.where(begins, self._last_ms[device], np.roll(sorted_ms, 1))
            fresh = begins & (before_ms < 0)
            silent = ~fresh & (sorted_ms - before_ms > self._limit_ms[device])
            again = fresh | silent | (begins & ~self._good[device])
            for at in np.flatnonzero(again).tolist():
                one = int(device[at])
                if silent[at] and (not begins[at] or self._good[one]):
                    links.append(self._ended(one, int(before_ms[at])))
                links.append(Link(self._names[one], "", good=True, time_ms=int(sorted_ms[at])))
            np.maximum.at(self._last_ms, device, sorted_ms)
            self._good[device] = True
        overdue = self._good & (int(time_ms[-1]) - self._last_ms > self._limit_ms)
        links += [self._ended(one, int(self._last_ms[one])) for one in np.flatnonzero(overdue).tolist()]
        self._good &= ~overdue
        return tuple(links)

    def _ended(self, one: int, last_ms: int) -> Link:
        # Just behind the last line: what others heard of the device later is none of this file's business.
        return Link(self._names[one], "", good=False, time_ms=last_ms + 1, last_ok_ms=last_ms)


def _limit_ms(device: Device) -> int:
    return (max(device.profile.hold_s, REPORT_WITHIN_S) + SLACK_S) * 1000
