"""A frame survives encoding, and nothing else passes for one."""

from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from devices.columns import Confirmations, Numbers, Poses, Texts
from devices.errors import DamagedFrame, FrameError, UnknownVersion, WrongSignature
from devices.frame import (
    Content,
    Header,
    Origin,
    PreviousEpoch,
    SealedFrame,
    decode_frame,
    encode_body,
    key_id,
    open_frame,
    seal_frame,
    verify_frame,
)
from devices.reading import Lane, Series
from devices.records import ClockFix, DeviceInfo, Inventory, Link, Loss, LossReason, ProfileText

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
START_MS = 1_780_000_000_000


def sealed(content: Content, lane: Lane = Lane.EVENTS, seq: int = 1) -> SealedFrame:
    body = encode_body(content)
    header = Header(
        gateway="gw-1",
        lane=lane,
        epoch=b"epoch--1",
        seq=seq,
        key_id=key_id(KEY.public_key()),
        clock_run=b"run----1",
        monotonic_ms=12_345,
        from_ms=START_MS,
        to_ms=START_MS + 1000,
        trusted=True,
        uncertainty_ms=20,
        keyframe=seq == 1,
        origin=Origin.LIVE,
        previous_hash=b"",
        previous_epoch=PreviousEpoch(b"epoch--0", 9, b"h" * 32),
        readings=content.readings,
        body_bytes=len(body),
    )
    return seal_frame(header, body, KEY)


def some_content() -> Content:
    series = (Series("ahu-1", "status"), Series("meter-1", "power", "W"), Series("r1", "pose", "", 90))
    records = (
        Link("ahu-1", "", good=False, time_ms=START_MS, last_ok_ms=START_MS - 9),
        Inventory(
            START_MS, "0.1.0", "c" * 64, (DeviceInfo("ahu-1", "p", "h", (("status", ""),), 1.0, 60, pushes=False),)
        ),
        ProfileText("h", "id: p"),
        ClockFix(b"run----1", 5, START_MS, 20, "cloud"),
        Loss("events", b"epoch--1", 3, 5, START_MS, START_MS + 5, LossReason.SPACE, None),
    )
    return Content(
        series=series,
        numbers=Numbers.of([0, 1], [START_MS, START_MS + 7], [1287.0, 230.4], [0, 1]),
        texts=Texts.of([0], [START_MS], ["F0001"], [0]),
        poses=Poses(
            np.array([2, 2], np.int32),
            np.array([START_MS, START_MS + 500], np.int64),
            np.array([1000, -2000], np.int32),
            np.array([0, 2**31 - 1], np.int32),
            np.array([-3141, 3141], np.int32),
            np.array([0, 1], np.int32),
            np.array([3, 7], np.uint8),
            np.array([0, 0], np.uint8),
            ("B1", "B2"),
        ),
        confirmations=Confirmations.of([0], [START_MS - 9000], [START_MS], [3.0], [0]),
        records=records,
    )


def same(one: NDArray[np.generic], other: NDArray[np.generic]) -> bool:
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def test_everything_a_frame_says_comes_back() -> None:
    content = some_content()

    frame = decode_frame(sealed(content).data)

    back = frame.content
    assert back.series == content.series
    assert back.records == content.records
    for name in ("numbers", "texts", "poses", "confirmations"):
        before, after = getattr(content, name), getattr(back, name)
        for column in type(before).__slots__:
            one, other = getattr(before, column), getattr(after, column)
            assert one == other if isinstance(one, tuple) else same(one, other), (name, column)
    assert back.texts.texts == ("F0001",)
    assert (frame.header.readings, content.readings) == (5, 5)


values = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(width=32),
    st.integers(-(2**53), 2**53).map(float),
    st.decimals(-1_000_000, 1_000_000, places=2).map(float),
)
rows = st.tuples(st.integers(0, 4), st.integers(-(2**45), 2**45), values, st.integers(0, 255))


@settings(deadline=None)
@given(st.lists(rows, max_size=60))
def test_any_numbers_survive_bit_for_bit(readings: list[tuple[int, int, float, int]]) -> None:
    columns = Numbers.of(*(zip(*readings, strict=True) if readings else ((), (), (), ())))
    content = Content(series=tuple(Series("d", f"p{n}") for n in range(5)), numbers=columns)

    back = decode_frame(sealed(content).data).content.numbers

    assert same(back.series, columns.series)
    assert same(back.time_ms, columns.time_ms)
    assert same(back.quality, columns.quality)
    expected = columns.value + 0.0  # -0.0 is stored as 0.0
    not_numbers = np.isnan(expected)
    assert np.array_equal(np.isnan(back.value), not_numbers)
    assert np.array_equal(back.value[~not_numbers].view(np.int64), expected[~not_numbers].view(np.int64))


def test_the_same_content_makes_the_same_bytes() -> None:
    assert sealed(some_content()).data == sealed(some_content()).data


def test_a_header_is_read_without_the_body() -> None:
    frame = sealed(some_content())

    assert open_frame(frame.data) == frame


@pytest.mark.parametrize("lane", list(Lane))
def test_the_right_key_verifies(lane: Lane) -> None:
    verify_frame(sealed(some_content(), lane).data, KEY.public_key())


def test_another_key_does_not_verify() -> None:
    with pytest.raises(WrongSignature):
        verify_frame(sealed(some_content()).data, OTHER.public_key())


def test_a_forger_who_names_the_right_key_does_not_verify() -> None:
    envelope = msgspec.msgpack.decode(sealed(some_content()).data)
    envelope[4] = OTHER.sign(b"something")

    with pytest.raises(WrongSignature):
        verify_frame(msgspec.msgpack.encode(envelope), KEY.public_key())


@pytest.mark.parametrize("lane", list(Lane))
@settings(max_examples=60, deadline=None)
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_is_never_accepted(lane: Lane, position: float, bit: int) -> None:
    data = bytearray(sealed(some_content(), lane).data)
    data[int(position * len(data))] ^= 1 << bit

    with pytest.raises(FrameError):
        verify_frame(bytes(data), KEY.public_key())


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_refused_with_a_frame_error(data: bytes) -> None:
    with pytest.raises(FrameError):
        decode_frame(data)


@pytest.mark.parametrize("byte", [b"\x91", b"\xdd\xff\xff\xff\xff", b"\x81"])
def test_endless_nesting_is_refused(byte: bytes) -> None:
    with pytest.raises(FrameError):
        decode_frame(byte * 100_000)


@settings(max_examples=80, deadline=None)
@given(length=st.floats(0, 1, exclude_max=True))
def test_a_cut_frame_is_damaged(length: float) -> None:
    data = sealed(some_content()).data

    with pytest.raises(DamagedFrame):
        decode_frame(data[: int(length * len(data))])


def test_a_newer_format_is_known_for_what_it_is() -> None:
    newer = msgspec.msgpack.encode(["GHF", 2, {"anything": True}])

    with pytest.raises(UnknownVersion, match="format 2"):
        open_frame(newer)


def test_a_body_that_inflates_beyond_its_word_is_damaged() -> None:
    frame = sealed(some_content())
    envelope = msgspec.msgpack.decode(frame.data)
    envelope[2] = msgspec.msgpack.encode(msgspec.structs.replace(frame.header, body_bytes=10))

    with pytest.raises(DamagedFrame, match="inflate"):
        decode_frame(msgspec.msgpack.encode(envelope))


@pytest.mark.parametrize("size", [-1, 16 * 1024 * 1024 + 1])
def test_an_impossible_size_is_refused_before_anything_is_inflated(size: int) -> None:
    frame = sealed(some_content())
    envelope = msgspec.msgpack.decode(frame.data)
    envelope[2] = msgspec.msgpack.encode(msgspec.structs.replace(frame.header, body_bytes=size))

    with pytest.raises(DamagedFrame, match="body bytes"):
        decode_frame(msgspec.msgpack.encode(envelope))


def test_a_row_that_names_an_unlisted_series_is_damaged() -> None:
    content = Content(series=(Series("d", "p"),), numbers=Numbers.of([1], [START_MS], [1.0], [0]))

    with pytest.raises(DamagedFrame, match="does not list"):
        decode_frame(sealed(content).data)


def test_the_seal_refuses_a_header_that_lies_about_the_body() -> None:
    frame = sealed(some_content())

    with pytest.raises(ValueError, match="body"):
        seal_frame(frame.header, b"another body", KEY)


def test_frames_are_as_small_as_the_design_asks() -> None:
    rng = np.random.default_rng(7)

    def size(readings: int, series_count: int) -> int:
        series = tuple(Series(f"device-{n // 20}", f"point-{n % 20}", "V") for n in range(series_count))
        walk = np.round(200 + np.cumsum(rng.normal(0, 1, readings)), 2)
        numbers = Numbers(
            np.arange(readings, dtype=np.int32) % series_count,
            START_MS + np.repeat(np.arange(readings // 20 + 1), 20)[:readings] * 7,
            walk,
            np.zeros(readings, np.uint8),
        )
        return len(sealed(Content(series=series, numbers=numbers)).data)

    assert size(30, 30) <= 700
    assert size(1_000, 1_000) <= 6.5 * 1_000
    assert size(10_000, 1_000) <= 4 * 10_000


def test_frames_with_dictionaries_that_begin_and_end_alike_keep_their_own_names() -> None:
    def named(middle: str) -> Content:
        series = (*(Series(f"d{at}", "p") for at in range(20)), Series(middle, "p"), *([Series("z" * 60, "p")] * 3))
        return Content(series, Numbers.of(range(24), [1] * 24, [1.0] * 24, [0] * 24))

    contents = [named("one"), named("two"), named("one")]

    assert [decode_frame(sealed(one).data).content.series for one in contents] == [one.series for one in contents]


def test_frames_are_decoded_by_many_threads_at_once() -> None:
    frames = [
        sealed(Content((Series("d", "p"),), Numbers.of([0] * 500, range(500), [at] * 500, [0] * 500)))
        for at in range(40)
    ]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(decode_frame, [one.data for one in frames] * 5))

    assert [one.content.numbers.value[0] for one in found] == [float(at) for at in range(40)] * 5
