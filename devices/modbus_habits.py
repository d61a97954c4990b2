"""What a product wants of whoever reads it over Modbus, as its profile says."""

from typing import Literal

from pydantic import Field

from devices.document import Section
from devices.point import Duration


class SunSpec(Section):
    """The profile is written for this layout; the driver finds out where the models of a device really are.

    `model` begins at `address` (its id), the common model at `common_address`.
    """

    model: int = Field(ge=2, le=65_534)
    address: int = Field(default=40_070, ge=0, le=65_533)
    common_address: int = Field(default=40_002, ge=0, le=65_533)


class Modbus(Section):
    """How the device wants to be asked.

    `max_gap` unused registers may be read along between two points; with `no_gap` none. `exact_blocks` and
    `forbidden` are [first, count] ranges: the ones answer only as a whole, the others are in no read, not even in
    a gap. `frame_pause_ms` of silence before each request; `timeout_s` is the least time that an answer is given,
    whatever the site allows.
    """

    address_base: Literal[0, 1] = 0
    max_registers: int = Field(default=125, ge=1, le=125)
    max_bits: int = Field(default=2000, ge=1, le=2000)
    max_gap: int = Field(default=16, ge=0, le=124)
    no_gap: bool = False
    exact_blocks: tuple[tuple[int, int], ...] = ()
    forbidden: tuple[tuple[int, int], ...] = ()
    frame_pause_ms: int = Field(default=0, ge=0, le=10_000)
    timeout_s: Duration | None = Field(default=None, le=60)
    sunspec: SunSpec | None = None
