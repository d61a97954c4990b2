"""Tables of what people enter: ledger items, calendars, windows, inspections, exclusions, policies."""

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Nothing yet."""


def downgrade() -> None:
    """Nothing yet."""
