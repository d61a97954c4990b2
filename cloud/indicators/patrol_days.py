"""The days of patrol that a question is about: what was covered and required, and for how long robots were lost."""

from cloud.facts.coverage_days import required_of_day
from cloud.facts.days import clipped, date_start, day_bounds, length_ms
from cloud.indicators.asking import Asked, once
from cloud.indicators.definition import IndicatorResult
from cloud.indicators.robots import COVERAGE, PatrolDay, coverage_result, lost_ms


def patrol_days(asked: Asked) -> list[PatrolDay]:
    """The local days of a window up to now, each by the ledger of that day."""
    ledger, window = asked.ledger, asked.until_now
    if window.from_ms >= window.to_ms:
        return []
    days = asked.store.covered_days(ledger, window.from_ms, window.to_ms, asked.now_ms)
    devices = sorted({device for day in days for device in day.plan.robots})
    robots = asked.store.timelines(ledger, window.from_ms, window.to_ms, devices)
    zone, began = ledger.site.time_zone, began_ms(asked)
    found = []
    for day in days:
        spans = clipped(required_of_day(day.plan.ledger, day.day), window.from_ms, window.to_ms)
        lost = sum(lost_ms(robots.get(device), spans) for device in day.plan.robots)
        robot_ms = length_ms(spans) * len(day.plan.robots)
        begun = began is not None and day_bounds(day.day, zone)[1] > began
        found.append(PatrolDay(day.cells_covered, day.cells_required, day.required_ms, robot_ms, lost, begun))
    return found


def began_ms(asked: Asked) -> int | None:
    """When the site was both commissioned and heard of; None while nothing was ever heard of it."""
    site = asked.ledger.site
    heard_ms = asked.store.first_heard_ms(site.id)
    if heard_ms is None or site.commissioned is None:
        return heard_ms
    return max(heard_ms, date_start(site.commissioned, site.time_zone))


def robot_coverage(asked: Asked) -> IndicatorResult:
    """COVERAGE over the days of the window."""
    return coverage_result(once(asked, patrol_days), asked.window, asked.ledger.target(COVERAGE), asked.now_ms)
