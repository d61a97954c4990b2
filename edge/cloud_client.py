"""Requests to the cloud: frames in, Receipts out. Knows HTTP and tokens, decides nothing about what to send."""

import asyncio
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.batches import CONTENT_TYPE, join_frames
from devices.errors import ConfigurationError, LinkDown, Problem, Refused, Transient
from devices.instants import parse_instant
from devices.receipt import Receipt, decode_receipt
from edge.clock import Clock

AUDIENCE = "gatehouse-cloud"
TOKEN_LIFETIME_MS = 300_000
TOKEN_RENEWED_BEFORE_MS = 120_000
CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 30.0  # an 8 MiB request at 2 Mbit/s; slower links get smaller requests
PROBE_TIMEOUT_S = 2.0
RETRY_AFTER_S_MAX = 600.0  # no server may silence a gateway for longer
CONNECTIONS_MAX = 8
_TOO_MANY = 429


class Unreachable(LinkDown):
    """Nobody took the connection: a probe can tell when that changes."""


class Busy(Transient):
    """The cloud answered that it cannot take anything now. `retry_after_s` is 0 when it did not say for how long."""

    def __init__(self, status: int, retry_after_s: float) -> None:
        super().__init__(f"the cloud answered {status}")
        self.too_many = status == _TOO_MANY
        self.retry_after_s = retry_after_s


class _ServerTime(msgspec.Struct):
    server_time: str = ""


class CloudClient:
    """One gateway's connection to the cloud. Feeds the clock with the `server_time` of every answer."""

    def __init__(
        self, url: str, gateway: str, key: Ed25519PrivateKey, clock: Clock, ca_file: Path | None = None,
        *, transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:  # fmt: skip
        self._gateway = gateway
        self._key = key
        self._clock = clock
        self._token = ""
        self._token_ends_ms = 0
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._http = httpx.AsyncClient(
            base_url=f"{url.rstrip('/')}/api/v1/gateways/{gateway}/",
            verify=_trust(ca_file) if parts.scheme == "https" else False,
            timeout=httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
            trust_env=False,
            transport=transport,  # sockets, unless somebody simulates the way to the cloud
        )

    async def post(self, frames: Sequence[bytes]) -> Receipt:
        """Deliver frames; none is a sign of life. Raises LinkDown, Busy or Refused."""
        return _receipt(await self._ask("POST", "frames", join_frames(frames)))

    async def receipt(self) -> Receipt:
        """What the cloud holds of every epoch. Raises LinkDown, Busy or Refused."""
        return _receipt(await self._ask("GET", "receipt", b""))

    async def probe(self) -> bool:
        """Whether somebody listens at the cloud's address."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                _, writer = await asyncio.open_connection(self._host, self._port)
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _ask(self, method: str, path: str, body: bytes) -> bytes:
        answer = await self._request(method, path, body)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._token = ""  # the clock may have been wrong: the answer has just mended it
            answer = await self._request(method, path, body)
        if answer.is_success:
            return answer.content
        if answer.status_code == _TOO_MANY or answer.is_server_error:
            raise Busy(answer.status_code, _retry_after_s(answer))
        raise Refused(f"the cloud answered {answer.status_code}: {answer.text[:200]}")

    async def _request(self, method: str, path: str, body: bytes) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._bearer()}"}
        if body:
            headers["Content-Type"] = CONTENT_TYPE
        started = time.monotonic()
        try:
            answer = await self._http.request(method, path, content=body, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unreachable(f"cannot reach the cloud: {error or type(error).__name__}") from error
        except httpx.HTTPError as error:
            raise LinkDown(f"no answer from the cloud: {error or type(error).__name__}") from error
        self._note_server_time(answer.content, round((time.monotonic() - started) * 1000))
        return answer

    def _bearer(self) -> str:
        now_ms = self._clock.server_now_ms()
        left_ms = self._token_ends_ms - now_ms
        if not self._token or not TOKEN_RENEWED_BEFORE_MS < left_ms <= TOKEN_LIFETIME_MS:
            self._token_ends_ms = now_ms + TOKEN_LIFETIME_MS
            claims = {"sub": self._gateway, "aud": AUDIENCE, "exp": self._token_ends_ms // 1000}
            self._token = jwt.encode(claims, self._key, algorithm="EdDSA")
        return self._token

    def _note_server_time(self, content: bytes, round_trip_ms: int) -> None:
        try:
            text = msgspec.json.decode(content, type=_ServerTime).server_time
            self._clock.server_answer(parse_instant(text), round_trip_ms)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
            return  # an answer of something in between, a proxy perhaps: it says nothing about the time


def _receipt(content: bytes) -> Receipt:
    try:
        return decode_receipt(content)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LinkDown(f"the answer is no Receipt: {error}") from error


def _retry_after_s(answer: httpx.Response) -> float:
    text = answer.headers.get("Retry-After", "")
    return min(float(text), RETRY_AFTER_S_MAX) if text.isdecimal() else 0.0


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    """Whom to believe. Raises ConfigurationError when the file cannot be used."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigurationError([Problem(str(ca_file), 0, 0, f"cannot be used as ca_file: {error}")]) from error
