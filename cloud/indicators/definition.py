"""What an indicator's result is: a value with its bounds, and how it is judged. Sources: domain.md 1.3 and 8.

Values are exact fractions in the unit their definition names; None is "no data", never 0 and never 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

from devices.errors import Permanent

FINAL_AFTER_MS = 72 * 3_600_000  # late data are let in for this long after the end of a window


class UnknownIndicator(Permanent):
    """No indicator has this id."""


class BadWindow(Permanent):
    """A window that is no window: unknown name, or its end lies before its beginning."""


class UnknownGrouping(Permanent):
    """An indicator cannot be asked by this."""


class Better(StrEnum):
    """Which side of its target a value should lie on."""

    HIGHER = "higher"
    LOWER = "lower"


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
class Definition:
    """What an indicator is, for the catalogue and for whoever judges it (R0-4, R0-13).

    `formula` and `counts` are keys of the catalogue of words. `unit` is that of numerator and denominator,
    `value_unit` that of value, bounds and target. `formula_version` grows when the same facts would give another value.
    """

    id: str
    default_window: str = "24h"
    unit: str = "ms"
    value_unit: str = "ratio"
    better: Better = Better.HIGHER
    formula_version: int = 1
    source: str = "frames"  # or imported, manual
    by: tuple[str, ...] = ()  # groupings that it can be asked by
    recorded: tuple[str, ...] = ()  # windows that are issued: "day", "month"
    decomposes: bool = True  # False: parts of the site do not add up to it
    moment_unit: str | None = None  # `unit` where the window is a moment


@dataclass(frozen=True, slots=True, order=True)
class FrameRange:
    """Frames of one epoch that bear on a number: first and last seq, inclusive."""

    gateway: str
    lane: str
    epoch: str  # hex
    first_seq: int
    last_seq: int


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
    value_unit: str = "ratio"  # of value, low, high and target
    excluded: Fraction | None = None  # share of the required time (or things) that was not counted
    formula_version: int = 1
    policy_version: str = "default"
    target_version: str = "default"
    inputs: tuple[FrameRange, ...] = ()
    group: tuple[str, str] | None = None  # what it is of, when it was asked `by` something: ("class", "lift")
    parts: Mapping[str, int] = field(default_factory=dict)  # sums that the number is made of; those of sites add up
    details: Mapping[str, int | str | None] = field(default_factory=dict)  # beside the number: peak, open failures


def ratio(numerator: int, denominator: int) -> Fraction | None:
    """None on an empty denominator."""
    return Fraction(numerator, denominator) if denominator else None


def judge(
    low: Fraction | None, high: Fraction | None, target: Fraction | None, better: Better = Better.HIGHER
) -> Verdict | None:
    """PASS when even the unfavourable bound reaches the target, FAIL when not even the other does (domain.md 1.3)."""
    if target is None:
        return None
    if low is None or high is None:
        return Verdict.INDETERMINATE
    if better is Better.LOWER:
        low, high, target = -high, -low, -target
    if low >= target:
        return Verdict.PASS
    return Verdict.FAIL if high < target else Verdict.INDETERMINATE


def is_final(window: Window, now_ms: int) -> bool:
    """Whether late data can no longer be expected."""
    return now_ms >= window.to_ms + FINAL_AFTER_MS
