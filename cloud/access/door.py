"""The door: what a browser or a script shows -> who it is, or why not. Methods block; times are Unix ms UTC."""

import sqlalchemy as sa

from cloud.access.keys import Keys
from cloud.access.lockout import Lockout
from cloud.access.rights import Principal
from cloud.access.sessions import Sessions
from cloud.access.users import User, Users
from devices.errors import Permanent


class WrongPassword(Permanent):
    """No such user, or another password; which of both is not said."""


class TooManyTries(Permanent):
    """Wrong passwords before this one. `wait_ms` until the next is looked at."""

    def __init__(self, wait_ms: int) -> None:
        self.wait_ms = wait_ms
        super().__init__(f"too many wrong passwords: wait {-(-wait_ms // 1000)} s")


class Door:
    """Users, sessions and keys of one deployment."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.users = Users(engine)
        self.sessions = Sessions(engine)
        self.keys = Keys(engine)
        self._lockout = Lockout()

    def sign_in(self, name: str, password: str, address: str, now_ms: int) -> tuple[User, str]:
        """The user and a session's token. Raises WrongPassword or TooManyTries."""
        wait_ms = self._lockout.wait_ms(name, address, now_ms)
        if wait_ms:
            raise TooManyTries(wait_ms)
        user = self.users.check_password(name, password)
        if user is None:
            self._lockout.failed(name, address, now_ms)
            raise WrongPassword("name or password is wrong")
        self._lockout.succeeded(name, address)
        return user, self.sessions.begin(user, address, now_ms)

    def who(self, session: str | None, key: str | None, now_ms: int) -> Principal | None:
        """Whom a session's or a key's token stands for, while it does."""
        if key is not None:
            return self.keys.holder(key, now_ms)
        user = self.sessions.user(session, now_ms) if session is not None else None
        return None if user is None else user.principal
