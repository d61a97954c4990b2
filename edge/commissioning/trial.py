"""One live poll of everything in a site.yaml: what each point says now, or why it says nothing."""

import asyncio
import math
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from devices.errors import LinkDown
from devices.profile import POSE_POINT
from devices.reading import Block, Pose, Quality, Text
from edge.clock import Moment
from edge.config import Connection, Device, ModbusServer, Site
from edge.drivers.modbus import ModbusDriver
from edge.drivers.modbus_device import plans_of
from edge.drivers.mqtt import MqttDriver

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
    tasks: list[asyncio.Task[tuple[list[Tried], str]]] = []
    async with asyncio.TaskGroup() as group:
        for connection in site.config.connections:
            devices = site.devices_of(connection.id)
            work = (
                _poll(connection, connection.modbus, devices, now)
                if connection.modbus is not None
                else _listen(site, connection, devices, now, listen_s)
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
        elif isinstance(item, Pose):
            text = f"x {item.x_mm / 1000:.2f} m, y {item.y_mm / 1000:.2f} m on {item.map_id}"
            quality = quality_text(item.quality)
            said[item.device, POSE_POINT] = Tried(
                connection, item.device, POSE_POINT, None, text, "", quality, item.time_ms
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
    heard = {device for device, _ in said}
    found = []
    for device in devices:
        points = [*device.profile.points, *([POSE_POINT] if (device.id, POSE_POINT) in said else [])]
        if device.pushes and device.id in heard:  # a message seldom carries every point
            points = [point for point in points if (device.id, point) in said]
        found += [_complete(said.get((device.id, point)), connection, device, point) for point in points]
    return found


def _complete(tried: Tried | None, connection: str, device: Device, point: str) -> Tried:
    known = device.profile.points.get(point)
    unit = "" if known is None else known.canonical_unit
    if tried is None:
        return Tried(connection, device.id, point, None, "", unit, SILENT, None)
    if known is None or tried.value is None or not tried.value.is_integer():
        return replace(tried, unit=unit)
    return replace(tried, unit=unit, text=known.enum.get(int(tried.value), ""))


def quality_text(quality: Quality) -> str:
    """A quality in words."""
    if quality is Quality.BAD_CONNECTION:
        return "no connection"
    return quality.name.removeprefix("BAD_").replace("_", " ").lower()


async def _listen(
    site: Site, connection: Connection, devices: Sequence[Device], now: Callable[[], Moment], listen_s: float
) -> tuple[list[Tried], str]:
    broker = connection.mqtt
    if broker is None:
        return in_order(connection.id, devices, []), ""
    identifier = f"gatehouse/try/{secrets.token_hex(8)}"  # not the agent's: it may be running
    driver = MqttDriver(broker, devices, now, identifier, folder=site.folder, keep_session=False)
    items: list[object] = []
    waiting = {device.id for device in devices}
    try:
        async with asyncio.timeout(listen_s), driver:
            async for heard in driver:
                items += heard.items
                waiting -= {item.device for item in heard.items}
                if not waiting:
                    break
    except LinkDown as error:
        return in_order(connection.id, devices, items), f"{connection.id}: {error}"
    except TimeoutError:  # what was heard until then is shown, the rest as silent
        pass
    rejected = "".join(f"; {count} rejected: {reason}" for reason, count in _rejected(driver))
    problem = f"{connection.id}: no message of {', '.join(sorted(waiting))} in {listen_s:g} s" if waiting else ""
    return in_order(connection.id, devices, items), problem + rejected if waiting else ""


def _rejected(driver: MqttDriver) -> list[tuple[str, int]]:
    return sorted(driver.counts.rejected.items())
