import numpy as np
import pytest

from devices.profile import load_profiles
from devices.reading import Block, Quality
from devices.records import Link
from edge.clock import Moment
from edge.links import LinkWatch
from tests.edge.builders import START_MS, device

STATE = ("status", "speed")
VALUE = ("actual_2",)
NAN = float("nan")
RUN, NEXT_RUN = b"r" * 8, b"s" * 8


def at(second: float, run: bytes = RUN, step_ms: int = 0) -> Moment:
    return Moment(START_MS + round(second * 1000) + step_ms, round(second * 1000), run, trusted=True, uncertainty_ms=0)


def block(moment: Moment, points: tuple[str, ...], *values: float, quality: Quality = Quality.GOOD) -> Block:
    return Block("d", points, moment.utc_ms, quality, np.array(values))


@pytest.fixture
def watch() -> LinkWatch:
    return LinkWatch(device(load_profiles()["abb-acs580"]), at(0))


def test_the_first_good_answer_makes_a_good_link(watch: LinkWatch) -> None:
    links = watch.hear(block(at(1), STATE, 4.0, 50.0), at(1))

    assert links == [Link("d", "", good=True, time_ms=START_MS + 1000)]


def test_a_link_that_stays_good_is_said_once(watch: LinkWatch) -> None:
    watch.hear(block(at(1), STATE, 4.0, 50.0), at(1))

    assert watch.hear(block(at(2), STATE, 4.0, 50.0), at(2)) == []
    assert watch.check(at(61)) == []


def test_silence_of_hold_s_makes_a_bad_link_that_names_the_last_good_answer(watch: LinkWatch) -> None:
    watch.hear(block(at(1), STATE, 4.0, 50.0), at(1))
    watch.hear(block(at(30), STATE, NAN, NAN, quality=Quality.BAD_NO_ANSWER), at(30))

    assert watch.check(at(60.9)) == []
    assert watch.check(at(61)) == [Link("d", "", good=False, time_ms=START_MS + 61_000, last_ok_ms=START_MS + 1000)]
    assert watch.check(at(62)) == []


def test_a_device_that_never_answered_has_no_last_good_answer(watch: LinkWatch) -> None:
    assert watch.check(at(60)) == [Link("d", "", good=False, time_ms=START_MS + 60_000, last_ok_ms=None)]


def test_the_next_answer_makes_the_link_good_again(watch: LinkWatch) -> None:
    watch.check(at(60))

    assert watch.hear(block(at(70), VALUE, 1.0), at(70)) == [Link("d", "", good=True, time_ms=START_MS + 70_000)]


def test_a_point_that_stays_bad_while_the_device_answers_has_a_link_of_its_own(watch: LinkWatch) -> None:
    watch.hear(block(at(1), STATE, 4.0, 50.0), at(1))
    watch.hear(block(at(60), STATE, NAN, 50.0), at(60))

    assert watch.check(at(61)) == [
        Link("d", "status", good=False, time_ms=START_MS + 61_000, last_ok_ms=START_MS + 1000)
    ]
    assert watch.hear(block(at(62), STATE, 4.0, 50.0), at(62)) == [
        Link("d", "status", good=True, time_ms=START_MS + 62_000)
    ]


def test_a_new_clock_run_says_the_links_again_in_its_own_time(watch: LinkWatch) -> None:
    watch.hear(block(at(1), STATE, 4.0, 50.0), at(1))
    watch.restart()
    stepped = at(62, NEXT_RUN, step_ms=500_000)

    assert watch.check(stepped)[0].last_ok_ms == START_MS + 501_000
    assert watch.hear(block(stepped, STATE, 4.0, 50.0), stepped)[0].good


def test_a_keyframe_can_ask_for_the_links(watch: LinkWatch) -> None:
    assert watch.current(at(0)) == []
    watch.hear(block(at(1), STATE, NAN, 50.0), at(1))
    watch.hear(block(at(59), VALUE, 1.0), at(59))
    watch.check(at(60))

    assert [(link.point, link.good) for link in watch.current(at(60))] == [("", True), ("status", False)]
