"""What equipment was doing over time: roster, devices and what was entered, put together. Pure.

One engine for pages, indicators and evidence; `equipment_lookup` finds what it needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloud.facts.days import Span, merged
from cloud.facts.equipment_inputs import Entered
from cloud.facts.equipment_policy import Policies
from cloud.facts.equipment_roster import Member, groups_of
from cloud.facts.equipment_states import (
    OFF_DUTY,
    Circumstances,
    Worked,
    counted,
    group_delivers,
    painted,
    without,
    worked_out,
)
from cloud.facts.ledger_equipment import NO_DEVICE, Equipment
from cloud.facts.timelines import UNKNOWN, Timeline, constant, joined

ABSENT = 5  # of the codes of what time counts as: between two times in the ledger
DAY_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True, eq=False)
class EquipmentTimeline:
    """An equipment over the part of a window in which it was in the ledger; both timelines may be empty.

    `states` are codes of `timelines.EQUIPMENT_STATES`, `counts` those of `equipment_states` (UP, DOWN, NOT_KNOWN,
    EXCLUDED, BY_HAND) and ABSENT. `stops` are its faults, those with less than 5 min between them as one, also from
    before the window; `device` is what its device said (None: nothing was ever heard).
    """

    equipment: Equipment
    states: Timeline
    counts: Timeline
    stops: tuple[Span, ...]
    device: Timeline | None
    faults: tuple[Span, ...] = ()  # before calendars, windows and drills were laid over them

    def clipped(self, from_ms: int, to_ms: int) -> "EquipmentTimeline":
        """The part within [from_ms, to_ms)."""
        states, counts = self.states.clipped(from_ms, to_ms), self.counts.clipped(from_ms, to_ms)
        return EquipmentTimeline(self.equipment, states, counts, self.stops, self.device, self.faults)


@dataclass(frozen=True, slots=True)
class Given:
    """What a site's people entered, as of some revision of its inputs."""

    policies: Policies
    entered: Entered


def put_together(
    members: Mapping[str, Member], given: Given, devices: Mapping[str, Timeline], window: Span, *,
    heard: Mapping[str, Sequence[Span]], red: Mapping[str, Sequence[Span]],
) -> list[EquipmentTimeline]:  # fmt: skip
    """Timelines of members over a window. Pure.

    `devices` reach back for context; they may lack what was never heard. `heard` are times of gateways by device.
    """
    told = {name: _circumstances(name, one, given, heard, red) for name, one in members.items()}
    said = {name: devices.get(one.equipment.device) for name, one in members.items()}
    worked = {name: worked_out(said[name], told[name], given.policies, *window) for name in members}
    delivering: dict[str, list[Span]] = {}
    for group, names in groups_of(members).items():
        needed = next(one.group.needed for name in names if (one := members[name]).group is not None)
        delivering[group] = group_delivers([(worked[name].states, members[name].lives) for name in names], needed)
    found = []
    for name, member in members.items():
        of_group = delivering.get(member.group.id, ()) if member.group else ()
        counts = counted(worked[name], told[name], given.policies, of_group)
        found.append(_in_its_lives(member, worked[name], counts, said[name]))
    return found


def _in_its_lives(member: Member, worked: Worked, counts: Timeline, device: Timeline | None) -> EquipmentTimeline:
    lives, end_ms = member.lives, worked.states.end_ms
    begin, end = (lives[0][0], lives[-1][1]) if lives else (end_ms, end_ms)
    away = without([(begin, end)], lives)
    states, counts = painted(worked.states, away, OFF_DUTY), painted(counts, away, ABSENT)
    return EquipmentTimeline(
        member.equipment, states.clipped(begin, end), counts.clipped(begin, end), worked.stops, device, worked.faults
    )


def followed(past: Sequence[EquipmentTimeline], now: Sequence[EquipmentTimeline]) -> list[EquipmentTimeline]:
    """Timelines up to a moment and from it on, as one; in the order of the later ones, described as there."""
    before = {one.equipment.id: one for one in past}
    found = [_both(before.pop(one.equipment.id), one) if one.equipment.id in before else one for one in now]
    return [*found, *before.values()]


def _both(past: EquipmentTimeline, now: EquipmentTimeline) -> EquipmentTimeline:
    stops, faults = merged([*past.stops, *now.stops]), merged([*past.faults, *now.faults])
    states, counts = _joined(past.states, now.states, OFF_DUTY), _joined(past.counts, now.counts, ABSENT)
    if past.device is None or now.device is None or past.device is now.device:
        return EquipmentTimeline(now.equipment, states, counts, stops, now.device or past.device, faults)
    begin, first = int(now.device.starts[0]), int(past.device.starts[0])
    device = now.device if begin <= first else _joined(past.device.clipped(first, begin), now.device, UNKNOWN)
    return EquipmentTimeline(now.equipment, states, counts, stops, device, faults)


def _joined(past: Timeline, now: Timeline, between: int) -> Timeline:
    if not len(past.starts) or not len(now.starts):
        return past if len(past.starts) else now
    gap = constant(past.end_ms, int(now.starts[0]), between)
    return joined([past, gap, now] if len(gap.starts) else [past, now])


def _circumstances(
    name: str, member: Member, given: Given, heard: Mapping[str, Sequence[Span]], red: Mapping[str, Sequence[Span]]
) -> Circumstances:
    one, entered = member.equipment, given.entered
    return Circumstances(
        lives=member.lives,
        has_device=one.device != NO_DEVICE,
        off_duty=member.off_duty,
        drills=merged([*entered.drills.get("", ()), *entered.drills.get(name, ())]),
        windows=entered.windows.get(name, ()),
        findings=entered.findings.get(name, ()),
        inspected_for_ms=one.inspection_days * DAY_MS if one.inspection_days else None,
        excluded=entered.excluded.get(name, ()),
        red=tuple(red.get(name, ())) if one.criticality == "A" else (),
        class_=one.class_,
        heard=tuple(heard.get(one.device, ())),
        grace=member.group.grace_h if member.group else None,
        in_group=member.group is not None,
    )
