import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.api.picture import Json, Picture, applied, difference
from cloud.api.stream import DELTAS_KEPT, READER_QUEUE_MAX, DeltaStream, Position, Reader, parse_position

SITE = {"id": "s", "name": {"en": "S", "zh-CN": "S"}, "zone": "Asia/Shanghai"}
STATES = st.sampled_from(["free", "occupied", "unknown"])


def picture(
    spaces: list[str], robots: list[int], cells: dict[int, int], alerts: dict[str, str], value: float | None
) -> Picture:
    return Picture(
        site=SITE,
        floors=[],
        spaces={f"p-{i}": {"rect": [i, 0, 2, 5], "floor": "b1", "state": state} for i, state in enumerate(spaces)},
        robots={f"r-{i}": {"id": f"r-{i}", "x": x, "state": f"{x % 2}"} for i, x in enumerate(robots)},
        equipment={f"e-{i}": {"id": f"e-{i}", "value": x, "strip": ["RUN"] * 24} for i, x in enumerate(robots)},
        grids={"b1": {"cell_m": 0.5, "columns": 10, "rows": 10}},
        coverage={"b1": cells},
        alerts={
            name: {"id": name, "handling": handling, "historical": False}
            for name, handling in alerts.items()
            if handling != "resolved"
        },
        indicators={} if value is None else {"i": {"id": "i", "value": value}},
    )


PICTURES = st.builds(
    picture,
    st.lists(STATES, min_size=3, max_size=3),
    st.lists(st.integers(0, 3), min_size=2, max_size=2),
    st.dictionaries(st.integers(0, 9), st.integers(1, 3)),
    st.fixed_dictionaries({name: st.sampled_from(["new", "acknowledged", "resolved"]) for name in "abc"}),
    st.floats(0, 1),
)
CLOSED = {name: {"id": name, "handling": "resolved", "historical": False} for name in "abc"}


def settled(snapshot: Json) -> Json:
    """A snapshot without the orders that mean nothing."""
    return {
        **snapshot,
        "alerts": sorted(snapshot["alerts"], key=lambda one: str(one["id"])),
        "coverage": {floor: {**grid, "cells": sorted(grid["cells"])} for floor, grid in snapshot["coverage"].items()},
    }


@given(st.lists(PICTURES, min_size=1, max_size=6), st.data())
def test_a_snapshot_with_the_deltas_after_it_is_the_later_snapshot(
    pictures: list[Picture], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(pictures) - 1))
    snapshot = json.loads(json.dumps(pictures[start].snapshot("e", start, "t")))
    for seq in range(start + 1, len(pictures)):
        said = difference(pictures[seq - 1], pictures[seq], CLOSED)
        assert said is not None
        snapshot = applied(snapshot, json.loads(json.dumps({"seq": seq, "t": "t", **said})))
    expected = json.loads(json.dumps(pictures[-1].snapshot("e", len(pictures) - 1, "t")))

    assert settled(snapshot) == settled(expected)


@given(PICTURES)
def test_nothing_new_says_nothing(one: Picture) -> None:
    assert difference(one, one, {}) == {}


def test_a_row_tells_its_changed_fields_only() -> None:
    two, three = (picture([], [value], {}, {}, None) for value in (0, 2))

    assert difference(two, three, {}) == {"robots": [{"id": "r-0", "x": 2}], "equipment": [{"id": "e-0", "value": 2}]}


def test_another_set_of_things_needs_a_snapshot() -> None:
    two, three = (picture(["free"] * number, [], {}, {}, None) for number in (2, 3))

    assert difference(two, three, {}) is None


def published(stream: DeltaStream, count: int) -> None:
    for _ in range(count):
        stream.publish(stream.position.seq + 1, b"{}")


async def read(reader: Reader) -> list[str]:
    """Everything that waits for a reader, who then leaves."""
    said: list[bytes] = []

    async def collect() -> None:
        said.extend([message async for message in reader.messages()])

    task = asyncio.create_task(collect())
    for _ in range(5):
        await asyncio.sleep(0)
    reader.close()
    await asyncio.wait_for(task, 5)
    events = b"".join(said).decode().split("\n\n")
    return [
        " ".join(line for line in event.splitlines() if line[0] != "d")
        for event in events
        if event[:1] != ":" and event
    ]


async def test_a_reader_who_was_away_gets_what_it_missed_and_no_more() -> None:
    stream = DeltaStream("e")
    published(stream, 40)
    reader = stream.open(Position("e", 37))
    published(stream, 1)

    assert await read(reader) == [f"event: delta id: e-{seq}" for seq in (38, 39, 40, 41)]


@pytest.mark.parametrize("since", [Position("other", 5), Position("e", 0), Position("e", DELTAS_KEPT + 99)])
async def test_where_deltas_cannot_lead_one_resync_is_said(since: Position) -> None:
    stream = DeltaStream("e")
    published(stream, DELTAS_KEPT + 5)
    reader = stream.open(since)
    published(stream, 3)

    assert await read(reader) == [f"event: resync id: e-{DELTAS_KEPT + 5}"]


async def test_a_slow_reader_loses_everything_and_gets_one_resync() -> None:
    stream = DeltaStream("e")
    slow = stream.open(None)
    published(stream, READER_QUEUE_MAX + 1 + 5)

    assert await read(slow) == [f"event: resync id: e-{READER_QUEUE_MAX + 1}"]


async def test_a_change_of_the_frame_sends_every_reader_to_the_snapshot() -> None:
    stream = DeltaStream("e")
    published(stream, 3)
    reader = stream.open(None)
    stream.restart()

    assert await read(reader) == ["event: resync id: e-4"]
    assert await read(stream.open(Position("e", 3))) == ["event: resync id: e-4"]


async def test_closing_all_ends_every_stream() -> None:
    stream = DeltaStream("e")
    readers = [stream.open(None) for _ in range(3)]
    ends = [asyncio.create_task(_drain(reader)) for reader in readers]
    await asyncio.sleep(0)
    stream.close_all()

    await asyncio.wait_for(asyncio.gather(*ends), 5)
    assert stream.readers == 0


async def _drain(reader: Reader) -> None:
    async for _ in reader.messages():
        pass


@pytest.mark.parametrize("text", ["", "17", "-17", "e-", "e-x", "e-٣", "e-" + "9" * 19])
def test_a_position_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="position"):
        parse_position(text)


def test_a_position_reads_back() -> None:
    assert parse_position(str(Position("9f-3c", 17))) == Position("9f-3c", 17)
