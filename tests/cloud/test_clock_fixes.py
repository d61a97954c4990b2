"""Frames whose clock was not to be believed: parked until the fix of their run, then as if it had been right."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

import msgspec
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cloud.cli import app
from cloud.facts.progress import forget_facts
from cloud.ingest.clocks import TIMES_OF_THE_RUN, shift_of, shifted
from cloud.ingest.integrity import IntegrityKind
from devices.frame import Frame
from devices.reading import Lane
from devices.records import ClockFix, Inventory, Loss, LossReason, Record
from tests.cloud.clocked import Taking, chart_frame, fix_of
from tests.cloud.told import Entry, Told, Walk, bad_link, inventory

DAY_MS = 86_400_000
MINUTE_MS = 60_000
BEGIN_MS = 20_000 * DAY_MS - 30 * MINUTE_MS  # half an hour before a UTC midnight
IN_1970_MS = -BEGIN_MS + 17_000  # from the true time to what the gateway showed
IN_2035_MS = 3_300 * DAY_MS + 5
RECEIVED_MS = BEGIN_MS + 3 * 60 * MINUTE_MS
WRONG, RIGHT = b"run-bad-", b"run-good"


def minute(number: int) -> int:
    return BEGIN_MS + number * MINUTE_MS


def begins(off_ms: int) -> list[Told]:
    """Half an hour by a clock that is off: everything that a frame can say of times."""

    def at(number: int) -> int:
        return minute(number) + off_ms

    return [
        Told(1, at(0), at(10), (Entry("pump", "alarm", at(1), 0.0), Entry("pump", "running", at(2), 1.0)),
             inventory(["pump"], at(0)), clock_run=WRONG),
        Told(2, at(10), at(20),
             (Entry("pump", "alarm", at(1), 0.0, at(18)), Entry("pump", "running", at(12), 2.0, None, 200)),
             (bad_link("pump", at(16), at(14)),),
             (Walk("r1", [(at(11), 0, 0), (at(11) + 1000, 500, 0)]),), clock_run=WRONG),
        Told(3, at(20), at(40), (Entry("pump", "alarm", at(1), 0.0, at(39)), Entry("pump", "alarm", at(33), 1.0)),
             clock_run=WRONG),
    ]  # fmt: skip


def run(off_ms: int, *, trusted: bool, fix: bool = True) -> list[Frame]:
    """An hour of a gateway: its first 40 minutes by a clock that is off, then by a right one that knows how far."""
    fixes = (fix_of(WRONG, minute(40) + off_ms, minute(40)),) if fix else ()
    bad = [replace(one, trusted=trusted) for one in begins(off_ms)]
    good = [
        Told(4, minute(40), minute(50), (Entry("pump", "alarm", minute(33), 1.0, minute(49)),), fixes, clock_run=RIGHT),
        Told(5, minute(50), minute(60), (Entry("pump", "alarm", minute(55), 0.0),), clock_run=RIGHT),
    ]
    charts = [
        chart_frame(1, minute(5) + off_ms, [1.0, 2.0], like=bad[0]),
        chart_frame(2, minute(45), [3.0], like=good[0]),
    ]
    return [*(one.frame() for one in (*bad, *good)), *charts]


@pytest_asyncio.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Taking]:
    taking = Taking(tmp_path)
    yield taking
    taking.close()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, object]:
    """The facts of a gateway whose clock was right all the time."""

    async def taken() -> Mapping[str, object]:
        taking = Taking(tmp_path_factory.mktemp("straight"))
        await taking.take(run(0, trusted=True), RECEIVED_MS)
        assert taking.waiting() == []
        facts = taking.facts()
        taking.close()
        return facts

    return asyncio.run(taken())


@pytest.mark.parametrize("wrong", [(IN_1970_MS, False), (IN_2035_MS, False), (IN_2035_MS, True)])
@given(st.data())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_order_of_frames_and_fixes_gives_the_facts_of_a_right_clock(
    tmp_path_factory: pytest.TempPathFactory, straight: Mapping[str, object], wrong: tuple[int, bool],
    data: st.DataObject,
) -> None:  # fmt: skip
    frames = run(wrong[0], trusted=wrong[1])
    order = data.draw(st.permutations(range(len(frames))))
    again = data.draw(st.lists(st.sampled_from(range(len(frames))), max_size=3))
    pause_after = data.draw(st.integers(0, len(frames)))
    mixed = [frames[index] for index in (*order, *again)]
    taking = Taking(tmp_path_factory.mktemp("shuffled"))
    await taking.take(mixed[:pause_after], RECEIVED_MS)
    taking.start()
    await taking.take(mixed[pause_after:], RECEIVED_MS)
    facts, waiting = taking.facts(), taking.waiting()
    taking.close()

    assert facts == straight
    assert waiting == []


async def test_without_a_fix_frames_of_an_untrusted_run_are_listed_and_prove_nothing(cloud: Taking) -> None:
    frames = run(IN_1970_MS, trusted=False, fix=False)
    await cloud.take(frames, RECEIVED_MS)

    assert cloud.waiting() == [("events", 1), ("events", 2), ("events", 3), ("telemetry", 1)]
    assert sorted(one.header.seq for one in cloud.heard) == [2, 4, 5]
    assert [row for row in cloud.facts()["runs"] if repr(1) + ", 3" in row] == []  # type: ignore[attr-defined]
    assert cloud.processor.is_current()


async def test_what_is_live_hears_of_the_right_times_once(cloud: Taking) -> None:
    await cloud.take(run(IN_1970_MS, trusted=False), RECEIVED_MS)
    cloud.start()
    await cloud.take([], RECEIVED_MS)

    events = sorted((one.header.seq, one.header.from_ms) for one in cloud.heard if one.header.lane is Lane.EVENTS)
    assert events == [(1, minute(0)), (2, minute(10)), (3, minute(20)), (4, minute(40)), (5, minute(50))]
    assert all(one.header.trusted for one in cloud.heard)


async def test_a_second_different_fix_is_ignored_and_reported_once(
    cloud: Taking, straight: Mapping[str, object]
) -> None:
    other = fix_of(WRONG, minute(40) + IN_1970_MS, minute(41))
    await cloud.take(run(IN_1970_MS, trusted=False), RECEIVED_MS)
    await cloud.take(
        [
            Told(6, minute(60), minute(60) + 1, records=(other,), clock_run=RIGHT, epoch=b"epoch--2").frame(),
            Told(7, minute(61), minute(61) + 1, records=(other,), clock_run=RIGHT, epoch=b"epoch--2").frame(),
        ],
        RECEIVED_MS,
    )

    assert [(one.kind, one.gateway, one.seq) for one in cloud.findings] == [(IntegrityKind.CLOCK_FIX, "gw-1", 6)]
    assert cloud.facts()["claims"] == straight["claims"]


async def test_a_fix_that_puts_a_frame_into_the_future_does_not_release_it(cloud: Taking) -> None:
    await cloud.take(run(IN_1970_MS, trusted=False), minute(10))

    assert ("events", 3) in cloud.waiting()
    assert ("events", 1) not in cloud.waiting()


async def test_what_a_parked_frame_says_of_lost_frames_counts_at_once(cloud: Taking) -> None:
    lost = Loss("events", b"epoch--0", 3, 9, 1_000, 2_000, LossReason.SPACE)
    parked: list[int] = []
    cloud.processor.listen(lambda _, frames, __: parked.extend(one.header.seq for one in frames), parked=True)
    await cloud.take([Told(1, 5_000, 6_000, records=(lost,), trusted=False).frame()], RECEIVED_MS)

    assert parked == [1]
    assert len(cloud.facts()["losses"]) == 1  # type: ignore[arg-type]


def test_a_fix_of_a_gateway_that_did_not_say_what_its_clock_showed_is_read_by_the_frame() -> None:
    header = msgspec.structs.replace(Told(1, 1_000, 5_000, trusted=False).frame().header, monotonic_ms=60_000)
    fix = ClockFix(b"run----1", 90_000, BEGIN_MS, 20, "ntp")

    assert shift_of(fix, header) == BEGIN_MS - 35_000


def test_every_time_that_a_record_says_moves_with_its_frame_or_is_known_not_to() -> None:
    of_other_runs = {(Loss, "from_ms"), (Loss, "to_ms")}
    true_times = {
        (ClockFix, "utc_ms"),
        (ClockFix, "shown_ms"),
        (ClockFix, "monotonic_ms"),
        (ClockFix, "uncertainty_ms"),
    }
    said = {(kind, name) for kind in get_args(Record) for name in kind.__struct_fields__ if name.endswith("_ms")}

    assert {(kind, name) for kind, name in said if name not in TIMES_OF_THE_RUN} == of_other_runs | true_times


def test_a_shifted_frame_is_that_of_a_right_clock() -> None:
    wrong, right = run(IN_1970_MS, trusted=False), run(0, trusted=True)
    moved = [shifted(one, -IN_1970_MS, 0) for one in wrong[:3]]

    assert [one.header for one in moved] == [one.header for one in right[:3]]
    assert [one.content.records for one in moved] == [one.content.records for one in right[:3]]
    assert isinstance(moved[0].content.records[0], Inventory)


async def test_the_command_line_lists_what_is_parked_and_why(cloud: Taking) -> None:
    await cloud.take(run(IN_1970_MS, trusted=False, fix=False), RECEIVED_MS)
    listed = CliRunner().invoke(app, ["parked", "list", "--data-dir", str(cloud.folder)])

    assert listed.exit_code == 0
    assert len(listed.output.splitlines()) == 4
    assert f"gw-1 events {b'epoch--1'.hex()} 1\twaits for the fix of clock run {WRONG.hex()}" in listed.output


async def test_a_rebuild_parks_and_releases_the_same_frames(cloud: Taking, straight: Mapping[str, object]) -> None:
    await cloud.take(run(IN_1970_MS, trusted=False), RECEIVED_MS)
    forget_facts(cloud.engine)
    cloud.start()
    await cloud.take([], RECEIVED_MS)

    assert cloud.facts() == straight
