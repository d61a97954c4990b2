"""Versions of a site's ledger -> who is counted when, by which device, in which hours and in which group. Pure.

A version holds for whole local days: a day is that of the version valid at its end. Robots are equipment, too.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from cloud.facts.days import Span, clipped, date_start, day_bounds, day_of, days_between, merged
from cloud.facts.equipment_policy import Policies
from cloud.facts.ledger import Ledger
from cloud.facts.ledger_duty import Calendar, Redundancy, off_duty_spans
from cloud.facts.ledger_equipment import Equipment
from cloud.facts.ledgers import LedgerVersion
from cloud.facts.timelines import NEVER_MS


@dataclass(slots=True)
class Member:
    """An equipment as the last version within the window describes it. Spans are ascending and disjoint."""

    equipment: Equipment
    lives: list[Span] = field(default_factory=list)
    devices: list[tuple[Span, str]] = field(default_factory=list)
    off_duty: list[Span] = field(default_factory=list)
    group: Redundancy | None = None


def roster(
    versions: Sequence[LedgerVersion], policies: Policies, from_ms: int, to_ms: int
) -> dict[str, Member]:  # fmt: skip
    """Everything that a version valid in [from_ms, to_ms) names, in the order of the last one, alive in it or not."""
    found: dict[str, Member] = {}
    off_duty: dict[tuple[int, str], tuple[Span, ...]] = {}
    last: tuple[Equipment, ...] = ()
    for number, (span, ledger) in enumerate(held_spans(versions)):
        begin, end = max(span[0], from_ms), min(span[1], to_ms)
        if begin >= end:
            continue
        zone, calendars = ledger.site.time_zone, {one.id: one for one in ledger.calendars}
        groups = {one.id: one for one in ledger.redundancy}
        last = ledger.machines if policies.at(end - 1).robots_are_equipment else ledger.equipment
        for one in last:
            member = found.setdefault(one.id, Member(one))
            member.equipment = one
            member.group = groups.get(one.redundancy or "")
            life = clipped([lifetime_of(one, ledger)], begin, end)
            member.lives = list(merged([*member.lives, *life]))
            _add_device(member.devices, (begin, end), one.device)
            calendar = calendars.get(
                one.calendar or ledger.class_calendars.get(one.class_) or ledger.site.calendar or ""
            )
            if calendar is not None:
                if (number, calendar.id) not in off_duty:
                    off_duty[number, calendar.id] = _off_duty(calendar, (begin, end), zone)
                member.off_duty += off_duty[number, calendar.id]
    for member in found.values():
        member.off_duty = list(merged(member.off_duty))
    return {name: found[name] for name in dict.fromkeys([*(one.id for one in last), *found])}


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


def _add_device(devices: list[tuple[Span, str]], span: Span, device: str) -> None:
    if devices and devices[-1][1] == device and devices[-1][0][1] == span[0]:
        devices[-1] = ((devices[-1][0][0], span[1]), device)
    else:
        devices.append((span, device))


def _off_duty(calendar: Calendar, span: Span, zone: ZoneInfo) -> tuple[Span, ...]:
    return clipped(off_duty_spans(calendar, days_between(*span, zone), zone), *span)
