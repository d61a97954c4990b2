import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cloud.ingest import log_segments
from cloud.ingest.log import FIRST_POSITION, Received
from cloud.ingest.log_segments import SegmentLog
from devices.errors import StorageUnavailable
from devices.reading import Lane


def received(number: int, lane: Lane = Lane.EVENTS, size: int = 20) -> Received:
    return Received(1000 + number, "gw", lane, number.to_bytes(4, "big") + bytes(size))


def numbers(log: SegmentLog, lane: Lane = Lane.EVENTS, limit: int = 10_000) -> list[int]:
    found, after = [], FIRST_POSITION
    while entries := log.read(lane, after, limit):
        assert len(entries) <= limit
        assert [entry.received_ms - 1000 for entry in entries] == [number_of(entry.data) for entry in entries]
        found += [number_of(entry.data) for entry in entries]
        after = entries[-1].position
    return found


def number_of(data: bytes) -> int:
    return int.from_bytes(data[:4], "big")


@pytest_asyncio.fixture
async def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SegmentLog]:
    monkeypatch.setattr(log_segments, "LOG_SEGMENT_BYTES", 4096)
    log = SegmentLog(tmp_path)
    yield log
    log.close()


@pytest.mark.parametrize("limit", [1, 7, 10_000])
async def test_entries_are_read_in_order_across_segments_and_restarts(
    log: SegmentLog, tmp_path: Path, limit: int
) -> None:
    for number in range(300):
        await log.append([received(number), received(number, Lane.TELEMETRY, 50)])
    log.close()
    again = SegmentLog(tmp_path)

    assert len(list((tmp_path / "events").glob("*.seg"))) > 2
    assert numbers(again, Lane.EVENTS, limit) == numbers(again, Lane.TELEMETRY, limit) == list(range(300))
    assert again.log_id == log.log_id
    again.close()


async def test_requests_that_wait_together_share_one_sync(log: SegmentLog, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = 0
    real = os.fdatasync

    def counting(file: int) -> None:
        nonlocal syncs
        syncs += 1
        real(file)

    monkeypatch.setattr(os, "fdatasync", counting)
    await asyncio.gather(*(log.append([received(number)]) for number in range(50)))

    assert numbers(log) == list(range(50))
    assert syncs < 25


async def test_what_is_not_durable_cannot_be_read(log: SegmentLog, monkeypatch: pytest.MonkeyPatch) -> None:
    await log.append([received(1)])
    seen: list[int] = []
    real = os.fdatasync

    def looking(file: int) -> None:
        seen.extend(numbers(log))
        real(file)

    monkeypatch.setattr(os, "fdatasync", looking)
    await log.append([received(2)])

    assert seen == [1]
    assert numbers(log) == [1, 2]


async def test_a_failed_commit_fails_everybody_in_it_and_leaves_nothing(
    log: SegmentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", full)
        results = await asyncio.gather(*(log.append([received(number)]) for number in range(5)), return_exceptions=True)
    await log.append([received(9)])

    assert [type(result) for result in results] == [StorageUnavailable] * 5
    assert numbers(log) == [9]


async def test_who_waits_is_woken_by_each_commit(log: SegmentLog) -> None:
    arrived = log.subscribe()

    await log.append([received(1)])

    async with asyncio.timeout(5):
        await arrived.wait()
    assert numbers(log) == [1]


async def test_more_than_may_wait_for_the_disk_is_turned_away(log: SegmentLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_segments, "WAITING_BYTES_MAX", 100)

    with pytest.raises(StorageUnavailable, match="behind"):
        await log.append([received(1, size=200)])

    await log.append([received(2)])
    assert numbers(log) == [2]


async def test_a_full_quarantine_takes_no_more_forks_and_the_log_goes_on(
    log: SegmentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_segments, "QUARANTINE_BYTES_MAX", 100)
    await log.quarantine([received(1, size=200)])

    with pytest.raises(StorageUnavailable, match="quarantine"):
        await log.quarantine([received(2)])

    await log.append([received(3)])
    assert [number_of(entry.data) for entry in log.read_quarantine(0, 10)] == [1]
    assert numbers(log) == [3]


async def test_a_damaged_stretch_costs_only_what_it_touches(log: SegmentLog, tmp_path: Path) -> None:
    for number in range(200):
        await log.append([received(number)])
    log.close()
    path = min((tmp_path / "events").glob("*.seg"))
    data = bytearray(path.read_bytes())
    data[1000:1010] = bytes(10)
    path.write_bytes(data)
    again = SegmentLog(tmp_path)

    found = numbers(again)

    assert len(found) >= 198
    assert found == sorted(found)
    again.close()


async def test_a_time_of_receipt_is_found_without_reading_everything(log: SegmentLog) -> None:
    for number in range(300):
        await log.append([received(number)])

    position = log.since(Lane.EVENTS, 1000 + 150)

    behind = [number_of(entry.data) for entry in log.read(Lane.EVENTS, position, 10_000)]
    assert 0 < behind[0] <= 150
    assert behind[-1] == 299
