"""Targets, assessments with their cards, benchmarks, rankings, imported indicators: on a store with three months."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cloud.facts.database import reading, writing
from cloud.facts.inputs import EVERY_SITE, inputs_of
from cloud.facts.ledger import Ledger
from cloud.facts.store import FactStore
from cloud.indicators.assessment import Card, assess, assessments_of, below_running, card_of
from cloud.indicators.benchmarks import (
    Benchmark,
    Stage,
    benchmarks_set,
    best_final,
    compare,
    enter_benchmark,
    expiry_ms,
    freeze,
    stage_of,
)
from cloud.indicators.definition import FINAL_AFTER_MS, BadWindow, Better, IndicatorResult, Verdict, Window
from cloud.indicators.entering import (
    EntryRefused,
    Word,
    choose_pack,
    define,
    due_for_revision,
    period_named,
    read_value,
    set_target,
    tell,
)
from cloud.indicators.imported import ImportedDefinition
from cloud.indicators.issuing import issue
from cloud.indicators.periods import period_around, period_before, period_name
from cloud.indicators.policy import DEFAULT_POLICY, IndicatorPolicy
from cloud.indicators.ranking import bottom_cards, ranked
from cloud.indicators.registry import compute_indicator, compute_site_indicators
from cloud.indicators.results import issued_within, newest_result
from cloud.indicators.targets import PackChoice, TargetEntry, known_packs, targets_at
from tests.cloud.told import Cloud, Entry, Told, inventory, ledger_text, new_cloud

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
UTC_ZONE = ZoneInfo("UTC")
RATE = "equipment.intact_rate"
COUNT = 300  # live indicators of a deployment (R2-43)
EQUIPMENT = """equipment:
  - {id: pump-1, name: {en: P, zh-CN: P}, code: P1, class: pump, criticality: A, device: pump-1}"""


def ms(year: int, month: int, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1000


BEGIN_MS, END_MS = ms(2026, 1), ms(2026, 4)
WORD = Word("li.wei", "agreed in the meeting", END_MS)
PASS, FAIL, OPEN = Verdict.PASS, Verdict.FAIL, Verdict.INDETERMINATE


def months(site: str, *down_days: int) -> list[Told]:
    """One pump that is down for the first so many days of January, February, March."""
    changes = [Entry("pump-1", "alarm", BEGIN_MS, 0)]
    for month, days in enumerate(down_days, 1):
        if days:
            changes.append(Entry("pump-1", "alarm", ms(2026, month) + 1, 1))
            changes.append(Entry("pump-1", "alarm", ms(2026, month, 1 + days), 0))
    del site
    return [Told(1, BEGIN_MS, END_MS + 5 * DAY_MS, entries=tuple(changes), records=inventory(["pump-1"], BEGIN_MS))]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Three sites: one that gets worse, one without a fault, one in between; judged on April 4."""
    one = new_cloud(Path(tmp_path_factory.mktemp("months")))
    for site, down in (("worse", (0, 3, 4)), ("best", (0, 0, 0)), ("middling", (1, 0, 1))):
        one.ledger(ledger_text(EQUIPMENT, site=site))
        one.tell(months(site, *down), site)
        store = FactStore(one.engine, eager=False)
        store.settle(ledger_of(one, site), END_MS + FINAL_AFTER_MS)
        assess(store, ledger_of(one, site), END_MS + FINAL_AFTER_MS)
    yield one
    one.engine.dispose()


def run(cloud: Cloud, site: str, now_ms: int) -> None:
    ledger = ledger_of(cloud, site)
    store = FactStore(cloud.engine, eager=False)  # as the aggregator has it
    store.settle(ledger, now_ms)
    while issue(store, ledger, now_ms, 40).more:
        pass
    assess(store, ledger, now_ms)


def ledger_of(cloud: Cloud, site: str) -> Ledger:
    found = cloud.facts.ledger(site)
    assert found is not None
    return found


def month_of(cloud: Cloud, site: str, month: int) -> IndicatorResult:
    with reading(cloud.engine) as connection:
        found = newest_result(connection, site, RATE, Window(ms(2026, month), ms(2026, month + 1)))
    assert found is not None
    return found.result


def test_months_are_judged_once_with_yellow_then_red(cloud: Cloud) -> None:
    assess(cloud.facts, ledger_of(cloud, "worse"), END_MS + 10 * DAY_MS)  # nothing is judged again
    with reading(cloud.engine) as connection:
        found = [one for one in assessments_of(connection, "worse", RATE) if one.window.from_ms < END_MS]

    assert [(one.period, one.result.verdict, one.card) for one in found] == [
        ("month", PASS, Card.NONE),
        ("month", FAIL, Card.YELLOW),
        ("month", FAIL, Card.RED),
    ]
    assert [one.failed_running for one in found] == [0, 1, 2]
    assert found[2].result == month_of(cloud, "worse", 3)


def test_a_late_revision_leaves_the_assessment_as_it_was(tmp_path: Path) -> None:
    one = new_cloud(tmp_path)
    one.ledger(ledger_text(EQUIPMENT, site="late"))
    one.tell(months("late", 0), "late")
    run(one, "late", ms(2026, 2) + FINAL_AFTER_MS)
    late = Entry("pump-1", "alarm", ms(2026, 1, 10), 1), Entry("pump-1", "alarm", ms(2026, 1, 20), 0)
    one.tell([Told(1, ms(2026, 1, 10), ms(2026, 1, 20) + 1, entries=late, epoch=b"epoch--2")], "late")
    run(one, "late", ms(2026, 2, 10))
    with reading(one.engine) as connection:
        [judged] = assessments_of(connection, "late", RATE)
        months_of_it = issued_within(connection, "late", RATE, ms(2026, 1), ms(2026, 2))

    assert (judged.result.verdict, judged.result.revision) == (PASS, 1)
    [month] = [found for found in months_of_it if found.result.window == judged.window]
    assert (month.result.verdict, month.result.revision, month.is_after_final) == (FAIL, 2, True)
    one.engine.dispose()


@pytest.mark.parametrize(
    ("verdicts", "card", "running"),
    [
        ([FAIL], Card.YELLOW, 1),
        ([FAIL, FAIL], Card.RED, 2),
        ([FAIL, PASS, FAIL], Card.YELLOW, 1),
        ([FAIL, OPEN], Card.NONE, 0),
        ([FAIL, OPEN, FAIL], Card.YELLOW, 1),
        ([OPEN, OPEN], Card.NONE, 0),
        ([], Card.NONE, 0),
    ],
)
def test_cards(verdicts: list[Verdict], card: Card, running: int) -> None:
    assert card_of(verdicts, DEFAULT_POLICY) == (card, running)


def test_an_indeterminate_period_may_be_passed_over_by_policy() -> None:
    policy = IndicatorPolicy(id="strict", indeterminate_ends_run=False)

    assert card_of([FAIL, OPEN, FAIL], policy) == (Card.RED, 2)


def test_six_periods_running_below_target_ask_for_a_reorganisation() -> None:
    assert below_running([FAIL] * 6, DEFAULT_POLICY)
    assert not below_running([FAIL] * 5, DEFAULT_POLICY)
    assert not below_running([FAIL, PASS, *[FAIL] * 5], DEFAULT_POLICY)


def test_the_best_final_month_is_the_internal_benchmark(cloud: Cloud) -> None:
    own = month_of(cloud, "worse", 3)
    with writing(cloud.engine) as connection:
        enter_benchmark(connection, Benchmark(id="group", indicator=RATE, kind="internal"), WORD, BEGIN_MS)
        [set_up] = benchmarks_set(connection)
        how = {"policy": DEFAULT_POLICY, "better": Better.HIGHER, "zone": UTC_ZONE, "now_ms": END_MS + 5 * DAY_MS}
        found = compare(connection, "worse", set_up, own, **how)  # type: ignore[arg-type]
        nobody = best_final(connection, RATE, Window(0, 31 * DAY_MS), DEFAULT_POLICY, Better.HIGHER)

    assert (found.best_site, found.value, found.stage) == ("best", Fraction(1), Stage.GAP)
    assert own.value is not None
    assert found.gap == (own.value - 1) * 100  # points
    assert nobody is None


def test_a_benchmark_that_is_reached_can_be_frozen_into_a_target_and_only_then(cloud: Cloud) -> None:
    outside = Benchmark(id="leader", indicator=RATE, kind="industry", value="0.95", source="yearbook", year=2025)
    how = {"policy": DEFAULT_POLICY, "better": Better.HIGHER, "zone": UTC_ZONE, "now_ms": END_MS + 5 * DAY_MS}
    with writing(cloud.engine) as connection:
        enter_benchmark(connection, outside, WORD, BEGIN_MS)
        set_up = next(one for one in benchmarks_set(connection) if one[0].id == "leader")
        behind = compare(connection, "worse", set_up, month_of(cloud, "worse", 3), **how)  # type: ignore[arg-type]
        reached = compare(connection, "best", set_up, month_of(cloud, "best", 3), **how)  # type: ignore[arg-type]
        with pytest.raises(EntryRefused):
            freeze(connection, "worse", behind, WORD, Better.HIGHER)
        freeze(connection, "best", reached, WORD, Better.HIGHER)
        frozen = compare(connection, "best", set_up, month_of(cloud, "best", 3), **how)  # type: ignore[arg-type]
    held = compute_indicator(
        cloud.facts, ledger_of(cloud, "best"), RATE, (END_MS, END_MS + DAY_MS), END_MS + 5 * DAY_MS
    )

    assert (behind.stage, reached.stage, frozen.stage) == (Stage.GAP, Stage.REACHED, Stage.FROZEN)
    assert (held.target, held.target_version) == (Fraction(95, 100), "site@1")


def test_a_benchmark_from_outside_needs_its_source_and_year(cloud: Cloud) -> None:
    with writing(cloud.engine) as connection, pytest.raises(EntryRefused):
        enter_benchmark(connection, Benchmark(id="x", indicator=RATE, kind="industry", value="0.9"), WORD, 0)


def test_a_benchmark_expires_after_twelve_months(cloud: Cloud) -> None:
    expires = expiry_ms(ms(2026, 2, 28), DEFAULT_POLICY, UTC_ZONE)
    own = month_of(cloud, "best", 3)

    assert expires == ms(2027, 2, 28)
    assert stage_of(own, Fraction(1, 2), Better.HIGHER, is_frozen=False, is_expired=True) is Stage.EXPIRED
    assert stage_of(None, Fraction(1, 2), Better.HIGHER, is_frozen=False, is_expired=False) is Stage.SET


def test_sites_are_ranked_and_the_bottom_counts_only_when_it_lasts(cloud: Cloud) -> None:
    sites = ("worse", "best", "middling")
    rankings = [ranked({site: month_of(cloud, site, month) for site in sites}, DEFAULT_POLICY) for month in (1, 2, 3)]

    assert [[(one.site, one.place) for one in places] for places in rankings] == [
        [("best", 1), ("worse", 1), ("middling", 3)],
        [("best", 1), ("middling", 1), ("worse", 3)],
        [("best", 1), ("middling", 2), ("worse", 3)],
    ]
    assert bottom_cards(rankings[:2], DEFAULT_POLICY) == []
    assert bottom_cards(rankings, DEFAULT_POLICY) == ["worse"]


def test_what_is_not_known_well_enough_has_no_place_and_is_no_benchmark(cloud: Cloud) -> None:
    known = month_of(cloud, "worse", 3)
    vague = replace(month_of(cloud, "best", 3), coverage=Fraction(94, 100))

    assert [one.site for one in ranked({"worse": known, "best": vague}, DEFAULT_POLICY)] == ["worse"]


@pytest.mark.parametrize(
    ("period", "begin", "end"),
    [("month", (2026, 5), (2026, 6)), ("quarter", (2026, 4), (2026, 7)), ("half-year", (2026, 1), (2026, 7))],
)
def test_periods_begin_and_end_with_months_of_the_site(
    period: str, begin: tuple[int, int], end: tuple[int, int]
) -> None:
    window = period_around(period, ms(2026, 5, 17), UTC_ZONE)

    assert window == Window(ms(*begin), ms(*end))
    assert period_name(window, UTC_ZONE) == period
    assert period_before(period, window, UTC_ZONE).to_ms == window.from_ms


def test_a_quarter_is_judged_where_the_pack_says_so(tmp_path: Path) -> None:
    one = new_cloud(tmp_path)
    ledger = one.ledger(ledger_text(EQUIPMENT, site="a"))
    one.tell(months("a", 2, 0, 0), "a")
    with writing(one.engine) as connection:
        choose_pack(connection, "a", PackChoice(pack="service-upgrade"), WORD, (0, None))
    store = FactStore(one.engine, eager=False)
    store.settle(ledger, END_MS + FINAL_AFTER_MS)
    early = assess(store, ledger, END_MS + FINAL_AFTER_MS - 1)
    assess(store, ledger, END_MS + FINAL_AFTER_MS)
    with reading(one.engine) as connection:
        [judged] = assessments_of(connection, "a", RATE)

    assert early == 0
    assert (judged.period, judged.window) == ("quarter", Window(BEGIN_MS, END_MS))
    assert judged.result.parts["up"] == 88 * DAY_MS
    assert judged.result.verdict is FAIL
    one.engine.dispose()


def test_the_figures_that_contradict_each_other_are_packs(cloud: Cloud) -> None:
    ledger, day = ledger_of(cloud, "best"), date(2026, 1, 1)
    figures = {name: pack.versions[0].targets["complaint.response"].value
               for name, pack in known_packs().items() if "complaint.response" in pack.versions[0].targets}  # fmt: skip
    plain = targets_at(ledger, BEGIN_MS, [], [], day)

    assert figures == {"service-benchmark": 900_000, "service-upgrade": 3_600_000, "quality-system": 86_400_000}
    assert plain.of("complaint.response") is None
    assert {pack.versions[0].period for pack in known_packs().values()} == {"month", "quarter", "half-year"}


def test_a_chosen_pack_holds_from_its_day_on_and_an_override_is_visible(tmp_path: Path) -> None:
    one = new_cloud(tmp_path)
    ledger = one.ledger(ledger_text(EQUIPMENT, site="a"))
    with writing(one.engine) as connection:
        choose_pack(connection, EVERY_SITE, PackChoice(pack="service-upgrade"), WORD, (ms(2026, 3), None))
        set_target(connection, "a", TargetEntry(indicator=RATE, value=0.9), WORD, (ms(2026, 3), ms(2026, 5)))
        with pytest.raises(EntryRefused):
            choose_pack(connection, "a", PackChoice(pack="nope"), WORD, (0, None))
        assert due_for_revision(connection, "a", ms(2026, 4), UTC_ZONE) == []
        assert len(due_for_revision(connection, "a", ms(2027, 4), UTC_ZONE)) == 1

    found = [
        compute_indicator(one.facts, ledger, RATE, (ms(2026, month), ms(2026, month, 2)), ms(2026, 6))
        for month in (2, 3, 5)
    ]

    assert [one.target_version for one in found] == ["gatehouse@2024", "site@1", "service-upgrade@2024"]
    assert [one.target for one in found] == [Fraction(98, 100), Fraction(9, 10), Fraction(98, 100)]
    one.engine.dispose()


def test_an_imported_indicator_is_judged_like_any_other(tmp_path: Path) -> None:
    one = new_cloud(tmp_path)
    ledger = one.ledger(ledger_text(EQUIPMENT, site="a"))
    definition = ImportedDefinition.model_validate_json(
        '{"id": "complaint.response", "name": {"en": "Complaint response", "zh-CN": "投诉响应时效"},'
        ' "value_unit": "ms",'
        ' "better": "lower", "aggregate": "ratio", "origin": "imported"}'
    )
    rows = [
        {"period": "2026-01", "numerator": 9_000_000, "denominator": 10},
        {"period": "2026-02", "numerator": 600_000, "denominator": 1},
    ]
    with writing(one.engine) as connection:
        define(connection, EVERY_SITE, definition, WORD)
        choose_pack(connection, "a", PackChoice(pack="service-benchmark"), WORD, (0, None))
        tell(
            connection, "a", definition.id, [read_value(definition.id, row, UTC_ZONE, "imported") for row in rows], WORD
        )
        [corrected] = tell(
            connection,
            "a",
            definition.id,
            [read_value(definition.id, {"period": "2026-02", "value": "2000000"}, UTC_ZONE, "manual")],
            WORD,
        )
    january = compute_indicator(one.facts, ledger, definition.id, (ms(2026, 1), ms(2026, 2)), END_MS)
    february = compute_indicator(one.facts, ledger, definition.id, (ms(2026, 2), ms(2026, 3)), END_MS)
    quarter = compute_indicator(one.facts, ledger, definition.id, (ms(2026, 1), ms(2026, 4)), END_MS)
    run(one, "a", END_MS + FINAL_AFTER_MS)
    with reading(one.engine) as connection:
        judged = assessments_of(connection, "a", definition.id)

    assert (january.value, january.verdict, january.details["origin"]) == (Fraction(900_000), PASS, "imported")
    assert (february.value, february.verdict, february.details["origin"]) == (Fraction(2_000_000), FAIL, "manual")
    assert corrected.version == 2
    assert (quarter.coverage, quarter.verdict) == (Fraction(59, 90), OPEN)  # March is not told
    assert [one.card for one in judged] == [Card.NONE, Card.YELLOW, Card.NONE]
    one.engine.dispose()


def test_what_is_computed_cannot_be_imported(cloud: Cloud) -> None:
    mine = ImportedDefinition.model_validate_json('{"id": "equipment.mine", "name": {"en": "a", "zh-CN": "a"}}')
    with writing(cloud.engine) as connection, pytest.raises(EntryRefused):
        define(connection, "best", mine, WORD)


@pytest.mark.parametrize(
    "row",
    [
        {"period": "2026-13", "value": "1"},
        {"period": "2026-01"},
        {"value": "1"},
        {"period": "2026-01", "value": "-1"},
        {"period": "2026-01", "value": "nan"},
        {"from_ms": 5, "to_ms": 5, "value": "1"},
    ],
)
def test_a_bad_value_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(EntryRefused):
        read_value("greening.recovery", row, UTC_ZONE, "manual")


def test_periods_have_names_in_site_time() -> None:
    zone = ZoneInfo("Europe/Berlin")

    assert period_named("2026-03-29", zone).to_ms - period_named("2026-03-29", zone).from_ms == 23 * HOUR_MS
    assert period_named("2026-Q1", zone).to_ms == period_named("2026-H1", zone).from_ms + 90 * DAY_MS - HOUR_MS
    with pytest.raises(BadWindow):
        period_named("May", zone)


def test_three_hundred_indicators_of_one_site_are_answered_together(tmp_path: Path) -> None:
    one = new_cloud(tmp_path)
    ledger = one.ledger(ledger_text(EQUIPMENT, site="a"))
    with writing(one.engine) as connection:
        for number in range(COUNT):
            name, text = f"cleaning.c{number}", {"en": "Cleaning", "zh-CN": "清洁"}
            define(
                connection, "a", ImportedDefinition.model_validate_json(json.dumps({"id": name, "name": text})), WORD
            )
            value = read_value(name, {"period": "2026-01", "value": "0.5"}, UTC_ZONE, "manual")
            tell(connection, "a", name, [value], WORD)
        entered = len(inputs_of(connection, "a", "indicator-value"))
    found = compute_site_indicators(one.facts, ledger, (BEGIN_MS, ms(2026, 2)), END_MS)

    assert entered == COUNT
    assert sum(result.id.startswith("cleaning.") for result in found) == COUNT
    one.engine.dispose()
