"""Runs the drivers: one owner task per connection, deadline schedules, a breaker per unit, link records."""

from collections.abc import Awaitable, Callable, Sequence
from random import Random

from devices.reading import Block, Pose, Text
from devices.records import Link
from edge.clock import Moment
from edge.config import Site

Item = Block | Text | Pose | Link
Sink = Callable[[Sequence[Item], Moment], Awaitable[None]]


class Collector:
    """Reads every device of a site until cancelled.

    `sink` gets what was read, in order, with the moment of handling. It may wait (back-pressure): ticks
    missed meanwhile are coalesced and counted. `now` gives moments; `rate` is that of the clock, polls are
    as many times faster.
    """

    def __init__(
        self, site: Site, sink: Sink, now: Callable[[], Moment], *, rng: Random, rate: float = 1.0
    ) -> None:
        self._site = site
        self._sink = sink
        self._now = now
        self._rng = rng
        self._rate = rate

    async def run(self) -> None:
        """Poll and subscribe until cancelled. Never ends by itself; closes every connection on the way out."""
        raise NotImplementedError
