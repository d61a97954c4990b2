"""What a site's page shows, as plain JSON values, and what changed between two such pictures. Pure.

`difference` and `applied` are two sides of one protocol: a picture with a difference applied is the later one.
Of a robot or an equipment that changed only the changed fields are told, beside its id; all else is told whole.
The page does in JavaScript what `applied` does here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Picture:
    """One moment of a site. Things are kept by id in their order; coverage by floor holds passes by cell."""

    site: Json
    floors: list[Json]
    spaces: dict[str, Json] = field(default_factory=dict)
    robots: dict[str, Json] = field(default_factory=dict)
    equipment: dict[str, Json] = field(default_factory=dict)
    grids: dict[str, Json] = field(default_factory=dict)
    coverage: dict[str, dict[int, int]] = field(default_factory=dict)
    alerts: dict[str, Json] = field(default_factory=dict)
    indicators: dict[str, Json] = field(default_factory=dict)

    def frame(self) -> tuple[object, ...]:
        """Give what deltas cannot change: another frame needs a new snapshot."""
        return (
            self.site,
            self.floors,
            [(name, space["rect"], space["floor"]) for name, space in self.spaces.items()],
            list(self.robots),
            list(self.equipment),
            self.grids,
        )

    def snapshot(self, epoch: str, seq: int, time: str) -> Json:
        """Give the whole picture as the API gives it."""
        return {
            "seq": seq,
            "epoch": epoch,
            "time": time,
            "site": self.site,
            "floors": self.floors,
            "spaces": self.spaces,
            "robots": list(self.robots.values()),
            "equipment": list(self.equipment.values()),
            "coverage": {
                floor: {**grid, "cells": [list(cell) for cell in self.coverage.get(floor, {}).items()]}
                for floor, grid in self.grids.items()
            },
            "alerts": list(self.alerts.values()),
            "indicators": list(self.indicators.values()),
        }


def difference(before: Picture, after: Picture, closed: Mapping[str, Json]) -> Json | None:
    """Give what a delta has to say, `{}` for nothing, None where only a new snapshot helps.

    `closed` holds, by id, alerts that have left the open ones since.
    """
    if before.frame() != after.frame() or before.indicators.keys() - after.indicators.keys():
        return None
    gone = before.alerts.keys() - after.alerts.keys()
    if gone - closed.keys():
        return None
    said: Json = {
        "spaces": {name: one["state"] for name, one in after.spaces.items() if one != before.spaces[name]},
        "robots": _changed_fields(before.robots, after.robots),
        "equipment": _changed_fields(before.equipment, after.equipment),
        "coverage": {
            floor: cells
            for floor in after.grids
            if (cells := _cells(before.coverage.get(floor, {}), after.coverage.get(floor, {})))
        },
        "alerts": _changed(before.alerts, after.alerts) + [closed[name] for name in sorted(gone)],
        "indicators": _changed(before.indicators, after.indicators),
    }
    return {key: value for key, value in said.items() if value}


def applied(snapshot: Json, delta: Json) -> Json:
    """Give the snapshot after a delta that follows it. The reference for the page; alerts come in no order."""
    after = {**snapshot, "seq": delta["seq"], "time": delta["t"]}
    states: dict[str, str] = delta.get("spaces", {})
    after["spaces"] = {
        name: {**space, "state": states.get(name, space["state"])} for name, space in snapshot["spaces"].items()
    }
    for kind in ("robots", "equipment", "indicators"):
        news = {one["id"]: one for one in delta.get(kind, [])}
        after[kind] = [{**one, **news.pop(one["id"], {})} for one in snapshot[kind]] + list(news.values())
    after["coverage"] = {
        floor: {**grid, "cells": _with_cells(grid["cells"], delta.get("coverage", {}).get(floor, []))}
        for floor, grid in snapshot["coverage"].items()
    }
    alerts = {one["id"]: one for one in snapshot["alerts"]} | {one["id"]: one for one in delta.get("alerts", [])}
    after["alerts"] = [one for one in alerts.values() if one["handling"] != "resolved" and not one["historical"]]
    return after


def _changed(before: Mapping[str, Json], after: Mapping[str, Json]) -> list[Json]:
    return [one for name, one in after.items() if before.get(name) != one]


def _changed_fields(before: Mapping[str, Json], after: Mapping[str, Json]) -> list[Json]:
    """Rows that changed, without what stayed the same: a value that moves must not send a row's 24 hours along."""
    return [
        {"id": name, **{field: value for field, value in one.items() if before[name].get(field) != value}}
        for name, one in after.items()
        if before[name] != one
    ]


def _cells(before: Mapping[int, int], after: Mapping[int, int]) -> list[list[int]]:
    if before == after:
        return []
    news = [[cell, passes] for cell, passes in after.items() if before.get(cell) != passes]
    return news + [[cell, 0] for cell in before if cell not in after]


def _with_cells(cells: list[list[int]], news: list[list[int]]) -> list[list[int]]:
    known = {cell: passes for cell, passes in (*cells, *news)}  # noqa: C416  dict() cannot tell that these are pairs
    return [[cell, passes] for cell, passes in known.items() if passes]
