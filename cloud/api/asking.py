"""Reads what a request asks for: times, windows, choices. What cannot be used is answered with 422 and a pointer."""

import re
from enum import StrEnum

import msgspec
from starlette.responses import Response

from cloud.api.problems import Problem, unusable
from cloud.api.services import Services
from cloud.facts.inputs import SHOWN, is_shown
from cloud.facts.ledger import Ledger
from devices.instants import format_instant, parse_instant

_NAIVE = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?)?")


def instant(name: str, text: str) -> int:
    """Unix ms UTC of the query parameter `name`. A `+` of an offset may have arrived as a space."""
    mended = re.sub(r" (\d\d:\d\d)$", r"+\1", text)
    try:
        return shown_instant(mended)
    except (ValueError, OverflowError) as error:
        code = "naive_time" if _NAIVE.fullmatch(text) else "bad_time"
        raise unusable(f"/query/{name}", str(error), code) from error


def shown_instant(text: str) -> int:
    """Unix ms UTC of an RFC 3339 text between the bounds of what a page can show. Raises ValueError, OverflowError."""
    time_ms = parse_instant(text)
    if not is_shown(time_ms):
        raise ValueError(SHOWN)
    return time_ms


def span(from_: str | None, to: str | None) -> tuple[int, int] | None:
    """[from, to) of the query, None when neither is given."""
    if from_ is None and to is None:
        return None
    if from_ is None or to is None:
        missing = "from" if from_ is None else "to"
        raise unusable(f"/query/{missing}", "from and to are given together", "missing")
    begin, end = instant("from", from_), instant("to", to)
    if begin >= end:
        raise unusable("/query/to", "to must be later than from", "bad_window")
    return begin, end


def choices(name: str, text: str | None, of: type[StrEnum]) -> frozenset[str]:
    """Comma-separated values of an enumeration."""
    found = frozenset(part for part in (text or "").split(",") if part)
    allowed = [str(one.value) for one in of]
    if found - set(allowed):
        raise unusable(f"/query/{name}", f"expected one of {', '.join(allowed)}", "bad_choice")
    return found


def ledger_of(services: Services, site: str) -> Ledger:
    """The site's ledger; 404 where there is none. Blocks."""
    ledger = services.numbers.ledger(site)
    if ledger is None:
        raise Problem(404, "not_found", f"There is no site {site!r}.")
    return ledger


def answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON."""
    return Response(msgspec.json.encode(value), status, headers=headers, media_type="application/json")


def listing(items: list[object], next_cursor: str | None = None) -> Response:
    """A page of a list."""
    return answer({"items": items, "next_cursor": next_cursor})


def instant_or_none(time_ms: int | None) -> str | None:
    """RFC 3339, or null."""
    return format_instant(time_ms) if time_ms else None
