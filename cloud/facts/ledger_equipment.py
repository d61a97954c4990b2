"""Equipment in the ledger: machines whose state is that of one device."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Literal

from pydantic import Field

from cloud.facts.ledger_values import Name, PointM
from devices.document import Mistake, Section
from devices.point import Id


class Equipment(Section):
    """A machine whose state is that of one device, within [commissioned, retired) in local days."""

    id: Id
    name: Name
    code: str = Field(max_length=100)
    class_: str = Field(alias="class", max_length=100)
    criticality: Literal["A", "B", "C"]
    device: Id
    floor: Id | None = None
    position: PointM | None = None
    commissioned: date | None = None
    retired: date | None = None


def equipment_mistakes(equipment: Sequence[Equipment]) -> Iterable[Mistake]:
    """An equipment takes its state from one device, and a device gives it to one equipment at a time."""
    lives: dict[str, list[tuple[date, date, str]]] = {}
    for index, one in enumerate(equipment):
        begin, end = one.commissioned or date.min, one.retired or date.max
        if begin > end:
            yield Mistake(("equipment", index, "retired"), "retired before it was commissioned")
        for other_begin, other_end, other in lives.setdefault(one.device, []):
            if begin < other_end and other_begin < end:
                yield Mistake(("equipment", index, "device"), f"{one.device!r} already gives {other!r} its state")
        lives[one.device].append((begin, end, one.id))
