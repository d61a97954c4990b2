"""Indicators that people or other systems tell us: complaint response, satisfaction, greening, cleaning (R0-4, R0-9).

A definition and each value are inputs: append-only, with who, when and why. A value is valid for the period that it
is about. Windows and verdicts are those of every other indicator. What a window lacks of values lowers its coverage
and, where the definition says between what a value can lie, widens the bounds; else the bounds are not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal, TypeVar

import sqlalchemy as sa
import structlog
from pydantic import AfterValidator, Field

from cloud.facts.days import length_ms, merged
from cloud.facts.inputs import EVER_MS, Input, in_force
from cloud.facts.ledger_values import Name
from cloud.facts.tables_inputs import inputs
from cloud.indicators.definition import Better, Definition, IndicatorResult, Window, is_final, ratio
from cloud.indicators.targets import IndicatorId
from devices.document import Section

_log = structlog.get_logger(__name__)
_S = TypeVar("_S", bound=Section)
DEFINITION_KIND, VALUE_KIND = "indicator", "indicator-value"
DEFINITIONS_MAX = 2_000  # of a site, with those of every site
PLACES_MAX, DIGITS_MAX = 18, 40  # of a number that is told
VALUE_MAX = 10**15
DENOMINATOR_BITS_MAX = 200  # of a mean or sum; what needs more is rounded to 18 places
BUILT_IN = ("equipment.", "robot.", "parking.", "alarm.", "data.", "ledger.")


def _decimal(text: str) -> str:
    """Check a number in decimal notation: what it takes to write it out is bounded, too. Raises ValueError."""
    if len(text) > DIGITS_MAX:
        raise ValueError(f"expected at most {DIGITS_MAX} characters")
    try:
        number = Decimal(text)
    except ArithmeticError as error:
        raise ValueError("expected a number like 0.83 or 12") from error
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or number < 0 or number > VALUE_MAX:
        raise ValueError("expected a number from 0 to 10^15")
    if exponent < -PLACES_MAX or max(exponent, 0) + len(digits) > DIGITS_MAX:
        raise ValueError(f"expected at most {PLACES_MAX} places and {DIGITS_MAX} digits")
    try:
        Fraction(text)
    except ValueError as error:  # Decimal reads more than Fraction does, like 1__0
        raise ValueError("expected a number like 0.83 or 12") from error
    return text


Number = Annotated[str, AfterValidator(_decimal)]


class ImportedDefinition(Section):
    """What an imported indicator is. `minimum` and `maximum` bound what a value can be, where anything does."""

    id: IndicatorId
    name: Name
    value_unit: str = Field(default="ratio", max_length=50)
    better: Better = Better.HIGHER
    aggregate: Literal["mean", "last", "sum", "ratio"] = "mean"  # ratio: sum of numerators / sum of denominators
    origin: Literal["manual", "imported"] = "manual"
    default_window: Literal["24h", "today", "month"] = "month"
    minimum: Number | None = None
    maximum: Number | None = None
    source: str = Field(default="", max_length=500)

    @property
    def definition(self) -> Definition:
        """As the catalogue lists it."""
        return Definition(
            self.id, self.default_window, unit=self.value_unit, value_unit=self.value_unit, better=self.better,
            source=self.origin, recorded=("month",), decomposes=False,
        )  # fmt: skip


class ImportedValue(Section):
    """What was told for a period: a value, or numerator and denominator."""

    indicator: IndicatorId
    value: Number | None = None
    numerator: int | None = Field(default=None, ge=0, le=2**53)
    denominator: int | None = Field(default=None, ge=1, le=2**53)
    origin: Literal["manual", "imported"] = "manual"

    @property
    def exact(self) -> Fraction:
        """The value as a fraction. Raises ValueError where nothing was told."""
        if self.numerator is not None and self.denominator is not None:
            return Fraction(self.numerator, self.denominator)
        if self.value is None:
            raise ValueError("a value, or numerator and denominator")
        return Fraction(self.value)


@dataclass(frozen=True, slots=True)
class Told:
    """A value and the period that it is about."""

    value: ImportedValue
    from_ms: int
    to_ms: int
    entry: Input


def value_id(indicator: str, from_ms: int) -> str:
    """The id of the input: a later word about the same beginning is a further version of it."""
    return f"{indicator}@{from_ms}"


def definitions_of(own: Sequence[Input], shared: Sequence[Input]) -> dict[str, ImportedDefinition]:
    """Imported indicators of a site, by id; its own definition goes before one for every site."""
    found = {}
    for one in [*in_force(shared), *in_force(own)]:
        definition = read_input(one, ImportedDefinition)
        if definition is not None:
            found[definition.id] = definition
    return found


def told(connection: sa.Connection, site: str, window: Window) -> dict[str, list[Told]]:
    """Values whose period touches the window, by indicator and beginning; the newest word on each."""
    newer = inputs.alias()
    is_outdated = sa.exists().where(
        newer.c.site == inputs.c.site, newer.c.kind == inputs.c.kind, newer.c.id == inputs.c.id,
        newer.c.version > inputs.c.version,
    )  # fmt: skip
    before_ms = max(window.to_ms, window.from_ms + 1)
    chosen = sa.select(inputs).where(
        inputs.c.site == site, inputs.c.kind == VALUE_KIND, inputs.c.valid_from_ms < before_ms,
        sa.func.coalesce(inputs.c.valid_to_ms, EVER_MS) > window.from_ms, inputs.c.withdrawn.is_(False), ~is_outdated,
    )  # fmt: skip
    found: dict[str, list[Told]] = {}
    for row in connection.execute(chosen.order_by(inputs.c.valid_from_ms, inputs.c.id)).mappings():
        entry = Input(**row)
        value = read_input(entry, ImportedValue)
        if value is not None:
            found.setdefault(value.indicator, []).append(Told(value, *entry.span, entry))
    return found


def read_input(entry: Input, model: type[_S]) -> _S | None:
    """A document that was entered; None where rules of today would not let it in: it is left out, and it is said."""
    try:
        return model.model_validate_json(entry.document)
    except ValueError as error:
        _log.warning("an input cannot be read", site=entry.site, kind=entry.kind, id=entry.id, problem=str(error))
        return None


def first_told_ms(connection: sa.Connection, site: str) -> int | None:
    """The earliest moment that any value of a site is about."""
    mine = (inputs.c.site == site) & (inputs.c.kind == VALUE_KIND)
    first = connection.execute(sa.select(sa.func.min(inputs.c.valid_from_ms)).where(mine)).scalar_one()
    return None if first is None else int(first)


def imported_result(
    definition: ImportedDefinition, values: Sequence[Told], window: Window, now_ms: int
) -> IndicatorResult:  # fmt: skip
    """The indicator over a window from the values that touch it."""
    covered = merged((max(one.from_ms, window.from_ms), min(one.to_ms, window.to_ms)) for one in values)
    length = window.to_ms - window.from_ms
    coverage = ratio(length_ms([one for one in covered if one[0] < one[1]]), length) if length else None
    if not length and values:
        coverage = Fraction(1)
    value, made = _aggregated(definition, values, window)
    low, high = _bounds(definition, value, coverage)
    origins = sorted({one.value.origin for one in values})
    return IndicatorResult(
        id=definition.id, value=value, low=low, high=high, coverage=coverage, verdict=None, target=None,
        numerator=made[0], denominator=made[1], unit=definition.value_unit, window=window,
        value_unit=definition.value_unit, final=is_final(window, now_ms),
        parts={"numerator": made[0], "denominator": made[1]},
        details={"origin": "+".join(origins) or definition.origin, "values": len(values)},
    )  # fmt: skip


def _aggregated(
    definition: ImportedDefinition, values: Sequence[Told], window: Window
) -> tuple[Fraction | None, tuple[int, int]]:  # fmt: skip
    if not values:
        return None, (0, 0)
    if definition.aggregate == "last":
        value = values[-1].value.exact
    elif definition.aggregate == "sum":
        value = sum((one.value.exact for one in values), Fraction(0))
    elif definition.aggregate == "ratio":
        pairs = [one.value.exact.as_integer_ratio() if one.value.numerator is None else
                 (one.value.numerator, one.value.denominator or 1) for one in values]  # fmt: skip
        made = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
        return Fraction(*made), made
    else:
        weights = [max(min(one.to_ms, window.to_ms) - max(one.from_ms, window.from_ms), 0) for one in values]
        if not sum(weights):
            weights = [1] * len(values)
        weighted = sum((one.value.exact * weight for one, weight in zip(values, weights, strict=True)), Fraction(0))
        value = weighted / sum(weights)
    if value.denominator.bit_length() > DENOMINATOR_BITS_MAX:
        value = round(value, PLACES_MAX)
    return value, value.as_integer_ratio()


def _bounds(
    definition: ImportedDefinition, value: Fraction | None, coverage: Fraction | None
) -> tuple[Fraction | None, Fraction | None]:  # fmt: skip
    """Of what is missing of the window, the worst and the best that it can have been."""
    lowest = None if definition.minimum is None else Fraction(definition.minimum)
    highest = None if definition.maximum is None else Fraction(definition.maximum)
    if value is None or coverage is None:
        return lowest, highest
    if coverage == 1:
        return value, value
    if definition.aggregate == "sum":
        return value, None
    if definition.aggregate in {"last", "ratio"}:  # what is missing may be the last, or have any weight
        return lowest, highest
    known = value * coverage
    return (
        None if lowest is None else known + lowest * (1 - coverage),
        None if highest is None else known + highest * (1 - coverage),
    )
