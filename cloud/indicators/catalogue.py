"""Every indicator that is computed: its definition, and how it is found. Tables of other parts are merged here."""

from dataclasses import replace

from cloud.facts.ledger_equipment import PATROL_ROBOT
from cloud.indicators.alarms import ALARMS, ALARMS_DEFINITIONS
from cloud.indicators.asking import Asked, Computation, once
from cloud.indicators.breakdowns import BREAKDOWNS
from cloud.indicators.counted import all_equipment
from cloud.indicators.definition import Definition, IndicatorResult
from cloud.indicators.equipment import Tally
from cloud.indicators.equipment_rates import RATES
from cloud.indicators.ledger_rates import LEDGER
from cloud.indicators.parking_rates import (
    DWELL,
    DWELL_POOLED,
    PARKING,
    PEAK,
    PEAK_DEFINITION,
    dwell,
    occupancy_parts,
    peak,
)
from cloud.indicators.patrol import PATROL, PATROL_DEFINITIONS
from cloud.indicators.patrol_days import patrol_days, robot_coverage
from cloud.indicators.pooling import Parts, Pooled, share
from cloud.indicators.robots import COVERAGE

DATA_COVERAGE = "data.coverage"


def _data_parts(asked: Asked) -> dict[str, int]:
    """Known and unknown time of equipment, spaces, and robots in required hours, in ms."""
    machines = (one for one in once(asked, all_equipment) if one.equipment.class_ != PATROL_ROBOT)
    equipment = sum((one.tally for one in machines), Tally())
    is_stretch = asked.window.from_ms < asked.window.to_ms
    spaces = occupancy_parts(asked) if is_stretch else {"occupied": 0, "free": 0, "unknown": 0}
    robots = once(asked, patrol_days)
    lost = sum(day.lost_ms for day in robots)
    known = equipment.up_ms + equipment.down_ms + spaces["occupied"] + spaces["free"]
    return {
        "known": known + sum(day.robot_ms for day in robots) - lost,
        "unknown": equipment.unknown_ms + spaces["unknown"] + lost,
    }


def _data_made(definition: Definition, parts: Parts) -> IndicatorResult:
    """Known / (known + unknown); its own coverage is the same."""
    result = share(definition, yes=parts["known"], no=parts["unknown"], unknown=0)
    return replace(result, coverage=result.value)


_POOLED = (
    *RATES,
    *BREAKDOWNS,
    *PARKING,
    DWELL_POOLED,
    LEDGER,
    Pooled(Definition(DATA_COVERAGE, recorded=("day", "month")), _data_parts, _data_made),
)
POOLED: dict[str, Pooled] = {one.definition.id: one for one in _POOLED}
COMPUTATIONS: dict[str, Computation] = {
    **POOLED,
    COVERAGE: robot_coverage,
    DWELL: dwell,
    PEAK: peak,
    **PATROL,
    **ALARMS,
}
DEFINITIONS: dict[str, Definition] = {
    **{one.definition.id: one.definition for one in _POOLED},
    COVERAGE: Definition(COVERAGE, "today", unit="cells", recorded=("day", "month"), decomposes=False),
    PEAK: PEAK_DEFINITION,
    **{one.id: one for one in (*PATROL_DEFINITIONS, *ALARMS_DEFINITIONS)},
}
