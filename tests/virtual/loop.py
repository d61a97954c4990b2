"""An event loop whose time is simulated: it jumps to the next timer when nothing is ready, and waits for nothing.

What would run in threads runs at once, so a run has one order, which its seed decides. `time.monotonic` and the
wall clock follow the loop while `virtual_time` is entered.
"""

import asyncio
import math
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
HELD_S = 30.0  # real seconds


class NothingLeft(RuntimeError):
    """Everybody waits for somebody else: no timer is set and nothing can ever happen."""


class _JumpingSelector(selectors.SelectSelector):
    """Never blocks: when nothing is ready it lets time jump to where it should have waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.held = 0  # how many wait for a real thread: meanwhile time stands

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = []
        if self.held and timeout != 0:
            ready = super().select(HELD_S)
            if not ready:
                raise NothingLeft(f"a thread has not answered for {HELD_S} s")
        elif timeout is None:
            ready = super().select(0)
            if not ready:
                raise NothingLeft("the simulated world stands still")
        elif timeout > 0:
            self.now_s += timeout
        else:  # however little, time moves on: who waits for a moment that is all but now must see it come
            self.now_s = math.nextafter(self.now_s, math.inf)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop on simulated time, in seconds from 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Simulated seconds."""
        return self._jumping.now_s

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let time stand while a real thread is waited for."""
        self._jumping.held += 1
        try:
            yield
        finally:
            self._jumping.held -= 1

    def run_in_executor(self, _: Executor | None, func: Callable[..., T], *args: object) -> "asyncio.Future[T]":
        """At once: what a thread would do takes no simulated time."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except BaseException as error:
            if not isinstance(error, Exception):
                raise
            future.set_exception(error)  # as a thread would hand it on
        return future


@contextmanager
def virtual_time(start_ms: int) -> Iterator[VirtualLoop]:
    """A loop that begins at a wall time (Unix ms UTC); the process's clocks show its time meanwhile."""
    loop = VirtualLoop()
    real: Mapping[str, Callable[..., Any]] = {name: getattr(time, name) for name in ("monotonic", "time", "time_ns")}
    time.monotonic = loop.time
    time.time = lambda: start_ms / 1000 + loop.time()
    time.time_ns = lambda: start_ms * 1_000_000 + round(loop.time() * 1_000_000_000)
    try:
        yield loop
    finally:
        for name, function in real.items():
            setattr(time, name, function)
        loop.close()


def run_virtually(start_ms: int, work: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run to the end in simulated time."""
    with virtual_time(start_ms) as loop:
        try:
            return loop.run_until_complete(work(loop))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
