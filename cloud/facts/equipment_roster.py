"""Versions of a site's ledger -> who is counted when, by which device, in which hours and in which group. Pure.

A version holds for whole local days: a day is that of the version valid at its end. Robots are equipment, too.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from cloud.facts.days import Span, clipped, date_start, day_bounds, day_of, days_between, merged
from cloud.facts.equipment_policy import Policies
from cloud.facts.ledger import Ledger
from cloud.facts.ledger_duty import Calendar, Redundancy, off_duty_spans
from cloud.facts.ledger_equipment import Equipment
from cloud.facts.ledgers import LedgerVersion
from cloud.facts.timelines import NEVER_MS


@dataclass(frozen=True, slots=True)
class Member:
    """An equipment as one version describes it. Spans are ascending and disjoint."""

    equipment: Equipment
    lives: tuple[Span, ...]
    off_duty: tuple[Span, ...] = ()
    group: Redundancy | None = None


def rosters(
    versions: Sequence[LedgerVersion], policies: Policies, from_ms: int, to_ms: int
) -> list[tuple[Span, dict[str, Member]]]:  # fmt: skip
    """For each part of [from_ms, to_ms) that one version and one policy hold for: its equipment, alive or not."""
    found = []
    for span, ledger in held_spans(versions):
        for begin, end in _parts(policies, max(span[0], from_ms), min(span[1], to_ms)):
            machines = ledger.machines if policies.at(begin).robots_are_equipment else ledger.equipment
            found.append(((begin, end), _members(ledger, machines, (begin, end))))
    return found


def _parts(policies: Policies, from_ms: int, to_ms: int) -> list[Span]:
    if from_ms >= to_ms:
        return []
    edges = [from_ms, *(one for one in policies.since_ms if from_ms < one < to_ms), to_ms]
    return list(itertools.pairwise(edges))


def _members(ledger: Ledger, machines: Sequence[Equipment], span: Span) -> dict[str, Member]:
    zone, groups = ledger.site.time_zone, {one.id: one for one in ledger.redundancy}
    calendars = {one.id: one for one in ledger.calendars}
    off_duty: dict[str, tuple[Span, ...]] = {"": ()}
    found = {}
    for one in machines:
        name = one.calendar or ledger.class_calendars.get(one.class_) or ledger.site.calendar or ""
        if name not in off_duty:
            off_duty[name] = _off_duty(calendars[name], span, zone)
        life = clipped([lifetime_of(one, ledger)], *span)
        found[one.id] = Member(one, life, off_duty[name], groups.get(one.redundancy or ""))
    return found


def held_spans(versions: Sequence[LedgerVersion]) -> Iterator[tuple[Span, Ledger]]:
    """When each version holds, in whole local days; the first since ever, the last for ever."""
    starts = [-NEVER_MS]
    for one in versions[1:]:
        zone = one.ledger.site.time_zone
        starts.append(day_bounds(day_of(one.valid_from_ms, zone), zone)[0])
    for index, one in enumerate(versions):
        end = starts[index + 1] if index + 1 < len(starts) else NEVER_MS
        if starts[index] < end:
            yield (starts[index], end), one.ledger


def lifetime_of(equipment: Equipment, ledger: Ledger) -> Span:
    """[commissioned, retired) in Unix ms UTC; local midnights."""
    begin = equipment.commissioned or ledger.site.commissioned
    zone = ledger.site.time_zone
    return (
        date_start(begin, zone) if begin else -NEVER_MS,
        date_start(equipment.retired, zone) if equipment.retired else NEVER_MS,
    )


def groups_of(members: Mapping[str, Member]) -> dict[str, list[str]]:
    """Ids of the members of each redundancy group."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, member in members.items():
        if member.group is not None:
            found[member.group.id].append(name)
    return found


def _off_duty(calendar: Calendar, span: Span, zone: ZoneInfo) -> tuple[Span, ...]:
    return merged(clipped(off_duty_spans(calendar, days_between(*span, zone), zone), *span))
