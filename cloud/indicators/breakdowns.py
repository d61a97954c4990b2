"""Failures of equipment: how often, how long between them, how long to mend. domain.md 1.3 and 1.4.

A failure is a stretch of FAULT; stretches with less than the policy's time between them are one. It happens in the
window in which it begins and is mended in the one in which it ends. What nobody knows widens the bounds: every stretch
of unknown time may have hidden one failure, and while contact was lost a machine may have been mended already.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from cloud.facts.timelines import FAULT, SILENT, UNKNOWN, Timeline
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


@dataclass(frozen=True, slots=True, eq=False)
class Broken:
    """An equipment with its failures that touch the window, and the stretches in which one may have been hidden."""

    counted: Counted
    breakdowns: tuple[Breakdown, ...]
    hidden_max: int


def breakdowns_of(name: str, timeline: Timeline, device: Timeline | None, apart_ms: int) -> list[Breakdown]:
    """Failures on a timeline, ascending; one that lasts to its end is open."""
    faulty = np.flatnonzero(timeline.codes == FAULT)
    found: list[Breakdown] = []
    for index in faulty.tolist():
        begin, end = int(timeline.starts[index]), int(timeline.ends[index])
        restored = None if end == timeline.end_ms else end
        if found and (before := found[-1].restored_ms) is not None and begin - before < apart_ms:
            begin = found.pop().failed_ms
        found.append(Breakdown(name, begin, restored, _silent_ms(device, begin, end)))
    return found


def all_breakdowns(asked: Asked) -> list[Broken]:
    """Every equipment of the site with its failures in the window."""
    return [_broken(asked, one) for one in once(asked, all_equipment)]


def _broken(asked: Asked, one: Counted) -> Broken:
    apart_ms, window = asked.policy.failures_apart_ms, asked.until_now
    found = breakdowns_of(one.equipment.id, one.timeline, one.device, apart_ms)
    if found and found[0].failed_ms == window.from_ms:  # it began before the window, or just as it began
        found[0] = replace(found[0], failed_ms=_beginning(asked, one, found[0].failed_ms))
    unknown = one.timeline.codes == UNKNOWN
    return Broken(one, tuple(found), int(unknown.sum()))


def _beginning(asked: Asked, one: Counted, seen_ms: int) -> int:
    """When a failure began that was there already at the beginning of the window."""
    since, end = seen_ms, min(seen_ms + 1, asked.now_ms)
    for days in LOOK_BACK_DAYS:
        window = Window(seen_ms - days * _DAY_MS, end)
        earlier = {
            other.equipment.id: other.timeline for other in once(replace(asked, window=window), all_equipment)
        }  # fmt: skip
        name = one.equipment.id
        before = breakdowns_of(name, earlier[name], None, asked.policy.failures_apart_ms) if name in earlier else []
        since = before[-1].failed_ms if before else seen_ms
        if since > window.from_ms:
            return since
    return since


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
    low = ratio(up, max(failures + parts["hidden_max"], 1)) if up else None
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
        "repair": sum((fault.restored_ms or 0) - fault.failed_ms for fault in ended), "repairs": len(ended),
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
