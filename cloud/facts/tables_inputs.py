"""Tables of what people enter: ledger items, calendars, windows, inspections, exclusions, policies."""

import sqlalchemy as sa

from cloud.facts.schema import big, key, metadata, text

# Append-only. A change is a further version; `entry` counts all of a site in the order in which they were entered.
inputs = sa.Table(
    "inputs", metadata, key("site"), key("kind"), key("id"), key("version", sa.Integer), big("entry"),
    big("recorded_ms"), text("actor"), text("reason"), big("valid_from_ms"), big("valid_to_ms", nullable=True),
    sa.Column("withdrawn", sa.Boolean, nullable=False), text("document"),
    sa.Index("inputs_by_entry", "site", "entry", unique=True),
)  # fmt: skip
