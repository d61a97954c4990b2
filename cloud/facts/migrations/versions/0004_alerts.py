"""Alerts: what lists choose by, details of entries, the chain of entries."""

import json
from hashlib import sha256

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_ADDED = (
    ("rank", sa.Integer(), "0"),
    ("opened_ms", sa.BigInteger(), "0"),
    ("assignee", sa.String(), ""),
    ("shelved", sa.Boolean(), sa.false()),
    ("suppressed", sa.Boolean(), sa.false()),
    ("drill", sa.Boolean(), sa.false()),
)


def upgrade() -> None:
    """Add, and fill in for the alerts that there are."""
    for name, kind, default in _ADDED:
        op.add_column("alert_records", sa.Column(name, kind, nullable=False, server_default=default))
    op.add_column("alert_entries", sa.Column("detail", sa.String(), nullable=False, server_default="{}"))
    op.create_index("alert_records_by_key", "alert_records", ["site", "rule", "thing", "id"])
    op.create_table(
        "alert_chain",
        sa.Column("site", sa.String(), primary_key=True, nullable=False),
        sa.Column("position", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("alert", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "local_alerts",
        sa.Column("site", sa.String(), primary_key=True, nullable=False),
        sa.Column("gateway", sa.String(), primary_key=True, nullable=False),
        sa.Column("rule", sa.String(), primary_key=True, nullable=False),
        sa.Column("device", sa.String(), primary_key=True, nullable=False),
        sa.Column("since_ms", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("condition", sa.String(), primary_key=True, nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("latched", sa.Boolean(), nullable=False),
        sa.Column("parameters", sa.String(), nullable=False),
    )
    op.create_table(
        "outbox",
        sa.Column("site", sa.String(), primary_key=True, nullable=False),
        sa.Column("id", sa.String(), primary_key=True, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("finished_ms", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    op.create_index("outbox_in_order", "outbox", ["site", "number"], unique=True)
    op.create_index("outbox_waiting", "outbox", ["finished_ms", "at_ms", "id"])
    op.create_table(
        "site_told",
        sa.Column("site", sa.String(), primary_key=True, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    _make_tables_of_rules()
    _fill_in(op.get_bind())


def _make_tables_of_rules() -> None:
    op.create_table(
        "rule_trials",
        sa.Column("site", sa.String(), primary_key=True, nullable=False),
        sa.Column("rule", sa.String(), primary_key=True, nullable=False),
        sa.Column("thing", sa.String(), primary_key=True, nullable=False),
        sa.Column("since_ms", sa.BigInteger(), primary_key=True, nullable=False),
        sa.Column("active", sa.Boolean(), primary_key=True, nullable=False),
        sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "rule_positions",
        sa.Column("site", sa.String(), primary_key=True, nullable=False),
        sa.Column("source", sa.String(), primary_key=True, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
    )


def _fill_in(connection: sa.Connection) -> None:
    ranks = {"yellow": 0, "orange": 1, "red": 2}
    records = sa.text("SELECT site, id, body FROM alert_records")
    change = sa.text("UPDATE alert_records SET rank = :rank, opened_ms = :opened_ms WHERE site = :site AND id = :id")
    for site, name, body in connection.execute(records).all():
        alert = json.loads(body)
        known = {"site": site, "id": name, "rank": ranks[alert["severity"]], "opened_ms": alert["opened_ms"]}
        connection.execute(change, known)
    columns = "site, alert, version, kind, at_ms, recorded_ms, actor, note"
    entries = sa.text(f"SELECT {columns} FROM alert_entries ORDER BY site, recorded_ms, alert, version")  # noqa: S608
    link = sa.text("INSERT INTO alert_chain (site, position, alert, version, hash) VALUES (:site, :n, :alert, :v, :h)")
    last: dict[str, tuple[int, bytes]] = {}
    for row in connection.execute(entries).all():
        position, before = last.get(row.site, (0, b""))
        # as cloud/alerts/chain.py, which may change where this may not
        said = json.dumps([*row, {}], ensure_ascii=False, separators=(",", ":")).encode()
        last[row.site] = position + 1, sha256(before + said).digest()
        found = {"site": row.site, "n": position + 1, "alert": row.alert, "v": row.version, "h": last[row.site][1]}
        connection.execute(link, found)


def downgrade() -> None:
    """Back."""
    op.drop_table("site_told")
    op.drop_table("outbox")
    op.drop_table("local_alerts")
    op.drop_table("alert_chain")
    op.drop_index("alert_records_by_key", "alert_records")
    op.drop_column("alert_entries", "detail")
    for name, _, _ in reversed(_ADDED):
        op.drop_column("alert_records", name)
