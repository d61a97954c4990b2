"""A start reads what no chunk covers, and knows the same as if it had read everything."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud.ingest import checkpoint
from cloud.ingest.checkpoint import Checkpoint
from cloud.ingest.identities import Identities, Known, identity_of
from cloud.ingest.log import Received
from cloud.ingest.log_segments import SegmentLog
from cloud.ingest.trails import Suspicion
from devices.frame import Content, Origin, SealedFrame
from devices.reading import Lane
from tests.cloud.sealed import START_MS, SealingGateway

CHUNK = 50
LATER_MS = START_MS + 10**9


class Logged:
    """A log that was filled with frames of two gateways, one of them copied, in any order and some twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = SegmentLog(folder / "log")
        self.rng = random.Random(3)
        one, two = SealingGateway("gw-1"), SealingGateway("gw-2")
        self.copy = SealingGateway("gw-2", epoch=b"the copy", start_ms=START_MS + 300)
        self.frames = [
            gateway.seal(Content(), lane, origin=origin)
            for gateway, origin in ((one, Origin.LIVE), (two, Origin.LIVE), (self.copy, Origin.LIVE))
            for _ in range(90)
            for lane in Lane
        ]
        self.missing = set(self.rng.sample(range(len(self.frames)), 20))
        self.order = [index for index in range(len(self.frames)) if index not in self.missing]
        self.rng.shuffle(self.order)

    async def append(self, frames: list[SealedFrame]) -> None:
        await self.log.append([Received(START_MS, one.header.gateway, one.header.lane, one.data) for one in frames])

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.folder / "log" / "identities", self.log, lambda: LATER_MS)


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Logged]:
    monkeypatch.setattr(checkpoint, "CHUNK_FRAMES", CHUNK)
    monkeypatch.setattr(checkpoint, "READ_FRAMES", 10)
    logged = Logged(tmp_path)
    yield logged
    logged.log.close()


def fill_up(of: Checkpoint) -> None:
    of.identities()
    while of.step():
        pass


def knowledge(identities: Identities, frames: list[SealedFrame]) -> list[object]:
    """Everything that a later request could notice."""
    known: list[object] = [identities.look_up(identity_of(one.header), one.hash) for one in frames]
    known += [identities.look_up(identity_of(one.header), bytes(32)) for one in frames]
    return known + [identities.states(name) for name in ("gw-1", "gw-2")]


async def test_a_start_from_chunks_knows_what_a_start_from_the_log_knows(logged: Logged) -> None:
    stored = [logged.frames[index] for index in logged.order]
    await logged.append([*stored, *stored[:30]])
    fill_up(logged.checkpoint())
    start = logged.checkpoint()
    quick, slow = start.identities(), Identities.of_log(logged.log)

    assert start.frames_read < 2 * CHUNK
    assert knowledge(quick, logged.frames) == knowledge(slow, logged.frames)
    assert Known.NEW in knowledge(quick, logged.frames)
    for index in sorted(logged.missing):
        frame = logged.frames[index]
        assert names(quick.add(frame.header, frame.hash)) == names(slow.add(frame.header, frame.hash))


def names(suspicions: list[Suspicion]) -> list[tuple[str, int]]:
    return [(str(one.kind), one.header.seq) for one in suspicions]


async def test_what_was_told_before_a_start_is_not_told_after_it(logged: Logged) -> None:
    stored = [logged.frames[index] for index in logged.order]
    await logged.append(stored)
    slow = Identities.of_log(logged.log)
    fill_up(logged.checkpoint())
    quick = logged.checkpoint().identities()
    again = logged.copy.seal(Content(), seq=91)

    assert {kind for kind, _ in names(slow.suspicions)} == {"two-senders"}
    told = [*quick.suspicions, *quick.add(again.header, again.hash)]
    assert {kind for kind, _ in names(told)} <= {"chain-broken"}


async def test_chunks_go_on_where_the_last_start_left_them(logged: Logged) -> None:
    await logged.append(logged.frames[:200])
    fill_up(logged.checkpoint())
    await logged.append(logged.frames[200:])
    fill_up(logged.checkpoint())

    start = logged.checkpoint()

    assert knowledge(start.identities(), logged.frames) == [Known.DUPLICATE] * 540 + [Known.FORK] * 540 + [
        Identities.of_log(logged.log).states(name) for name in ("gw-1", "gw-2")
    ]
    assert start.frames_read < 2 * CHUNK


async def test_an_entry_is_read_once_however_often_a_step_finds_too_few(
    logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = logged.checkpoint()
    of.identities()
    read = 0
    look = checkpoint._look

    def counting(*arguments: Any) -> None:
        nonlocal read
        read += 1
        look(*arguments)

    monkeypatch.setattr(checkpoint, "_look", counting)
    for at in range(0, len(logged.frames), 20):
        await logged.append(logged.frames[at : at + 20])
        while of.step():
            pass

    assert read == len(logged.frames)
    assert logged.checkpoint().identities().states("gw-1") == Identities.of_log(logged.log).states("gw-1")


async def test_young_entries_wait(logged: Logged) -> None:
    await logged.append(logged.frames)
    young = Checkpoint(logged.folder / "log" / "identities", logged.log, lambda: START_MS)
    young.identities()

    assert not young.step()


@pytest.mark.parametrize("fault", ["torn", "rotten", "another log", "a log that is shorter"])
async def test_chunks_that_cannot_be_believed_are_made_anew(logged: Logged, fault: str) -> None:
    await logged.append(logged.frames)
    fill_up(logged.checkpoint())
    (path,) = (logged.folder / "log" / "identities").glob("*.seg")
    data = path.read_bytes()
    used = len(data.rstrip(b"\0"))
    if fault == "torn":
        path.write_bytes(data[: used - 9] + bytes(len(data) - used + 9))
    elif fault == "rotten":
        path.write_bytes(data[:60] + bytes([data[60] ^ 1]) + data[61:])
    else:
        logged.log.close()
        for stale in (logged.folder / "log").glob("*/*.seg"):
            if stale != path:
                stale.unlink()
        if fault == "another log":
            (logged.folder / "log" / "log-id").unlink()
        logged.log = SegmentLog(logged.folder / "log")

    found = logged.checkpoint().identities()

    assert knowledge(found, logged.frames) == knowledge(Identities.of_log(logged.log), logged.frames)
    fill_up(logged.checkpoint())
    assert knowledge(logged.checkpoint().identities(), logged.frames) == knowledge(found, logged.frames)
