"""What is derived in the background: nobody waits for it, nothing that arrives meanwhile is forgotten."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cloud.facts import coverage_days, database, day_work, rows
from cloud.facts.claims import QUARTER_MS
from cloud.facts.database import open_database, positions, reading, writing
from cloud.facts.deriving import Deriver
from cloud.facts.ledger import Ledger
from cloud.facts.progress import position_of, store_position
from cloud.facts.store import FactStore
from cloud.facts.timelines import EQUIPMENT_STATES
from cloud.indicators.definition import Window
from cloud.indicators.registry import compute_indicator, coverage_by_day
from devices.frame import Origin
from tests.cloud.told import Cloud, Entry, Told, Walk, inventory, ledger_text, new_cloud

DAY_MS, HOUR_MS, MINUTE_MS = 86_400_000, 3_600_000, 60_000
BEGIN_MS = 20_000 * DAY_MS
NAME = "name: {en: N, zh-CN: N}"
LEDGER = ledger_text(
    f"floors: [{{id: b1, {NAME}, map: B1, width_m: 20.0, height_m: 20.0}}]",
    f"equipment: [{{id: pump, {NAME}, code: P-1, class: pump, criticality: A, device: pump}}]",
    f"robots: [{{id: r1, {NAME}, device: r1}}]",
    f"zones: [{{id: z, {NAME}, floor: b1, geometry: "
    "{type: Polygon, coordinates: [[[0, 0], [20, 0], [20, 20], [0, 20], [0, 0]]]}}]",
)
FINE, FAULT = 0.0, 1.0
WRITERS, TURNS = 8, 25


def hour(seq: int, alarm: float, at_ms: int) -> Told:
    """An hour of imported history in which the pump's alarm is known from its first moment on."""
    records = inventory(["pump", "r1"], at_ms) if seq == 1 else ()
    entries = (Entry("pump", "alarm", at_ms, alarm), Entry("pump", "running", at_ms, 1.0))
    return Told(seq, at_ms, at_ms + HOUR_MS, entries, records, origin=Origin.IMPORT)


def walk(seq: int, at_ms: int, x_mm: int) -> Told:
    steps = [(at_ms + second * 1000, x_mm, 5000) for second in range(3)]
    return Told(seq, at_ms, at_ms + MINUTE_MS, records=inventory(["pump", "r1"], at_ms), walks=(Walk("r1", steps),))


def states(store: FactStore, ledger: Ledger, from_ms: int, to_ms: int) -> set[str]:
    timeline = store.timelines(ledger, from_ms, to_ms)["pump"].clipped(from_ms, to_ms)
    return {EQUIPMENT_STATES[code].name for code in timeline.codes.tolist()}


def once(function: Callable[..., Any], before: Callable[[], None]) -> Callable[..., Any]:
    """The same function, which does something else before it answers for the first time."""
    left = [before]

    def answer(*arguments: Any, **named: Any) -> Any:
        found = function(*arguments, **named)
        if left:
            left.pop()()
        return found

    return answer


def test_writers_of_one_process_queue_and_never_find_the_store_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 0)
    engine = open_database(tmp_path / "facts.sqlite")

    def write(writer: int) -> None:
        for turn in range(TURNS):
            with writing(engine) as connection:
                store_position(connection, str(writer), turn)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    with reading(engine) as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(positions)).scalar_one()

    assert count == WRITERS
    assert {position_of(engine, str(writer)) for writer in range(WRITERS)} == {TURNS - 1}
    engine.dispose()


@pytest.fixture
def cloud(tmp_path: Path) -> Any:
    one = new_cloud(tmp_path)
    yield one
    one.engine.dispose()


def test_a_request_is_answered_from_what_is_derived_and_is_not_final_before_all_is(cloud: Cloud) -> None:
    ledger = cloud.ledger(LEDGER)
    cloud.tell([hour(1, FINE, BEGIN_MS)])
    store = FactStore(cloud.engine, eager=False)
    now_ms = BEGIN_MS + 10 * DAY_MS
    window = Window(BEGIN_MS, BEGIN_MS + 2 * DAY_MS)
    before = compute_indicator(store, ledger, "equipment.intact_rate", window, now_ms)
    settled = store.settle(ledger, now_ms)
    after = compute_indicator(store, ledger, "equipment.intact_rate", window, now_ms)

    assert (before.value, before.final) == (None, False)
    assert settled
    assert (after.value, after.final) == (Fraction(1), True)
    assert after.numerator == pytest.approx(HOUR_MS, abs=2 * MINUTE_MS)


def test_settling_without_patience_does_one_step_and_says_that_there_is_more(cloud: Cloud) -> None:
    ledger = cloud.ledger(LEDGER)
    cloud.tell([hour(1, FINE, BEGIN_MS)])
    store = FactStore(cloud.engine, eager=False)

    assert not store.settle(ledger, BEGIN_MS + 2 * DAY_MS, 0.0)
    assert store.settle(ledger, BEGIN_MS + 2 * DAY_MS)


def test_a_fact_that_arrives_while_days_are_computed_can_be_stored_and_counts(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = cloud.ledger(LEDGER)
    store = FactStore(cloud.engine, eager=False)
    cloud.tell([hour(1, FINE, BEGIN_MS)])
    late = hour(2, FAULT, BEGIN_MS + HOUR_MS)
    monkeypatch.setattr(day_work, "load_devices", once(rows.load_devices, lambda: cloud.tell([late])))
    store.settle(ledger, BEGIN_MS + 2 * DAY_MS)

    assert states(store, ledger, BEGIN_MS, BEGIN_MS + HOUR_MS) == {"RUN"}
    assert states(store, ledger, BEGIN_MS + HOUR_MS, BEGIN_MS + 2 * HOUR_MS) == {"FAULT"}


def test_poses_that_arrive_while_their_quarter_is_computed_count(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = cloud.ledger(LEDGER)
    store = FactStore(cloud.engine, eager=False)
    cloud.tell([walk(1, BEGIN_MS, 4000)])
    late = walk(2, BEGIN_MS + MINUTE_MS, 16_000)
    monkeypatch.setattr(coverage_days, "_compute", once(coverage_days._compute, lambda: cloud.tell([late])))
    store.settle(ledger, BEGIN_MS + 2 * QUARTER_MS)
    seen = store.covered_days(ledger, BEGIN_MS, BEGIN_MS + QUARTER_MS, BEGIN_MS + 2 * QUARTER_MS)[0].cells_covered
    monkeypatch.undo()

    assert seen == 2 * cells_of_one(cloud, ledger)


def cells_of_one(cloud: Cloud, ledger: Ledger) -> int:
    """Cells of the first walk alone; the two are circles of one size, far from each other and from the walls."""
    [day] = cloud.facts.covered_days(ledger, BEGIN_MS, BEGIN_MS + QUARTER_MS, BEGIN_MS + 2 * QUARTER_MS)
    covered = day.covered["B1"]
    return int(covered[:, : covered.shape[1] // 2].sum())


async def test_what_arrives_is_derived_without_anybody_asking(cloud: Cloud) -> None:
    ledger = cloud.ledger(LEDGER)
    store = FactStore(cloud.engine, eager=False)
    now_ms = BEGIN_MS + 2 * DAY_MS
    cloud.tell([hour(1, FINE, BEGIN_MS)])
    await Deriver(store, lambda: now_ms).settle(ledger)

    assert store.is_settled(ledger, now_ms)
    assert states(store, ledger, BEGIN_MS, BEGIN_MS + HOUR_MS) == {"RUN"}


def test_coverage_has_no_value_before_anything_was_heard_and_is_nought_on_idle_days(cloud: Cloud) -> None:
    ledger = cloud.ledger(LEDGER)
    first = BEGIN_MS + 2 * DAY_MS
    cloud.tell([walk(1, first, 4000), hour(2, FINE, first + MINUTE_MS), hour(3, FINE, first + DAY_MS)])
    days = coverage_by_day(cloud.facts, ledger, BEGIN_MS, first + 2 * DAY_MS, first + 2 * DAY_MS)
    month = compute_indicator(cloud.facts, ledger, "robot.coverage", (BEGIN_MS, first + 2 * DAY_MS), first + 2 * DAY_MS)

    assert [one.value is None for one in days] == [True, True, False, False]
    assert days[2].value is not None
    assert days[2].value > 0
    assert days[3].value == 0
    assert month.value == days[2].value / 2


def test_coverage_has_no_value_before_the_site_was_commissioned(cloud: Cloud) -> None:
    later = LEDGER.replace("zone: UTC", "zone: UTC, commissioned: 2024-10-08")  # four days after the beginning
    ledger = cloud.ledger(later)
    cloud.tell([walk(1, BEGIN_MS, 4000)])
    end_ms = BEGIN_MS + 6 * DAY_MS
    days = coverage_by_day(cloud.facts, ledger, BEGIN_MS, end_ms, end_ms)

    assert [None if one.value is None else float(one.value) for one in days] == [None, None, None, None, 0.0, 0.0]


def derived(cloud: Cloud) -> list[tuple[object, ...]]:
    """Every row that is derived."""
    with reading(cloud.engine) as connection:
        tables = (database.device_days, database.quarter_cells)
        return sorted(tuple(row) for table in tables for row in connection.execute(sa.select(table)))


@pytest.mark.parametrize("seed", range(6))
def test_deriving_between_frames_in_any_order_ends_like_deriving_once(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    frames = [hour(seq, rng.choice([FINE, FAULT]), BEGIN_MS + (seq - 1) * 9 * HOUR_MS) for seq in range(1, 13)]
    frames += [walk(100 + seq, BEGIN_MS + seq * 7 * HOUR_MS, 1000 * seq) for seq in range(1, 12)]
    now_ms = BEGIN_MS + 6 * DAY_MS
    found = []
    for name, order in (("at once", frames), ("piece by piece", rng.sample([*frames, *frames], 2 * len(frames)))):
        folder = tmp_path / name
        folder.mkdir()
        cloud = new_cloud(folder)
        ledger = cloud.ledger(LEDGER)
        store = FactStore(cloud.engine, eager=False)
        for told in order:
            cloud.tell([told])
            if name != "at once" and rng.random() < 0.5:
                store.settle(ledger, BEGIN_MS + rng.randrange(1, 6 * 24) * HOUR_MS, 0.0)
        store.settle(ledger, now_ms)
        found.append(derived(cloud))
        cloud.engine.dispose()

    assert found[0] == found[1]
    assert len(found[0]) > 12
