"""What is asked of one Modbus device at one interval: its requests, their decoding, and what was learnt of it. Pure.

A device that refuses an address makes the request be split until the refused points stand alone. They are
remembered and left out; now and then one of them is tried again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from devices.errors import Permanent, RegisterError
from devices.modbus_habits import Modbus
from devices.point import Function, Point
from devices.reading import Block, Floats, Quality, Text
from devices.registers import BitDecoder, RegisterDecoder
from edge.config import Device
from edge.drivers.modbus_plan import Extent, Limits, Range, Read, join_reads, plan_reads, split_read

ILLEGAL_RETRY_MS = 60_000  # how soon a refused point is tried again: a device may answer so while it starts


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One read of a device, and how its answer becomes values."""

    device: str
    function: Function
    read: Read
    points: tuple[str, ...]  # the numeric ones, in the order of the values
    texts: tuple[str, ...]
    decoder: RegisterDecoder | BitDecoder
    text_decoder: RegisterDecoder | None
    parts: tuple[Read, ...] = ()  # what it was joined from, after a split

    def items(self, data: bytes, time_ms: int) -> list[Block | Text]:
        """The answer's values, by absolute address. `data` are the bytes behind the byte count.

        Raises RegisterError when it is not as long as was asked for.
        """
        bits = self.function.is_bits
        expected = (self.read.count + 7) // 8 if bits else 2 * self.read.count
        if len(data) != expected:
            raise RegisterError(f"{expected} bytes were asked for, {len(data)} came")
        items: list[Block | Text] = []
        if isinstance(self.decoder, BitDecoder):
            unpacked = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
            return [self._block(time_ms, self.decoder.decode(unpacked[: self.read.count].astype(np.bool_)))]
        words = np.frombuffer(data, ">u2").astype(np.uint16)
        if self.points:
            items.append(self._block(time_ms, self.decoder.decode(words)))
        if self.text_decoder is not None:
            found = self.text_decoder.texts(words)
            items += [Text(self.device, point, time_ms, text) for point, text in found.items()]
        return items

    def bad(self, time_ms: int, quality: Quality) -> Block:
        """Its points without values, and why."""
        return Block(self.device, self.points, time_ms, quality, np.full(len(self.points), np.nan))

    def _block(self, time_ms: int, values: Floats) -> Block:
        return Block(self.device, self.points, time_ms, Quality.GOOD, values)


@dataclass(slots=True)
class _Table:
    """The points of one function."""

    points: dict[str, Point]
    extents: list[Extent]
    limits: Limits


class DevicePlan:
    """The points of one device that share an interval. Keeps what was learnt of illegal addresses."""

    def __init__(self, device: Device, points: Sequence[Point], interval_s: float) -> None:
        self.device = device
        self.interval_s = interval_s
        modbus = device.profile.profile.modbus or Modbus()
        self.pause_s = modbus.frame_pause_ms / 1000
        self.timeout_s = modbus.timeout_s or 0.0
        self.sunspec = modbus.sunspec
        self.decides_state = any(point.id in device.profile.state_points for point in points)
        self._tables = _tables(points, modbus)
        self.requests: list[Request] = []
        self.illegal: list[Request] = []
        self._retry_ms = 0
        self.forget()

    def forget(self) -> None:
        """Plan as if nothing was known of the device. Raises Permanent when no read can hold a point."""
        self.illegal = []
        try:
            self.requests = [
                self._request(function, read)
                for function, table in self._tables.items()
                for read in plan_reads(table.extents, table.limits)
            ]
        except ValueError as error:
            raise Permanent(f"the profile {self.device.profile.id} cannot be read: {error}") from error

    def halves(self, request: Request) -> tuple[Request, Request] | None:
        """Two requests for one that was refused, None when its points cannot be separated."""
        split = split_read(request.read)
        return (
            None
            if split is None
            else (
                self._request(request.function, split[0]),
                self._request(request.function, split[1]),
            )
        )

    def learn(self, refused: Request, allowed: Iterable[Request], illegal: Iterable[Request], now_ms: int) -> None:
        """Ask for `allowed` in place of a refused request from now on, and leave `illegal` out.

        What was allowed is joined again where it touches; if that is refused too, it stays apart.
        """
        limits = self._tables[refused.function].limits
        reads = [part for one in allowed for part in one.parts or (one.read,)]
        apart = bool(refused.parts)
        place = self.requests.index(refused)
        self.requests[place : place + 1] = (
            [self._request(refused.function, read) for read in sorted(reads, key=lambda read: read.address)]
            if apart
            else [
                self._request(refused.function, joined, _parts(joined, reads)) for joined in join_reads(reads, limits)
            ]
        )
        self.illegal += illegal
        self._retry_ms = now_ms + ILLEGAL_RETRY_MS

    def retry(self, now_ms: int) -> Request | None:
        """An illegal request that is due to be tried again. `now_ms` is monotonic."""
        if not self.illegal or now_ms < self._retry_ms:
            return None
        self._retry_ms = now_ms + ILLEGAL_RETRY_MS
        first = self.illegal.pop(0)
        self.illegal.append(first)
        return first

    def bad(self, time_ms: int, quality: Quality) -> list[Block]:
        """All its points without values, and why."""
        return [request.bad(time_ms, quality) for request in (*self.requests, *self.illegal)]

    def _request(self, function: Function, read: Read, parts: tuple[Read, ...] = ()) -> Request:
        points = [self._tables[function].points[point] for point in read.points]
        numeric = [point for point in points if not point.is_text]
        texts = [point for point in points if point.is_text]
        return Request(
            self.device.id,
            function,
            read,
            tuple(point.id for point in numeric),
            tuple(point.id for point in texts),
            BitDecoder(numeric, read.address) if function.is_bits else RegisterDecoder(numeric, read.address),
            RegisterDecoder(texts, read.address) if texts else None,
            parts,
        )


def _parts(joined: Read, reads: Sequence[Read]) -> tuple[Read, ...]:
    return tuple(read for read in reads if set(read.extents) <= set(joined.extents))


def _ranges(blocks: Iterable[tuple[int, int]]) -> tuple[Range, ...]:
    return tuple((first, first + count - 1) for first, count in blocks)


def _tables(points: Sequence[Point], modbus: Modbus) -> dict[Function, _Table]:
    exact, forbidden = _ranges(modbus.exact_blocks), _ranges(modbus.forbidden)
    gap = 0 if modbus.no_gap else modbus.max_gap
    tables: dict[Function, _Table] = {}
    for point in points:
        if point.function is None or point.address is None:
            continue  # a profile of messages has no tables
        bits = point.function.is_bits
        edges = () if modbus.sunspec is None else (modbus.sunspec.address,)  # what lies on each side moves by itself
        registers = Limits(modbus.max_registers, gap, forbidden, exact, edges)
        limits = Limits(modbus.max_bits, gap * 16) if bits else registers
        table = tables.setdefault(point.function, _Table({}, [], limits))
        table.points[point.id] = point
        table.extents.append(Extent(point.address, max(point.registers, 1), point.id))
    return tables


def plans_of(device: Device) -> list[DevicePlan]:
    """One plan for each interval at which points of a device are read, the quickest first."""
    by_interval: dict[float, list[Point]] = {}
    for point in device.profile.profile.points:
        by_interval.setdefault(device.interval_s(point.id), []).append(point)
    return [DevicePlan(device, points, interval_s) for interval_s, points in sorted(by_interval.items())]
