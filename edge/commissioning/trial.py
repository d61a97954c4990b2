"""One live poll of everything in a site.yaml: what each point says now, or why it says nothing."""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from devices.errors import LinkDown
from devices.reading import Block, Quality, Text
from edge.clock import Moment
from edge.config import Connection, Device, ModbusServer, Site
from edge.drivers.modbus import ModbusDriver
from edge.drivers.modbus_device import plans_of

SILENT = "no message"  # of a device that pushes and did not, while we listened


@dataclass(frozen=True, slots=True)
class Tried:
    """What one point said. `value` is None for a text and where there is none; `time_ms` is Unix ms UTC."""

    connection: str
    device: str
    point: str
    value: float | None
    text: str
    unit: str
    quality: str
    time_ms: int | None

    @property
    def is_good(self) -> bool:
        """Whether the device said something that counts, "not available" included."""
        return self.quality in {"good", "not available", "uncertain time"}

    @property
    def is_silent(self) -> bool:
        """Whether nobody answered."""
        return self.quality in {SILENT, "no answer", "no connection"}


@dataclass(frozen=True, slots=True)
class Trial:
    """Everything that was tried, in the order of site.yaml, and the connections that could not be made."""

    points: tuple[Tried, ...]
    problems: tuple[str, ...]


async def try_site(site: Site, now: Callable[[], Moment], listen_s: float) -> Trial:
    """Poll every device once and listen to every broker until each device was heard, at most `listen_s`."""
    _ = listen_s
    tasks: list[asyncio.Task[tuple[list[Tried], str]]] = []
    async with asyncio.TaskGroup() as group:
        for connection in site.config.connections:
            devices = site.devices_of(connection.id)
            work = (
                _poll(connection, connection.modbus, devices, now)
                if connection.modbus is not None
                else _listen(connection, devices)
            )
            tasks.append(group.create_task(work, name=f"try {connection.id}"))
    results = [task.result() for task in tasks]
    return Trial(
        tuple(tried for found, _ in results for tried in found),
        tuple(problem for _, problem in results if problem),
    )


async def _poll(
    connection: Connection, server: ModbusServer, devices: Sequence[Device], now: Callable[[], Moment]
) -> tuple[list[Tried], str]:
    driver = ModbusDriver(server, now)
    plans = [plan for device in devices for plan in plans_of(device)]
    items: list[Block | Text] = []
    silent: set[int] = set()
    with closing(driver):
        try:
            await driver.connect()
        except LinkDown as error:
            bad = [block for plan in plans for block in plan.bad(now().utc_ms, Quality.BAD_CONNECTION)]
            return in_order(connection.id, devices, bad), f"{connection.id}: {error}"
        for plan in plans:
            if plan.device.unit in silent:  # each of its intervals would cost a time-out
                items += plan.bad(now().utc_ms, Quality.BAD_NO_ANSWER)
                continue
            if not driver.connected:
                await _again(driver)
            polled = await driver.poll(plan)
            items += polled.items
            if polled.silent and not polled.answered:
                silent.add(plan.device.unit)
    return in_order(connection.id, devices, items), ""


async def _again(driver: ModbusDriver) -> None:
    try:
        await driver.connect()
    except LinkDown:  # the poll that follows says so for each point
        return


def in_order(connection: str, devices: Iterable[Device], items: Iterable[object]) -> list[Tried]:
    """Every point of the devices with what the last item about it said."""
    said: dict[tuple[str, str], Tried] = {}
    for item in items:
        if isinstance(item, Text):
            said[item.device, item.point] = Tried(
                connection, item.device, item.point, None, item.text, "", quality_text(item.quality), item.time_ms
            )
        elif isinstance(item, Block):
            for reading in item:
                value = None if math.isnan(reading.value) else reading.value
                said[item.device, reading.point] = Tried(
                    connection,
                    item.device,
                    reading.point,
                    value,
                    "",
                    "",
                    quality_text(reading.quality),
                    reading.time_ms,
                )
    return [
        _complete(said.get((device.id, point)), connection, device, point)
        for device in devices
        for point in device.profile.points
    ]


def _complete(tried: Tried | None, connection: str, device: Device, point: str) -> Tried:
    known = device.profile.points[point]
    if tried is None:
        return Tried(connection, device.id, point, None, "", known.canonical_unit, SILENT, None)
    label = known.enum.get(int(tried.value), "") if tried.value is not None and tried.value.is_integer() else ""
    return Tried(
        connection,
        device.id,
        point,
        tried.value,
        tried.text or label,
        known.canonical_unit,
        tried.quality,
        tried.time_ms,
    )


def quality_text(quality: Quality) -> str:
    """A quality in words."""
    if quality is Quality.BAD_CONNECTION:
        return "no connection"
    return quality.name.removeprefix("BAD_").replace("_", " ").lower()


async def _listen(connection: Connection, devices: Sequence[Device]) -> tuple[list[Tried], str]:
    return in_order(connection.id, devices, []), f"{connection.id}: brokers are not tried yet"
