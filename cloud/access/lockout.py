"""How long somebody waits after wrong passwords: for each name and address, doubling, forgotten after an hour.

Kept in memory: a restart forgives, which an attacker cannot cause. Bounded: the oldest entries go first.
"""

from collections import OrderedDict
from dataclasses import dataclass

FREE_TRIES = 3
FIRST_WAIT_MS = 1_000
WAIT_MS_MAX = 15 * 60_000
FORGOTTEN_MS = 60 * 60_000
ENTRIES_MAX = 10_000


@dataclass(slots=True)
class _Tries:
    failed: int
    last_ms: int


class Lockout:
    """Counts wrong passwords by (name, address)."""

    def __init__(self) -> None:
        self._tries: OrderedDict[tuple[str, str], _Tries] = OrderedDict()

    def wait_ms(self, name: str, address: str, now_ms: int) -> int:
        """How long until the next try is looked at; 0 when it may be now."""
        tries = self._tries.get((name, address))
        if tries is None or tries.failed < FREE_TRIES or now_ms - tries.last_ms >= FORGOTTEN_MS:
            return 0
        wait = min(FIRST_WAIT_MS << min(tries.failed - FREE_TRIES, 20), WAIT_MS_MAX)
        return max(tries.last_ms + wait - now_ms, 0)

    def failed(self, name: str, address: str, now_ms: int) -> None:
        """Note a wrong password."""
        tries = self._tries.pop((name, address), _Tries(0, now_ms))
        if now_ms - tries.last_ms >= FORGOTTEN_MS:
            tries.failed = 0
        self._tries[name, address] = _Tries(tries.failed + 1, now_ms)
        while len(self._tries) > ENTRIES_MAX:
            self._tries.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget what failed before."""
        self._tries.pop((name, address), None)
