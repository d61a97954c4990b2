"""Spaces that a bank of wired sensors watches: each has its own history, over midnight and in any order of frames."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import pytest

from cloud.api.painting import Past, paint
from cloud.facts.ledger import Ledger, parse_ledger
from cloud.indicators.registry import compute_indicator, space_states
from cloud.live import LiveSite
from devices.errors import ConfigurationError
from devices.profile import packaged_profile
from devices.states import SpaceState
from tests.cloud.told import SITE, Cloud, Entry, Told, inventory, ledger_text, new_cloud

DAY_MS = 86_400_000
START_MS = 20_000 * DAY_MS  # a midnight
HOUR_MS = 3_600_000
BANK = packaged_profile("parking-di-bank").text
FLOOR = "floors: [{id: b1, name: {en: N, zh-CN: N}, map: B1, width_m: 20.0, height_m: 20.0}]"


def parking(*spaces: str) -> str:
    listed = ", ".join(f"{{id: s{index}, group: cars, rect: [0, 0, 3, 5], {one}}}" for index, one in enumerate(spaces))
    return f"parking: [{{id: cars, name: {{en: N, zh-CN: N}}, floor: b1}}]\nspaces: [{listed}]"


LEDGER = ledger_text(
    FLOOR,
    parking("device: bank, point: occupied_1", "device: bank, point: occupied_2", "device: bank, point: occupied_9"),
)


def frames() -> list[Told]:
    """From 22 h to 2 h: the first space taken at 23 h, free again at 1 h; the second never taken; the ninth unheard."""
    begin = START_MS - 2 * HOUR_MS
    told = [Told(1, begin, begin + HOUR_MS, _entries(begin, 0), inventory(["bank"], begin, text=BANK))]
    changes = {1: 1.0, 3: 0.0}
    for number in range(1, 4):
        at = begin + number * HOUR_MS
        entries = [Entry("bank", "occupied_1", at, changes[number])] if number in changes else []
        told.append(Told(number + 1, at, at + HOUR_MS, tuple(entries)))
    return told


def _entries(time_ms: int, value: float) -> tuple[Entry, ...]:
    return tuple(Entry("bank", f"occupied_{number}", time_ms, value) for number in (1, 2))


def cloud_told(folder: Path, told: Iterable[Told]) -> tuple[Cloud, Ledger]:
    cloud = new_cloud(folder)
    cloud.tell(told)
    return cloud, cloud.ledger(LEDGER)


def occupancy(cloud: Cloud, ledger: Ledger, from_h: int, to_h: int) -> tuple[Fraction | None, int, int]:
    """Value, occupied and known space-ms, hours counted from midnight."""
    window = (START_MS + from_h * HOUR_MS, START_MS + to_h * HOUR_MS)
    found = compute_indicator(cloud.facts, ledger, "parking.occupancy", window, START_MS + 2 * HOUR_MS)
    return found.value, found.numerator, found.denominator


@pytest.mark.parametrize("reverse", [False, True])
def test_each_point_of_a_bank_is_a_space_of_its_own_across_midnight(tmp_path: Path, reverse: bool) -> None:  # noqa: FBT001
    told = frames()
    cloud, ledger = cloud_told(tmp_path, reversed(told) if reverse else told)

    assert occupancy(cloud, ledger, -2, 2) == (Fraction(1, 4), 2 * HOUR_MS, 8 * HOUR_MS)
    assert occupancy(cloud, ledger, -1, 1) == (Fraction(1, 2), 2 * HOUR_MS, 4 * HOUR_MS)
    states = space_states(cloud.facts, ledger, START_MS + HOUR_MS // 2)
    assert states == {"s0": SpaceState.OCCUPIED, "s1": SpaceState.FREE, "s2": SpaceState.UNKNOWN}
    cloud.engine.dispose()


def test_a_late_frame_changes_the_computed_days_of_a_bank(tmp_path: Path) -> None:
    told = frames()
    cloud, ledger = cloud_told(tmp_path, [told[0], *told[2:]])
    without = occupancy(cloud, ledger, -2, 2)
    cloud.tell([told[1]])

    assert without[1] == 0
    assert occupancy(cloud, ledger, -2, 2) == (Fraction(1, 4), 2 * HOUR_MS, 8 * HOUR_MS)
    cloud.engine.dispose()


def test_the_page_shows_each_space_of_a_bank(tmp_path: Path) -> None:
    live, ledger = LiveSite(SITE), parse_ledger(LEDGER, "ledger.yaml")
    told = frames()
    for one in told[:3]:
        live.apply(one.frame(), one.to_ms)

    painted = paint(ledger, live, Past(), (), told[2].to_ms).spaces

    assert {space: one["state"] for space, one in painted.items()} == {"s0": "occupied", "s1": "free", "s2": "unknown"}


@pytest.mark.parametrize(
    ("spaces", "problem"),
    [
        (("device: bank, point: occupied_1", "device: bank, point: occupied_1"), "already watches another space"),
        (("point: occupied_1",), "names a point of no device"),
        (("device: bank", "device: bank, point: occupied_1"), "watches another space as a whole"),
    ],
)
def test_a_ledger_that_confuses_the_points_of_a_bank_is_refused(spaces: tuple[str, ...], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        parse_ledger(ledger_text(FLOOR, parking(*spaces)), "ledger.yaml")
