"""Signals of the past: from facts of late frames into the record, calling nobody."""

from pathlib import Path

import numpy as np

from cloud.alerts.past import PastAlerts
from cloud.alerts.past_signals import FALSE, TRUE, UNKNOWN, stretches
from cloud.alerts.store import Filter
from cloud.facts.claims import facts_of
from cloud.facts.intake import store_facts
from cloud.facts.ledgers import import_ledger
from cloud.facts.progress import storing
from cloud.facts.store import FactStore
from cloud.facts.timelines import Timeline
from devices.columns import Numbers
from devices.frame import Content
from devices.reading import Series
from devices.records import Inventory, ProfileText
from tests.cloud.live_world import SITE, sealed
from tests.cloud.rule_world import RuleWorld, rule_world

LEDGER = f"""
site: {{id: {SITE}, name: {{en: Lake, zh-CN: L}}, zone: Asia/Shanghai}}
equipment: [{{id: thing, name: {{en: Panel, zh-CN: P}}, code: P-1, class: fire-alarm, criticality: A, device: dev-1}}]
"""
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def remember(world: RuleWorld, seq: int, begin_ms: int, fire: float, end_ms: int) -> None:
    """A frame of the backlog, as the processor stores it."""
    profile = world.profile
    points = sorted(profile.state_points)
    series = tuple(Series("dev-1", point, "", 60) for point in points)
    values = [fire if point == "fire" else 0.0 for point in points]
    numbers = Numbers.of(list(range(len(points))), [begin_ms] * len(points), values, [0] * len(points))
    info = profile.device_info("dev-1")
    records = (ProfileText(profile.hash, profile.text), Inventory(begin_ms, "0", "", (info,))) if seq == 1 else ()
    frame = sealed(Content(series, numbers, records=records), end_ms, seq=seq, from_ms=begin_ms)
    with storing(world.database) as connection:
        store_facts(connection, facts_of(frame, world.now_ms, SITE))


async def test_a_signal_that_came_and_went_in_a_backlog_is_recorded_once_and_calls_nobody(tmp_path: Path) -> None:
    with rule_world(tmp_path / "facts.sqlite", "fire-alarm-contact") as world:
        import_ledger(world.database, LEDGER, "ledger.yaml", actor="test", now_ms=world.now_ms - 9 * HOUR_MS)
        world.describe()
        world.confirm(dict.fromkeys(world.profile.state_points, 0.0), world.now_ms - HOUR_MS, world.now_ms)
        began_ms = world.now_ms - 5 * HOUR_MS
        marks = [began_ms, began_ms + HOUR_MS, began_ms + HOUR_MS + MINUTE_MS, world.now_ms]
        for seq, (begin_ms, end_ms, fire) in enumerate(zip(marks, marks[1:], (0.0, 1.0, 0.0), strict=False), 1):
            remember(world, seq, begin_ms, fire, end_ms)
        past = PastAlerts(world.engine, world.live, FactStore(world.database), lambda: world.now_ms)
        counts = [await past.look(SITE, began_ms - HOUR_MS) for _ in range(2)]
        [kept] = world.store.page(Filter(open_only=False), 10)

        assert world.engine.open_alerts(SITE) == []
    assert counts == [1, 0]
    assert (kept.key.rule, kept.historical, kept.opened_ms, kept.cleared_ms) == ("fire-alarm", True, *marks[1:3])


def test_stretches_go_on_through_silence_and_over_short_ends_and_must_have_ended() -> None:
    codes = [FALSE, TRUE, UNKNOWN, TRUE, FALSE, TRUE, FALSE, TRUE]
    starts = [0, 100, 200, 300, 400, 403, 500, 800]
    timeline = Timeline(np.array(starts, np.int64), np.array(codes, np.uint8), 1_000)

    assert stretches(timeline, 5, (0, 1_000)) == [(100, 500)]
    assert stretches(timeline, 0, (0, 1_000)) == [(100, 400), (403, 500)]
    assert stretches(timeline, 0, (100, 1_000)) == [(403, 500)]
