import asyncio
import time
from pathlib import Path

import pytest

from devices.errors import LinkDown, Refused
from devices.point import Function
from devices.profile import load_profiles
from simulators.control import command, listen
from simulators.site import demo_site
from simulators.world import SimulatedClock, World
from tests.waiting import until

NOON_MS = 1_794_974_400_000


def world() -> World:
    return World(demo_site(), 7, SimulatedClock(NOON_MS), load_profiles())


async def tell(path: Path, line: str) -> None:
    await asyncio.to_thread(command, path, line)


async def test_a_register_is_set_and_released_in_a_running_simulation(tmp_path: Path) -> None:
    site = world()
    async with listen(site, tmp_path / "sim.sock"):
        await tell(tmp_path / "sim.sock", "set ahu-1 status 8")
        held = site.devices["ahu-1"].words(Function.HOLDING, 3, 1)
        await tell(tmp_path / "sim.sock", "release ahu-1")

    assert held == [8]


async def test_a_thing_is_broken_and_mended(tmp_path: Path) -> None:
    site = world()
    async with listen(site, tmp_path / "sim.sock"):
        await tell(tmp_path / "sim.sock", "fail pump-3")

        assert site.devices["pump-3"].words(Function.DISCRETE, 1, 1) == [1]


async def test_a_device_is_silenced_and_speaks_again(tmp_path: Path) -> None:
    site = world()
    async with listen(site, tmp_path / "sim.sock"):
        await tell(tmp_path / "sim.sock", "silence lift-1")
        silent = site.devices["lift-1"].silent
        await tell(tmp_path / "sim.sock", "speak lift-1")

    assert (silent, site.devices["lift-1"].silent) == (True, False)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("set nobody status 1", "no device 'nobody'"),
        ("set ahu-1 nothing 1", "no point 'nothing'"),
        ("set ahu-1 status much", "not a number"),
        ("fail nobody", "no equipment or robot 'nobody'"),
        ("dance", "expected set DEVICE"),
        ("", "expected set DEVICE"),
    ],
)
async def test_a_wrong_command_is_refused_with_the_reason(tmp_path: Path, line: str, why: str) -> None:
    async with listen(world(), tmp_path / "sim.sock"):
        with pytest.raises(Refused, match=why):
            await tell(tmp_path / "sim.sock", line)


def test_without_a_simulation_the_error_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(LinkDown, match=r"sim\.sock"):
        command(tmp_path / "sim.sock", "announce")


async def test_the_clock_runs_as_fast_as_it_was_told() -> None:
    clock = SimulatedClock(NOON_MS, rate=1000.0)
    began_s = time.monotonic()
    await until(lambda: clock.now_ms() - NOON_MS >= 50_000, "fifty seconds in a twentieth of one")
    took_ms = (time.monotonic() - began_s) * 1000

    assert clock.now_ms() - NOON_MS >= took_ms * 999
