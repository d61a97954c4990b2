"""What the rules of one site look at: things of the ledger, their devices, and the rules as they hold here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Protocol
from zoneinfo import ZoneInfo

from devices.rules import Rule
from devices.states import SpaceState

Span = tuple[int, int]
EVERYTHING = ""  # of drills: on all of the site


@dataclass(frozen=True, slots=True)
class Watched:
    """One equipment as the rules see it."""

    id: str
    device: str
    criticality: str
    class_: str = ""


@dataclass(frozen=True, slots=True)
class WatchedRobot:
    """A robot; `required` are minutes [from, to) of the local day in which one of its zones must be patrolled."""

    id: str
    device: str
    required: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class WatchedSpace:
    """A parking space with a sensor."""

    id: str
    group: str
    device: str
    point: str | None = None
    ledger_state: SpaceState | None = None


@dataclass(frozen=True)
class SiteView:
    """One site. A new object whenever anything in it changed. `drills` are [from, to) in Unix ms UTC by equipment."""

    site: str
    rules: Mapping[str, Rule]
    equipment: Sequence[Watched] = ()
    robots: Sequence[WatchedRobot] = ()
    spaces: Sequence[WatchedSpace] = ()
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    drills: Mapping[str, Sequence[Span]] = field(default_factory=dict)

    @cached_property
    def things(self) -> frozenset[str]:
        """Everything that an alert of a device can be about."""
        groups = {one.group for one in self.spaces}
        return frozenset(
            groups.union(*({one.id for one in named} for named in (self.equipment, self.robots, self.spaces)))
        )

    def is_drill(self, thing: str, at_ms: int) -> bool:
        """Whether an exercise was going on with this thing."""
        spans = [*self.drills.get(EVERYTHING, ()), *self.drills.get(thing, ())]
        return any(from_ms <= at_ms < to_ms for from_ms, to_ms in spans)

    def is_required(self, robot: WatchedRobot, at_ms: int) -> bool:
        """Whether one of the robot's zones must be patrolled at a moment."""
        local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        return any(begin <= minute < end for begin, end in robot.required)

    def required_since_ms(self, robot: WatchedRobot, at_ms: int) -> int:
        """When the required hours that go on at a moment began, `at_ms` when there are none."""
        local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        begins = [begin for begin, end in robot.required if begin <= minute < end]
        if not begins:
            return at_ms
        begun = local.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(minutes=min(begins))
        return int(begun.timestamp() * 1000)


class Watch(Protocol):
    """What there is to watch. Answers at once, from memory; `refresh` blocks and is called in a thread."""

    def refresh(self) -> None:
        """Take up what was entered since."""

    def sites(self) -> Iterable[str]:
        """Every site."""

    def view(self, site: str) -> SiteView:
        """What the rules of a site look at; the same object while nothing changed."""

    def gateways(self, site: str) -> Iterable[str]:
        """Gateways of a site that were heard at least once since they were registered."""
