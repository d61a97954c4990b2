"""Power cuts. Whatever the journal accepted is in the log, the facts and the history exactly once."""

import random
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from cloud.facts.claims import facts_of
from cloud.facts.database import open_database
from cloud.facts.parked import Releases
from cloud.history.embedded import EmbeddedHistory
from cloud.history.feed import HistoryFeed
from cloud.ingest.gateways import GatewayRegister
from cloud.ingest.log_segments import SegmentLog
from devices.frame import Frame, Identity
from devices.reading import Lane
from tests.scenarios.site import SITE, SmallSite, changing_values, small_site
from tests.waiting import eventually, until

FRAMES_BEFORE = 4  # flow that is seen in the cloud before anything is cut
FRAMES_AFTER = 4
SEEDS = [1, 2, 3, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(4, 54))]


async def seen_in_cloud(site: SmallSite, more: int) -> None:
    """Wait until so many more events frames are stored."""
    start = await site.stored_seq()

    async def stored() -> bool:
        return await site.stored_seq() >= start + more

    await eventually(stored, f"{more} more frames in the cloud")


async def drain(site: SmallSite) -> None:
    """Stop reading; wait until the cloud has what the journal has; stop everything cleanly."""
    await site.edge.stop()
    starts = site.edge.log.count("running")
    await site.edge.start()  # what was sealed at the very end is sent at the next start
    await until(lambda: site.edge.log.count("running") > starts, "the agent to run")

    def complete() -> bool:
        stored = {frame.identity for frame in site.log_frames()}
        return all(frame.identity in stored for frame in site.journal_frames())

    await until(complete, "the journal in the cloud's log")
    await site.edge.stop()
    await site.cloud.stop()
    await site.start_cloud()  # derives what was received last
    await site.cloud.stop()


async def verify_exactly_once(site: SmallSite) -> None:
    accepted = site.journal_frames()
    logged = {frame.identity: frame.hash for frame in site.log_frames()}
    assert len(accepted) > FRAMES_BEFORE + FRAMES_AFTER

    assert [frame.identity for frame in accepted if logged.get(frame.identity) != frame.hash] == []
    assert [identity for identity, count in Counter(one.identity for one in accepted).items() if count > 1] == []
    assert claims_in_facts(site.folder) == expected_claims(site, logged)
    assert await rows_in_history(site.folder, accepted) == expected_rows(site)


def expected_claims(site: SmallSite, logged: dict[Identity, bytes]) -> Counter[tuple[str, int, bytes, int]]:
    frames = {frame.identity: frame for frame in site.log_frames() if frame.identity in logged}
    return Counter(
        (block.device, block.utc_day, frame.header.epoch, frame.header.seq)
        for frame in frames.values()
        for block in facts_of(frame, 0, SITE).claims
    )


def claims_in_facts(folder: Path) -> Counter[tuple[str, int, bytes, int]]:
    engine = sa.create_engine(f"sqlite:///{folder / 'cloud-data' / 'facts.sqlite'}")
    with engine.connect() as connection:
        rows = connection.execute(sa.text("select device, utc_day, epoch, seq from claims")).all()
    engine.dispose()
    return Counter((row.device, row.utc_day, bytes(row.epoch), row.seq) for row in rows)


def expected_rows(site: SmallSite) -> Counter[tuple[str, int, bytes, int, int]]:
    frames = {frame.identity: frame for frame in site.log_frames()}
    return Counter(
        (frame.content.series[series].name, time_ms, frame.header.epoch, frame.header.seq, index)
        for frame in frames.values()
        for index, (series, time_ms) in enumerate(
            zip(frame.content.numbers.series.tolist(), frame.content.numbers.time_ms.tolist(), strict=True)
        )
    )


async def rows_in_history(folder: Path, frames: list[Frame]) -> Counter[tuple[str, int, bytes, int, int]]:
    """As the aggregator has it after its next start: what is on disk, and the tail from the log."""
    data = folder / "cloud-data"
    log = SegmentLog(data / "log")
    history = EmbeddedHistory(data / "history", log.log_id)
    try:
        facts = open_database(data / "facts.sqlite")
        feed = HistoryFeed(log, GatewayRegister(data / "gateways.sqlite"), history, lambda: 0, Releases(facts))
        while feed.step():
            pass
        facts.dispose()
        named = {(one.device, one.point) for frame in frames for one in frame.content.series}
        return Counter(
            (f"{device}/{point}", row.time_ms, row.epoch, row.seq, row.index)
            for device, point in named
            for row in history.rows(SITE, device, point, 0, 2**50)
        )
    finally:
        history.close()
        log.close()


@pytest.mark.parametrize("seed", SEEDS)
async def test_killing_the_edge_loses_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    async with small_site(tmp_path) as site:
        await site.start_cloud()
        await site.edge.start()
        async with changing_values(site, rng):
            await seen_in_cloud(site, FRAMES_BEFORE + rng.randrange(3))

            await site.edge.kill()
            await site.edge.start()

            await seen_in_cloud(site, FRAMES_AFTER)
        await drain(site)

        await verify_exactly_once(site)


@pytest.mark.parametrize("seed", SEEDS)
async def test_killing_the_cloud_loses_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    async with small_site(tmp_path) as site:
        await site.start_cloud()
        await site.edge.start()
        async with changing_values(site, rng):
            await seen_in_cloud(site, FRAMES_BEFORE + rng.randrange(3))

            await site.cloud.kill()
            sealed = len(site.journal_frames())
            await until(lambda: len(site.journal_frames()) >= sealed + 2, "frames sealed during the outage")
            await site.start_cloud()

            await seen_in_cloud(site, FRAMES_AFTER)
        await drain(site)

        await verify_exactly_once(site)


async def test_each_lane_reaches_the_cloud(tmp_path: Path) -> None:
    async with small_site(tmp_path) as site:
        await site.start_cloud()
        await site.edge.start()

        for lane in Lane:
            await eventually(partial(site.stored_seq, lane), f"a frame of the {lane} lane")
