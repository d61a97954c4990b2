"""Waiting for a condition: the one place in the tests that lets time pass."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

PATIENCE_S = 30.0  # many times what anything here takes; only a failure waits that long
POLL_S = 0.02
Found = TypeVar("Found")


async def until(
    condition: Callable[[], Awaitable[Found] | Found], what: str = "the condition", patience_s: float = PATIENCE_S
) -> Found:
    """Wait until the condition gives something true and return that. AssertionError says what never came."""
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        found = condition()
        value = await found if inspect.isawaitable(found) else found
        if value:
            return value
        assert asyncio.get_running_loop().time() < deadline, f"waited {patience_s} s for {what}"
        await asyncio.sleep(POLL_S)
