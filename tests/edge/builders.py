"""Small profiles, devices and moments for tests of the edge."""

import time
from collections.abc import Iterable, Sequence

from devices.profile import LoadedProfile, parse_profile
from devices.reading import Block, Text
from edge.clock import Moment
from edge.config import Device

START_MS = 1_780_000_000_000


def registers_profile(count: int, *, extra: str = "", modbus: str = "{}", poll: str = "1s") -> LoadedProfile:
    """Points r0, r1, ... at holding registers 0, 1, ..., all in volts; `extra` lines are appended."""
    points = "\n".join(
        f"  - {{id: r{at}, function: holding, address: {at}, type: u16, unit: V}}" for at in range(count)
    )
    text = (
        f"id: registers\nsource: {{document: none, verified: unverified}}\nmodbus: {modbus}\n"
        f"poll: {{value: {poll}}}\npoints:\n{points}\n{extra}"
    )
    return parse_profile(text, "registers.yaml")


def device(profile: LoadedProfile, name: str = "d", unit: int = 1, topic: str = "") -> Device:
    """A device on the connection `c`."""
    return Device(name, profile, "c", unit, topic)


def moment() -> Moment:
    """The real passing of time from a fixed day on."""
    elapsed_ms = round(time.monotonic() * 1000)
    return Moment(START_MS + elapsed_ms, elapsed_ms, b"r" * 8, trusted=True, uncertainty_ms=0)


def values(items: Iterable[object]) -> dict[str, float]:
    """Good values by point."""
    blocks = [item for item in items if isinstance(item, Block)]
    return {reading.point: reading.value for block in blocks for reading in block if reading.quality.is_good}


def qualities(items: Iterable[object]) -> dict[str, str]:
    """Names of bad qualities by point."""
    blocks = [item for item in items if isinstance(item, Block)]
    return {reading.point: reading.quality.name for block in blocks for reading in block if not reading.quality.is_good}


def texts(items: Sequence[object]) -> dict[str, str]:
    """Texts by point."""
    return {item.point: item.text for item in items if isinstance(item, Text)}
