"""Keys of scripts: `ghk_<id>_<secret>`. Methods block; times are Unix ms UTC. Of a secret only the SHA-256 is kept."""

import secrets
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from cloud.access.audit import DEPLOYMENT, record
from cloud.access.holders import grants_detail, grants_of, in_order, token_hash, write_grants
from cloud.access.rights import Grant, Principal
from cloud.facts.database import reading, writing
from cloud.facts.tables_access import integration_keys

KEY_PREFIX = "ghk"
USED_STEP_MS = 60_000  # a key that is used is written down this often
_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Key:
    """A script's key, without its secret."""

    id: str
    name: str
    grants: tuple[Grant, ...]
    created_ms: int
    expires_ms: int | None
    used_ms: int | None
    revoked_ms: int | None


class Keys:
    """The keys of this deployment."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(
        self, name: str, grants: Iterable[Grant], *, actor: str, now_ms: int, expires_ms: int | None = None
    ) -> tuple[Key, str]:
        """A key, and what the script shows: `ghk_<id>_<secret>`, which nobody can see again."""
        key_id, secret = (_letters(count) for count in (8, 32))
        key = Key(key_id, name, in_order(grants), now_ms, expires_ms, None, None)
        with writing(self._engine) as connection:
            row = {
                "site": DEPLOYMENT,
                "id": key_id,
                "secret": token_hash(secret),
                "name": name,
                "created_ms": now_ms,
                "expires_ms": expires_ms,
            }
            connection.execute(sa.insert(integration_keys), row)
            write_grants(connection, key_id, key.grants)
            record(connection, actor, "key.add", key_id, now_ms=now_ms, detail=grants_detail(key.grants))
        return key, f"{KEY_PREFIX}_{key_id}_{secret}"

    def all(self) -> Sequence[Key]:
        """All of them, newest first."""
        with reading(self._engine) as connection:
            mine = integration_keys.c.site == DEPLOYMENT
            order = (integration_keys.c.created_ms.desc(), integration_keys.c.id)
            rows = connection.execute(sa.select(integration_keys).where(mine).order_by(*order)).all()
            return [
                Key(
                    row.id,
                    row.name,
                    grants_of(connection, row.id),
                    row.created_ms,
                    row.expires_ms,
                    row.used_ms,
                    row.revoked_ms,
                )
                for row in rows
            ]

    def revoke(self, key_id: str, *, actor: str, now_ms: int) -> bool:
        """End a key; whether there was one."""
        with writing(self._engine) as connection:
            mine = (integration_keys.c.site == DEPLOYMENT) & (integration_keys.c.id == key_id)
            live = mine & integration_keys.c.revoked_ms.is_(None)
            if not connection.execute(sa.update(integration_keys).where(live).values(revoked_ms=now_ms)).rowcount:
                return False
            record(connection, actor, "key.revoke", key_id, now_ms=now_ms)
            return True

    def holder(self, shown: str, now_ms: int) -> Principal | None:
        """Whose key this is, while it holds."""
        parts = shown.split("_")
        if len(parts) != 3 or parts[0] != KEY_PREFIX:
            return None
        mine = (integration_keys.c.site == DEPLOYMENT) & (integration_keys.c.id == parts[1])
        with reading(self._engine) as connection:
            row = connection.execute(sa.select(integration_keys).where(mine)).one_or_none()
            if row is None or not secrets.compare_digest(row.secret, token_hash(parts[2])):
                return None
            if row.revoked_ms is not None or (row.expires_ms is not None and now_ms >= row.expires_ms):
                return None
            holder = Principal(row.id, f"key {row.name}", grants_of(connection, row.id))
        if now_ms - (row.used_ms or 0) >= USED_STEP_MS:
            with writing(self._engine) as connection:
                connection.execute(sa.update(integration_keys).where(mine).values(used_ms=now_ms))
        return holder


def _letters(count: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(count))
