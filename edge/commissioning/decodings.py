"""Every plausible meaning of some registers, the likely one first. Pure.

A device's manual often leaves open in which order it keeps the words of a number. The decodings share the
codec of the agent, so the order found here is what a profile must say.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from devices.point import Function, Point, PointType
from devices.registers import decode_registers, decode_text

LIKELY_MAX, POSSIBLE_MAX = 1e5, 1e9  # magnitudes: of what is measured in buildings, and of counters of energy or time
LIKELY_MIN = 1e-3
DECIMALS_LIKELY = 4  # a float that says no more than this was probably meant
REGISTERS_MAX = 125
_ONE_WORD = (PointType.U16, PointType.S16)
_TWO_WORDS = (PointType.U32, PointType.S32, PointType.F32)
_FOUR_WORDS = (PointType.U64, PointType.S64, PointType.F64)
_Order = Literal["big", "little"]
_ORDERS: tuple[tuple[_Order, _Order, str], ...] = (
    ("big", "big", "ABCD"),
    ("little", "big", "CDAB"),
    ("big", "little", "BADC"),
    ("little", "little", "DCBA"),
)


@dataclass(frozen=True, slots=True)
class Decoding:
    """One way to read the registers from `address` on. `score` is from 0 (impossible) to 1; `reason` says why."""

    address: int
    type: PointType
    order: str
    word_order: str
    byte_order: str
    value: float
    score: float
    reason: str
    likely: bool = False


def decodings(words: Sequence[int], address: int) -> list[Decoding]:
    """Every decoding of each register or group of registers from the first one on; the likely one is marked."""
    found = [
        *(_decode(words[:1], address, kind, order) for kind in _ONE_WORD for order in _ORDERS[::2]),
        *(_decode(words[:2], address, kind, order) for kind, order in product(_TWO_WORDS, _ORDERS) if len(words) >= 2),
        *(_decode(words[:4], address, kind, order) for kind, order in product(_FOUR_WORDS, _ORDERS) if len(words) >= 4),
    ]
    best = max(found, key=lambda one: one.score)
    return [replace(one, likely=True) if one is best else one for one in found]


def text_of(words: Sequence[int]) -> str | None:
    """The registers as text, if they are printable; None otherwise."""
    point = Point(id="t", type=PointType.STRING, function=Function.HOLDING, address=0, length=len(words))
    text = decode_text(point, words)
    return text if len(text) >= 2 and text.isprintable() and "\N{REPLACEMENT CHARACTER}" not in text else None


def _decode(words: Sequence[int], address: int, kind: PointType, order: tuple[_Order, _Order, str]) -> Decoding:
    word_order, byte_order, letters = order
    point = Point(id="p", type=kind, function=Function.HOLDING, address=0, word_order=word_order, byte_order=byte_order)
    value = decode_registers(point, words)
    score, reason = _judge(value, kind, words)
    name = {1: letters[:2], 2: letters}.get(len(words), f"{word_order} words, {byte_order} bytes")
    # the usual order wins between equals; swapped bytes are rare
    score -= {"ABCD": 0.0, "CDAB": 0.01, "BADC": 0.05, "DCBA": 0.05}[letters]
    return Decoding(address, kind, name, word_order, byte_order, value, max(score, 0.0), reason)


def _judge(value: float, kind: PointType, words: Sequence[int]) -> tuple[float, str]:
    if not math.isfinite(value):
        return 0.0, "not a number"
    if all(word == 0 for word in words):
        return 0.3, "zero, whatever the type"
    if all(word == 0xFFFF for word in words) or (words[0] in {0x7FFF, 0x8000} and not any(words[1:])):
        return 0.05, "what devices say for no value"
    if kind in {PointType.F32, PointType.F64}:
        return _judge_float(value, kind)
    return _judge_integer(value, kind, words)


def _judge_float(value: float, kind: PointType) -> tuple[float, str]:
    size = abs(value)
    if not LIKELY_MIN <= size <= POSSIBLE_MAX:
        return 0.02, "implausible magnitude for a float"
    digits = 7 if kind is PointType.F32 else 15
    rounded = float(f"{value:.{digits}g}")
    short = math.isclose(rounded, round(value, DECIMALS_LIKELY), rel_tol=1e-9)
    wide = 0.03 if kind is PointType.F64 else 0.0
    if size > LIKELY_MAX:
        return 0.6 + wide, "a float of plausible magnitude for a counter"
    return (0.95 + wide, "a float with few decimals") if short else (0.85 + wide, "a float of plausible magnitude")


def _judge_integer(value: float, kind: PointType, words: Sequence[int]) -> tuple[float, str]:
    signed = kind in {PointType.S16, PointType.S32, PointType.S64}
    size = abs(value)
    if size > POSSIBLE_MAX:
        return 0.02, "implausible magnitude"
    if len(words) == 1:
        if signed and value < 0:
            return (0.55, "a small negative number") if size <= 1000 else (0.3, "a negative number")
        return (0.45, "a number of one register") if signed else (0.5, "a number of one register")
    if 0 <= value <= 0xFFFF:  # the high word is zero: this is how a small number stands in two registers
        return (0.48 if signed else 0.49), "a small number with a high word of zero"
    if 0 in words:
        return 0.1, "a small number, were the words the other way round"
    if signed and value < 0:
        return 0.25, "a large negative number"
    return (0.35 if size <= LIKELY_MAX * 100 else 0.2), "an integer of plausible magnitude"
