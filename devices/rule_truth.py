"""Whether what a rule looks at is true of one device now. Pure; the gateway and the cloud use these very functions.

Values are the numbers of the device by point id; what is not known is absent, None or NaN.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from devices.conditions import Threshold, exceeded
from devices.expressions import Expression, Truth
from devices.profile import LoadedProfile
from devices.rule_kinds import OfEquipment, OnDevice, Signal, ThresholdRule
from devices.rules import Rule
from devices.states import EquipmentState, Values, equipment_state


def concerns(what: OfEquipment, class_: str | None, criticality: str | None) -> bool:
    """Whether a rule is about equipment of this ledger class and criticality; None: nobody has said which."""
    by_class = not what.classes or class_ in what.classes
    return by_class and (not what.criticalities or criticality in what.criticalities)


@dataclass(frozen=True, slots=True)
class DeviceJudge:
    """A rule, ready to be asked about devices of one profile."""

    rule: Rule
    profile: LoadedProfile
    signals: tuple[Expression, ...] = ()
    measure: str | None = None
    threshold: Threshold | None = None

    @property
    def points(self) -> frozenset[str]:
        """The points that the truth hangs on."""
        if self.measure is not None:
            return frozenset({self.measure})
        if self.signals:
            return frozenset().union(*(signal.points for signal in self.signals))
        return self.profile.state_points

    def truth(self, values: Values, *, was: bool, state: EquipmentState | None = None) -> Truth:
        """True, False, or None when the values do not decide it.

        `was` is what it was before (for the deadband); `state` the equipment state of the same values, if the caller
        has it already.
        """
        when = self.rule.when
        if self.measure is not None and self.threshold is not None:
            return exceeded(self.threshold, values.get(self.measure), was=was)
        if isinstance(when, Signal):
            return _any(self.signals, values)
        found = state if state is not None else equipment_state(self.profile, values)
        if found is EquipmentState.UNKNOWN:
            return None
        return found.value in getattr(when, "states", ())

    def parameters(self, values: Values) -> dict[str, str]:
        """What the sentence of an alert may say besides the thing: the value and the limit of a threshold."""
        if self.measure is None or self.threshold is None:
            return {}
        unit = self.profile.unit_of(self.measure)
        value = values.get(self.measure)
        known = {} if value is None else {"value": f"{value:.4g} {unit}"}
        return known | {"limit": f"{self.threshold.limit:.4g} {unit}"}


def device_judge(rule: Rule, profile: LoadedProfile) -> DeviceJudge | None:
    """The rule for devices of this profile; None when it is not about such devices."""
    when = rule.when
    if not isinstance(when, OnDevice) or (profile.rules is None and not isinstance(when, ThresholdRule)):
        return None
    if isinstance(when, Signal):
        known: Mapping[str, Expression] = profile.rules.signals if profile.rules is not None else {}
        signals = tuple(known[name] for name in when.signals if name in known)
        return DeviceJudge(rule, profile, signals=signals) if signals else None
    if isinstance(when, ThresholdRule):
        point = profile.profile.measures.get(when.measure)
        if point is None:
            return None
        return DeviceJudge(rule, profile, measure=point, threshold=Threshold(when.side, when.limit, when.deadband))
    return DeviceJudge(rule, profile)


def _any(signals: tuple[Expression, ...], values: Values) -> Truth:
    truth: Truth = False
    for signal in signals:
        found = signal.evaluate(values)
        if found:
            return True
        if found is None:
            truth = None
    return truth
