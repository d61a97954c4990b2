"""Whether a polled device answers: the link records that confirm, or cease to confirm, its values.

Silence is measured in monotonic time; instants are Unix ms UTC of the present clock run. Pure.
"""

import math
from dataclasses import dataclass, field

from devices.reading import Block
from devices.records import Link
from edge.clock import Moment
from edge.config import Device


@dataclass(frozen=True, slots=True)
class _Heard:
    """When a good answer came, in both clocks."""

    time_ms: int
    monotonic_ms: int
    run: bytes

    def in_run_of(self, moment: Moment) -> int:
        """Its Unix ms UTC by the clock run of `moment`."""
        if self.run == moment.run:
            return self.time_ms
        return moment.utc_ms - (moment.monotonic_ms - self.monotonic_ms)


@dataclass(slots=True)
class _Watched:
    """One device or point. `good` is what was last recorded, None before."""

    point: str
    hold_ms: int
    since_ms: int  # monotonic: a thing that was never heard is silent from here on
    heard: _Heard | None = None
    good: bool | None = None

    def hear(self, device: str, heard: _Heard) -> list[Link]:
        self.heard = heard
        if self.good:
            return []
        known = self.good is not None or not self.point  # points are good unless said otherwise
        self.good = True
        return [Link(device, self.point, good=True, time_ms=heard.time_ms)] if known else []

    def check(self, device: str, moment: Moment) -> list[Link]:
        last_ms = self.since_ms if self.heard is None else self.heard.monotonic_ms
        if self.good is False or moment.monotonic_ms - last_ms < self.hold_ms:
            return []
        self.good = False
        return [self.link(device, moment)]

    def link(self, device: str, moment: Moment) -> Link:
        last_ok_ms = None if self.heard is None else self.heard.in_run_of(moment)
        if self.good:
            return Link(device, self.point, good=True, time_ms=last_ok_ms or moment.utc_ms)
        return Link(device, self.point, good=False, time_ms=moment.utc_ms, last_ok_ms=last_ok_ms)


@dataclass(slots=True)
class LinkWatch:
    """The link of one polled device and of its state inputs.

    The device's link is bad after hold_s without any good answer, good again at the next one. A state input
    that stays bad for its hold_s while the device answers has a bad link of its own.
    """

    device: Device
    started: Moment
    _whole: _Watched = field(init=False)
    _points: dict[str, _Watched] = field(init=False)
    _places: dict[int, tuple[tuple[str, ...], list[tuple[int, _Watched]]]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Nothing was heard yet."""
        began_ms = self.started.monotonic_ms
        self._whole = _Watched("", self.device.hold_s * 1000, began_ms)
        self._points = {
            point: _Watched(point, self.device.series(point).hold_s * 1000, began_ms)
            for point in self.device.profile.state_points
        }

    @property
    def good(self) -> bool | None:
        """Whether the device answers; None before that is known."""
        return self._whole.good

    def hear(self, block: Block, moment: Moment) -> list[Link]:
        """Take note of an answer; says which links became good."""
        if not block.quality.is_good:
            return []
        heard = _Heard(block.time_ms, moment.monotonic_ms, moment.run)
        links: list[Link] = []
        if block.points and not self._whole.good:
            links += self._whole.hear(self.device.id, heard)
        self._whole.heard = heard
        for position, watched in self._watched(block.points):
            if not math.isnan(block.values.item(position)):
                links += watched.hear(self.device.id, heard)
        return links

    def check(self, moment: Moment) -> list[Link]:
        """Say which links became bad. Points are judged only while the device itself answers."""
        links = self._whole.check(self.device.id, moment)
        if self._whole.good:
            for watched in self._points.values():
                links += watched.check(self.device.id, moment)
        return links

    def restart(self) -> None:
        """Forget what was recorded (a new clock run, a new epoch): the next answers say it again."""
        for watched in (self._whole, *self._points.values()):
            watched.good = None

    def current(self, moment: Moment) -> list[Link]:
        """What was last recorded, for a keyframe: the device's link, and the points whose link is bad."""
        if self._whole.good is None:
            return []
        bad = [watched for watched in self._points.values() if watched.good is False]
        return [watched.link(self.device.id, moment) for watched in (self._whole, *bad)]

    def _watched(self, points: tuple[str, ...]) -> list[tuple[int, _Watched]]:
        known = self._places.get(id(points))
        if known is None or known[0] is not points:
            places = [(place, self._points[point]) for place, point in enumerate(points) if point in self._points]
            known = self._places[id(points)] = (points, places)
        return known[1]
