import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from cloud.history import feed as feeding
from cloud.history.embedded import EmbeddedHistory
from cloud.history.feed import HistoryFeed
from cloud.history.store import FrameNumbers
from cloud.ingest.clocks import Released
from cloud.ingest.gateways import GatewayRegister
from cloud.ingest.log import FIRST_POSITION, Received
from cloud.ingest.log_segments import SegmentLog
from devices.errors import LinkDown
from devices.reading import Lane
from tests.cloud.sealed import SealingGateway, now_ms
from tests.waiting import until


class Nothing:
    """No frame ever needed a fix."""

    def released(self, after: int, limit: int) -> Sequence[Released]:
        del after, limit
        return ()


class Server:
    """A writer behind a link that can be cut."""

    name = "server"

    def __init__(self) -> None:
        self.reachable = True
        self.taken: list[int] = []
        self._positions: dict[str, int] = {}

    def position(self, stream: str) -> int:
        return self._positions.get(stream, FIRST_POSITION)

    def write(self, frames: Sequence[FrameNumbers], positions: Mapping[str, int]) -> None:
        if not self.reachable:
            raise LinkDown("cut")
        self.taken.extend(frame.seq for frame in frames)
        self._positions.update(positions)

    def maintain(self, now_ms: int) -> None:
        pass

    def close(self) -> None:
        pass


@pytest_asyncio.fixture
async def log(tmp_path: Path) -> AsyncIterator[SegmentLog]:
    log = SegmentLog(tmp_path / "log")
    yield log
    log.close()


@pytest.fixture
def gateway() -> SealingGateway:
    return SealingGateway(start_ms=now_ms() - 3_600_000)


@pytest.fixture
def keys(tmp_path: Path, gateway: SealingGateway) -> GatewayRegister:
    keys = GatewayRegister(tmp_path / "gateways.sqlite")
    keys.add(gateway.name, "site", gateway.key.public_key(), 0)
    return keys


async def put(log: SegmentLog, *frames: bytes, lane: Lane = Lane.TELEMETRY) -> None:
    await log.append([Received(now_ms(), "gw-1", lane, frame) for frame in frames])


async def test_a_writer_that_fails_holds_nobody_back_and_gets_everything_later(
    log: SegmentLog,
    keys: GatewayRegister,
    gateway: SealingGateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feeding, "RETRY_FIRST_S", 0.01)
    server = Server()
    server.reachable = False
    history = EmbeddedHistory(tmp_path / "history", log.log_id)
    feeds = [HistoryFeed(log, keys, writer, now_ms, Nothing()) for writer in (server, history)]

    async with asyncio.TaskGroup() as group:
        for one in feeds:
            group.create_task(one.run())
        await put(log, *(gateway.values([1.0]).data for _ in range(5)))
        await until(lambda: history.count() == 5, "history")
        while_cut = list(server.taken)
        server.reachable = True
        await until(lambda: len(server.taken) == 5, "the server")
        for one in feeds:
            one.stop()

    assert while_cut == []
    assert server.taken == [1, 2, 3, 4, 5]
    history.close()


async def test_both_lanes_go_into_history_and_frames_nobody_can_read_do_not(
    log: SegmentLog, keys: GatewayRegister, gateway: SealingGateway, tmp_path: Path
) -> None:
    history = EmbeddedHistory(tmp_path, log.log_id)
    feed = HistoryFeed(log, keys, history, now_ms, Nothing())
    stranger = SealingGateway("unknown", start_ms=now_ms() - 3_600_000)
    await put(log, gateway.values([1.0, 2.0]).data, stranger.values([5.0]).data, b"nonsense")
    await put(log, gateway.values([3.0], Lane.EVENTS).data, gateway.seal_ahead(now_ms() + 10**9).data, lane=Lane.EVENTS)

    assert feed.step()
    assert not feed.step()

    rows = history.rows("site", "ahu-1", "speed", 0, 2**60)
    assert sorted(row.value for row in rows) == [1.0, 2.0, 3.0]
    history.close()
