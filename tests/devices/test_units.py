import pytest

from devices.errors import Permanent
from devices.units import CANONICAL, CONVERSIONS, conversion, convert


def test_every_conversion_ends_in_a_canonical_unit() -> None:
    assert {found.unit for found in CONVERSIONS.values()} == set(CANONICAL)


@pytest.mark.parametrize(
    ("value", "unit", "expected", "canonical"),
    [
        (1.5, "kW", 1500.0, "W"),
        (2.0, "kWh", 2000.0, "Wh"),
        (313.15, "K", 40.0, "degC"),
        (212.0, "degF", 100.0, "degC"),
        (1.2, "bar", 120_000.0, "Pa"),
        (36.0, "km/h", 10.0, "m/s"),
        (10.0, "l/s", 36.0, "m3/h"),
        (55.0, "min", 3300.0, "s"),
        (230.4, "V", 230.4, "V"),
    ],
)
def test_a_value_is_turned_into_its_canonical_unit(value: float, unit: str, expected: float, canonical: str) -> None:
    converted, found = convert(value, unit)

    assert (round(converted, 9), found) == (expected, canonical)


def test_an_unknown_unit_is_refused_with_the_list() -> None:
    with pytest.raises(Permanent, match="unknown unit 'furlong': expected one of V, A, W"):
        conversion("furlong")
