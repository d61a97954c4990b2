"""LoRaWAN parking sensors: application payload bytes to numbers, and the reverse for the simulators.

Sources: TheThingsNetwork/lorawan-devices vendor/nwave/nps405.js (commit 62c8acd), nps310sm.js, ncc405.js,
vendor/bosch/tpl110-0292.js; thingsboard/data-converters VENDORS/Netvox/R719A, VENDORS/Milesight/VS34x. An earlier
nps405.js had the occupied bit on top and the duration below it: that is the codec `nwave-nps405-v1`. The vendor's own
examples of today (0x95 is occupied after 74) only fit bit 0. The unit of the duration is taken to be the minute (the
codecs name none).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from devices.errors import MessageError

STATUS, HEARTBEAT, STARTUP, USER_TAG = 1, 2, 3, 10  # LoRaWAN f_port
NETVOX_REPORT, NETVOX_R719A, MILESIGHT_REPORT = 6, 0x59, 85
PAYLOAD_BYTES_MAX = 242  # the largest LoRaWAN application payload

_NPS405_RESETS = {
    0: "rejoining_lorawan_network",
    1: "watchdog",
    2: "power_on",
    3: "user_request",
    6: "brownout",
    7: "other",
}
_NPS310_RESETS = {1: "watchdog", 2: "power_on", 3: "user_request", 4: "brownout", 5: "other"}
_TPS110_RESETS = {1: "watchdog", 2: "power_on", 3: "system_request", 4: "other"}


@dataclass(frozen=True, slots=True)
class ParkingUplink:
    """One uplink.

    Numbers: `occupied` 0/1, `previous_state_s`, `vehicles` (counted so far), `battery` V, `charge` percent,
    `temperature` degC, `hardware_health`; texts: `firmware`, `reset_cause`.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


def decode_parking(codec: str, f_port: int, data: bytes) -> ParkingUplink:
    """The uplink of a sensor by its codec's name. A port without readings gives an empty one. Raises MessageError."""
    if codec not in _CODECS:
        raise MessageError(f"unknown codec {codec!r}: expected one of {', '.join(_CODECS)}")
    if len(data) > PAYLOAD_BYTES_MAX:
        raise MessageError(f"{len(data)} bytes are more than LoRaWAN carries")
    try:
        return _CODECS[codec](f_port, data)
    except IndexError as error:
        raise MessageError(f"{codec}: {len(data)} bytes are too few for port {f_port}") from error


def _nps405(f_port: int, data: bytes) -> ParkingUplink:
    if f_port == STATUS:
        return ParkingUplink({"occupied": float(data[0] & 1)} | _previous(data[0] >> 1))
    if f_port == HEARTBEAT:
        return ParkingUplink(
            {
                "occupied": float(data[0] & 1),
                "hardware_health": float(data[0] >> 1),
                "battery": (2500 + 4 * data[1]) / 1000,
                "temperature": _signed(data[2]) / 2 + 10,
            }
        )
    if f_port == STARTUP:
        return _startup(data, 0, _NPS405_RESETS)
    if f_port == USER_TAG and data[0] & 1:  # the tag itself names a person and is not read
        return ParkingUplink({"occupied": 1.0} | _previous(data[0] >> 1))
    return ParkingUplink()


def _nps405_v1(f_port: int, data: bytes) -> ParkingUplink:
    """Bit 7 is the state; a status has the duration below it. A start-up is as it is today."""
    if f_port == STARTUP:
        return _startup(data, 0, _NPS405_RESETS)
    top = bytes([(data[0] << 1 | data[0] >> 7) & 0xFF])
    return _nps405(f_port, top + data[1:])


def _nps310(f_port: int, data: bytes) -> ParkingUplink:
    if f_port in {STATUS, HEARTBEAT}:
        return ParkingUplink({"occupied": float(data[0] & 1)})
    return _startup(data, 0, _NPS310_RESETS) if f_port == STARTUP else ParkingUplink()


def _tps110(f_port: int, data: bytes) -> ParkingUplink:
    if f_port in {STATUS, HEARTBEAT}:
        numbers = {"occupied": float(data[0] & 1)}
        if f_port == HEARTBEAT and len(data) > 1:
            numbers["temperature"] = float(_signed(data[1]))
        return ParkingUplink(numbers)
    return _startup(data, 12, _TPS110_RESETS) if f_port == STARTUP else ParkingUplink()


def _ncc405(f_port: int, data: bytes) -> ParkingUplink:
    """A counter of 16 bits that begins anew behind 65535."""
    if f_port == STATUS:
        return ParkingUplink({"vehicles": float(data[0] << 8 | data[1])})
    if f_port == HEARTBEAT:
        return ParkingUplink({"hardware_health": float(data[0] >> 3), "battery": (2500 + 4 * data[1]) / 1000})
    return ParkingUplink({}, _versions(data, 0, _NPS405_RESETS)) if f_port == STARTUP else ParkingUplink()


def _r719a(f_port: int, data: bytes) -> ParkingUplink:
    """Version, device type 0x59, kind of report, battery in 0.1 V (bit 7 only says that it is low), state."""
    if f_port != NETVOX_REPORT or data[1] != NETVOX_R719A or data[2] != 1:
        return ParkingUplink()
    return ParkingUplink({"occupied": float(data[4] != 0), "battery": (data[3] & 0x7F) / 10})


def _vs34x(f_port: int, data: bytes) -> ParkingUplink:
    """Channel, type and value, one after the other; a channel of unknown length ends what can be read."""
    numbers: dict[str, float] = {}
    at = 0 if f_port == MILESIGHT_REPORT else len(data)
    while at < len(data):
        channel = data[at], data[at + 1]
        if channel == (0x01, 0x75):
            numbers["charge"] = float(data[at + 2])
        elif channel == (0x03, 0x00):
            numbers["occupied"] = float(data[at + 2] != 0)
        else:
            break
        at += 3
    return ParkingUplink(numbers)


_CODECS: dict[str, Callable[[int, bytes], ParkingUplink]] = {
    "nwave-nps405": _nps405,
    "nwave-nps405-v1": _nps405_v1,
    "nwave-nps310": _nps310,
    "nwave-ncc405": _ncc405,
    "bosch-tps110": _tps110,
    "netvox-r719a": _r719a,
    "milesight-vs34x": _vs34x,
}


def _startup(data: bytes, at: int, resets: dict[int, str]) -> ParkingUplink:
    """Three bytes of firmware version, the reset cause, the state."""
    return ParkingUplink({"occupied": float(data[at + 4] & 1)}, _versions(data, at, resets))


def _versions(data: bytes, at: int, resets: dict[int, str]) -> dict[str, str]:
    texts = {"firmware": f"{data[at]}.{data[at + 1]}.{data[at + 2]}"}
    if data[at + 3] in resets:
        texts["reset_cause"] = resets[data[at + 3]]
    return texts


def _previous(code: int) -> dict[str, float]:
    return {"previous_state_s": 60.0 * _minutes(code)}


def _minutes(code: int) -> int:
    """Exact below 90, then the lower end of steps of 5 and of 60 minutes; 127 is 660 or more."""
    if code < 90:
        return code
    return 90 + (code - 90) * 5 if code < 120 else 240 + (code - 120) * 60


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def encode_nps405_status(*, occupied: bool, previous_minutes: int) -> bytes:
    """The status uplink (port 1) of a Nwave NPS405; the duration is cut to what the code can say."""
    code = next((code for code in range(127, -1, -1) if _minutes(code) <= previous_minutes), 0)
    return bytes([code << 1 | occupied])


def encode_nps405_heartbeat(*, occupied: bool, battery_v: float, temperature_c: float) -> bytes:
    """The heartbeat uplink (port 2) of a healthy Nwave NPS405; values are cut to their range."""
    battery = min(max(round((battery_v * 1000 - 2500) / 4), 0), 255)
    temperature = min(max(round((temperature_c - 10) * 2), -128), 127)
    return bytes([int(occupied), battery, temperature & 0xFF])
