"""How a site falls into groups: the things of a site by class, criticality, building, floor and so on."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from cloud.facts.ledger import Ledger
from cloud.facts.ledger_equipment import Equipment
from cloud.indicators.definition import UnknownGrouping

Members = Mapping[str, frozenset[str]]
_Named = Iterable[tuple[str | None, str]]  # group and thing
NONE = "-"  # the group of things that the ledger puts nowhere


def members_by(ledger: Ledger, by: str, machines: Sequence[Equipment] | None = None) -> Members:
    """Ids of the things in each group, by its name. Raises UnknownGrouping.

    `machines` are the equipment of the window, which may have been in an older ledger only; None: that of the ledger.
    """
    if by not in _BY:
        raise UnknownGrouping(f"nothing is grouped by {by!r}; there are {', '.join(sorted(_BY))}")
    found: dict[str, set[str]] = defaultdict(set)
    for group, thing in _BY[by](ledger, ledger.machines if machines is None else machines):
        found[NONE if group is None else group].add(thing)
    return {group: frozenset(found[group]) for group in sorted(found)}


def _classes(_: Ledger, machines: Sequence[Equipment]) -> _Named:
    return ((one.class_, one.id) for one in machines)


def _criticalities(_: Ledger, machines: Sequence[Equipment]) -> _Named:
    return ((one.criticality, one.id) for one in machines)


def _equipment(_: Ledger, machines: Sequence[Equipment]) -> _Named:
    return ((one.id, one.id) for one in machines)


def _floors(ledger: Ledger, machines: Sequence[Equipment]) -> _Named:
    floor_of = {group.id: group.floor for group in ledger.parking}
    yield from ((one.floor, one.id) for one in machines)
    yield from ((floor_of.get(one.group), one.id) for one in ledger.spaces)
    yield from ((one.floor, one.id) for one in ledger.parking)


def _buildings(ledger: Ledger, machines: Sequence[Equipment]) -> _Named:
    """What an equipment says itself goes before its floor."""
    building_of = {floor.id: floor.building for floor in ledger.floors}
    said = {one.id: one.building for one in machines if one.building is not None}
    for floor, thing in _floors(ledger, machines):
        yield said.get(thing) or building_of.get(floor or ""), thing


def _parking(ledger: Ledger, _: Sequence[Equipment]) -> _Named:
    yield from ((one.group, one.id) for one in ledger.spaces)
    yield from ((one.id, one.id) for one in ledger.parking)


def _vehicles(ledger: Ledger, _: Sequence[Equipment]) -> _Named:
    vehicle_of = {group.id: group.vehicle for group in ledger.parking}
    yield from ((vehicle_of.get(one.group), one.id) for one in ledger.spaces)
    yield from ((one.vehicle, one.id) for one in ledger.parking)


def _spaces(ledger: Ledger, _: Sequence[Equipment]) -> _Named:
    return ((one.id, one.id) for one in ledger.spaces)


_BY: dict[str, Callable[[Ledger, Sequence[Equipment]], _Named]] = {
    "class": _classes, "criticality": _criticalities, "equipment": _equipment, "floor": _floors,
    "building": _buildings, "parking": _parking, "vehicle": _vehicles, "space": _spaces,
}  # fmt: skip
