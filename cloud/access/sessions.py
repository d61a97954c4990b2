"""Sessions of browsers, and links that let somebody in once. Methods block; times are Unix ms UTC.

What a browser shows is 256 random bits; only their SHA-256 is kept, so a stolen database opens nothing.
"""

import secrets

import sqlalchemy as sa

from cloud.access.audit import DEPLOYMENT, record
from cloud.access.holders import token_hash
from cloud.access.users import User, user_of, user_row
from cloud.facts.database import reading, writing
from cloud.facts.tables_access import sessions, sign_in_links

IDLE_MS = 12 * 3_600_000
SESSION_MS = 7 * 24 * 3_600_000
LINK_MS = 24 * 3_600_000
SEEN_STEP_MS = 60_000  # a session that is used is written down this often


class Sessions:
    """Who is signed in."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def make_link(self, user: str, *, actor: str, now_ms: int, lasts_ms: int = LINK_MS) -> str:
        """A token that lets a user in once. Raises UnknownUser."""
        token = secrets.token_urlsafe(32)
        with writing(self._engine) as connection:
            row = user_row(connection, user)
            link = {"site": DEPLOYMENT, "token": token_hash(token), "user": row.id, "expires_ms": now_ms + lasts_ms}
            connection.execute(sa.insert(sign_in_links), link)
            record(connection, actor, "user.link", row.name, now_ms=now_ms)
        return token

    def use_link(self, token: str, now_ms: int) -> User | None:
        """Whom a link lets in; it works once."""
        with writing(self._engine) as connection:
            mine = (sign_in_links.c.site == DEPLOYMENT) & (sign_in_links.c.token == token_hash(token))
            link = connection.execute(sa.select(sign_in_links).where(mine)).one_or_none()
            connection.execute(sa.delete(sign_in_links).where(mine | (sign_in_links.c.expires_ms <= now_ms)))
            if link is None or link.expires_ms <= now_ms:
                return None
            row = user_row(connection, link.user)
            return None if row.disabled_ms is not None else user_of(connection, row)

    def begin(self, user: User, address: str, now_ms: int) -> str:
        """A new session; its token, which only the browser keeps."""
        token = secrets.token_urlsafe(32)
        with writing(self._engine) as connection:
            old = sessions.c.seen_ms < now_ms - IDLE_MS
            connection.execute(sa.delete(sessions).where(sessions.c.site == DEPLOYMENT, old))
            row: dict[str, object] = {"site": DEPLOYMENT, "token": token_hash(token), "user": user.id}
            row |= {"address": address, "created_ms": now_ms, "seen_ms": now_ms}
            connection.execute(sa.insert(sessions), row)
            record(connection, user.name, "session.begin", user.name, now_ms=now_ms, detail={"address": address})
        return token

    def user(self, token: str, now_ms: int) -> User | None:
        """Whose session this is, while it lasts: 12 h without use, 7 days at most."""
        mine = (sessions.c.site == DEPLOYMENT) & (sessions.c.token == token_hash(token))
        with reading(self._engine) as connection:
            session = connection.execute(sa.select(sessions).where(mine)).one_or_none()
            if session is None or now_ms >= min(session.seen_ms + IDLE_MS, session.created_ms + SESSION_MS):
                return None
            row = user_row(connection, session.user)
            user = user_of(connection, row)
        if now_ms - session.seen_ms >= SEEN_STEP_MS:
            with writing(self._engine) as connection:
                connection.execute(sa.update(sessions).where(mine).values(seen_ms=now_ms))
        return None if row.disabled_ms is not None else user

    def end(self, token: str) -> None:
        """Sign out."""
        with writing(self._engine) as connection:
            mine = (sessions.c.site == DEPLOYMENT) & (sessions.c.token == token_hash(token))
            connection.execute(sa.delete(sessions).where(mine))
