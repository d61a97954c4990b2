"""People who may sign in, in the relational store. Methods block; times are Unix ms UTC. Passwords are argon2id."""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from cloud.access.audit import DEPLOYMENT, record
from cloud.access.holders import grants_detail, grants_of, in_order, write_grants
from cloud.access.rights import Grant, Principal
from cloud.facts.database import reading, writing
from cloud.facts.tables_access import sessions, sign_in_links, user_grants, users
from devices.errors import Permanent

PASSWORD_LENGTH = (10, 200)
NAME_LENGTH_MAX = 100
_NOBODY = ""  # a password hash that nothing matches: its owner signs in by a link first


class NameTaken(Permanent):
    """Somebody else has this name."""


class UnknownUser(Permanent):
    """There is nobody of this id or name."""


class WeakPassword(Permanent):
    """Too short, or absurdly long."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may sign in."""

    id: str
    name: str
    grants: tuple[Grant, ...]
    created_ms: int
    disabled_ms: int | None

    @property
    def principal(self) -> Principal:
        """As the rights see them."""
        return Principal(self.id, self.name, self.grants)


class Users:
    """Everybody who may sign in."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._hasher = PasswordHasher()

    def add(self, name: str, grants: Iterable[Grant], *, actor: str, now_ms: int) -> User:
        """A new user without a password. Raises NameTaken."""
        user = User("usr_" + secrets.token_hex(8), name.strip(), in_order(grants), now_ms, None)
        if not 0 < len(user.name) <= NAME_LENGTH_MAX:
            raise Permanent(f"a name has 1 to {NAME_LENGTH_MAX} characters")
        with writing(self._engine) as connection:
            taken = sa.select(users.c.id).where(users.c.site == DEPLOYMENT, users.c.name == user.name)
            if connection.execute(taken).first() is not None:
                raise NameTaken(f"there is a user {user.name!r} already")
            row = {"site": DEPLOYMENT, "id": user.id, "name": user.name, "password": _NOBODY, "created_ms": now_ms}
            connection.execute(sa.insert(users), row)
            write_grants(connection, user.id, user.grants)
            record(connection, actor, "user.add", user.name, now_ms=now_ms, detail=grants_detail(user.grants))
        return user

    def all(self) -> Sequence[User]:
        """All of them, by name."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(users).where(users.c.site == DEPLOYMENT).order_by(users.c.name)).all()
            return [user_of(connection, row) for row in rows]

    def find(self, name_or_id: str) -> User:
        """One of them. Raises UnknownUser."""
        with reading(self._engine) as connection:
            return user_of(connection, user_row(connection, name_or_id))

    def set_grants(self, user: str, grants: Iterable[Grant], *, actor: str, now_ms: int) -> User:
        """Give other rights; they hold from the next request on. Raises UnknownUser."""
        wanted = in_order(grants)
        with writing(self._engine) as connection:
            row = user_row(connection, user)
            mine = (user_grants.c.site == DEPLOYMENT) & (user_grants.c.holder == row.id)
            connection.execute(sa.delete(user_grants).where(mine))
            write_grants(connection, row.id, wanted)
            record(connection, actor, "user.grants", row.name, now_ms=now_ms, detail=grants_detail(wanted))
            return user_of(connection, row)

    def disable(self, user: str, *, actor: str, now_ms: int) -> None:
        """Let somebody in no more, and end their sessions. Raises UnknownUser."""
        with writing(self._engine) as connection:
            row = user_row(connection, user)
            mine = (users.c.site == DEPLOYMENT) & (users.c.id == row.id)
            connection.execute(sa.update(users).where(mine).values(disabled_ms=now_ms))
            _end_sessions(connection, row.id)
            record(connection, actor, "user.disable", row.name, now_ms=now_ms)

    def set_password(self, user: str, password: str, *, actor: str, now_ms: int) -> None:
        """A new password; every session ends. Raises WeakPassword, UnknownUser."""
        shortest, longest = PASSWORD_LENGTH
        if not shortest <= len(password) <= longest:
            raise WeakPassword(f"a password has {shortest} to {longest} characters")
        hashed = self._hasher.hash(password)
        with writing(self._engine) as connection:
            row = user_row(connection, user)
            mine = (users.c.site == DEPLOYMENT) & (users.c.id == row.id)
            connection.execute(sa.update(users).where(mine).values(password=hashed))
            _end_sessions(connection, row.id)
            record(connection, actor, "user.password", row.name, now_ms=now_ms)

    def check_password(self, name: str, password: str) -> User | None:
        """The user of this name and password. Takes as long whether there is such a user or not."""
        with reading(self._engine) as connection:
            mine = sa.select(users).where(users.c.site == DEPLOYMENT, users.c.name == name)
            row = connection.execute(mine).one_or_none()
            user = None if row is None or row.disabled_ms is not None else user_of(connection, row)
        hashed = row.password if row is not None and row.password else self._decoy
        try:
            self._hasher.verify(hashed, password[: PASSWORD_LENGTH[1]])
        except (VerifyMismatchError, InvalidHashError):
            return None
        return user if row is not None and row.password else None

    @cached_property
    def _decoy(self) -> str:
        """A hash of nobody's password, so that a wrong name costs what a wrong password costs."""
        return self._hasher.hash(secrets.token_hex())


def user_row(connection: sa.Connection, name_or_id: str) -> "sa.Row[tuple[object, ...]]":
    """The row of a user. Raises UnknownUser."""
    mine = (users.c.site == DEPLOYMENT) & ((users.c.id == name_or_id) | (users.c.name == name_or_id))
    row: sa.Row[tuple[object, ...]] | None = connection.execute(sa.select(users).where(mine)).first()
    if row is None:
        raise UnknownUser(f"there is no user {name_or_id!r}")
    return row


def user_of(connection: sa.Connection, row: "sa.Row[tuple[object, ...]]") -> User:
    """A row as a user."""
    return User(row.id, row.name, grants_of(connection, row.id), row.created_ms, row.disabled_ms)


def _end_sessions(connection: sa.Connection, user: str) -> None:
    connection.execute(sa.delete(sessions).where(sessions.c.site == DEPLOYMENT, sessions.c.user == user))
    connection.execute(sa.delete(sign_in_links).where(sign_in_links.c.site == DEPLOYMENT, sign_in_links.c.user == user))
