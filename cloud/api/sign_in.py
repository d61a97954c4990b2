"""Who asks, and may they? A middleware in front of every route.

Browsers show a cookie, scripts a key in the header `Authorization: Bearer ghk_...`, never in the address. A site that
somebody may not see is answered as one that is not there. A stream ends soon after the right to it.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.access.door import Door
from cloud.access.rights import Act, Grant, Principal, Role, may
from cloud.api.problems import Problem, problem_response
from cloud.api.rights_of_routes import SAFE_METHODS, Need, need_of

COOKIE = "gatehouse"
SECURE_COOKIE = "__Host-gatehouse"  # over https: the browser then refuses to let a neighbour set it
OWN_HEADER = b"x-gatehouse"  # a form of another site cannot send it
STREAM_CHECK_S = 2.0
ANYBODY = Principal("open", "", (Grant(Role.ADMIN),))  # without sign-in, on this machine only
NO_SITE = "~"  # no site's id
_TOKEN_IN_QUERY = b"ghk_"

SiteOf = Callable[[str, str], str | None]  # the site of a thing (kind, id); blocks


def principal_of(request: Request) -> Principal:
    """Who asks."""
    found: Principal = getattr(request.state, "principal", ANYBODY)
    return found


def visible(request: Request, site: str) -> bool:
    """Whether who asks may see this site."""
    return may(principal_of(request), Act.SEE, site)


def must(request: Request, act: Act, site: str, thing: str) -> None:
    """Raise what a request deserves that lacks the right: 404 for what cannot be seen, else 403."""
    who = principal_of(request)
    if not may(who, Act.SEE, site):
        raise Problem(404, "not_found", f"There is nothing at {thing}.")
    if not may(who, act, site):
        raise forbidden(act)


def forbidden(act: Act) -> Problem:
    """403."""
    return Problem(403, "forbidden", f"You have no right to {act.value} here.")


class SignInGuard:
    """Middleware. With `door` None everybody is `ANYBODY`."""

    def __init__(self, app: ASGIApp, door: Door | None, now: Callable[[], int], site_of: SiteOf) -> None:
        self._app = app
        self._door = door
        self._now = now
        self._site_of = site_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._door is None:
            await self._app(scope, receive, send)
            return
        try:
            need = need_of(scope["method"], scope["path"])
            who = await self._who(self._door, scope)
            if who is not None:
                _check_origin(scope)
                state = scope.setdefault("state", {})
                state["principal"], state["actor"] = who, who.name
            if need is not None:
                if who is None:
                    raise unauthorized()
                if need.thing is not None:
                    site = await asyncio.to_thread(self._site_of, *need.thing)
                    need = replace(need, site=site or NO_SITE, thing=None)
                _check_right(who, need, scope["path"])
                if need.by_site:
                    scope["query_string"] = _restricted(who, scope.get("query_string", b""))
        except Problem as problem:
            request_id = scope.get("state", {}).get("request_id", "")
            await problem_response(problem, instance=scope["path"], request_id=request_id)(scope, receive, send)
            return
        if scope["path"].endswith("/stream"):
            await self._stream(self._door, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _who(self, door: Door, scope: Scope) -> Principal | None:
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        if _TOKEN_IN_QUERY in scope.get("query_string", b""):
            raise Problem(400, "key_in_address", "A key in an address ends up in logs. Send it as a header.")
        bearer = headers.get(b"authorization", b"").decode("latin-1")
        key = bearer.removeprefix("Bearer ") if bearer.startswith("Bearer ghk_") else None
        session = session_token(headers)
        if key is None and session is None:
            return None
        return await asyncio.to_thread(door.who, session, key, self._now())

    async def _stream(self, door: Door, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a stream on for as long as who asked may see it."""
        begun = ended = False

        async def passing(message: Message) -> None:
            nonlocal begun, ended
            begun = True
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        streaming = asyncio.create_task(_run(self._app, scope, receive, passing), name="stream")
        try:
            while not (await asyncio.wait({streaming}, timeout=STREAM_CHECK_S))[0]:
                who = await self._who(door, scope)
                need = need_of(scope["method"], scope["path"])
                if who is None or (need is not None and not may(who, need.act, need.site)):
                    break
        finally:
            streaming.cancel()
            await asyncio.wait({streaming})
        if streaming.cancelled() and begun and not ended:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif not streaming.cancelled():
            streaming.result()


async def _run(app: ASGIApp, scope: Scope, receive: Receive, send: Any) -> None:
    await app(scope, receive, send)


def session_token(headers: Mapping[bytes, bytes]) -> str | None:
    """The session that a browser shows."""
    try:
        cookies = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1"))
    except CookieError:
        return None
    found = cookies.get(SECURE_COOKIE) or cookies.get(COOKIE)
    return found.value if found is not None else None


def _check_origin(scope: Scope) -> None:
    """A change by a browser's cookie must come from our own page. Raises Problem (403)."""
    headers: Mapping[bytes, bytes] = dict(scope["headers"])
    if scope["method"] in SAFE_METHODS or headers.get(b"authorization", b"").startswith(b"Bearer ghk_"):
        return
    fetched = headers.get(b"sec-fetch-site", b"same-origin")
    origin = headers.get(b"origin", b"").rsplit(b"//", 1)[-1]
    same = fetched in {b"same-origin", b"none"} and origin in {b"", headers.get(b"host", b"")}
    if not same or OWN_HEADER not in headers:
        raise Problem(403, "cross_origin", "A change comes from our own page, with the header X-Gatehouse: 1.")


def unauthorized() -> Problem:
    """401."""
    return Problem(401, "unauthorized", "Sign in, or send a key.", headers={"WWW-Authenticate": "Bearer"})


def _restricted(who: Principal, query: bytes) -> bytes:
    """The query with `site` cut to what may be seen. No site stays none: nothing is what is found then."""
    if may(who, Act.SEE, None):
        return query
    asked = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    mine = visible_sites(who)
    named = {site for text in asked.pop("site", []) for site in text.split(",") if site}
    asked["site"] = [",".join(sorted(mine & named if named else mine)) or NO_SITE]
    return urlencode(asked, doseq=True).encode("latin-1")


def visible_sites(who: Principal) -> set[str]:
    """The sites that somebody who does not see all of them sees."""
    return {grant.site for grant in who.grants if may(who, Act.SEE, grant.site)}


def _check_right(who: Principal, need: Need, path: str) -> None:
    if need.filters or need.by_site:
        return
    if need.site is not None and not may(who, Act.SEE, need.site):
        raise Problem(404, "not_found", f"There is nothing at {path}.")
    if not may(who, need.act, need.site):
        raise forbidden(need.act)
