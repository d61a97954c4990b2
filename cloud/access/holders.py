"""Grants as the store keeps them: of users and of keys alike."""

import hashlib
from collections.abc import Iterable

import sqlalchemy as sa

from cloud.access.audit import DEPLOYMENT
from cloud.access.rights import Grant, Role
from cloud.facts.tables_access import user_grants


def token_hash(token: str) -> bytes:
    """What is kept of a token; it has too many random bits for a slow hash to be needed."""
    return hashlib.sha256(token.encode()).digest()


def in_order(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    """Each once, by role and site."""
    return tuple(sorted(set(grants), key=lambda grant: (grant.role.value, grant.site)))


def grants_detail(grants: Iterable[Grant]) -> dict[str, object]:
    """For the audit log."""
    return {"grants": [[grant.role.value, grant.site] for grant in grants]}


def write_grants(connection: sa.Connection, holder: str, grants: Iterable[Grant]) -> None:
    """Add grants of a holder."""
    rows = [{"site": DEPLOYMENT, "holder": holder, "role": one.role.value, "scope": one.site} for one in grants]
    if rows:
        connection.execute(sa.insert(user_grants), rows)


def grants_of(connection: sa.Connection, holder: str) -> tuple[Grant, ...]:
    """What somebody may do."""
    mine = (user_grants.c.site == DEPLOYMENT) & (user_grants.c.holder == holder)
    found = connection.execute(
        sa.select(user_grants.c.role, user_grants.c.scope).where(mine).order_by(user_grants.c.role, user_grants.c.scope)
    )
    return tuple(Grant(Role(role), scope) for role, scope in found)
