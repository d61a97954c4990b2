"""Tables of issued results and their revisions, of what is to be issued again, and of assessments."""

import sqlalchemy as sa

from cloud.facts.schema import big, blob, key, metadata, text

# --- records --------------------------------------------------------------------------------------------

# Every revision of every issued result, append-only. `entry` counts those of a site; `previous_entry` is the hash of
# the one before, `previous_revision` that of the same window's revision before. Empty at the beginning.
results = sa.Table(
    "results", metadata, key("site"), key("indicator"), key("from_ms", sa.BigInteger), key("to_ms", sa.BigInteger),
    key("revision", sa.Integer), big("entry"), big("recorded_ms"), text("body"), blob("previous_revision"),
    blob("previous_entry"), blob("hash"),
    sa.Index("results_by_entry", "site", "entry", unique=True),
)  # fmt: skip

# A period that was judged, with the result as it was then. Append-only; never judged again.
assessments = sa.Table(
    "assessments", metadata, key("site"), key("indicator"), key("period"), key("from_ms", sa.BigInteger),
    big("to_ms"), big("recorded_ms"), text("verdict"), text("card"), text("body"), blob("previous"), blob("hash"),
)  # fmt: skip

# --- derived --------------------------------------------------------------------------------------------

# The newest revision of each window, for lists; `signature` tells whether a newly computed one says anything else.
result_heads = sa.Table(
    "result_heads", metadata, key("site"), key("indicator"), key("from_ms", sa.BigInteger),
    key("to_ms", sa.BigInteger), sa.Column("revision", sa.Integer, nullable=False), blob("signature"),
    sa.Column("value", sa.Float), sa.Column("coverage", sa.Float), sa.Column("verdict", sa.String),
    big("checked_ms"), sa.Column("final", sa.Boolean, nullable=False),
    sa.Index("result_heads_by_window", "indicator", "from_ms", "to_ms"),
)  # fmt: skip

# The newest of them of each indicator: what a portfolio shows, without reading all that there ever was.
result_newest = sa.Table(
    "result_newest", metadata, key("site"), key("indicator"), big("from_ms"), big("to_ms"),
    sa.Column("value", sa.Float), sa.Column("coverage", sa.Float), sa.Column("verdict", sa.String),
    sa.Column("revision", sa.Integer, nullable=False), sa.Column("final", sa.Boolean, nullable=False),
)  # fmt: skip

# Local days (proleptic ordinals) whose states were computed again since their results were issued.
result_marks = sa.Table("result_marks", metadata, key("site"), key("day", sa.Integer), big("version"))

# How far the results of a site are issued, and which inputs they have seen.
result_progress = sa.Table(
    "result_progress", metadata, key("site"), sa.Column("last_day", sa.Integer), big("input_entry"),
    big("shared_entry"), sa.Column("ledger_version", sa.Integer, nullable=False),
)  # fmt: skip
