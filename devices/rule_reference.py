"""The reference page of the packaged rules, made from the pack and the catalogue."""

from collections.abc import Iterable, Iterator, Sequence

from devices.rule_kinds import (
    Change,
    Consecutive,
    EquipmentState,
    EventRule,
    Idleness,
    IndicatorLimit,
    MissingData,
    Overdue,
    Projection,
    Repeat,
    RobotStates,
    Signal,
)
from devices.rules import Rule, RulePack, Where
from devices.words import FALLBACK, catalogue

HEAD = """\
# The alert rules

Made from `devices/rule_packs` by `gatehouse rules reference`; do not edit. How to change one for a site, and how to add
your own, is in [own-rule.md](own-rule.md).

Delays: a condition must last its on-delay before it is an alert, and be gone for its off-delay before it clears. An
alert's start is that of the condition, not the end of the delay. *Edge* rules are judged by the gateway as well, and
work without the cloud. Red alerts are latched: they stay open until a person resolves them."""
_COLUMNS = ("rule", "colour", "when", "on", "off", "where")


def reference(pack: RulePack) -> str:
    """The page in Markdown."""
    overview = "\n".join(_table(_COLUMNS, (_row(rule) for rule in pack.rules)))
    parts = [HEAD, f"Pack `{pack.id}`, version {pack.version}.", overview, "## What to do", *_runbooks(pack)]
    return "\n\n".join(parts) + "\n"


def _row(rule: Rule) -> Sequence[str]:
    where = "edge and cloud" if rule.at is Where.EDGE else "cloud"
    return f"`{rule.id}`", rule.severity.value, _when(rule), _time(rule.on_delay), _time(rule.off_delay), where


def _when(rule: Rule) -> str:
    when = rule.when
    match when:
        case Signal():
            return "signal " + " or ".join(f"`{name}`" for name in when.signals)
        case EquipmentState():
            return f"class {', '.join(when.criticalities) or 'any'} in {' or '.join(when.states)}"
        case MissingData():
            return f"no data of a {when.of}"
        case RobotStates():
            return f"robot {' or '.join(when.states)}" + (" in required hours" if when.required_hours else "")
        case IndicatorLimit():
            below = "its target" if when.below == "target" else f"{when.below:g}"
            return f"`{when.indicator}` ({when.judge}, {when.window}) below {below}, asked every {when.every}"
        case Change():
            what = ", ".join(f"`{name}`" for name in when.indicators) or "any indicator"
            by = {"down": "down", "up": "up", "either": "up or down"}[when.direction]
            return f"{what} {by} by more than {when.percent:g} % week on week"
        case Consecutive():
            return f"`{when.indicator}` below its target in {when.periods} {when.period}(s) running, once final"
        case Repeat():
            return f"the same fault of the same equipment {when.count} times in {when.days} days"
    return _rarer(rule)


def _rarer(rule: Rule) -> str:
    when = rule.when
    match when:
        case Overdue():
            return f"date of the next {when.of} has passed, asked every day"
        case Projection():
            return f"`{when.indicator}` of today will miss its target, said at {when.after:.0%} of the required hours"
        case Idleness():
            return f"a checkpoint not visited for {when.factor:g} times its interval"
        case EventRule():
            return "a fork, a broken chain, two senders or a wrong signature in the evidence log"
    return "no free space in a parking group"


def _time(seconds: float) -> str:
    if not seconds:
        return "–"
    return f"{seconds / 60:g} min" if seconds >= 60 and seconds % 60 == 0 else f"{seconds:g} s"


def _runbooks(pack: RulePack) -> Iterator[str]:
    words = catalogue(FALLBACK)
    by_runbook: dict[str, list[str]] = {}
    for rule in pack.rules:
        by_runbook.setdefault(rule.runbook or "", []).append(rule.id)
    for key, rules in by_runbook.items():
        if key:
            yield f"{', '.join(f'`{name}`' for name in rules)}: {words[key]}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
