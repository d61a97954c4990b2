"""The segment files under every kind of damage a power cut or a bad block can do."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.disk import Disk
from devices.errors import StorageUnavailable
from devices.segments import Damage, Position, Record, Segments, scan, segment_numbers, write_durably

SMALL = 4096  # bytes of a segment, so that a few records fill several


def payloads(folder: Path) -> list[bytes]:
    return [found.payload for found in scan(folder) if isinstance(found, Record)]


def written(folder: Path, records: list[bytes], segment_bytes: int = SMALL) -> list[Record]:
    segments = Segments.open(folder, segment_bytes)
    for record in records:
        segments.append(record)
    segments.close()
    return [found for found in scan(folder) if isinstance(found, Record)]


def path_of(folder: Path, segment: int) -> Path:
    return folder / f"{segment:012d}.seg"


def test_records_come_back_in_order_across_segments(tmp_path: Path) -> None:
    records = [bytes([number]) * (number * 40) for number in range(60)]

    written(tmp_path, records)

    assert payloads(tmp_path) == records
    assert len(segment_numbers(tmp_path)) > 3


def test_reopening_appends_behind_the_last_record(tmp_path: Path) -> None:
    written(tmp_path, [b"one", b"two"])

    written(tmp_path, [b"three"])

    assert payloads(tmp_path) == [b"one", b"two", b"three"]


def test_a_record_larger_than_a_segment_gets_one_of_its_own(tmp_path: Path) -> None:
    large = os.urandom(3 * SMALL)

    written(tmp_path, [b"before", large, b"after"])

    assert payloads(tmp_path) == [b"before", large, b"after"]


def test_only_synced_records_count_as_durable(tmp_path: Path) -> None:
    segments = Segments.open(tmp_path)
    segments.append(b"x")
    before = segments.durable

    segments.sync()

    assert before < segments.durable == segments.end
    segments.close()


def test_a_position_reads_its_record_and_a_deleted_one_says_so(tmp_path: Path) -> None:
    records = written(tmp_path, [bytes([n]) * 900 for n in range(10)])
    segments = Segments.open(tmp_path, SMALL)
    first = records[0]
    assert segments.read(first.position) == first.payload

    segments.delete(first.position.segment)

    with pytest.raises(KeyError):
        segments.read(first.position)
    assert payloads(tmp_path) == [one.payload for one in records if one.position.segment != first.position.segment]
    segments.close()


def test_the_segment_in_use_cannot_be_deleted(tmp_path: Path) -> None:
    segments = Segments.open(tmp_path)

    with pytest.raises(ValueError, match="being written"):
        segments.delete(segments.end.segment)
    segments.close()


def test_space_is_preallocated_and_given_back_by_whole_segments(tmp_path: Path) -> None:
    written(tmp_path, [bytes(900)] * 10)
    segments = Segments.open(tmp_path, SMALL)

    assert set(segments.sizes().values()) == {SMALL}
    segments.delete(1)
    assert 1 not in segments.sizes()
    segments.close()


@pytest.mark.parametrize("cut", range(40))
def test_a_record_torn_at_any_byte_leaves_the_others_and_a_clean_tail(tmp_path: Path, cut: int) -> None:
    last = written(tmp_path, [b"first", b"a record of forty bytes, or nearly so"])[-1]
    file = path_of(tmp_path, last.position.segment)
    data = bytearray(file.read_bytes())
    torn = last.position.offset + min(cut, last.end.offset - last.position.offset - 1)
    data[torn : last.end.offset] = bytes(last.end.offset - torn)
    file.write_bytes(data)

    written(tmp_path, [b"written after the cut"])

    assert payloads(tmp_path) == [b"first", b"written after the cut"]
    assert not [found for found in scan(tmp_path) if isinstance(found, Damage)]


def test_rolled_back_records_never_reappear(tmp_path: Path) -> None:
    segments = Segments.open(tmp_path)
    segments.append(b"kept")
    segments.sync()
    segments.append(b"taken back, and long enough to stick out behind what follows")

    segments.rollback()
    segments.append(b"next")
    segments.close()

    assert payloads(tmp_path) == [b"kept", b"next"]


damages = st.tuples(st.sampled_from(["truncate", "flip", "hole", "garbage"]), st.floats(0, 1), st.integers(1, 700))


@settings(max_examples=120, deadline=None)
@given(
    records=st.lists(st.binary(max_size=300), min_size=1, max_size=40),
    damage=damages,
    noise=st.binary(min_size=1, max_size=60),
)
def test_any_damage_loses_only_the_records_it_touches(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[bytes],
    damage: tuple[str, float, int],
    noise: bytes,
) -> None:
    folder = tmp_path_factory.mktemp("segments")
    whole = written(folder, records)
    kind, where, length = damage
    victim = whole[min(int(where * len(whole)), len(whole) - 1)].position.segment
    in_victim = [one for one in whole if one.position.segment == victim]
    used = in_victim[-1].end.offset
    at = min(int(where * used), used - 1)
    file = path_of(folder, victim)
    data = file.read_bytes()
    touched = (at, at + 1)
    if kind == "truncate":
        data, touched = data[:at], (at, len(data))
    elif kind == "flip":
        data = data[:at] + bytes([data[at] ^ (1 << length % 8)]) + data[at + 1 :]
    elif kind == "hole":
        data, touched = data[:at] + bytes(min(length, len(data) - at)) + data[at + length :], (at, at + length)
    else:
        data = data[:at] + noise + data[at:]
    file.write_bytes(data)

    found = payloads(folder)

    safe = [
        one.payload
        for one in whole
        if one.position.segment != victim or one.end.offset <= touched[0] or one.position.offset >= touched[1]
    ]
    lost_at_most = len(whole) - len(safe)
    assert len(found) >= len(safe)
    assert len(found) <= len(safe) + lost_at_most
    remaining = iter(one.payload for one in whole)
    assert all(any(one == other for other in remaining) for one in found), "an invented or reordered record"
    survivors = iter(found)
    assert all(any(one == other for other in survivors) for one in safe), "an undamaged record is missing"

    written(folder, [b"appended after the damage"])
    assert payloads(folder)[-1] == b"appended after the damage"


def test_damage_in_the_middle_is_reported_with_its_place(tmp_path: Path) -> None:
    whole = written(tmp_path, [b"a" * 100, b"b" * 100, b"c" * 100])
    file = path_of(tmp_path, 1)
    data = bytearray(file.read_bytes())
    data[whole[1].position.offset + 50] ^= 1
    file.write_bytes(data)

    found = list(scan(tmp_path))

    assert found == [whole[0], Damage(whole[1].position, 112), whole[2]]


def test_scanning_from_a_position_gives_what_follows(tmp_path: Path) -> None:
    whole = written(tmp_path, [bytes([n]) * 700 for n in range(12)])

    assert list(scan(tmp_path, whole[5].position)) == whole[5:]
    assert list(scan(tmp_path, whole[-1].end)) == []


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(StorageUnavailable, match="file"):
        Segments.open(tmp_path / "file")


def test_a_replaced_file_holds_the_new_content_and_nothing_is_left_over(tmp_path: Path) -> None:
    target = tmp_path / "cursor"
    write_durably(target, b"old")

    write_durably(target, b"new")

    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["cursor"]
    assert target.stat().st_mode & 0o777 == 0o600


class Recording(Disk):
    """Does everything and remembers in which order."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if callable(found) and name != "calls":
            self.calls.append(name)
        return found


def test_a_new_segment_and_its_name_are_durable_before_anything_is_in_it(tmp_path: Path) -> None:
    disk = Recording()

    segments = Segments.open(tmp_path / "new", SMALL, disk)
    segments.append(b"x")
    segments.sync()
    segments.close()

    assert disk.calls == ["make_folder", "open", "allocate", "sync", "sync_folder", "write", "sync_data"]


def test_an_append_costs_one_sync_and_no_change_of_the_file(tmp_path: Path) -> None:
    disk = Recording()
    segments = Segments.open(tmp_path, SMALL, disk)
    size = path_of(tmp_path, 1).stat().st_size
    disk.calls.clear()

    for _ in range(3):
        segments.append(b"x" * 100)
        segments.sync()

    assert disk.calls == ["write", "sync_data"] * 3
    assert path_of(tmp_path, 1).stat().st_size == size == SMALL
    segments.close()


def test_a_deleted_segment_and_a_replaced_file_are_durably_so(tmp_path: Path) -> None:
    written(tmp_path, [bytes(900)] * 10)
    disk = Recording()
    segments = Segments.open(tmp_path, SMALL, disk)
    disk.calls.clear()

    segments.delete(1)
    write_durably(tmp_path / "cursor", b"new", disk=disk)

    replacing = ["make_folder", "open", "write", "sync", "replace", "sync_folder"]
    assert disk.calls == ["unlink", "sync_folder", *replacing]
    segments.close()


def test_a_torn_tail_is_written_over_and_keeps_its_place_on_a_full_disk(tmp_path: Path) -> None:
    last = written(tmp_path, [b"first", b"torn away"])[-1]
    file = path_of(tmp_path, 1)
    data = file.read_bytes()
    file.write_bytes(data[: last.end.offset - 2] + bytes(len(data) - last.end.offset + 2))
    disk = Recording()

    Segments.open(tmp_path, SMALL, disk).close()

    assert disk.calls == ["make_folder", "open", "write", "sync"]
    assert payloads(tmp_path) == [b"first"]


def test_positions_order_as_records_were_appended(tmp_path: Path) -> None:
    whole = written(tmp_path, [bytes(1000)] * 12)
    positions = [one.position for one in whole]

    assert positions == sorted(positions)
    assert Position(0, 0) < positions[0]


class _HalfReadOnly(Disk):
    """A disk that turns read-only between the creation of a file and what follows."""

    broken = False

    def sync_folder(self, folder: Path) -> None:
        if self.broken:
            raise OSError(errno.EROFS, "Read-only file system")
        super().sync_folder(folder)


def test_a_segment_that_a_failed_start_left_behind_does_not_stop_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = _HalfReadOnly()
    segments = Segments.open(tmp_path, 4096, disk)
    segments.append(bytes(3000))
    segments.sync()
    disk.broken = True
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: disk.sync_folder(tmp_path))
        for _ in range(2):
            with pytest.raises(StorageUnavailable):
                segments.append(bytes(3000))
    assert segment_numbers(tmp_path) == [1, 2]
    disk.broken = False

    position = segments.append(b"after")
    segments.sync()

    assert segments.read(position) == b"after"
    segments.append(bytes(3000))
    assert segment_numbers(tmp_path)[:2] == [1, 2]
    segments.close()
