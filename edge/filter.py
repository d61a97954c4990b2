"""Report by exception: lets through what changed, whole blocks at a time. No I/O, no clock."""

from collections.abc import Sequence

from devices.columns import Confirmations
from devices.reading import Block, Pose, Text
from devices.records import Link
from edge.config import Device
from edge.kept import NOTHING, Kept
from edge.series import SeriesTable

Item = Block | Text | Pose | Link


class Filter:
    """Keeps per device what was last reported. `devices` are all that may appear; others are counted and dropped."""

    def __init__(self, devices: Sequence[Device], table: SeriesTable) -> None:
        self._devices = devices
        self._table = table

    def take(self, items: Sequence[Item], handled_ms: int) -> Kept:
        """What of `items` is worth a record. `handled_ms` is Unix ms UTC, the moment of handling."""
        return NOTHING

    def confirmations(self) -> Confirmations:
        """Keyframe entries of all state inputs that have a good value; ids of the series table."""
        return Confirmations.empty()

    def interrupt(self) -> None:
        """A new clock run began: what comes next is reported and confirmed afresh."""
