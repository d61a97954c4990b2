"""Instants: int64 Unix milliseconds UTC inside, RFC 3339 with milliseconds and `Z` outside."""

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def format_instant(time_ms: int) -> str:
    """`2026-05-01T08:00:00.000Z` for Unix ms UTC."""
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def parse_instant(text: str) -> int:
    """Unix ms UTC of an RFC 3339 text, cut to milliseconds. Raises ValueError, also for times without a zone."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time like 2026-05-01T08:00:00.000Z (a zone is needed)")
    fraction = match[1] or ""
    whole = text.replace(fraction, "", 1) if fraction else text
    moment = datetime.fromisoformat(whole.upper())
    return (moment - _EPOCH) // timedelta(seconds=1) * 1000 + int((fraction[1:] + "000")[:3])
