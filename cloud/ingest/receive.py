"""Where gateways deliver: POST frames, GET the Receipt. Raw bodies, no model on the hot path."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

import msgspec
from fastapi import APIRouter, Request, Response

from cloud.ingest.admission import Admission
from cloud.ingest.gateways import Gateway
from cloud.ingest.tokens import Tokens, Unauthorised
from devices.batches import CONTENT_TYPE, REQUEST_BYTES_MAX, split_frames
from devices.errors import MessageError, StorageUnavailable
from devices.instants import format_instant
from devices.receipt import Receipt, encode_receipt

DISCARDED_BYTES_MAX = 4 * REQUEST_BYTES_MAX  # of a body that is too large; beyond it the connection is cut
RETRY_AFTER_S = 5  # after a disk failure; the gateway's own back-off goes on from there


def receiving(admission: Admission, tokens: Tokens, now_ms: Callable[[], int]) -> APIRouter:
    """The two routes of the uplink. `now_ms` is server time, Unix ms UTC."""
    door = _Door(admission, tokens, now_ms)
    router = APIRouter()
    path = "/api/v1/gateways/{gateway_id}"
    router.add_api_route(f"{path}/frames", door.frames, methods=["POST"], tags=["uplink"])
    router.add_api_route(f"{path}/receipt", door.receipt, methods=["GET"], tags=["uplink"])
    return router


class _Door:
    def __init__(self, admission: Admission, tokens: Tokens, now_ms: Callable[[], int]) -> None:
        self._admission = admission
        self._tokens = tokens
        self._now_ms = now_ms

    async def frames(self, gateway_id: str, request: Request) -> Response:
        """Frames of a gateway, answered with a Receipt once they are durable. Without a body: a sign of life."""
        try:
            gateway = self._gateway(gateway_id, request)
            body = await _body(request)
            if body and request.headers.get("content-type", "").split(";")[0].strip() != CONTENT_TYPE:
                return self._problem(request, 415, "unsupported_media_type", f"The body must be {CONTENT_TYPE}.")
            return _answer(await self._admission.take(gateway, split_frames(body)))
        except Unauthorised as error:
            return self._problem(request, 401, "unauthorized", str(error), {"WWW-Authenticate": "Bearer"})
        except _TooLarge:
            detail = f"A request holds at most {REQUEST_BYTES_MAX} bytes."
            return self._problem(request, 413, "too_large", detail, {"Connection": "close"})
        except MessageError as error:
            return self._problem(request, 400, "bad_request", str(error))
        except StorageUnavailable as error:
            return self._problem(request, 503, "unavailable", str(error), {"Retry-After": str(RETRY_AFTER_S)})

    async def receipt(self, gateway_id: str, request: Request) -> Response:
        """What the log holds of every epoch of a gateway."""
        try:
            return _answer(self._admission.receipt(self._gateway(gateway_id, request)))
        except Unauthorised as error:
            return self._problem(request, 401, "unauthorized", str(error), {"WWW-Authenticate": "Bearer"})

    def _gateway(self, gateway_id: str, request: Request) -> Gateway:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthorised("a bearer token is needed")
        return self._tokens.check(gateway_id, token.strip(), self._now_ms())

    def _problem(
        self, request: Request, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        body: dict[str, object] = {
            "type": "/problems/" + code.replace("_", "-"),
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            "instance": request.url.path,
            "code": code,
            "request_id": getattr(request.state, "request_id", ""),
            "errors": [],
            "server_time": format_instant(self._now_ms()),  # a gateway without a clock gets one from any answer
        }
        content = msgspec.json.encode(body)
        return Response(content, status, headers=dict(headers or {}), media_type="application/problem+json")


class _TooLarge(Exception):
    """The body is larger than a request may be."""


async def _body(request: Request) -> bytes:
    """The whole body. One that is too large is read to its end but not kept, so that the sender sees why."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > DISCARDED_BYTES_MAX:
        raise _TooLarge
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > DISCARDED_BYTES_MAX:
            raise _TooLarge
        if size > REQUEST_BYTES_MAX:
            parts.clear()
        else:
            parts.append(part)
    if size > REQUEST_BYTES_MAX:
        raise _TooLarge
    return b"".join(parts)


def _answer(receipt: Receipt) -> Response:
    return Response(encode_receipt(receipt), media_type="application/json")
