"""Errors as RFC 9457 problem details, for every 4xx and 5xx that the API gives."""

import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from devices.errors import Permanent, Transient

BODY_BYTES_MAX = 1024 * 1024  # ux.md section 10; frames have a limit of their own
REQUEST_ID_LENGTH_MAX = 64
_log = structlog.get_logger(__name__)


class Problem(Permanent):
    """What a route raises to answer so. `errors` are `{pointer, detail, code}`; `extra` are more members."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        extra: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = list(errors)
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
        super().__init__(detail)


def not_found(kind: str, name: str) -> Problem:
    """404 for a thing that is not there, or that this reader may not see."""
    return Problem(404, "not_found", f"There is no {kind} {name!r}.")


def unusable(pointer: str, detail: str, code: str) -> Problem:
    """422 for one input that cannot be used. `pointer` is like `/query/from`."""
    return Problem(422, code, detail, errors=[{"pointer": pointer, "detail": detail, "code": code}])


def problem_response(problem: Problem, *, instance: str, request_id: str) -> Response:
    """The answer that says so."""
    body = {
        "type": "/problems/" + problem.code.replace("_", "-"),
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
        "code": problem.code,
        "request_id": request_id,
        "errors": problem.errors,
        **problem.extra,
    }
    headers = {**problem.headers, "X-Request-Id": request_id}
    return Response(msgspec.json.encode(body), problem.status, headers=headers, media_type="application/problem+json")


class RequestGuard:
    """Outermost middleware: names the request, bounds its body, and turns what nobody caught into a problem.

    Paths in `unbounded` keep their own limit on the body.
    """

    def __init__(self, app: ASGIApp, unbounded: tuple[str, ...] = ()) -> None:
        self._app = app
        self._unbounded = unbounded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = _request_id(headers.get(b"x-request-id", b""))
        scope.setdefault("state", {})["request_id"] = request_id
        bounded = not any(scope["path"].endswith(ending) for ending in self._unbounded)
        answered = False
        taken = 0

        async def answer(message: Message) -> None:
            nonlocal answered
            if bounded and taken > BODY_BYTES_MAX:
                return  # whatever the route makes of a body cut off, 413 is the answer
            if message["type"] == "http.response.start":
                answered = True
                if all(name.lower() != b"x-request-id" for name, _ in message["headers"]):
                    message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        async def take() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if bounded and taken > BODY_BYTES_MAX:
                raise too_large()
            return message

        try:
            if bounded and int(headers.get(b"content-length", b"0") or b"0") > BODY_BYTES_MAX:
                raise too_large()
            await self._app(scope, take, answer)
        except Problem as problem:
            if answered:
                raise
            await problem_response(problem, instance=scope["path"], request_id=request_id)(scope, receive, send)
        else:
            if bounded and taken > BODY_BYTES_MAX and not answered:
                refusal = problem_response(too_large(), instance=scope["path"], request_id=request_id)
                await refusal(scope, receive, send)


def too_large() -> Problem:
    """413."""
    return Problem(413, "too_large", f"A request body may have at most {BODY_BYTES_MAX} bytes.")


def install_problems(app: FastAPI) -> None:
    """Make every error of `app` a problem."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(Transient, _on_transient)
    app.add_exception_handler(Exception, _on_crash)


_CODES = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed"}


def _answer(request: Request, problem: Problem) -> Response:
    request_id = getattr(request.state, "request_id", "")
    return problem_response(problem, instance=request.url.path, request_id=request_id)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101  registered for this type only
    return _answer(request, error)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    code = _CODES.get(error.status_code, HTTPStatus(error.status_code).name.lower())
    detail = f"There is nothing at {request.url.path}." if error.status_code == 404 else str(error.detail)
    return _answer(request, Problem(error.status_code, code, detail, headers=error.headers))


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    errors = [_pointer(one) for one in error.errors()]
    detail = "; ".join(f"{one['pointer']}: {one['detail']}" for one in errors[:5])
    return _answer(request, Problem(422, "unprocessable", detail or "The request cannot be used.", errors=errors))


async def _on_transient(request: Request, error: Exception) -> Response:
    problem = Problem(503, "unavailable", str(error) or "Try again later.", headers={"Retry-After": "5"})
    return _answer(request, problem)


async def _on_crash(request: Request, error: Exception) -> Response:
    _log.error("request failed", path=request.url.path, exc_info=error)
    return _answer(request, Problem(500, "internal", "Something is wrong on our side. It has been logged."))


def _pointer(error: dict[str, Any]) -> dict[str, str]:
    place = "/" + "/".join(str(part) for part in error.get("loc", ()))
    return {"pointer": place, "detail": str(error.get("msg", "")), "code": str(error.get("type", ""))}


def _request_id(sent: bytes) -> str:
    text = sent.decode("latin-1")
    if 0 < len(text) <= REQUEST_ID_LENGTH_MAX and text.isascii() and text.replace("-", "").replace("_", "").isalnum():
        return text
    return f"req_{uuid.uuid4().hex}"
