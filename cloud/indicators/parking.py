"""Parking occupancy: at a moment, and averaged over a window. domain.md 4."""

from fractions import Fraction

from cloud.facts.sessions import Occupancy
from cloud.indicators.definition import IndicatorResult, Window, is_final, judge, ratio

OCCUPANCY = "parking.occupancy"


def occupancy_result(counted: Occupancy, window: Window, target: Fraction | None, now_ms: int) -> IndicatorResult:
    """Occupied / known; low as if all unknown were free, high as if all were taken."""
    low, high = ratio(counted.occupied, counted.open), ratio(counted.occupied + counted.unknown, counted.open)
    return IndicatorResult(
        id=OCCUPANCY,
        value=ratio(counted.occupied, counted.known),
        low=low,
        high=high,
        coverage=ratio(counted.known, counted.open),
        verdict=judge(low, high, target),
        target=target,
        numerator=counted.occupied,
        denominator=counted.known,
        unit="spaces" if window.from_ms == window.to_ms else "ms",
        window=window,
        final=is_final(window, now_ms),
        details={"estimated": counted.estimated} if counted.estimated else {},
    )
