"""What users of other gateways complain of (docs/complaints.md), each on a day made for it, in simulated time."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from devices.frame import decode_frame
from devices.reading import Lane
from devices.states import EquipmentState
from tests.virtual.day import HOLD_S, START_MS, run_day
from tests.virtual.judging import CODES, day_folder, judge_plan
from tests.virtual.plan import RUN, Plan, Spell, plan_of

HOUR_S = 3600.0


def day(*network: Spell, hours: float = 0.5, restarts_s: tuple[float, ...] = ()) -> Plan:
    calm = plan_of(5, hours, of_site=False)
    return Plan(5, hours * HOUR_S, calm.truth, list(network), list(restarts_s), {}, [], [])


@pytest.mark.parametrize("what", ["down", "black-hole"])
def test_the_first_seconds_after_a_lost_link_are_not_lost(what: str) -> None:
    judge_plan(day(*(Spell(what, at_s, at_s + 25) for at_s in (300.0, 800.0, 1300.0))))


def test_a_lost_acknowledgement_doubles_nothing() -> None:
    judge_plan(day(Spell("lost-ack", 120, 900), Spell("double", 1000, 1500)))


def test_requests_that_arrive_after_their_time_out_double_nothing() -> None:
    judge_plan(day(Spell("late", 120, 1400)))


def test_a_cloud_that_restarts_again_and_again_misses_nothing() -> None:
    judge_plan(day(restarts_s=(200.0, 700.0, 1200.0)))


def test_a_cloud_that_is_down_is_not_stormed_and_is_found_at_once_when_it_is_back() -> None:
    begin_s, end_s = 600.0, 600.0 + HOUR_S
    with day_folder() as folder, capture_logs() as logs:
        found = run_day(folder, day(Spell("down", begin_s, end_s), hours=1.2))
    knocks = [at_s for at_s in found.asked_s if begin_s <= at_s < end_s]
    said = [line for line in logs if line["log_level"] in {"warning", "error"}]

    assert len(knocks) < HOUR_S / 10
    assert len(said) < HOUR_S / 10
    assert min(at_s for at_s in found.answered_s if at_s >= end_s) - end_s <= 3.0


def test_a_device_that_fell_silent_does_not_look_alive() -> None:
    plan = day()
    truth = {name: [Spell(RUN, 0, 4000)] for name in plan.truth}
    silent = Plan(5, plan.length_s, truth, [], [], {"m1": [Spell("silent", 600, 1200)]}, [], [])
    with day_folder() as folder:
        found = run_day(folder, silent)

    spans = [(round((start - START_MS) / 1000), CODES[code]) for start, code in found.timelines["m1"]]
    states = [state for _, state in spans]
    assert states == [EquipmentState.RUN, EquipmentState.UNKNOWN, EquipmentState.RUN]
    assert 600 + HOLD_S - 20 <= spans[1][0] <= 600 + HOLD_S + 22
    assert spans[2][0] >= 1200
    assert len(found.timelines["m2"]) == 1  # nobody else was concerned


def test_readings_from_before_the_clock_was_known_have_their_right_times() -> None:
    calm = day(Spell("down", 0, 700))
    with day_folder() as folder:
        known = run_day(folder / "known", calm)
        learnt = run_day(folder / "learnt", replace(calm, clock_known_s=600.0))

    assert learnt.timelines == known.timelines
    assert learnt.indicators == known.indicators
    assert {frame.header.from_ms < 10_000_000 for frame in learnt.logged} == {True, False}


def test_polling_goes_on_after_a_long_outage_of_everything() -> None:
    plan = day(Spell("down", 200, 1500))
    broken = Plan(5, plan.length_s, plan.truth, plan.network, [], {}, [Spell("lost", 200, 1500)], [])
    with day_folder() as folder:
        found = run_day(folder, broken)
    frames = [decode_frame(one.data) for one in found.accepted]
    late = [
        frame for frame in frames if frame.header.lane is Lane.EVENTS and frame.header.from_ms > START_MS + 1_600_000
    ]

    assert found.backlog_frames == 0
    assert any((frame.content.numbers.quality < 64).any() for frame in late if len(frame.content.numbers))


@pytest.mark.soak
def test_memory_is_flat_over_seven_days_offline() -> None:
    resident: list[int] = []

    def look() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        resident.append(pages * os.sysconf("SC_PAGESIZE"))

    with day_folder() as folder:
        run_day(folder, day(Spell("down", 600, 7 * 24 * HOUR_S - 600), hours=7 * 24), look)

    assert resident[-1] < 1.1 * resident[24], f"{resident[24]} bytes after a day, {resident[-1]} after a week"
