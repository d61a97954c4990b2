"""Parking in the ledger: groups of spaces and the sensors that watch them."""

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from cloud.facts.ledger_values import Metres, Name
from devices.document import Mistake, Section
from devices.point import Id, PointId
from devices.states import SpaceState


class GroupBarrier(Section):
    """A barrier that counts passages. `reversed`: who enters there leaves this group, as on a ramp between levels."""

    device: Id
    reversed: bool = False


class Counted(Section):
    """A group whose barriers are counted, not its spaces.

    `empty_at` is the local time at which nobody is inside (HH:MM): without it nothing would ever be known. Counters
    that go round do so at `counts_to` (65536 for one register). More than `passages_max` passages between two readings:
    the counter began anew.
    """

    capacity: int = Field(ge=1, le=100_000)
    barriers: tuple[GroupBarrier, ...] = Field(min_length=1, max_length=100)
    empty_at: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    counts_to: int | None = Field(default=None, ge=2)
    passages_max: int = Field(default=1_000, ge=1)


class ParkingGroup(Section):
    """Spaces of one kind of vehicle on one floor, each watched by a sensor, or all together by counted barriers."""

    id: Id
    name: Name
    floor: Id
    vehicle: str = Field(default="car", max_length=50)
    counted: Counted | None = None


class Space(Section):
    """A parking space; without a device it is never known. `rect` is x, y, width, height."""

    id: Id
    group: Id
    device: Id | None = None
    point: PointId | None = None  # of a bank of sensors: which of its points watches this space
    rect: tuple[Metres, Metres, Metres, Metres]
    state: Literal["closed", "reserved"] | None = None

    @property
    def sensor(self) -> str | None:
        """What watches the space: a device, or `device/point` of a bank; None when nothing does."""
        return f"{self.device}/{self.point}" if self.device and self.point else self.device

    @property
    def ledger_state(self) -> SpaceState | None:
        """What the ledger says over the sensor's head."""
        return SpaceState(self.state) if self.state else None


def parking_mistakes(groups: Sequence[ParkingGroup], spaces: Sequence[Space]) -> Iterable[Mistake]:
    """A sensor watches one space; a point belongs to a device; what barriers count is not counted twice."""
    counted = {group.id for group in groups if group.counted is not None}
    barriers = {one.device for group in groups if group.counted is not None for one in group.counted.barriers}
    whole = {space.device for space in spaces if space.point is None}
    watched: set[str] = set()
    for index, space in enumerate(spaces):
        if space.point is not None and space.device is None:
            yield Mistake(("spaces", index, "point"), "names a point of no device")
        if space.group in counted and space.device is not None:
            message = f"the group {space.group!r} is counted at its barriers: a sensor would count this space twice"
            yield Mistake(("spaces", index, "device"), message)
        if space.device in barriers:
            yield Mistake(("spaces", index, "device"), f"{space.device!r} is a barrier")
        if space.point is not None and space.device in whole:
            yield Mistake(("spaces", index, "device"), f"{space.device!r} watches another space as a whole")
        if space.sensor in watched:
            yield Mistake(("spaces", index, "device"), f"{space.sensor!r} already watches another space")
        if space.sensor is not None:
            watched.add(space.sensor)
    for index, group in enumerate(groups):
        if group.counted is not None:
            yield from _counted_mistakes(index, group.counted)


def _counted_mistakes(group: int, counted: Counted) -> Iterable[Mistake]:
    place = ("parking", group, "counted")
    seen: set[str] = set()
    for index, barrier in enumerate(counted.barriers):
        if barrier.device in seen:
            yield Mistake((*place, "barriers", index, "device"), f"{barrier.device!r} stands here twice")
        seen.add(barrier.device)
    if counted.counts_to is not None and counted.passages_max >= counted.counts_to // 2:
        message = "passages_max must be below half of counts_to: else a step back looks like passages"
        yield Mistake((*place, "passages_max"), message)
