"""Every router over the store of facts alone: what people enter, what stands behind numbers, patrols, notifications."""

from collections.abc import Callable

from fastapi import APIRouter

from cloud.alerts.notify.dispatcher import Dispatcher
from cloud.api.benchmark_routes import benchmark_routes
from cloud.api.channel_routes import channel_routes
from cloud.api.duty_routes import duty_routes
from cloud.api.evidence_routes import evidence_routes
from cloud.api.indicator_detail_routes import indicator_detail_routes
from cloud.api.ledger_routes import ledger_routes
from cloud.api.patrol_routes import patrol_routes
from cloud.api.patrol_views import PatrolViews
from cloud.evidence.package import Sources
from cloud.facts.desk import Desk
from cloud.facts.store import FactStore
from cloud.indicators.desk import IndicatorDesk


def store_routes(
    store: FactStore, dispatcher: Dispatcher, evidence: Sources, now: Callable[[], int]
) -> tuple[APIRouter, ...]:
    """Build them. `now` is Unix ms UTC."""
    indicators = IndicatorDesk(store, now)
    return (
        ledger_routes(Desk(store), now),
        patrol_routes(PatrolViews(store), now),
        indicator_detail_routes(indicators),
        benchmark_routes(indicators),
        channel_routes(store, dispatcher, now),
        evidence_routes(store, evidence, now),
        duty_routes(store, now),
    )
