"""The language of state rules: conditions over the points of one device (design.md section 7).

Point ids, finite numbers, labels of enumerations in quotes, comparisons, `and or not`, `abs(p)`, `bit(p, n)`,
`any_bit(p, 0, 1, 5)`, `any_nibble(p, 3, 4)` (whether one of the 4-bit fields holds 3 or 4). Three-valued (Kleene): a
point that is missing, None or NaN is unknown, and a condition is unknown when its truth hangs on what is unknown.
Parsed with `ast` and a white list; nothing is ever executed.
"""

import ast
import math
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from devices.errors import ConfigurationError, Problem

TEXT_CHARACTERS_MAX = 1000
DEPTH_MAX = 20
NODES_MAX = 200
BIT_MAX = 52  # float64 holds integers exactly up to 2**53
NIBBLE_MAX = 15
RESERVED = frozenset({"abs", "bit", "any_bit", "any_nibble"})

Values = Mapping[str, float | None]
Truth = bool | None
Condition = Callable[[Values], Truth]
Number = Callable[[Values], float]
Labels = Mapping[str, Mapping[str, float]]

_COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class ExpressionMistake(ValueError):
    """What is wrong with an expression, and at which character (from 0)."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True, eq=False)
class _Comparison:
    points: frozenset[str]
    condition: Condition


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A condition ready to be asked."""

    text: str
    points: frozenset[str]
    condition: Condition
    compared: tuple[_Comparison, ...]

    def evaluate(self, values: Values) -> Truth:
        """True, False, or None when the values known do not decide it."""
        return self.condition(values)

    def comparisons(self, values: Values, point: str | None = None) -> tuple[Truth, ...]:
        """The truth of each comparison that an analogue point (or the named one) stands in.

        While this tuple stays the same, a new value of an analogue point cannot change the condition.
        """
        return tuple(
            comparison.condition(values) for comparison in self.compared if point is None or point in comparison.points
        )


def parse_expression(
    text: str, points: Collection[str], analogue: Collection[str] | None = None, labels: Labels | None = None
) -> Expression:
    """Parse a condition over `points`. Raises ConfigurationError with the column of the mistake.

    `analogue` are the points with a unit (default: all), `labels` maps a point to the numbers behind its
    enumeration's labels.
    """
    try:
        return compile_expression(text, points, analogue, labels)
    except ExpressionMistake as mistake:
        raise ConfigurationError([Problem("expression", 1, mistake.offset + 1, str(mistake))]) from mistake


def compile_expression(
    text: str, points: Collection[str], analogue: Collection[str] | None = None, labels: Labels | None = None
) -> Expression:
    """As `parse_expression`, but raises ExpressionMistake, for callers that know where the text stands."""
    if len(text) > TEXT_CHARACTERS_MAX:
        raise ExpressionMistake(f"an expression has at most {TEXT_CHARACTERS_MAX} characters")
    indent = len(text) - len(text.lstrip())
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        offset = indent + max((error.offset or 1) - 1, 0)
        raise ExpressionMistake(f"{text.strip()!r} is not an expression: {error.msg}", offset) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ExpressionMistake("this is not an expression that can be read") from error
    compiler = _Compiler(points, points if analogue is None else analogue, labels or {}, indent)
    condition = compiler.condition(tree.body, 0)
    return Expression(text, frozenset(compiler.used), condition, tuple(compiler.compared))


class _Compiler:
    """Turns the syntax tree into closures; anything not on the white list is a mistake."""

    def __init__(self, points: Collection[str], analogue: Collection[str], labels: Labels, indent: int) -> None:
        self._points = points
        self._analogue = analogue
        self._labels = labels
        self._indent = indent
        self._nodes = 0
        self.used: set[str] = set()
        self.compared: list[_Comparison] = []

    def condition(self, node: ast.expr, depth: int) -> Condition:
        self._count(node, depth)
        match node:
            case ast.BoolOp(op=ast.And()):
                return _all([self.condition(part, depth + 1) for part in node.values])
            case ast.BoolOp(op=ast.Or()):
                return _any([self.condition(part, depth + 1) for part in node.values])
            case ast.UnaryOp(op=ast.Not()):
                return _not(self.condition(node.operand, depth + 1))
            case ast.Compare():
                return self._comparison(node, depth)
            case ast.Name():
                return self._named(node)
            case ast.Call(func=ast.Name(id="bit" | "any_bit")):
                return self._bits(node)
            case ast.Call(func=ast.Name(id="any_nibble")):
                return self._nibbles(node)
        raise self._mistake(node, "expected a condition: a point, a comparison, bit(point, n), and, or, not")

    def _comparison(self, node: ast.Compare, depth: int) -> Condition:
        operands = [node.left, *node.comparators]
        links: list[Condition] = []
        for left, comparator, right in zip(operands, node.ops, operands[1:], strict=False):
            compare = _COMPARISONS.get(type(comparator))
            if compare is None:
                raise self._mistake(node, "expected one of < <= > >= == !=")
            links.append(self._link(left, compare, right, depth))
        return links[0] if len(links) == 1 else _all(links)

    def _link(self, left: ast.expr, compare: Callable[[float, float], bool], right: ast.expr, depth: int) -> Condition:
        before, self.used = self.used, set()
        for side, other in ((left, right), (right, left)):
            if isinstance(side, ast.Constant) and isinstance(side.value, str):
                if compare not in {operator.eq, operator.ne}:
                    raise self._mistake(side, "a label can only be compared with == or !=")
                self._label(side, other)
        link = _compare(compare, self._number(left, right, depth + 1), self._number(right, left, depth + 1))
        here = frozenset(self.used)
        if not here:
            raise self._mistake(left, "a comparison needs a point on at least one side")
        analogue = frozenset(point for point in here if point in self._analogue)
        if analogue:
            self.compared.append(_Comparison(analogue, link))
        self.used |= before
        return link

    def _number(self, node: ast.expr, other: ast.expr, depth: int) -> Number:
        self._count(node, depth)
        match node:
            case ast.Constant(value=str()):
                return _constant(self._label(node, other))
            case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
                return _constant(self._finite(node))
            case ast.UnaryOp(op=ast.USub()):
                return _negative(self._number(node.operand, other, depth + 1))
            case ast.Name():
                return _value(self._point(node))
            case ast.Call(func=ast.Name(id="abs"), args=[argument], keywords=[]):
                return _absolute(self._number(argument, other, depth + 1))
        raise self._mistake(node, "expected a point, a number, a label in quotes or abs(point)")

    def _named(self, node: ast.Name) -> Condition:
        point = self._point(node)
        truth = _truth(_value(point))
        if point in self._analogue:
            self.compared.append(_Comparison(frozenset({point}), truth))
        return truth

    def _bits(self, node: ast.Call) -> Condition:
        match node:
            case ast.Call(func=ast.Name(id=name), args=[ast.Name() as named, *places], keywords=[]) if places:
                if name == "bit" and len(places) != 1:
                    raise self._mistake(node, "bit takes a point and one bit number")
                mask = 0
                for place in places:
                    self._count(place, 0)
                    mask |= 1 << self._bit_number(place)
                return _masked(self._point(named), mask)
        raise self._mistake(node, "expected bit(point, n) or any_bit(point, n, ...)")

    def _nibbles(self, node: ast.Call) -> Condition:
        match node:
            case ast.Call(args=[ast.Name() as named, *wanted], keywords=[]) if wanted:
                for number in wanted:
                    self._count(number, 0)
                numbers = frozenset(self._whole(number, 1, NIBBLE_MAX, "a value of four bits") for number in wanted)
                return _nibbled(self._point(named), numbers)
        raise self._mistake(node, "expected any_nibble(point, value, ...)")

    def _bit_number(self, node: ast.expr) -> int:
        return self._whole(node, 0, BIT_MAX, "a bit number")

    def _whole(self, node: ast.expr, least: int, largest: int, what: str) -> int:
        if isinstance(node, ast.Constant) and type(node.value) is int and least <= node.value <= largest:
            return node.value
        raise self._mistake(node, f"{what} is a whole number from {least} to {largest}")

    def _point(self, node: ast.Name) -> str:
        if node.id not in self._points:
            known = ", ".join(sorted(self._points)[:20])
            raise self._mistake(node, f"unknown point {node.id!r}: expected one of {known}")
        self.used.add(node.id)
        return node.id

    def _label(self, node: ast.Constant, other: ast.expr) -> float:
        labels = self._labels.get(self._point(other)) if isinstance(other, ast.Name) else None
        if not labels:
            raise self._mistake(node, "a label needs a point with an enum on the other side")
        if node.value not in labels:
            raise self._mistake(node, f"unknown label {node.value!r}: expected one of {', '.join(labels)}")
        return labels[str(node.value)]

    def _finite(self, node: ast.Constant) -> float:
        try:
            number = float(node.value)  # type: ignore[arg-type]  # the caller matched int | float
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self._mistake(node, "a number must be finite")
        return number

    def _count(self, node: ast.expr, depth: int) -> None:
        self._nodes += 1
        if depth > DEPTH_MAX or self._nodes > NODES_MAX:
            raise self._mistake(node, f"an expression has at most {NODES_MAX} parts, nested {DEPTH_MAX} deep")

    def _mistake(self, node: ast.expr, message: str) -> ExpressionMistake:
        return ExpressionMistake(message, self._indent + node.col_offset)


def _all(parts: list[Condition]) -> Condition:
    def condition(values: Values) -> Truth:
        truth: Truth = True
        for part in parts:
            found = part(values)
            if found is False:
                return False
            if found is None:
                truth = None
        return truth

    return condition


def _any(parts: list[Condition]) -> Condition:
    def condition(values: Values) -> Truth:
        truth: Truth = False
        for part in parts:
            found = part(values)
            if found:
                return True
            if found is None:
                truth = None
        return truth

    return condition


def _not(part: Condition) -> Condition:
    def condition(values: Values) -> Truth:
        found = part(values)
        return None if found is None else not found

    return condition


def _compare(compare: Callable[[float, float], bool], left: Number, right: Number) -> Condition:
    def condition(values: Values) -> Truth:
        a, b = left(values), right(values)
        return None if math.isnan(a) or math.isnan(b) else compare(a, b)

    return condition


def _value(point: str) -> Number:
    def number(values: Values) -> float:
        found = values.get(point)
        return math.nan if found is None else found

    return number


def _truth(number: Number) -> Condition:
    def condition(values: Values) -> Truth:
        found = number(values)
        return None if math.isnan(found) else found != 0

    return condition


def _masked(point: str, mask: int) -> Condition:
    def condition(values: Values) -> Truth:
        found = values.get(point)
        return None if found is None or not math.isfinite(found) else int(found) & mask != 0

    return condition


def _nibbled(point: str, wanted: frozenset[int]) -> Condition:
    def condition(values: Values) -> Truth:
        found = values.get(point)
        if found is None or not math.isfinite(found):
            return None
        rest = abs(int(found))
        while rest and rest & NIBBLE_MAX not in wanted:
            rest >>= 4
        return rest != 0

    return condition


def _constant(value: float) -> Number:
    return lambda _values: value


def _negative(number: Number) -> Number:
    return lambda values: -number(values)


def _absolute(number: Number) -> Number:
    return lambda values: abs(number(values))
