"""Tables of rectification items, and of answers that were given already."""

import sqlalchemy as sa

from cloud.facts.schema import big, blob, key, metadata, text

# A rectification item as it stands; what was done to it is in alert_entries, under its id.
rectification_items = sa.Table(
    "rectification_items", metadata, key("site"), key("id"), text("alert"), text("step"), text("owner"),
    sa.Column("closed", sa.Boolean, nullable=False), big("plan_due_ms", nullable=True), big("due_ms", nullable=True),
    sa.Column("version", sa.Integer, nullable=False), blob("body"),
    sa.Index("rectification_items_by_id", "id"),
    sa.Index("rectification_items_by_alert", "site", "alert"),
)  # fmt: skip

# Evidence of an item; the bytes lie in a file named by their hash.
attachments = sa.Table(
    "attachments", metadata, key("site"), key("item"), key("id"), text("name"), text("media_type"), big("size"),
    text("sha256"), text("actor"), big("at_ms"),
)  # fmt: skip

# Answers to requests with an Idempotency-Key: `site` is empty, they belong to whoever asked.
answers = sa.Table(
    "answers", metadata, key("site"), key("id"), text("request"), big("at_ms"),
    sa.Column("status", sa.Integer, nullable=True), sa.Column("headers", sa.LargeBinary, nullable=True),
    sa.Column("body", sa.LargeBinary, nullable=True), sa.Index("answers_by_age", "at_ms"),
)  # fmt: skip
