"""What an honest gateway with one set of files never does is noted once, kept, and told."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.ingest.admission import Admission
from cloud.ingest.gateways import GatewayRegister
from cloud.ingest.identities import Identities
from cloud.ingest.integrity import EVENTS_PER_DAY_MAX, Finding, IntegrityEvent, IntegrityKind, IntegrityRecord
from cloud.ingest.log_segments import SegmentLog
from devices.frame import Content, Origin, SealedFrame
from devices.reading import Lane
from devices.receipt import Status
from tests.cloud.sealed import START_MS, SealingGateway, now_ms

DAY_MS = 86_400_000


class World:
    """The door of the cloud with its log, register and record, and one gateway that may be copied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gateway = SealingGateway(epoch=b"original")
        self.keys = GatewayRegister(folder / "gateways.sqlite")
        self.keys.add("gw-1", "jinji-lake", self.gateway.key.public_key(), now_ms())
        self.heard: list[IntegrityEvent] = []
        self.open()

    def open(self) -> None:
        self.log = SegmentLog(self.folder / "log")
        self.record = IntegrityRecord(self.folder / "integrity.sqlite")
        self.record.listen(self.heard.append)
        self.admission = Admission(self.log, self.keys, Identities.of_log(self.log), now_ms, self.record)

    def close(self) -> None:
        self.log.close()
        self.record.close()

    def twin(self, epoch: bytes, start_ms: int = START_MS) -> SealingGateway:
        """The same gateway from a copied card."""
        twin = SealingGateway(epoch=epoch, start_ms=start_ms)
        twin.key = self.gateway.key
        return twin

    async def take(self, *frames: SealedFrame) -> list[Status]:
        sender = self.keys.get("gw-1")
        assert sender is not None
        return [one.status for one in (await self.admission.take(sender, [one.data for one in frames])).results]

    @property
    def kinds(self) -> list[IntegrityKind]:
        return [event.kind for event in self.record.events()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()
    world.keys.close()


def sealed(gateway: SealingGateway, count: int, **options: object) -> list[SealedFrame]:
    return [gateway.seal(Content(), **options) for _ in range(count)]  # type: ignore[arg-type]


async def test_a_fork_is_noted_once_told_and_survives_a_restart(world: World) -> None:
    first = world.gateway.seal(Content())
    other = world.twin(b"original", START_MS + 1).seal(Content())

    statuses = await world.take(first, other, other)
    world.close()
    world.open()
    statuses += await world.take(other)

    (event,) = world.record.events()
    assert statuses == [Status.STORED, Status.FORK, Status.FORK, Status.FORK]
    assert (event.kind, event.site, event.gateway, event.lane) == ("fork", "jinji-lake", "gw-1", "events")
    assert (event.epoch, event.seq) == (world.gateway.epoch_of(Lane.EVENTS), 1)
    assert other.hash.hex() in event.detail
    assert world.heard == [event]


async def test_a_fork_whose_noting_was_cut_off_is_noted_at_the_next_start(world: World) -> None:
    await world.take(world.gateway.seal(Content()), world.twin(b"original", START_MS + 1).seal(Content()))
    world.close()
    (world.folder / "integrity.sqlite").unlink()

    world.open()

    assert world.kinds == [IntegrityKind.FORK]


@pytest.mark.parametrize("step", [1, -1])
async def test_a_copied_gateway_is_noticed_in_any_order_of_arrival(world: World, step: int) -> None:
    frames = [*sealed(world.gateway, 10), *sealed(world.twin(b"the copy", START_MS + 500), 10)]

    statuses = await world.take(*frames[::step])

    assert set(statuses) == {Status.STORED}
    assert world.kinds == [IntegrityKind.TWO_SENDERS]


async def test_a_copy_that_goes_on_is_noted_again_the_next_day(world: World) -> None:
    tomorrow = START_MS + DAY_MS
    await world.take(*sealed(world.gateway, 10), *sealed(world.twin(b"the copy", START_MS), 10))
    original, copy = world.twin(b"original", tomorrow), world.twin(b"the copy", tomorrow)
    await world.take(*(one.seal(Content(), seq=seq) for seq in range(100_000, 100_010) for one in (original, copy)))

    assert world.kinds.count(IntegrityKind.TWO_SENDERS) == 2


@pytest.mark.parametrize(
    "options", [{"origin": Origin.IMPORT}, {"origin": Origin.RAM}, {"trusted": False}], ids=["import", "ram", "clock"]
)
async def test_imports_memory_and_untrusted_clocks_may_cover_the_same_time(
    world: World, options: dict[str, object]
) -> None:
    await world.take(*sealed(world.gateway, 10), *sealed(world.twin(b"the copy"), 10, **options))

    assert world.kinds == []


async def test_an_epoch_after_a_restart_may_overlap_by_the_uncertainty_of_two_clocks(world: World) -> None:
    await world.take(*sealed(world.gateway, 10), *sealed(world.twin(b"restarted", START_MS + 6_000), 10))

    assert world.kinds == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_a_frame_that_follows_another_one_than_the_stored_breaks_the_chain(
    world: World, order: tuple[int, ...]
) -> None:
    good = sealed(world.gateway, 3)
    other = world.twin(b"original", START_MS)
    other.seal(Content(series=()), seq=1, span_end_ms=START_MS + 7)  # never sent
    strange = other.seal(Content(), seq=2)

    frames = [good[0], strange, good[2]]
    await world.take(*(frames[index] for index in order))

    assert world.kinds == [IntegrityKind.CHAIN_BROKEN] * 2  # before it and behind it


async def test_an_unbroken_chain_in_any_order_raises_nothing(world: World) -> None:
    frames = sealed(world.gateway, 6)

    for frame in (frames[3], frames[5], frames[0], frames[4], frames[2], frames[1]):
        await world.take(frame)

    assert world.kinds == []


async def test_a_forged_frame_is_noted_and_not_stored(world: World) -> None:
    forged = world.gateway.seal(Content(), key=Ed25519PrivateKey.generate())

    statuses = await world.take(forged)

    assert statuses == [Status.REFUSED]
    assert world.kinds == [IntegrityKind.WRONG_SIGNATURE]


def test_events_are_read_on_from_an_id_and_a_gateway_has_its_share_of_a_day(world: World) -> None:
    def finding(seq: int) -> Finding:
        return Finding("s", "gw-1", IntegrityKind.FORK, "events", b"12345678", seq, "d")

    noted = [world.record.note(finding(seq), at_ms=1) for seq in range(EVENTS_PER_DAY_MAX + 1)]
    tomorrow = world.record.note(finding(EVENTS_PER_DAY_MAX), at_ms=1 + DAY_MS)

    assert noted[-1] is None
    assert tomorrow is not None
    assert [event.seq for event in world.record.events(tomorrow.id - 2, 2)] == [EVENTS_PER_DAY_MAX - 1, tomorrow.seq]
