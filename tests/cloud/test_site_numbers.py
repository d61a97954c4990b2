"""Facts as pages ask for them, and faults of the past: from real frames in a real store."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from cloud.alerts.past import PastAlerts
from cloud.alerts.store import Filter
from cloud.alerts.watch import SiteWatch
from cloud.api.numbers import SiteNumbers, UnknownSite
from cloud.api.painting import indicator_json, paint
from cloud.facts.claims import facts_of
from cloud.facts.intake import store_facts
from cloud.facts.ledgers import import_ledger
from cloud.facts.progress import storing
from cloud.facts.store import FactStore
from cloud.indicators.definition import UnknownIndicator
from cloud.ingest.gateways import GatewayRegister, parse_public_key
from cloud.ingest.identities import Identities
from devices.columns import Numbers
from devices.frame import Content, Frame
from devices.instants import format_instant
from devices.reading import Series
from tests.cloud.live_world import FAULT, FINE, LEDGER, POINT, SITE, World, described, sealed, started

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
NOW_MS = int(datetime(2026, 5, 20, 4, 30, tzinfo=UTC).timestamp()) * 1000  # 12:30 in Shanghai
BEGAN_MS = NOW_MS - 6 * HOUR_MS
FAILED_MS = NOW_MS - 3 * HOUR_MS
MENDED_MS = FAILED_MS + 30 * MINUTE_MS
SERIES = (Series("di-1", POINT, "", 60),)


def story() -> list[Frame]:
    """Six hours of a polled pump: fine, 30 minutes of fault, fine. Spans touch, so all of it is confirmed."""
    marks = [BEGAN_MS, FAILED_MS, MENDED_MS, NOW_MS]
    frames = []
    for seq, (begin, end, value) in enumerate(zip(marks, marks[1:], (FINE, FAULT, FINE), strict=False), 1):
        numbers = Numbers.of([0], [begin], [value], [0])
        records = described(begin).content.records if seq == 1 else ()
        frame = sealed(Content(SERIES, numbers, records=records), end, seq=seq)
        frames.append(Frame(msgspec.structs.replace(frame.header, from_ms=begin), frame.content, b""))
    return frames


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with started(tmp_path / "facts.sqlite") as one:
        one.now_ms = NOW_MS
        import_ledger(one.database, LEDGER, "ledger.yaml", actor="test", now_ms=BEGAN_MS)
        with storing(one.database) as connection:
            for frame in story():
                store_facts(connection, facts_of(frame, NOW_MS, SITE))
        yield one


def test_the_past_of_a_site_is_what_the_facts_say(world: World) -> None:
    numbers = SiteNumbers(FactStore(world.database))
    ledger = numbers.ledger(SITE)
    past = numbers.past(SITE, NOW_MS)
    assert ledger is not None
    picture = paint(ledger, world.live.site(SITE), past, [], NOW_MS)
    [row] = picture.equipment.values()

    assert (row["state"] == "FAULT", row["since"]) == (False, format_instant(MENDED_MS))
    assert row["strip"].count("FAULT") in {1, 2}
    assert row["intact_24h"] == 0.9166  # 5.5 of 6 known hours, cut
    assert [one["id"] for one in picture.indicators.values()] == ["equipment.intact_rate", "parking.occupancy"]
    assert picture.spaces["b1-017"]["state"] == "unknown"


def test_an_indicator_gives_what_its_integers_give(world: World) -> None:
    one = indicator_json(SiteNumbers(FactStore(world.database)).indicator(SITE, "equipment.intact_rate", "24h", NOW_MS))

    assert one["value"] == one["numerator"] / one["denominator"]
    assert one["denominator"] == pytest.approx(6 * HOUR_MS, abs=2 * MINUTE_MS)
    assert one["low"] <= one["value"] <= one["high"]


@pytest.mark.parametrize(
    ("indicator", "days", "step", "count"),
    [
        ("equipment.intact_rate", None, "day", 7),
        ("robot.coverage", 3, "day", 3),
        ("parking.occupancy", None, "hour", 48),
    ],
)
def test_a_trend_has_a_value_or_null_for_every_bucket(
    world: World, indicator: str, days: int | None, step: str, count: int
) -> None:
    line = SiteNumbers(FactStore(world.database)).trend(SITE, indicator, days, NOW_MS)
    times = [time_ms for time_ms, _ in line.items]

    assert (line.step, len(line.items)) == (step, count)
    assert set(np.diff(times).tolist()) == {HOUR_MS if step == "hour" else 24 * HOUR_MS}
    assert line.items[0][1] is None


def test_a_card_shows_what_the_indicator_says(world: World) -> None:
    numbers = SiteNumbers(FactStore(world.database))
    windows = {"equipment.intact_rate": "24h", "parking.occupancy": "now"}

    cards = {card.id: card for card in numbers.past(SITE, NOW_MS).indicators}

    assert cards == {name: numbers.indicator(SITE, name, window, NOW_MS) for name, window in windows.items()}


def test_what_is_not_there_says_so(world: World) -> None:
    numbers = SiteNumbers(FactStore(world.database))

    with pytest.raises(UnknownSite):
        numbers.past("other", NOW_MS)
    with pytest.raises(UnknownIndicator):
        numbers.trend(SITE, "data.coverage", None, NOW_MS)


async def test_a_fault_that_was_over_before_it_was_heard_of_is_recorded_once(world: World) -> None:
    past = PastAlerts(world.engine, world.live, FactStore(world.database), lambda: NOW_MS)
    counts = [await past.look(SITE, BEGAN_MS - HOUR_MS) for _ in range(2)]
    [alert] = world.store.page(Filter(open_only=False), 50)

    assert counts == [1, 0]
    assert (alert.opened_ms, alert.cleared_ms, alert.historical) == (FAILED_MS, MENDED_MS, True)
    assert world.engine.open_alerts(SITE) == []


def test_late_frames_are_looked_through_once_they_have_stopped_coming(world: World) -> None:
    live = world.live.site(SITE)
    world.live.frames_arrived(SITE, story()[:1], NOW_MS)

    assert live.take_late(NOW_MS - 1) is None
    assert live.take_late(NOW_MS) == BEGAN_MS
    assert live.take_late(NOW_MS) is None


def test_what_is_watched_follows_the_ledger(world: World, tmp_path: Path) -> None:
    register = GatewayRegister(tmp_path / "gateways.sqlite")
    register.add("gw-1", SITE, parse_public_key("11" * 32), NOW_MS)
    identities = Identities()
    watch = SiteWatch(FactStore(world.database), register, identities)
    watch.refresh()
    before = watch.view(SITE).equipment
    unheard = watch.gateways(SITE)
    identities.add(story()[0].header, bytes(32))
    watch.refresh()
    same = watch.view(SITE).equipment
    import_ledger(world.database, LEDGER.replace("criticality: A", "criticality: B"), "l", actor="t", now_ms=NOW_MS)
    watch.refresh()
    register.close()

    assert same is before
    assert [one.criticality for one in (*before, *watch.view(SITE).equipment)] == ["A", "B"]
    assert (unheard, watch.gateways(SITE)) == ([], ["gw-1"])
