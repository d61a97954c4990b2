"""Indicators as the API tells of them in full: beside what a card needs, what each number stands on."""

from fractions import Fraction
from typing import Any

from cloud.api.painting import indicator_json
from cloud.indicators.assessment import Assessment
from cloud.indicators.benchmarks import Compared
from cloud.indicators.definition import Definition, IndicatorResult
from cloud.indicators.ranking import Place
from cloud.indicators.results import Revision
from devices.instants import format_instant

Json = dict[str, Any]
_DURATIONS = ("required_ms", "robot_ms", "lost_ms", "more_than_ms", "median_ms", "p90_ms")  # times, not moments


def full_json(one: IndicatorResult) -> Json:
    """A result with its versions, sums and frames."""
    group = None if one.group is None else {"by": one.group[0], "name": one.group[1]}
    return {
        **indicator_json(one),
        "value_unit": one.value_unit,
        "excluded": _float(one.excluded),
        "formula_version": one.formula_version,
        "policy_version": one.policy_version,
        "target_version": one.target_version,
        "group": group,
        "parts": dict(one.parts),
        "details": dict(one.details),
        "frames": [
            {"gateway": a.gateway, "lane": a.lane, "epoch": a.epoch, "first_seq": a.first_seq, "last_seq": a.last_seq}
            for a in one.inputs
        ],
    }


def revision_json(one: Revision) -> Json:
    """A revision that was issued."""
    return {
        **full_json(one.result),
        "entry": one.entry,
        "recorded_at": format_instant(one.recorded_ms),
        "after_final": one.is_after_final,
        "hash": one.hash.hex(),
        "previous_revision": one.previous_revision.hex() or None,
    }


def definition_json(one: Definition) -> Json:
    """What an indicator is."""
    return {
        "id": one.id, "default_window": one.default_window, "unit": one.unit, "value_unit": one.value_unit,
        "better": one.better.value, "formula_version": one.formula_version, "source": one.source, "by": list(one.by),
        "recorded": list(one.recorded), "name_key": f"indicator.{one.id}.name",
        "formula_key": f"indicator.{one.id}.formula",
    }  # fmt: skip


def assessment_json(one: Assessment) -> Json:
    """A period as it was judged."""
    return {
        "site": one.site, "indicator": one.indicator, "period": one.period,
        "recorded_at": format_instant(one.recorded_ms), "card": one.card.value, "failed_running": one.failed_running,
        "target_origin": one.target_origin, "result_hash": one.result_hash or None, "hash": one.hash.hex(),
        "result": full_json(one.result),
    }  # fmt: skip


def compared_json(one: Compared) -> Json:
    """A site against a benchmark; `gap` in points for shares."""
    benchmark = one.benchmark
    return {
        "id": benchmark.id, "indicator": benchmark.indicator, "kind": benchmark.kind,
        "source": benchmark.source or None, "year": benchmark.year, "best_site": one.best_site,
        "value": _float(one.value), "own": _float(one.own),
        "gap": _float(one.gap), "stage": one.stage.value, "expires_at": format_instant(one.expires_ms),
    }  # fmt: skip


def place_json(one: Place) -> Json:
    """A place of a ranking."""
    return {"site": one.site, "value": _float(one.value), "place": one.place, "bottom": one.is_bottom}


def outside(value: Any) -> Any:
    """An explanation with its moments as RFC 3339: intervals, and keys in `_ms` that name no stretch of time."""
    if isinstance(value, dict):
        return dict(_outside(key, one) for key, one in value.items())
    return [outside(one) for one in value] if isinstance(value, list) else value


def _outside(key: str, value: Any) -> tuple[str, Any]:
    if key == "intervals":
        return key, [[format_instant(one[0]), format_instant(one[1]), *one[2:]] for one in value]
    if key.endswith("_ms") and key not in _DURATIONS and (value is None or isinstance(value, int)):
        return key.removesuffix("_ms"), None if value is None else format_instant(value)
    return key, value if key in {"parts", "ms", "policy", "details"} else outside(value)


def _float(value: Fraction | None) -> float | None:
    return None if value is None else float(value)
