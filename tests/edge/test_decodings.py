import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.point import PointType
from edge.commissioning.decodings import Decoding, decodings, text_of

ORDERS = {"ABCD": (0, 1, 2, 3), "CDAB": (2, 3, 0, 1), "BADC": (1, 0, 3, 2), "DCBA": (3, 2, 1, 0)}


def words(data: bytes, order: str) -> list[int]:
    return list(struct.unpack(">2H", bytes(data[place] for place in ORDERS[order])))


def likely(found: list[Decoding]) -> Decoding:
    (one,) = (decoding for decoding in found if decoding.likely)
    return one


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("value", [230.5, 49.98, 0.87, 21.7])
def test_a_float_is_found_in_every_order(value: float, order: str) -> None:
    one = likely(decodings(words(struct.pack(">f", value), order), 0))

    assert (one.type, one.order) == (PointType.F32, order)
    assert one.value == pytest.approx(value, rel=1e-6)
    assert one.reason


@pytest.mark.parametrize(("order", "found"), [("ABCD", PointType.U32), ("CDAB", PointType.U16)])
def test_a_small_number_in_two_registers_is_likely_a_number_however_it_is_written(order: str, found: PointType) -> None:
    one = likely(decodings(words(struct.pack(">I", 4711), order), 0))

    assert (one.type, one.value) == (found, 4711)


def test_one_register_is_read_as_one_number() -> None:
    found = decodings([230], 7)

    assert {decoding.type for decoding in found} == {PointType.U16, PointType.S16}
    assert (likely(found).value, likely(found).address) == (230, 7)


def test_a_small_negative_number_is_likely_signed() -> None:
    one = likely(decodings([0xFFF6], 0))

    assert (one.type, one.value) == (PointType.S16, -10)


def test_what_means_no_value_is_not_likely() -> None:
    assert all(one.score <= 0.05 for one in decodings([0xFFFF, 0xFFFF], 0))


def test_all_four_orders_of_the_three_types_of_two_registers_are_shown() -> None:
    found = decodings([1, 2], 0)

    shown = {(one.type, one.order) for one in found if one.type not in {PointType.U16, PointType.S16}}
    assert shown == {(kind, order) for kind in (PointType.U32, PointType.S32, PointType.F32) for order in ORDERS}


def test_a_double_is_found_in_four_registers() -> None:
    one = likely(decodings(list(struct.unpack(">4H", struct.pack(">d", 230.5))), 0))

    assert (one.type, one.value) == (PointType.F64, 230.5)


@given(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=4))
def test_exactly_one_decoding_is_likely_and_it_is_one_of_the_best(registers: list[int]) -> None:
    found = decodings(registers, 0)

    assert likely(found).score == max(one.score for one in found)
    assert all(0 <= one.score <= 1 and one.reason for one in found)


def test_texts_are_seen() -> None:
    assert text_of([0x4742, 0x4800]) == "GBH"
    assert text_of([1, 2]) is None
