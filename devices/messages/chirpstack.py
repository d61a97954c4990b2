"""Uplink events of ChirpStack v4: `application/{application}/device/{devEui}/event/up`, JSON.

ChirpStack leaves out fields that hold their default: what is missing is zero, false or empty. Source: chirpstack
integration.proto (domain.md section 4).
"""

import msgspec

from devices.messages.payload import from_base64, parse_payload, short, stamp
from devices.messages.uplink import LoraUplink


class _DeviceInfo(msgspec.Struct, rename="camel"):
    dev_eui: str = ""


class _Reception(msgspec.Struct, rename="camel"):
    time: str | None = None


class _Up(msgspec.Struct, rename="camel"):
    device_info: _DeviceInfo
    deduplication_id: str = ""
    time: str | None = None
    f_cnt: int = 0
    f_port: int = 0
    data: str | None = ""
    rx_info: list[_Reception] | None = None


def decode_chirpstack(payload: bytes) -> LoraUplink:
    """The uplink in an `up` event. Raises MessageError."""
    up: _Up = parse_payload(payload, _Up)
    eui = short(up.device_info.dev_eui, "devEui").lower()
    receptions = [stamp(reception.time) for reception in up.rx_info or []]
    time_ms = stamp(up.time)
    if time_ms is None:
        time_ms = min((known for known in receptions if known is not None), default=None)
    key = (eui, up.f_cnt, short(up.deduplication_id, "deduplicationId"))
    return LoraUplink(eui, time_ms, up.f_cnt, up.f_port, from_base64(up.data or ""), key)
