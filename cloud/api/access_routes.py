"""Routes of signing in and out, users, keys and the audit log."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from cloud.access.audit import PAGE_MAX, AuditEntry, entries
from cloud.access.door import Door, TooManyTries, WrongPassword
from cloud.access.keys import Key
from cloud.access.rights import Grant, Principal, Role
from cloud.access.users import NameTaken, UnknownUser, User, WeakPassword
from cloud.api.asking import answer, instant, instant_or_none, listing
from cloud.api.problems import Problem, not_found, unusable
from cloud.api.sign_in import ANYBODY, COOKIE, SECURE_COOKIE, principal_of, session_token
from cloud.facts.database import reading
from devices.errors import Permanent

GRANTS_MAX = 1_000
COOKIE_S = 7 * 24 * 3600


class GrantBody(BaseModel):
    """A role at a site; `*` is everywhere."""

    role: Role
    site: str = Field(default="*", pattern=r"^(\*|[a-z0-9-]{1,63})$")


class Credentials(BaseModel):
    """Name and password."""

    name: str = Field(max_length=100)
    password: str = Field(max_length=200)


class LinkUse(BaseModel):
    """The token of a one-time link; with a password it is set as well."""

    token: str = Field(max_length=100)
    password: str | None = Field(default=None, max_length=200)


class UserBody(BaseModel):
    """A user to be added."""

    name: str = Field(min_length=1, max_length=100)
    grants: list[GrantBody] = Field(max_length=GRANTS_MAX)


class GrantsBody(BaseModel):
    """Rights in place of those before."""

    grants: list[GrantBody] = Field(max_length=GRANTS_MAX)


class KeyBody(BaseModel):
    """A key to be added."""

    name: str = Field(min_length=1, max_length=100)
    grants: list[GrantBody] = Field(min_length=1, max_length=GRANTS_MAX)
    expires_at: str | None = None


def access_routes(door: Door, now: Callable[[], int]) -> APIRouter:
    """Build the router."""
    routes = _AccessRoutes(door, now)
    router = APIRouter(prefix="/api/v1", tags=["access"])
    add = router.add_api_route
    add("/session", routes.me, methods=["GET"])
    add("/session", routes.sign_in, methods=["POST"])
    add("/session", routes.sign_out, methods=["DELETE"])
    add("/session/link", routes.use_link, methods=["POST"])
    add("/users", routes.users, methods=["GET"])
    add("/users", routes.add_user, methods=["POST"])
    add("/users/{user}/grants", routes.set_grants, methods=["PUT"])
    add("/users/{user}/link", routes.link, methods=["POST"])
    add("/users/{user}", routes.disable, methods=["DELETE"])
    add("/keys", routes.keys, methods=["GET"])
    add("/keys", routes.add_key, methods=["POST"])
    add("/keys/{key}", routes.revoke_key, methods=["DELETE"])
    add("/audit", routes.audit, methods=["GET"])
    return router


def open_routes() -> APIRouter:
    """What there is of it where nobody signs in: the answer to who that is."""
    router = APIRouter(prefix="/api/v1", tags=["access"])

    async def me() -> Response:
        """Nobody in particular, who may do everything."""
        return answer(_principal_json(ANYBODY))

    router.add_api_route("/session", me, methods=["GET"])
    return router


@dataclass(frozen=True, slots=True)
class _AccessRoutes:
    door: Door
    now: Callable[[], int]

    async def me(self, request: Request) -> Response:
        """Who is signed in, and what they may do."""
        who = principal_of(request)
        if getattr(request.state, "principal", None) is None:
            raise Problem(401, "unauthorized", "Nobody is signed in.", headers={"WWW-Authenticate": "Bearer"})
        return answer(_principal_json(who))

    async def sign_in(self, request: Request, body: Credentials) -> Response:
        """Begin a session with name and password."""
        try:
            user, token = await asyncio.to_thread(
                self.door.sign_in, body.name, body.password, _address(request), self.now()
            )
        except TooManyTries as error:
            retry = {"Retry-After": str(-(-error.wait_ms // 1000))}
            raise Problem(429, "too_many_tries", str(error), headers=retry) from error
        except WrongPassword as error:
            raise Problem(401, "wrong_password", "Name or password is wrong.") from error
        return _signed_in(request, user, token)

    async def use_link(self, request: Request, body: LinkUse) -> Response:
        """Begin a session with a one-time link, and set a password where one is given."""
        user = await asyncio.to_thread(self.door.sessions.use_link, body.token, self.now())
        if user is None:
            raise Problem(401, "link_used", "This link has been used or is too old. Ask for another one.")
        if body.password is not None:
            try:
                await asyncio.to_thread(
                    self.door.users.set_password, user.id, body.password, actor=user.name, now_ms=self.now()
                )
            except WeakPassword as error:
                raise unusable("/body/password", str(error), "weak_password") from error
        token = await asyncio.to_thread(self.door.sessions.begin, user, _address(request), self.now())
        return _signed_in(request, user, token)

    async def sign_out(self, request: Request) -> Response:
        """End the session; without one nothing happens."""
        token = session_token(dict(request.scope["headers"]))
        if token is not None:
            await asyncio.to_thread(self.door.sessions.end, token)
        response = Response(status_code=204)
        response.delete_cookie(_cookie(request), path="/", secure=_is_secure(request), httponly=True, samesite="lax")
        return response

    async def users(self) -> Response:
        """Everybody who may sign in."""
        return listing([_user_json(user) for user in await asyncio.to_thread(self.door.users.all)])

    async def add_user(self, request: Request, body: UserBody) -> Response:
        """Add a user; the answer holds a one-time link to sign in with."""
        try:
            user = await asyncio.to_thread(
                self.door.users.add, body.name, _grants(body.grants), actor=_actor(request), now_ms=self.now()
            )
        except NameTaken as error:
            raise Problem(409, "name_taken", str(error)) from error
        except Permanent as error:
            raise unusable("/body/name", str(error), "bad_name") from error
        token = await asyncio.to_thread(self.door.sessions.make_link, user.id, actor=_actor(request), now_ms=self.now())
        return answer({**_user_json(user), "link": sign_in_path(token)}, 201)

    async def set_grants(self, request: Request, user: str, body: GrantsBody) -> Response:
        """Give a user other rights; they hold from the next request on."""
        try:
            changed = await asyncio.to_thread(
                self.door.users.set_grants, user, _grants(body.grants), actor=_actor(request), now_ms=self.now()
            )
        except UnknownUser as error:
            raise not_found("user", user) from error
        return answer(_user_json(changed))

    async def link(self, request: Request, user: str) -> Response:
        """Make a one-time link for somebody who has no password, or forgot it."""
        try:
            token = await asyncio.to_thread(
                self.door.sessions.make_link, user, actor=_actor(request), now_ms=self.now()
            )
        except UnknownUser as error:
            raise not_found("user", user) from error
        return answer({"link": sign_in_path(token)}, 201)

    async def disable(self, request: Request, user: str) -> Response:
        """Let somebody in no more; their sessions and streams end."""
        try:
            await asyncio.to_thread(self.door.users.disable, user, actor=_actor(request), now_ms=self.now())
        except UnknownUser as error:
            raise not_found("user", user) from error
        return Response(status_code=204)

    async def keys(self) -> Response:
        """Keys of scripts, without their secrets."""
        return listing([_key_json(key) for key in await asyncio.to_thread(self.door.keys.all)])

    async def add_key(self, request: Request, body: KeyBody) -> Response:
        """Add a key; its secret is in this answer and never again."""
        expires_ms = None if body.expires_at is None else instant("expires_at", body.expires_at)
        key, shown = await asyncio.to_thread(
            self.door.keys.add, body.name, _grants(body.grants), actor=_actor(request), now_ms=self.now(),
            expires_ms=expires_ms,
        )  # fmt: skip
        return answer({**_key_json(key), "key": shown}, 201)

    async def revoke_key(self, request: Request, key: str) -> Response:
        """End a key; it fails from the next request on."""
        if not await asyncio.to_thread(self.door.keys.revoke, key, actor=_actor(request), now_ms=self.now()):
            raise not_found("key", key)
        return Response(status_code=204)

    async def audit(
        self, after: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50
    ) -> Response:
        """Every change, oldest first; each with the hash of the chain up to it."""

        def read() -> list[AuditEntry]:
            with reading(self.door.engine) as connection:
                return list(entries(connection, after=after, limit=limit))

        found = await asyncio.to_thread(read)
        more = str(found[-1].number) if len(found) == limit else None
        return listing([_entry_json(entry) for entry in found], more)


def sign_in_path(token: str) -> str:
    """The page that uses a link. The token stands behind `#`, which browsers keep to themselves."""
    return f"/sign-in#{token}"


def _grants(bodies: list[GrantBody]) -> list[Grant]:
    return [Grant(body.role, body.site) for body in bodies]


def _actor(request: Request) -> str:
    return principal_of(request).name or "operator"


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"


def _cookie(request: Request) -> str:
    return SECURE_COOKIE if _is_secure(request) else COOKIE


def _signed_in(request: Request, user: User, token: str) -> Response:
    response = answer(_principal_json(user.principal))
    response.set_cookie(
        _cookie(request), token, max_age=COOKIE_S, path="/", secure=_is_secure(request), httponly=True, samesite="lax"
    )
    return response


def _grants_json(grants: tuple[Grant, ...]) -> list[dict[str, str]]:
    return [{"role": grant.role.value, "site": grant.site} for grant in grants]


def _principal_json(who: Principal) -> dict[str, object]:
    return {"id": who.id, "name": who.name, "grants": _grants_json(who.grants)}


def _user_json(user: User) -> dict[str, object]:
    disabled_at = instant_or_none(user.disabled_ms)
    return {
        **_principal_json(user.principal),
        "created_at": instant_or_none(user.created_ms),
        "disabled_at": disabled_at,
    }


def _key_json(key: Key) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "grants": _grants_json(key.grants),
        "created_at": instant_or_none(key.created_ms),
        "expires_at": instant_or_none(key.expires_ms),
        "used_at": instant_or_none(key.used_ms),
        "revoked_at": instant_or_none(key.revoked_ms),
    }


def _entry_json(entry: AuditEntry) -> dict[str, object]:
    return {
        "number": entry.number,
        "at": instant_or_none(entry.at_ms),
        "actor": entry.actor,
        "act": entry.act,
        "site": entry.of_site or None,
        "subject": entry.subject,
        "detail": entry.detail,
        "hash": entry.hash.hex(),
    }
