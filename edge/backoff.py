"""How long to wait before trying again.

Exponential with full jitter, so that a thousand gateways do not knock at once.
"""

from random import Random

FIRST_S = 0.5
CAP_S = 60.0
LASTED_MIN_S = 10.0
DOUBLINGS_MAX = 20  # far above the cap; keeps the power from growing without end


class Backoff:
    """Waiting times that double up to `cap_s`, each drawn from 0 to the present bound."""

    def __init__(self, rng: Random, first_s: float = FIRST_S, cap_s: float = CAP_S) -> None:
        self._rng = rng
        self._first_s = first_s
        self._cap_s = cap_s
        self._failures = 0

    @property
    def _bound_s(self) -> float:
        return min(self._cap_s, self._first_s * 2.0**self._failures)

    def next_s(self) -> float:
        """Seconds to wait after one more failure."""
        bound_s = self._bound_s
        self._failures = min(self._failures + 1, DOUBLINGS_MAX)
        return self._rng.uniform(0.0, bound_s)

    def reset(self) -> None:
        """It worked: begin with short waits again."""
        self._failures = 0

    def lasted(self, seconds: float) -> None:
        """It worked that long although nothing proved it: enough when that is longer than the next wait can be."""
        if seconds > max(self._bound_s, LASTED_MIN_S):
            self.reset()
