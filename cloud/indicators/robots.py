"""Area coverage of patrol robots. Formula and cases: domain.md 3.4.

AREA of a day is covered cells / cells of all zones that require patrol, with or without a robot; cells are those of
0.5 m (quarter square metres), so one of a 1 m grid counts as four. COVERAGE of a window is the mean of its days
weighted by their required hours. Legs that are unknown cover nothing, so the value is its own low bound; the high bound
is the mean over the days on which robots were lost for at most 10 % of the required hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from cloud.facts.days import Span, length_ms
from cloud.facts.timelines import SILENT, UNKNOWN, Timeline
from cloud.indicators.definition import IndicatorResult, Verdict, Window, is_final, judge, ratio

COVERAGE = "robot.coverage"
CELLS, CELL_MS = "cells", "cell_ms"
INTEGER_MAX = 2**53  # what every reader of JSON takes exactly
LOST_SHARE_MAX = Fraction(1, 10)


@dataclass(frozen=True, slots=True)
class PatrolDay:
    """One scheduled day: its cells (quarter square metres), its required time, robot time within it (all together)."""

    cells_covered: int
    cells_required: int
    required_ms: int
    robot_ms: int  # required time times robots
    lost_ms: int  # of it, time in which nobody knew what the robot did
    begun: bool = True  # False: before the site was commissioned, or before anything was ever heard of it

    @property
    def area(self) -> Fraction:
        """AREA(day)."""
        return Fraction(self.cells_covered, self.cells_required)


def lost_ms(robot: Timeline | None, spans: Sequence[Span]) -> int:
    """Time within disjoint spans in which a robot's state was unknown, also when it had last been faulty."""
    return length_ms(lost_spans(robot, spans))


def lost_spans(robot: Timeline | None, spans: Sequence[Span]) -> list[Span]:
    """The parts of disjoint spans in which a robot's state was unknown, also when it had last been faulty."""
    lost: list[Span] = []
    for begin, end in spans:
        part = robot.clipped(begin, end) if robot is not None else None
        if part is None or not len(part.starts):
            lost.append((begin, end))
            continue
        unheard = np.asarray((part.codes == UNKNOWN) | (part.codes & SILENT != 0))
        lost += [(begin, int(part.starts[0]))] if part.starts[0] > begin else []
        lost += zip(part.starts[unheard].tolist(), part.ends[unheard].tolist(), strict=True)
        lost += [(part.end_ms, end)] if part.end_ms < end else []
    return lost


def coverage_result(days: Sequence[PatrolDay], window: Window, target: Fraction | None, now_ms: int) -> IndicatorResult:
    """COVERAGE over scheduled days. Null without zones, without required hours, or before the site began."""
    patrolled = [day for day in days if day.begun and day.required_ms and day.cells_required]
    value = _mean(patrolled)
    # The bound must not lie below what was certainly covered, even if that was on days with lost robots.
    whole = _mean([day for day in patrolled if day.lost_ms <= LOST_SHARE_MAX * day.robot_ms])
    high = None if whole is None or value is None else max(whole, value)
    numerator, denominator, unit = _integers(patrolled)
    robot_ms = sum(day.robot_ms for day in patrolled)
    verdict = judge(value, high, target)
    if verdict is not None and high is None:
        verdict = Verdict.INDETERMINATE
    return IndicatorResult(
        id=COVERAGE,
        value=value,
        low=value,
        high=high,
        coverage=ratio(robot_ms - sum(day.lost_ms for day in patrolled), robot_ms),
        verdict=verdict,
        target=target,
        numerator=numerator,
        denominator=denominator,
        unit=unit,
        window=window,
        final=is_final(window, now_ms),
    )


def _mean(days: Sequence[PatrolDay]) -> Fraction | None:
    weight = sum(day.required_ms for day in days)
    return sum((day.area * day.required_ms for day in days), Fraction(0)) / weight if weight else None


def _integers(days: Sequence[PatrolDay]) -> tuple[int, int, str]:
    """Whole numbers that make the value, and their unit: cells of one day, else cells times required ms of each day.

    Zones that changed between the days make unlike areas; each then counts on the scale that all of them divide.
    """
    if len(days) <= 1:
        return sum(day.cells_covered for day in days), sum(day.cells_required for day in days), CELLS
    scale = lcm(*(day.cells_required for day in days))
    numerator = sum(day.cells_covered * (scale // day.cells_required) * day.required_ms for day in days)
    denominator = scale * sum(day.required_ms for day in days)
    shared = gcd(numerator, denominator) if denominator > INTEGER_MAX else 1
    return numerator // shared, denominator // shared, CELL_MS
