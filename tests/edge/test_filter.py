from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.profile import LoadedProfile, load_profiles, parse_profile
from devices.reading import Block, Lane, Pose, PoseFlag, Quality, Reading, Text
from devices.records import Link
from devices.states import equipment_state
from edge.config import Device
from edge.filter import Filter
from edge.kept import Columns, Kept
from edge.series import SeriesTable

START_MS = 1_780_000_000_000
STATE = ("status", "speed")
DRIVE = load_profiles()["abb-acs580"]
DEADBANDS = {"status": 0.0, "speed": 0.5, "actual_2": 0.5}


class Bench:
    """One device behind a filter; times in seconds from the start."""

    def __init__(self, profile: LoadedProfile) -> None:
        self.table = SeriesTable()
        self.filter = Filter([Device("d", profile, "c")], self.table)

    def take(
        self, second: float, points: tuple[str, ...], *values: float, quality: Quality = Quality.GOOD
    ) -> dict[Lane, list[Reading]]:
        """What is kept of one block, per lane."""
        return self.rows(self.kept(second, points, *values, quality=quality))

    def kept(self, second: float, points: tuple[str, ...], *values: float, quality: Quality = Quality.GOOD) -> Kept:
        time_ms = START_MS + round(second * 1000)
        numbers = np.array(values or [np.nan] * len(points), np.float64)
        return self.filter.take([Block("d", points, time_ms, quality, numbers)], time_ms)

    def rows(self, kept: Kept) -> dict[Lane, list[Reading]]:
        lanes = {Lane.EVENTS: kept.events, Lane.TELEMETRY: kept.telemetry}
        return {lane: list(self._readings(columns)) for lane, columns in lanes.items() if columns is not None}

    def _readings(self, columns: Columns) -> Iterable[Reading]:
        numbers = columns.numbers
        for series, time_ms, value, quality in zip(
            self.table.of(numbers.series),
            numbers.time_ms.tolist(),
            numbers.value.tolist(),
            numbers.quality,
            strict=True,
        ):
            yield Reading(series.device, series.point, (time_ms - START_MS) // 1000, value, Quality(quality))

    def confirmed(self) -> dict[str, tuple[int, int, float]]:
        """Keyframe entries: changed, confirmed (seconds from the start), value."""
        entries = self.filter.confirmations()
        points = [series.point for series in self.table.of(entries.series)]
        changed, confirmed = ((one - START_MS) // 1000 for one in (entries.changed_ms, entries.confirmed_ms))
        return dict(
            zip(points, zip(changed.tolist(), confirmed.tolist(), entries.value.tolist(), strict=True), strict=True)
        )


@pytest.fixture(scope="module")
def profiles() -> dict[str, LoadedProfile]:
    return load_profiles()


@pytest.fixture
def drive(profiles: dict[str, LoadedProfile]) -> Bench:
    return Bench(profiles["abb-acs580"])


@pytest.fixture
def meter(profiles: dict[str, LoadedProfile]) -> Bench:
    return Bench(profiles["eastron-sdm630"])


@pytest.fixture
def space(profiles: dict[str, LoadedProfile]) -> Bench:
    return Bench(profiles["nwave-nps405"])


def test_the_first_values_are_reported_on_their_lanes(drive: Bench) -> None:
    rows = drive.take(0, STATE, 4.0, 50.0)

    assert rows == {
        Lane.EVENTS: [Reading("d", "status", 0, 4.0), Reading("d", "speed", 0, 50.0)],
        Lane.TELEMETRY: [Reading("d", "speed", 0, 50.0)],
    }


def test_an_unchanged_block_is_not_reported(drive: Bench) -> None:
    drive.take(0, STATE, 4.0, 50.0)

    assert not drive.kept(1, STATE, 4.0, 50.0)


def test_a_discrete_state_input_is_reported_at_any_change_and_urgently(drive: Bench) -> None:
    drive.take(0, STATE, 4.0, 50.0)

    kept = drive.kept(1, STATE, 5.0, 50.0)

    assert drive.rows(kept) == {Lane.EVENTS: [Reading("d", "status", 1, 5.0)]}
    assert kept.urgent


def test_an_analogue_state_input_is_evidence_only_when_its_comparison_flips(drive: Bench) -> None:
    drive.take(0, STATE, 4.0, 50.0)

    assert Lane.EVENTS not in drive.take(1, STATE, 4.0, 40.0)
    assert drive.take(2, STATE, 4.0, 0.5)[Lane.EVENTS] == [Reading("d", "speed", 2, 0.5)]
    assert Lane.EVENTS not in drive.take(3, STATE, 4.0, 0.9)


def test_a_chart_is_fed_beyond_the_deadband_only(meter: Bench) -> None:
    meter.take(0, ("current_l1", "current_l2"), 10.0, 20.0)

    assert meter.take(1, ("current_l1", "current_l2"), 10.04, 20.06) == {
        Lane.TELEMETRY: [Reading("d", "current_l2", 1, 20.06)]
    }
    assert meter.take(2, ("current_l1", "current_l2"), 10.06, 20.06) == {
        Lane.TELEMETRY: [Reading("d", "current_l1", 2, 10.06)]
    }


def test_an_unchanged_chart_beats_every_five_minutes(meter: Bench) -> None:
    points = ("current_l1", "current_l2")
    meter.take(0, points, 1.0, 2.0)
    meter.take(100, points, 1.0, 3.0)

    assert not meter.kept(299, points, 1.0, 3.0)
    assert meter.take(300, points, 1.0, 3.0) == {Lane.TELEMETRY: [Reading("d", "current_l1", 300, 1.0)]}
    assert meter.take(400, points, 1.0, 3.0) == {Lane.TELEMETRY: [Reading("d", "current_l2", 400, 3.0)]}


def test_a_change_of_quality_is_always_reported_and_once(drive: Bench) -> None:
    drive.take(0, STATE, 4.0, 50.0)

    bad = drive.take(1, STATE, quality=Quality.BAD_NO_ANSWER)

    assert [(row.point, row.quality) for row in bad[Lane.EVENTS]] == [
        ("status", Quality.BAD_NO_ANSWER),
        ("speed", Quality.BAD_NO_ANSWER),
    ]
    assert [(row.point, row.quality) for row in bad[Lane.TELEMETRY]] == [("speed", Quality.BAD_NO_ANSWER)]
    assert not drive.kept(2, STATE, quality=Quality.BAD_NO_ANSWER)
    assert drive.take(3, STATE, 4.0, 50.0) == {
        Lane.EVENTS: [Reading("d", "status", 3, 4.0), Reading("d", "speed", 3, 50.0)],
        Lane.TELEMETRY: [Reading("d", "speed", 3, 50.0)],
    }


def test_a_single_missing_value_is_reported_as_not_available(meter: Bench) -> None:
    meter.take(0, ("current_l1", "current_l2"), 1.0, 2.0)

    (row,) = meter.take(1, ("current_l1", "current_l2"), 1.0, float("nan"))[Lane.TELEMETRY]

    assert (row.point, row.quality) == ("current_l2", Quality.BAD_NOT_AVAILABLE)
    assert not meter.kept(2, ("current_l1", "current_l2"), 1.0, float("nan"))
    assert meter.take(3, ("current_l1", "current_l2"), 1.0, 2.0)[Lane.TELEMETRY] == [Reading("d", "current_l2", 3, 2.0)]


def test_keyframe_entries_say_since_when_and_until_when(drive: Bench) -> None:
    drive.take(0, STATE, 4.0, 50.0)
    drive.take(10, STATE, 5.0, 50.0)
    drive.take(20, STATE, 5.0, 50.0)

    assert drive.confirmed() == {"status": (10, 20, 5.0), "speed": (0, 20, 50.0)}


def test_a_bad_reading_confirms_nothing_and_changes_nothing(drive: Bench) -> None:
    drive.take(0, STATE, 4.0, 50.0)
    drive.take(10, STATE, quality=Quality.BAD_EXCEPTION)

    assert drive.confirmed() == {"status": (0, 0, 4.0), "speed": (0, 0, 50.0)}


def test_after_hold_s_without_a_good_reading_the_same_value_counts_afresh(drive: Bench) -> None:
    drive.take(0, STATE, 4.0, 50.0)
    drive.take(1, STATE, 4.0, 50.0)

    rows = drive.take(62, STATE, 4.0, 50.0)

    assert rows[Lane.EVENTS] == [Reading("d", "status", 62, 4.0), Reading("d", "speed", 62, 50.0)]
    assert drive.confirmed()["status"] == (62, 62, 4.0)


def test_a_new_clock_run_reports_and_confirms_afresh(drive: Bench) -> None:
    drive.take(0, STATE, 4.0, 50.0)

    drive.filter.interrupt()

    assert drive.confirmed() == {}
    assert [row.point for row in drive.take(1, STATE, 4.0, 50.0)[Lane.EVENTS]] == ["status", "speed"]
    assert drive.confirmed()["status"] == (1, 1, 4.0)


def test_a_device_that_pushes_is_confirmed_every_third_of_hold_s(space: Bench) -> None:
    hours = 3600
    space.take(0, ("occupied",), 1.0)

    assert not space.kept(16 * hours, ("occupied",), 1.0)
    kept = space.kept(17 * hours, ("occupied",), 1.0)

    assert space.rows(kept) == {Lane.EVENTS: [Reading("d", "occupied", 17 * hours, 1.0)]}
    assert not kept.urgent
    assert space.confirmed() == {"occupied": (0, 17 * hours, 1.0)}


def test_messages_of_two_shapes_share_what_was_last_reported(space: Bench) -> None:
    space.take(0, ("occupied",), 1.0)
    space.take(1, ("occupied", "battery"), 0.0, 3.6)

    assert space.take(2, ("occupied",), 1.0) == {Lane.EVENTS: [Reading("d", "occupied", 2, 1.0)]}


def test_an_older_reading_is_evidence_but_not_the_present(space: Bench) -> None:
    space.take(100, ("occupied",), 1.0)

    assert space.take(50, ("occupied",), 0.0) == {Lane.EVENTS: [Reading("d", "occupied", 50, 0.0)]}
    assert space.confirmed() == {"occupied": (100, 100, 1.0)}


def test_a_comparison_of_two_points_is_judged_by_what_both_are_now() -> None:
    profile = parse_profile(
        """
id: pair
source: {document: none, verified: unverified}
modbus: {}
poll: {state: 1s}
points:
  - {id: supply, function: holding, address: 0, type: u16, unit: degC, poll: state}
  - {id: goal, function: holding, address: 1, type: u16, unit: degC, poll: state}
states: {fault: supply > goal}
""",
        "pair.yaml",
    )
    bench = Bench(profile)
    bench.take(0, ("supply", "goal"), 1.0, 2.0)
    assert Lane.EVENTS not in bench.take(1, ("supply",), 1.9)

    rows = bench.take(2, ("goal",), 1.5)[Lane.EVENTS]

    assert rows == [Reading("d", "supply", 1, 1.9), Reading("d", "goal", 2, 1.5)]


@given(
    st.lists(
        st.one_of(
            st.sampled_from([Quality.BAD_NO_ANSWER, Quality.BAD_EXCEPTION]),
            st.lists(st.sampled_from([0.0, 0.3, 0.6, 1.0, 60.0, 61.0, float("nan")]), min_size=3, max_size=3),
        ),
        max_size=30,
    )
)
def test_what_was_reported_last_always_says_what_is_now(steps: list[Quality | list[float]]) -> None:
    bench = Bench(DRIVE)
    points = ("status", "speed", "actual_2")
    last: dict[tuple[Lane, str], Reading] = {}
    for second, step in enumerate(steps):
        quality, values = (step, [float("nan")] * 3) if isinstance(step, Quality) else (Quality.GOOD, step)
        rows = bench.take(second, points, *values, quality=quality)
        last.update({(lane, row.point): row for lane, readings in rows.items() for row in readings})
        for reading in Block("d", points, 0, quality, np.array(values)):
            lane = Lane.EVENTS if reading.point == "status" else Lane.TELEMETRY
            known = last[lane, reading.point]

            assert known.quality == reading.quality
            assert not reading.quality.is_good or abs(known.value - reading.value) <= DEADBANDS[reading.point]


@given(st.lists(st.tuples(st.sampled_from([0.0, 4.0, 8.0]), st.sampled_from([0.0, 0.9, 1.1, 50.0])), max_size=30))
def test_the_evidence_gives_the_same_state_as_the_values(steps: list[tuple[float, float]]) -> None:
    bench = Bench(DRIVE)
    held: dict[str, float | None] = {}
    for second, (status, speed) in enumerate(steps):
        rows = bench.take(second, STATE, status, speed)
        held.update({row.point: row.value for row in rows.get(Lane.EVENTS, [])})

        assert equipment_state(DRIVE, held) == equipment_state(DRIVE, {"status": status, "speed": speed})


def test_texts_are_reported_when_they_change(space: Bench) -> None:
    texts = [Text("d", "firmware", START_MS + second, text) for second, text in enumerate(("1.0", "1.0", "1.1"))]

    events = space.filter.take(texts, START_MS).events

    assert events is not None
    assert events.texts.texts == ("1.0", "1.1")


def test_poses_and_links_always_pass(profiles: dict[str, LoadedProfile]) -> None:
    robot = Bench(profiles["vda5050-robot"])
    pose = Pose("d", START_MS, -1500, 250, 3141, "B1", PoseFlag.LOCALIZED | PoseFlag.DRIVING)
    link = Link("d", "", good=False, time_ms=START_MS, last_ok_ms=None)

    kept = robot.filter.take([pose, pose, link], START_MS)

    assert kept.events is not None
    assert kept.events.links == (link,)
    assert kept.urgent
    poses = kept.events.poses
    assert [robot.table[index].name for index in poses.series.tolist()] == ["d/pose", "d/pose"]
    assert (poses.x_mm[0], poses.y_mm[0], poses.theta_mrad[0], poses.maps) == (-1500, 250, 3141, ("B1",))


def test_poses_alone_are_not_urgent(profiles: dict[str, LoadedProfile]) -> None:
    robot = Bench(profiles["vda5050-robot"])

    assert not robot.filter.take([Pose("d", START_MS, 0, 0, 0, "B1", PoseFlag(0))], START_MS).urgent


def test_what_is_not_configured_is_dropped_and_counted(drive: Bench) -> None:
    unknown = Block("x", ("p",), START_MS, Quality.GOOD, np.array([1.0]))

    kept = drive.filter.take([unknown, Text("d", "nothing", START_MS, "x")], START_MS)

    assert not kept
    assert drive.filter.dropped == {"unknown device": 1, "unknown point": 1}
