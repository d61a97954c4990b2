"""What no single reading shows: silence, robots in required hours, full car parks. Looked at again when it may change.

Each lookout says when it wants to be asked again; so a tick costs in proportion to what is due, not to what there is.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple, Protocol

from cloud.alerts.alert import Key
from cloud.alerts.view import SiteView, WatchedRobot, WatchedSpace
from cloud.live import LiveDevice, LiveGateway, LiveSite
from devices.expressions import Truth
from devices.rule_kinds import MissingData, ParkingFull, RobotStates
from devices.rule_truth import concerns
from devices.rules import Rule
from devices.states import RobotState, SpaceState

AGAIN_MS = 60_000  # how often something is looked at that nothing announces
ROBOT_AGAIN_MS = 15_000
GATEWAY_SILENT_MS = 180_000  # silence of a gateway explains that of everything behind it
UNKNOWN_PERCENT_MAX = 10  # of the spaces of a group; with more, nobody can say that it is full


class Looked(NamedTuple):
    """What was seen: the truth, since when, and when to look again even if nothing is heard."""

    truth: Truth
    since_ms: int
    again_ms: int


class Lookout(Protocol):
    """One rule about one thing that time decides as well."""

    @property
    def key(self) -> Key:
        """Of its alert."""

    @property
    def rule(self) -> Rule:
        """The rule."""

    @property
    def devices(self) -> Sequence[str]:
        """Whose changes announce it."""

    def look(self, live: LiveSite, now_ms: int) -> Looked:
        """Look now."""


@dataclass(frozen=True, slots=True)
class GatewayLookout:
    """A gateway that sends nothing. Just after a start nobody can tell."""

    key: Key
    rule: Rule
    started_ms: int
    devices: Sequence[str] = ()

    def look(self, live: LiveSite, now_ms: int) -> Looked:
        """True once the silence has lasted the on-delay."""
        heard = live.gateways.get(self.key.thing)
        allowed_ms, again_ms = self.rule.delays.on_ms, now_ms + AGAIN_MS
        if heard is not None and heard.last_frame_ms:
            silent = now_ms - heard.last_frame_ms >= allowed_ms
            return Looked(silent, heard.last_frame_ms, heard.last_frame_ms + allowed_ms if not silent else again_ms)
        silent = now_ms - self.started_ms >= allowed_ms
        return Looked(silent or None, self.started_ms, self.started_ms + allowed_ms if not silent else again_ms)


@dataclass(frozen=True, slots=True)
class DeviceLookout:
    """A device that does not answer, or no longer sends, behind a gateway that does."""

    key: Key
    rule: Rule
    device: str
    point: str | None = None  # of a bank of sensors

    @property
    def devices(self) -> Sequence[str]:
        """The one."""
        return (self.device,)

    def look(self, live: LiveSite, now_ms: int) -> Looked:
        """Unknown while the gateway itself is silent or the device was never described."""
        device = live.devices.get(self.device)
        if device is None or device.info is None or not _is_alive(device.gateway, now_ms):
            return Looked(None, now_ms, now_ms + AGAIN_MS)
        if not device.info.pushes:
            held = device.held.get(self.point) if self.point is not None else None
            if not device.link_good:
                return Looked(True, device.link_ms, now_ms + AGAIN_MS)
            stopped = held is not None and held.stopped
            return Looked(stopped, held.time_ms if held is not None else device.link_ms, now_ms + AGAIN_MS)
        until_ms = device.heard_until_ms()
        if not until_ms:
            return Looked(None, now_ms, now_ms + AGAIN_MS)
        return Looked(now_ms > until_ms, until_ms, max(until_ms + 1, now_ms + 1000))


@dataclass(slots=True)
class RobotLookout:
    """A robot that does what it should not, or is not heard in its required hours."""

    key: Key
    rule: Rule
    robot: WatchedRobot
    view: SiteView
    _seen: RobotState | None = None
    _since_ms: int = 0

    @property
    def devices(self) -> Sequence[str]:
        """The one."""
        return (self.robot.device,)

    def look(self, live: LiveSite, now_ms: int) -> Looked:
        """True while it is in one of the states; never outside required hours if the rule says so."""
        again_ms = now_ms + ROBOT_AGAIN_MS
        when, device = self.rule.when, live.devices.get(self.robot.device)
        if device is None or not isinstance(when, RobotStates) or not _is_alive(device.gateway, now_ms):
            return Looked(None, now_ms, again_ms)
        state = device.robot(now_ms)
        if state is not self._seen:
            self._since_ms = _state_since_ms(device, state, now_ms)
            self._seen = state
        if not when.required_hours:
            return Looked(state.value in when.states, self._since_ms, again_ms)
        if not self.view.is_required(self.robot, now_ms):
            return Looked(False, now_ms, again_ms)
        since_ms = max(self._since_ms, self.view.required_since_ms(self.robot, now_ms))
        return Looked(state.value in when.states, since_ms, again_ms)


@dataclass(slots=True)
class ParkingLookout:
    """A parking group without a free space."""

    key: Key
    rule: Rule
    spaces: Sequence[WatchedSpace]
    devices: Sequence[str] = field(default_factory=tuple)
    _truth: Truth = None
    _since_ms: int = 0

    def look(self, live: LiveSite, now_ms: int) -> Looked:
        """True when no known space is free; unknown when too many of them are not known."""
        counts = {SpaceState.FREE: 0, SpaceState.OCCUPIED: 0, SpaceState.UNKNOWN: 0}
        newest_ms = 0
        for space in self.spaces:
            device = live.devices.get(space.device)
            state = SpaceState.UNKNOWN
            if device is not None:
                state = device.space(now_ms, space.ledger_state, space.point)
                held = device.held.get(space.point or "occupied")
                newest_ms = max(newest_ms, held.changed_ms if held is not None else 0)
            if state in counts:
                counts[state] += 1
        truth = _full(counts[SpaceState.FREE], counts[SpaceState.OCCUPIED], counts[SpaceState.UNKNOWN])
        if truth is not self._truth:
            self._truth, self._since_ms = truth, newest_ms or now_ms
        return Looked(truth, self._since_ms, now_ms + AGAIN_MS)


class Lookouts:
    """All of them, by when they want to be asked and by which device announces them."""

    def __init__(self, started_ms: int) -> None:
        self._started_ms = started_ms
        self._waiting: list[tuple[int, int, str, Lookout]] = []
        self._order = count()
        self._known: dict[str, dict[Key, Lookout]] = {}
        self._announced: dict[str, dict[str, list[Lookout]]] = {}
        self._gateways: dict[str, tuple[Lookout, ...]] = {}

    def plan(self, view: SiteView, gateways: Sequence[str], now_ms: int) -> None:
        """Look at a site by this view from now on."""
        site = view.site
        self._known[site] = known = {one.key: one for one in _lookouts(view, gateways, self._started_ms)}
        self._gateways[site] = tuple(one for one in known.values() if isinstance(one, GatewayLookout))
        announced: dict[str, list[Lookout]] = {}
        self._announced[site] = announced
        for one in known.values():
            for device in one.devices:
                announced.setdefault(device, []).append(one)
            self._push(now_ms, site, one)

    def announced(self, site: str, device: str) -> Sequence[Lookout]:
        """What a change of this device may have decided."""
        return self._announced.get(site, {}).get(device, ())

    def gateways(self, site: str) -> Sequence[Lookout]:
        """Those of the gateways of a site."""
        return self._gateways.get(site, ())

    def due(self, now_ms: int, site: str | None = None) -> Iterator[Lookout]:
        """What wants to be looked at by now, or everything of one site."""
        if site is not None:
            yield from list(self._known.get(site, {}).values())
            return
        while self._waiting and self._waiting[0][0] <= now_ms:
            _, _, of_site, one = heapq.heappop(self._waiting)
            if self._known.get(of_site, {}).get(one.key) is one:
                yield one

    def again(self, one: Lookout, at_ms: int) -> None:
        """Ask again then. For what `due` gave without a site."""
        self._push(at_ms, one.key.site, one)

    @property
    def due_ms(self) -> int | None:
        """When the next one wants to be looked at."""
        return self._waiting[0][0] if self._waiting else None

    def _push(self, at_ms: int, site: str, one: Lookout) -> None:
        heapq.heappush(self._waiting, (at_ms, next(self._order), site, one))


def _lookouts(view: SiteView, gateways: Sequence[str], started_ms: int) -> Iterator[Lookout]:
    for rule in view.rules.values():
        when = rule.when
        if isinstance(when, MissingData) and when.of == "gateway":
            yield from (GatewayLookout(Key(view.site, rule.id, one), rule, started_ms) for one in gateways)
        elif isinstance(when, MissingData):
            yield from _missing(view, rule, when)
        elif isinstance(when, RobotStates):
            yield from (RobotLookout(Key(view.site, rule.id, one.id), rule, one, view) for one in view.robots)
        elif isinstance(when, ParkingFull):
            groups: dict[str, list[WatchedSpace]] = {}
            for space in view.spaces:
                groups.setdefault(space.group, []).append(space)
            for group, spaces in groups.items():
                devices = tuple(dict.fromkeys(space.device for space in spaces))
                yield ParkingLookout(Key(view.site, rule.id, group), rule, spaces, devices)


def _missing(view: SiteView, rule: Rule, when: MissingData) -> Iterator[Lookout]:
    if when.of == "sensor":
        yield from (DeviceLookout(Key(view.site, rule.id, one.id), rule, one.device, one.point) for one in view.spaces)
        return
    robots = {robot.device for robot in view.robots}  # there is a rule of their own for them
    for one in view.equipment:
        if one.device and one.device not in robots and concerns(when, one.class_, one.criticality):
            yield DeviceLookout(Key(view.site, rule.id, one.id), rule, one.device)


def _is_alive(gateway: LiveGateway, now_ms: int) -> bool:
    return now_ms - gateway.last_frame_ms < GATEWAY_SILENT_MS


def _state_since_ms(device: LiveDevice, state: RobotState, now_ms: int) -> int:
    """Since when a robot has been in a state that was just seen: its last change, or the end of its last words."""
    until_ms = device.heard_until_ms()
    if state is RobotState.UNKNOWN and 0 < until_ms < now_ms:
        return until_ms
    return min(max((held.changed_ms for held in device.held.values()), default=now_ms), now_ms)


def _full(free: int, occupied: int, unknown: int) -> Truth:
    if free:
        return False
    if not occupied or unknown * 100 > UNKNOWN_PERCENT_MAX * (occupied + unknown):
        return None
    return True
