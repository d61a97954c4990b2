"""How far the log was read, and which frames could not be: kept with the facts, in the same transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from cloud.facts.database import (
    WHOLE_LOG,
    claims,
    device_days,
    device_heads,
    device_infos,
    inventories,
    losses,
    marks,
    poses,
    positions,
    profiles,
    quarter_cells,
    reaches,
    reading,
    runs,
    set_aside,
    stops,
    writing,
)
from cloud.facts.tables_alerts import local_alerts
from cloud.facts.tables_clocks import clock_fixes, parked
from cloud.facts.tables_patrol import patrol_nodes, visits
from devices.errors import FrameError, Permanent, StorageUnavailable
from devices.frame import Identity

FactsStore = sa.Engine  # its name for whoever only hands it on
Transaction = sa.Connection


class UnusableFacts(Permanent):
    """What a frame says does not fit the store: set it aside."""


# What a hostile frame can make pure code raise that reads it as if it were meant well.
UNUSABLE = (FrameError, UnusableFacts, ArithmeticError, LookupError, ValueError, TypeError)

# What the log tells again, and what is computed from that; inputs and records are not among it.
FROM_THE_LOG = (
    claims, reaches, runs, stops, poses, profiles, device_infos, inventories, losses, marks, device_days, device_heads,
    quarter_cells, patrol_nodes, visits, positions, set_aside, clock_fixes, parked,
    local_alerts,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SetAside:
    """A frame that is in the log but not in the facts. `position` is its entry's in the log of `lane`."""

    site: str
    lane: str
    position: int
    received_ms: int
    reason: str
    gateway: str = ""
    epoch: bytes = b""
    seq: int | None = None


@contextmanager
def storing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One transaction of the processor.

    Raises StorageUnavailable when the store cannot be written now, UnusableFacts when it never will take this.
    """
    try:
        with writing(engine) as connection:
            yield connection
    except sa.exc.OperationalError as error:
        raise StorageUnavailable(f"facts cannot be written: {error.orig}") from error
    except (sa.exc.SQLAlchemyError, OverflowError) as error:
        raise UnusableFacts(f"facts do not fit the store: {error}") from error


def position_of(engine: sa.Engine, reader: str) -> int:
    """Up to where a reader has read, 0 at the beginning."""
    where = (positions.c.site == WHOLE_LOG) & (positions.c.reader == reader)
    with reading(engine) as connection:
        found = connection.execute(sa.select(positions.c.position).where(where)).scalar_one_or_none()
    return int(found or 0)


def store_position(connection: sa.Connection, reader: str, position: int) -> None:
    """Remember how far a reader has read; counts with the rest of the transaction."""
    statement = insert(positions).values(site=WHOLE_LOG, reader=reader, position=position)
    connection.execute(
        statement.on_conflict_do_update(set_={"position": statement.excluded.position}),
    )


def set_frame_aside(connection: sa.Connection, one: SetAside) -> None:
    """Keep note of a frame that could not be used; once, however often it is read."""
    row = {
        "site": one.site, "lane": one.lane, "position": one.position, "gateway": one.gateway, "epoch": one.epoch,
        "seq": one.seq, "received_ms": one.received_ms, "reason": one.reason,
    }  # fmt: skip
    connection.execute(insert(set_aside).on_conflict_do_nothing(), row)


def identified(identity: Identity | None) -> tuple[str, bytes, int | None]:
    """Gateway, epoch and seq of a frame as far as it could be read."""
    return (identity.gateway, identity.epoch, identity.seq) if identity else ("", b"", None)


def frames_set_aside(engine: sa.Engine) -> list[SetAside]:
    """Every frame that is set aside, oldest first."""
    with reading(engine) as connection:
        found = connection.execute(sa.select(set_aside).order_by(set_aside.c.received_ms, set_aside.c.position)).all()
    return [
        SetAside(row.site, row.lane, row.position, row.received_ms, row.reason, row.gateway, row.epoch or b"", row.seq)
        for row in found
    ]


def losses_known(engine: sa.Engine) -> list[tuple[str, str, bytes, int, int]]:
    """Every range under a loss record: gateway, lane, epoch, first and last seq (inclusive)."""
    columns = (losses.c.gateway, losses.c.lane, losses.c.epoch, losses.c.first_seq, losses.c.last_seq)
    with reading(engine) as connection:
        return [(row[0], row[1], row[2], row[3], row[4]) for row in connection.execute(sa.select(*columns))]


def forget_facts(engine: sa.Engine) -> None:
    """Delete everything that comes from the log, so that it is read from its beginning."""
    with storing(engine) as connection:
        for table in FROM_THE_LOG:
            connection.execute(sa.delete(table))
