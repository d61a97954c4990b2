"""Spot checks: which equipment somebody goes and looks at, and how often the book was wrong. Pure; domain.md 7.

The sample follows from a seed that is said before anybody looks, so that nobody can choose what is looked at, and
anybody can draw it again.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from devices.errors import Permanent

SHARE_MIN = 20  # percent
Z_95 = 1.959963984540054  # standard normal, two-sided 95 %


def sample(seed: str, things: Iterable[str], percent: int = SHARE_MIN) -> list[str]:
    """At least this share of the things, rounded up, in the order of the draw. Raises Permanent below 20 %."""
    if not SHARE_MIN <= percent <= 100:
        raise Permanent(f"a sample has {SHARE_MIN} to 100 percent")
    if not seed:
        raise Permanent("a sample needs a seed")
    known = sorted(set(things))
    drawn = sorted(known, key=lambda thing: hashlib.sha256(f"{seed}\0{thing}".encode()).digest())
    return drawn[: -(-len(known) * percent // 100)]


@dataclass(frozen=True, slots=True)
class Mismatches:
    """Of `checked` things `wrong` were not as the book said; with the Wilson interval of the rate at 95 %."""

    checked: int
    wrong: int

    @property
    def interval(self) -> tuple[float, float] | None:
        """Bounds of the true rate; None when nothing was checked. Wilson (1927)."""
        if not self.checked:
            return None
        count, rate = self.checked, self.wrong / self.checked
        middle = rate + Z_95**2 / (2 * count)
        half = Z_95 * math.sqrt(rate * (1 - rate) / count + Z_95**2 / (4 * count**2))
        scale = 1 + Z_95**2 / count
        return max((middle - half) / scale, 0.0), min((middle + half) / scale, 1.0)


def mismatches(drawn: Sequence[str], found: Iterable[tuple[str, bool]]) -> tuple[Mismatches, list[str]]:
    """What was found of a sample (thing, as the book says), and what of it nobody has looked at yet.

    What was not drawn does not count: it was chosen by somebody. Of several looks at one thing the last one counts.
    """
    looked = {thing: right for thing, right in found if thing in set(drawn)}
    wrong = sum(1 for right in looked.values() if not right)
    return Mismatches(len(looked), wrong), [thing for thing in drawn if thing not in looked]
