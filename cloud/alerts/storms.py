"""One alert per cause: what is told with its cause, what chatters, and when a site is flooded. Pure.

Figures are those of domain.md section 6. Times are Unix ms UTC.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cloud.alerts.alert import Alert, Key
from cloud.alerts.handling import Released, Suppressed
from devices.rule_kinds import EquipmentState, MissingData, RobotStates, Signal
from devices.rules import Rule, Severity

FLOOD_WINDOW_MS = 10 * 60_000
FLOOD_BEGINS_ABOVE = 10  # alerts within the window (ISA-18.2)
FLOOD_ENDS_BELOW = 5
CHATTER_WINDOW_MS = 60_000
CHATTERS_FROM = 3  # raises within that time
RELEASE_MS = 120_000  # what is behind a cause that is gone gets this long to report before it counts alone
STEPS_UP_MAX = 8  # from a thing to what it depends on; a ledger that goes round in circles ends here


class Topology(Protocol):
    """What depends on what. Answers at once, from memory."""

    def upstream(self, site: str, thing: str) -> Iterable[str]:
        """Give what this thing is behind: its gateway, its bus, the panel that feeds it. Ids, the nearest first."""

    def behind(self, site: str, thing: str) -> int:
        """Count the things behind this one."""


@dataclass(frozen=True, slots=True)
class Silences:
    """Which rules tell of silence: those alerts say no more than that of a silent gateway or bus before them.

    `faults` are the rules that say that a machine itself is not well now, so that what it feeds may suffer from it.
    """

    rules: frozenset[str]
    faults: frozenset[str] = frozenset()

    @classmethod
    def of(cls, rules: Mapping[str, Rule]) -> "Silences":
        """Those of these rules."""
        faults = (name for name, rule in rules.items() if isinstance(rule.when, EquipmentState | Signal))
        return cls(frozenset(name for name, rule in rules.items() if _is_silence(rule)), frozenset(faults))


def _is_silence(rule: Rule) -> bool:
    when = rule.when
    return isinstance(when, MissingData) or (
        isinstance(when, RobotStates) and not {"offline", "unknown"}.isdisjoint(when.states)
    )


def inhibitions(
    alerts: Sequence[Alert], topology: Topology, silences: Silences, now_ms: int
) -> Iterator[tuple[Key, Suppressed | Released]]:
    """What changes about who is told with whom. `alerts` are all that a site's book knows.

    A silent gateway or bus is the cause of silences behind it; a fault of a panel is the cause of silences, and of
    yellow and orange alerts no worse than itself, of what it feeds. A red alert is told by itself unless it is mere
    silence, and so is what was there before its cause. No two alerts are told with each other.
    """
    by_id = {alert.id: alert for alert in alerts}
    told_with = {alert.id: alert.suppressed_by for alert in alerts if alert.is_open and alert.suppressed_by is not None}
    causes: dict[str, list[Alert]] = {}
    for alert in alerts:
        if alert.is_open and alert.is_active and not alert.is_shelved:
            causes.setdefault(alert.key.thing, []).append(alert)
    for shared, first in _silent_together(alerts, topology, silences):
        causes.setdefault(shared, [first])  # an alert of its own says more
    for alert in alerts:
        if not alert.is_open:
            continue
        cause = _cause_of(alert, causes, topology, silences, told_with)
        if cause is not None:
            if alert.suppressed_by != cause.id and alert.is_active:
                told_with[alert.id] = cause.id
                yield alert.key, Suppressed(cause.id)
        elif alert.suppressed_by is not None:
            known = by_id.get(alert.suppressed_by)
            if known is None or _is_over(known, now_ms) or not _may_mute(known, alert, silences, told_with):
                told_with.pop(alert.id, None)
                yield alert.key, Released()


def _silent_together(alerts: Iterable[Alert], topology: Topology, silences: Silences) -> Iterator[tuple[str, Alert]]:
    """Buses and gateways behind which everything is silent, with no alert of their own: the first stands for all."""
    silent: dict[tuple[str, str], list[Alert]] = {}
    for alert in alerts:
        if alert.is_open and alert.is_active and not alert.is_shelved and alert.key.rule in silences.rules:
            for shared in topology.upstream(alert.key.site, alert.key.thing):
                silent.setdefault((alert.key.site, shared), []).append(alert)
    for (site, shared), found in silent.items():
        things = {alert.key.thing for alert in found}
        if 1 < len(things) == topology.behind(site, shared):
            yield shared, min(found, key=lambda alert: (alert.new_ms, alert.opened_ms, alert.id))


def _cause_of(
    alert: Alert,
    causes: Mapping[str, Sequence[Alert]],
    topology: Topology,
    silences: Silences,
    told_with: Mapping[str, str],
) -> Alert | None:
    """The alert farthest up that explains this one."""
    found, site = None, alert.key.site
    ahead, seen = [alert.key.thing], {alert.key.thing}
    for _ in range(STEPS_UP_MAX):
        ahead = [up for thing in ahead for up in topology.upstream(site, thing) if up not in seen]
        seen.update(ahead)
        for thing in ahead:
            for cause in causes.get(thing, ()):
                if _may_mute(cause, alert, silences, told_with):
                    found = cause
        if not ahead:
            break
    return found


def _may_mute(cause: Alert, alert: Alert, silences: Silences, told_with: Mapping[str, str]) -> bool:
    """Whether it explains the other and is not itself told with it, however many alerts are between them."""
    name: str | None = cause.id
    for _ in range(len(told_with) + 1):
        if name is None:
            break
        if name == alert.id:
            return False
        name = told_with.get(name)
    return _explains(cause, alert, silences)


def _explains(cause: Alert, alert: Alert, silences: Silences) -> bool:
    if alert.new_ms < cause.opened_ms or alert.drill != cause.drill:
        return False
    silent = alert.key.rule in silences.rules
    if cause.key.rule in silences.rules:
        return silent
    if cause.key.rule not in silences.faults:
        return False
    return silent or (alert.severity is not Severity.RED and alert.severity.rank <= cause.severity.rank)


def _is_over(cause: Alert, now_ms: int) -> bool:
    if not cause.is_open and cause.cleared_ms is None:
        return True
    return not cause.is_active and now_ms - (cause.cleared_ms or 0) >= RELEASE_MS


def is_flooded(raised_ms: Iterable[int], now_ms: int, *, was: bool) -> bool:
    """Whether a site has more alerts than a person can see to. `raised_ms` are the times of the newest ones."""
    recent = sum(now_ms - FLOOD_WINDOW_MS < time_ms <= now_ms for time_ms in raised_ms)
    return recent >= FLOOD_ENDS_BELOW if was else recent > FLOOD_BEGINS_ABOVE


def is_chattering(raised_ms: Iterable[int], now_ms: int) -> bool:
    """Whether an alert comes and goes all the time. `raised_ms` are the times of its own newest raises."""
    return sum(now_ms - CHATTER_WINDOW_MS < time_ms <= now_ms for time_ms in raised_ms) >= CHATTERS_FROM
