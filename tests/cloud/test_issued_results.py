"""Results that are issued: one row when something new is said, revisions in a chain, final after 72 hours."""

import asyncio
import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
import sqlalchemy as sa

from cloud.facts.database import reading, writing
from cloud.facts.days import day_of
from cloud.facts.inputs import enter
from cloud.facts.result_marks import mark_results
from cloud.facts.store import FactStore
from cloud.facts.tables_results import results
from cloud.indicators.definition import FINAL_AFTER_MS, Verdict, Window
from cloud.indicators.issuing import issue
from cloud.indicators.policy import POLICY_KIND
from cloud.indicators.recording import Recorder
from cloud.indicators.registry import compute_indicator
from cloud.indicators.results import broken_entries, issued
from cloud.indicators.targets import TARGET_KIND
from tests.cloud.told import SITE, Cloud, Entry, Told, inventory, ledger_text, new_cloud
from tests.waiting import until

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
EQUIPMENT = """equipment:
  - {id: pump-1, name: {en: P, zh-CN: P}, code: P1, class: pump, criticality: A, device: pump-1}
  - {id: pump-2, name: {en: P, zh-CN: P}, code: P2, class: pump, criticality: C, device: pump-2}"""
RATE = "equipment.intact_rate"
TARGET = '{"indicator": "equipment.intact_rate", "value": 0.8}'
POLICY = '{"id": "weighted", "weights": {"A": 3, "B": 2, "C": 1}}'


def day(number: int, hours: float = 0) -> int:
    return number * DAY_MS + round(hours * HOUR_MS)


def changes(*told: tuple[str, float, float, float]) -> tuple[Entry, ...]:
    """(device, day, hour, alarm)."""
    return tuple(Entry(device, "alarm", day(int(number), hour), value) for device, number, hour, value in told)


def three_days() -> list[Told]:
    """Two pumps over days 10 to 12; the first fails on day 11 from 06:00 to 12:00."""
    first = changes(("pump-1", 10, 0, 0), ("pump-2", 10, 0, 0))
    running = tuple(Entry(one, "running", day(10), 1) for one in ("pump-1", "pump-2"))
    return [
        Told(1, day(10), day(11, 6), entries=(*first, *running), records=inventory(["pump-1", "pump-2"], day(10))),
        Told(2, day(11, 6), day(11, 12), entries=changes(("pump-1", 11, 6, 1))),
        Told(3, day(11, 12), day(13), entries=changes(("pump-1", 11, 12, 0))),
    ]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    one = new_cloud(tmp_path)
    one.ledger(ledger_text(EQUIPMENT))
    yield one
    one.engine.dispose()


def issue_all(cloud: Cloud, now_ms: int) -> int:
    """Everything that is due; rows written."""
    ledger = cloud.facts.ledger(SITE)
    assert ledger is not None
    cloud.facts.settle(ledger, now_ms)
    rows = 0
    while True:
        done = issue(cloud.facts, ledger, now_ms)
        rows += done.rows
        if not done.more:
            return rows


def revisions_of(cloud: Cloud, number: int, indicator: str = RATE) -> list[tuple[int, Fraction | None, bool]]:
    with reading(cloud.engine) as connection:
        found = issued(connection, SITE, indicator, Window(day(number), day(number + 1)))
    return [(one.result.revision, one.result.value, one.result.final) for one in found]


def test_a_day_is_issued_once_it_is_over_and_says_what_is_computed(cloud: Cloud) -> None:
    cloud.tell(three_days())
    ledger = cloud.facts.ledger(SITE)
    assert ledger is not None

    issue_all(cloud, day(13, 1))

    assert revisions_of(cloud, 11) == [(1, Fraction(42, 48), False)]
    assert revisions_of(cloud, 13) == []
    computed = compute_indicator(cloud.facts, ledger, RATE, (day(11), day(12)), day(13, 1))
    assert (computed.value, computed.verdict) == (Fraction(42, 48), Verdict.FAIL)


def test_nothing_is_written_where_nothing_new_is_said(cloud: Cloud) -> None:
    cloud.tell(three_days())
    first = issue_all(cloud, day(13, 1))
    frames = three_days()
    cloud.tell([frames[1]])  # once more
    again = issue_all(cloud, day(13, 2))
    ledger = cloud.facts.ledger(SITE)
    assert ledger is not None
    with writing(cloud.engine) as connection:
        mark_results(connection, SITE, [day_of(day(number), ledger.site.time_zone) for number in (10, 11, 12)])
    looked = issue(cloud.facts, ledger, day(13, 3))

    assert first > 0
    assert again == 0
    assert (looked.days, looked.rows) == (3, 0)


def test_late_data_make_a_revision_and_the_old_value_stays(cloud: Cloud) -> None:
    frames = three_days()
    cloud.tell([frames[0], frames[2]])
    issue_all(cloud, day(13, 1))
    cloud.tell([frames[1]])
    issue_all(cloud, day(13, 2))
    [old, new] = revisions_of(cloud, 11)

    assert old[1] == 1
    assert new == (2, Fraction(42, 48), False)
    assert [revision for revision, _, _ in revisions_of(cloud, 10)] == [1]  # a day it does not touch
    assert broken_entries(cloud.engine, SITE) == []


def test_a_late_frame_costs_the_days_it_touches_and_not_the_days_there_are(cloud: Cloud) -> None:
    said_again = tuple(Entry("pump-1", point, day(21), value) for point, value in (("alarm", 0), ("running", 1)))
    cloud.tell([*three_days(), Told(4, day(13), day(21)), Told(5, day(21), day(40), entries=said_again)])
    issue_all(cloud, day(40))
    pulse = changes(("pump-1", 20, 6, 1), ("pump-1", 20, 12, 0))
    cloud.tell([Told(1, day(20, 6), day(20, 12) + 1, entries=pulse, epoch=b"epoch--2")])
    ledger = cloud.facts.ledger(SITE)
    assert ledger is not None
    cloud.facts.settle(ledger, day(40))
    done = issue(cloud.facts, ledger, day(40))

    assert (done.days, done.more) == (1, False)
    assert done.rows > 0


def test_data_after_72_hours_revise_a_final_result(cloud: Cloud) -> None:
    frames = three_days()
    cloud.tell([frames[0], frames[2]])
    issue_all(cloud, day(12) + FINAL_AFTER_MS - 1)
    before = revisions_of(cloud, 11)
    issue_all(cloud, day(12) + FINAL_AFTER_MS)
    at_watermark = revisions_of(cloud, 11)
    cloud.tell([frames[1]])
    issue_all(cloud, day(20))
    with reading(cloud.engine) as connection:
        found = issued(connection, SITE, RATE, Window(day(11), day(12)))

    assert [final for _, _, final in before] == [False]
    assert [(revision, final) for revision, _, final in at_watermark] == [(1, True)]
    assert [one.is_after_final for one in found] == [False, True]
    assert found[1].previous_revision == found[0].hash
    assert found[1].result.final


def test_a_result_names_the_frames_it_stands_on(cloud: Cloud) -> None:
    cloud.tell(three_days())
    issue_all(cloud, day(13, 1))
    with reading(cloud.engine) as connection:
        [found] = issued(connection, SITE, RATE, Window(day(11), day(12)))

    [frames] = found.result.inputs
    assert (frames.gateway, frames.lane, frames.epoch) == ("gw-1", "events", b"epoch--1".hex())
    assert (frames.first_seq, frames.last_seq) == (2, 3)


def test_a_target_or_policy_of_the_past_makes_revisions_of_its_days_only(cloud: Cloud) -> None:
    cloud.tell(three_days())
    issue_all(cloud, day(13, 1))
    with writing(cloud.engine) as connection:
        for kind, document in ((TARGET_KIND, TARGET), (POLICY_KIND, POLICY)):
            enter(
                connection, SITE, kind, "rate", document, actor="li", reason="agreed", recorded_ms=day(13, 2),
                valid_from_ms=day(11), valid_to_ms=day(12),
            )  # fmt: skip
    issue_all(cloud, day(13, 3))
    with reading(cloud.engine) as connection:
        found = issued(connection, SITE, RATE, Window(day(11), day(12)))

    assert [one.result.verdict for one in found] == [Verdict.FAIL, Verdict.PASS]
    assert found[1].result.target_version == "site@1"
    assert found[1].result.policy_version.startswith("weighted@")
    assert found[1].result.value == Fraction(3 * 18 + 24, 4 * 24)
    assert len(revisions_of(cloud, 10)) == len(revisions_of(cloud, 12)) == 1


def test_a_row_changed_by_hand_breaks_the_chain(cloud: Cloud) -> None:
    cloud.tell(three_days())
    issue_all(cloud, day(13, 1))
    with writing(cloud.engine) as connection:
        [entry] = connection.execute(sa.select(results.c.entry).where(results.c.entry == 3)).scalars()
        connection.execute(sa.update(results).where(results.c.entry == 3).values(body="{}"))
    tampered = broken_entries(cloud.engine, SITE)
    with writing(cloud.engine) as connection:
        connection.execute(sa.delete(results).where(results.c.entry == 3))

    assert tampered == [entry]
    assert broken_entries(cloud.engine, SITE) == [4]


def test_issued_values_do_not_depend_on_the_order_of_frames(tmp_path: Path) -> None:
    values = []
    for seed in range(3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        one = new_cloud(folder)
        one.ledger(ledger_text(EQUIPMENT))
        frames = three_days() * 2
        random.Random(seed).shuffle(frames)
        for frame in frames:
            one.tell([frame])
            issue_all(one, day(13, 1))
        values.append([revisions_of(one, number)[-1][1] for number in (10, 11, 12)])
        one.engine.dispose()

    assert values == [[Fraction(1), Fraction(42, 48), Fraction(1)]] * 3


async def test_results_are_issued_in_the_background_when_a_day_is_over(cloud: Cloud) -> None:
    cloud.tell(three_days())
    store = FactStore(cloud.engine, eager=False)
    ledger = store.ledger(SITE)
    assert ledger is not None
    store.settle(ledger, day(13, 1))
    recorder = asyncio.create_task(Recorder(store, lambda: day(13, 1)).run())
    await until(lambda: bool(revisions_of(cloud, 12)), "the results of the last day")
    recorder.cancel()

    assert [revisions_of(cloud, number)[0][1] for number in (10, 11, 12)] == [1, Fraction(42, 48), 1]
