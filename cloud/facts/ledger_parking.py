"""Parking in the ledger: groups of spaces and the sensors that watch them."""

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from cloud.facts.ledger_values import Metres, Name
from devices.document import Mistake, Section
from devices.point import Id, PointId
from devices.states import SpaceState


class ParkingGroup(Section):
    """Spaces of one kind of vehicle on one floor."""

    id: Id
    name: Name
    floor: Id
    vehicle: str = Field(default="car", max_length=50)


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


def space_mistakes(spaces: Sequence[Space]) -> Iterable[Mistake]:
    """A sensor watches one space; a point belongs to a device."""
    watched: set[str] = set()
    for index, space in enumerate(spaces):
        if space.point is not None and space.device is None:
            yield Mistake(("spaces", index, "point"), "names a point of no device")
        if space.sensor in watched:
            yield Mistake(("spaces", index, "device"), f"{space.sensor!r} already watches another space")
        if space.sensor is not None:
            watched.add(space.sensor)
