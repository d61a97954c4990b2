"""Merkle trees over bytes, as RFC 6962 section 2.1 builds them. Pure."""

import hashlib
from collections.abc import Sequence

EMPTY = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Of one entry; a leaf can never be taken for an inner node."""
    return hashlib.sha256(b"\x00" + data).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes in their order."""
    level = list(leaves)
    if not level:
        return EMPTY
    while len(level) > 1:
        pairs = [_node(level[index], level[index + 1]) for index in range(0, len(level) - 1, 2)]
        level = [*pairs, level[-1]] if len(level) % 2 else pairs
    return level[0]


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
