import asyncio
import errno
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

from cloud.ingest.admission import Admission
from cloud.ingest.gateways import GatewayRegister
from cloud.ingest.identities import Identities
from cloud.ingest.log_segments import SegmentLog
from cloud.ingest.receive import receiving
from cloud.ingest.tokens import Tokens
from devices.batches import REQUEST_BYTES_MAX, REQUEST_FRAMES_MAX, join_frames
from devices.frame import FORMAT
from devices.instants import parse_instant
from devices.reading import Lane
from devices.receipt import Status
from tests.cloud.sealed import SealingGateway, now_ms
from tests.cloud.serving import Uplink, serving


@dataclass
class Ingest:
    log: SegmentLog
    keys: GatewayRegister
    address: str
    uplink: Uplink
    client: httpx.AsyncClient

    def stored(self, lane: Lane) -> list[bytes]:
        return [entry.data for entry in self.log.read(lane, 0, 100_000)]

    def quarantined(self) -> list[bytes]:
        return [entry.data for entry in self.log.read_quarantine(0, 100_000)]


@pytest_asyncio.fixture
async def ingest(tmp_path: Path) -> AsyncIterator[Ingest]:
    log = SegmentLog(tmp_path / "log")
    keys = GatewayRegister(tmp_path / "gateways.sqlite")
    gateway = SealingGateway()
    keys.add(gateway.name, "jinji-lake", gateway.key.public_key(), now_ms())
    app = FastAPI()
    app.include_router(receiving(Admission(log, keys, Identities.of_log(log), now_ms), Tokens(keys), now_ms))
    async with serving(app) as address, httpx.AsyncClient(base_url=address) as client:
        yield Ingest(log, keys, address, Uplink(client, gateway), client)
    log.close()
    keys.close()


async def test_a_frame_is_in_the_log_byte_for_byte_when_it_is_receipted(ingest: Ingest) -> None:
    frame = ingest.uplink.gateway.values([1.5, 2.5])

    receipt = await ingest.uplink.post(frame.data)

    assert [result.status for result in receipt.results] == [Status.STORED]
    assert receipt.results[0].hash == frame.hash.hex()
    assert receipt.log_id == ingest.log.log_id
    assert abs(parse_instant(receipt.server_time) - now_ms()) < 60_000
    assert [(lane.lane, lane.contiguous_seq) for lane in receipt.lanes] == [(Lane.TELEMETRY, 1)]
    assert ingest.stored(Lane.TELEMETRY) == [frame.data]


async def test_a_repeated_frame_is_a_duplicate_and_is_stored_once(ingest: Ingest) -> None:
    frame = ingest.uplink.gateway.values([1.0])
    other = ingest.uplink.gateway.values([2.0])

    receipts = [await ingest.uplink.post(frame.data, frame.data), await ingest.uplink.post(frame.data, other.data)]

    assert [result.status for receipt in receipts for result in receipt.results] == [
        Status.STORED,
        Status.DUPLICATE,
        Status.DUPLICATE,
        Status.STORED,
    ]
    assert ingest.stored(Lane.TELEMETRY) == [frame.data, other.data]


async def test_the_same_frame_in_many_requests_at_once_is_stored_once(ingest: Ingest) -> None:
    frame = ingest.uplink.gateway.values([1.0])

    receipts = await asyncio.gather(*(ingest.uplink.post(frame.data) for _ in range(20)))

    statuses = sorted(receipt.results[0].status for receipt in receipts)
    assert statuses == [Status.DUPLICATE] * 19 + [Status.STORED]
    assert ingest.stored(Lane.TELEMETRY) == [frame.data]


@pytest.mark.parametrize("lane", list(Lane))
async def test_another_frame_under_a_known_identity_is_quarantined_once(ingest: Ingest, lane: Lane) -> None:
    first = ingest.uplink.gateway.values([1.0], lane)
    forked = SealingGateway(start_ms=5)
    forked.key = ingest.uplink.gateway.key
    fork = forked.values([2.0], lane)

    receipts = [await ingest.uplink.post(one) for one in (first.data, fork.data, fork.data)]

    assert [receipt.results[0].status for receipt in receipts] == [Status.STORED, Status.FORK, Status.FORK]
    assert ingest.stored(lane) == [first.data]
    assert ingest.quarantined() == [fork.data]


async def test_a_damaged_frame_must_be_sent_again_and_does_not_hold_back_its_neighbours(ingest: Ingest) -> None:
    good, cut, torn = (ingest.uplink.gateway.values([float(value)]) for value in range(3))
    flipped = bytearray(torn.data)
    flipped[-100] ^= 1

    receipt = await ingest.uplink.post(cut.data[:-5], bytes(flipped), good.data)

    assert [result.status for result in receipt.results] == [Status.RETRY, Status.RETRY, Status.STORED]
    assert ingest.stored(Lane.TELEMETRY) == [good.data]


async def test_frames_signed_with_a_key_of_somebody_else_are_refused(ingest: Ingest) -> None:
    stranger = Ed25519PrivateKey.generate()
    gateway = ingest.uplink.gateway
    frame = gateway.values([1.0], Lane.EVENTS)
    by_stranger = [SealingGateway() for _ in Lane]
    for one in by_stranger:
        one.key = stranger
    flipped = bytearray(frame.data)
    flipped[-1] ^= 1

    receipt = await ingest.uplink.post(
        bytes(flipped), *(one.values([1.0], lane).data for one, lane in zip(by_stranger, Lane, strict=True))
    )

    assert {result.status for result in receipt.results} == {Status.REFUSED}
    assert all(result.reason for result in receipt.results)
    assert ingest.stored(Lane.EVENTS) == ingest.stored(Lane.TELEMETRY) == []


async def test_a_gateway_cannot_deliver_frames_of_another_one(ingest: Ingest) -> None:
    other = SealingGateway("gw-2")
    ingest.keys.add("gw-2", "elsewhere", other.key.public_key(), now_ms())

    receipt = await ingest.uplink.post(other.values([1.0]).data)

    assert receipt.results[0].status is Status.REFUSED


async def test_a_genuine_frame_of_a_newer_format_is_stored_once(ingest: Ingest) -> None:
    newer = msgspec.msgpack.encode((FORMAT, 2, {"what": "ever"}))

    receipts = [await ingest.uplink.post(newer), await ingest.uplink.post(newer)]

    assert [receipt.results[0].status for receipt in receipts] == [Status.STORED, Status.DUPLICATE]
    assert ingest.stored(Lane.EVENTS) == [newer]


async def test_a_revoked_key_is_refused_without_a_restart(ingest: Ingest) -> None:
    gateway = ingest.uplink.gateway
    await ingest.uplink.post(gateway.values([1.0]).data)
    (key,) = ingest.keys.all()[0].keys
    ingest.keys.revoke(gateway.name, key.id, now_ms())

    response = await ingest.uplink.post_bytes(join_frames([gateway.values([2.0]).data]))

    assert response.status_code == 401


async def test_a_gateway_added_by_another_process_is_known_at_once(ingest: Ingest, tmp_path: Path) -> None:
    newcomer = SealingGateway("gw-9")
    uplink = Uplink(ingest.client, newcomer)
    before = await uplink.post_bytes(b"")
    beside = GatewayRegister(tmp_path / "gateways.sqlite")
    beside.add("gw-9", "jinji-lake", newcomer.key.public_key(), now_ms())
    beside.close()

    receipt = await uplink.post(newcomer.values([1.0]).data)

    assert before.status_code == 401
    assert receipt.results[0].status is Status.STORED


@pytest.mark.parametrize("flaw", ["expired", "audience", "subject", "garbage", "other key"])
async def test_a_bad_token_is_answered_with_the_time(ingest: Ingest, flaw: str) -> None:
    gateway = ingest.uplink.gateway
    token = {
        "expired": gateway.token(expires_in_s=-120),
        "audience": gateway.token(audience="somebody-else"),
        "subject": gateway.token(subject="gw-2"),
        "garbage": "a.b.c",
        "other key": SealingGateway().token(),
    }[flaw]

    response = await ingest.uplink.post_bytes(join_frames([gateway.values([1.0]).data]), token=token)

    assert response.status_code == 401
    assert abs(parse_instant(response.json()["server_time"]) - now_ms()) < 60_000
    assert ingest.stored(Lane.TELEMETRY) == []


async def test_a_token_that_expired_within_the_leeway_is_good(ingest: Ingest) -> None:
    response = await ingest.uplink.post_bytes(b"", token=ingest.uplink.gateway.token(expires_in_s=-30))

    assert response.status_code == 200


async def test_a_request_that_is_too_large_is_refused_whole(ingest: Ingest) -> None:
    frame = ingest.uplink.gateway.values([1.0]).data

    too_large = await ingest.uplink.post_bytes(join_frames([frame]) + bytes(REQUEST_BYTES_MAX))
    too_many = await ingest.uplink.post_bytes(join_frames([frame] * (REQUEST_FRAMES_MAX + 1)))
    cut = await ingest.uplink.post_bytes(join_frames([frame])[:-1])
    wrong_type = await ingest.uplink.post_bytes(join_frames([frame]), content_type="application/json")

    assert [one.status_code for one in (too_large, too_many, cut, wrong_type)] == [413, 400, 400, 415]
    assert ingest.stored(Lane.TELEMETRY) == []


async def test_the_receipt_lists_what_is_held_and_what_lacks_for_every_epoch(ingest: Ingest) -> None:
    gateway = ingest.uplink.gateway
    frames = [gateway.values([float(value)]) for value in range(10)]
    await ingest.uplink.post(*(frames[index].data for index in (0, 1, 4, 5, 9)))
    gateway.epoch = b"epoch--2"
    await ingest.uplink.post(gateway.values([1.0], Lane.EVENTS).data)

    receipt = await ingest.uplink.receipt()

    assert {(lane.lane, lane.epoch): (lane.contiguous_seq, lane.highest_seq, lane.gaps) for lane in receipt.lanes} == {
        (Lane.TELEMETRY, b"epoch--1".hex()): (2, 10, ((3, 4), (7, 9))),
        (Lane.EVENTS, gateway.epoch_of(Lane.EVENTS).hex()): (1, 1, ()),
    }


async def test_what_is_known_survives_a_restart(ingest: Ingest) -> None:
    gateway = ingest.uplink.gateway
    frames = [gateway.values([float(value)]) for value in range(5)]
    fork = SealingGateway(start_ms=5)
    fork.key = gateway.key
    await ingest.uplink.post(*(frame.data for frame in frames if frame is not frames[2]))
    await ingest.uplink.post(forked := fork.values([7.0]).data)

    rebuilt = Identities.of_log(ingest.log)

    assert rebuilt.states(gateway.name) == (await ingest.uplink.receipt()).lanes
    admission = Admission(ingest.log, ingest.keys, rebuilt, now_ms)
    again = await admission.take(ingest.keys.all()[0], [frames[0].data, frames[2].data, forked])
    assert [one.status for one in again.results] == [Status.DUPLICATE, Status.STORED, Status.FORK]
    assert len(ingest.quarantined()) == 1


async def test_a_failing_disk_receipts_nothing_and_recovers(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (ingest.uplink.gateway.values([float(value)]) for value in range(2))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", full)
        failed = await ingest.uplink.post_bytes(join_frames([first.data]))
    recovered = await ingest.uplink.post(second.data, first.data)

    assert failed.status_code == 503
    assert "server_time" in failed.json()
    assert [result.status for result in recovered.results] == [Status.STORED, Status.STORED]
    assert ingest.stored(Lane.TELEMETRY) == [second.data, first.data]


async def test_an_empty_request_is_a_sign_of_life(ingest: Ingest) -> None:
    receipt = await ingest.uplink.post()

    assert (receipt.results, receipt.lanes) == ((), ())
