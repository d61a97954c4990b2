"""Failures of equipment: how often, how long between them, how long to mend. domain.md 1.3 and 1.4.

A failure is a stretch of faults, whatever calendar, window or drill lies over it, unless it lies wholly in time that
does not count; stretches with less than the policy's time between them are one. It happens in the window in which its
first required moment lies and is mended in the one in which it ends, in required time or, by policy, in elapsed time.
What nobody knows widens the bounds: every stretch of unknown time may have hidden one failure, and while contact was
lost a machine may have been mended already.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

from cloud.facts.days import Span, clipped, length_ms, merged
from cloud.facts.equipment_past import ABSENT
from cloud.facts.equipment_states import BY_HAND, DRILL, EXCLUDED, OFF_DUTY, PM, joined_gaps, spans_of, without
from cloud.facts.timelines import SILENT, UNKNOWN, Timeline
from cloud.indicators.asking import Asked, once
from cloud.indicators.counted import Counted, all_equipment
from cloud.indicators.definition import Better, Definition, IndicatorResult, Window, ratio
from cloud.indicators.equipment import Tally
from cloud.indicators.equipment_rates import GROUPS
from cloud.indicators.pooling import Parts, Pooled, result_of

MTBF, MTTR, FAILURE_RATE = "equipment.mtbf", "equipment.mttr", "equipment.failure_rate"
MONTH_MS = 30 * 24 * 3_600_000  # "per 100 equipment and month" means 720 h
EQUIPMENT_PER_RATE = 100
LOOK_BACK_DAYS = (4, 32, 366)  # for the beginning of a failure that was there when the window began
_DAY_MS = 24 * 3_600_000

MTBF_DEFINITION = Definition(MTBF, "month", value_unit="ms", by=GROUPS, recorded=("month",))
MTTR_DEFINITION = Definition(
    MTTR, "month", value_unit="ms", better=Better.LOWER, by=GROUPS, recorded=("month",)
)  # fmt: skip
RATE_DEFINITION = Definition(
    FAILURE_RATE, "month", unit="failure_ms", value_unit="per_100_months", better=Better.LOWER, by=GROUPS,
    recorded=("month",),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Breakdown:
    """A failure of an equipment. Unix ms UTC; `restored_ms` None: still open. `silent_ms`: of it without contact."""

    equipment: str
    failed_ms: int
    restored_ms: int | None
    silent_ms: int
    repair_ms: int  # time to mend, as the policy counts it


@dataclass(frozen=True, slots=True, eq=False)
class Broken:
    """An equipment with its failures that touch the window, and the stretches in which one may have been hidden."""

    counted: Counted
    breakdowns: tuple[Breakdown, ...]
    hidden_max: int


def all_breakdowns(asked: Asked) -> list[Broken]:
    """Every equipment of the site with its failures in the window."""
    window, apart_ms = asked.until_now, asked.policy.failures_apart_ms
    around = _around(asked, window.from_ms - max(apart_ms, 1))
    return [
        Broken(one, _failures(asked, around.get(one.equipment.id), window), int((one.timeline.codes == UNKNOWN).sum()))
        for one in once(asked, all_equipment)
    ]


def _around(asked: Asked, from_ms: int) -> dict[str, Counted]:
    """What belongs to a failure on both sides of the window, by equipment."""
    end_ms = min(asked.until_now.to_ms + asked.policy.failures_apart_ms, max(asked.now_ms, asked.until_now.to_ms))
    found = once(replace(asked, window=Window(from_ms, end_ms)), all_equipment)
    return {one.equipment.id: one for one in found}


def _failures(asked: Asked, seen: Counted | None, window: Window) -> tuple[Breakdown, ...]:
    """Failures that began or ended in the window, or lasted through it."""
    if seen is None or not len(seen.counts.starts):
        return ()
    spans, began_ms = _stretches(asked, seen, window), window.from_ms - max(asked.policy.failures_apart_ms, 1)
    for days in LOOK_BACK_DAYS:
        if not spans or spans[0][0] > began_ms:
            break
        began_ms = window.from_ms - days * _DAY_MS
        seen = _around(asked, began_ms).get(seen.equipment.id, seen)
        spans = _stretches(asked, seen, window)
    found = (_failure(asked, seen, span, window) for span in spans)
    return tuple(one for one in found if one is not None)


def _stretches(asked: Asked, seen: Counted, window: Window) -> list[Span]:
    """Faults with less than the policy's time between them as one; without what was over before the window."""
    faults = clipped(seen.faults, int(seen.counts.starts[0]), seen.counts.end_ms)
    joined = joined_gaps(faults, asked.policy.failures_apart_ms)
    return [one for one in joined if one[1] >= window.from_ms]


def _failure(asked: Asked, seen: Counted, span: Span, window: Window) -> Breakdown | None:
    """A stretch of faults as a failure: it begins with its first required moment."""
    required = without([span], _not_required(seen))
    if not required or required[0][0] >= window.to_ms:
        return None
    failed_ms, end_ms = required[0][0], span[1]
    repair_ms = length_ms(required) if asked.policy.repair_time == "required" else end_ms - failed_ms
    silent_ms = sum(_silent_ms(seen.device, *one) for one in required)
    restored_ms = end_ms if end_ms < window.to_ms else None
    return Breakdown(seen.equipment.id, failed_ms, restored_ms, min(silent_ms, repair_ms), repair_ms)


def _not_required(seen: Counted) -> list[Span]:
    """Planned, off duty, a drill, taken out by hand, or not in the ledger."""
    by_state = spans_of(seen.timeline, (PM, OFF_DUTY, DRILL))
    return list(merged([*by_state, *spans_of(seen.counts, (EXCLUDED, BY_HAND, ABSENT))]))


def _silent_ms(device: Timeline | None, from_ms: int, to_ms: int) -> int:
    if device is None:
        return 0
    part = device.clipped(from_ms, to_ms)
    return int((part.ends - part.starts)[part.codes & SILENT != 0].sum()) if len(part.starts) else 0


def _chosen(asked: Asked) -> list[Broken]:
    return [one for one in once(asked, all_breakdowns) if asked.counts(one.counted.equipment.id)]


def failure_parts(asked: Asked) -> Parts:
    """Failures that began in the window, time up and unknown, unknown stretches, failures still open; unweighted."""
    chosen, window = _chosen(asked), asked.until_now
    total = sum((one.counted.tally for one in chosen), Tally())
    begun = [fault for one in chosen for fault in one.breakdowns if fault.failed_ms >= window.from_ms]
    return {
        "failures": len(begun), "hidden_max": sum(one.hidden_max for one in chosen), "up": total.up_ms,
        "down": total.down_ms, "unknown": total.unknown_ms, "excluded": total.excluded_ms,
        "open": sum(fault.restored_ms is None for one in chosen for fault in one.breakdowns),
    }  # fmt: skip


def mtbf_made(definition: Definition, parts: Parts) -> IndicatorResult:
    """Time up / failures. Without a failure the value is null and `low` says "more than" (domain.md 1.3)."""
    up, failures, unknown = parts["up"], parts["failures"], parts["unknown"]
    low = ratio(up, max(failures + parts["hidden_max"], 1)) if up or failures else None
    return result_of(
        definition,
        (ratio(up, failures), low, ratio(up + unknown, failures)),
        coverage=_known(parts),
        made=(up, failures),
        excluded=_excluded(parts),
        details={"open": parts["open"], "more_than_ms": None if failures else up},
    )


def failure_rate_made(definition: Definition, parts: Parts) -> IndicatorResult:
    """Failures per 100 equipment and month of 720 h up."""
    scale, up = EQUIPMENT_PER_RATE * MONTH_MS, parts["up"]
    return result_of(
        definition,
        (
            ratio(parts["failures"] * scale, up),
            ratio(parts["failures"] * scale, up + parts["unknown"]),
            ratio((parts["failures"] + parts["hidden_max"]) * scale, up),
        ),
        coverage=_known(parts),
        made=(parts["failures"] * scale, up),
        excluded=_excluded(parts),
        details={"open": parts["open"]},
    )


def repair_parts(asked: Asked) -> Parts:
    """Time to mend of the failures that ended in the window, and how much of it passed in silence."""
    faults = [fault for one in _chosen(asked) for fault in one.breakdowns]
    ended = [fault for fault in faults if fault.restored_ms is not None]
    return {
        "repair": sum(fault.repair_ms for fault in ended), "repairs": len(ended),
        "silent": sum(fault.silent_ms for fault in ended), "open": len(faults) - len(ended),
    }  # fmt: skip


def mttr_made(definition: Definition, parts: Parts) -> IndicatorResult:
    """Time to mend / failures mended; those still open stand beside it."""
    repairs, repair = parts["repairs"], parts["repair"]
    value = ratio(repair, repairs)
    return result_of(
        definition,
        (value, ratio(repair - parts["silent"], repairs), value),
        coverage=Fraction(repair - parts["silent"], repair) if repair else None,
        made=(repair, repairs),
        details={"open": parts["open"]},
    )


def _known(parts: Parts) -> Fraction | None:
    known = parts["up"] + parts["down"]
    return ratio(known, known + parts["unknown"])


def _excluded(parts: Parts) -> Fraction | None:
    counted = parts["up"] + parts["down"] + parts["unknown"]
    return ratio(parts["excluded"], counted + parts["excluded"])


BREAKDOWNS = (
    Pooled(MTBF_DEFINITION, failure_parts, mtbf_made),
    Pooled(MTTR_DEFINITION, repair_parts, mttr_made),
    Pooled(RATE_DEFINITION, failure_parts, failure_rate_made),
)
