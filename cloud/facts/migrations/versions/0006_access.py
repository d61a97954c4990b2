"""Tables of users, sessions, keys, audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

TABLES = ("users", "user_grants", "sessions", "sign_in_links", "integration_keys", "audit_entries")


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.String, nullable=False)


def _big(name: str, *, nullable: bool = False) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _bytes(name: str) -> "sa.Column[bytes]":
    return sa.Column(name, sa.LargeBinary, nullable=False)


def upgrade() -> None:
    op.create_table(
        "users", _text("site"), _text("id"), _text("name"), _text("password"), _big("created_ms"),
        _big("disabled_ms", nullable=True), sa.PrimaryKeyConstraint("site", "id"), sa.UniqueConstraint("site", "name"),
    )  # fmt: skip
    op.create_table(
        "user_grants", _text("site"), _text("holder"), _text("role"), _text("scope"),
        sa.PrimaryKeyConstraint("site", "holder", "role", "scope"),
    )  # fmt: skip
    op.create_table(
        "sessions", _text("site"), _bytes("token"), _text("user"), _big("created_ms"), _big("seen_ms"),
        _text("address"), sa.PrimaryKeyConstraint("site", "token"),
    )  # fmt: skip
    op.create_table(
        "sign_in_links", _text("site"), _bytes("token"), _text("user"), _big("expires_ms"),
        sa.PrimaryKeyConstraint("site", "token"),
    )  # fmt: skip
    op.create_table(
        "integration_keys", _text("site"), _text("id"), _bytes("secret"), _text("name"), _big("created_ms"),
        _big("expires_ms", nullable=True), _big("used_ms", nullable=True), _big("revoked_ms", nullable=True),
        sa.PrimaryKeyConstraint("site", "id"),
    )  # fmt: skip
    op.create_table(
        "audit_entries", _text("site"), sa.Column("number", sa.BigInteger, nullable=False), _big("at_ms"),
        _text("actor"), _text("act"), _text("of_site"), _text("subject"), _text("detail"), _bytes("hash"),
        sa.PrimaryKeyConstraint("site", "number"),
    )  # fmt: skip


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
