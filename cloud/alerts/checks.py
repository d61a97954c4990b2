"""Which rules are about which device: made once for a site and a profile, asked at every change of the device."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cloud.alerts.alert import Key
from cloud.alerts.view import SiteView, Watched
from cloud.live import Held, LiveDevice
from devices.expressions import Truth
from devices.profile import LoadedProfile
from devices.rule_kinds import OfEquipment
from devices.rule_truth import DeviceJudge, concerns, device_judge
from devices.rules import Rule


@dataclass(slots=True)
class Check:
    """One rule about one thing, with what was true of it last."""

    key: Key
    judge: DeviceJudge
    truth: Truth = None

    def look(self, values: Mapping[str, float | None], device: LiveDevice) -> Truth:
        """Whether it is true by these values."""
        return self.judge.truth(values, was=self.truth is True, state=device.state)

    def true_since_ms(self, held: Mapping[str, Held], device: LiveDevice) -> int:
        """Since when the present truth is certain, by when each value came to be.

        The earliest moment at which the values that had their present state by then decide it alone.
        """
        times = sorted({held[point].changed_ms for point in self.judge.points if point in held})
        for time_ms in times[:-1]:
            then = {point: one.value for point, one in held.items() if one.changed_ms <= time_ms}
            if self.judge.truth(then, was=self.truth is True) is self.truth:
                return time_ms
        return times[-1] if times else device.state_since_ms


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """The checks of one device, for one profile and one view of its site."""

    view: SiteView
    profile: LoadedProfile | None
    checks: tuple[Check, ...]


class Planner:
    """Makes plans. Rules are judged once for a profile, not once for a device."""

    def __init__(self) -> None:
        self._judges: dict[tuple[int, str], tuple[Mapping[str, Rule], list[DeviceJudge]]] = {}
        self._owners: dict[str, tuple[SiteView, dict[str, list[Watched]]]] = {}

    def plan(self, view: SiteView, device: LiveDevice, before: DevicePlan | None = None) -> DevicePlan:
        """The plan of a device; checks that were in the one before keep what they know."""
        if device.profile is None:
            return DevicePlan(view, None, ())
        known = {check.key: check for check in before.checks} if before is not None else {}
        checks = [
            _carried(Check(Key(view.site, judge.rule.id, one.id), judge), known)
            for one in self._of_device(view, device.id)
            for judge in self._of_profile(view.rules, device.profile)
            if isinstance(judge.rule.when, OfEquipment) and concerns(judge.rule.when, one.class_, one.criticality)
        ]
        return DevicePlan(view, device.profile, tuple(checks))

    def _of_device(self, view: SiteView, device: str) -> Sequence[Watched]:
        cached = self._owners.get(view.site)
        if cached is None or cached[0] is not view:
            owners: dict[str, list[Watched]] = {}
            for one in view.equipment:
                owners.setdefault(one.device, []).append(one)
            cached = self._owners[view.site] = view, owners
        return cached[1].get(device, ())

    def _of_profile(self, rules: Mapping[str, Rule], profile: LoadedProfile) -> Iterable[DeviceJudge]:
        cached = self._judges.get((id(rules), profile.hash))
        if cached is None or cached[0] is not rules:
            judges = (device_judge(rule, profile) for rule in rules.values())
            cached = self._judges[id(rules), profile.hash] = rules, [one for one in judges if one is not None]
        return cached[1]


def _carried(check: Check, known: Mapping[Key, Check]) -> Check:
    before = known.get(check.key)
    if before is not None:
        check.truth = before.truth
    return check
