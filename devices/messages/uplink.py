"""A LoRaWAN uplink, whichever network server wrapped it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoraUplink:
    """The application payload of one uplink.

    `time_ms` is the network's time of reception, Unix ms UTC, None if unreadable. `key` is the same for every copy of
    this uplink and for no other.
    """

    device_eui: str
    time_ms: int | None
    f_count: int
    f_port: int
    data: bytes
    key: tuple[str, int, str]
