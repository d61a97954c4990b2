"""Timelines of equipment from the store: by the ledger of each day, and the same whether they were kept or not."""

import json
import random
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path

import pytest

from cloud.facts.database import writing
from cloud.facts.desk import Desk, Wish
from cloud.facts.equipment_kept import Kept, KeptTimelines, Stamp
from cloud.facts.equipment_past import EquipmentTimeline
from cloud.facts.inputs import enter
from cloud.facts.ledger_equipment import Equipment
from cloud.facts.ledgers import import_ledger
from cloud.facts.store import FactStore
from cloud.facts.timelines import constant
from cloud.indicators.definition import IndicatorResult, Verdict
from cloud.indicators.registry import compute_indicator
from tests.cloud.told import SITE, Cloud, Entry, Told, inventory, ledger_text, new_cloud

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
FIRST_DAY = date(2026, 5, 1)
BEGIN_MS = (FIRST_DAY.toordinal() - date(1970, 1, 1).toordinal()) * DAY_MS
NAME = "name: {en: N, zh-CN: N}"
RATE = "equipment.intact_rate"


def machine(name: str, more: str = "") -> str:
    return f"{{id: {name}, {NAME}, code: c, class: pump, criticality: B, device: {name}{more}}}"


def ledger_of(*machines: str, zone: str = "UTC", more: str = "") -> str:
    return ledger_text(f"equipment: [{', '.join(machines)}]", more, zone=zone)


def rate(cloud: Cloud, hours: tuple[int, int], now_h: int, store: FactStore | None = None) -> IndicatorResult:
    store = store or cloud.facts
    ledger = store.ledger(SITE)
    assert ledger is not None
    window = (BEGIN_MS + hours[0] * HOUR_MS, BEGIN_MS + hours[1] * HOUR_MS)
    return compute_indicator(store, ledger, RATE, window, BEGIN_MS + now_h * HOUR_MS)


def whole_hours(found: IndicatorResult) -> tuple[int, int]:
    return found.numerator // HOUR_MS, found.denominator // HOUR_MS


def stretches(name: str, *pieces: tuple[int, int, float]) -> list[Told]:
    """Frames that say of one device: from hour to hour the alarm is that. The last second of each is held."""
    touching = {begin for begin, _, _ in pieces}
    return [
        Told(seq, BEGIN_MS + begin * HOUR_MS, BEGIN_MS + end * HOUR_MS - (0 if end in touching else 1_000),
             (Entry(name, "alarm", BEGIN_MS + begin * HOUR_MS, alarm),), epoch=name.ljust(8, "-").encode(), hold_s=1)
        for seq, (begin, end, alarm) in enumerate(pieces, 1)
    ]  # fmt: skip


def test_the_vector_of_the_domain_is_exact_from_frames_to_the_rate(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    names = [f"d{number}" for number in range(1, 53)]
    day_15, day_10 = FIRST_DAY + timedelta(days=15), FIRST_DAY + timedelta(days=10)
    more = {"d51": f", commissioned: {day_15}", "d52": f", retired: {day_10}"}
    cloud.ledger(ledger_of(*(machine(name, more.get(name, "")) for name in names)))
    fine, broken = 0.0, 1.0
    told = {name: [(0, 720, fine)] for name in names}
    told["d49"] = [(0, 100, fine), (100, 136, broken), (136, 720, fine)]
    told["d50"] = [(0, 48, fine), (120, 720, fine)]
    told["d52"] = [(0, 20, fine), (20, 32, broken), (32, 720, fine)]
    cloud.tell([Told(1, BEGIN_MS, BEGIN_MS + 1, records=inventory(names, BEGIN_MS), epoch=b"catalog!")])
    for name, pieces in told.items():
        cloud.tell(stretches(name, *pieces))
    with writing(cloud.engine) as connection:
        planned = json.dumps({"equipment": ["d50"], "work": "w", "approved_by": "wang"})
        enter(connection, SITE, "maintenance-window", "w", planned, actor="li", reason="r", recorded_ms=BEGIN_MS,
              valid_from_ms=BEGIN_MS + 24 * HOUR_MS, valid_to_ms=BEGIN_MS + 48 * HOUR_MS)  # fmt: skip

    found = rate(cloud, (0, 720), 720 + 72)

    assert (found.numerator, found.denominator) == (36456 * HOUR_MS, 36504 * HOUR_MS)
    assert (found.low, found.high) == (Fraction(36456, 36576), Fraction(36528, 36576))
    assert found.coverage == Fraction(36504, 36576)
    assert (found.verdict, found.final) == (Verdict.PASS, True)
    cloud.engine.dispose()


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("UTC", date(2026, 5, 2), 24),
    ],
)
def test_a_day_has_as_many_hours_as_it_has(tmp_path: Path, zone: str, day: date, hours: int) -> None:
    cloud = new_cloud(tmp_path)
    more = f"commissioned: {day}, retired: {day + timedelta(days=1)}"
    ledger = cloud.ledger(ledger_of(machine("p", f", {more}"), zone=zone))
    begin = (day.toordinal() - date(1970, 1, 1).toordinal()) * DAY_MS - DAY_MS
    entry = Entry("p", "alarm", begin, 0.0)
    cloud.tell([Told(1, begin, begin + 4 * DAY_MS, (entry,), inventory(["p"], begin))])

    found = compute_indicator(cloud.facts, ledger, RATE, (begin, begin + 3 * DAY_MS), begin + 4 * DAY_MS)

    assert whole_hours(found) == (hours, hours)
    cloud.engine.dispose()


def test_days_go_by_the_ledger_that_was_valid_then(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    cloud.tell([Told(1, BEGIN_MS, BEGIN_MS + 1, records=inventory(["p", "q"], BEGIN_MS), epoch=b"catalog!")])
    cloud.tell(stretches("p", (0, 96, 0.0)))
    cloud.tell(stretches("q", (0, 96, 1.0)))
    cloud.ledger(ledger_of(machine("p")))
    third, changed = FIRST_DAY + timedelta(days=2), machine("p").replace("device: p", "device: q")
    import_ledger(cloud.engine, ledger_of(changed), "l", actor="li", now_ms=5, valid_from=third)

    assert whole_hours(rate(cloud, (0, 48), 96)) == (48, 48)
    assert whole_hours(rate(cloud, (0, 96), 96)) == (48, 96)  # the machine has another sensor from then on
    assert whole_hours(rate(cloud, (48, 96), 96)) == (0, 48)
    cloud.engine.dispose()


def test_what_left_the_ledger_is_counted_up_to_then(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    cloud.tell([Told(1, BEGIN_MS, BEGIN_MS + 1, records=inventory(["p", "q"], BEGIN_MS), epoch=b"catalog!")])
    for name, alarm in (("p", 0.0), ("q", 1.0)):
        cloud.tell(stretches(name, (0, 96, alarm)))
    cloud.ledger(ledger_of(machine("p"), machine("q")))
    day = FIRST_DAY + timedelta(days=1)
    import_ledger(cloud.engine, ledger_of(machine("p")), "l", actor="li", now_ms=5, valid_from=day)

    assert whole_hours(rate(cloud, (0, 96), 96)) == (96, 120)
    cloud.engine.dispose()


def test_a_robot_of_the_ledger_is_equipment_unless_the_policy_says_otherwise(tmp_path: Path) -> None:
    cloud = new_cloud(tmp_path)
    cloud.ledger(ledger_of(machine("p"), more=f"robots: [{{id: r1, {NAME}, device: r1}}]"))
    cloud.tell([Told(1, BEGIN_MS, BEGIN_MS + 1, records=inventory(["p", "r1"], BEGIN_MS), epoch=b"catalog!")])
    cloud.tell(stretches("p", (0, 24, 0.0)))
    cloud.tell(stretches("r1", (0, 24, 1.0)))
    before = whole_hours(rate(cloud, (0, 24), 30))
    wish = Wish('{"robots_are_equipment": false}', "li", "as agreed", 0)
    Desk(cloud.facts).enter(SITE, "equipment-policy", "states", wish, 5)

    assert (before, whole_hours(rate(cloud, (0, 24), 30))) == ((24, 48), (24, 24))
    cloud.engine.dispose()


def as_text(timelines: list[EquipmentTimeline]) -> list[object]:
    return [
        (one.equipment.id, part.end_ms, part.starts.tolist(), part.codes.tolist())
        for one in timelines
        for part in (one.states, one.counts)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_kept_is_what_would_be_worked_out_whatever_comes_in_between(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    cloud = new_cloud(tmp_path)
    names = ["p", "q", "r"]
    group = f"redundancy: [{{id: pair, {NAME}, grace_h: 5}}]"
    text = ledger_of(machine("p", ", redundancy: pair"), machine("q", ", redundancy: pair"), machine("r"), more=group)
    ledger = cloud.ledger(text)
    cloud.tell([Told(1, BEGIN_MS, BEGIN_MS + 1, records=inventory(names, BEGIN_MS), epoch=b"catalog!")])
    frames = []
    for hour in range(5 * 24):
        begin = BEGIN_MS + hour * HOUR_MS
        entries = [
            Entry(name, "alarm", begin + rng.choice([0, HOUR_MS - 4_000, 1_800_000]), float(rng.random() < 0.3))
            for name in names if rng.random() < 0.4
        ]  # fmt: skip
        frames.append(Told(hour + 1, begin, begin + HOUR_MS, tuple(entries)))
    kept = FactStore(cloud.engine)
    now_ms = BEGIN_MS + 5 * DAY_MS + 2 * HOUR_MS
    desk = Desk(cloud.facts)
    rng.shuffle(frames)
    for turn in range(6):
        cloud.tell(frames[turn * 20 : turn * 20 + 20])
        if turn in {2, 4}:
            start = BEGIN_MS + rng.randrange(0, 96) * HOUR_MS
            planned = json.dumps({"equipment": ["p", "q"], "work": "w", "approved_by": "w"})
            desk.enter(SITE, "maintenance-window", f"w{turn}", Wish(planned, "li", "r", start, start + DAY_MS), 5)
        if turn == 3:
            changed = text.replace("grace_h: 5", "grace_h: 1")
            import_ledger(cloud.engine, changed, "l", actor="li", now_ms=5, valid_from=FIRST_DAY + timedelta(days=2))
        for _ in range(2):
            from_ms = BEGIN_MS + rng.randrange(0, 60) * HOUR_MS
            to_ms = from_ms + rng.randrange(1, 66) * HOUR_MS
            fresh = FactStore(cloud.engine).of_equipment
            fresh.keeps = False

            found = kept.equipment(ledger, from_ms, to_ms, now_ms)

            assert as_text(found) == as_text(fresh.timelines(kept.ledgers(SITE), from_ms, to_ms, now_ms))
    cloud.engine.dispose()


def test_no_more_is_kept_than_fits() -> None:
    kept = KeptTimelines(intervals_max=100)
    names = {"en": "N", "zh-CN": "N"}
    equipment = Equipment.model_construct(id="p", name=names, code="c", class_="c", criticality="A", device="d")
    one = EquipmentTimeline(equipment, constant(0, 9, 0), constant(0, 9, 0), (), constant(0, 9, 0))
    for number in range(10):
        stamp = Stamp(((0, 1),), (0, 0), 1, "UTC")
        kept.put(f"s{number}", Kept(stamp, 1, 0, 9, {f"p{place}": one for place in range(2)}))

    assert [f"s{number}" for number in range(10) if kept.get(f"s{number}") is not None] == ["s8", "s9"]
