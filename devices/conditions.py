"""Rule conditions: thresholds with deadband, on-delay and off-delay.

The edge's local alerts and the cloud's rules step the same way. Pure: times are Unix ms UTC and come from the
caller.
"""

from dataclasses import dataclass, replace
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Delays:
    """How long a truth must last before a condition becomes active, and how long its end before it clears."""

    on_ms: int = 0
    off_ms: int = 0


@dataclass(frozen=True, slots=True)
class Condition:
    """Where a condition stands.

    `since_ms` is when the present state truly began (not when the delay ended), 0 for one that was never
    active. `pending_ms` is since when the opposite is observed, None while nothing waits for its delay.
    """

    active: bool = False
    since_ms: int = 0
    pending_ms: int | None = None

    def due_ms(self, delays: Delays) -> int | None:
        """When a step is due even if nothing new is observed; None when there is nothing to wait for."""
        if self.pending_ms is None:
            return None
        return self.pending_ms + (delays.off_ms if self.active else delays.on_ms)


def step(condition: Condition, delays: Delays, *, truth: bool | None, since_ms: int, now_ms: int) -> Condition:
    """The condition after `truth` was observed, which has held since `since_ms`.

    Unknown (None) neither raises nor clears, and what was waiting for its delay waits no longer. Delays count
    from `since_ms`, so that what is learned late takes effect at once; a time ahead of `now_ms` counts as now.
    """
    if truth is None or truth == condition.active:
        return condition if condition.pending_ms is None else replace(condition, pending_ms=None)
    began_ms = min(since_ms, now_ms)
    if now_ms - began_ms >= (delays.off_ms if condition.active else delays.on_ms):
        return Condition(active=truth, since_ms=began_ms)
    return replace(condition, pending_ms=began_ms)


def turns(condition: Condition, delays: Delays, *, truth: bool | None, since_ms: int) -> tuple[Condition, ...]:
    """Every condition in between, up to the one at the moment from which `truth` holds; the last one counts.

    For what is learned late and at once: what held until `since_ms` may have lasted its delay by then, and what holds
    from then on has not yet, whatever the time is now (`ripened`). Observations come in the order of `since_ms`.
    """
    ripe = ripened(condition, delays, since_ms)
    after = step(ripe, delays, truth=truth, since_ms=since_ms, now_ms=since_ms)
    return (after,) if ripe is condition else (ripe, after)


def ripened(condition: Condition, delays: Delays, now_ms: int) -> Condition:
    """The condition once time alone has passed: what waited for its delay has come true if that is over."""
    due_ms = condition.due_ms(delays)
    if due_ms is None or due_ms > now_ms:
        return condition
    return Condition(active=not condition.active, since_ms=condition.pending_ms or 0)


class Side(StrEnum):
    """On which side of its limit a value is wrong."""

    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit in the unit of the point. The value must come back by `deadband` before it is right again."""

    side: Side
    limit: float
    deadband: float = 0.0


def exceeded(threshold: Threshold, value: float | None, *, was: bool) -> bool | None:
    """Whether `value` is beyond the threshold, given whether it `was`; None for no value (NaN included)."""
    if value is None or value != value:  # noqa: PLR0124  the test for NaN
        return None
    beyond = value - threshold.limit if threshold.side is Side.ABOVE else threshold.limit - value
    return beyond > (-threshold.deadband if was else 0.0)
