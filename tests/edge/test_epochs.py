"""A number is never used twice for different bytes: when an epoch ends, and what the next one says of it."""

import json
import shutil
from pathlib import Path

import pytest

from devices.errors import ConfigurationError
from devices.frame import Header, open_frame
from devices.reading import Lane
from devices.receipt import FrameResult, Receipt, Status
from edge.clock import Clock
from edge.journal import Journal
from edge.lane_journal import LaneJournal
from edge.outbox import Outbox
from edge.series import SeriesTable
from tests.edge.journal_world import KEY, SEGMENT_BYTES, SmallLog, World

GOLDEN = Path(__file__).parent.parent / "golden" / "journal" / "format-1"


def names_its_predecessor(first: Header, before: Header, last_hash: bytes) -> bool:
    previous = first.previous_epoch
    return (
        first.seq == 1
        and first.epoch != before.epoch
        and previous is not None
        and (previous.epoch, previous.last_seq, previous.last_hash) == (before.epoch, before.seq, last_hash)
    )


def test_a_torn_tail_ends_the_epoch_and_the_next_names_what_was_whole(tmp_path: Path) -> None:
    world = World(tmp_path)
    headers = [world.seal(Lane.TELEMETRY) for _ in range(3)]
    journal = world.journal.lane(Lane.TELEMETRY)
    hashes = [open_frame(journal.read(one.epoch, one.seq)).hash for one in headers]
    position = journal._index.position(headers[2].epoch, 3)
    world.journal.close()
    path = tmp_path / "telemetry" / f"{position.segment:012d}.seg"
    data = path.read_bytes()
    path.write_bytes(data[: position.offset + 30] + bytes(len(data) - position.offset - 30))

    world.open()
    after = world.seal(Lane.TELEMETRY)

    assert names_its_predecessor(after, headers[1], hashes[1])
    assert world.seal(Lane.TELEMETRY).previous_epoch is None


def test_a_card_image_of_yesterday_begins_a_new_epoch_when_the_cloud_is_ahead_of_it(tmp_path: Path) -> None:
    world, log = World(tmp_path / "card"), SmallLog()
    image = [world.seal(Lane.EVENTS) for _ in range(3)][-1]
    world.journal.close()
    shutil.copytree(tmp_path / "card", tmp_path / "image")
    world.open()
    for _ in range(3):
        world.seal(Lane.EVENTS)
    log.take(world)
    world.journal.close()

    restored = World(tmp_path / "image")
    last_hash = restored.journal.lane(Lane.EVENTS).last_hash
    outbox = Outbox(restored.journal)
    outbox.connect(receipt_of(log))
    restored.writers[Lane.EVENTS]._journal.begin_epoch()  # as the sealing task does when the outbox asked
    after = restored.seal(Lane.EVENTS)

    assert restored.journal.sealing[Lane.EVENTS]._epoch_wanted
    assert names_its_predecessor(after, image, last_hash)
    assert after.epoch not in {name[1] for name in log.frames}


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("offline", [2, 3, 5])
def test_frames_that_an_image_of_yesterday_made_under_taken_numbers_are_sent_and_found_out(
    tmp_path: Path, offline: int, *, restarted: bool
) -> None:
    world, log = World(tmp_path / "card"), SmallLog()
    for _ in range(3):
        world.seal(Lane.EVENTS)
    log.take(world)
    world.journal.accounts.write()
    world.journal.close()
    shutil.copytree(tmp_path / "card", tmp_path / "image")
    world.open()
    for _ in range(3):
        world.seal(Lane.EVENTS)
    log.take(world)
    world.journal.close()

    restored = World(tmp_path / "image")
    made = [restored.seal(Lane.EVENTS).seq for _ in range(offline)]
    if restarted:
        restored.reopen()
    outbox = Outbox(restored.journal)
    outbox.connect(receipt_of(log))
    names = outbox.next_backlog(100)
    parcels = outbox.read(names, 2**20)
    results = [
        FrameResult(name.lane, name.epoch.hex(), name.seq, "", Status.FORK if name.seq <= 6 else Status.STORED)
        for name in names
    ]
    outbox.settle(parcels, Receipt("2026-11-20T12:00:00.000Z", "log-1", tuple(results), ()))

    assert [name.seq for name in names] == made
    assert outbox.alarms.forks == min(offline, 3)
    assert restored.journal.sealing[Lane.EVENTS]._epoch_wanted
    restored.journal.close()


def receipt_of(log: SmallLog) -> Receipt:
    return Receipt("2026-11-20T12:00:00.000Z", "log-1", (), log.answer())


def test_an_identity_file_put_back_from_an_older_epoch_begins_a_new_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.seal(Lane.EVENTS)
    old = (tmp_path / "events" / "lane.json").read_bytes()
    world.journal.lane(Lane.EVENTS).begin_epoch()
    newest = world.seal(Lane.EVENTS)
    last_hash = world.journal.lane(Lane.EVENTS).last_hash
    world.journal.close()
    (tmp_path / "events" / "lane.json").write_bytes(old)

    world.open()

    assert names_its_predecessor(world.seal(Lane.EVENTS), newest, last_hash)


@pytest.mark.parametrize("change", [{"bytes_max": 10 * SEGMENT_BYTES}, {"segment_bytes": 3000}, {"free_bytes_min": 5}])
def test_a_change_of_configuration_keeps_every_frame_and_the_epoch(tmp_path: Path, change: dict[str, int]) -> None:
    world, log = World(tmp_path), SmallLog()
    before = [world.seal(lane) for _ in range(12) for lane in Lane]
    world.limits |= change

    world.reopen()
    after = world.seal(Lane.EVENTS)
    log.take(world)

    assert (after.epoch, after.seq) == (before[0].epoch, 13)
    assert set(log.frames) == set(world.accepted)


# --- format versions ----------------------------------------------------------------------------------------


def test_a_journal_of_format_1_is_read_and_continued(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "journal")
    expected = [tuple(row) for row in json.loads((GOLDEN / "expected.json").read_text(encoding="utf-8"))]

    journal = Journal.open(tmp_path / "journal", "gw-1", KEY, Clock(), SeriesTable(), segment_bytes=4096)

    held = [
        (str(lane), epoch.hex(), seq, open_frame(journal.lane(lane).read(epoch, seq)).hash.hex())
        for lane in Lane
        for epoch, first, last in journal.lane(lane).ranges()
        for seq in range(first, last + 1)
    ]
    assert held == expected
    telemetry = journal.lane(Lane.TELEMETRY)
    assert (telemetry.next_seq, journal.receipts.contiguous(Lane.TELEMETRY, telemetry.epoch)) == (21, 7)
    assert not telemetry.recovery.began_epoch
    assert journal.lane(Lane.EVENTS).next_seq == 5
    assert journal.accounts.losses.entries() == []
    journal.close()


def test_a_journal_of_a_newer_version_is_refused_with_a_reason_and_left_alone(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "journal")
    identity = tmp_path / "journal" / "events" / "lane.json"
    identity.write_text(json.dumps({"format": 99, "what": "ever"}), encoding="utf-8")
    before = {path: path.read_bytes() for path in (tmp_path / "journal").rglob("*") if path.is_file()}

    with pytest.raises(ConfigurationError, match=r"lane.json: a newer version wrote this journal \(format 99\)"):
        Journal.open(tmp_path / "journal", "gw-1", KEY, Clock(), SeriesTable())

    assert {path: path.read_bytes() for path in before} == before


# --- recovery without reading everything ----------------------------------------------------------------------


def test_a_start_reads_the_last_segment_only_and_knows_all_frames(tmp_path: Path) -> None:
    world = World(tmp_path)
    for _ in range(80):
        world.seal(Lane.TELEMETRY)
    before = world.journal.lane(Lane.TELEMETRY)
    assert len(before.segment_sizes()) > 5

    after = world.reopen().lane(Lane.TELEMETRY)

    assert after.recovery.scanned_segments == 1
    assert (after.ranges(), after.next_seq, after.last_hash) == (before.ranges(), before.next_seq, before.last_hash)
    assert len(list(world.held(Lane.TELEMETRY))) == 80


@pytest.mark.parametrize("fault", ["missing", "damaged", "of another file", "segment cut", "of another format"])
def test_an_index_that_cannot_be_believed_is_made_anew(tmp_path: Path, fault: str) -> None:
    world = World(tmp_path)
    for _ in range(40):
        world.seal(Lane.TELEMETRY)
    world.journal.close()
    folder = tmp_path / "telemetry"
    index, segment = folder / "000000000002.idx", folder / "000000000002.seg"
    if fault == "missing":
        index.unlink()
    elif fault == "damaged":
        data = bytearray(index.read_bytes())
        data[len(data) // 2] ^= 1
        index.write_bytes(data)
    elif fault == "of another file":
        index.write_bytes((folder / "000000000001.idx").read_bytes())
    elif fault == "segment cut":
        segment.write_bytes(segment.read_bytes()[:-1])
    else:
        index.write_bytes(b"\x00\x00\x00\x00")

    lane = LaneJournal.open(folder, "gw-1", Lane.TELEMETRY, SEGMENT_BYTES)
    again = LaneJournal.open(folder, "gw-1", Lane.TELEMETRY, SEGMENT_BYTES)

    assert lane.recovery.scanned_segments == 2
    assert again.recovery.scanned_segments == 1
    assert lane.ranges() == again.ranges() == [(lane.epoch, 1, 40)]


def test_an_index_left_over_from_a_segment_that_is_written_to_is_not_believed(tmp_path: Path) -> None:
    world = World(tmp_path)
    for _ in range(20):
        world.seal(Lane.TELEMETRY)
    open_segment = world.journal.lane(Lane.TELEMETRY).open_segment
    folder = tmp_path / "telemetry"
    stale = (folder / "000000000001.idx").read_bytes()
    world.journal.close()
    (folder / f"{open_segment:012d}.idx").write_bytes(stale)

    world.open()

    assert not (folder / f"{open_segment:012d}.idx").exists()
    assert len(list(world.held(Lane.TELEMETRY))) == 20
