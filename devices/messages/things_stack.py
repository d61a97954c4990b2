"""Uplink messages of The Things Stack v3: `v3/{application}@{tenant}/devices/{device}/up`, JSON.

Fields that hold their default are left out. Source: The Things Stack documentation, data formats (domain.md 4).
"""

import msgspec

from devices.messages.payload import from_base64, parse_payload, short, stamp
from devices.messages.uplink import LoraUplink


class _Ids(msgspec.Struct):
    device_id: str = ""
    dev_eui: str = ""


class _Message(msgspec.Struct):
    f_port: int = 0
    f_cnt: int = 0
    frm_payload: str | None = ""
    received_at: str | None = None


class _Up(msgspec.Struct):
    end_device_ids: _Ids
    uplink_message: _Message
    received_at: str | None = None


def decode_things_stack(payload: bytes) -> LoraUplink:
    """The uplink in an `up` message. Raises MessageError."""
    up: _Up = parse_payload(payload, _Up)
    message = up.uplink_message
    eui = short(up.end_device_ids.dev_eui or up.end_device_ids.device_id, "dev_eui").lower()
    received = message.received_at or up.received_at or ""
    key = (eui, message.f_cnt, short(received, "received_at"))
    data = from_base64(message.frm_payload or "")
    return LoraUplink(eui, stamp(received), message.f_cnt, message.f_port, data, key)
