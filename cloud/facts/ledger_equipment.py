"""Equipment in the ledger: machines whose state is that of one device, or what inspections found."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Literal

from pydantic import Field

from cloud.facts.ledger_values import Name, PointM
from devices.document import Mistake, Section
from devices.point import Id

NO_DEVICE = ""
DAYS_MAX = 3_660  # of an interval: ten years
FIVE_FIXED = ("person", "post", "duty", "maintenance_days", "standard")
PATROL_ROBOT = "patrol-robot"  # the class of the robots of a ledger


class Equipment(Section):
    """A machine, within [commissioned, retired) in local days. Its state is that of one device.

    Without a device its state is what inspections found, for `inspection_days` each (hydrants, extinguishers). What
    moved to another site is retired here and has `moved_to`; what took the place of another `replaces` it, under an id
    of its own, so that it inherits no down time.
    """

    id: Id
    name: Name
    code: str = Field(max_length=100)
    class_: str = Field(alias="class", max_length=100)
    criticality: Literal["A", "B", "C"]
    device: Id = NO_DEVICE
    inspection_days: int | None = Field(default=None, ge=1, le=DAYS_MAX)
    building: Id | None = None
    floor: Id | None = None
    zone: Id | None = None
    position: PointM | None = None
    calendar: Id | None = None  # its required hours; else those of its class, of the site, or always
    redundancy: Id | None = None  # the group in which it stands for others, and others for it
    fed_by: Id | None = None  # the panel without which it does not work: alerts are told with the panel's
    person: str | None = Field(default=None, min_length=1, max_length=100)
    post: str | None = Field(default=None, min_length=1, max_length=100)
    duty: str | None = Field(default=None, min_length=1, max_length=1_000)
    maintenance_days: int | None = Field(default=None, ge=1, le=DAYS_MAX)
    standard: str | None = Field(default=None, min_length=1, max_length=1_000)
    commissioned: date | None = None
    retired: date | None = None
    replaces: Id | None = None
    moved_from: Id | None = None  # the site where it was before
    moved_to: Id | None = None

    @property
    def not_fixed(self) -> tuple[str, ...]:
        """Which of the five fixed fields (person, post, duty, time, standard) are still open."""
        return tuple(name for name in FIVE_FIXED if getattr(self, name) is None)


def equipment_mistakes(equipment: Sequence[Equipment]) -> Iterable[Mistake]:
    """An equipment takes its state from one device, and a device gives it to one equipment at a time."""
    lives: dict[str, list[tuple[date, date, str]]] = {}
    names = {one.id for one in equipment}
    fed_by = {one.id: one.fed_by for one in equipment}
    for index, one in enumerate(equipment):
        begin, end = one.commissioned or date.min, one.retired or date.max
        if begin > end:
            yield Mistake(("equipment", index, "retired"), "retired before it was commissioned")
        if one.moved_to is not None and one.retired is None:
            yield Mistake(("equipment", index, "moved_to"), "has not been retired here")
        if one.replaces == one.id or (one.replaces is not None and one.replaces not in names):
            yield Mistake(("equipment", index, "replaces"), f"there is no other equipment {one.replaces!r}")
        if one.fed_by == one.id or (one.fed_by is not None and one.fed_by not in names):
            yield Mistake(("equipment", index, "fed_by"), f"there is no other equipment {one.fed_by!r}")
        elif _feeds_itself(one.id, fed_by):
            yield Mistake(("equipment", index, "fed_by"), f"{one.id!r} is fed by itself, by way of {one.fed_by!r}")
        if one.device == NO_DEVICE:
            if one.inspection_days is None:
                yield Mistake(("equipment", index), "needs a device, or inspection_days")
            continue
        for other_begin, other_end, other in lives.setdefault(one.device, []):
            if begin < other_end and other_begin < end:
                yield Mistake(("equipment", index, "device"), f"{one.device!r} already gives {other!r} its state")
        lives[one.device].append((begin, end, one.id))


def _feeds_itself(name: str, fed_by: Mapping[str, str | None]) -> bool:
    """Whether the way up from an equipment comes back to it."""
    seen, up = {name}, fed_by.get(name)
    while up is not None and up not in seen:
        seen.add(up)
        up = fed_by.get(up)
    return up == name
