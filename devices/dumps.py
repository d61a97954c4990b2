"""Golden dumps: recorded registers or messages of one device, and what a profile must make of them.

A dump is JSON (or YAML): `reads` (registers as four hexadecimal digits each, or bits) or `messages`, the readings
`expected`, the `texts`, and the `state`.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field

from devices.document import Mistake, Section, load_document
from devices.errors import MessageError, RegisterError
from devices.instants import format_instant, parse_instant
from devices.messages.decode import MessageDecoder
from devices.messages.observation import Observation
from devices.point import Function
from devices.profile import LoadedProfile
from devices.registers import BitDecoder, RegisterDecoder
from devices.states import equipment_state, robot_state, space_state

RECEIVED_MS = parse_instant("2026-05-01T08:00:00.000Z")  # when the messages of a dump are taken to have come
TOLERANCE = 1e-6  # of a reading, relative: floats of 32 bits carry seven digits

Word = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{4}$")]
Bit = Annotated[int, Field(ge=0, le=1)]


class Read(Section):
    """One answer: registers (`words`) or `bits` from an address on, counted from 0."""

    function: Function
    address: int = Field(ge=0, le=65_535)
    words: tuple[Word, ...] = ()
    bits: tuple[Bit, ...] = ()

    @property
    def count(self) -> int:
        """How many registers or bits."""
        return len(self.words) or len(self.bits)


class Expected(Section):
    """One observation in a message."""

    time: str | None
    numbers: dict[str, float | None] = Field(default_factory=dict)
    texts: dict[str, str] = Field(default_factory=dict)
    pose: tuple[float, float, float, str, int] | None = None
    sequence: int | None = None


class Message(Section):
    """One message, and the observations in it. Other keys are for those who check the message itself."""

    model_config = ConfigDict(extra="ignore")

    topic: str
    payload: Any
    expected: tuple[Expected, ...]


class Dump(Section):
    """A recording. Readings are in canonical units; null is a reading that has no value."""

    model_config = ConfigDict(extra="ignore")

    description: str
    source: str
    reads: tuple[Read, ...] = ()
    messages: tuple[Message, ...] = ()
    expected: dict[str, float | None] = Field(default_factory=dict)
    texts: dict[str, str] = Field(default_factory=dict)
    state: str
    robot_state: str | None = None
    space_state: str | None = None

    def mistakes(self) -> Iterable[Mistake]:
        """What single values cannot show."""
        if bool(self.reads) == bool(self.messages):
            yield Mistake((), "a dump has either reads or messages")
        for index, read in enumerate(self.reads):
            if bool(read.words) == bool(read.bits) or read.function.is_bits != bool(read.bits):
                yield Mistake(("reads", index), "words belong to holding and input, bits to coil and discrete")


def load_dump(path: Path) -> Dump:
    """A dump from its file. Raises ConfigurationError."""
    return load_document(path, Dump)


def decode_reads(profile: LoadedProfile, reads: Iterable[Read]) -> tuple[dict[str, float], dict[str, str]]:
    """The numbers (NaN: no value) and texts of every point that lies wholly inside one of the reads."""
    values: dict[str, float] = {}
    texts: dict[str, str] = {}
    for read in reads:
        inside = [
            point
            for point in profile.profile.points
            if point.function is read.function
            and point.address is not None
            and read.address <= point.address <= read.address + read.count - point.registers
        ]
        numeric = [point for point in inside if not point.is_text]
        if read.bits:
            decoded = BitDecoder(numeric, read.address).decode(np.array(read.bits, np.bool_))
        else:
            words = np.array([int(word, 16) for word in read.words], np.uint16)
            decoded = RegisterDecoder(numeric, read.address).decode(words)
            texts |= RegisterDecoder([point for point in inside if point.is_text], read.address).texts(words)
        values.update(zip([point.id for point in numeric], decoded.tolist(), strict=True))
    return values, texts


def differences(profile: LoadedProfile, dump: Dump) -> list[str]:
    """Where the profile makes something else of the dump than it says; empty when all is well."""
    if profile.pushes != bool(dump.messages):
        return [f"{profile.id} needs {'messages' if profile.pushes else 'reads'}"]
    try:
        return list(_message_differences(profile, dump) if profile.pushes else _read_differences(profile, dump))
    except RegisterError as error:
        return [str(error)]


def _read_differences(profile: LoadedProfile, dump: Dump) -> Iterator[str]:
    values, texts = decode_reads(profile, dump.reads)
    expected = {point: math.nan if value is None else value for point, value in dump.expected.items()}
    for point in [*expected, *(point for point in values if point not in expected)]:
        if not _same(values.get(point), expected.get(point)):
            yield f"{point}: expected {_shown(expected.get(point))}, found {_shown(values.get(point))}"
    for point in sorted(texts.keys() | dump.texts.keys()):
        if texts.get(point) != dump.texts.get(point):
            yield f"{point}: expected {dump.texts.get(point)!r}, found {texts.get(point)!r}"
    yield from _state_differences(profile, dump, values)


def _message_differences(profile: LoadedProfile, dump: Dump) -> Iterator[str]:
    decoder = MessageDecoder(profile)
    values: dict[str, float] = {}
    for number, message in enumerate(dump.messages, 1):
        try:
            observations = decoder.decode(message.topic, json.dumps(message.payload).encode(), RECEIVED_MS)
        except MessageError as error:
            yield f"message {number}: {error}"
            continue
        found = [_as_expected(observation) for observation in observations]
        if len(found) != len(message.expected) or not all(map(_alike, found, message.expected)):
            yield f"message {number}: expected {list(message.expected)}, found {found}"
        for observation in observations:
            values.update(observation.numbers)
    yield from _state_differences(profile, dump, values)


def _state_differences(profile: LoadedProfile, dump: Dump, values: Mapping[str, float]) -> Iterator[str]:
    states = {"state": (dump.state, equipment_state(profile, values).value)}
    if profile.kind == "robot":
        states["robot_state"] = (dump.robot_state or "", robot_state(values).value)
    if profile.kind == "space":
        states["space_state"] = (dump.space_state or "", space_state(values).value)
    for name, (expected, found) in states.items():
        if expected != found:
            yield f"{name}: expected {expected or 'nothing'}, found {found}"


def _as_expected(observation: Observation) -> Expected:
    time_ms, pose = observation.source_time_ms, observation.pose
    return Expected(
        time=None if time_ms is None else format_instant(time_ms),
        numbers={point: None if math.isnan(value) else value for point, value in observation.numbers.items()},
        texts=observation.texts,
        pose=None if pose is None else (*pose[:4], int(pose[4])),
        sequence=observation.sequence,
    )


def _alike(found: Expected, expected: Expected) -> bool:
    numbers = {point: math.nan if value is None else value for point, value in found.numbers.items()}
    wanted = {point: math.nan if value is None else value for point, value in expected.numbers.items()}
    plain = found.model_copy(update={"numbers": expected.numbers}) == expected
    return plain and numbers.keys() == wanted.keys() and all(_same(numbers[point], wanted[point]) for point in wanted)


def _same(found: float | None, expected: float | None) -> bool:
    if found is None or expected is None:
        return False
    if math.isnan(found) or math.isnan(expected):
        return math.isnan(found) and math.isnan(expected)
    return math.isclose(found, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _shown(value: float | None) -> str:
    if value is None:
        return "no such reading"
    return "no value" if math.isnan(value) else f"{value:.10g}"
