"""Tables of who was told what over which channel."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "deliveries",
        sa.Column("site", sa.String(), primary_key=True, nullable=False),
        sa.Column("notification", sa.String(), primary_key=True, nullable=False),
        sa.Column("channel", sa.String(), primary_key=True, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("added_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    op.create_index("deliveries_waiting", "deliveries", ["status", "next_ms"])
    op.create_index("deliveries_by_age", "deliveries", ["site", "added_ms"])


def downgrade() -> None:
    """Remove them."""
    op.drop_table("deliveries")
