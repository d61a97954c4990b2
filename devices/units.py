"""The closed list of canonical units, and the conversion of everything else into them.

A value is converted once, where it enters; everything behind the driver speaks canonical units only.
"""

from dataclasses import dataclass

from devices.errors import Permanent


@dataclass(frozen=True, slots=True)
class Conversion:
    """`canonical value = value * scale + offset`, in `unit`."""

    unit: str
    scale: float = 1.0
    offset: float = 0.0


DISCRETE = Conversion("")

CANONICAL = (
    "V",
    "A",
    "W",
    "var",
    "VA",
    "Wh",
    "varh",
    "Hz",
    "degC",
    "Pa",
    "m",
    "m/s",
    "m3",
    "m3/h",
    "rpm",
    "s",
    "percent",
    "ratio",
    "count",
    "lx",
    "ppm",
)

_OTHER = {
    "mV": Conversion("V", 1e-3),
    "kV": Conversion("V", 1e3),
    "mA": Conversion("A", 1e-3),
    "kW": Conversion("W", 1e3),
    "MW": Conversion("W", 1e6),
    "kvar": Conversion("var", 1e3),
    "kVA": Conversion("VA", 1e3),
    "kWh": Conversion("Wh", 1e3),
    "MWh": Conversion("Wh", 1e6),
    "kvarh": Conversion("varh", 1e3),
    "mHz": Conversion("Hz", 1e-3),
    "K": Conversion("degC", 1.0, -273.15),
    "degF": Conversion("degC", 5 / 9, -160 / 9),
    "hPa": Conversion("Pa", 1e2),
    "kPa": Conversion("Pa", 1e3),
    "mbar": Conversion("Pa", 1e2),
    "bar": Conversion("Pa", 1e5),
    "psi": Conversion("Pa", 6894.757293168361),
    "mm": Conversion("m", 1e-3),
    "cm": Conversion("m", 1e-2),
    "km": Conversion("m", 1e3),
    "km/h": Conversion("m/s", 1 / 3.6),
    "l": Conversion("m3", 1e-3),
    "l/min": Conversion("m3/h", 0.06),
    "l/s": Conversion("m3/h", 3.6),
    "ms": Conversion("s", 1e-3),
    "min": Conversion("s", 60.0),
    "h": Conversion("s", 3600.0),
    "d": Conversion("s", 86400.0),
    "%": Conversion("percent"),
    "permille": Conversion("percent", 0.1),
}

CONVERSIONS = {unit: Conversion(unit) for unit in CANONICAL} | _OTHER


def conversion(unit: str) -> Conversion:
    """How to turn a value in `unit` into its canonical unit. Raises Permanent for a unit not in the list."""
    found = CONVERSIONS.get(unit)
    if found is None:
        raise Permanent(f"unknown unit {unit!r}: expected one of {', '.join(CONVERSIONS)}")
    return found


def convert(value: float, from_unit: str) -> tuple[float, str]:
    """The value in its canonical unit, and that unit. Raises Permanent for a unit not in the list."""
    found = conversion(from_unit)
    return value * found.scale + found.offset, found.unit
