"""What an indicator's result is: a value with its bounds, and how it is judged. Sources: domain.md 1.3 and 8.

Ratios are exact fractions between 0 and 1; None is "no data", never 0 and never 1.
"""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from devices.errors import Permanent

FINAL_AFTER_MS = 72 * 3_600_000  # late data are let in for this long after the end of a window


class UnknownIndicator(Permanent):
    """No indicator has this id."""


class BadWindow(Permanent):
    """A window that is no window: unknown name, or its end lies before its beginning."""


class Verdict(StrEnum):
    """Judged on the unfavourable bound."""

    PASS = "PASS"  # noqa: S105 - a verdict
    FAIL = "FAIL"
    INDETERMINATE = "INDETERMINATE"


@dataclass(frozen=True, slots=True)
class Window:
    """[from_ms, to_ms), Unix ms UTC. Empty for "at this moment"."""

    from_ms: int
    to_ms: int

    def __post_init__(self) -> None:
        if self.to_ms < self.from_ms:
            raise BadWindow("the window ends before it begins")


@dataclass(frozen=True, slots=True)
class IndicatorResult:
    """One number and how much it knows. `numerator` and `denominator` belong to `value` and are in `unit`."""

    id: str
    value: Fraction | None
    low: Fraction | None
    high: Fraction | None
    coverage: Fraction | None
    verdict: Verdict | None  # None when there is no target
    target: Fraction | None
    numerator: int
    denominator: int
    unit: str  # "ms", "cells", "cell_ms" or "spaces"
    window: Window
    revision: int = 1
    final: bool = False


def ratio(numerator: int, denominator: int) -> Fraction | None:
    """None on an empty denominator."""
    return Fraction(numerator, denominator) if denominator else None


def judge(low: Fraction | None, high: Fraction | None, target: Fraction | None) -> Verdict | None:
    """PASS when even the low bound reaches the target, FAIL when not even the high one does (domain.md 1.3)."""
    if target is None:
        return None
    if low is None or high is None:
        return Verdict.INDETERMINATE
    if low >= target:
        return Verdict.PASS
    return Verdict.FAIL if high < target else Verdict.INDETERMINATE


def is_final(window: Window, now_ms: int) -> bool:
    """Whether late data can no longer be expected."""
    return now_ms >= window.to_ms + FINAL_AFTER_MS
