"""What a site.yaml makes the gateway ask, and how much of each bus that takes. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge.bus_time import data_bytes, silent_s, transfer_s
from edge.config import Connection, Device, ModbusServer, Site
from edge.drivers.modbus_device import plans_of

BUSY_WARNED = 0.8  # of the time of a bus: above that one slow device makes the others late
TURNAROUND_S = 0.02  # what a device on a bus takes to think, typically; slow ones take 50 ms
ROUND_TRIP_S = 0.02  # of a request to a TCP device in a site's network


@dataclass(frozen=True, slots=True)
class PlannedRead:
    """One request that will be sent every `interval_s`. `takes_s` is what it costs its bus, silences included."""

    connection: str
    device: str
    unit: int
    classes: tuple[str, ...]
    interval_s: float
    function: str
    address: int
    count: int
    points: tuple[str, ...]
    takes_s: float


@dataclass(frozen=True, slots=True)
class BusLoad:
    """What all reads of a connection cost. `busy` is the share of the time its busiest socket is in use; 1 is all."""

    connection: str
    where: str
    requests_per_s: float
    busy: float


@dataclass(frozen=True, slots=True)
class Misfit:
    """A bus whose reads do not fit, or hardly."""

    connection: str
    message: str
    hopeless: bool


def planned_reads(site: Site) -> list[PlannedRead]:
    """Every read of every polled device, in the order of site.yaml, the quickest interval first.

    Raises Permanent for a profile whose points no read can hold.
    """
    servers = {one.id: one.modbus for one in site.config.connections if one.modbus is not None}
    return [
        read
        for device in site.devices
        if (server := servers.get(device.connection)) is not None
        for read in _reads_of(device, server)
    ]


def _reads_of(device: Device, server: ModbusServer) -> Iterable[PlannedRead]:
    points = device.profile.points
    for plan in plans_of(device):
        for request in plan.requests:
            names = request.read.points
            classes = tuple(dict.fromkeys(points[name].poll for name in names))
            function, count = request.function, request.read.count
            takes_s = request_s(server, data_bytes(count, bits=function.is_bits), plan.pause_s)
            yield PlannedRead(
                device.connection,
                device.id,
                device.unit,
                classes,
                plan.interval_s,
                function.value,
                request.read.address,
                count,
                names,
                takes_s,
            )


def request_s(server: ModbusServer, data: int, pause_s: float) -> float:
    """What one request with an answer of `data` bytes costs, in seconds, when the device answers as they usually do."""
    if not server.is_rtu:
        return ROUND_TRIP_S + pause_s
    return max(silent_s(server), pause_s) + transfer_s(server, data) + TURNAROUND_S


def bus_loads(connections: Iterable[Connection], reads: Sequence[PlannedRead]) -> list[BusLoad]:
    """The load of each Modbus connection, in their order."""
    loads = []
    for connection in connections:
        server = connection.modbus
        if server is None:
            continue
        mine = [read for read in reads if read.connection == connection.id]
        by_unit: dict[int, float] = defaultdict(float)
        for read in mine:
            by_unit[read.unit] += read.takes_s / read.interval_s
        units = sorted(by_unit)
        busy = [sum(by_unit[unit] for unit in units[socket :: server.sockets]) for socket in range(server.sockets)]
        per_s = sum(1 / read.interval_s for read in mine)
        loads.append(BusLoad(connection.id, server.name, per_s, max(busy)))
    return loads


def misfits(loads: Iterable[BusLoad], reads: Sequence[PlannedRead]) -> list[Misfit]:
    """Buses that cannot be read as often as they are meant to be, and those that have no room for slow answers."""
    found = []
    for load in loads:
        if load.busy <= BUSY_WARNED:
            continue
        hopeless = load.busy > 1
        shares: dict[str, float] = defaultdict(float)
        for read in reads:
            if read.connection == load.connection:
                shares[read.device] += read.takes_s / read.interval_s
        heaviest = max(shares, key=lambda device: shares[device])
        what = "cannot keep its intervals" if hopeless else "leaves little room for slow answers"
        message = (
            f"{load.where} {what}: its reads need {load.busy:.0%} of the time, "
            f"most of all {heaviest} ({shares[heaviest]:.0%}); {_REMEDY}"
        )
        found.append(Misfit(load.connection, message, hopeless))
    return found


_REMEDY = "set a longer poll_interval_s, a higher baudrate, or move devices to another bus"
