"""Tables of clock fixes and parked frames."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "clock_fixes",
        sa.Column("site", sa.String, nullable=False),
        sa.Column("gateway", sa.String, nullable=False),
        sa.Column("clock_run", sa.LargeBinary, nullable=False),
        sa.Column("monotonic_ms", sa.BigInteger, nullable=False),
        sa.Column("utc_ms", sa.BigInteger, nullable=False),
        sa.Column("uncertainty_ms", sa.BigInteger, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("shown_ms", sa.BigInteger),
        sa.Column("disputed", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("site", "gateway", "clock_run"),
    )
    op.create_table(
        "parked",
        sa.Column("site", sa.String, nullable=False),
        sa.Column("lane", sa.String, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("after", sa.BigInteger, nullable=False),
        sa.Column("gateway", sa.String, nullable=False),
        sa.Column("clock_run", sa.LargeBinary, nullable=False),
        sa.Column("epoch", sa.LargeBinary, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("received_ms", sa.BigInteger, nullable=False),
        sa.Column("from_ms", sa.BigInteger, nullable=False),
        sa.Column("to_ms", sa.BigInteger, nullable=False),
        sa.Column("problem", sa.String, nullable=False),
        sa.Column("release", sa.BigInteger),
        sa.Column("shift_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("site", "lane", "position"),
    )
    op.create_index("parked_by_run", "parked", ["site", "gateway", "clock_run"])
    op.create_index("parked_by_release", "parked", ["release"])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("parked")
    op.drop_table("clock_fixes")
