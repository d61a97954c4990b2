"""The relational store of facts, inputs and records: its tables and its transactions.

Every primary key begins with the site, so that the store can be sharded by site. Times are Unix ms UTC.
Facts are keyed by the frame they came from and are only ever inserted; a fact that is inserted again is
ignored. What is derived (`device_days`, `quarter_cells`) can be deleted at any time and is computed again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from cloud.facts.schema import big, blob, frame_key, key, metadata, text

BUSY_TIMEOUT_MS = 10_000  # a writer waits this long for one of another process before it gives up
WHOLE_LOG = ""  # the "site" of rows that belong to the log and not to one site

# Writers of this process queue here: SQLite's own waiting is polling, and a writer that polls beside busy ones starves.
_writers: "WeakKeyDictionary[sa.Engine, Lock]" = WeakKeyDictionary()
_writers_known = Lock()


# --- facts ----------------------------------------------------------------------------------------------

# Claims of one frame about one device, in the bucket of the UTC day in which they end.
claims = sa.Table("claims", metadata, key("site"), key("device"), key("utc_day", sa.Integer), *frame_key(),
                  blob("body"))  # fmt: skip

# The farthest end of claims that cross a UTC midnight, by what they say; tells which days a repetition is news for.
reaches = sa.Table(
    "reaches", metadata, key("site"), key("device"), key("point"), key("from_ms", sa.BigInteger),
    key("value", sa.Float), big("to_ms"), big("hold_ms"), blob("rank"),
)  # fmt: skip

# Maximal gap-free runs of events frames: consecutive seq, touching spans, one clock run.
runs = sa.Table(
    "runs", metadata, key("site"), key("gateway"), key("epoch", sa.LargeBinary),
    key("first_seq", sa.BigInteger), big("last_seq"), big("from_ms"), big("to_ms"), blob("clock_run"),
    text("origin"),
)  # fmt: skip

# Where a device (point "") or one of its points stopped answering. stop_ms: last good answer, else time_ms.
stops = sa.Table(
    "stops", metadata, key("site"), key("device"), key("point"), key("time_ms", sa.BigInteger),
    key("stop_ms", sa.BigInteger),
)  # fmt: skip

poses = sa.Table("poses", metadata, key("site"), key("device"), key("utc_quarter", sa.Integer), *frame_key(),
                 blob("body"))  # fmt: skip

profiles = sa.Table("profiles", metadata, key("site"), key("hash"), text("text"))

# What each gateway said about each of its devices; a removed device has no row in the later inventory.
device_infos = sa.Table("device_infos", metadata, key("site"), key("device"), key("time_ms", sa.BigInteger),
                        *frame_key(), blob("body"))  # fmt: skip

inventories = sa.Table("inventories", metadata, key("site"), key("gateway"), key("epoch", sa.LargeBinary),
                       key("seq", sa.BigInteger), big("time_ms"), blob("body"))  # fmt: skip

losses = sa.Table(
    "losses", metadata, key("site"), key("gateway"), key("lane"), key("epoch", sa.LargeBinary),
    key("first_seq", sa.BigInteger), key("last_seq", sa.BigInteger), big("from_ms"), big("to_ms"),
    text("reason"), big("count", nullable=True),
)  # fmt: skip

# --- inputs ---------------------------------------------------------------------------------------------

ledgers = sa.Table(
    "ledgers", metadata, key("site"), key("version", sa.Integer), big("recorded_ms"), text("actor"),
    big("valid_from_ms"), text("document"), text("reason"),
)  # fmt: skip

# --- derived --------------------------------------------------------------------------------------------

# Between from_ms and to_ms something about this device changed ("*": about the runs of its site). `version` grows
# with every change, so that who computed the days meanwhile sees whether that was all.
marks = sa.Table("marks", metadata, key("site"), key("device"), key("utc_day", sa.Integer), big("from_ms"),
                 big("to_ms"), big("version"))  # fmt: skip

# States of a device in one local day (proleptic ordinal), and what it carries into the next.
device_days = sa.Table("device_days", metadata, key("site"), key("device"), key("day", sa.Integer),
                       blob("starts"), blob("codes"), blob("carry"))  # fmt: skip

# The stretch of days computed for a device, and the zone and rules they were computed for. `version` is raised to the
# site's next one whenever states of any of these days change.
device_heads = sa.Table("device_heads", metadata, key("site"), key("device"), sa.Column("zone", sa.String),
                        big("first_ms"), sa.Column("last_day", sa.Integer), big("version"))  # fmt: skip

# Quarter hours of a robot whose poses changed since their cells were computed, and the cells, for one version of
# the zones each.
pose_marks = sa.Table("pose_marks", metadata, key("site"), key("device"), key("utc_quarter", sa.Integer),
                      big("version"))  # fmt: skip
quarter_cells = sa.Table("quarter_cells", metadata, key("site"), key("device"), key("utc_quarter", sa.Integer),
                         blob("body"))  # fmt: skip
coverage_heads = sa.Table("coverage_heads", metadata, key("site"), key("device"), text("version"))

# --- the processor's own --------------------------------------------------------------------------------

positions = sa.Table("positions", metadata, key("site"), key("reader"), big("position"))

set_aside = sa.Table(
    "set_aside", metadata, key("site"), key("lane"), key("position", sa.BigInteger), text("gateway"),
    sa.Column("epoch", sa.LargeBinary), big("seq", nullable=True), big("received_ms"), text("reason"),
)  # fmt: skip


def open_database(path: Path) -> sa.Engine:
    """The store in this SQLite file, created or brought up to the newest schema.

    A committed transaction survives a power cut (WAL, synchronous FULL). Raises sqlalchemy's
    OperationalError when the file cannot be opened or is locked for longer than `BUSY_TIMEOUT_MS`.
    """
    engine = sa.create_engine(f"sqlite:///{path}", pool_size=8, max_overflow=8)
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "begin", _begin)
    with writing(engine) as connection:
        _migrate(connection)
    return engine


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One consistent picture of the store."""
    with engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One transaction that has the write lock from its first statement on; commits at the end.

    Transactions of this process wait for each other however long one takes, so keep them short: compute before.
    They do not nest.
    """
    with _writers_known:
        turn = _writers.setdefault(engine, Lock())
    with turn, engine.connect() as plain:
        connection = plain.execution_options(gatehouse_writes=True)
        with connection.begin():
            yield connection


def migrations() -> Config:
    """Alembic's configuration of the packaged migrations."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _migrate(connection: sa.Connection) -> None:
    config = migrations()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _prepare(raw: object, _: object) -> None:
    # Transactions are begun by `_begin`, not by the driver, which would begin them too late to read consistently.
    raw.isolation_level = None  # type: ignore[attr-defined]
    cursor = raw.cursor()  # type: ignore[attr-defined]
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("gatehouse_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
