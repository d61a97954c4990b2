"""Requests to the cloud: frames in, Receipts out. Knows HTTP, TLS and tokens, decides nothing about what to send."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.batches import CONTENT_TYPE, join_frames
from devices.errors import LinkDown, Permanent, Refused, Transient
from devices.instants import format_instant, parse_instant
from devices.receipt import Receipt, decode_receipt
from edge.bandwidth import Bandwidth
from edge.clock import Clock
from edge.reach import Reach
from edge.trust import DatedContext, WrongDates

AUDIENCE = "gatehouse-cloud"
TOKEN_LIFETIME_MS = 300_000
TOKEN_RENEWED_BEFORE_MS = 120_000
CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 30.0  # an 8 MiB request at 2 Mbit/s; slower links get smaller requests
SILENCE_TIMEOUT_S = 10.0  # for requests without a body: nothing is under way that could be slow
KEEP_ALIVE_S = 60.0  # longer than the time between two signs of life
RETRY_AFTER_S_MAX = 600.0  # no server may silence a gateway for longer
CONNECTIONS_MAX = 8
_TOO_MANY = 429
_OF_THE_BODY = frozenset({400, 413, 415, 422})  # the request is wrong, not who sends it
_NO_LIMIT = Bandwidth()


class Unreachable(LinkDown):
    """Nobody took the connection: a probe can tell when that changes."""


class Untrusted(LinkDown):
    """Whoever answered could not prove to be the cloud: a person has to look, and it is tried again."""


class NotTaken(Permanent):
    """The cloud did not look at the frames of this request, and never will in this form."""


class Busy(Transient):
    """The cloud answered that it cannot take anything now. `retry_after_s` is 0 when it did not say for how long."""

    def __init__(self, status: int, retry_after_s: float) -> None:
        super().__init__(f"the cloud answered {status}")
        self.too_many = status == _TOO_MANY
        self.retry_after_s = retry_after_s


class _ServerTime(msgspec.Struct):
    server_time: str = ""


class CloudClient:
    """One gateway's connection to the cloud. Feeds the clock with the `server_time` of every answer.

    Before the clock is trusted a certificate may be of any date. The first answer to such a connection says what
    time it is, and nothing else; the connection is made again and must be good at that time to be believed.
    """

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
        self.reach = Reach(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        self._url = f"{url.rstrip('/')}/api/v1/gateways/{gateway}/"
        self._trust = DatedContext.of(ca_file, self._calendar_ms) if parts.scheme == "https" else None
        self._transport = transport  # sockets, unless somebody simulates the way to the cloud
        self._heard: tuple[int, float] | None = None  # the time that an undated answer told, and when, in the loop
        self._http = self._connections()

    async def post(self, frames: Sequence[bytes], bandwidth: Bandwidth = _NO_LIMIT, *, live: bool = True) -> Receipt:
        """Deliver frames; none is a sign of life. Raises LinkDown, Busy, NotTaken or Refused."""
        return _receipt(await self._ask("POST", "frames", join_frames(frames), bandwidth, live=live))

    async def receipt(self) -> Receipt:
        """What the cloud holds of every epoch. Raises LinkDown, Busy or Refused."""
        found = _receipt(await self._ask("GET", "receipt", b""))
        self.reach.remember()
        return found

    async def probe(self) -> bool:
        """Whether somebody listens at the cloud's address."""
        return await self.reach.probe()

    async def close(self) -> None:
        """Close all connections."""
        await self.reach.close()
        await self._http.aclose()

    async def _ask(
        self, method: str, path: str, body: bytes, bandwidth: Bandwidth = _NO_LIMIT, *, live: bool = True
    ) -> bytes:
        if self._trust is not None and self._transport is None and self._calendar_ms() is None:
            await self._hear_the_time()
        answer = await self._request(method, path, body, bandwidth, live=live)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._token = ""  # the clock may have been wrong: the answer has just mended it
            answer = await self._request(method, path, body, bandwidth, live=live)
        if answer.is_success:
            return answer.content
        if answer.status_code == _TOO_MANY or answer.is_server_error:
            raise Busy(answer.status_code, _retry_after_s(answer, self._clock.server_now_ms()))
        said = f"the cloud answered {answer.status_code}: {answer.text[:200]}"
        raise NotTaken(said) if body and answer.status_code in _OF_THE_BODY else Refused(said)

    async def _hear_the_time(self) -> None:
        """Ask without a token over a connection whose dates nobody can check yet, then close it."""
        answer, round_trip_ms = await self._send("GET", "receipt", b"", {})
        told_ms = _server_time_ms(answer.content)
        if told_ms is None:
            raise LinkDown("whoever answered did not say what time it is")
        self._heard = told_ms + round_trip_ms // 2, asyncio.get_running_loop().time()
        await self._http.aclose()
        self._http = self._connections()

    async def _request(
        self, method: str, path: str, body: bytes, bandwidth: Bandwidth, *, live: bool
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._bearer()}"}
        if body:
            headers |= {"Content-Type": CONTENT_TYPE, "Content-Length": str(len(body))}
        answer, round_trip_ms = await self._send(method, path, bandwidth.body(body, live=live), headers)
        told_ms = _server_time_ms(answer.content)
        if told_ms is not None:
            self._clock.server_answer(told_ms, round_trip_ms)
        return answer

    async def _send(
        self, method: str, path: str, body: bytes | AsyncIterator[bytes], headers: dict[str, str]
    ) -> tuple[httpx.Response, int]:
        """The answer, and how many ms it took."""
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        timeout = httpx.Timeout(ANSWER_TIMEOUT_S if body else SILENCE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        try:
            answer = await self._http.request(method, path, content=body, headers=headers, timeout=timeout)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._no_connection(error) from error
        except httpx.HTTPError as error:
            raise LinkDown(f"no answer from the cloud: {error or type(error).__name__}") from error
        return answer, round((loop.time() - started_s) * 1000)

    def _no_connection(self, error: httpx.HTTPError) -> LinkDown:
        reason = _tls_reason(error)
        if isinstance(reason, WrongDates) and self._heard is not None and self._clock.calendar_ms() is None:
            said = format_instant(self._heard[0])
            self._heard = None
            return Untrusted(f"{reason.strerror}; whoever answered said {said}, which is not believed")
        if isinstance(reason, ssl.SSLCertVerificationError):
            return Untrusted(f"the cloud did not prove who it is: {reason.strerror}")
        if reason is not None:
            return LinkDown(f"no encrypted connection to the cloud: {reason}")
        return Unreachable(f"cannot reach the cloud: {error or type(error).__name__}")

    def _calendar_ms(self) -> int | None:
        known_ms = self._clock.calendar_ms()
        if known_ms is not None or self._heard is None:
            return known_ms
        told_ms, when_s = self._heard
        return told_ms + round((asyncio.get_running_loop().time() - when_s) * 1000)

    def _connections(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._url,
            verify=self._trust or False,
            limits=httpx.Limits(
                max_connections=CONNECTIONS_MAX,
                max_keepalive_connections=CONNECTIONS_MAX,
                keepalive_expiry=KEEP_ALIVE_S,
            ),
            trust_env=False,
            transport=self._transport,
        )

    def _bearer(self) -> str:
        now_ms = self._clock.server_now_ms()
        left_ms = self._token_ends_ms - now_ms
        if not self._token or not TOKEN_RENEWED_BEFORE_MS < left_ms <= TOKEN_LIFETIME_MS:
            self._token_ends_ms = now_ms + TOKEN_LIFETIME_MS
            claims = {"sub": self._gateway, "aud": AUDIENCE, "exp": self._token_ends_ms // 1000}
            self._token = jwt.encode(claims, self._key, algorithm="EdDSA")
        return self._token


def _server_time_ms(content: bytes) -> int | None:
    """What an answer says of the time; None for one of something in between, a proxy perhaps."""
    try:
        return parse_instant(msgspec.json.decode(content, type=_ServerTime).server_time)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        return None


def _tls_reason(error: BaseException | None) -> ssl.SSLError | None:
    """What TLS did not like, if that is why there is no connection."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def _receipt(content: bytes) -> Receipt:
    try:
        return decode_receipt(content)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LinkDown(f"the answer is no Receipt: {error}") from error


def _retry_after_s(answer: httpx.Response, now_ms: int) -> float:
    """Seconds to wait, asked for as such or as an HTTP date (RFC 9110, 10.2.3); 0 when nothing readable is said."""
    text = answer.headers.get("Retry-After", "")
    if text.isdecimal():
        return min(float(text), RETRY_AFTER_S_MAX)
    try:
        until_ms = parsedate_to_datetime(text).timestamp() * 1000
    except (ValueError, OverflowError):
        return 0.0
    return min(max((until_ms - now_ms) / 1000, 0.0), RETRY_AFTER_S_MAX)
