"""Whole days at a site in simulated time, under random faults: agent and cloud are the real ones.

`python -m tests.virtual SEED` replays a day.
"""

import asyncio

import pytest

from tests.virtual.judging import judge, judge_disk
from tests.virtual.loop import NothingLeft, VirtualLoop, run_virtually

SHORT_H, LONG_H = 0.7, 2.0
UPLINK_SEEDS, SITE_SEEDS = range(1, 701), range(701, 1001)  # of the soak: 1,000 days, in pieces of 50
PIECE = 50


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_faults_of_uplink_and_cloud_leave_nothing_behind_in_facts_and_indicators(seed: int) -> None:
    judge(seed, SHORT_H, of_site=False)


@pytest.mark.parametrize("seed", [21, 22])
def test_faults_of_devices_and_agent_leave_what_the_accepted_readings_say(seed: int) -> None:
    judge(seed, SHORT_H, of_site=True)


@pytest.mark.parametrize("seed", [31, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 31))])
def test_a_disk_that_takes_nothing_for_a_while_leaves_no_frame_unaccounted_for(seed: int) -> None:
    judge_disk(seed, 0.4)


@pytest.mark.soak
@pytest.mark.parametrize("first", UPLINK_SEEDS[::PIECE])
def test_fifty_days_with_faults_of_uplink_and_cloud(first: int) -> None:
    for seed in range(first, first + PIECE):
        judge(seed, LONG_H, of_site=False)


@pytest.mark.soak
@pytest.mark.parametrize("first", SITE_SEEDS[::PIECE])
def test_fifty_days_with_faults_of_devices_and_agent(first: int) -> None:
    for seed in range(first, first + PIECE):
        judge(seed, LONG_H, of_site=True)


def test_simulated_time_passes_without_waiting() -> None:
    async def work(loop: VirtualLoop) -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(86_400):
                await asyncio.Event().wait()
        return loop.time()

    assert run_virtually(0, work) == pytest.approx(86_400)


def test_a_world_in_which_nothing_can_happen_any_more_says_so() -> None:
    async def work(_: VirtualLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(NothingLeft):
        run_virtually(0, work)
