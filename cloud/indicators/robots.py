"""Area coverage of patrol robots. Formula and cases: domain.md 3.4.

AREA of a day is covered cells / cells of all zones that require patrol, with or without a robot. COVERAGE of a window
is the mean of its days weighted by their required hours. Legs that are unknown cover nothing, so the value is its own
low bound; the high bound is the mean over the days on which robots were lost for at most 10 % of the required hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

import numpy as np

from cloud.facts.days import Span
from cloud.facts.timelines import SILENT, UNKNOWN, Timeline
from cloud.indicators.definition import IndicatorResult, Verdict, Window, is_final, judge, ratio

COVERAGE = "robot.coverage"
LOST_SHARE_MAX = Fraction(1, 10)


@dataclass(frozen=True, slots=True)
class PatrolDay:
    """One scheduled day: its cells, its required time, and robot time within it (all robots together)."""

    cells_covered: int
    cells_required: int
    required_ms: int
    robot_ms: int  # required time times robots
    lost_ms: int  # of it, time in which nobody knew what the robot did

    @property
    def area(self) -> Fraction:
        """AREA(day)."""
        return Fraction(self.cells_covered, self.cells_required)


def lost_ms(robot: Timeline | None, spans: Sequence[Span]) -> int:
    """Time within disjoint spans in which a robot's state was unknown, also when it had last been faulty."""
    total = 0
    for begin, end in spans:
        part = robot.clipped(begin, end) if robot is not None else None
        if part is None or not len(part.starts):
            total += end - begin
            continue
        unheard = (part.codes == UNKNOWN) | (part.codes & SILENT != 0)
        known_ms = int((part.ends - part.starts)[~np.asarray(unheard)].sum())
        total += end - begin - known_ms
    return total


def coverage_result(days: Sequence[PatrolDay], window: Window, target: Fraction | None, now_ms: int) -> IndicatorResult:
    """COVERAGE over scheduled days. Null without zones or without required hours."""
    days = [day for day in days if day.required_ms and day.cells_required]
    value = _mean(days)
    # The bound must not lie below what was certainly covered, even if that was on days with lost robots.
    whole = _mean([day for day in days if day.lost_ms <= LOST_SHARE_MAX * day.robot_ms])
    high = None if whole is None or value is None else max(whole, value)
    numerator, denominator = _cells(days, value)
    robot_ms = sum(day.robot_ms for day in days)
    verdict = judge(value, high, target)
    if verdict is not None and high is None:
        verdict = Verdict.INDETERMINATE
    return IndicatorResult(
        id=COVERAGE,
        value=value,
        low=value,
        high=high,
        coverage=ratio(robot_ms - sum(day.lost_ms for day in days), robot_ms),
        verdict=verdict,
        target=target,
        numerator=numerator,
        denominator=denominator,
        unit="cells",
        window=window,
        final=is_final(window, now_ms),
    )


def _mean(days: Sequence[PatrolDay]) -> Fraction | None:
    weight = sum(day.required_ms for day in days)
    return sum((day.area * day.required_ms for day in days), Fraction(0)) / weight if weight else None


def _cells(days: Sequence[PatrolDay], value: Fraction | None) -> tuple[int, int]:
    """Whole numbers that make the value: cells, each day's as often as its weight says in the smallest terms."""
    if value is None:
        return 0, 0
    share = gcd(*(day.required_ms for day in days))
    numerator = sum(day.cells_covered * (day.required_ms // share) for day in days)
    denominator = sum(day.cells_required * (day.required_ms // share) for day in days)
    if Fraction(numerator, denominator) == value:
        return numerator, denominator
    return value.numerator, value.denominator  # zones changed between the days: a mean of unlike areas
