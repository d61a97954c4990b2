"""Tables of patrols: nodes that robots say they are at, and what is derived of their poses."""

import sqlalchemy as sa

from cloud.facts.schema import blob, key, metadata

# Facts: a robot named this node (VDA 5050 lastNodeId) as its last one at this moment.
patrol_nodes = sa.Table("patrol_nodes", metadata, key("site"), key("device"), key("utc_quarter", sa.Integer),
                        key("time_ms", sa.BigInteger), key("node"))  # fmt: skip

# Derived: stays of a robot at a place ("zone/a", "point/c12") that a quarter hour tells. Found by place for the last
# visit before a window, by robot when the quarter is computed again.
visits = sa.Table(
    "visits", metadata, key("site"), key("place"), key("utc_quarter", sa.Integer), key("device"), blob("stays"),
    sa.Index("visits_by_device", "site", "device", "utc_quarter"),
)  # fmt: skip
