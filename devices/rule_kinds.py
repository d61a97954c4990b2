"""What a rule can look at: one model a kind, told apart by the key `kind`.

A rule finds its points through the profile: `signals` are named conditions, `measures` named points. So one rule
("genset not in auto") holds for every product whose profile says what that means there.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from devices.conditions import Side
from devices.document import Section
from devices.point import PointId, duration_seconds

NAMES_MAX = 20
WEEK_H = 168

Delay = Annotated[float, BeforeValidator(duration_seconds), Field(ge=0, le=366 * 86400)]
Names = Annotated[tuple[PointId, ...], Field(min_length=1, max_length=NAMES_MAX)]
ClassName = Annotated[str, Field(min_length=1, max_length=100)]
Classes = Annotated[tuple[ClassName, ...], Field(max_length=NAMES_MAX)]
Criticality = Literal["A", "B", "C"]
IndicatorId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$")]
Every = Literal["hour", "day", "week"]
Fault = Literal["run", "standby", "degraded", "ext", "fault"]


class OfEquipment(Section):
    """Which equipment a rule is about; empty means any. `classes` and `criticalities` are those of the ledger."""

    classes: Classes = ()
    criticalities: tuple[Criticality, ...] = ()


class EquipmentState(OfEquipment):
    """Equipment is in one of these states."""

    kind: Literal["equipment-state"]
    states: Annotated[tuple[Fault, ...], Field(min_length=1)]


class Signal(OfEquipment):
    """One of these named conditions of the device's profile is true."""

    kind: Literal["signal"]
    signals: Names


class ThresholdRule(OfEquipment):
    """A named measure is beyond a limit, in the measure's canonical unit, and comes back by the deadband."""

    kind: Literal["threshold"]
    measure: PointId
    side: Side
    limit: float
    deadband: float = Field(default=0.0, ge=0)


class MissingData(OfEquipment):
    """Nothing is heard: of a whole gateway, of a polled device behind a gateway that lives, of a parking sensor.

    The silence that is allowed is the on-delay of the rule.
    """

    kind: Literal["missing-data"]
    of: Literal["gateway", "device", "sensor"]


class RobotStates(Section):
    """A robot is in one of these states; with `required_hours` only while one of its zones must be patrolled."""

    kind: Literal["robot-state"]
    states: Annotated[tuple[Literal["fault", "offline", "unknown", "paused", "manual"], ...], Field(min_length=1)]
    required_hours: bool = False


class ParkingFull(Section):
    """Every known space of a parking group is taken."""

    kind: Literal["parking-full"]


class EventRule(Section):
    """Something happened, at one moment: of the evidence log."""

    kind: Literal["event"]
    source: Literal["integrity"]
    events: tuple[str, ...] = ()  # empty: any


class IndicatorLimit(Section):
    """An indicator over a window is below a limit: its target, or a number. `judge` says which of its bounds."""

    kind: Literal["indicator-limit"]
    indicator: IndicatorId
    window: Literal["24h", "today", "month"]
    below: Literal["target"] | float
    judge: Literal["value", "low", "high"] = "value"
    every: Every = "hour"


class Change(Section):
    """An indicator changed against the period before by more than so many percent. No indicators: all of them."""

    kind: Literal["change"]
    indicators: Annotated[tuple[IndicatorId, ...], Field(max_length=NAMES_MAX)] = ()
    direction: Literal["down", "up", "either"] = "either"
    percent: float = Field(gt=0, le=1000)
    period: Literal["week"] = "week"


class Consecutive(Section):
    """An indicator failed its target in so many periods one after the other."""

    kind: Literal["consecutive"]
    indicator: IndicatorId
    period: Literal["day", "week", "month"]
    periods: int = Field(ge=1, le=24)


class Rank(Section):
    """A site is among the last `percent` of all sites, in so many periods one after the other."""

    kind: Literal["rank"]
    indicator: IndicatorId
    period: Literal["week", "month"]
    percent: float = Field(gt=0, le=50)
    periods: int = Field(default=1, ge=1, le=24)
    sites_min: int = Field(default=5, ge=2, le=10_000)  # a rank among fewer says nothing


class Repeat(Section):
    """The same equipment had the same alert so often within so many days: look for the root cause."""

    kind: Literal["repeat"]
    rules: tuple[str, ...] = Field(min_length=1, max_length=NAMES_MAX)  # of which rules alerts are counted
    count: int = Field(ge=2, le=1000)
    days: int = Field(ge=1, le=366)


class Overdue(OfEquipment):
    """A date of the ledger has passed: of the next maintenance, or of the next inspection."""

    kind: Literal["overdue"]
    of: Literal["maintenance", "inspection"]


class Abnormal(OfEquipment):
    """A measure is outside the robust band of the same hour of the week.

    The band is median +- `width` * 1.4826 * MAD of the hourly means of that hour in the last `weeks`, and never
    narrower than `floor` (canonical unit) to either side. With fewer than `weeks_min` such hours nothing is said.
    """

    kind: Literal["abnormal"]
    measure: PointId
    width: float = Field(default=4.0, gt=0, le=100)
    floor: float = Field(default=0.0, ge=0)
    weeks: int = Field(default=8, ge=3, le=52)
    weeks_min: int = Field(default=4, ge=3, le=52)


class Projection(Section):
    """A day's indicator, carried on to the day's end at its present pace, misses the target.

    Said once `after` of the required hours have gone by.
    """

    kind: Literal["projection"]
    indicator: Literal["robot.coverage"]
    after: float = Field(default=0.8, gt=0, lt=1)


class Idleness(Section):
    """A checkpoint has not been visited for more than `factor` times its allowed interval, in required hours."""

    kind: Literal["idleness"]
    factor: float = Field(default=2.0, ge=1, le=100)


OnDevice = EquipmentState | Signal | ThresholdRule
Live = OnDevice | MissingData | RobotStates | ParkingFull
Periodic = (
    IndicatorLimit | Change | Consecutive | Rank | Repeat | Overdue | Abnormal | Projection | Idleness
)  # asked every hour, day or week
When = Annotated[
    EquipmentState
    | Signal
    | ThresholdRule
    | MissingData
    | RobotStates
    | ParkingFull
    | EventRule
    | IndicatorLimit
    | Change
    | Consecutive
    | Rank
    | Repeat
    | Overdue
    | Abnormal
    | Projection
    | Idleness,
    Field(discriminator="kind"),
]
EDGE_KINDS = ("equipment-state", "signal", "threshold", "missing-data")
