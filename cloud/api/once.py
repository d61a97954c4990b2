"""Idempotency-Key (IETF draft-07) for routes that change something: `APIRouter(route_class=once_route(...))`.

The same key with the same request gets the same answer within 24 h and does nothing again; with another request it is
refused (422). A request that was refused did nothing, and its key may come again.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import Response

from cloud.api.problems import Problem, unusable
from cloud.facts.answered import Answer, AnsweredRequests, OtherRequest

KEY_LENGTH_MAX = 200
_KEPT_HEADERS = ("content-type", "etag", "location")
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def once_route(answered: AnsweredRequests | None, now: Callable[[], int]) -> type[APIRoute]:
    """A class of routes that heed Idempotency-Key on POST; without a store they leave it alone."""
    if answered is None:
        return APIRoute
    desk = _Desk(answered, now)

    class OnceRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handler: Handler = super().get_route_handler()

            async def handle(request: Request) -> Response:
                key = request.headers.get("idempotency-key")
                if key is None or request.method != "POST":
                    return await handler(request)
                return await desk.once(request, key, handler)

            return handle

    return OnceRoute


class _Desk:
    """Carries out what comes with a key; two at once with one key wait for each other."""

    def __init__(self, answered: AnsweredRequests, now: Callable[[], int]) -> None:
        self._answered = answered
        self._now = now
        self._busy: dict[str, asyncio.Lock] = {}

    async def once(self, request: Request, key: str, handler: Handler) -> Response:
        """Give the answer, new or kept."""
        if not 0 < len(key) <= KEY_LENGTH_MAX or not key.isascii() or not key.isprintable():
            detail = f"a key has 1 to {KEY_LENGTH_MAX} printable ASCII characters"
            raise unusable("/header/idempotency-key", detail, "bad_idempotency_key")
        signed_in = getattr(request.state, "actor", None) or ""
        name = hashlib.sha256(f"{signed_in}\0{key}".encode()).hexdigest()
        lock = self._busy.setdefault(name, asyncio.Lock())
        try:
            async with lock:
                return await self._alone(request, name, handler)
        finally:
            if not lock.locked():
                self._busy.pop(name, None)

    async def _alone(self, request: Request, name: str, handler: Handler) -> Response:
        asked = [request.method, request.url.path, request.url.query, request.headers.get("if-match", "")]
        digest = hashlib.sha256("\0".join(asked).encode() + b"\0" + await request.body()).hexdigest()
        try:
            kept = await asyncio.to_thread(self._answered.claim, name, digest, self._now())
        except OtherRequest as error:
            raise unusable("/header/idempotency-key", str(error), "idempotency_key_reused") from error
        if kept is not None:
            return Response(kept.body, kept.status, headers=dict(kept.headers) | {"Idempotency-Replayed": "true"})
        try:
            response = await handler(request)
        except (Problem, RequestValidationError):
            await asyncio.to_thread(self._answered.forget, name)
            raise
        headers = {name: value for name, value in response.headers.items() if name in _KEPT_HEADERS}
        answer = Answer(response.status_code, bytes(response.body), headers)
        await asyncio.to_thread(self._answered.keep, name, answer)
        return response
