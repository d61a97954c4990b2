"""What a site is like now, from frames and, after a restart, from the facts."""

from pathlib import Path

import numpy as np

from cloud.facts.claims import facts_of
from cloud.facts.database import open_database
from cloud.facts.intake import store_facts
from cloud.facts.newest import newest
from cloud.facts.progress import storing
from cloud.live import LiveState
from devices.columns import Confirmations, Numbers, Poses
from devices.frame import Content, Frame, Origin
from devices.reading import Series
from devices.records import Link
from devices.states import EquipmentState
from tests.cloud.live_world import FAULT, FINE, POINT, SITE, START_MS, described, sealed

SERIES = (Series("di-1", POINT, "", 60),)
HOLD_MS = 60_000


def values(to_ms: int, *changes: tuple[int, float], seq: int = 1) -> Frame:
    """A frame with changes of the pump's state input (ms after the start, value), sealed at `to_ms`."""
    times, numbers = [START_MS + at for at, _ in changes], [value for _, value in changes]
    content = Content(SERIES, Numbers.of([0] * len(changes), times, numbers, [0] * len(changes)))
    return sealed(content, START_MS + to_ms, seq=seq)


def state(live: LiveState, at_ms: int) -> tuple[EquipmentState, int]:
    found, since_ms = live.site(SITE).devices["di-1"].equipment(START_MS + at_ms)
    return found, since_ms - START_MS


def told(*frames: Frame) -> LiveState:
    live = LiveState()
    live.frames_arrived(SITE, [described(START_MS), *frames], START_MS)
    return live


def test_a_fault_begins_when_the_device_said_so() -> None:
    live = told(values(1000, (100, FINE)), values(3000, (2500, FAULT)))

    assert state(live, 3000) == (EquipmentState.FAULT, 2500)


def test_older_and_repeated_frames_change_nothing() -> None:
    fine, fault = values(1000, (100, FINE)), values(3000, (2500, FAULT))
    live = told(fault, fine, fault, fine)

    assert state(live, 3000) == (EquipmentState.FAULT, 2500)


def test_an_empty_frame_confirms_what_a_polled_device_said() -> None:
    live = told(values(1000, (100, FINE)), values(50_000))

    assert state(live, 50_000 + HOLD_MS)[0] is not EquipmentState.UNKNOWN
    assert state(live, 50_001 + HOLD_MS) == (EquipmentState.UNKNOWN, 50_000 + HOLD_MS)


def test_a_device_that_stopped_answering_is_confirmed_by_nothing() -> None:
    link = Link("di-1", "", good=False, time_ms=START_MS + 70_000, last_ok_ms=START_MS + 5000)
    lost = sealed(Content(records=(link,)), START_MS + 70_000)
    live = told(values(1000, (100, FINE)), lost, values(200_000))

    assert state(live, 5000 + HOLD_MS)[0] is not EquipmentState.UNKNOWN
    assert state(live, 5001 + HOLD_MS)[0] is EquipmentState.UNKNOWN


def test_contact_lost_in_fault_stays_a_fault() -> None:
    live = told(values(1000, (100, FAULT)))

    assert state(live, 10**9) == (EquipmentState.FAULT, 100)


def test_a_restarted_process_takes_up_from_the_facts(tmp_path: Path) -> None:
    keyframe = Content(SERIES, confirmations=Confirmations.of([0], [START_MS + 100], [START_MS + 9000], [FINE], [0]))
    frames = [described(START_MS), values(1000, (100, FINE), seq=2), sealed(keyframe, START_MS + 10_000, seq=3)]
    database = open_database(tmp_path / "facts.sqlite")
    with storing(database) as connection:
        for frame in frames:
            store_facts(connection, facts_of(frame, START_MS, SITE))
    live = LiveState()
    live.site(SITE).restore(newest(database, SITE))
    database.dispose()
    [device] = live.site(SITE).devices.values()

    assert state(live, 10_000) == (told(*frames).site(SITE).devices["di-1"].state, 100)
    assert (device.held[POINT].confirmed_ms, device.gateway.span_end_ms) == (START_MS + 9000, START_MS + 10_000)


def test_imported_frames_say_nothing_about_now() -> None:
    imported = sealed(Content(SERIES, Numbers.of([0], [START_MS], [FAULT], [0])), START_MS, origin=Origin.IMPORT)

    assert told(imported).site(SITE).devices["di-1"].held == {}


def test_the_newest_pose_is_where_the_robot_is() -> None:
    def seen(at_ms: int, x_mm: int) -> Frame:
        none, x, y, theta = (np.array([one], np.int32) for one in (0, x_mm, 2000, 1570))
        flags, good = np.array([3], np.uint8), np.array([0], np.uint8)
        times = np.array([START_MS + at_ms], np.int64)
        poses = Poses(none, times, x, y, theta, none, flags, good, ("B1",))
        return sealed(Content((Series("r1", "pose"),), poses=poses), START_MS + at_ms)

    place = told(seen(2000, 12_300), seen(1000, 9000)).site(SITE).devices["r1"].place

    assert place is not None
    assert (place.x_mm, place.map_id, place.time_ms) == (12_300, "B1", START_MS + 2000)
