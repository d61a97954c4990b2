"""The figures of alarm management over a window: can the alerts of a site be worked with? domain.md section 6."""

import asyncio
from fractions import Fraction
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from cloud.alerts.kpis import put_aside, raises_of, stale
from cloud.api.asking import answer, ledger_of, span
from cloud.api.services import Services
from cloud.indicators import alarm_figures
from cloud.indicators.alarm_figures import Flood, Key, Raise
from devices.instants import format_instant

ALERTS_MAX = 5_000
WEEK_MS = 7 * 86_400_000
MAX_MS = 366 * 86_400_000


def alert_figure_routes(services: Services) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/api/v1/sites/{site}", tags=["alerts"])

    async def figures(
        site: str,
        from_: Annotated[str | None, Query(alias="from")] = None,
        to: str | None = None,
        operators: Annotated[int, Query(ge=1, le=1_000)] = 1,
    ) -> Response:
        """Rate, floods, chattering, bad actors, colours, stale, time to acknowledge; of the last week by default.

        Drills are in none of them.
        """
        await asyncio.to_thread(ledger_of, services, site)
        now_ms = services.now()
        begin, end = span(from_, to) or (now_ms - WEEK_MS, now_ms)
        begin = max(begin, end - MAX_MS)
        lived = await asyncio.to_thread(services.alert_store.lived_within, site, begin, end, ALERTS_MAX)
        calls = [one for alert, history in lived for one in raises_of(alert, history) if begin <= one.at_ms < end]
        body = _figures(calls, (begin, end), operators, min(end, now_ms))
        alerts = [alert for alert, _ in lived]
        shelved, suppressed = put_aside(alerts)
        body |= {"stale": [one.id for one in stale(alerts, now_ms)], "shelved": shelved, "suppressed": suppressed}
        return answer(body | {"complete": len(lived) < ALERTS_MAX})

    router.add_api_route("/alert-figures", figures, methods=["GET"])
    return router


def _figures(calls: list[Raise], window: tuple[int, int], operators: int, now_ms: int) -> dict[str, Any]:
    rate = alarm_figures.rate(calls, window, operators)
    floods = alarm_figures.floods(calls, now_ms)
    actors, share = alarm_figures.bad_actors(calls)
    return {
        "window": {"from": format_instant(window[0]), "to": format_instant(window[1])},
        "alerts": len(calls),
        "operators": operators,
        "rate_10_min": {"mean": _float(rate.mean), "peak": _float(rate.peak)},
        "floods": [_flood(one) for one in floods],
        "in_flood": _float(alarm_figures.flooded(floods, window)),
        "chattering": [_counted(key, count) for key, count in alarm_figures.chattering(calls)],
        "bad_actors": {"items": [_counted(key, count) for key, count in actors], "share": _float(share)},
        "split": {colour.value: _float(part) for colour, part in alarm_figures.split(calls).items()},
        "mtta_ms": _float(alarm_figures.mean_to_acknowledge_ms(calls)),
        "acknowledged_in_time": _float(alarm_figures.acknowledged_in_time(calls, now_ms)),
    }


def _float(value: Fraction | None) -> float | None:
    return None if value is None else float(value)


def _counted(key: Key, count: int) -> dict[str, Any]:
    _, rule, thing = key
    return {"rule": rule, "thing": thing, "count": count}


def _flood(one: Flood) -> dict[str, Any]:
    until = None if one.to_ms is None else format_instant(one.to_ms)
    return {"from": format_instant(one.from_ms), "to": until, "count": one.count, "peak": one.peak}
