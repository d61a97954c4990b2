"""What a product is: its points, how to read them, and what they mean. One YAML file a product."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field

from devices.document import Mistake, Section, parse_document, read_text
from devices.expressions import Expression, ExpressionMistake, compile_expression
from devices.messages.json_mapping import parse_path
from devices.messages.pose_mapping import PoseMapping
from devices.modbus_habits import Modbus
from devices.point import Duration, Function, Hold, Id, Point, PointId, PointType, point_mistakes
from devices.reading import Series
from devices.records import DeviceInfo, ProfileText
from devices.states import BANK_STATE_PREFIX, BARRIER_STATE_POINTS, ROBOT_STATE_POINTS, SPACE_STATE_POINTS, StateRules

__all__ = [
    "Function",
    "LoadedProfile",
    "Point",
    "PointType",
    "Profile",
    "load_profile",
    "load_profiles",
    "packaged_ids",
    "packaged_profile",
    "parse_profile",
]

PROFILES_FOLDER = Path(__file__).parent / "profiles"
POINTS_MAX = 2000
SIGNALS_MAX = 50
HOLD_POLLS = 3  # a value is held for three missed polls (design.md 8) ...
HOLD_S_MIN = 60  # ... and never less than a minute
DEFAULT_POLL_S = 10.0
POSE_POINT = "pose"


class Source(Section):
    """Where the numbers of a profile come from and how far they were checked."""

    document: str
    verified: Literal["spec", "manual", "implementation", "unverified"]


class Tags(Section):
    """Names of the thing in the vocabularies of others."""

    haystack: tuple[str, ...] = ()
    brick: str = ""


class Mqtt(Section):
    """Which messages the device sends. `lorawan` is ChirpStack v4 or The Things Stack v3, told apart by shape."""

    message: Literal["vda5050", "lorawan", "json"]
    codec: (
        Literal[
            "nwave-nps405",
            "nwave-nps405-v1",
            "nwave-nps310",
            "nwave-ncc405",
            "bosch-tps110",
            "netvox-r719a",
            "milesight-vs34x",
        ]
        | None
    ) = None
    time: str | None = None  # json: path of the time of measurement, RFC 3339 or Unix s or ms
    pose: PoseMapping | None = None


class States(Section):
    """The state rules of an equipment, as expressions (`devices.expressions`)."""

    fault: str
    ext: str | None = None
    degraded: str | None = None
    run: str | None = None


class Profile(Section):
    """A product. `hold_s` is required for devices that push.

    Alert rules know no points: `signals` are named conditions (expressions like the state rules), `measures` named
    points.
    """

    id: Id
    product: str = ""
    kind: Literal["equipment", "robot", "space", "space-bank", "barrier"] = "equipment"
    source: Source
    tags: Tags = Tags()
    modbus: Modbus | None = None
    mqtt: Mqtt | None = None
    poll: dict[str, Duration] = Field(default_factory=dict)
    hold_s: Hold | None = None
    points: tuple[Point, ...] = Field(min_length=1, max_length=POINTS_MAX)
    states: States | None = None
    signals: dict[PointId, str] = Field(default_factory=dict, max_length=SIGNALS_MAX)
    measures: dict[PointId, PointId] = Field(default_factory=dict, max_length=SIGNALS_MAX)

    def mistakes(self) -> Iterable[Mistake]:
        """What single values cannot show."""
        yield from self._transport_mistakes()
        yield from self._kind_mistakes()
        base = self.modbus.address_base if self.modbus is not None else None
        seen: set[str] = set()
        for index, point in enumerate(self.points):
            if point.id in seen:
                yield Mistake(("points", index, "id"), f"the point {point.id!r} stands here twice")
            seen.add(point.id)
            yield from point_mistakes(point, index, self.poll, base)
        yield from self._scale_mistakes()
        yield from self._role_mistakes()
        _, mistakes = _compile_rules(self)
        yield from mistakes

    def _role_mistakes(self) -> Iterable[Mistake]:
        """What alert rules will ask for must be there."""
        if self.signals and self.states is None:
            yield Mistake(("signals",), "signals need states: without them nothing is evidence")
        units = {point.id: point.unit for point in self.points}
        for name, point in self.measures.items():
            if not units.get(point):
                yield Mistake(("measures", name), f"{point!r} is no point with a unit")

    def _scale_mistakes(self) -> Iterable[Mistake]:
        """A scale factor must come with what it scales: in one read that is never split."""
        points = {point.id: point for point in self.points}
        blocks = self.modbus.exact_blocks if self.modbus is not None else ()
        for index, point in enumerate(self.points):
            if point.scale_from is None:
                continue
            factor = points.get(point.scale_from)
            if factor is None or factor.unit or factor.is_text:
                yield Mistake(("points", index, "scale_from"), f"{point.scale_from!r} is no point without a unit")
            elif (factor.function, factor.poll) != (point.function, point.poll) or not any(
                _inside(first, count, point) and _inside(first, count, factor) for first, count in blocks
            ):
                message = f"{point.id} and {factor.id} must share function, poll class and one of the exact_blocks"
                yield Mistake(("points", index, "scale_from"), message)

    def _transport_mistakes(self) -> Iterable[Mistake]:
        if (self.modbus is None) == (self.mqtt is None):
            yield Mistake(("id",), "a profile has either modbus or mqtt")
        if self.modbus is not None:
            yield from self._modbus_mistakes(self.modbus)
        if self.mqtt is not None and self.hold_s is None:
            yield Mistake(("mqtt",), "hold_s is required for a device that pushes")
        if self.mqtt is not None and self.mqtt.message == "json":
            yield from self._path_mistakes(self.mqtt)
        if self.mqtt is not None and (self.mqtt.message == "lorawan") != (self.mqtt.codec is not None):
            yield Mistake(("mqtt",), "a codec belongs to lorawan messages and only to them")
        if self.mqtt is not None and self.mqtt.pose is not None:
            if self.mqtt.message != "json" or self.kind != "robot":
                yield Mistake(("mqtt", "pose"), "a pose is mapped from json messages of a robot")
            yield from (Mistake(("mqtt", "pose"), complaint) for complaint in self.mqtt.pose.complaints())

    def _modbus_mistakes(self, modbus: Modbus) -> Iterable[Mistake]:
        """Points that no read can hold, or that a SunSpec device may keep in two places."""
        sunspec = modbus.sunspec
        if sunspec is not None and sunspec.address <= sunspec.common_address:
            yield Mistake(("modbus", "sunspec"), "the model lies behind the common one")
        for index, point in enumerate(self.points):
            if point.address is None or point.function is None:
                continue
            end = point.address + max(point.registers, 1)
            if not point.function.is_bits and point.registers > modbus.max_registers:
                yield Mistake(("points", index, "type"), f"no read of {modbus.max_registers} registers holds it")
            if any(first < end and point.address < first + count for first, count in modbus.forbidden):
                yield Mistake(("points", index, "address"), "lies in a forbidden range")
            if sunspec is not None and point.function is not Function.HOLDING:
                yield Mistake(("points", index, "function"), "SunSpec keeps everything in holding registers")
            if sunspec is not None and point.address < sunspec.address < end:
                yield Mistake(("points", index, "address"), "reaches from one SunSpec model into another")

    def _path_mistakes(self, mqtt: Mqtt) -> Iterable[Mistake]:
        paths: list[tuple[tuple[str | int, ...], str | None]] = [
            *((("points", index, "field"), point.field) for index, point in enumerate(self.points)),
            *((("mqtt", "pose", key), path) for key, path in (mqtt.pose.paths if mqtt.pose else {}).items()),
            (("mqtt", "time"), mqtt.time),
        ]
        for place, path in paths:
            try:
                parse_path(path if path is not None else "unset")
            except ValueError as error:
                yield Mistake(place, str(error))

    def _kind_mistakes(self) -> Iterable[Mistake]:
        known = {point.id for point in self.points}
        missing = sorted(_fixed_state_points(self) - known)
        if missing:
            yield Mistake(("points",), f"a {self.kind} needs the points {', '.join(missing)}")
        if self.kind == "space-bank" and not _fixed_state_points(self):
            yield Mistake(("points",), f"a space-bank needs points {BANK_STATE_PREFIX}1, {BANK_STATE_PREFIX}2, ...")
        if self.kind != "equipment" and self.states is not None:
            yield Mistake(("states",), f"a {self.kind} has fixed state rules")


def _inside(first: int, count: int, point: Point) -> bool:
    address = point.address if point.address is not None else -1
    return first <= address and address + point.registers <= first + count


def _fixed_state_points(profile: Profile) -> frozenset[str]:
    if profile.kind == "space-bank":
        return frozenset(point.id for point in profile.points if point.id.startswith(BANK_STATE_PREFIX))
    fixed = {"robot": ROBOT_STATE_POINTS, "space": SPACE_STATE_POINTS, "barrier": BARRIER_STATE_POINTS}
    return fixed.get(profile.kind, frozenset())


def _compile_rules(profile: Profile) -> tuple[StateRules | None, list[Mistake]]:
    if profile.states is None:
        return None, []
    numeric = [point for point in profile.points if not point.is_text]
    points = {point.id for point in numeric}
    analogue = {point.id for point in numeric if point.unit}
    labels = {point.id: point.labels for point in numeric if point.enum}
    rules: dict[str, Expression] = {}
    mistakes: list[Mistake] = []
    texts = {("states", name): getattr(profile.states, name) for name in ("fault", "ext", "degraded", "run")}
    texts |= {("signals", name): text for name, text in profile.signals.items()}
    signals: dict[str, Expression] = {}
    for (group, name), text in texts.items():
        if text is None:
            continue
        try:
            found = compile_expression(text, points, analogue, labels)
        except ExpressionMistake as mistake:
            mistakes.append(Mistake((group, name), f"{name}: {mistake}", mistake.offset))
            continue
        (rules if group == "states" else signals)[name] = found
    return (StateRules(**rules, signals=signals) if "fault" in rules else None), mistakes


@dataclass(frozen=True)
class LoadedProfile:
    """A profile with its text and compiled rules. Addresses of `profile.points` are PDU addresses (from 0)."""

    profile: Profile
    text: str
    hash: str  # SHA-256 of the text, hex
    rules: StateRules | None

    @property
    def id(self) -> str:
        """The profile's id."""
        return self.profile.id

    @property
    def kind(self) -> str:
        """equipment, robot, space, space-bank or barrier."""
        return self.profile.kind

    @property
    def pushes(self) -> bool:
        """Whether the device sends by itself; else it is polled."""
        return self.profile.mqtt is not None

    @cached_property
    def points(self) -> dict[str, Point]:
        """Every point by id, in the profile's order."""
        return {point.id: point for point in self.profile.points}

    @cached_property
    def state_points(self) -> frozenset[str]:
        """The points that decide the state or a signal: named by a rule, or fixed for robots and spaces."""
        return self.rules.points if self.rules is not None else _fixed_state_points(self.profile)

    @cached_property
    def discrete_points(self) -> frozenset[str]:
        """The numeric points without a unit: every change is reported."""
        return frozenset(point.id for point in self.profile.points if not point.unit and not point.is_text)

    @cached_property
    def analogue_state_points(self) -> frozenset[str]:
        """State points with a unit: reported when a comparison they stand in flips."""
        return self.state_points - self.discrete_points

    @cached_property
    def text_points(self) -> frozenset[str]:
        """The points whose values are texts."""
        return frozenset(point.id for point in self.profile.points if point.is_text)

    @property
    def state_poll_interval_s(self) -> float:
        """Of the slowest point that decides the state, in seconds; 0 for a device that pushes."""
        if self.pushes:
            return 0.0
        return max((self.poll_interval_s(point) for point in self.state_points), default=self.slowest_poll_s)

    @property
    def slowest_poll_s(self) -> float:
        """Of all its points, in seconds."""
        return max(self.poll_interval_s(point.id) for point in self.profile.points)

    @property
    def hold_s(self) -> int:
        """How long a state input is held after its last confirmation, in seconds, at the profile's own intervals."""
        return self.hold_for()

    def poll_interval_s(self, point: str, slowed_to_s: float | None = None) -> float:
        """How often a point is read. `slowed_to_s` is the site's poll_interval_s: it can only slow down."""
        return max(self.profile.poll.get(self.points[point].poll, DEFAULT_POLL_S), slowed_to_s or 0.0)

    def hold_for(self, slowed_to_s: float | None = None) -> int:
        """`hold_s` at a site that slows the polls: the profile's value, else max(3 polls, 60 s), rounded up."""
        if self.profile.hold_s is not None:
            return self.profile.hold_s
        return max(math.ceil(HOLD_POLLS * max(self.state_poll_interval_s, slowed_to_s or 0.0)), HOLD_S_MIN)

    def unit_of(self, point: str) -> str:
        """The canonical unit of a point, empty for discrete points and texts."""
        return self.points[point].canonical_unit

    def series(self, device: str, point: str, slowed_to_s: float | None = None) -> Series:
        """The series of one point of a device; `hold_s` is 0 for points that are no state input."""
        hold_s = 0
        if point in self.state_points:
            hold_s = self.points[point].hold_s or self.hold_for(slowed_to_s)
        return Series(device, point, self.unit_of(point), hold_s)

    def device_info(self, device: str, slowed_to_s: float | None = None, connection: str = "") -> DeviceInfo:
        """The inventory entry of a device of this profile."""
        interval_s = 0.0 if self.pushes else max(self.state_poll_interval_s, slowed_to_s or 0.0)
        points = tuple((point.id, point.canonical_unit) for point in self.profile.points)
        hold_s = self.hold_for(slowed_to_s)
        return DeviceInfo(device, self.id, self.hash, points, interval_s, hold_s, self.pushes, connection)

    def record(self) -> ProfileText:
        """The text as it travels in a frame."""
        return ProfileText(self.hash, self.text)


def parse_profile(text: str, name: str) -> LoadedProfile:
    """A profile from its text; `name` is the file to blame. Raises ConfigurationError with every problem."""
    profile = parse_document(text, name, Profile)
    rules, _ = _compile_rules(profile)
    if profile.modbus is not None and profile.modbus.address_base:
        profile = _from_zero(profile, profile.modbus)
    return LoadedProfile(profile, text, hashlib.sha256(text.encode()).hexdigest(), rules)


def load_profile(path: Path) -> LoadedProfile:
    """The profile in a file. Raises ConfigurationError with every problem."""
    return parse_profile(read_text(path), str(path))


def _from_zero(profile: Profile, modbus: Modbus) -> Profile:
    base = modbus.address_base
    points = tuple(point.model_copy(update={"address": (point.address or 0) - base}) for point in profile.points)
    blocks = tuple((first - base, count) for first, count in modbus.exact_blocks)
    forbidden = tuple((first - base, count) for first, count in modbus.forbidden)
    modbus = modbus.model_copy(update={"address_base": 0, "exact_blocks": blocks, "forbidden": forbidden})
    return profile.model_copy(update={"points": points, "modbus": modbus})


def load_profiles() -> dict[str, LoadedProfile]:
    """All packaged profiles, by id."""
    return {profile_id: packaged_profile(profile_id) for profile_id in packaged_ids()}


def packaged_ids() -> list[str]:
    """The ids of the packaged profiles: the names of their files."""
    return sorted(path.stem for path in PROFILES_FOLDER.glob("*.yaml"))


@cache
def packaged_profile(profile_id: str) -> LoadedProfile:
    """One of `packaged_ids`."""
    return load_profile(PROFILES_FOLDER / f"{profile_id}.yaml")
