"""Space: the bound, the order of taking, and the accounts: accepted = delivered + lost."""

import itertools
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from devices.columns import Numbers
from devices.frame import Content, PreviousEpoch, decode_frame
from devices.reading import Lane
from devices.records import Loss, LossReason
from edge.clock import Moment
from edge.lane_journal import LaneJournal
from edge.sealer import Span
from edge.status import LocalAlertsStatus, Status, status_of
from tests.edge.broken_disk import BrokenDisk, PowerCut
from tests.edge.journal_world import SEGMENT_BYTES, SERIES, SmallLog, World, fill

BYTES_MAX = 16 * SEGMENT_BYTES


def segments(world: World, lane: Lane) -> list[int]:
    return list(world.journal.lane(lane).segment_sizes())


def test_the_bound_holds_at_every_append_whatever_is_written(tmp_path: Path) -> None:
    world = World(tmp_path, bytes_max=BYTES_MAX)

    for number in range(600):
        world.seal(Lane.EVENTS if number % 3 == 0 else Lane.TELEMETRY, 20 + number % 90)
        assert world.bytes_in_files() <= BYTES_MAX

    assert world.counters[Lane.EVENTS].problem == ""


def test_a_day_without_the_cloud_at_twice_the_room_keeps_all_events_and_the_accounts_balance(tmp_path: Path) -> None:
    world, log = World(tmp_path, bytes_max=BYTES_MAX), SmallLog()
    for number in range(800):
        world.seal(Lane.TELEMETRY, 60)
        if number % 8 == 0:
            world.seal(Lane.EVENTS, 20)
    log.take(world)

    produced, delivered, lost = set(world.accepted), set(log.frames), log.lost()

    assert {one for one in lost if one[0] is Lane.EVENTS} == set()
    assert len(lost) > 100
    assert produced == delivered | lost
    counted = sum(loss.count or 0 for loss in log.losses)
    assert counted == sum(world.accepted[one].readings for one in lost)


def test_confirmed_telemetry_goes_first_then_confirmed_events_then_telemetry_then_events(tmp_path: Path) -> None:
    world = World(tmp_path, bytes_max=2**30)
    for lane in Lane:
        fill(world, lane, 4)
    space, gone = world.journal.space, list[tuple[Lane, int]]()
    for lane in Lane:
        last = world.journal.lane(lane).segment_ranges()[1][1][-1].last_seq
        world.confirm(lane, 1, last)
    before = {lane: segments(world, lane) for lane in Lane}

    for _ in range(8):
        object.__setattr__(space._limits, "bytes_max", space.bytes_on_disk + SEGMENT_BYTES - 1)
        space._make_room(world.journal.lane(Lane.EVENTS), SEGMENT_BYTES)
        gone += [(lane, one) for lane in Lane for one in before[lane] if one not in segments(world, lane)]
        before = {lane: segments(world, lane) for lane in Lane}

    telemetry, events = Lane.TELEMETRY, Lane.EVENTS
    confirmed = [(telemetry, 1), (telemetry, 2), (events, 1), (events, 2)]
    assert gone == [*confirmed, (telemetry, 3), (telemetry, 4), (events, 3), (events, 4)]


def test_confirmed_segments_go_silently(tmp_path: Path) -> None:
    world = World(tmp_path, bytes_max=BYTES_MAX)
    for _ in range(400):
        header = world.seal(Lane.TELEMETRY)
        world.confirm(Lane.TELEMETRY, 1, header.seq)

    assert world.journal.accounts.losses.entries() == []
    assert world.journal.lane(Lane.TELEMETRY).ranges()[0][1] > 1


def test_events_have_a_quarter_that_telemetry_never_takes(tmp_path: Path) -> None:
    world = World(tmp_path, bytes_max=BYTES_MAX)
    fill(world, Lane.TELEMETRY, 30)

    assert world.journal.lane(Lane.TELEMETRY).bytes_on_disk <= BYTES_MAX * 3 // 4
    fill(world, Lane.EVENTS, 3)
    assert next(world.held(Lane.EVENTS)).header.seq == 1


def test_telemetry_never_takes_events_that_the_cloud_lacks(tmp_path: Path) -> None:
    world = World(tmp_path, bytes_max=BYTES_MAX)
    fill(world, Lane.EVENTS, 14)
    first = next(world.held(Lane.EVENTS)).header.seq
    fill_of_one = 80

    for _ in range(fill_of_one):
        world.seal(Lane.TELEMETRY)

    assert next(world.held(Lane.EVENTS)).header.seq == first
    assert world.counters[Lane.TELEMETRY].problem
    assert world.bytes_in_files() <= BYTES_MAX


def test_a_segment_that_is_partly_confirmed_is_lost_in_its_other_part_only(tmp_path: Path) -> None:
    world, log = World(tmp_path, bytes_max=BYTES_MAX), SmallLog()
    fill(world, Lane.TELEMETRY, 1)
    (_, (run,)) = world.journal.lane(Lane.TELEMETRY).segment_ranges()[0]
    world.confirm(Lane.TELEMETRY, 1, run.last_seq - 2)
    fill(world, Lane.TELEMETRY, 12)
    log.take(world)

    first = min(log.losses, key=lambda loss: loss.first_seq)

    assert first.first_seq == run.last_seq - 1


def test_a_loss_record_tells_range_span_count_hashes_and_series(tmp_path: Path) -> None:
    world = World(tmp_path, bytes_max=BYTES_MAX)
    frames = {}
    while not world.journal.accounts.losses.entries():
        header = world.seal(Lane.TELEMETRY, 60)
        frames[header.seq] = decode_frame(world.journal.lane(Lane.TELEMETRY).read(header.epoch, header.seq))

    (entry,) = world.journal.accounts.losses.entries()
    loss, last = entry.loss, frames[entry.loss.last_seq]

    assert loss == Loss(
        "telemetry", last.header.epoch, 1, last.header.seq, frames[1].header.from_ms, last.header.to_ms,
        LossReason.SPACE, 60 * last.header.seq, frames[1].hash, last.hash, ("pump-3/run",),
    )  # fmt: skip
    carrier = decode_frame(world.journal.lane(Lane.EVENTS).read(entry.epoch, entry.seq))
    assert carrier.content.records == (loss,)


@pytest.mark.parametrize("moment", range(12))
def test_a_power_cut_at_any_moment_of_a_deletion_leaves_every_frame_held_or_under_a_loss_record(
    tmp_path: Path, moment: int
) -> None:
    disk = BrokenDisk()
    world, log = World(tmp_path / "journal", disk, bytes_max=BYTES_MAX), SmallLog()
    while not any(path.suffix == ".idx" for path in (tmp_path / "journal" / "telemetry").iterdir()) or (
        world.journal.space.bytes_on_disk + SEGMENT_BYTES <= BYTES_MAX * 3 // 4
    ):
        world.seal(Lane.TELEMETRY)
    calls = itertools.count()
    begun = [False]

    def cut(call: str, _: object) -> None:
        begun[0] |= deleting(world)
        if begun[0] and next(calls) >= moment:
            raise PowerCut(call)

    disk.before = cut
    with pytest.raises(PowerCut):
        seal_for_ever(world)
    disk.before = lambda *_: None
    world.journal._lock.release()
    shutil.copytree(tmp_path / "journal", tmp_path / "after")
    after = World(tmp_path / "after", bytes_max=BYTES_MAX)
    after.seal(Lane.EVENTS)
    log.take(after)

    assert set(world.accepted) <= set(log.frames) | log.lost()


def seal_for_ever(world: World) -> None:
    while True:
        world.seal(Lane.TELEMETRY)


def deleting(world: World) -> bool:
    """Whether the next growth of telemetry has to take something, or is taking it."""
    lane = world.journal.lane(Lane.TELEMETRY)
    return bool(lane.grows_by(1200)) and lane.bytes_on_disk + SEGMENT_BYTES > BYTES_MAX * 3 // 4


def test_losses_said_in_a_dropped_events_frame_are_said_again(tmp_path: Path) -> None:
    world, log = World(tmp_path, bytes_max=BYTES_MAX), SmallLog()
    fill(world, Lane.TELEMETRY, 14)
    fill(world, Lane.EVENTS, 30)
    log.take(world)

    assert set(world.accepted) == set(log.frames) | log.lost()
    assert {loss.lane for loss in log.losses} == {"telemetry", "events"}


def test_too_little_free_space_makes_the_journal_a_ring_of_its_present_size(tmp_path: Path) -> None:
    disk = BrokenDisk()
    world, log = World(tmp_path, disk, free_bytes_min=10 * SEGMENT_BYTES), SmallLog()
    fill(world, Lane.TELEMETRY, 6)
    size = world.bytes_in_files()
    disk.capacity = size + 11 * SEGMENT_BYTES  # somebody else took the rest

    fill(world, Lane.TELEMETRY, 6)
    log.take(world)

    assert world.bytes_in_files() <= size + SEGMENT_BYTES
    assert set(world.accepted) == set(log.frames) | log.lost()


def test_what_is_confirmed_is_given_back_at_once_when_others_fill_the_disk(tmp_path: Path) -> None:
    disk = BrokenDisk()
    world = World(tmp_path, disk, free_bytes_min=SEGMENT_BYTES)
    fill(world, Lane.TELEMETRY, 6)
    world.confirm(Lane.TELEMETRY, 1, 10**6)
    disk.capacity = 0

    world.seal(Lane.EVENTS, 1)

    assert len(segments(world, Lane.TELEMETRY)) == 1


def test_loss_records_fit_on_a_disk_that_takes_no_new_file(tmp_path: Path) -> None:
    disk = BrokenDisk()
    world, log = World(tmp_path, disk, free_bytes_min=1), SmallLog()
    while not world.journal.lane(Lane.EVENTS).grows_by(300):
        world.seal(Lane.EVENTS, 1)
    fill(world, Lane.TELEMETRY, 4)
    disk.full = True
    disk.before = lambda call, _: setattr(disk, "full", disk.full and call != "unlink")

    while disk.full:
        world.seal(Lane.TELEMETRY)
    log.take(world)

    assert set(world.accepted) == set(log.frames) | log.lost()
    assert log.lost()


# --- what is missing ----------------------------------------------------------------------------------------


def test_a_damaged_record_is_skipped_and_becomes_a_loss_record_at_the_next_start(tmp_path: Path) -> None:
    world, log = World(tmp_path), SmallLog()
    headers = [world.seal(Lane.TELEMETRY) for _ in range(5)]
    world.journal.close()
    damage(world, Lane.TELEMETRY, headers[2].seq)

    world.open()
    world.seal(Lane.EVENTS)
    log.take(world)

    (loss,) = log.losses
    assert (loss.first_seq, loss.last_seq, loss.reason, loss.count) == (3, 3, LossReason.DAMAGED, None)
    assert loss.from_ms == headers[3].from_ms
    assert set(world.accepted) == set(log.frames) | log.lost()


def test_a_record_of_an_indexed_segment_that_rotted_is_found_when_it_is_sent(tmp_path: Path) -> None:
    world, log = World(tmp_path), SmallLog()
    fill(world, Lane.TELEMETRY, 3)
    world.journal.close()
    damage(world, Lane.TELEMETRY, 2)

    world.open()
    log.take(world)
    world.seal(Lane.EVENTS)
    log.take(world)

    assert [(loss.first_seq, loss.last_seq, loss.reason) for loss in log.losses] == [(2, 2, LossReason.DAMAGED)]
    assert set(world.accepted) == set(log.frames) | log.lost()


def test_a_bad_block_at_the_end_loses_what_was_accepted_and_not_the_frame_that_was_being_written(
    tmp_path: Path,
) -> None:
    world, log = World(tmp_path), SmallLog()
    headers = [world.seal(Lane.TELEMETRY) for _ in range(5)]
    world.journal.close()
    for header in headers[2:]:
        damage(world, Lane.TELEMETRY, header.seq)
    del world.accepted[Lane.TELEMETRY, headers[4].epoch, 5]  # cut off before its fsync ended: nobody was told

    world.open()
    world.seal(Lane.EVENTS)
    log.take(world)

    assert [(loss.first_seq, loss.last_seq, loss.reason) for loss in log.losses] == [(3, 4, LossReason.DAMAGED)]
    assert set(world.accepted) == set(log.frames) | log.lost()


def test_a_segment_that_vanished_is_reported_once(tmp_path: Path) -> None:
    world, log = World(tmp_path), SmallLog()
    fill(world, Lane.TELEMETRY, 4)
    log.connect(world)
    world.journal.close()
    (tmp_path / "telemetry" / "000000000002.seg").unlink()

    for _ in range(2):
        world.open()
        world.seal(Lane.EVENTS)
        world.journal.close()
    world.open()
    log.take(world)

    assert len(log.losses) == 1
    assert set(world.accepted) == set(log.frames) | log.lost()


def damage(world: World, lane: Lane, seq: int) -> None:
    journal = LaneJournal.open(world.folder / lane, "gw-1", lane, SEGMENT_BYTES)
    position = journal._index.position(journal.epoch, seq)
    journal.close()
    path = world.folder / lane / f"{position.segment:012d}.seg"
    data = bytearray(path.read_bytes())
    data[position.offset + 40] ^= 1
    path.write_bytes(data)


def test_an_import_loses_nothing_and_waits(tmp_path: Path) -> None:
    world = World(tmp_path, bytes_max=BYTES_MAX)
    object.__setattr__(world.journal.space._limits, "may_lose", False)

    while not world.counters[Lane.TELEMETRY].problem:
        world.seal(Lane.TELEMETRY)

    assert "none of which may be deleted" in world.counters[Lane.TELEMETRY].problem
    assert world.journal.accounts.losses.entries() == []
    assert {one.header.seq for one in world.held(Lane.TELEMETRY)} >= set(range(1, 50))


def test_both_lanes_seal_at_once_and_begin_epochs_while_loss_records_come_between(tmp_path: Path) -> None:
    world = World(tmp_path, bytes_max=BYTES_MAX)
    events, telemetry = world.journal.lane(Lane.EVENTS), world.journal.lane(Lane.TELEMETRY)
    moment = Moment(1, 1, b"runrunru", trusted=True, uncertainty_ms=0)
    noise = np.random.default_rng(5).normal(size=60).tolist()
    numbers = Numbers.of([0] * 60, [1] * 60, noise, [0] * 60)

    def seal(lane: Lane) -> None:
        for number in range(150 if lane is Lane.EVENTS else 400):
            if lane is Lane.EVENTS and number % 7 == 0:
                events.want_epoch()
            content = Content((SERIES,), numbers) if lane is Lane.TELEMETRY else Content()
            world.writers[lane].write(content, Span(number, number + 1, moment, keyframe=False))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(seal, Lane))

    headers = [(one.header, one.hash) for one in world.held(Lane.EVENTS)]
    assert world.counters[Lane.EVENTS].problem == world.counters[Lane.TELEMETRY].problem == ""
    assert len(headers) == 150 + len(world.journal.space.said())
    for (before, digest), (after, _) in pairwise(headers):
        if after.epoch == before.epoch:
            assert (after.seq, after.previous_hash) == (before.seq + 1, digest)
        else:
            assert after.seq == 1
            assert after.previous_epoch == PreviousEpoch(before.epoch, before.seq, digest)
    assert telemetry.ranges()[0][1] > 1


def test_the_status_tells_what_the_cloud_lacks_and_warns_before_anything_is_deleted(tmp_path: Path) -> None:
    world = World(tmp_path, bytes_max=BYTES_MAX)
    fill(world, Lane.TELEMETRY, 3)
    some = status_of_world(world)
    fill(world, Lane.TELEMETRY, 9)
    fill(world, Lane.EVENTS, 3)
    much = status_of_world(world)
    world.confirm(Lane.TELEMETRY, 1, 10**6)
    after = status_of_world(world)

    assert (some.alarms, after.alarms) == ((), ())
    assert [alarm for alarm in much.alarms if "% of the journal is full of what the cloud lacks" in alarm]
    assert some.journal is not None
    assert after.journal is not None
    assert some.journal.unconfirmed_bytes >= 4 * SEGMENT_BYTES
    assert after.journal.unconfirmed_bytes < BYTES_MAX // 2


def status_of_world(world: World) -> Status:
    alerts = LocalAlertsStatus()
    return status_of("s", 0, world.journal, world.clock, None, running=True, brokers={}, local_alerts=alerts)


@pytest.mark.parametrize("more", range(0, 1200, 60))
def test_the_bound_holds_with_the_index_of_the_segment_that_is_closed(tmp_path: Path, more: int) -> None:
    bytes_max = 8 * SEGMENT_BYTES + more
    world = World(tmp_path, bytes_max=bytes_max)
    worst = 0
    for _ in range(150):
        world.seal(Lane.EVENTS, 1)
        worst = max(worst, world.bytes_in_files())
    world.journal.close()

    assert worst <= bytes_max
