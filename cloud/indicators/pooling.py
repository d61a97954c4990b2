"""Indicators that are made of sums: sites, groups and companies are pooled by adding the sums, never by averaging.

A number is a pure function of its sums, so the sums of an explanation give the number again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from cloud.indicators.asking import Asked
from cloud.indicators.definition import Definition, IndicatorResult, Window, is_final, ratio

Parts = Mapping[str, int]
Bounds = tuple[Fraction | None, Fraction | None, Fraction | None]


@dataclass(frozen=True, slots=True)
class Pooled:
    """An indicator that is made of sums: how they are found at a site, and what they make. Can be called on `Asked`."""

    definition: Definition
    parts: Callable[[Asked], Parts]
    made: Callable[[Definition, Parts], IndicatorResult]

    def __call__(self, asked: Asked) -> IndicatorResult:
        """The indicator of what is asked about."""
        result = self.of(self.parts(asked), asked.window, asked.now_ms)
        return replace(result, policy_version=asked.policy.version)

    def of(self, parts: Parts, window: Window, now_ms: int) -> IndicatorResult:
        """The number that sums make."""
        result = self.made(self.definition, parts)
        is_moment = window.from_ms == window.to_ms and self.definition.moment_unit is not None
        unit = self.definition.moment_unit if is_moment else result.unit
        return replace(result, window=window, final=is_final(window, now_ms), parts=dict(parts), unit=unit or "")

    def together(self, results: Iterable[IndicatorResult], window: Window, now_ms: int) -> IndicatorResult:
        """One number of several sites or groups: the ratio of the sums."""
        total: Counter[str] = Counter()
        for one in results:
            total.update(one.parts)
        return self.of(total, window, now_ms)


def share(
    definition: Definition, *, yes: int, no: int, unknown: int, excluded: int = 0
) -> IndicatorResult:  # fmt: skip
    """Of what is known, how much is so (domain.md 1.3): unknown is neither, it widens the bounds.

    `excluded` is what was not counted; its share is of everything together.
    """
    known, everything = yes + no, yes + no + unknown
    return result_of(
        definition,
        (ratio(yes, known), ratio(yes, everything), ratio(yes + unknown, everything)),
        coverage=ratio(known, everything),
        made=(yes, known),
        excluded=ratio(excluded, everything + excluded),
    )


def result_of(
    definition: Definition, bounds: Bounds, *, coverage: Fraction | None, made: tuple[int, int],
    excluded: Fraction | None = None, details: Mapping[str, int | str | None] | None = None,
) -> IndicatorResult:  # fmt: skip
    """A result without target; window and finality are filled in by `Pooled`. `made` is numerator, denominator."""
    value, low, high = bounds
    return IndicatorResult(
        id=definition.id, value=value, low=low, high=high, coverage=coverage, verdict=None, target=None,
        numerator=made[0], denominator=made[1], unit=definition.unit, window=Window(0, 0),
        value_unit=definition.value_unit, excluded=excluded, formula_version=definition.formula_version,
        details=details or {},
    )  # fmt: skip
