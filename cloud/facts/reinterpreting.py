"""A profile that was wrong: what a device said in a stretch of time is read by another one (design.md section 4).

That is an audited input with the whole text of the new profile; frames stay as they are. Where the new profile needs
points that no frame holds the state is unknown, and those points are listed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec
import sqlalchemy as sa

from cloud.facts.claims import DAY_MS, decode_claims
from cloud.facts.database import claims, device_infos, reaches
from cloud.facts.inputs import Input, enter, in_force, inputs_of
from cloud.facts.intake import WIDEN_MARK, day_mark
from devices.errors import Permanent
from devices.profile import LoadedProfile, parse_profile

KIND = "reinterpretation"


class ReinterpretationRefused(Permanent):
    """A device of which nothing was heard, or a stretch of no time."""


class Reading(msgspec.Struct, frozen=True):
    """The document of such an input."""

    device: str
    profile: str  # its id
    text: str


@dataclass(frozen=True, slots=True)
class Reinterpreted:
    """What was entered, and which points the new profile needs and no frame of that time holds."""

    entry: Input
    lacking: tuple[str, ...]


def reinterpret(
    connection: sa.Connection, site: str, device: str, text: str, span: tuple[int, int], *, actor: str, reason: str,
    now_ms: int,
) -> Reinterpreted:  # fmt: skip
    """Read what a device said in [from, to) by this profile. Raises ConfigurationError, InputRefused and others.

    The days of the stretch are derived again, and results that change get a new revision.
    """
    profile = parse_profile(text, "profile")
    mine = (device_infos.c.site == site) & (device_infos.c.device == device)
    if connection.execute(sa.select(device_infos.c.device).where(mine).limit(1)).first() is None:
        raise ReinterpretationRefused(f"nothing was ever heard of a device {device!r} at {site!r}")
    document = msgspec.json.encode(Reading(device, profile.id, text)).decode()
    entry = enter(
        connection, site, KIND, f"{device}@{span[0]}", document, actor=actor, reason=reason, recorded_ms=now_ms,
        valid_from_ms=span[0], valid_to_ms=span[1],
    )  # fmt: skip
    connection.execute(WIDEN_MARK, day_mark(site, device, span[0] // DAY_MS, (span[0], min(span[1], now_ms))))
    return Reinterpreted(entry, lacking_points(connection, site, device, profile, span))


def lacking_points(
    connection: sa.Connection, site: str, device: str, profile: LoadedProfile, span: tuple[int, int]
) -> tuple[str, ...]:  # fmt: skip
    """State points of a profile of which no frame that bears on [from, to) says anything."""
    held: set[str] = set()
    days = claims.c.utc_day.between(span[0] // DAY_MS - 1, span[1] // DAY_MS + 1)
    mine = sa.select(claims.c.body).where(claims.c.site == site, claims.c.device == device, days)
    for body in connection.execute(mine).scalars():
        held.update(decode_claims(body).points)
    crossing = sa.select(reaches.c.point).where(
        reaches.c.site == site, reaches.c.device == device, reaches.c.from_ms < span[1], reaches.c.to_ms >= span[0]
    )
    held.update(connection.execute(crossing.distinct()).scalars())
    return tuple(sorted(profile.state_points - held))


def readings_of(connection: sa.Connection, site: str) -> dict[str, list[tuple[tuple[int, int], LoadedProfile]]]:
    """By which profile, when, each device of a site is read instead of its own; of several the one entered last."""
    found: dict[str, list[tuple[tuple[int, int], LoadedProfile]]] = {}
    for one in sorted(in_force(inputs_of(connection, site, KIND)), key=lambda entry: entry.entry):
        said = msgspec.json.decode(one.document, type=Reading)
        found.setdefault(said.device, []).append((one.span, _parsed(said.text)))
    return found


@lru_cache(maxsize=64)
def _parsed(text: str) -> LoadedProfile:
    return parse_profile(text, KIND)


def read_otherwise(
    since_ms: Sequence[int], profiles: Sequence[LoadedProfile | None],
    readings: Sequence[tuple[tuple[int, int], LoadedProfile]],
) -> list[tuple[int, int, LoadedProfile | None]]:  # fmt: skip
    """(since, index of what the device was then, profile to read it by), with the stretches laid over."""
    edges = sorted({*since_ms, *(edge for span, _ in readings for edge in span if edge > since_ms[0])})
    found = []
    for edge in edges:
        index = max(place for place, since in enumerate(since_ms) if since <= edge)
        chosen = profiles[index]
        for (begin, end), profile in readings:
            if begin <= edge < end:
                chosen = profile
        found.append((edge, index, chosen))
    return found
