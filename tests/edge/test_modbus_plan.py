from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.modbus_plan import Extent, Limits, Read, join_reads, plan_reads, split_read


@st.composite
def extents(draw: st.DrawFn) -> list[Extent]:
    places = draw(st.lists(st.tuples(st.integers(0, 600), st.sampled_from([1, 1, 2, 4])), max_size=60))
    return [Extent(address, width, f"p{index}") for index, (address, width) in enumerate(places)]


limits = st.builds(
    Limits,
    count_max=st.integers(4, 125),
    hole_max=st.integers(0, 60),
    forbidden=st.lists(
        st.tuples(st.integers(0, 600), st.integers(0, 20)).map(lambda at: (at[0], at[0] + at[1])), max_size=3
    ).map(tuple),
)


def allowed(points: Sequence[Extent], one: Limits) -> list[Extent]:
    return [
        extent
        for extent in points
        if not any(first < extent.end and extent.address <= last for first, last in one.forbidden)
    ]


def telegraf_max_insert(points: Sequence[Extent], count_max: int, fill: int) -> int:
    """Requests of Telegraf's `max_insert` (plugins/inputs/modbus/request.go), rewritten from its description."""
    requests, start, end = 0, 0, 0
    for extent in sorted(points):
        if requests and extent.end - start <= count_max and extent.address - end <= fill:
            end = max(end, extent.end)
            continue
        requests, start, end = requests + 1, extent.address, extent.end
    return requests


@given(extents(), limits)
def test_every_point_is_covered_exactly_once(points: list[Extent], one: Limits) -> None:
    points = allowed(points, one)

    planned = [extent for read in plan_reads(points, one) for extent in read.extents]

    assert sorted(planned) == sorted(points)


@given(extents(), limits)
def test_a_read_holds_its_points_and_stays_within_the_limits(points: list[Extent], one: Limits) -> None:
    for read in plan_reads(allowed(points, one), one):
        assert read.count <= one.count_max
        assert all(read.address <= extent.address and extent.end <= read.end for extent in read.extents)
        assert not any(first < read.end and read.address <= last for first, last in one.forbidden)


@given(extents(), st.integers(4, 125), st.integers(0, 60))
def test_needs_no_more_requests_than_telegraf(points: list[Extent], count_max: int, hole_max: int) -> None:
    planned = plan_reads(points, Limits(count_max, hole_max))

    assert len(planned) <= telegraf_max_insert(points, count_max, hole_max)


@given(extents())
def test_splitting_again_and_again_loses_no_point(points: list[Extent]) -> None:
    todo, leaves = list(plan_reads(points, Limits())), list[Read]()
    while todo:
        read = todo.pop()
        halves = split_read(read)
        if halves is None:
            leaves.append(read)
        else:
            assert all(len(half.extents) < len(read.extents) for half in halves)
            todo += halves

    assert sorted(extent for read in leaves for extent in read.extents) == sorted(points)


@given(extents(), st.integers(4, 125))
def test_joined_reads_touch_no_register_that_was_not_read_before(points: list[Extent], count_max: int) -> None:
    reads = plan_reads(points, Limits(count_max, 0))
    before = {address for read in reads for address in range(read.address, read.end)}

    joined = join_reads(reads, Limits(count_max))

    assert {address for read in joined for address in range(read.address, read.end)} == before
    assert sorted(extent for read in joined for extent in read.extents) == sorted(points)
    assert all(read.count <= count_max for read in joined)


def test_a_hole_larger_than_allowed_is_not_read() -> None:
    far = [Extent(0, 1, "a"), Extent(10, 1, "b")]

    assert [read.count for read in plan_reads(far, Limits(hole_max=9))] == [11]
    assert [read.count for read in plan_reads(far, Limits(hole_max=8))] == [1, 1]


def test_an_exact_block_is_read_whole_and_by_itself() -> None:
    points = [Extent(99, 1, "before"), Extent(101, 1, "inside"), Extent(110, 1, "behind")]

    reads = plan_reads(points, Limits(exact=((100, 107),)))

    assert [(read.address, read.count, read.points) for read in reads] == [
        (99, 1, ("before",)),
        (100, 8, ("inside",)),
        (110, 1, ("behind",)),
    ]
    assert split_read(reads[1]) is None


def test_a_point_inside_a_forbidden_range_is_refused() -> None:
    with pytest.raises(ValueError, match="no allowed read can hold p at 5"):
        plan_reads([Extent(5, 1, "p")], Limits(forbidden=((5, 6),)))


def test_a_refused_read_is_cut_at_its_largest_hole_first() -> None:
    (read,) = plan_reads([Extent(0, 2, "a"), Extent(2, 1, "b"), Extent(20, 1, "c")], Limits())

    assert split_read(read) == (
        Read(0, 3, (Extent(0, 2, "a"), Extent(2, 1, "b"))),
        Read(20, 1, (Extent(20, 1, "c"),)),
    )


def test_points_of_the_same_register_cannot_be_separated() -> None:
    (read,) = plan_reads([Extent(3, 1, "bit-0"), Extent(3, 1, "bit-1")], Limits())

    assert split_read(read) is None
