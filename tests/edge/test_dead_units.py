"""A serial bus with dead units (B4), and one whose adapter is pulled out."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from devices.reading import Block
from edge.bus_time import transfer_s
from edge.clock import Moment
from edge.config import ModbusServer
from edge.drivers.modbus import ModbusDriver
from edge.drivers.modbus_device import plans_of
from edge.items import Item
from edge.polling import Polling
from tests.edge.builders import device, moment, registers_profile
from tests.edge.serial_bus import RtuPeer, RtuQuestion, serial_peer
from tests.waiting import until

INTERVAL_S, TIMEOUT_S = 0.4, 0.3  # a machine that is busy with other tests stalls for a tenth of a second
UNITS, DEAD = range(1, 11), {3, 6, 9}
LINE = ModbusServer(serial="/dev/null", baudrate=38_400, timeout_s=TIMEOUT_S)


def on_the_line(question: RtuQuestion, answer: bytes) -> list[tuple[float, bytes]]:
    return [(transfer_s(LINE, 2 * question.count), answer)]


@asynccontextmanager
async def polling(path: str, heard: dict[str, int]) -> AsyncIterator[Polling]:
    profile = registers_profile(4, poll=f"{INTERVAL_S}s")
    plans = [plan for unit in UNITS for plan in plans_of(device(profile, f"d{unit}", unit))]

    async def sink(items: Sequence[Item], _: Moment) -> None:
        for item in items:
            if isinstance(item, Block) and item.quality.is_good:
                assert item.values.tolist() == [0.0, 1.0, 2.0, 3.0]
                heard[item.device] = heard.get(item.device, 0) + 1

    driver = ModbusDriver(LINE.model_copy(update={"serial": path}), moment)
    owner = Polling("bus", driver, plans, sink, now=moment, rng=Random(7))
    task = asyncio.create_task(owner.run())
    try:
        yield owner
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_three_dead_units_of_ten_on_a_serial_bus_leave_the_others_95_percent_of_their_polls() -> None:
    peer = RtuPeer(dead_units=set(DEAD), plan=on_the_line)
    heard: dict[str, int] = {}
    async with serial_peer(peer) as path, polling(path, heard) as owner:
        await until(lambda: len(owner.status.open_units) == len(DEAD), "three open breakers")
        heard.clear()
        peer.questions.clear()
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await until(lambda: heard.get("d1", 0) >= 20, "twenty polls")
        elapsed_s = loop.time() - began_s

    scheduled = elapsed_s / INTERVAL_S
    assert all(heard[f"d{unit}"] >= 0.95 * scheduled - 1 for unit in UNITS if unit not in DEAD)
    asked = peer.asked()
    assert sum(asked[unit] for unit in DEAD) * TIMEOUT_S <= 0.05 * elapsed_s + TIMEOUT_S


async def test_a_unit_that_comes_back_to_a_serial_bus_is_polled_again_with_right_values() -> None:
    peer = RtuPeer(dead_units=set(DEAD), plan=on_the_line)
    heard: dict[str, int] = {}
    async with serial_peer(peer) as path, polling(path, heard) as owner:
        await until(lambda: len(owner.status.open_units) == len(DEAD), "three open breakers")
        peer.dead_units.clear()
        await until(lambda: all(heard.get(f"d{unit}", 0) >= 2 for unit in DEAD), "good values of all")

    assert owner.status.open_units == []


async def test_an_adapter_that_is_pulled_out_and_plugged_in_again_is_found(tmp_path: Path) -> None:
    port = tmp_path / "ttyUSB0"
    heard: dict[str, int] = {}
    async with polling(str(port), heard) as owner:
        for _ in range(2):
            await until(lambda: owner.status.error, "the missing port to be told")
            assert "ttyUSB0 cannot be opened" in owner.status.error
            heard.clear()
            async with serial_peer(RtuPeer()) as path:
                port.symlink_to(path)
                await until(lambda: heard.get("d1", 0) >= 2, "good values")
                assert owner.status.connected
            port.unlink()
