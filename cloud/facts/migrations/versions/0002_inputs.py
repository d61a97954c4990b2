"""Tables of what people enter: ledger items, calendars, windows, inspections, exclusions, policies."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """One append-only table for every kind of input; ledgers are told with a reason, days count their changes."""
    op.create_table(
        "inputs",
        sa.Column("site", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("entry", sa.BigInteger, nullable=False),
        sa.Column("recorded_ms", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("valid_from_ms", sa.BigInteger, nullable=False),
        sa.Column("valid_to_ms", sa.BigInteger, nullable=True),
        sa.Column("withdrawn", sa.Boolean, nullable=False),
        sa.Column("document", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("site", "kind", "id", "version"),
    )
    op.create_index("inputs_by_entry", "inputs", ["site", "entry"], unique=True)
    op.add_column("ledgers", sa.Column("reason", sa.String, nullable=False, server_default=""))
    op.add_column("device_heads", sa.Column("version", sa.BigInteger, nullable=False, server_default="0"))


def downgrade() -> None:
    """Inputs are gone; there is no way back to them."""
    op.drop_column("device_heads", "version")
    op.drop_column("ledgers", "reason")
    op.drop_table("inputs")
