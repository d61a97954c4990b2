"""Sites in the order of one indicator over one period, and who stands at the bottom how often (R2-21). Pure.

Sites whose result is not known well enough have no place: to be unknown must neither help nor harm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from cloud.indicators.definition import Better, IndicatorResult
from cloud.indicators.policy import IndicatorPolicy


@dataclass(frozen=True, slots=True)
class Place:
    """A site's place, from 1; equal values share one. `is_bottom`: among the lowest percent of the policy."""

    site: str
    value: Fraction
    place: int
    is_bottom: bool


def ranked(
    results: Mapping[str, IndicatorResult], policy: IndicatorPolicy, better: Better = Better.HIGHER
) -> list[Place]:  # fmt: skip
    """The ranking of sites by their values; the bottom has at least one place where there are two sites or more."""
    least = Fraction(policy.benchmark_coverage_min_percent, 100)
    known = {
        site: one.value
        for site, one in results.items()
        if one.value is not None and one.coverage is not None and one.coverage >= least
    }
    sign = 1 if better is Better.HIGHER else -1
    order = sorted(known, key=lambda site: (-sign * known[site], site))
    bottom = -(-len(order) * policy.bottom_percent // 100) if len(order) > 1 else 0
    places: list[Place] = []
    for index, site in enumerate(order):
        same = places[-1].place if places and places[-1].value == known[site] else index + 1
        places.append(Place(site, known[site], same, is_bottom=index >= len(order) - bottom))
    return places


def bottom_running(rankings: Sequence[Sequence[Place]], site: str) -> int:
    """In how many of these periods (oldest first) up to the last a site stood at the bottom without a break."""
    running = 0
    for places in reversed(rankings):
        if not any(one.site == site and one.is_bottom for one in places):
            break
        running += 1
    return running


def bottom_cards(rankings: Sequence[Sequence[Place]], policy: IndicatorPolicy) -> list[str]:
    """Sites that get a yellow card because they stood at the bottom for the policy's number of periods running."""
    last = rankings[-1] if rankings else ()
    return [one.site for one in last if bottom_running(rankings, one.site) >= policy.bottom_periods]
