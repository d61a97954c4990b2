"""Tables of docs/ledger.md, made from the models: `python -m cloud.facts.ledger_reference docs/ledger.md`."""

import re
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cloud.facts.equipment_inputs import DRILL, EXCLUSION, INSPECTION, WINDOW, Drill, Exclusion, Inspection
from cloud.facts.equipment_inputs import MaintenanceWindow as Window
from cloud.facts.equipment_policy import EQUIPMENT_POLICY, EquipmentPolicy
from cloud.facts.ledger import Floor, Site
from cloud.facts.ledger_duty import Building, Calendar, Redundancy
from cloud.facts.ledger_equipment import Equipment
from cloud.facts.ledger_parking import Counted, GroupBarrier, ParkingGroup, Space
from cloud.facts.ledger_patrol import Checkpoint, Robot, Zone

TABLES: Mapping[str, type[BaseModel]] = {
    "site": Site, "buildings": Building, "equipment": Equipment, "calendars": Calendar, "redundancy": Redundancy,
    "floors": Floor, "parking": ParkingGroup, "counted": Counted, "barriers": GroupBarrier, "spaces": Space,
    "robots": Robot, "zones": Zone, "checkpoints": Checkpoint,
    WINDOW: Window, EXCLUSION: Exclusion, DRILL: Drill, INSPECTION: Inspection, EQUIPMENT_POLICY: EquipmentPolicy,
}  # fmt: skip
_PLACE = re.compile(r"(<!-- keys of ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_NAMES = {"str": "text", "int": "whole number", "float": "number", "bool": "yes/no", "date": "date"}


def with_tables(page: str) -> str:
    """The page with every table between its marks written anew. Raises KeyError for a mark of nothing."""
    return _PLACE.sub(lambda found: f"{found[1]}\n{_table(TABLES[found[2]])}\n{found[3]}", page)


def _table(model: type[BaseModel]) -> str:
    rows = [
        f"| `{field.alias or key}` | {_kind(field.annotation)}{_bounds(field)} | {_default(field)} |"
        for key, field in model.model_fields.items()
    ]
    return "\n".join(["| key | value | if left out |", "|---|---|---|", *rows]) + "\n"


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {Union, types.UnionType}:
        return " or ".join(_kind(one) for one in arguments if one is not type(None))
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in arguments)
    if hasattr(annotation, "__metadata__"):
        return _kind(arguments[0])
    if origin is tuple:
        kinds = [_kind(one) for one in arguments if one is not ...]
        return f"list of {kinds[0]}" if ... in arguments else f"[{', '.join(kinds)}]"
    if origin is dict:
        return f"{_kind(arguments[1])} by {_kind(arguments[0])}"
    name = getattr(annotation, "__name__", str(annotation))
    return "a name in `en` and `zh-CN`" if name == "Name" else _NAMES.get(name, name)


def _bounds(field: FieldInfo) -> str:
    low, high = _bound(field.metadata, ("ge", "gt")), _bound(field.metadata, ("le", "lt"))
    return f", {low} to {high}" if low is not None and high is not None else ""


def _bound(metadata: Iterable[Any], names: tuple[str, ...]) -> Any:
    found = (getattr(one, name) for one in metadata for name in names if hasattr(one, name))
    return next(found, None)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be there"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ("", (), {}):
        return "none"
    return f"`{value}`" if isinstance(value, str | int | float) else f"`{', '.join(map(str, value))}`"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(with_tables(page.read_text("utf-8")), "utf-8")
