"""Frames whose times wait for the fix of their clock run, and the fixes.

A frame is parked with its place in the log and released by whoever reads it from there again, with its times put
right. The order of releases is counted, so that history can follow it as it follows the log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from cloud.facts.database import reading
from cloud.facts.tables_clocks import clock_fixes, parked
from cloud.ingest.clocks import Released
from devices.frame import Identity
from devices.reading import Lane
from devices.records import ClockFix

_FIX_COLUMNS: tuple[sa.Column[Any], ...] = (
    clock_fixes.c.clock_run, clock_fixes.c.monotonic_ms, clock_fixes.c.utc_ms, clock_fixes.c.uncertainty_ms,
    clock_fixes.c.source, clock_fixes.c.shown_ms,
)  # fmt: skip
_FIXED = (
    (clock_fixes.c.site == parked.c.site)
    & (clock_fixes.c.gateway == parked.c.gateway)
    & (clock_fixes.c.clock_run == parked.c.clock_run)
)
_HERE = (
    (parked.c.site == sa.bindparam("of_site"))
    & (parked.c.lane == sa.bindparam("of_lane"))
    & (parked.c.position == sa.bindparam("of_position"))
)
_INSERT_FIX = insert(clock_fixes).on_conflict_do_nothing()
_PARK = insert(parked).on_conflict_do_nothing()


@dataclass(frozen=True, slots=True)
class Parked:
    """A frame that waits. `position` and `after` are its places in the log of its lane; its times are as sealed."""

    site: str
    identity: Identity
    clock_run: bytes
    position: int
    after: int
    received_ms: int
    from_ms: int
    to_ms: int
    problem: str = ""  # why its fix does not help


@dataclass(frozen=True, slots=True)
class Due:
    """A parked frame whose fix is known."""

    frame: Parked
    fix: ClockFix


def store_fix(connection: sa.Connection, site: str, gateway: str, fix: ClockFix) -> ClockFix | None:
    """Keep the fix of a run, if there is none yet.

    Gives the one that counts when this is the first that differs from it, else None.
    """
    row = {
        "site": site, "gateway": gateway, "clock_run": fix.run, "monotonic_ms": fix.monotonic_ms,
        "utc_ms": fix.utc_ms, "uncertainty_ms": fix.uncertainty_ms, "source": fix.source, "shown_ms": fix.shown_ms,
        "disputed": False,
    }  # fmt: skip
    if connection.execute(_INSERT_FIX, row).rowcount:
        return None
    mine = (clock_fixes.c.site == site) & (clock_fixes.c.gateway == gateway) & (clock_fixes.c.clock_run == fix.run)
    (known,) = connection.execute(sa.select(clock_fixes).where(mine)).all()
    counts = _fix(known)
    if known.disputed or counts == fix:
        return None
    connection.execute(sa.update(clock_fixes).where(mine).values(disputed=True))
    return counts


def park(connection: sa.Connection, frame: Parked) -> None:
    """Keep note of a frame that waits; once, however often it is read."""
    lane, identity = frame.identity.lane, frame.identity
    row = {
        "site": frame.site, "lane": str(lane), "position": frame.position, "after": frame.after,
        "gateway": identity.gateway, "clock_run": frame.clock_run, "epoch": identity.epoch, "seq": identity.seq,
        "received_ms": frame.received_ms, "from_ms": frame.from_ms, "to_ms": frame.to_ms, "problem": frame.problem,
    }  # fmt: skip
    connection.execute(_PARK, row)


def due_frames(engine: sa.Engine, limit: int) -> list[Due]:
    """The first of those that wait although their fix is known, in the order of the log, events first."""
    wanted = (
        sa.select(parked, *_FIX_COLUMNS[1:])
        .join(clock_fixes, _FIXED)
        .where(parked.c.release.is_(None), parked.c.problem == "")
        .order_by(parked.c.lane, parked.c.position)
        .limit(limit)
    )
    with reading(engine) as connection:
        return [Due(_parked(row), _fix(row)) for row in connection.execute(wanted)]


def release(connection: sa.Connection, frames: Sequence[tuple[Parked, int]]) -> None:
    """The times of these frames were put right by so many ms; they get the next numbers, in this order."""
    last = int(connection.execute(sa.select(sa.func.max(parked.c.release))).scalar_one() or 0)
    rows = [
        {**_place(frame), "release": last + index, "shift_ms": shift_ms}
        for index, (frame, shift_ms) in enumerate(frames, 1)
    ]
    if rows:
        connection.execute(sa.update(parked).where(_HERE), rows)


def give_up(connection: sa.Connection, frame: Parked, problem: str) -> None:
    """Say why the fix of a frame does not help."""
    connection.execute(sa.update(parked).where(_HERE), {**_place(frame), "problem": problem})


def parked_frames(engine: sa.Engine) -> list[Parked]:
    """Every frame that waits, oldest receipt first."""
    waiting = sa.select(parked).where(parked.c.release.is_(None))
    with reading(engine) as connection:
        order = (parked.c.received_ms, parked.c.lane, parked.c.position)
        return [_parked(row) for row in connection.execute(waiting.order_by(*order))]


class Releases:
    """`cloud.ingest.clocks.Releases` from the store."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def released(self, after: int, limit: int) -> Sequence[Released]:
        """See `cloud.ingest.clocks.Releases.released`."""
        wanted = sa.select(parked.c.release, parked.c.lane, parked.c.after, parked.c.shift_ms)
        behind = wanted.where(parked.c.release > after).order_by(parked.c.release).limit(limit)
        with reading(self._engine) as connection:
            rows = connection.execute(behind).all()
        return [Released(row.release, Lane(row.lane), row.after, row.shift_ms) for row in rows]


def _place(frame: Parked) -> dict[str, object]:
    return {"of_site": frame.site, "of_lane": str(frame.identity.lane), "of_position": frame.position}


def _parked(row: "sa.Row[Any]") -> Parked:
    identity = Identity(row.gateway, Lane(row.lane), row.epoch, row.seq)
    return Parked(
        row.site, identity, row.clock_run, row.position, row.after, row.received_ms, row.from_ms, row.to_ms,
        row.problem,
    )  # fmt: skip


def _fix(row: "sa.Row[Any]") -> ClockFix:
    return ClockFix(row.clock_run, row.monotonic_ms, row.utc_ms, row.uncertainty_ms, row.source, row.shown_ms)
