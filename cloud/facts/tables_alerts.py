"""Tables of alerts and of what is told about them: records, kept and never recomputed."""

import sqlalchemy as sa

from cloud.facts.schema import big, blob, key, metadata, text


def _flag(name: str) -> "sa.Column[bool]":
    return sa.Column(name, sa.Boolean, nullable=False)


def _number(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.Integer, nullable=False)


# An alert as it stands: its body, and what lists choose and sort by.
alert_records = sa.Table(
    "alert_records", metadata, key("site"), key("id"), text("rule"), text("thing"), text("severity"),
    text("condition"), text("handling"), _flag("historical"), big("last_ms"), _number("version"), blob("body"),
    _number("rank"), big("opened_ms"), text("assignee"), _flag("shelved"), _flag("suppressed"), _flag("drill"),
    sa.Index("alert_records_by_id", "id"),
    sa.Index("alert_records_by_handling", "handling", "historical", "id"),
    sa.Index("alert_records_by_key", "site", "rule", "thing", "id"),
)  # fmt: skip

# What was done to each alert and to each rectification item (`alert` is the id of either), append-only.
alert_entries = sa.Table(
    "alert_entries", metadata, key("site"), key("alert"), key("version", sa.Integer), text("kind"), big("at_ms"),
    big("recorded_ms"), text("actor"), text("note"), text("detail"),
)  # fmt: skip

# The entries of a site in the order in which they were written, each bound to all before it (cloud/alerts/chain.py).
alert_chain = sa.Table(
    "alert_chain", metadata, key("site"), key("position", sa.BigInteger), text("alert"), _number("version"),
    blob("hash"),
)  # fmt: skip

# What gateways said that their own rules say: a fact for each turn of a condition. `since_ms` is when it turned.
local_alerts = sa.Table(
    "local_alerts", metadata, key("site"), key("gateway"), key("rule"), key("device"), key("since_ms", sa.BigInteger),
    key("condition"), text("severity"), _flag("latched"), text("parameters"),
)  # fmt: skip

# Messages to people and other systems, until a sender is done with them (cloud/alerts/outbox.py).
outbox = sa.Table(
    "outbox", metadata, key("site"), key("id"), big("number"), text("kind"), big("at_ms"),
    big("finished_ms", nullable=True), blob("body"), sa.Index("outbox_in_order", "site", "number", unique=True),
    sa.Index("outbox_waiting", "finished_ms", "at_ms", "id"),
)  # fmt: skip

# What was told of the alerts of each site, changed together with the outbox.
site_told = sa.Table("site_told", metadata, key("site"), blob("body"))

# What rules on trial would have said, and how far things that happened were taken in.
rule_trials = sa.Table(
    "rule_trials", metadata, key("site"), key("rule"), key("thing"), key("since_ms", sa.BigInteger),
    key("active", sa.Boolean), big("recorded_ms"),
)  # fmt: skip
rule_positions = sa.Table("rule_positions", metadata, key("site"), key("source"), big("position"))
