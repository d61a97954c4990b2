"""Waiting for a condition: the one place in the tests that lets time pass."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

PATIENCE_S = 30.0  # many times what anything here takes; only a failure waits that long
POLL_S = 0.02
Found = TypeVar("Found")


async def until(
    condition: Callable[[], Found | None], what: str = "the condition", patience_s: float = PATIENCE_S
) -> Found:
    """Wait until the condition gives something true and return that. AssertionError says what never came."""

    async def asked() -> Found | None:
        return condition()

    return await eventually(asked, what, patience_s)


async def eventually(
    condition: Callable[[], Awaitable[Found | None]], what: str = "the condition", patience_s: float = PATIENCE_S
) -> Found:
    """As `until`, for a condition that must be awaited."""
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        found = await condition()
        if found:
            return found
        assert asyncio.get_running_loop().time() < deadline, f"waited {patience_s} s for {what}"
        await asyncio.sleep(POLL_S)


def wait_until(
    condition: Callable[[], Found | None], what: str = "the condition", patience_s: float = PATIENCE_S
) -> Found:
    """As `until`, where no event loop runs."""
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {patience_s} s for {what}"
        time.sleep(POLL_S)
    return found
