"""Tables of users, sessions, keys, audit log."""

import sqlalchemy as sa

from cloud.facts.schema import big, blob, key, metadata, text

# People belong to no site: their `site` is "" so that every key begins with one.
users = sa.Table(
    "users", metadata, key("site"), key("id"), text("name"), text("password"), big("created_ms"),
    big("disabled_ms", nullable=True), sa.UniqueConstraint("site", "name"),
)  # fmt: skip
user_grants = sa.Table(
    "user_grants", metadata, key("site"), key("holder"), key("role"), key("scope")
)  # fmt: skip

# Only hashes (SHA-256) of what a browser or a script shows are kept.
sessions = sa.Table(
    "sessions", metadata, key("site"), key("token", sa.LargeBinary), text("user"), big("created_ms"), big("seen_ms"),
    text("address"),
)  # fmt: skip
sign_in_links = sa.Table(
    "sign_in_links", metadata, key("site"), key("token", sa.LargeBinary), text("user"), big("expires_ms")
)  # fmt: skip
integration_keys = sa.Table(
    "integration_keys", metadata, key("site"), key("id"), blob("secret"), text("name"), big("created_ms"),
    big("expires_ms", nullable=True), big("used_ms", nullable=True), big("revoked_ms", nullable=True),
)  # fmt: skip

# Every change that anybody made, append-only, each with the hash of the one before it.
audit_entries = sa.Table(
    "audit_entries", metadata, key("site"), key("number", sa.BigInteger), big("at_ms"), text("actor"), text("act"),
    text("of_site"), text("subject"), text("detail"), blob("hash"),
)  # fmt: skip
