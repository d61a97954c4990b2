"""Every rule of the default pack that asks for numbers, dates and repeats, from real facts; and the kinds beside it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts.alert import Alert, Key, Machine
from cloud.alerts.engine import AlertEngine
from cloud.alerts.findings import is_last, robust_band
from cloud.alerts.periodic import PeriodicRules, Sources
from cloud.alerts.repeats import beginnings
from cloud.alerts.store import AlertStore
from cloud.alerts.turns import Seen
from cloud.alerts.view import SiteView
from cloud.facts.database import writing
from cloud.facts.inputs import enter
from cloud.history.embedded import EmbeddedHistory
from cloud.history.store import FrameNumbers
from cloud.indicators.definition import Better
from cloud.ingest.integrity import Finding, IntegrityKind, IntegrityRecord
from cloud.live import LiveState
from devices.columns import Numbers
from devices.profile import packaged_profile
from devices.reading import Lane, Series
from devices.rule_kinds import Abnormal, EventRule, Periodic, Rank
from devices.rules import Rule, known_rules, parse_rules
from devices.words import LANGUAGES, say
from tests.cloud.live_world import Watch
from tests.cloud.patrols import BEGIN_MS, patrol_text, point, robot_entries, robot_inventory
from tests.cloud.told import SITE, Cloud, Entry, Told, inventory, ledger_text, new_cloud

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
WEEK_MS = 7 * DAY_MS
MONDAY_MS = BEGIN_MS + (7 - (BEGIN_MS // DAY_MS + 3) % 7) % 7 * DAY_MS  # day 0 was a Thursday
MONTH_MS = 1_780_272_000_000  # 1 June 2026
NAME = "name: {en: M, zh-CN: M}"
MACHINES = f"""equipment:
  - {{id: pump, {NAME}, code: P, class: pump, criticality: A, device: dev-1, commissioned: 2024-01-01}}"""


class PeriodicWorld:
    """A store that is told frames, the rules over it, and a clock."""

    def __init__(self, folder: Path, rules: Mapping[str, Rule]) -> None:
        self.now_ms = BEGIN_MS
        self.cloud: Cloud = new_cloud(folder)
        self.history = EmbeddedHistory(folder / "history", "log")
        self.integrity = IntegrityRecord(folder / "integrity.sqlite")
        self.live = LiveState()
        self.store = AlertStore(self.cloud.engine)
        self.watch = Watch(SiteView(SITE, rules))
        self.start()

    def start(self) -> None:
        """A process that has just started."""
        self.engine = AlertEngine(self.store, self.live, self.watch, lambda: self.now_ms)
        sources = Sources(self.cloud.facts, self.live, self.history, self.integrity)
        self.periodic = PeriodicRules(self.engine, sources, lambda: self.now_ms)

    async def ask(self, at_ms: int) -> None:
        """Ask every rule that is due."""
        self.now_ms = at_ms
        for ledger in self.cloud.facts.sites():
            await self.periodic.ask(ledger)
        await self.engine.evaluate(SITE)

    def alerts(self, rule: str) -> list[Alert]:
        """Open alerts of a rule, each of which can say its sentence in every language."""
        found = [alert for alert in self.engine.open_alerts(SITE) if alert.key.rule == rule]
        assert all(say(language, one.text, **one.parameters, thing_name="X") for one in found for language in LANGUAGES)
        return found

    def close(self) -> None:
        self.integrity.close()
        self.history.close()
        self.cloud.engine.dispose()


@contextmanager
def world_of(folder: Path, *rules: str, pack: Mapping[str, Rule] | None = None) -> Iterator[PeriodicWorld]:
    known = known_rules() if pack is None else pack
    world = PeriodicWorld(folder, {name: known[name] for name in rules or known})
    try:
        yield world
    finally:
        world.close()


def machine(*states: tuple[int, int, float]) -> list[Told]:
    """A machine that is heard all the time; each state (from, to, alarm) is a frame."""
    frames = []
    for seq, (from_ms, to_ms, alarm) in enumerate(states, 1):
        entries = tuple(
            Entry("dev-1", name, from_ms, value, to_ms) for name, value in (("alarm", alarm), ("running", 1.0))
        )
        records = inventory(["dev-1"], from_ms) if seq == 1 else ()
        frames.append(Told(seq, from_ms, to_ms, entries=entries, records=records))
    return frames


SCENARIOS = {
    "intact-rate-below-target", "intact-rate-unreachable", "intact-rate-missed", "intact-rate-missed-twice",
    "data-coverage-low", "robots-down-week-on-week", "changed-week-on-week", "robot-coverage-short", "checkpoint-idle",
    "maintenance-overdue", "inspection-overdue", "fault-repeated", "evidence-broken",
}  # fmt: skip


def test_every_rule_that_is_asked_from_time_to_time_has_a_scenario() -> None:
    asked = {rule.id for rule in known_rules().values() if isinstance(rule.when, Periodic | EventRule)}

    assert asked == SCENARIOS


async def test_an_intact_rate_below_its_target_is_yellow_until_it_has_been_above_for_an_hour(tmp_path: Path) -> None:
    with world_of(tmp_path, "intact-rate-below-target", "data-coverage-low") as world:
        world.cloud.ledger(ledger_text(MACHINES))
        first_ms = BEGIN_MS - 20 * HOUR_MS
        world.cloud.tell(
            machine(
                (first_ms, first_ms + 1, 0), (BEGIN_MS, BEGIN_MS + HOUR_MS, 1),
                (BEGIN_MS + HOUR_MS, BEGIN_MS + 30 * HOUR_MS, 0),
            )
        )  # fmt: skip
        await world.ask(BEGIN_MS + 3 * HOUR_MS)
        new = world.engine.open_alerts(SITE)  # heard for less than a day: nobody can say
        await world.ask(BEGIN_MS + 6 * HOUR_MS)
        [alert] = world.alerts("intact-rate-below-target")
        [little] = world.alerts("data-coverage-low")
        above_ms = BEGIN_MS + 26 * HOUR_MS + 10 * MINUTE_MS
        await world.ask(above_ms)
        above = world.engine.book.get(alert.key)
        await world.ask(above_ms + 55 * MINUTE_MS)  # asked again: still above, since the first time
        almost = world.engine.book.get(alert.key)
        await world.ask(above_ms + HOUR_MS)
        over = world.engine.book.get(alert.key)

    assert new == []
    assert (alert.severity, alert.parameters["limit"]) == ("yellow", "98 %")
    assert alert.parameters["value"] == "83.33 %"
    assert little.parameters["value"] == "25 %"
    conditions = [one.condition for one in (above, almost, over) if one is not None]
    assert conditions == [Machine.ACTIVE, Machine.ACTIVE, Machine.CLEARED]


async def test_a_month_that_cannot_reach_its_target_any_more_is_orange(tmp_path: Path) -> None:
    with world_of(tmp_path, "intact-rate-unreachable") as world:
        world.cloud.ledger(ledger_text(MACHINES))
        ends = MONTH_MS + 2 * DAY_MS
        world.cloud.tell(machine((MONTH_MS, MONTH_MS + HOUR_MS, 1), (MONTH_MS + HOUR_MS, ends, 0)))
        await world.ask(MONTH_MS + 30 * HOUR_MS)
        [alert] = world.alerts("intact-rate-unreachable")

    assert (alert.severity, alert.parameters["value"]) == ("orange", "96.66 %")


async def test_a_missed_month_is_yellow_and_the_second_one_running_red(tmp_path: Path) -> None:
    with world_of(tmp_path, "intact-rate-missed", "intact-rate-missed-twice") as world:
        world.cloud.ledger(ledger_text(MACHINES))
        july, august = MONTH_MS + 30 * DAY_MS, MONTH_MS + 61 * DAY_MS
        world.cloud.tell(machine((MONTH_MS, july + 10 * DAY_MS, 1), (july + 10 * DAY_MS, august + DAY_MS, 0)))
        await world.ask(july + 2 * DAY_MS)
        early = world.alerts("intact-rate-missed")
        await world.ask(july + 4 * DAY_MS)
        [first] = world.alerts("intact-rate-missed")
        once = world.alerts("intact-rate-missed-twice")
        await world.ask(august + 4 * DAY_MS)
        [second] = world.alerts("intact-rate-missed-twice")

    assert early == once == []
    assert (first.severity, second.severity, second.latched) == ("yellow", "red", True)
    assert second.parameters["count"] == "2"


async def test_robots_that_do_less_than_the_week_before_are_yellow(tmp_path: Path) -> None:
    with world_of(tmp_path, "robots-down-week-on-week", "changed-week-on-week") as world:
        world.cloud.ledger(patrol_text(zone_more=', required_hours: ["00:00-06:00"], robots: [r1]'))
        frames = []
        for day in range(14):
            begin_ms = MONDAY_MS + day * DAY_MS
            busy_ms = (4 if day < 7 else 2) * HOUR_MS
            entries = robot_entries("d1", begin_ms, begin_ms + busy_ms, driving=1, order_active=1)
            entries += robot_entries("d1", begin_ms + busy_ms + 1, begin_ms + DAY_MS - 1)
            records = robot_inventory("d1", "d2") if day == 0 else ()
            frames.append(Told(day + 1, begin_ms, begin_ms + DAY_MS, entries=tuple(entries), records=records))
        world.cloud.tell(frames)
        await world.ask(MONDAY_MS + 2 * WEEK_MS + HOUR_MS)
        down = {alert.key.thing: alert for alert in world.alerts("robots-down-week-on-week")}
        changed = {alert.key.thing for alert in world.alerts("changed-week-on-week")}

    assert down["robot.utilisation"].parameters["change"].startswith("-50")
    assert down["robot.utilisation"].opened_ms == MONDAY_MS + 2 * WEEK_MS
    assert "robot.utilisation" in changed


async def test_a_day_that_will_miss_its_coverage_and_a_point_left_alone_are_yellow(tmp_path: Path) -> None:
    with world_of(tmp_path, "robot-coverage-short", "checkpoint-idle") as world:
        more = ', required_hours: ["00:00-10:00"], robots: [r1], max_interval_min: 60'
        world.cloud.ledger(patrol_text(zone_more=more, points=[point("gate", "all", 10, 10)]))
        entries = robot_entries("d1", BEGIN_MS, BEGIN_MS + 10 * HOUR_MS, driving=1, order_active=1)
        world.cloud.tell(
            [Told(1, BEGIN_MS, BEGIN_MS + 10 * HOUR_MS, entries=tuple(entries), records=robot_inventory("d1", "d2"))]
        )
        await world.ask(BEGIN_MS + 119 * MINUTE_MS)
        fresh = world.engine.open_alerts(SITE)
        await world.ask(BEGIN_MS + 7 * HOUR_MS)
        early = world.alerts("robot-coverage-short")
        [idle] = world.alerts("checkpoint-idle")
        await world.ask(BEGIN_MS + 8 * HOUR_MS)
        [short] = world.alerts("robot-coverage-short")

    assert fresh == early == []
    assert (idle.key.thing, idle.opened_ms, idle.parameters["limit"]) == ("gate", BEGIN_MS + 2 * HOUR_MS, "120 min")
    assert (short.parameters["value"], short.parameters["limit"]) == ("0 %", "60 %")


async def test_dates_that_have_passed_are_yellow_until_the_work_is_entered(tmp_path: Path) -> None:
    ledger = ledger_text(
        MACHINES.replace("criticality: A,", "criticality: A, maintenance_days: 30, inspection_days: 7,")
    )
    commissioned_ms = 1_704_067_200_000
    with world_of(tmp_path, "maintenance-overdue", "inspection-overdue") as world:
        world.cloud.ledger(ledger)
        await world.ask(commissioned_ms + 31 * DAY_MS - 1)
        early = world.alerts("maintenance-overdue")
        await world.ask(commissioned_ms + 31 * DAY_MS)
        [maintenance], [inspection] = world.alerts("maintenance-overdue"), world.alerts("inspection-overdue")
        entered(world, "maintenance-window", '{"equipment": ["pump"], "work": "oil", "approved_by": "li"}', HOUR_MS)
        entered(world, "inspection", '{"equipment": "pump", "result": "intact", "inspector": "li"}', None)
        await world.ask(commissioned_ms + 32 * DAY_MS)
        after = [world.engine.book.get(one.key) for one in (maintenance, inspection)]

    assert early == []
    assert (maintenance.parameters["due"], maintenance.opened_ms) == ("2024-01-31", commissioned_ms + 31 * DAY_MS)
    assert [one.condition for one in after if one is not None] == [Machine.CLEARED, Machine.CLEARED]


async def test_a_rule_that_cannot_be_asked_leaves_the_others_alone(tmp_path: Path) -> None:
    ledger = ledger_text(MACHINES.replace("criticality: A,", "criticality: A, maintenance_days: 30,"))
    with world_of(tmp_path, "maintenance-overdue", "fault-repeated") as world:
        world.cloud.ledger(ledger)
        entered(world, "maintenance-window", '{"of a version": "to come"}', HOUR_MS)
        await world.ask(BEGIN_MS + 400 * DAY_MS)

        assert world.engine.open_alerts(SITE) == []


def entered(world: PeriodicWorld, kind: str, document: str, lasts_ms: int | None) -> None:
    with writing(world.cloud.engine) as connection:
        enter(
            connection, SITE, kind, "x", document, actor="li", reason="done", recorded_ms=world.now_ms,
            valid_from_ms=world.now_ms, valid_to_ms=None if lasts_ms is None else world.now_ms + lasts_ms,
        )  # fmt: skip


async def test_the_third_time_the_same_fault_asks_for_its_root_cause(tmp_path: Path) -> None:
    with world_of(tmp_path, "equipment-fault-a", "fault-repeated") as world:
        world.cloud.ledger(ledger_text(MACHINES))
        rule, key = known_rules()["equipment-fault-a"], Key(SITE, "equipment-fault-a", "pump")
        counts = []
        for number in range(3):
            began_ms = BEGIN_MS + number * DAY_MS
            for truth, since_ms in ((True, began_ms), (False, began_ms + HOUR_MS)):
                world.now_ms = since_ms + MINUTE_MS
                await world.engine.observe(rule, key, Seen(truth, since_ms, since_ms))
            await world.ask(began_ms + 2 * HOUR_MS)
            counts.append(len(world.alerts("fault-repeated")))
        [alert] = world.alerts("fault-repeated")

    assert counts == [0, 0, 1]
    assert (alert.key.thing, alert.parameters["count"], alert.parameters["flag"]) == ("pump", "3", "root-cause")


def test_a_fault_that_is_back_within_five_minutes_is_the_same_one() -> None:
    soon, late = 100 + 5 * MINUTE_MS - 1, 100 + 5 * MINUTE_MS

    assert beginnings([("opened", 0), ("cleared", 100), ("reopened", soon)]) == [0]
    assert beginnings([("opened", 0), ("cleared", 100), ("reopened", late)]) == [0, late]


async def test_a_fork_in_the_evidence_is_red_once_also_after_a_restart(tmp_path: Path) -> None:
    with world_of(tmp_path, "evidence-broken") as world:
        world.integrity.note(Finding(SITE, "gw-1", IntegrityKind.FORK, "events", bytes(8), 7, "two frames"), BEGIN_MS)
        taken = [await world.periodic.take_events(), await world.periodic.take_events()]
        [alert] = world.alerts("evidence-broken")
        world.start()
        await world.engine.load()
        taken.append(await world.periodic.take_events())
        [again] = world.alerts("evidence-broken")

    assert taken == [1, 0, 0]
    assert (alert.severity, alert.latched, alert.key.thing) == ("red", True, "gw-1")
    assert alert.parameters["event"].startswith("fork (events")
    assert again.version == alert.version


async def test_a_value_outside_the_band_of_its_hour_of_the_week_is_abnormal(tmp_path: Path) -> None:
    pack = parse_rules(
        "id: own\nversion: 1\nrules:\n  - {id: odd, severity: yellow, name: Odd, when: {kind: abnormal, measure: load,"
        " width: 3, weeks: 5, floor: 2}}\n",
        "own.yaml",
    )
    hour_ms = BEGIN_MS + 10 * HOUR_MS
    with world_of(tmp_path, pack={rule.id: rule for rule in pack.rules}) as world:
        world.cloud.ledger(ledger_text(MACHINES))
        world.live.site(SITE).device("dev-1", "gw-1").profile = packaged_profile("apc-smart-ups")
        for week, value in enumerate((40.0, 41.0, 39.0, 40.0, 40.0, 60.0)):
            at_ms = hour_ms - (5 - week) * WEEK_MS
            columns = Numbers.of([0, 0], [at_ms + 1000, at_ms + 1_800_000], [value, value], [0, 0])
            series = (Series("dev-1", "load", "percent"),)
            frame = FrameNumbers(SITE, "gw-1", Lane.TELEMETRY, b"epoch--1", week + 1, series, columns)
            world.history.write([frame], {Lane.TELEMETRY: week + 1})
        await world.ask(hour_ms + HOUR_MS + MINUTE_MS)
        [odd] = world.alerts("odd")

    assert (odd.key.thing, odd.parameters["value"], odd.parameters["limit"]) == ("pump", "60", "38 … 42")


def test_the_band_is_robust_against_one_wild_week_and_needs_enough_of_them() -> None:
    when = Abnormal(kind="abnormal", measure="load", width=4)

    band = robust_band([10, 11, 9, 10, 500], when)

    assert band is not None
    assert band[0] == pytest.approx(10 - 4 * 1.4826)
    assert robust_band([10, 11, 9], when) is None


def test_a_site_is_among_the_last_when_at_most_so_many_are_as_bad() -> None:
    when = Rank(kind="rank", indicator="equipment.intact_rate", period="month", percent=20)
    values = {f"s{n}": Fraction(n, 10) for n in range(10)}

    assert [site for site in values if is_last(values, site, when, Better.HIGHER)] == ["s0", "s1"]
    assert [site for site in values if is_last(values, site, when, Better.LOWER)] == ["s8", "s9"]
    assert is_last(dict(list(values.items())[:4]), "s0", when, Better.HIGHER) is None


@given(st.lists(st.integers(0, 5), min_size=5, max_size=30), st.integers(1, 50))
def test_never_more_sites_are_last_than_the_share_allows(scores: Sequence[int], percent: int) -> None:
    when = Rank(kind="rank", indicator="equipment.intact_rate", period="month", percent=percent)
    values = {f"s{n}": Fraction(score) for n, score in enumerate(scores)}

    last = [site for site in values if is_last(values, site, when, Better.HIGHER)]

    assert len(last) <= max(1, len(scores) * percent // 100)


async def test_the_last_of_all_sites_two_months_running_is_told(tmp_path: Path) -> None:
    pack = parse_rules(
        "id: own\nversion: 1\nrules:\n  - {id: last, severity: yellow, name: Last, when: {kind: rank, percent: 50,"
        " indicator: equipment.intact_rate, period: month, periods: 2, sites_min: 2}}\n",
        "own.yaml",
    )
    with world_of(tmp_path, pack={rule.id: rule for rule in pack.rules}) as world:
        end_ms = MONTH_MS + 66 * DAY_MS
        for site, fault_ms in ((SITE, 20 * DAY_MS), ("site-2", HOUR_MS)):
            world.cloud.ledger(ledger_text(MACHINES, site=site))
            frames = machine(
                (MONTH_MS, MONTH_MS + fault_ms, 1), (MONTH_MS + fault_ms, MONTH_MS + 31 * DAY_MS, 0),
                (MONTH_MS + 31 * DAY_MS, MONTH_MS + 31 * DAY_MS + fault_ms, 1),
                (MONTH_MS + 31 * DAY_MS + fault_ms, end_ms, 0),
            )  # fmt: skip
            world.cloud.tell(frames, site)
        await world.ask(MONTH_MS + 65 * DAY_MS)
        told = [alert.key.site for alert in world.store.standing(0)]

    assert told == [SITE]
