"""Rectification items -> the JSON of the API and the rows of an export. Pure: times are Unix ms UTC."""

from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo

from cloud.alerts.attachments import Attachment
from cloud.alerts.rectification import Item
from cloud.api.picture import Json
from devices.instants import format_instant
from devices.words import catalogue

COLUMNS = (
    "id", "site", "thing", "title", "severity", "quadrant", "step", "reported", "plan", "plan_due", "owner", "due",
    "overdue", "budget", "currency", "progress", "root_cause", "ticket", "executed", "closed", "drill",
)  # fmt: skip
Cell = str | float | None


def item_json(item: Item, names: Mapping[str, Json], now_ms: int) -> Json:
    """An item as the API gives it."""
    return {
        "id": item.id,
        "site": item.site,
        "title": item.title or None,
        "alert": item.alert or None,
        "rule": item.rule or None,
        "thing": item.thing or None,
        "thing_name": names.get(item.thing, {"en": item.thing, "zh-CN": item.thing}) if item.thing else None,
        "severity": item.severity.value,
        "quadrant": item.quadrant.value,
        "step": item.step.value,
        "closed": item.is_closed,
        "withdrawn": item.withdrawn,
        "drill": item.drill,
        "root_cause": item.root_cause,
        "indicator": item.indicator,
        "runbook": item.runbook or None,
        "reported_at": format_instant(item.reported_ms),
        "reporter": item.reporter or None,
        "plan": item.plan or None,
        "planned_by": item.planned_by or None,
        "plan_due": _instant(item.plan_due_ms),
        "owner": item.owner or None,
        "due": _instant(item.due_ms),
        "overdue": is_overdue(item, now_ms),
        "budget": {"amount": item.budget.amount, "currency": item.budget.currency} if item.budget else None,
        "progress": item.progress,
        "ticket": item.ticket or None,
        "executed_at": _instant(item.executed_ms),
        "executed_by": item.executed_by or None,
        "closed_at": _instant(item.closed_ms),
        "closed_by": item.closed_by or None,
        "version": item.version,
    }


def is_overdue(item: Item, now_ms: int) -> bool:
    """Whether its date has passed, or that of a plan that is not there."""
    if item.is_closed:
        return False
    unplanned = not item.is_planned and item.plan_due_ms is not None and item.plan_due_ms <= now_ms
    return unplanned or (item.due_ms is not None and item.due_ms <= now_ms and item.executed_ms is None)


def attachment_json(attachment: Attachment) -> Json:
    """A file as the API lists it."""
    return {
        "id": attachment.id,
        "name": attachment.name,
        "media_type": attachment.media_type,
        "size": attachment.size,
        "sha256": attachment.sha256,
        "actor": attachment.actor,
        "at": format_instant(attachment.at_ms),
    }


def table(
    items: Iterable[Item],
    names: Mapping[str, Mapping[str, Json]],
    zones: Mapping[str, tzinfo],
    language: str,
    now_ms: int,
) -> list[list[Cell]]:
    """The rectification table (R0-36), headings first, times in the zone of each site."""
    words = catalogue(language)
    rows: list[list[Cell]] = [[words[f"rectification.column.{name}"] for name in COLUMNS]]
    for item in items:
        zone = zones.get(item.site)
        name = names.get(item.site, {}).get(item.thing, {}).get(language, item.thing)
        cells: dict[str, Cell] = {
            "id": item.id,
            "site": item.site,
            "thing": str(name),
            "title": item.title or item.rule,
            "severity": words[f"page.severity.{item.severity.value}"],
            "quadrant": words[f"rectification.quadrant.{item.quadrant.value}"],
            "step": words[f"rectification.step.{item.step.value}"],
            "reported": _local(item.reported_ms, zone),
            "plan": item.plan,
            "plan_due": _local(item.plan_due_ms, zone),
            "owner": item.owner,
            "due": _local(item.due_ms, zone),
            "overdue": int(is_overdue(item, now_ms)),
            "budget": item.budget.amount / 100 if item.budget else None,
            "currency": item.budget.currency if item.budget else "",
            "progress": item.progress,
            "root_cause": int(item.root_cause),
            "ticket": item.ticket,
            "executed": _local(item.executed_ms, zone),
            "closed": _local(item.closed_ms, zone),
            "drill": int(item.drill),
        }
        rows.append([cells[name] for name in COLUMNS])
    return rows


def _instant(time_ms: int | None) -> str | None:
    return None if time_ms is None else format_instant(time_ms)


def _local(time_ms: int | None, zone: tzinfo | None) -> str:
    if time_ms is None:
        return ""
    if zone is None:
        return format_instant(time_ms)
    return datetime.fromtimestamp(time_ms / 1000, zone).strftime("%Y-%m-%d %H:%M")
