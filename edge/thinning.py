"""Poses that a straight line tells as well are left out. Pure: time is an argument.

A pose is left out only when all of this holds:

- at its time it lies within 0.1 m of where a robot would be that goes evenly from the kept pose before it to the one
  after it (so also within 0.1 m of the line between them, and no jump is smoothed into a drive);
- these two are at most 4 s apart, and so are all that arrived between them;
- map, flags (localised, automatic, charging, driving), quality and quarter hour are the same from one to the other:
  both sides of every change are kept, and no leg moves into another quarter hour.

What is kept is what arrived, unchanged: nothing is computed, nothing is put into a gap. A pose is held back until the
next one decides, 4 s at most. Poses that arrive out of order by up to 10 s are judged alike.
"""

from bisect import insort
from collections.abc import Sequence
from itertools import pairwise

from devices.reading import Block, Pose, PoseFlag, Quality, Text

TOLERANCE_MM = 100
KEPT_MS_MAX = 4_000  # between kept poses while poses arrive; the cloud joins poses up to 5 s apart
HELD_MS_MAX = 4_000  # until a pose is decided, in monotonic time
MEMORY_MS = 10_000  # how late a pose may arrive and still be judged against what was left out
PENDING_MAX = 64  # 4 s of a robot that says where it is sixteen times a second
MEMORY_MAX = 1_024
QUARTER_MS = 900_000

Item = Block | Text | Pose
_Kind = tuple[str, PoseFlag, Quality, int]


class Thinning:
    """Thins the poses among other items, each robot's by themselves."""

    def __init__(self) -> None:
        self._tracks: dict[str, _Track] = {}

    def take(self, items: Sequence[Item], monotonic_ms: int) -> list[Item]:
        """What is to be kept by now, in order of arrival; other items pass. Call it every second or so."""
        kept: list[Item] = []
        for item in items:
            if isinstance(item, Pose):
                track = self._tracks.get(item.device)
                if track is None:
                    track = self._tracks[item.device] = _Track()
                kept += track.take(item, monotonic_ms)
            else:
                kept.append(item)
        for track in self._tracks.values():
            kept += track.release(monotonic_ms)
        return kept

    def settle(self) -> list[Pose]:
        """The last pose of every robot that was held back: no more will come."""
        return [pose for track in self._tracks.values() for pose in track.settle()]


class _Track:
    """One robot's poses: those kept and left out lately, and those held back since the last kept one."""

    def __init__(self) -> None:
        self._kept: list[Pose] = []  # in order of time; the last one is where the held-back ones begin
        self._dropped: list[Pose] = []
        self._pending: list[Pose] = []
        self._held_ms = 0

    def take(self, pose: Pose, now_ms: int) -> list[Pose]:
        """What the new pose decides."""
        if not self._kept:
            return self._keep([pose])
        newest = self._pending[-1] if self._pending else self._kept[-1]
        if pose.time_ms < self._kept[-1].time_ms - MEMORY_MS:  # a clock was set back: begin anew
            settled = self.settle()
            self._kept, self._dropped = [pose], []
            return [*settled, pose]
        if pose.time_ms <= newest.time_ms:
            return self._take_late(pose)
        if _kind(pose) != _kind(newest) or pose.time_ms - newest.time_ms > KEPT_MS_MAX:
            return [*self.settle(), *self._keep([pose])]
        kept = [] if self._tells(self._kept[-1], self._pending, pose) else self.settle()
        if not self._pending:
            self._held_ms = now_ms
        self._pending.append(pose)
        return kept

    def release(self, now_ms: int) -> list[Pose]:
        """The last pose held back, when it was held back for long enough."""
        return self.settle() if self._pending and now_ms - self._held_ms >= HELD_MS_MAX else []

    def settle(self) -> list[Pose]:
        """Decide about all that is held back: the last one is kept."""
        if not self._pending:
            return []
        *told, last = self._pending
        self._pending = []
        self._dropped += told
        return self._keep([last])

    def _take_late(self, pose: Pose) -> list[Pose]:
        """One that is older than another: left out where the line tells it, else what was left out around it counts."""
        if pose in self._pending or pose in self._kept or pose in self._dropped:
            return []
        begin = self._kept[-1]
        if pose.time_ms > begin.time_ms and _kind(pose) == _kind(begin):
            among = sorted([*self._pending, pose], key=_time)
            if self._tells(begin, among[:-1], among[-1]):
                self._pending = among
                return []
        for before, after in pairwise(self._kept):
            if before.time_ms <= pose.time_ms <= after.time_ms and self._tells(before, [pose], after):
                self._dropped.append(pose)
                return []
        near = [one for one in self._dropped if abs(one.time_ms - pose.time_ms) <= KEPT_MS_MAX]
        self._dropped = [one for one in self._dropped if one not in near]
        pending, self._pending = self._pending, []
        return self._keep([*near, *pending, pose])

    def _tells(self, before: Pose, between: list[Pose], after: Pose) -> bool:
        """Whether going evenly from one pose to the other says where the robot was between them."""
        return (
            len(between) <= PENDING_MAX
            and after.time_ms - before.time_ms <= KEPT_MS_MAX
            and all(_kind(one) == _kind(after) for one in (before, *between))
            and all(_is_on_the_way(before, one, after) for one in between)
        )

    def _keep(self, poses: list[Pose]) -> list[Pose]:
        for pose in poses:
            insort(self._kept, pose, key=_time)
        oldest_ms = self._kept[-1].time_ms - MEMORY_MS
        self._kept = [pose for pose in self._kept if pose.time_ms >= oldest_ms][-MEMORY_MAX:]
        self._dropped = [pose for pose in self._dropped if pose.time_ms >= oldest_ms][-MEMORY_MAX:]
        return poses


def _time(pose: Pose) -> int:
    return pose.time_ms


def _kind(pose: Pose) -> _Kind:
    return pose.map_id, pose.flags, pose.quality, pose.time_ms // QUARTER_MS


def _is_on_the_way(before: Pose, pose: Pose, after: Pose) -> bool:
    """Within the tolerance of the place between two others that its time gives it; exact in integers."""
    whole, part = after.time_ms - before.time_ms, pose.time_ms - before.time_ms
    off_x = (pose.x_mm - before.x_mm) * whole - (after.x_mm - before.x_mm) * part
    off_y = (pose.y_mm - before.y_mm) * whole - (after.y_mm - before.y_mm) * part
    if not whole:
        return max(abs(pose.x_mm - before.x_mm), abs(pose.y_mm - before.y_mm)) == 0
    return off_x * off_x + off_y * off_y <= (TOLERANCE_MM * whole) ** 2
