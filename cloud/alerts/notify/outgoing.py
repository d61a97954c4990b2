"""HTTP to where people asked us to: only to addresses that are somebody else's, never on to another one.

The name is resolved here and the very address that was checked is connected to, so that a name which means something
else a moment later leads nowhere.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Mapping

import httpx

from devices.errors import Permanent, Transient

TIMEOUT_S = 10.0
ANSWER_BYTES_MAX = 100_000
_RETRIED = frozenset({408, 425, 429})
# IPv6 addresses behind which a router may put any IPv4 address: IPv4-compatible, NAT64 (RFC 6052, 8215), 6to4.
_IPV4_INSIDE = tuple(map(ipaddress.IPv6Network, ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16")))


class Refused(Permanent):
    """The receiver does not want this, or may not be asked."""


class Unreachable(Transient):
    """It may work later."""


class NotYet(Transient):
    """Nothing is wrong: the receiver takes more in `wait_ms`."""

    def __init__(self, wait_ms: int) -> None:
        self.wait_ms = wait_ms
        super().__init__(f"the next message may go in {wait_ms} ms")


async def checked_address(host: str, port: int, *, allow_private: bool) -> str:
    """An address of the host. Raises Refused for one of a private network, Unreachable when there is none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreachable(f"{host} has no address: {error}") from error
    except (UnicodeError, OverflowError) as error:
        raise Refused(f"{host[:80]} cannot be asked: {error}") from error
    addresses = [str(one[4][0]) for one in found]
    if not allow_private and not all(_is_public(address) for address in addresses):
        raise Refused(f"{host} is an address of a private network; a channel must allow that")
    return addresses[0]


def _is_public(address: str) -> bool:
    one = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(one, "ipv4_mapped", None)
    if any(one in network for network in _IPV4_INSIDE):
        return False
    return (mapped or one).is_global and not one.is_multicast


async def post(url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> bytes:
    """Post a body; the answer's. Raises Refused or Unreachable."""
    target = httpx.URL(url)
    port = target.port or (443 if target.scheme == "https" else 80)
    address = await checked_address(target.host, port, allow_private=allow_private)
    sent = {"Host": target.netloc.decode(), **headers}
    extensions = {"sni_hostname": target.host} if target.scheme == "https" else {}
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            where = target.copy_with(host=address)
            async with client.stream("POST", where, content=body, headers=sent, extensions=extensions) as answer:
                text = await _read(answer)
    except httpx.HTTPError as error:
        raise Unreachable(f"{target.host}: {error or type(error).__name__}") from error
    if answer.is_success:
        return text
    if answer.status_code in _RETRIED or answer.status_code >= 500:
        raise Unreachable(f"{target.host} answered {answer.status_code}")
    what = "wants us to go elsewhere" if answer.is_redirect else f"answered {answer.status_code}"
    raise Refused(f"{target.host} {what}")


async def _read(answer: httpx.Response) -> bytes:
    taken = bytearray()
    async for part in answer.aiter_bytes():
        taken += part
        if len(taken) > ANSWER_BYTES_MAX:
            break
    return bytes(taken)
