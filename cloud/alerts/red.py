"""When red alerts stood, by equipment: what a policy may let DEGRADED of criticality A count as down by."""

from collections import defaultdict

import msgspec
import sqlalchemy as sa

from cloud.alerts.alert import Alert
from cloud.facts.database import reading
from cloud.facts.days import Span, clipped, merged
from cloud.facts.tables_alerts import alert_records

RED = "red"
_decoder = msgspec.json.Decoder(Alert)


def red_spans(engine: sa.Engine, site: str, from_ms: int, to_ms: int) -> dict[str, tuple[Span, ...]]:
    """Spans within [from_ms, to_ms) by the thing that the alert is about; an alert that stands lasts to the end."""
    wanted = sa.select(alert_records.c.body).where(alert_records.c.site == site, alert_records.c.severity == RED)
    found: dict[str, list[Span]] = defaultdict(list)
    with reading(engine) as connection:
        for body in connection.execute(wanted).scalars():
            alert = _decoder.decode(body)
            end_ms = to_ms if alert.cleared_ms is None else alert.cleared_ms
            if not alert.drill:
                found[alert.key.thing] += clipped([(alert.opened_ms, end_ms)], from_ms, to_ms)
    return {thing: merged(spans) for thing, spans in found.items() if spans}
