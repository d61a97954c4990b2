"""What tables are declared with: the one metadata and short forms of columns.

Every primary key begins with the site, so that the store can be sharded by site. Times are Unix ms UTC.
"""

from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData()


def key(name: str, kind: type[sa.types.TypeEngine[Any]] = sa.String) -> "sa.Column[Any]":
    """A column of the primary key."""
    return sa.Column(name, kind, primary_key=True, nullable=False)


def frame_key() -> "tuple[sa.Column[Any], ...]":
    """What names a frame within its site and lane."""
    return key("gateway"), key("epoch", sa.LargeBinary), key("seq", sa.BigInteger)


def big(name: str, *, nullable: bool = False) -> "sa.Column[int]":
    """A 64-bit integer."""
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def blob(name: str) -> "sa.Column[bytes]":
    """Bytes."""
    return sa.Column(name, sa.LargeBinary, nullable=False)


def text(name: str) -> "sa.Column[str]":
    """A text, never null."""
    return sa.Column(name, sa.String, nullable=False)
