"""One value of a device: where it is found, how it is written, and its unit."""

import keyword
import re
from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from devices.document import Mistake, Section
from devices.errors import Permanent
from devices.expressions import RESERVED
from devices.units import CONVERSIONS, conversion

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|min|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def duration_seconds(value: object) -> object:
    """A duration like `500ms` or `1h` in seconds; anything else unchanged. Raises ValueError."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value)
        if match is None:
            raise ValueError("expected a duration like 500ms, 10s, 5min, 1h or a number of seconds")
        seconds = float(match[1]) * _SECONDS[match[2]]
        return int(seconds) if seconds.is_integer() else seconds
    return value


Id = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}$")]
PointId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Duration = Annotated[float, BeforeValidator(duration_seconds), Field(gt=0, le=366 * 86400)]
Hold = Annotated[int, BeforeValidator(duration_seconds), Field(ge=1, le=366 * 86400)]


class Function(StrEnum):
    """Which Modbus table a point lives in."""

    HOLDING = "holding"  # function code 3
    INPUT = "input"  # 4
    COIL = "coil"  # 1
    DISCRETE = "discrete"  # 2

    @property
    def code(self) -> int:
        """The Modbus function code that reads it."""
        return {"holding": 3, "input": 4, "coil": 1, "discrete": 2}[self.value]

    @property
    def is_bits(self) -> bool:
        """Whether the table holds bits rather than 16-bit registers."""
        return self in {Function.COIL, Function.DISCRETE}


class PointType(StrEnum):
    """How a value is written: in registers, in a bit, or in a message."""

    U16 = "u16"
    S16 = "s16"
    U32 = "u32"
    S32 = "s32"
    U64 = "u64"
    S64 = "s64"
    F32 = "f32"
    F64 = "f64"
    BIT = "bit"  # one bit of a holding or input register
    BOOL = "bool"  # a coil or discrete input; a register that is not 0; a message's true or false
    STRING = "string"  # two characters a register; a message's text
    NUMBER = "number"  # a message's number


_REGISTERS = {"u16": 1, "s16": 1, "u32": 2, "s32": 2, "u64": 4, "s64": 4, "f32": 2, "f64": 4, "bit": 1, "bool": 1}
_INTEGER_BITS = {"u16": 16, "s16": 16, "u32": 32, "s32": 32, "u64": 64, "s64": 64}


class Point(Section):
    """One value of a device. A point with a unit is analogue, one without is discrete.

    Canonical value = (raw * scale + offset), in `unit`, turned into the canonical unit. With `scale_from` (the id of
    another point, a SunSpec scale factor) it is that times ten to the power of the other point's value.
    """

    id: PointId
    type: PointType
    function: Function | None = None
    address: int | None = Field(default=None, ge=0, le=65_536)
    bit: int | None = Field(default=None, ge=0, le=15)
    length: int | None = Field(default=None, ge=1, le=125)  # registers of a string
    word_order: Literal["big", "little"] = "big"
    byte_order: Literal["big", "little"] = "big"
    scale: float = 1.0
    offset: float = 0.0
    scale_from: PointId | None = None
    unit: str = ""
    invalid: tuple[int, ...] = ()
    enum: dict[int, str] = Field(default_factory=dict)
    deadband: float = Field(default=0.0, ge=0)  # canonical unit
    poll: str = "value"
    hold_s: Hold | None = None
    field: str | None = None  # json: path like `data.temp` or `values[0]`
    absent: float | None = None  # json: what a message means that leaves the field out

    @property
    def registers(self) -> int:
        """How many registers (or bits, in a table of bits) it takes."""
        return self.length or 1 if self.type is PointType.STRING else _REGISTERS.get(self.type.value, 0)

    @property
    def is_text(self) -> bool:
        """Whether its value is a text rather than a number."""
        return self.type is PointType.STRING

    @property
    def canonical_unit(self) -> str:
        """The unit of its decoded values; empty for a discrete point."""
        return conversion(self.unit).unit if self.unit else ""

    @property
    def labels(self) -> dict[str, float]:
        """Number behind each label of its enumeration."""
        return {label: float(number) for number, label in self.enum.items()}


def conversion_moves(unit: str) -> bool:
    """Whether turning a known unit into its canonical one adds something (kelvin to degrees Celsius)."""
    return unit in CONVERSIONS and CONVERSIONS[unit].offset != 0


def point_mistakes(
    point: Point, index: int, poll_classes: Collection[str], address_base: int | None
) -> Iterable[Mistake]:
    """What is wrong with the point at `index`, beyond its single values. `address_base` is None for messages."""

    def at(key: str, message: str) -> Mistake:
        return Mistake(("points", index, key), message)

    if keyword.iskeyword(point.id) or point.id in RESERVED:
        yield at("id", f"{point.id!r} is a word of the rule language")
    try:
        conversion(point.unit or "count")
    except Permanent as error:
        yield at("unit", str(error))
    if point.poll not in poll_classes and (point.poll != "value" or poll_classes):
        yield at("poll", f"unknown poll class {point.poll!r}: expected one of {', '.join(poll_classes)}")
    if point.scale == 0:
        yield at("scale", "a scale of 0 would lose the value")
    if point.deadband and not point.unit:
        yield at("deadband", "a deadband needs a unit: a point without one is discrete and reports every change")
    if point.is_text and point.unit:
        yield at("unit", "a text has no unit")
    if point.scale_from is not None and (point.offset or not point.unit or conversion_moves(point.unit)):
        yield at("scale_from", "a point scaled by another needs a unit and no offset")
    if len(set(point.enum.values())) != len(point.enum):
        yield at("enum", "two numbers have the same label")
    found = _mqtt_point(point) if address_base is None else _modbus_point(point, address_base)
    yield from (at(*mistake) for mistake in found)


def _modbus_point(point: Point, base: int) -> Iterable[tuple[str, str]]:
    kind = point.type
    if point.function is None or point.address is None:
        yield "id", "a Modbus point needs function and address"
        return
    if not base <= point.address <= 65_536 + base - max(point.registers, 1):
        yield "address", f"{point.address} is outside the table (addresses start at {base})"
    if point.absent is not None:
        yield "absent", "absent is for messages: registers are always there"
    if kind is PointType.NUMBER:
        yield "type", "number is for messages: expected u16, s16, u32, s32, u64, s64, f32, f64, bit, bool or string"
    if point.function.is_bits and kind is not PointType.BOOL:
        yield "type", f"a {point.function.value} is one bit: expected bool"
    if (kind is PointType.BIT) != (point.bit is not None):
        yield "type", "bit: 0 to 15 belongs to the type bit and only to it"
    if (kind is PointType.STRING) != (point.length is not None):
        yield "type", "length (in registers) belongs to the type string and only to it"
    bits = _INTEGER_BITS.get(kind.value)
    if point.invalid and bits is None:
        yield "invalid", "sentinels belong to integer types"
    elif bits is not None and any(not -(1 << (bits - 1)) <= raw < 1 << bits for raw in point.invalid):
        yield "invalid", f"a sentinel does not fit into {kind.value}"


def _mqtt_point(point: Point) -> Iterable[tuple[str, str]]:
    if point.absent is not None and point.is_text:
        yield "absent", "only a number can be meant by its absence"
    if point.type not in {PointType.NUMBER, PointType.BOOL, PointType.STRING}:
        yield "type", f"{point.type.value} is for registers: expected number, bool or string"
    if point.function is not None or point.address is not None:
        yield "id", "function and address belong to Modbus"
