"""Tables of daily roots."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "merkle_roots",
        sa.Column("site", sa.String(), primary_key=True, nullable=False),
        sa.Column("day", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("recorded_ms", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("merkle_roots")
