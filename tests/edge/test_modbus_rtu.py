from hypothesis import given
from hypothesis import strategies as st

from devices.point import Function
from edge.drivers.modbus_rtu import LATE_MAX_S, OWED_MAX, Owed, Shape, find_answer, shape_of
from tests.edge.serial_bus import check

TWO_WORDS = Shape(3, 4)
WORDS = st.binary(min_size=4, max_size=4)


def answer(unit: int, function: int, data: bytes) -> bytes:
    body = bytes([unit, function, len(data)]) + data
    return body + check(body)


def exception(unit: int, function: int, code: int) -> bytes:
    body = bytes([unit, function | 0x80, code])
    return body + check(body)


@given(st.binary(max_size=600), st.integers(1, 247), st.sampled_from([1, 2, 3, 4]), st.integers(0, 250))
def test_whatever_a_line_delivers_is_survived(data: bytes, unit: int, function: int, size: int) -> None:
    used, found = find_answer(data, unit, Shape(function, size))

    assert 0 <= used <= len(data)
    assert found is None or found[0] & 0x7F == function


@given(WORDS, st.lists(st.tuples(st.integers(1, 247), st.binary(max_size=40)), max_size=4))
def test_an_answer_is_found_behind_answers_of_others(words: bytes, others: list[tuple[int, bytes]]) -> None:
    before = b"".join(answer(unit, 4, data) for unit, data in others)

    used, found = find_answer(before + answer(7, 3, words), 7, TWO_WORDS)

    assert found == bytes([3, 4]) + words
    assert used == len(before) + 9


@given(WORDS, st.integers(0, 8))
def test_a_part_of_an_answer_is_no_answer(words: bytes, length: int) -> None:
    assert find_answer(answer(7, 3, words)[:length], 7, TWO_WORDS) == (0, None)


@given(WORDS, st.integers(0, 8 * 9 - 1))
def test_one_wrong_bit_anywhere_and_it_is_no_answer(words: bytes, bit: int) -> None:
    frame = bytearray(answer(7, 3, words))
    frame[bit // 8] ^= 1 << bit % 8

    assert find_answer(bytes(frame), 7, TWO_WORDS)[1] is None


def test_an_exception_to_this_function_is_an_answer_and_one_to_another_is_not() -> None:
    assert find_answer(exception(7, 3, 2), 7, TWO_WORDS) == (5, b"\x83\x02")
    assert find_answer(exception(7, 4, 2), 7, TWO_WORDS) == (5, None)


def test_an_answer_of_another_length_is_not_the_one() -> None:
    assert find_answer(answer(7, 3, bytes(6)), 7, TWO_WORDS) == (11, None)


def test_nothing_is_owed_after_an_answer_that_can_only_be_the_last_one() -> None:
    owed = Owed()
    owed.unanswered(1, TWO_WORDS, 0.0)
    owed.answered(1)

    assert owed.shapes(1, 0.0) == []


def test_an_exception_while_an_answer_to_the_same_function_is_owed_says_nothing() -> None:
    owed = Owed()
    owed.unanswered(1, TWO_WORDS, 0.0)

    assert not owed.refused(1, Shape(3, 2), 0.1)
    assert owed.shapes(1, 0.1) == [Shape(3, 2)]


def test_an_exception_to_another_function_is_certain() -> None:
    owed = Owed()
    owed.unanswered(1, TWO_WORDS, 0.0)

    assert owed.refused(1, Shape(4, 2), 0.1)
    assert owed.shapes(1, 0.1) == []


def test_an_answer_is_given_up_after_a_minute_and_units_are_apart() -> None:
    owed = Owed()
    owed.unanswered(1, TWO_WORDS, 0.0)

    assert owed.shapes(2, 0.0) == []
    assert owed.shapes(1, LATE_MAX_S) == []


@given(st.sampled_from(list(Function)), st.lists(st.integers(1, 200), max_size=40))
def test_there_is_always_a_question_whose_answer_cannot_be_mistaken(function: Function, counts: list[int]) -> None:
    owed = Owed()
    for count in counts:
        owed.unanswered(1, shape_of(function, count), 0.0)

    assert shape_of(function, owed.other_count(1, function, 0.0)) not in owed.shapes(1, 0.0)
    assert len(owed.shapes(1, 0.0)) <= OWED_MAX
