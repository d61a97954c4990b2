"""What a frame says besides values: link changes, inventory, profiles, clock fixes, losses, local alerts.

Times are Unix ms UTC. Every record is immutable and compares by value.
"""

from enum import StrEnum

import msgspec


class Link(msgspec.Struct, frozen=True, tag="link", array_like=True):
    """A device, or one point of it, began or ceased to answer.

    While a link is good every value of that device is confirmed by the polls that did not change it.
    `last_ok_ms` is the last good answer before a bad link, None if there never was one.
    """

    device: str
    point: str  # "" is the whole device
    good: bool
    time_ms: int
    last_ok_ms: int | None = None


class DeviceInfo(msgspec.Struct, frozen=True, array_like=True):
    """One device as the gateway is configured to read it."""

    id: str
    profile_id: str
    profile_hash: str  # SHA-256 of the profile text, hex
    points: tuple[tuple[str, str], ...]  # (point id, canonical unit)
    poll_interval_s: float  # of the slowest point that a state rule names; 0 for devices that push
    hold_s: int
    pushes: bool
    connection: str = ""  # the bus, socket or broker that it shares with others of this gateway


class Inventory(msgspec.Struct, frozen=True, tag="inventory", array_like=True):
    """What this gateway is and reads. Complete: a device that is not listed is no longer read."""

    time_ms: int
    software_version: str
    configuration_hash: str
    devices: tuple[DeviceInfo, ...]


class ProfileText(msgspec.Struct, frozen=True, tag="profile", array_like=True):
    """The text of a profile in use, so that the cloud judges by the very rules the gateway had."""

    hash: str  # SHA-256 of the text, hex
    text: str


class ClockFix(msgspec.Struct, frozen=True, tag="fix", array_like=True):
    """What time it really was at one moment of a clock run, and what the run's clock showed then.

    `utc_ms - shown_ms` puts every time of that run right. `shown_ms` is None from gateways that did not say it yet.
    """

    run: bytes
    monotonic_ms: int
    utc_ms: int
    uncertainty_ms: int
    source: str  # "ntp" or "cloud"
    shown_ms: int | None = None


class LossReason(StrEnum):
    """Why frames that were accepted will never arrive."""

    SPACE = "space"
    DAMAGED = "damaged"
    DELETED_AFTER_RECEIPT = "deleted after receipt"
    MEMORY = "memory"  # the disk took nothing, and there was no more room in memory


class Loss(msgspec.Struct, frozen=True, tag="loss", array_like=True):
    """Frames `first_seq` to `last_seq` (inclusive) of a lane and epoch are gone, and why.

    `count` is the number of readings lost, None if the frames were unreadable. Hashes are of the frames
    at both ends where still known, else empty.
    """

    lane: str
    epoch: bytes
    first_seq: int
    last_seq: int
    from_ms: int
    to_ms: int
    reason: LossReason
    count: int | None = None
    first_hash: bytes = b""
    last_hash: bytes = b""
    series: tuple[str, ...] = ()


class LocalAlert(msgspec.Struct, frozen=True, tag="alert", array_like=True):
    """A rule that the gateway judged by itself became true of a device, or ceased to be.

    `thing` is the device; the cloud knows which equipment that is. `since_ms` is when the condition truly began or
    ended, not when its delay did.
    """

    rule: str
    thing: str
    condition: str  # "active" or "cleared"
    severity: str  # yellow, orange or red
    since_ms: int
    parameters: tuple[tuple[str, str], ...] = ()  # for the rule's sentence: (name, value)
    latched: bool = False


Record = Link | Inventory | ProfileText | ClockFix | Loss | LocalAlert
