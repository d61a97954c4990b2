"""A policy may let DEGRADED of criticality A count as down while a red alert stands."""

from functools import partial
from pathlib import Path

from cloud.alerts.alert import Alert, Handling, Key, Machine
from cloud.alerts.alert import Entry as AlertEntry
from cloud.alerts.red import red_spans
from cloud.alerts.store import AlertStore
from cloud.facts.desk import Desk, Wish
from cloud.indicators.registry import compute_indicator
from devices.rules import Severity
from tests.cloud.told import SITE, Entry, Told, inventory, ledger_text, new_cloud

HOUR_MS = 3_600_000
NAME = "name: {en: N, zh-CN: N}"


def test_degraded_time_under_a_red_alert_is_down_when_the_policy_says_so(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    ledger = cloud.ledger(
        ledger_text(f"equipment: [{{id: p, {NAME}, code: c, class: pump, criticality: A, device: p}}]")
    )
    entries = tuple(Entry("p", point, 0, value) for point, value in (("alarm", 0.0), ("warning", 1.0)))
    cloud.tell([Told(1, 0, 10 * HOUR_MS, entries, inventory(["p"], 0))])
    alert = Alert(
        "a-1", Key(SITE, "smoke", "p"), Severity.RED, Machine.CLEARED, Handling.NEW, 2 * HOUR_MS, 5 * HOUR_MS,
        "text", {}, cleared_ms=5 * HOUR_MS,
    )  # fmt: skip
    AlertStore(cloud.engine).save([(alert, [AlertEntry(1, "opened", 2 * HOUR_MS, 2 * HOUR_MS)])])
    cloud.facts.of_equipment.red_alerts = partial(red_spans, cloud.engine)

    def down_hours() -> int:
        found = compute_indicator(cloud.facts, ledger, "equipment.intact_rate", (0, 10 * HOUR_MS), 10 * HOUR_MS)
        return (found.denominator - found.numerator) // HOUR_MS

    before = down_hours()
    Desk(cloud.facts).enter(SITE, "equipment-policy", "p", Wish('{"degraded_class_a_red": "down"}', "li", "r", 0), 5)

    assert (before, down_hours()) == (0, 3)
    cloud.engine.dispose()
