"""What people enter about the states of equipment: maintenance windows, exclusions, drills, inspections.

Each is an input (`cloud.facts.inputs`) whose validity is the time it speaks of. Pure.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from cloud.facts.days import Span, merged
from cloud.facts.equipment_policy import EQUIPMENT_POLICY, EquipmentPolicy
from cloud.facts.equipment_states import Finding, Planned, without
from cloud.facts.inputs import Input, in_force
from devices.document import Section
from devices.point import Id

WINDOW, EXCLUSION, DRILL, INSPECTION = "maintenance-window", "exclusion", "drill", "inspection"
THINGS_MAX = 1_000
WINDOW_MS_MAX = 92 * 24 * 3_600_000  # a stop that is planned for longer is a retirement
NAME_MAX, TEXT_MAX = 200, 2_000

Things = Annotated[tuple[Id, ...], Field(min_length=1, max_length=THINGS_MAX)]
Text = Annotated[str, Field(min_length=1, max_length=TEXT_MAX)]
_S = TypeVar("_S", bound=Section)


class MaintenanceWindow(Section):
    """Planned work on equipment. It counts from its entry on, once somebody has approved it."""

    equipment: Things
    work: Text
    approved_by: str | None = Field(default=None, min_length=1, max_length=NAME_MAX)


class Exclusion(Section):
    """Equipment that is not counted for a while. Its validity must end."""

    equipment: Things


class Drill(Section):
    """An exercise, on some equipment or, without any, on all of the site. It counts from its entry on."""

    equipment: Annotated[tuple[Id, ...], Field(max_length=THINGS_MAX)] = ()


class Inspection(Section):
    """What an inspection found, or an order that an equipment is not intact; its validity begins when that was."""

    equipment: Id
    result: Literal["intact", "not-intact"]
    inspector: str = Field(min_length=1, max_length=NAME_MAX)
    kind: Literal["inspection", "order"] = "inspection"
    findings: str = Field(default="", max_length=TEXT_MAX)


DOCUMENTS: Mapping[str, type[Section]] = {
    WINDOW: MaintenanceWindow, EXCLUSION: Exclusion, DRILL: Drill, INSPECTION: Inspection,
    EQUIPMENT_POLICY: EquipmentPolicy,
}  # fmt: skip
ENDING = (WINDOW, EXCLUSION, DRILL)  # kinds whose validity must end


@dataclass(frozen=True, slots=True)
class Entered:
    """What was entered, by equipment id ("" for all)."""

    windows: Mapping[str, tuple[Planned, ...]]
    excluded: Mapping[str, tuple[Span, ...]]
    drills: Mapping[str, tuple[Span, ...]]
    findings: Mapping[str, tuple[Finding, ...]]


NOTHING = Entered({}, {}, {}, {})


def entered_of(inputs: Mapping[str, Sequence[Input]]) -> Entered:
    """`inputs` are all versions by kind (`inputs_of`)."""
    windows: dict[str, list[Planned]] = defaultdict(list)
    for equipment, planned in _windows(inputs.get(WINDOW, ())):
        windows[equipment].append(planned)
    excluded: dict[str, list[Span]] = defaultdict(list)
    for one in in_force(inputs.get(EXCLUSION, ())):
        for equipment in _read(one, Exclusion).equipment:
            excluded[equipment].append(one.span)
    drills: dict[str, list[Span]] = defaultdict(list)
    for equipment, planned in _drills(inputs.get(DRILL, ())):
        drills[equipment].append((planned.opened_ms, planned.to_ms))
    findings: dict[str, list[tuple[int, int, Finding]]] = defaultdict(list)
    for one in in_force(inputs.get(INSPECTION, ())):
        said = _read(one, Inspection)
        finding = Finding(one.valid_from_ms, said.result == "intact")
        findings[said.equipment].append((finding.at_ms, one.entry, finding))
    return Entered(
        {name: tuple(found) for name, found in windows.items()},
        {name: merged(spans) for name, spans in excluded.items()},
        {name: merged(span for span in spans if span[0] < span[1]) for name, spans in drills.items()},
        {name: tuple(finding for *_, finding in sorted(found, key=lambda one: one[:2]))
         for name, found in findings.items()},
    )  # fmt: skip


def _windows(versions: Sequence[Input]) -> Iterable[tuple[str, Planned]]:
    """Approved time by equipment, each part with the time from which it has stood without a break."""
    return _standing(versions, lambda one: _approved(_read(one, MaintenanceWindow)))


def _approved(window: MaintenanceWindow) -> tuple[str, ...]:
    return window.equipment if window.approved_by is not None else ()


def _drills(versions: Sequence[Input]) -> Iterable[tuple[str, Planned]]:
    return _standing(versions, lambda one: _read(one, Drill).equipment or ("",))


def _standing(versions: Sequence[Input], things: Callable[[Input], tuple[str, ...]]) -> Iterable[tuple[str, Planned]]:
    """What the newest version of each says, cut into parts by since when every later version has said so.

    A window that is lengthened covers the new part from the time of that entry on only.
    """
    by_id: dict[str, list[Input]] = defaultdict(list)
    for one in versions:
        by_id[one.id].append(one)
    for history in by_id.values():
        if history[-1].withdrawn:
            continue
        for equipment in things(history[-1]):
            left: list[tuple[Span, int]] = [(history[-1].span, history[-1].recorded_ms)]
            for older in reversed(history[:-1]):
                if older.withdrawn or equipment not in things(older):
                    break
                left = list(_earlier(left, history, older))
            yield from ((equipment, Planned(*span, entered_ms)) for span, entered_ms in left)


def _earlier(left: Sequence[tuple[Span, int]], history: Sequence[Input], older: Input) -> Iterable[tuple[Span, int]]:
    """Of parts that stood since the version after `older`, what that one says, too, has stood since then."""
    after = history[history.index(older) + 1].recorded_ms
    for span, entered_ms in left:
        shared = (max(span[0], older.span[0]), min(span[1], older.span[1]))
        if entered_ms != after or shared[0] >= shared[1]:
            yield span, entered_ms
            continue
        yield shared, older.recorded_ms
        yield from ((rest, entered_ms) for rest in without([span], [shared]))


def _read(one: Input, model: type[_S]) -> _S:
    return model.model_validate_json(one.document)  # checked when it was entered
