"""Tables of issued results and their revisions, of what is to be issued again, and of assessments."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TEXT, BIG, INT, BLOB, REAL, FLAG = sa.String, sa.BigInteger, sa.Integer, sa.LargeBinary, sa.Float, sa.Boolean

Columns = dict[str, type[sa.types.TypeEngine[Any]]]

# Table -> its primary key, its other columns; a name that ends in "?" may be null.
TABLES: dict[str, tuple[Columns, Columns]] = {
    "results": (
        {"site": TEXT, "indicator": TEXT, "from_ms": BIG, "to_ms": BIG, "revision": INT},
        {
            "entry": BIG,
            "recorded_ms": BIG,
            "body": TEXT,
            "previous_revision": BLOB,
            "previous_entry": BLOB,
            "hash": BLOB,
        },
    ),
    "assessments": (
        {"site": TEXT, "indicator": TEXT, "period": TEXT, "from_ms": BIG},
        {
            "to_ms": BIG,
            "recorded_ms": BIG,
            "verdict": TEXT,
            "card": TEXT,
            "body": TEXT,
            "previous": BLOB,
            "hash": BLOB,
        },
    ),
    "result_heads": (
        {"site": TEXT, "indicator": TEXT, "from_ms": BIG, "to_ms": BIG},
        {
            "revision": INT,
            "signature": BLOB,
            "value?": REAL,
            "coverage?": REAL,
            "verdict?": TEXT,
            "checked_ms": BIG,
            "final": FLAG,
        },
    ),
    "result_newest": (
        {"site": TEXT, "indicator": TEXT},
        {
            "from_ms": BIG,
            "to_ms": BIG,
            "value?": REAL,
            "coverage?": REAL,
            "verdict?": TEXT,
            "revision": INT,
            "final": FLAG,
        },
    ),
    "result_marks": ({"site": TEXT, "day": INT}, {"version": BIG}),
    "result_progress": (
        {"site": TEXT},
        {"last_day?": INT, "input_entry": BIG, "shared_entry": BIG, "ledger_version": INT},
    ),
}


def upgrade() -> None:
    for table, (key, rest) in TABLES.items():
        keys = [sa.Column(name, kind(), nullable=False) for name, kind in key.items()]
        others = [sa.Column(name.rstrip("?"), kind(), nullable=name.endswith("?")) for name, kind in rest.items()]
        op.create_table(table, *keys, *others, sa.PrimaryKeyConstraint(*key))
    op.create_index("results_by_entry", "results", ["site", "entry"], unique=True)
    op.create_index("result_heads_by_window", "result_heads", ["indicator", "from_ms", "to_ms"])


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
