"""Whether somebody listens at the cloud's address: how the uplink notices that a link is back.

A connect that is given up at once costs the cloud less than a request, works through any number of routers, where a
watch on this machine's own interfaces sees the nearest cable only, and needs no privileges.
"""

import asyncio
import socket

PROBE_TIMEOUT_S = 1.5  # a lost first packet is sent again after 1 s
ADDRESSES_MAX = 2
Address = tuple[str, int] | tuple[str, int, int, int]


class Reach:
    """Probes one host and port. One lookup at a time: a resolver without a link holds a thread for long."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._addresses: tuple[tuple[int, Address], ...] = ()
        self._lookup: asyncio.Task[None] | None = None

    def remember(self) -> None:
        """Look the addresses up while that works: without a link the name cannot be resolved."""
        if self._lookup is None or self._lookup.done():
            self._lookup = asyncio.create_task(self._look_up(), name="uplink-lookup")

    async def probe(self) -> bool:
        """Whether somebody takes a connection."""
        if not self._addresses:
            self.remember()
            if self._lookup is not None:
                await asyncio.wait({self._lookup}, timeout=PROBE_TIMEOUT_S)
        for family, address in self._addresses[:ADDRESSES_MAX]:
            if await _connects(family, address):
                return True
        return False

    async def close(self) -> None:
        """Give up what is being looked up."""
        if self._lookup is not None:
            self._lookup.cancel()
            await asyncio.wait({self._lookup})

    async def _look_up(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError:
            return  # what is known stays
        self._addresses = tuple((family, address) for family, _, _, _, address in found)  # type: ignore[misc]


async def _connects(family: int, address: Address) -> bool:
    loop = asyncio.get_running_loop()
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await loop.sock_connect(probe, address)
        except (OSError, TimeoutError):
            return False
    return True
