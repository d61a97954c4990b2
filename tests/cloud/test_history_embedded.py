import errno
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.history import embedded
from cloud.history.embedded import EmbeddedHistory
from cloud.history.embedded_files import MANIFEST
from cloud.history.store import POINTS_MAX, FrameNumbers, resolution
from devices.columns import Numbers
from devices.errors import StorageUnavailable
from devices.reading import Lane, Quality, Series

DAY_MS = 86_400_000
NOON_MS = 20_000 * DAY_MS + DAY_MS // 2
LATER_MS = embedded.TAIL_AGE_MS + 1


def numbers(seq: int, rows: Sequence[tuple[int, float, int]], *, point: str = "speed") -> FrameNumbers:
    times, values, qualities = zip(*rows, strict=True) if rows else ((), (), ())
    columns = Numbers.of([0] * len(rows), times, values, qualities)
    return FrameNumbers("site", "gw", Lane.TELEMETRY, b"epoch--1", seq, (Series("ahu", point, "percent"),), columns)


def times(history: EmbeddedHistory, point: str = "speed") -> list[tuple[int, int, int]]:
    return [(row.time_ms, row.seq, row.index) for row in history.rows("site", "ahu", point, 0, 2**60)]


def write_out(history: EmbeddedHistory) -> None:
    history.maintain(0)
    history.maintain(LATER_MS)


@pytest.mark.parametrize("written_out", [False, True])
def test_a_chart_shows_extremes_average_and_count_of_good_values_and_gaps_as_absent(
    tmp_path: Path, *, written_out: bool
) -> None:
    history = EmbeddedHistory(tmp_path, "log")
    good, bad = Quality.GOOD, Quality.BAD_NO_ANSWER
    rows = [(0, 1.0, good), (400, 4.0, good), (900, 99.0, bad), (950, float("nan"), good), (5_000, 7.0, good)]
    history.write([numbers(1, [(NOON_MS + at, value, quality) for at, value, quality in rows])], {Lane.TELEMETRY: 10})
    if written_out:
        write_out(history)

    chart = history.series("site", "ahu", "speed", NOON_MS, NOON_MS + 10_000, points=10)

    assert chart.resolution_ms == 1_000
    assert [(one.from_ms - NOON_MS, one.minimum, one.average, one.maximum, one.count) for one in chart.buckets] == [
        (0, 1.0, 2.5, 4.0, 2),
        (5_000, 7.0, 7.0, 7.0, 1),
    ]
    assert history.series("site", "ahu", "other", NOON_MS, NOON_MS + 10_000, points=10).buckets == ()
    history.close()


@given(
    from_ms=st.integers(0, 2_000_000_000_000),
    length_ms=st.integers(1, 400 * DAY_MS),
    points=st.integers(2, POINTS_MAX),
)
def test_a_chart_never_has_more_points_than_asked_for(from_ms: int, length_ms: int, points: int) -> None:
    width_ms = resolution(from_ms, from_ms + length_ms, points)

    buckets = (from_ms + length_ms - 1) // width_ms - from_ms // width_ms + 1
    assert buckets <= points


Step = tuple[str, int]


@settings(max_examples=40, deadline=None)
@given(
    frames=st.lists(
        st.lists(st.tuples(st.integers(-2 * DAY_MS, DAY_MS), st.floats(allow_nan=False)), max_size=5),
        min_size=1,
        max_size=12,
    ),
    order=st.lists(st.integers(0, 11), max_size=40),
    steps=st.lists(st.sampled_from(["flush", "restart", "kill", "merge", ""]), max_size=40),
)
def test_whatever_is_repeated_reordered_or_interrupted_each_row_is_there_once(
    frames: list[list[tuple[int, float]]],
    order: list[int],
    steps: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("history")
    made = [numbers(1 + at, [(NOON_MS + offset, value, 0) for offset, value in rows]) for at, rows in enumerate(frames)]
    log = [made[at % len(made)] for at in [*range(len(made)), *order]]
    history = EmbeddedHistory(folder, "log")
    fed = 0
    for step in [*steps, *[""] * len(log)]:
        if fed < len(log):
            history.write([log[fed]], {Lane.TELEMETRY: fed + 1})
            fed += 1
        if step == "flush":
            write_out(history)
        elif step in {"restart", "kill"}:
            if step == "restart":
                history.flush()
            history.close()
            history = EmbeddedHistory(folder, "log")
            fed = history.position(Lane.TELEMETRY)
    while fed < len(log):
        history.write([log[fed]], {Lane.TELEMETRY: fed + 1})
        fed += 1

    expected = sorted(
        (time_ms, frame.seq, index) for frame in made for index, time_ms in enumerate(frame.numbers.time_ms.tolist())
    )
    assert sorted(times(history)) == expected
    assert history.count() == len(expected)
    history.close()


def test_many_small_files_of_a_day_become_one_and_lose_nothing(tmp_path: Path) -> None:
    history = EmbeddedHistory(tmp_path, "log")
    for seq in range(1, 1 + embedded.MERGED_FILES):
        history.write([numbers(seq, [(NOON_MS - seq, 1.0, 0)])], {Lane.TELEMETRY: seq})
        write_out(history)
    history.maintain(0)

    assert len(list(tmp_path.glob("*.parquet"))) == 1
    assert [seq for _, seq, _ in times(history)] == list(range(embedded.MERGED_FILES, 0, -1))
    history.close()


def test_a_file_that_the_manifest_does_not_name_does_not_count(tmp_path: Path) -> None:
    history = EmbeddedHistory(tmp_path, "log")
    history.write([numbers(1, [(NOON_MS, 1.0, 0)])], {Lane.TELEMETRY: 1})
    write_out(history)
    history.close()
    before = (tmp_path / MANIFEST).read_bytes()
    history = EmbeddedHistory(tmp_path, "log")
    history.write([numbers(2, [(NOON_MS, 2.0, 0)])], {Lane.TELEMETRY: 2})
    history.flush()
    history.close()
    (tmp_path / MANIFEST).write_bytes(before)

    history = EmbeddedHistory(tmp_path, "log")

    assert history.position(Lane.TELEMETRY) == 1
    assert times(history) == [(NOON_MS, 1, 0)]
    assert len(list(tmp_path.glob("*.parquet"))) == 1
    history.close()


def _lose_a_file(folder: Path) -> None:
    next(folder.glob("*.parquet")).unlink()


def _cut_a_file(folder: Path) -> None:
    path = next(folder.glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-10])


def _garble_the_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"{")


@pytest.mark.parametrize("damage", [_lose_a_file, _cut_a_file, _garble_the_manifest])
def test_a_damaged_history_is_taken_from_the_log_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    history = EmbeddedHistory(tmp_path, "log")
    history.write([numbers(1, [(NOON_MS, 1.0, 0)])], {Lane.TELEMETRY: 1})
    history.flush()
    history.close()
    damage(tmp_path)

    history = EmbeddedHistory(tmp_path, "log")

    assert history.position(Lane.TELEMETRY) == 0
    assert history.count() == 0
    history.write([numbers(1, [(NOON_MS, 1.0, 0)])], {Lane.TELEMETRY: 1})
    assert times(history) == [(NOON_MS, 1, 0)]
    history.close()


def test_another_log_means_another_history(tmp_path: Path) -> None:
    history = EmbeddedHistory(tmp_path, "log")
    history.write([numbers(1, [(NOON_MS, 1.0, 0)])], {Lane.TELEMETRY: 1})
    history.flush()
    history.close()

    history = EmbeddedHistory(tmp_path, "other log")

    assert (history.position(Lane.TELEMETRY), history.count()) == (0, 0)
    history.close()


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = EmbeddedHistory(tmp_path, "log")
    history.write([numbers(1, [(NOON_MS, 1.0, 0)])], {Lane.TELEMETRY: 1})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("cloud.history.embedded_files.os.fsync", full)
        history.maintain(0)
        with pytest.raises(StorageUnavailable):
            history.maintain(LATER_MS)
    write_out(history)

    assert times(history) == [(NOON_MS, 1, 0)]
    assert history.position(Lane.TELEMETRY) == 1
    history.close()


def test_two_million_imported_readings_are_absorbed(tmp_path: Path) -> None:
    history = EmbeddedHistory(tmp_path, "log")
    series = tuple(Series(f"d-{at // 20}", f"p-{at % 20}", "percent") for at in range(200))
    rng = np.random.default_rng(1)
    frames = []
    for seq in range(1, 201):
        columns = Numbers(
            np.tile(np.arange(200, dtype=np.int32), 50),
            NOON_MS + (seq * 50 + np.repeat(np.arange(50, dtype=np.int64), 200)) * 260_000,
            np.round(rng.normal(20, 5, 10_000), 2),
            np.zeros(10_000, np.uint8),
        )
        frames.append(FrameNumbers("site", "gw", Lane.TELEMETRY, b"epoch--1", seq, series, columns))

    begun = time.process_time()
    for seq, frame in enumerate(frames, 1):
        history.write([frame], {Lane.TELEMETRY: seq})
    history.flush()
    print(f"2 M readings in {time.process_time() - begun:.2f} s of one core")

    assert history.count() == 2_000_000
    begun = time.perf_counter()
    chart = history.series("site", "d-3", "p-7", NOON_MS, NOON_MS + 40 * DAY_MS, points=500)
    print(f"a chart of 30 days in {1000 * (time.perf_counter() - begun):.0f} ms")
    assert sum(one.count for one in chart.buckets) == 10_000
    history.close()
