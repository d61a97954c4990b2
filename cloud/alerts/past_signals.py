"""Signals of devices over time, as the facts know them: for what was over before anybody here could know."""

from collections.abc import Mapping

from cloud.alerts.alert import Key
from cloud.alerts.view import SiteView, Watched
from cloud.facts.database import reading
from cloud.facts.rows import DeviceFacts, load_devices, runs_from
from cloud.facts.store import FactStore
from cloud.facts.timelines import Carry, Judge, Steps, Timeline, judged, point_steps
from devices.rule_kinds import Signal
from devices.rule_truth import DeviceJudge, concerns, device_judge
from devices.rules import Rule

FALSE, TRUE, UNKNOWN = 0, 1, 2
Spans = list[tuple[int, int]]


def signal_spans(store: FactStore, view: SiteView, from_ms: int, to_ms: int) -> dict[Key, Spans]:
    """Stretches [begin, end) in which a signal that a rule asks for was true, begun and ended within (from, to).

    Contact lost while it was true does not end it. Stretches less than the rule's off-delay apart are one. Blocks.
    """
    rules = [rule for rule in view.rules.values() if isinstance(rule.when, Signal)]
    owners = [one for one in view.equipment if one.device]
    if not rules or not owners:
        return {}
    devices = sorted({one.device for one in owners})
    with reading(store.engine) as connection:
        by_epoch = runs_from(connection, view.site, from_ms)
        loaded = load_devices(connection, view.site, devices, (from_ms, to_ms), known=store.profiles, by_epoch=by_epoch)
    found: dict[Key, Spans] = {}
    for device in devices:
        facts = loaded[device]
        profiles = [profile for profile in facts.described.profiles if profile is not None]
        if not any(profile.profile.signals for profile in profiles):
            continue
        steps, _ = point_steps(*facts.day(Carry(), from_ms, to_ms), from_ms, to_ms)
        mine = [one for one in owners if one.device == device]
        for rule in rules:
            spans = _spans_of(rule, facts, steps, (from_ms, to_ms))
            found.update((Key(view.site, rule.id, one.id), spans) for one in mine if spans and _concerns(rule, one))
    return found


def _spans_of(rule: Rule, facts: DeviceFacts, steps: dict[str, Steps], window: tuple[int, int]) -> Spans:
    known = facts.described
    judges = [device_judge(rule, profile) if profile is not None else None for profile in known.profiles]
    if not any(judges):
        return []
    rules = [(since_ms, _code(judge)) for since_ms, judge in zip(known.since_ms, judges, strict=True)]
    return stretches(judged(steps, rules, *window), rule.delays.off_ms, window)


def stretches(timeline: Timeline, off_ms: int, window: tuple[int, int]) -> Spans:
    """Where the code is TRUE; UNKNOWN goes on as what was before, ends less than `off_ms` long are none."""
    found: Spans = []
    open_ms: int | None = None
    columns = (timeline.starts.tolist(), timeline.codes.tolist())
    for begin_ms, code in zip(*columns, strict=True):
        if code == TRUE and open_ms is None:
            again = found and begin_ms - found[-1][1] < off_ms
            open_ms = found.pop()[0] if again else begin_ms
        elif code == FALSE and open_ms is not None:
            found.append((open_ms, begin_ms))
            open_ms = None
    return [span for span in found if window[0] < span[0] and span[1] + off_ms < window[1]]


def _code(judge: DeviceJudge | None) -> Judge:
    if judge is None:
        return lambda _: UNKNOWN
    found = judge

    def code(values: Mapping[str, float | None]) -> int:
        truth = found.truth(values, was=False)
        return UNKNOWN if truth is None else int(truth)

    return code


def _concerns(rule: Rule, one: Watched) -> bool:
    return isinstance(rule.when, Signal) and concerns(rule.when, one.class_, one.criticality)
