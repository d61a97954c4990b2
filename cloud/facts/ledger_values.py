"""Kinds of values that ledgers are made of: lengths in floor metres, hours of a day, names in both languages."""

import re
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field

from devices.document import Section

FLOOR_M_MAX = 2_000.0  # bounds the raster: 16 M cells of 0.5 m
_HOURS = re.compile(r"([01]\d|2[0-4]):(00|15|30|45)-([01]\d|2[0-4]):(00|15|30|45)")

Metres = Annotated[float, Field(ge=-FLOOR_M_MAX, le=FLOOR_M_MAX)]
PointM = tuple[Metres, Metres]
Ring = Annotated[tuple[PointM, ...], Field(min_length=4, max_length=2_000)]


def known_zone(name: str) -> str:
    """Check an IANA time zone. Raises ValueError."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"{name!r} is not an IANA time zone such as Asia/Shanghai") from error
    return name


def hours_of_day(text: str) -> str:
    """Check hours of a day on quarter hours, like `08:00-20:00`. Raises ValueError."""
    match = _HOURS.fullmatch(text)
    if match is None or not minutes_of_hours(text)[0] < minutes_of_hours(text)[1] <= 24 * 60:
        raise ValueError("expected hours of a day on quarter hours, like 08:00-20:00 or 00:00-24:00")
    return text


def minutes_of_hours(text: str) -> tuple[int, int]:
    """`08:00-20:15` -> (480, 1215), minutes of the local day."""
    begin, end = ((int(part[:2]) * 60 + int(part[3:])) for part in text.split("-"))
    return begin, end


class Name(Section):
    """A name in both languages."""

    en: str = Field(min_length=1, max_length=200)
    zh: str = Field(min_length=1, max_length=200, alias="zh-CN")

    def in_languages(self) -> dict[str, str]:
        """As the API shows it."""
        return {"en": self.en, "zh-CN": self.zh}
