"""What travels from the drivers to the filter."""

from collections.abc import Awaitable, Callable, Sequence

from devices.reading import Block, Pose, Text
from devices.records import Link
from edge.clock import Moment

Item = Block | Text | Pose | Link
Sink = Callable[[Sequence[Item], Moment], Awaitable[None]]
Stored = Callable[[float], Awaitable[int]]  # waits until what a sink took is on disk, within some seconds
