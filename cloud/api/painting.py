"""Ledger, live state, facts and alerts -> the JSON of the API. Pure: times are Unix ms UTC, `now_ms` is an argument."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from cloud.alerts.alert import Alert, Entry
from cloud.alerts.duties import acknowledge_due_ms, counts, on_scene_due_ms, plan_due_ms
from cloud.api.picture import Json, Picture
from cloud.facts.ledger import Ledger
from cloud.facts.ledger_equipment import Equipment
from cloud.facts.ledger_parking import Space
from cloud.facts.ledger_patrol import Robot
from cloud.facts.patrol_plan import place_on_floors
from cloud.indicators.definition import IndicatorResult
from cloud.live import LiveDevice, LiveSite
from devices.instants import format_instant
from devices.profile import LoadedProfile
from devices.states import EquipmentState, SpaceState

STRIP_HOURS = 24
SHARE_DECIMALS = 4  # of shares in rows: finer ones would change with every second of a fault
VALUE_DIGITS = 4


@dataclass(frozen=True, slots=True)
class EquipmentPast:
    """What the facts say about one equipment: state now and since when, the worst of each hour, the share up."""

    state: EquipmentState
    since_ms: int | None
    strip: Sequence[EquipmentState]
    intact: Fraction | None


@dataclass(frozen=True, slots=True)
class Past:
    """What is computed from the facts every few seconds rather than with every change."""

    equipment: Mapping[str, EquipmentPast] = field(default_factory=dict)
    grids: Mapping[str, Json] = field(default_factory=dict)
    cells: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    indicators: Sequence[IndicatorResult] = ()
    values: Mapping[str, tuple[float, str]] = field(default_factory=dict)  # shown value and unit, by device

    def with_values(self, values: Mapping[str, tuple[float, str]]) -> "Past":
        """Give the same with these values: a value that trembles must not send every row every second."""
        return replace(self, values=values)


def paint(ledger: Ledger, live: LiveSite, past: Past, alerts: Iterable[Alert], now_ms: int) -> Picture:
    """What the page of a site shows at `now_ms`."""
    names = thing_names(ledger)
    return Picture(
        site={"id": ledger.site.id, "name": ledger.site.name.in_languages(), "zone": ledger.site.zone},
        floors=floors_json(ledger),
        spaces=_spaces(ledger, live, now_ms),
        robots={robot.id: _robot(robot, ledger, live.devices.get(robot.device), now_ms) for robot in ledger.robots},
        equipment={one.id: equipment_row(one, live.devices.get(one.device), past, now_ms) for one in ledger.equipment},
        grids=dict(past.grids),
        coverage={floor: dict(cells) for floor, cells in past.cells.items()},
        alerts={alert.id: alert_json(alert, names) for alert in alerts},
        indicators={result.id: indicator_json(result) for result in past.indicators},
    )


def floors_json(ledger: Ledger) -> list[Json]:
    """Every floor with its plan, in metres."""
    return [
        {
            "id": floor.id,
            "name": floor.name.in_languages(),
            "width_m": floor.width_m,
            "height_m": floor.height_m,
            "walls": [[list(point) for point in wall] for wall in floor.walls],
        }
        for floor in ledger.floors
    ]


def equipment_row(one: Equipment, device: LiveDevice | None, past: Past, now_ms: int) -> Json:
    """One row of the equipment list. The live state goes before the facts', which follow a moment later."""
    known = past.equipment.get(one.id)
    state, since_ms = known.state if known else EquipmentState.UNKNOWN, known.since_ms if known else None
    if device is not None and device.held and state not in _OF_CALENDARS:
        live_state, live_since_ms = device.equipment(now_ms)
        if live_state is not state:
            state, since_ms = live_state, live_since_ms or None
    shown = past.values.get(one.device)
    strip = [hour.name for hour in known.strip] if known else []
    strip = [EquipmentState.UNKNOWN.name] * (STRIP_HOURS - len(strip)) + strip
    return {
        "id": one.id,
        "name": one.name.in_languages(),
        "code": one.code,
        "class": one.class_,
        "criticality": one.criticality,
        "device": one.device,
        "floor": one.floor,
        "position": list(one.position) if one.position else None,
        "state": state.name,
        "since": _instant(since_ms),
        "value": shown[0] if shown else None,
        "value_unit": shown[1] if shown else None,
        "strip": strip,
        "intact_24h": _share(known.intact) if known else None,
    }


def shown_value(device: LiveDevice, now_ms: int) -> tuple[float, str] | None:
    """The value that stands for a device in a list: its profile's first one with a unit, while it is held."""
    point = _main_point(device.profile) if device.profile is not None else None
    held = device.held.get(point) if point is not None else None
    value = device.values(now_ms).get(point) if point is not None else None
    if held is None or value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{VALUE_DIGITS}g}"), held.unit


def thing_names(ledger: Ledger) -> dict[str, Json]:
    """Names by id of everything that an alert may be about."""
    equipment = {one.id: one.name.in_languages() for one in ledger.equipment}
    return equipment | {one.id: one.name.in_languages() for one in ledger.robots}


def alert_json(alert: Alert, names: Mapping[str, Json]) -> Json:
    """An alert as the API gives it."""
    thing = alert.key.thing
    return {
        "id": alert.id,
        "site": alert.key.site,
        "rule": alert.key.rule,
        "thing": thing,
        "thing_name": names.get(thing, {"en": thing, "zh-CN": thing}),
        "severity": alert.severity.value,
        "condition": alert.condition.value,
        "handling": alert.handling.value,
        "opened_at": format_instant(alert.opened_ms),
        "cleared_at": _instant(alert.cleared_ms),
        "last_at": format_instant(alert.last_ms),
        "count": alert.count,
        "text": {"key": alert.text, "parameters": alert.parameters},
        "assignee": alert.assignee,
        "acknowledged_by": alert.acknowledged_by,
        "acknowledged_at": _instant(alert.acknowledged_ms),
        "historical": alert.historical,
        "version": alert.version,
        "latched": alert.latched,
        "drill": alert.drill,
        "sources": list(alert.sources),
        "shelved_until": _instant(alert.shelved_until_ms),
        "shelved_by": alert.shelved_by,
        "shelf_reason": alert.shelf_reason or None,
        "suppressed_by": alert.suppressed_by,
        "escalated_for": alert.escalated_for or None,
        "missed": list(alert.missed),
        "arrived_by": alert.arrived_by,
        "arrived_at": _instant(alert.arrived_ms),
        "resolved_by": alert.resolved_by,
        "resolved_at": _instant(alert.resolved_ms),
        "cause": alert.cause or None,
        "ticket": alert.ticket or None,
        "runbook": alert.runbook or None,
        **{name: _instant(due_ms) for name, due_ms in _dues(alert)},
    }


def _dues(alert: Alert) -> Iterator[tuple[str, int | None]]:
    """What falls due of an alert; nothing while no time runs for it."""
    runs = counts(alert)
    yield "acknowledge_due", acknowledge_due_ms(alert) if runs else None
    yield "plan_due", plan_due_ms(alert) if runs else None
    yield "on_scene_due", on_scene_due_ms(alert) if runs else None


def entry_json(entry: Entry) -> Json:
    """One line of an alert's history."""
    return {
        "at": format_instant(entry.at_ms),
        "recorded_at": format_instant(entry.recorded_ms),
        "kind": entry.kind,
        "actor": entry.actor or None,
        "note": entry.note or None,
        "detail": entry.detail,
    }


def indicator_json(result: IndicatorResult) -> Json:
    """An indicator's result as the API gives it."""
    return {
        "id": result.id,
        "value": _float(result.value),
        "low": _float(result.low),
        "high": _float(result.high),
        "coverage": _float(result.coverage),
        "verdict": result.verdict.value if result.verdict is not None else None,
        "target": _float(result.target),
        "target_version": result.target_version,
        "numerator": result.numerator,
        "denominator": result.denominator,
        "unit": result.unit,
        "window": {"from": format_instant(result.window.from_ms), "to": format_instant(result.window.to_ms)},
        "revision": result.revision,
        "final": result.final,
    }


_OF_CALENDARS = frozenset({EquipmentState.OFF_DUTY, EquipmentState.PM, EquipmentState.DRILL})


def _spaces(ledger: Ledger, live: LiveSite, now_ms: int) -> dict[str, Json]:
    floors = {group.id: group.floor for group in ledger.parking}
    return {
        space.id: {
            "rect": list(space.rect),
            "floor": floors.get(space.group),
            "state": _space(space, live, now_ms).value,
        }
        for space in ledger.spaces
    }


def _space(space: Space, live: LiveSite, now_ms: int) -> SpaceState:
    device = live.devices.get(space.device) if space.device else None
    if device is None:
        return space.ledger_state or SpaceState.UNKNOWN
    return device.space(now_ms, space.ledger_state, space.point)


def _robot(robot: Robot, ledger: Ledger, device: LiveDevice | None, now_ms: int) -> Json:
    place = device.place if device is not None else None
    found = place_on_floors(ledger.floors, place.map_id, place.x_mm, place.y_mm) if place is not None else None
    battery = device.held.get("battery") if device is not None else None
    seen_ms = max((held.time_ms for held in device.held.values()), default=0) if device is not None else 0
    if place is not None:
        seen_ms = max(seen_ms, place.time_ms)
    return {
        "id": robot.id,
        "name": robot.name.in_languages(),
        "x": round(found[1], 3) if found else place.x_mm / 1000 if place else None,
        "y": round(found[2], 3) if found else place.y_mm / 1000 if place else None,
        "heading": place.theta_mrad / 1000 if place else None,
        "battery": battery.value if battery else None,
        "state": device.robot(now_ms).value if device is not None else "unknown",
        "floor": found[0].id if found else None,
        "seen_at": _instant(seen_ms or None),
    }


def _main_point(profile: LoadedProfile) -> str | None:
    return next((name for name in profile.points if profile.unit_of(name)), None)


def _instant(time_ms: int | None) -> str | None:
    return None if time_ms is None else format_instant(time_ms)


def _float(value: Fraction | None) -> float | None:
    return None if value is None else float(value)


def _share(value: Fraction | None) -> float | None:
    """Cut towards the unfavourable side: 0.97999 must not become 0.98."""
    return None if value is None else math.floor(value * 10**SHARE_DECIMALS) / 10**SHARE_DECIMALS
