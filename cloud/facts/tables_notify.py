"""Tables of who was told what over which channel."""

import sqlalchemy as sa

from cloud.facts.schema import big, blob, key, metadata, text

# One row a message and channel: `waiting`, `delivered` or `dead`. The body lists every try.
deliveries = sa.Table(
    "deliveries", metadata, key("site"), key("notification"), key("channel"), text("status"), big("added_ms"),
    big("next_ms"), blob("body"),
    sa.Index("deliveries_waiting", "status", "next_ms"), sa.Index("deliveries_by_age", "site", "added_ms"),
)  # fmt: skip
