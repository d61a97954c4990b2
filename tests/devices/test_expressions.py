import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import ConfigurationError
from devices.expressions import TEXT_CHARACTERS_MAX, parse_expression

POINTS = ("a", "b", "status", "mode")
LABELS = {"mode": {"auto": 1.0, "off": 0.0}}


def truth(text: str, **values: float | None) -> bool | None:
    return parse_expression(text, POINTS, labels=LABELS).evaluate(values)


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("bit(status, 3)", {"status": 8}, True),
        ("bit(status, 3)", {"status": 7}, False),
        ("bit(status, 15)", {"status": -1}, True),
        ("any_bit(status, 0, 1, 5)", {"status": 32}, True),
        ("any_bit(status, 0, 1, 5)", {"status": 64}, False),
        ("any_nibble(status, 3, 4)", {"status": 0x0030}, True),
        ("any_nibble(status, 3, 4)", {"status": 0x4F20}, True),
        ("any_nibble(status, 3, 4)", {"status": 0xF52F}, False),
        ("any_nibble(status, 3, 4)", {"status": 0}, False),
        ("abs(a) > 1", {"a": -2}, True),
        ("-1 <= a < 1", {"a": 0.5}, True),
        ("-1 <= a < 1", {"a": 1}, False),
        ("mode == 'auto'", {"mode": 1}, True),
        ("mode != 'auto'", {"mode": 1}, False),
        ("'off' == mode", {"mode": 0}, True),
        ("a == b", {"a": 2, "b": 2}, True),
        ("a and not b", {"a": 1, "b": 0}, True),
        ("  a  ", {"a": -0.5}, True),
        ("a > 1 or b > 1", {"a": 0, "b": 2}, True),
    ],
)
def test_a_condition_is_judged(text: str, values: dict[str, float], expected: bool) -> None:  # noqa: FBT001
    assert truth(text, **values) is expected


@pytest.mark.parametrize("unknown", [{}, {"a": None}, {"a": math.nan}])
def test_what_is_missing_none_or_nan_is_unknown(unknown: dict[str, float | None]) -> None:
    assert truth("a", **unknown) is None
    assert truth("a > 1", **unknown) is None
    assert truth("abs(a) < 1", **unknown) is None
    assert truth("bit(a, 1)", **unknown) is None
    assert truth("any_nibble(a, 1)", **unknown) is None
    assert truth("a != 1", **unknown) is None


def test_an_infinite_value_has_no_bits() -> None:
    assert truth("bit(a, 1)", a=math.inf) is None


KLEENE = {True: 1.0, False: 0.0, None: None}


@given(st.sampled_from([True, False, None]), st.sampled_from([True, False, None]))
def test_logic_is_kleenes(left: bool | None, right: bool | None) -> None:  # noqa: FBT001
    order = [False, None, True]
    lower = order[min(order.index(left), order.index(right))]
    upper = order[max(order.index(left), order.index(right))]
    values = {"a": KLEENE[left], "b": KLEENE[right]}

    assert truth("a and b", **values) is lower
    assert truth("a or b", **values) is upper
    assert truth("not a", **values) is order[2 - order.index(left)]


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("bit(statu, 3)", 5, "unknown point 'statu'"),
        ("a > > b", 5, "not an expression"),
        ("a + b", 1, "expected a condition"),
        ("a > b + 1", 5, "expected a point, a number"),
        ("__import__('os')", 1, "expected a condition"),
        ("a.real > 1", 1, "expected a point"),
        ("(lambda: 1)()", 1, "expected a condition"),
        ("bit(status)", 1, "expected bit"),
        ("bit(status, 1, 2)", 1, "one bit number"),
        ("bit(status, 53)", 13, "whole number from 0 to 52"),
        ("bit(status, -1)", 13, "whole number"),
        ("bit(status, True)", 13, "whole number"),
        ("bit(3, 1)", 1, "expected bit"),
        ("any_bit(status)", 1, "expected bit"),
        ("any_nibble(status)", 1, "expected any_nibble"),
        ("any_nibble(status, 16)", 20, "a whole number from 1 to 15"),
        ("any_nibble(status, 0)", 20, "a whole number from 1 to 15"),
        ("abs(a, b) > 1", 1, "expected a point"),
        ("abs(a)", 1, "expected a condition"),
        ("1", 1, "expected a condition"),
        ("True", 1, "expected a condition"),
        ("1 < 2", 1, "at least one side"),
        ("a > 1e999", 5, "finite"),
        ("a is b", 1, "expected one of <"),
        ("a in b", 1, "expected one of <"),
        ("mode == 'manual'", 9, "unknown label 'manual': expected one of auto, off"),
        ("a == 'auto'", 6, "enum on the other side"),
        ("mode > 'auto'", 8, "only be compared with"),
        ("a if b else a", 1, "expected a condition"),
        ("a := 1", 3, "not an expression"),
        ("", 1, "not an expression"),
        ("a\x00", 1, "not an expression"),
        ("a > " + "-" * 30 + "1", 25, "nested 20 deep"),
        ("not " * 60 + "a", 85, "nested 20 deep"),
        ("any_bit(a, " + "0," * 250 + "0)", 410, "at most 200 parts"),
        ("a or " * 250 + "a", 1, f"at most {TEXT_CHARACTERS_MAX} characters"),
        ("(" * 500 + "a" + ")" * 400, 1, ""),
    ],
)
def test_what_is_not_in_the_language_is_refused_with_its_column(text: str, column: int, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        truth(text)

    assert message in str(caught.value)
    assert caught.value.problems[0].column == column or not message


@given(st.text(alphabet="ab01 ()<>=!&|+-*/.,'\"notrdbi[]{}:\\\n", max_size=60))
def test_any_text_is_judged_or_refused(text: str) -> None:
    with suppress(ConfigurationError):
        assert truth(text, a=1.0) in {True, False, None}


def test_an_expression_knows_its_points() -> None:
    assert parse_expression("bit(status, 2) and abs(a) > 1", POINTS).points == {"status", "a"}


def test_the_comparisons_of_analogue_points_change_exactly_when_one_flips() -> None:
    rule = parse_expression("bit(status, 2) and abs(a) > 1 and b < 5 and a < 100", POINTS, analogue={"a", "b"})

    assert rule.comparisons({"status": 4, "a": 0.5, "b": 1}) == (False, True, True)
    assert rule.comparisons({"status": 0, "a": 0.7, "b": 2}) == (False, True, True)
    assert rule.comparisons({"status": 0, "a": 2}) == (True, None, True)
    assert rule.comparisons({"a": 2}, point="b") == (None,)
    assert parse_expression("status == 2", POINTS, analogue={"a"}).comparisons({"status": 2}) == ()
