"""SunSpec: where a device keeps its models. Pure but for the questions, which the driver asks.

A map begins with the marker `SunS` at one of three addresses; then follow models, each with its id, its length and so
many registers, until the id 65535 (SunSpec Device Information Model Specification, section 6; domain.md P13).
Profiles are written for the usual layout, and reads are moved to where the models really are.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from devices.modbus_habits import SunSpec

BASES = (40_000, 50_000, 0)
MARKER = (0x5375, 0x6E53)
COMMON = 1  # the model with manufacturer and serial number
END = 0xFFFF
MODELS_MAX = 100  # a chain that is longer runs in a circle
LAST_ADDRESS = 65_534

Ask = Callable[[int], Awaitable[bytes | None]]  # the two registers at an address, None when they cannot be had


@dataclass(frozen=True, slots=True)
class Layout:
    """How far the models of a device lie from where its profile says, in registers."""

    model_from: int  # the profile's address of the model; what lies before it belongs to the common model
    common_shift: int
    model_shift: int

    def moved(self, address: int) -> int:
        """Where a register of the profile really is."""
        return address + (self.model_shift if address >= self.model_from else self.common_shift)


async def find_layout(sunspec: SunSpec, ask: Ask) -> Layout | None:
    """Walk the chain to the profile's model; None when the device has no such chain or no such model."""
    for base in BASES:
        if await _pair(ask, base) != MARKER:
            continue
        found = await _models(ask, base + len(MARKER), sunspec.model)
        if found is None:
            return None
        common, model = found
        return Layout(sunspec.address, common - sunspec.common_address, model - sunspec.address)
    return None


async def _models(ask: Ask, address: int, wanted: int) -> tuple[int, int] | None:
    """Addresses of the common model (or of the first one) and of the wanted one."""
    common = address
    for _ in range(MODELS_MAX):
        head = await _pair(ask, address)
        if head is None or head[0] == END:
            return None
        if head[0] == COMMON:
            common = address
        if head[0] == wanted:
            return common, address
        address += len(head) + head[1]
        if address > LAST_ADDRESS:
            return None
    return None


async def _pair(ask: Ask, address: int) -> tuple[int, int] | None:
    data = await ask(address)
    if data is None or len(data) != 2 * len(MARKER):
        return None
    first, second = np.frombuffer(data, ">u2").tolist()
    return first, second
