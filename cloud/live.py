"""What each site is like now: the newest value of every point, the newest pose, what each gateway last said.

Kept in memory and fed frame by frame, in any order and any number of times: only what is newer than the known
counts. Indicators come from facts, not from here; this is for alerts and for the page. Times are Unix ms UTC.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from cloud.facts.newest import Newest
from devices.errors import ConfigurationError
from devices.frame import Content, Frame, Origin
from devices.profile import LoadedProfile, parse_profile
from devices.reading import FIRST_BAD_QUALITY, Lane, Pose, PoseFlag, Series
from devices.records import DeviceInfo, Inventory, Link, ProfileText
from devices.states import EquipmentState, RobotState, SpaceState, equipment_state, robot_state, space_state

LATE_MS = 60_000  # a frame whose span ended longer before its receipt tells of the past
HOLD_MINIMUM_S = 60  # design.md section 8, for a device whose inventory has not arrived
_log = structlog.get_logger(__name__)

Listener = Callable[[str], None]
Observer = Callable[[str, "LiveDevice", int, int], None]  # site, device, time of the change, received: Unix ms UTC


@dataclass(slots=True)
class Held:
    """The newest value of one point, since when it has been that, and until when it is known to have been."""

    value: float
    unit: str
    changed_ms: int
    confirmed_ms: int
    time_ms: int  # of the newest reading, good or bad
    stopped: bool = False  # a bad reading came after it: polls confirm it no longer


@dataclass(slots=True)
class LiveGateway:
    """What a gateway last said. `clock_offset_ms` is its clock less ours and includes the way of the frame."""

    id: str
    last_frame_ms: int = 0  # received
    span_end_ms: int = 0  # of the newest events frame, in the gateway's time
    clock_offset_ms: int | None = None
    software_version: str | None = None
    epochs: dict[Lane, str] = field(default_factory=dict)  # of the newest live frame of each lane, hex


@dataclass(slots=True)
class LiveDevice:
    """One device."""

    id: str
    gateway: LiveGateway
    info: DeviceInfo | None = None
    profile: LoadedProfile | None = None
    held: dict[str, Held] = field(default_factory=dict)
    place: Pose | None = None
    link_good: bool = True
    link_ms: int = 0
    state: EquipmentState = EquipmentState.UNKNOWN  # by the newest values, however old
    state_since_ms: int = 0

    def values(self, now_ms: int) -> dict[str, float | None]:
        """The numbers held at `now_ms`, by point; None where the time of holding is over."""
        return {point: held.value if now_ms <= self._held_until_ms(held) else None for point, held in self.held.items()}

    def equipment(self, now_ms: int) -> tuple[EquipmentState, int]:
        """State and since when. Contact lost while in FAULT stays FAULT (design.md section 8)."""
        if self.profile is None:
            return EquipmentState.UNKNOWN, self.state_since_ms
        now = equipment_state(self.profile, self.values(now_ms))
        if now is EquipmentState.UNKNOWN and self.state is not EquipmentState.UNKNOWN:
            if self.state is EquipmentState.FAULT:
                return self.state, self.state_since_ms
            ends = (self._held_until_ms(self.held[point]) for point in self.profile.state_points & self.held.keys())
            return now, min((end for end in ends if end < now_ms), default=self.state_since_ms)
        return now, self.state_since_ms

    def robot(self, now_ms: int) -> RobotState:
        """What the robot does."""
        return robot_state(self.values(now_ms))

    def space(self, now_ms: int, ledger: SpaceState | None, point: str | None = None) -> SpaceState:
        """Whether the space is free; `point` says which one of a bank of sensors watches it."""
        return space_state(self.values(now_ms), ledger, point)

    def judge(self, time_ms: int) -> None:
        """Take the state that the newest values say; `time_ms` is when the last of them came to be."""
        if self.profile is None:
            return
        state = equipment_state(self.profile, {point: held.value for point, held in self.held.items()})
        if state is not self.state:
            self.state, self.state_since_ms = state, time_ms

    def heard_until_ms(self) -> int:
        """Until when the newest of what decides its state is held; 0 for a device that never said anything."""
        named = self.profile.state_points if self.profile is not None else self.held.keys()
        return max((self._held_until_ms(self.held[point]) for point in named if point in self.held), default=0)

    def _held_until_ms(self, held: Held) -> int:
        confirmed_ms = held.confirmed_ms
        if self.link_good and not held.stopped and not (self.info is not None and self.info.pushes):
            confirmed_ms = max(confirmed_ms, self.gateway.span_end_ms)
        hold_s = self.info.hold_s if self.info is not None else HOLD_MINIMUM_S
        return confirmed_ms + hold_s * 1000


class LiveSite:
    """One site. `revision` grows with everything that arrives."""

    def __init__(self, site: str) -> None:
        self.id = site
        self.revision = 0
        self.devices: dict[str, LiveDevice] = {}
        self.gateways: dict[str, LiveGateway] = {}
        self._infos: dict[str, DeviceInfo] = {}
        self._inventory_ms: dict[str, int] = {}
        self._profiles: dict[str, LoadedProfile] = {}
        self._late_from_ms: int | None = None
        self._late_at_ms = 0
        self._received_ms = 0
        self.observer: Observer | None = None

    def mark_late(self, from_ms: int, at_ms: int) -> None:
        """Take note at `at_ms` of frames that tell of the past from `from_ms` on."""
        known = self._late_from_ms
        self._late_from_ms = from_ms if known is None else min(known, from_ms)
        self._late_at_ms = max(self._late_at_ms, at_ms)

    def take_late(self, before_ms: int) -> int | None:
        """Give, once, from when on late frames told of the past, if the last of them came before `before_ms`."""
        if self._late_from_ms is None or self._late_at_ms > before_ms:
            return None
        found, self._late_from_ms = self._late_from_ms, None
        return found

    def device(self, device: str, gateway: str) -> LiveDevice:
        """Give the device, made when it is new."""
        found = self.devices.get(device)
        if found is None:
            found = self.devices[device] = LiveDevice(device, self.gateway(gateway))
            self._describe(found)
        return found

    def gateway(self, gateway: str) -> LiveGateway:
        """Give the gateway, made when it is new."""
        return self.gateways.setdefault(gateway, LiveGateway(gateway))

    def add_profile(self, record: ProfileText) -> None:
        """Keep a profile that a gateway sent. One that cannot be used leaves its devices unknown."""
        if record.hash in self._profiles:
            return
        try:
            self._profiles[record.hash] = parse_profile(record.text, f"profile {record.hash[:12]}")
        except ConfigurationError as error:
            _log.warning("profile of a gateway cannot be used", site=self.id, hash=record.hash, problem=str(error))
            return
        for device in self.devices.values():
            self._describe(device)

    def add_inventory(self, gateway: str, record: Inventory) -> None:
        """Take the newest inventory of a gateway."""
        if record.time_ms < self._inventory_ms.get(gateway, 0):
            return
        self._inventory_ms[gateway] = record.time_ms
        self.gateway(gateway).software_version = record.software_version
        for info in record.devices:
            self._infos[info.id] = info
            self._describe(self.device(info.id, gateway))

    def apply(self, frame: Frame, received_ms: int) -> None:
        """Take what is newer than the known. Imported frames are history and say nothing about now."""
        header = frame.header
        gateway = self.gateway(header.gateway)
        self.revision += 1
        for record in frame.content.records:
            if isinstance(record, ProfileText):
                self.add_profile(record)
        if header.origin is Origin.IMPORT or header.to_ms < received_ms - LATE_MS:
            self.mark_late(header.from_ms, received_ms)
        if header.origin is Origin.IMPORT:
            return
        gateway.last_frame_ms = max(gateway.last_frame_ms, received_ms)
        self._received_ms = received_ms
        if header.to_ms >= gateway.span_end_ms:
            gateway.epochs[header.lane] = header.epoch.hex()
        for record in frame.content.records:
            if isinstance(record, Inventory):
                self.add_inventory(header.gateway, record)
            elif isinstance(record, Link):
                self._take_link(self.device(record.device, header.gateway), record)
        if header.lane is Lane.EVENTS and header.trusted and header.to_ms > gateway.span_end_ms:
            gateway.span_end_ms = header.to_ms
            gateway.clock_offset_ms = header.to_ms - received_ms
        self._take_confirmations(frame.content, header.gateway)
        self._take_numbers(frame.content, header.gateway)
        self._take_poses(frame.content, header.gateway)

    def restore(self, known: Newest) -> None:
        """Take up what the facts say, in a process that has just started. What arrived since counts more."""
        for text in known.profiles:
            self.add_profile(text)
        for gateway, inventory in known.inventories:
            self.add_inventory(gateway, inventory)
        for gateway, end_ms in known.spans.items():
            heard = self.gateway(gateway)
            heard.span_end_ms = max(heard.span_end_ms, end_ms)
        for name, newest in known.devices.items():
            device = self.device(name, newest.gateway)
            units = dict(device.info.points) if device.info is not None else {}
            for point, one in newest.values.items():
                there = device.held.get(point)
                if there is None or there.time_ms < one.from_ms:
                    stopped = point in newest.stopped
                    device.held[point] = Held(
                        one.value, units.get(point, ""), one.from_ms, one.to_ms, one.to_ms, stopped
                    )
            if not device.link_ms:
                device.link_good = "" not in newest.stopped
            if newest.pose is not None and (device.place is None or device.place.time_ms < newest.pose.time_ms):
                device.place = newest.pose
            self._judge(device, max((held.changed_ms for held in device.held.values()), default=0))
        self.revision += 1

    def _describe(self, device: LiveDevice) -> None:
        info = self._infos.get(device.id)
        if info is None:
            return
        device.info = info
        profile = self._profiles.get(info.profile_hash)
        if profile is not device.profile:
            device.profile = profile
            self._judge(device, max((held.changed_ms for held in device.held.values()), default=0))

    def _judge(self, device: LiveDevice, time_ms: int) -> None:
        """Judge a device at one moment, and let the observer see it before the next change."""
        device.judge(time_ms)
        if self.observer is not None:
            self.observer(self.id, device, time_ms, self._received_ms)

    def _take_link(self, device: LiveDevice, link: Link) -> None:
        if link.point:
            held = device.held.get(link.point)
            if held is not None and link.time_ms >= held.time_ms:
                held.stopped = not link.good
                held.confirmed_ms = max(held.confirmed_ms, link.last_ok_ms or 0)
            return
        if link.time_ms < device.link_ms:
            return
        changed = device.link_good != link.good
        device.link_ms, device.link_good = link.time_ms, link.good
        if not link.good and link.last_ok_ms is not None:
            for held in device.held.values():
                held.confirmed_ms = max(held.confirmed_ms, link.last_ok_ms)
        if changed:
            self._judge(device, link.time_ms)

    def _take_confirmations(self, content: Content, gateway: str) -> None:
        rows = content.confirmations
        if not len(rows):
            return
        touched: dict[str, LiveDevice] = {}
        columns = (rows.series, rows.changed_ms, rows.confirmed_ms, rows.value, rows.quality)
        for index, changed_ms, confirmed_ms, value, quality in zip(*(c.tolist() for c in columns), strict=True):
            if quality >= FIRST_BAD_QUALITY or value != value:  # noqa: PLR0124  the test for NaN
                continue
            series = content.series[index]
            device = self.device(series.device, gateway)
            held = device.held.get(series.point)
            if held is None or held.time_ms < changed_ms:
                device.held[series.point] = Held(value, series.unit, changed_ms, confirmed_ms, changed_ms)
                touched[device.id] = device
            elif held.value == value:
                held.confirmed_ms = max(held.confirmed_ms, confirmed_ms)
        for device in touched.values():
            self._judge(device, max(held.changed_ms for held in device.held.values()))

    def _take_numbers(self, content: Content, gateway: str) -> None:
        """Judge a device after the last of its rows with one time, so that no short fault is missed."""
        rows = content.numbers
        waiting: dict[str, int] = {}
        columns = (rows.series, rows.time_ms, rows.value, rows.quality)
        for index, time_ms, value, quality in zip(*(column.tolist() for column in columns), strict=True):
            series = content.series[index]
            device = self.device(series.device, gateway)
            before_ms = waiting.get(device.id)
            if before_ms is not None and before_ms != time_ms:
                self._judge(device, before_ms)
                del waiting[device.id]
            if _take_number(device, series, time_ms, value, quality):
                waiting[device.id] = time_ms
        for name, time_ms in waiting.items():
            self._judge(self.devices[name], time_ms)

    def _take_poses(self, content: Content, gateway: str) -> None:
        rows = content.poses
        columns = (rows.series, rows.time_ms, rows.x_mm, rows.y_mm, rows.theta_mrad, rows.map, rows.flags, rows.quality)
        for index, time_ms, x_mm, y_mm, theta_mrad, at, flags, quality in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            device = self.device(content.series[index].device, gateway)
            if quality < FIRST_BAD_QUALITY and (device.place is None or device.place.time_ms <= time_ms):
                device.place = Pose(device.id, time_ms, x_mm, y_mm, theta_mrad, rows.maps[at], PoseFlag(flags))


class LiveState:
    """Every site that was heard since this process started."""

    def __init__(self) -> None:
        self._sites: dict[str, LiveSite] = {}
        self._listeners: list[Listener] = []
        self._observer: Observer | None = None

    def site(self, site: str) -> LiveSite:
        """Give the site, made when it is new."""
        found = self._sites.get(site)
        if found is None:
            found = self._sites[site] = LiveSite(site)
            found.observer = self._observer
        return found

    def sites(self) -> Iterable[LiveSite]:
        """Every site heard."""
        return tuple(self._sites.values())

    def listen(self, listener: Listener) -> None:
        """Call `listener` with the site after frames were taken."""
        self._listeners.append(listener)

    def observe(self, observer: Observer) -> None:
        """Call `observer` at each moment at which a device changed, in the order of arrival.

        So it sees what came and went within one frame. There is one observer; it must not block.
        """
        self._observer = observer
        for site in self._sites.values():
            site.observer = observer

    def frames_arrived(self, site: str, frames: Sequence[Frame], received_ms: int) -> None:
        """Take frames. This is a listener of the processor; it belongs to the event loop's thread."""
        live = self.site(site)
        for frame in frames:
            live.apply(frame, received_ms)
        for listener in self._listeners:
            listener(site)


def _take_number(device: LiveDevice, series: Series, time_ms: int, value: float, quality: int) -> bool:
    """Whether the value may have changed the device's state."""
    held = device.held.get(series.point)
    good = quality < FIRST_BAD_QUALITY and value == value  # noqa: PLR0124  the test for NaN
    if held is None:
        if good:
            device.held[series.point] = Held(value, series.unit, time_ms, time_ms, time_ms)
        return good
    if time_ms < held.time_ms:
        return False
    held.time_ms = time_ms
    held.stopped = not good
    if not good:
        return False
    held.confirmed_ms = max(held.confirmed_ms, time_ms)
    if held.value == value:
        return False
    held.value, held.changed_ms = value, time_ms
    return True
