"""What one lane of the journal promises about its files."""

import os
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.columns import Numbers
from devices.errors import ConfigurationError
from devices.frame import Content, Origin, SealedFrame, open_frame
from devices.reading import Lane, Series
from edge.clock import Moment
from edge.lane_journal import LaneJournal
from edge.sealer import Sealer, Span, seal_next

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SEALER = Sealer.of("gw-1", KEY, Origin.LIVE, lambda _: Series("d", "p"))
SEGMENT_BYTES = 4096


def opened(folder: Path) -> LaneJournal:
    return LaneJournal.open(folder, "gw-1", Lane.EVENTS, SEGMENT_BYTES)


def sealed(journal: LaneJournal, count: int = 1) -> list[SealedFrame]:
    frames = []
    for _ in range(count):
        at_ms = 1000 * journal.next_seq
        content = Content((Series("d", "p"),), Numbers.of([0], [at_ms], [float(journal.next_seq)], [0]))
        moment = Moment(at_ms, at_ms, b"runrunru", trusted=True, uncertainty_ms=1)
        frame = seal_next(journal, SEALER, content, Span(at_ms, at_ms + 1000, moment, keyframe=False))
        journal.append(frame)
        frames.append(frame)
    return frames


def held(journal: LaneJournal) -> list[bytes]:
    return [journal.read(epoch, seq) for epoch, first, last in journal.ranges() for seq in range(first, last + 1)]


def test_a_reopened_lane_holds_the_same_frames_and_continues_the_chain(tmp_path: Path) -> None:
    first = opened(tmp_path)
    frames = sealed(first, 30)
    first.close()

    again = opened(tmp_path)

    assert held(again) == [frame.data for frame in frames]
    assert (again.epoch, again.next_seq, again.last_hash) == (first.epoch, 31, frames[-1].hash)
    assert not again.recovery.began_epoch


def test_a_frame_counts_only_after_its_bytes_were_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(tmp_path)
    real = os.fdatasync
    synced: list[tuple[bytes, bool]] = []

    def looking(file: int) -> None:
        counts = journal.holds(journal.epoch, 1) or journal.next_seq > 1
        real(file)
        synced.append((os.pread(file, SEGMENT_BYTES, 0), counts))

    monkeypatch.setattr(os, "fdatasync", looking)
    frame = sealed(journal)[0]

    assert [(frame.data in data, counts) for data, counts in synced] == [(True, False)]
    assert journal.read(journal.epoch, 1) == frame.data


def test_a_torn_last_frame_is_forgotten_and_begins_a_new_epoch_whatever_byte_it_was_torn_at(tmp_path: Path) -> None:
    master = tmp_path / "master"
    journal = opened(master)
    frames = sealed(journal, 3)
    end = journal._segments.end.offset
    start = end - len(frames[-1].data) - 12
    journal.close()
    data = (master / "000000000001.seg").read_bytes()

    for cut in range(start + 1, end):
        folder = tmp_path / f"cut-{cut}"
        shutil.copytree(master, folder)
        (folder / "000000000001.seg").write_bytes(data[:cut] + bytes(len(data) - cut))
        again = opened(folder)

        assert held(again) == [frame.data for frame in frames[:2]]
        assert again.epoch != journal.epoch
        assert again.previous_epoch is not None
        assert (again.previous_epoch.epoch, again.previous_epoch.last_seq) == (journal.epoch, 2)
        assert again.previous_epoch.last_hash == frames[1].hash
        again.close()


def test_a_segment_cut_between_two_frames_goes_on_in_its_epoch(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    frames = sealed(journal, 3)
    end = journal._segments.end.offset
    journal.close()
    path = tmp_path / "000000000001.seg"
    path.write_bytes(path.read_bytes()[: end - len(frames[-1].data) - 12])

    again = opened(tmp_path)

    assert (again.epoch, again.next_seq) == (journal.epoch, 3)


def test_a_lost_identity_file_begins_a_new_epoch(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    frames = sealed(journal, 2)
    journal.close()
    (tmp_path / "lane.json").unlink()

    again = opened(tmp_path)

    assert again.epoch != journal.epoch
    assert held(again) == [frame.data for frame in frames]


def test_a_journal_of_another_gateway_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()

    with pytest.raises(ConfigurationError, match="belongs to gateway 'gw-1'"):
        LaneJournal.open(tmp_path, "gw-2", Lane.EVENTS)


def test_a_deleted_segment_takes_only_its_own_frames(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    frames = sealed(journal, 40)
    segment, runs = journal.segment_ranges()[0]
    journal.delete_segment(segment)

    assert held(journal) == [frame.data for frame in frames[runs[-1].last_seq :]]


STEPS = st.sampled_from(["seal", "reopen", "tear", "damage", "epoch"])


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(STEPS, st.integers(0, 2**31)), max_size=14))
def test_whatever_happens_between_openings_no_identity_is_used_twice_and_whole_frames_stay(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("lane")
    journal = opened(folder)
    kept: dict[tuple[bytes, int], bytes] = {}
    for step, chance in steps:
        if step == "seal":
            for frame in sealed(journal, 3):
                assert kept.setdefault((frame.header.epoch, frame.header.seq), frame.data) == frame.data
        elif step == "epoch":
            journal.begin_epoch()
        else:
            written = journal._segments.end.offset
            journal.close()
            path = max(folder.glob("*.seg"))
            data = bytearray(path.read_bytes())
            if step == "tear":  # a record was being written when the power went
                data[written : written + 9] = b"\xf5GHr\x30\x00\x00\x00\x01"
            elif step == "damage" and written:
                data[chance % written] = (data[chance % written] + 1) % 256  # a second time must not mend it
            path.write_bytes(data)
            journal = opened(folder)
            whole = {(one.header.epoch, one.header.seq): one.data for one in map(open_frame, held(journal))}
            assert len(kept) - len(whole) <= (1 if step == "damage" else 0)
            assert whole.items() <= kept.items()
            kept = whole
    journal.close()
