"""One lost uplink of a parking sensor, told by the next one.

Some sensors say with each change how long the state before it lasted. When exactly one uplink is missing and the next
one says the same state again, the lost one said the other, and began that long ago. The duration is cut to whole
steps (minutes, then 5, then 60), so the change was at that moment or up to a step earlier: from that moment on the
state is certain. With more missing, or a duration that does not fit between the two uplinks, nothing is known.
"""

from dataclasses import dataclass

DURATION_S_MAX = 39_600.0  # "this long or longer" says no moment
MISSING = 2  # the difference of two frame counts between which one is missing


@dataclass(frozen=True, slots=True)
class SpaceUplink:
    """What an uplink said of a space: `occupied` 0 or 1 at `time_ms`, Unix ms UTC."""

    f_count: int
    occupied: float
    time_ms: int


def lost_change(before: SpaceUplink, after: SpaceUplink, previous_state_s: float | None) -> SpaceUplink | None:
    """The uplink that was lost between two, None when nothing certain can be said of it."""
    if previous_state_s is None or after.f_count - before.f_count != MISSING or after.occupied != before.occupied:
        return None
    if not 0 < previous_state_s < DURATION_S_MAX:
        return None
    time_ms = after.time_ms - round(previous_state_s * 1000)
    if not before.time_ms < time_ms < after.time_ms:
        return None
    return SpaceUplink(before.f_count + 1, 1.0 - before.occupied, time_ms)
