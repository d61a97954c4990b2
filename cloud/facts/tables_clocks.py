"""Tables of clock fixes and parked frames."""

import sqlalchemy as sa

from cloud.facts.schema import big, blob, key, metadata, text

# What time it really was in a clock run. The first fix of a run in the log counts; `disputed`: another one came.
clock_fixes = sa.Table(
    "clock_fixes", metadata, key("site"), key("gateway"), key("clock_run", sa.LargeBinary), big("monotonic_ms"),
    big("utc_ms"), big("uncertainty_ms"), text("source"), big("shown_ms", nullable=True),
    sa.Column("disputed", sa.Boolean, nullable=False),
)  # fmt: skip

# Frames of the log whose times need the fix of their run. `after` is where the log is read to get the frame.
# `release` counts the frames whose times were put right by `shift_ms`, in the order in which that was done.
parked = sa.Table(
    "parked", metadata, key("site"), key("lane"), key("position", sa.BigInteger), big("after"), text("gateway"),
    blob("clock_run"), blob("epoch"), big("seq"), big("received_ms"), big("from_ms"), big("to_ms"), text("problem"),
    big("release", nullable=True), big("shift_ms", nullable=True),
    sa.Index("parked_by_run", "site", "gateway", "clock_run"),
    sa.Index("parked_by_release", "release"),
)  # fmt: skip
