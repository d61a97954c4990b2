"""The first schema."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TEXT, BIG, INT, BLOB, REAL, FLAG = sa.String, sa.BigInteger, sa.Integer, sa.LargeBinary, sa.Float, sa.Boolean

Columns = dict[str, type[sa.types.TypeEngine[Any]]]

# Table -> its primary key, its other columns; a name that ends in "?" may be null.
TABLES: dict[str, tuple[Columns, Columns]] = {
    "alert_entries": (
        {"site": TEXT, "alert": TEXT, "version": INT},
        {"kind": TEXT, "at_ms": BIG, "recorded_ms": BIG, "actor": TEXT, "note": TEXT},
    ),
    "alert_records": (
        {"site": TEXT, "id": TEXT},
        {
            "rule": TEXT,
            "thing": TEXT,
            "severity": TEXT,
            "condition": TEXT,
            "handling": TEXT,
            "historical": FLAG,
            "last_ms": BIG,
            "version": INT,
            "body": BLOB,
        },
    ),
    "claims": (
        {"site": TEXT, "device": TEXT, "utc_day": INT, "gateway": TEXT, "epoch": BLOB, "seq": BIG},
        {"body": BLOB},
    ),
    "coverage_heads": (
        {"site": TEXT, "device": TEXT},
        {"version": TEXT},
    ),
    "device_days": (
        {"site": TEXT, "device": TEXT, "day": INT},
        {"starts": BLOB, "codes": BLOB, "carry": BLOB},
    ),
    "device_heads": (
        {"site": TEXT, "device": TEXT},
        {"zone?": TEXT, "first_ms": BIG, "last_day?": INT},
    ),
    "device_infos": (
        {"site": TEXT, "device": TEXT, "time_ms": BIG, "gateway": TEXT, "epoch": BLOB, "seq": BIG},
        {"body": BLOB},
    ),
    "inventories": (
        {"site": TEXT, "gateway": TEXT, "epoch": BLOB, "seq": BIG},
        {"time_ms": BIG, "body": BLOB},
    ),
    "ledgers": (
        {"site": TEXT, "version": INT},
        {"recorded_ms": BIG, "actor": TEXT, "valid_from_ms": BIG, "document": TEXT},
    ),
    "losses": (
        {"site": TEXT, "gateway": TEXT, "lane": TEXT, "epoch": BLOB, "first_seq": BIG, "last_seq": BIG},
        {"from_ms": BIG, "to_ms": BIG, "reason": TEXT, "count?": BIG},
    ),
    "marks": (
        {"site": TEXT, "device": TEXT, "utc_day": INT},
        {"from_ms": BIG, "to_ms": BIG, "version": BIG},
    ),
    "pose_marks": (
        {"site": TEXT, "device": TEXT, "utc_quarter": INT},
        {"version": BIG},
    ),
    "poses": (
        {"site": TEXT, "device": TEXT, "utc_quarter": INT, "gateway": TEXT, "epoch": BLOB, "seq": BIG},
        {"body": BLOB},
    ),
    "positions": (
        {"site": TEXT, "reader": TEXT},
        {"position": BIG},
    ),
    "profiles": (
        {"site": TEXT, "hash": TEXT},
        {"text": TEXT},
    ),
    "quarter_cells": (
        {"site": TEXT, "device": TEXT, "utc_quarter": INT},
        {"body": BLOB},
    ),
    "reaches": (
        {"site": TEXT, "device": TEXT, "point": TEXT, "from_ms": BIG, "value": REAL},
        {"to_ms": BIG, "hold_ms": BIG, "rank": BLOB},
    ),
    "runs": (
        {"site": TEXT, "gateway": TEXT, "epoch": BLOB, "first_seq": BIG},
        {"last_seq": BIG, "from_ms": BIG, "to_ms": BIG, "clock_run": BLOB, "origin": TEXT},
    ),
    "set_aside": (
        {"site": TEXT, "lane": TEXT, "position": BIG},
        {"gateway": TEXT, "epoch?": BLOB, "seq?": BIG, "received_ms": BIG, "reason": TEXT},
    ),
    "stops": (
        {"site": TEXT, "device": TEXT, "point": TEXT, "time_ms": BIG, "stop_ms": BIG},
        {},
    ),
}

# Index -> its table and columns.
INDICES = {
    "alert_records_by_id": ("alert_records", ["id"]),
    "alert_records_by_handling": ("alert_records", ["handling", "historical", "id"]),
}


def upgrade() -> None:
    for table, (key, rest) in TABLES.items():
        keys = [sa.Column(name, kind(), nullable=False) for name, kind in key.items()]
        others = [sa.Column(name.rstrip("?"), kind(), nullable=name.endswith("?")) for name, kind in rest.items()]
        op.create_table(table, *keys, *others, sa.PrimaryKeyConstraint(*key))
    for index, (table, columns) in INDICES.items():
        op.create_index(index, table, columns)


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
