"""A result as it is written down: exact fractions in canonical JSON, so that equal results are equal bytes."""

import hashlib
from fractions import Fraction
from typing import Any

import msgspec

from cloud.indicators.definition import FrameRange, IndicatorResult, Verdict, Window

_encode = msgspec.json.Encoder(order="deterministic").encode
_FRACTIONS = ("value", "low", "high", "coverage", "target", "excluded")
_PLAIN = (
    "id", "numerator", "denominator", "unit", "value_unit", "formula_version", "policy_version", "target_version",
)  # fmt: skip


def written(result: IndicatorResult) -> dict[str, Any]:
    """Everything about a result but its revision and finality, as plain values; fractions are "n/d"."""
    body: dict[str, Any] = {name: getattr(result, name) for name in _PLAIN}
    body.update({name: _fraction(getattr(result, name)) for name in _FRACTIONS})
    body["verdict"] = None if result.verdict is None else result.verdict.value
    body["from_ms"], body["to_ms"] = result.window.from_ms, result.window.to_ms
    body["parts"], body["details"] = dict(result.parts), dict(result.details)
    body["frames"] = [[one.gateway, one.lane, one.epoch, one.first_seq, one.last_seq] for one in result.inputs]
    return body


def text_of(result: IndicatorResult) -> str:
    """The result as canonical JSON."""
    return _encode(written(result)).decode()


def signature(result: IndicatorResult) -> bytes:
    """Equal for results that say the same by the same versions; the frames that they stand on may differ."""
    body = written(result)
    del body["frames"]
    return hashlib.sha256(_encode(body)).digest()


def read_back(text: str, *, revision: int, final: bool) -> IndicatorResult:
    """The result that was written."""
    body = msgspec.json.decode(text)
    fractions: dict[str, Any] = {name: None if body[name] is None else Fraction(body[name]) for name in _FRACTIONS}
    return IndicatorResult(
        **{name: body[name] for name in _PLAIN},
        **fractions,
        verdict=None if body["verdict"] is None else Verdict(body["verdict"]),
        window=Window(body["from_ms"], body["to_ms"]),
        revision=revision,
        final=final,
        inputs=tuple(FrameRange(*one) for one in body["frames"]),
        parts=body["parts"],
        details=body["details"],
    )


def _fraction(value: Fraction | None) -> str | None:
    return None if value is None else f"{value.numerator}/{value.denominator}"
