"""Tables of patrols: nodes that robots say they are at, and stays that are derived of their poses."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "patrol_nodes",
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("utc_quarter", sa.Integer(), nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("site", "device", "utc_quarter", "time_ms", "node"),
    )
    op.create_table(
        "visits",
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("utc_quarter", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("stays", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("site", "place", "utc_quarter", "device"),
    )
    op.create_index("visits_by_device", "visits", ["site", "device", "utc_quarter"])


def downgrade() -> None:
    op.drop_table("visits")
    op.drop_table("patrol_nodes")
