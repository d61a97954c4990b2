"""What the uplink does when the cloud is in trouble, or finds one frame or many too much."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from edge.backoff import LASTED_MIN_S, Backoff
from edge.clock import Clock
from tests.edge.small_cloud import SmallCloud, small_cloud
from tests.edge.test_uplink import KEY
from tests.edge.test_uplink_bounds import filled


@pytest.fixture
async def cloud() -> AsyncIterator[SmallCloud]:
    clock = Clock()
    async with small_cloud(KEY.public_key(), lambda: clock.now().utc_ms) as one:
        yield one


async def test_a_cloud_that_fails_at_every_frame_is_asked_ever_more_rarely_although_signs_of_life_pass(
    tmp_path: Path, cloud: SmallCloud
) -> None:
    edge = filled(tmp_path, 30)
    cloud.fault_at = lambda _: "503"
    async with edge.sending(cloud.url) as uplink:
        uplink._backoff = Backoff(Random(5), first_s=0.001, cap_s=60.0)
        await cloud.until(lambda: cloud.requests >= 30)

        assert uplink._backoff._failures >= 5
    edge.journal.close()


def test_a_session_without_frames_shortens_the_waits_only_when_it_lasted() -> None:
    backoff = Backoff(Random(3))
    for _ in range(6):
        backoff.next_s()
    backoff.lasted(LASTED_MIN_S)
    still = backoff._failures
    backoff.lasted(31.0)  # the bound is 0.5 s * 2 ** 6
    long = backoff._failures
    backoff.lasted(33.0)

    assert (still, long, backoff._failures) == (6, 6, 0)
