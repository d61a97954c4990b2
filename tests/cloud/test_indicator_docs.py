"""The documentation of indicators is the catalogue's."""

from fractions import Fraction
from pathlib import Path

import pytest

from cloud.indicators.catalogue import COMPUTATIONS, DEFINITIONS
from cloud.indicators.definition import Better, Verdict, judge
from cloud.indicators.described import BEGIN, END, table
from devices.words import LANGUAGES, catalogue

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "indicators.md"


def test_the_table_in_the_documentation_is_the_catalogue() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")

    assert text.split(BEGIN)[1].split(END)[0].strip() == table()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_indicator_has_a_name_and_a_formula_in_each_language(language: str) -> None:
    words = catalogue(language)

    assert {f"indicator.{one}.{what}" for one in DEFINITIONS for what in ("name", "formula")} <= set(words)


def test_what_is_defined_is_computed_and_the_reverse() -> None:
    assert set(DEFINITIONS) == set(COMPUTATIONS)
    assert len(DEFINITIONS) >= 20


def test_a_target_to_stay_below_is_judged_on_the_high_bound() -> None:
    low, high, target = Fraction(10), Fraction(20), Fraction(15)

    assert judge(low, high, target, Better.LOWER) is Verdict.INDETERMINATE
    assert judge(low, target, target, Better.LOWER) is Verdict.PASS
    assert judge(Fraction(16), high, target, Better.LOWER) is Verdict.FAIL
