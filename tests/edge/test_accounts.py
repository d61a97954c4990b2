"""What the cloud remembers: filled again after a backup, told of what is gone, asked no more than it can tell."""

from pathlib import Path

from devices.reading import Lane
from devices.records import LossReason
from tests.edge.journal_world import SEGMENT_BYTES, SmallLog, World, fill

BYTES_MAX = 16 * SEGMENT_BYTES


def test_a_cloud_restored_from_a_backup_is_filled_again_and_told_of_what_is_gone(tmp_path: Path) -> None:
    world, log = World(tmp_path, bytes_max=BYTES_MAX), SmallLog()
    fill(world, Lane.TELEMETRY, 3)
    world.seal(Lane.EVENTS)
    log.take(world)
    backup = dict(log.frames)
    for _ in range(6):
        fill(world, Lane.TELEMETRY, 3)
        world.seal(Lane.EVENTS)
        log.take(world)
    assert log.losses == []
    log.frames = backup

    log.connect(world)
    world.seal(Lane.EVENTS)
    log.take(world)

    assert {loss.reason for loss in log.losses} == {LossReason.DELETED_AFTER_RECEIPT}
    assert set(world.accepted) == set(log.frames) | log.lost()
    entries = len(world.journal.accounts.losses.entries())
    log.connect(world)
    assert len(world.journal.accounts.losses.entries()) == entries
    assert not world.journal.accounts.losses.unsaid


def test_a_cloud_that_forgot_a_loss_record_is_told_again_what_it_was(tmp_path: Path) -> None:
    world, log = World(tmp_path, bytes_max=BYTES_MAX), SmallLog()
    while not world.journal.accounts.losses.entries():
        world.seal(Lane.TELEMETRY)
    log.take(world)
    (loss,) = log.losses
    while world.journal.lane(Lane.EVENTS).holds(world.journal.lane(Lane.EVENTS).epoch, 1):
        world.confirm(Lane.EVENTS, 1, world.seal(Lane.EVENTS).seq)
        fill(world, Lane.TELEMETRY, 1)
        log.take(world)
    log.frames = {name: frame for name, frame in log.frames.items() if name[0] is Lane.TELEMETRY}

    log.connect(world)
    world.seal(Lane.EVENTS)
    log.take(world)

    assert (loss.reason, loss.count) in {(one.reason, one.count) for one in log.losses}
    assert set(world.accepted) == set(log.frames) | log.lost()


def test_what_lies_behind_the_hundredth_gap_is_not_taken_for_gone(tmp_path: Path) -> None:
    world, log = World(tmp_path, bytes_max=BYTES_MAX), SmallLog()
    for _ in range(20):
        for _ in range(20):
            world.seal(Lane.TELEMETRY)
        log.take(world)
    held_from = world.journal.lane(Lane.TELEMETRY).ranges()[0][1]
    log.frames = {name: frame for name, frame in log.frames.items() if name[2] % 2 == 0}

    log.connect(world)

    told = world.journal.receipts.told_to(Lane.TELEMETRY, world.journal.lane(Lane.TELEMETRY).epoch)
    gone = [entry.loss.last_seq for entry in world.journal.accounts.losses.entries()]
    assert held_from > 210
    assert (told, max(gone), len(gone)) == (199, 199, 100)


def test_gaps_in_epochs_of_another_journal_of_this_gateway_are_not_its_own_losses(tmp_path: Path) -> None:
    live, importing, log = World(tmp_path / "live"), World(tmp_path / "import"), SmallLog()
    for world in (live, importing):
        for _ in range(6):
            world.seal(Lane.EVENTS)
    log.take(live)
    log.take(importing)
    log.frames = {name: frame for name, frame in log.frames.items() if name[2] not in {2, 3}}

    for world in (live, importing, live, importing):
        log.connect(world)
        world.reopen()

    assert live.journal.accounts.losses.entries() == []
    assert importing.journal.accounts.losses.entries() == []


def test_an_epoch_of_which_nothing_is_held_any_more_is_still_accounted_for(tmp_path: Path) -> None:
    world, log = World(tmp_path, bytes_max=BYTES_MAX), SmallLog()
    for _ in range(3):
        world.journal.lane(Lane.TELEMETRY).begin_epoch()
        fill(world, Lane.TELEMETRY, 12)
        log.take(world)
        world.reopen()
    log.frames = {}

    log.connect(world)
    world.seal(Lane.EVENTS)
    log.take(world)

    assert len({loss.epoch for loss in log.losses}) == 3
    assert set(world.accepted) == set(log.frames) | log.lost()
