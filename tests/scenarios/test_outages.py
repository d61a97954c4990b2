"""Outages at a real site: processes, sockets, disks. Seeds are printed; docs/complaints.md says whose woes they are."""

from pathlib import Path

import pytest

from simulators.faults import Faults
from tests.scenarios.verbs import (
    given_a_site,
    then_everything_arrived_once,
    then_no_reading_is_missing,
    when_everything_is_mended,
    when_frames_are_sealed,
    when_frames_flow,
    when_the_cloud_is_killed,
    when_the_edge_is_killed,
    when_the_edge_restarts,
    when_the_uplink_has_faults,
    when_the_uplink_is_cut,
)

POLL_MS = 10_000  # of a meter's power in the packaged profile
SOAKED = [pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 12)]


@pytest.mark.parametrize("seed", SOAKED)
async def test_nothing_of_the_first_seconds_after_a_lost_link_is_missing(tmp_path: Path, seed: int) -> None:
    async with given_a_site(tmp_path, seed) as one:
        before_ms = one.now_ms()
        when_the_uplink_is_cut(one)
        await when_frames_are_sealed(one, 5)
        await when_everything_is_mended(one)
        await when_frames_flow(one)
        after_ms = one.now_ms()

        await then_everything_arrived_once(one)
        then_no_reading_is_missing(one, before_ms, after_ms, 2 * POLL_MS)


@pytest.mark.parametrize("seed", SOAKED)
async def test_acknowledgements_that_are_lost_double_nothing(tmp_path: Path, seed: int) -> None:
    async with given_a_site(tmp_path, seed) as one:
        when_the_uplink_has_faults(one, answers=Faults(lose_ack=0.6))
        await when_frames_are_sealed(one, 5)
        await when_the_cloud_is_killed(one)

        await then_everything_arrived_once(one)


@pytest.mark.parametrize("seed", [1, *SOAKED])
async def test_an_agent_restarted_while_offline_with_another_configuration_delivers_all_it_had(
    tmp_path: Path, seed: int
) -> None:
    async with given_a_site(tmp_path, seed) as one:
        when_the_uplink_is_cut(one)
        await when_frames_are_sealed(one, 2)
        await when_the_edge_is_killed(one)
        await when_frames_are_sealed(one, 2)
        await when_the_edge_restarts(one, lambda text: text.replace("id: drive-2", "id: drive-9"))
        await when_frames_are_sealed(one, 2)

        await then_everything_arrived_once(one)
