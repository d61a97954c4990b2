"""Tables of daily roots, which are records: kept as they were when the day was over."""

import sqlalchemy as sa

from cloud.facts.schema import big, blob, key, metadata, text

# `body` holds the roots of the sites (JSON); `site` is empty, a day belongs to all of them.
merkle_roots = sa.Table(
    "merkle_roots", metadata, key("site"), key("day", sa.Integer), blob("root"), text("body"), big("recorded_ms")
)  # fmt: skip
