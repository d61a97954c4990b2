"""Parking in the ledger: groups of spaces and the sensors that watch them."""

from typing import Literal

from pydantic import Field

from cloud.facts.ledger_values import Metres, Name
from devices.document import Section
from devices.point import Id
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
    rect: tuple[Metres, Metres, Metres, Metres]
    state: Literal["closed", "reserved"] | None = None

    @property
    def ledger_state(self) -> SpaceState | None:
        """What the ledger says over the sensor's head."""
        return SpaceState(self.state) if self.state else None
