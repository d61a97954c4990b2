import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import RegisterError
from devices.profile import Function, Point, PointType
from devices.registers import (
    BitDecoder,
    RegisterDecoder,
    decode_registers,
    decode_text,
    encode_registers,
    encode_text,
)

INTEGERS = {
    PointType.U16: "H",
    PointType.S16: "h",
    PointType.U32: "I",
    PointType.S32: "i",
    PointType.U64: "Q",
    PointType.S64: "q",
}
FLOATS = {PointType.F32: "f", PointType.F64: "d"}


def point(kind: PointType, *, function: Function = Function.HOLDING, address: int = 0, **rest: Any) -> Point:
    return Point(id="p", type=kind, function=function, address=address, **rest)


def words_of(kind: PointType, value: float, word_order: str = "big", byte_order: str = "big") -> list[int]:
    """Worked out by struct alone, apart from the codec: a device that keeps its words and bytes in this order."""
    data = struct.pack(">" + (INTEGERS | FLOATS)[kind], value)
    pairs = [data[at : at + 2] for at in range(0, len(data), 2)]
    if byte_order == "little":
        pairs = [pair[::-1] for pair in pairs]
    if word_order == "little":
        pairs = pairs[::-1]
    return [int.from_bytes(pair, "big") for pair in pairs]


@pytest.mark.parametrize(
    ("kind", "words", "rest", "expected"),
    [
        (PointType.F32, [0x4366, 0x6666], {"unit": "V"}, 230.39999389648438),
        (PointType.F32, [0xC47A, 0x0000], {"unit": "W"}, -1000.0),
        (PointType.F32, [0x3FC0, 0x0000], {"unit": "kW"}, 1500.0),
        (PointType.F32, [0x7FC0, 0x0000], {"unit": "V"}, math.nan),
        (PointType.F32, [0xFF80, 0x0000], {"unit": "V"}, math.nan),
        (PointType.U32, [0x0001, 0x0002], {}, 65538.0),
        (PointType.U32, [0x0001, 0x0002], {"word_order": "little"}, 131073.0),
        (PointType.U32, [0x0100, 0x0200], {"byte_order": "little"}, 65538.0),
        (PointType.S16, [0xD8F0], {"unit": "percent", "scale": 0.005}, -50.0),
        (PointType.U16, [31315], {"unit": "K", "scale": 0.01}, 40.0),
        (PointType.U16, [0xFFFF], {"invalid": (0xFFFF,)}, math.nan),
        (PointType.S16, [0x7FFF], {"invalid": (0x7FFF, 0x8000)}, math.nan),
        (PointType.S16, [0x8000], {"invalid": (0x7FFF, 0x8000)}, math.nan),
        (PointType.S16, [0x8000], {"invalid": (-32768,)}, math.nan),
        (PointType.U16, [32766], {"invalid": (32766, 32767), "unit": "degC"}, math.nan),
        (PointType.U32, [0x8000, 0x0000], {"invalid": (0x80000000,)}, math.nan),
        (PointType.BIT, [0x0008], {"bit": 3}, 1.0),
        (PointType.BIT, [0xFFF7], {"bit": 3}, 0.0),
        (PointType.BOOL, [0x0100], {}, 1.0),
        (PointType.U64, [0x001F, 0xFFFF, 0xFFFF, 0xFFFF], {"unit": "Wh"}, float(2**53 - 1)),
    ],
)
def test_registers_have_the_value_that_the_manual_says(
    kind: PointType, words: list[int], rest: dict[str, Any], expected: float
) -> None:
    decoded = decode_registers(point(kind, **rest), words)

    assert decoded == pytest.approx(expected, rel=1e-12, nan_ok=True)


@st.composite
def integer_points(draw: st.DrawFn) -> tuple[Point, int]:
    kind = draw(st.sampled_from(sorted(INTEGERS)))
    bits = 8 * struct.calcsize(INTEGERS[kind])
    signed = INTEGERS[kind].islower()
    low, high = (-(1 << min(bits - 1, 53)), (1 << min(bits - 1, 53)) - 1) if signed else (0, (1 << min(bits, 53)) - 1)
    raw = draw(st.integers(low, high))
    order, swap = draw(st.sampled_from(["big", "little"])), draw(st.sampled_from(["big", "little"]))
    return point(kind, word_order=order, byte_order=swap), raw


@given(integer_points())
def test_an_integer_is_read_and_written_in_any_order(drawn: tuple[Point, int]) -> None:
    written, raw = drawn
    words = words_of(written.type, raw, written.word_order, written.byte_order)

    assert decode_registers(written, words) == raw
    assert encode_registers(written, float(raw)) == words


@given(
    st.sampled_from(sorted(FLOATS)),
    st.floats(-(2.0**100), 2.0**100, width=32),
    st.sampled_from(["big", "little"]),
    st.sampled_from(["big", "little"]),
)
def test_a_float_survives_the_round_trip_exactly(kind: PointType, value: float, order: str, swap: str) -> None:
    written = point(kind, word_order=order, byte_order=swap)
    words = words_of(kind, value, order, swap)

    assert decode_registers(written, words) == value
    assert encode_registers(written, value) == words


@given(
    st.integers(-32768, 32767),
    st.sampled_from([0.001, 0.005, 0.01, 0.1, 1 / 128, 1 / 512, 2.0, 10.0, -1.0]),
    st.floats(-1000, 1000),
    st.sampled_from(["", "kW", "K", "percent", "bar", "min"]),
)
def test_scaled_registers_survive_the_round_trip_exactly(raw: int, scale: float, offset: float, unit: str) -> None:
    written = point(PointType.S16, scale=scale, offset=offset, unit=unit)
    words = words_of(PointType.S16, raw)

    assert encode_registers(written, decode_registers(written, words)) == words


def test_no_value_is_written_as_the_sentinel() -> None:
    assert encode_registers(point(PointType.S16, invalid=(0x7FFF,)), math.nan) == [0x7FFF]
    assert encode_registers(point(PointType.S16, invalid=(0x8000,)), math.nan) == [0x8000]
    assert math.isnan(decode_registers(point(PointType.F32), encode_registers(point(PointType.F32), math.nan)))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (point(PointType.U16), -1),
        (point(PointType.U16), 65536),
        (point(PointType.U16), math.nan),
        (point(PointType.U16, invalid=(1,)), math.inf),
        (point(PointType.S16), 32768),
        (point(PointType.BIT, bit=1), 2),
        (point(PointType.F32), 1e39),
        (point(PointType.STRING, length=2), 1),
    ],
)
def test_a_value_that_does_not_fit_is_refused(written: Point, value: float) -> None:
    with pytest.raises(RegisterError):
        encode_registers(written, value)


def test_a_whole_read_is_decoded_like_its_points_one_by_one() -> None:
    points = [
        point(PointType.U16, address=100, unit="V", scale=0.1),
        point(PointType.U16, address=105, invalid=(0xFFFF,)),
        point(PointType.F32, address=101, unit="kW"),
        point(PointType.F32, address=103, unit="A", word_order="little"),
        point(PointType.BIT, address=106, bit=15),
        point(PointType.BIT, address=106, bit=0),
        point(PointType.STRING, address=107, length=2),
        point(PointType.S32, address=109, offset=5.0),
        point(PointType.U16, address=111, invalid=(1, 2, 3)),
    ]
    words = np.array(
        [
            2304,
            *words_of(PointType.F32, 1.5),
            *words_of(PointType.F32, 2.5, "little"),
            0xFFFF,
            0x8000,
            *encode_text(points[6], "ab c"),
            *words_of(PointType.S32, -7),
            3,
        ],
        np.uint16,
    )
    decoder = RegisterDecoder(points, 100)

    decoded = decoder.decode(words).tolist()

    assert decoded == pytest.approx([230.4, math.nan, 1500.0, 2.5, 1.0, 0.0, math.nan, -2.0, math.nan], nan_ok=True)
    assert decoder.texts(words) == {"p": "ab c"}
    for single, value in zip(points, decoded, strict=True):
        if not single.is_text and single.address is not None:
            own = words[single.address - 100 :][: single.registers].tolist()

            assert decode_registers(single, own) == pytest.approx(value, nan_ok=True, rel=0, abs=0)


def test_decoding_leaves_the_words_as_they_were() -> None:
    points = [point(PointType.U16, address=n, byte_order="little", scale=2.0) for n in range(4)]
    words = np.arange(4, dtype=np.uint16)

    RegisterDecoder(points, 0).decode(words)

    assert words.tolist() == [0, 1, 2, 3]


def test_a_read_that_is_too_short_or_misplaced_is_refused() -> None:
    decoder = RegisterDecoder([point(PointType.F32, address=3)], 2)

    with pytest.raises(RegisterError, match="3 registers are needed, 2 were read"):
        decoder.decode(np.zeros(2, np.uint16))
    with pytest.raises(RegisterError, match="before the read"):
        RegisterDecoder([point(PointType.U16, address=3)], 4)
    with pytest.raises(RegisterError, match="0 to 65535"):
        decode_registers(point(PointType.U16), [65536])


def test_bits_become_zero_and_one_and_a_contact_can_be_turned_round() -> None:
    points = [
        point(PointType.BOOL, function=Function.DISCRETE, address=12),
        point(PointType.BOOL, function=Function.DISCRETE, address=10, scale=-1.0, offset=1.0),
    ]
    decoder = BitDecoder(points, 10)

    assert decoder.decode(np.array([True, False, True, False])).tolist() == [1.0, 0.0]
    with pytest.raises(RegisterError, match="3 bits are needed"):
        decoder.decode(np.array([True]))


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4), st.sampled_from(["big", "little"]))
def test_a_text_survives_the_round_trip(text: str, order: str) -> None:
    written = point(PointType.STRING, length=8, byte_order=order)

    assert decode_text(written, encode_text(written, text)) == text.rstrip()


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(RegisterError, match="takes 2 bytes"):
        encode_text(point(PointType.STRING, length=1), "abc")
