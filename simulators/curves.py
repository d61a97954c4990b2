"""What devices measure, as arrays over time: load of a building, currents, speeds, contacts.

Every function takes seconds after local midnight and modes of the same shape, and gives one array a point, in
canonical units. Live simulation asks for one second, the history for a day.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from simulators.day import DAY_S
from simulators.script import Mode, Modes, Seconds
from simulators.site import Equipment, Kind, Schedule

Floats = NDArray[np.float64]
Values = dict[str, Floats]

VOLTAGE_V = 231.0
FREQUENCY_HZ = 50.0
_LOAD_HOURS = (0.0, 5.0, 6.5, 8.5, 12.0, 14.0, 18.5, 21.0, 22.5, 24.0)
_LOAD_SHARES = (0.22, 0.20, 0.30, 0.72, 0.88, 0.80, 0.92, 0.75, 0.32, 0.22)
_MINUTES = np.arange(0, DAY_S + 60, 60)
_PHASES = (("l1", 1.02, 0.6), ("l2", 0.97, -0.4), ("l3", 1.01, 0.1))  # share of the power, volts off the nominal
_METER_BORN_DAY = 739_000  # proleptic ordinal of 2024-04-23: energies count from here

# Bits of the ABB Drives status word (domain.md 2, P4).
_READY_ON, _READY_RUN, _READY_REF, _TRIPPED = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_OFF_2_INACTIVE, _OFF_3_INACTIVE, _ALARM, _AT_SETPOINT, _REMOTE = 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 9
_IDLE_WORD = _READY_ON | _READY_RUN | _OFF_2_INACTIVE | _OFF_3_INACTIVE | _REMOTE
_RUN_WORD = _IDLE_WORD | _READY_REF | _AT_SETPOINT
STATUS_WORDS = np.array(
    [_IDLE_WORD, _RUN_WORD, _RUN_WORD | _ALARM, _IDLE_WORD, _TRIPPED | _OFF_2_INACTIVE | _OFF_3_INACTIVE | _REMOTE],
    dtype=np.float64,
)


def load_share(schedule: Schedule, seconds: Seconds) -> Floats:
    """Share of the rating that is drawn, 0 to 1."""
    if schedule is Schedule.ALWAYS:
        return np.asarray(0.6 + 0.05 * np.sin(seconds / DAY_S * 2 * np.pi), dtype=np.float64)
    return np.interp(seconds / 3600, _LOAD_HOURS, _LOAD_SHARES)


def _energy_wh(one: Equipment, ordinal: int, seconds: Seconds) -> Floats:
    """Energy counted since the meter was mounted, by trapezoids of a minute: it never falls."""
    watts = one.rating_kw * 1000 * load_share(one.schedule, _MINUTES)
    steps = (watts[1:] + watts[:-1]) / 2 / 60
    counted = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray((ordinal - _METER_BORN_DAY) * counted[-1] + np.interp(seconds, _MINUTES, counted))


def meter_values(one: Equipment, ordinal: int, seconds: Seconds, _modes: Modes, noise: Floats) -> Values:
    """A three-phase meter. `noise` is about normal, one number a second asked for."""
    power = one.rating_kw * 1000 * load_share(one.schedule, seconds) * (1 + 0.03 * noise)
    factor = np.clip(0.94 + 0.01 * noise, 0.8, 1.0)
    energy = _energy_wh(one, ordinal, seconds)
    values: Values = {
        "power": power,
        "apparent_power": power / factor,
        "reactive_power": power * np.sqrt(1 / factor**2 - 1),
        "power_factor": factor,
        "frequency": FREQUENCY_HZ + 0.02 * np.clip(noise, -3, 3),
        "voltage_thd": 2.1 + 0.2 * np.abs(noise),
        "energy_import": energy,
        "energy_export": np.zeros_like(power),
        "energy_total": energy,
    }
    for phase, share, off_v in _PHASES:
        volts = VOLTAGE_V + off_v + 0.8 * np.clip(noise, -4, 4)
        values[f"voltage_{phase}"] = volts
        values[f"power_{phase}"] = power * share / 3
        values[f"current_{phase}"] = power * share / 3 / factor / volts
        values[f"power_factor_{phase}"] = factor
    return values


def drive_values(one: Equipment, _ordinal: int, seconds: Seconds, modes: Modes, noise: Floats) -> Values:
    """A variable-speed drive: status word, speed and torque in percent."""
    runs = (modes == Mode.RUNNING) | (modes == Mode.WARNING)
    speed = np.where(runs, np.clip(45 + 45 * load_share(one.schedule, seconds) + noise, 10, 100), 0.0)
    return {"status": STATUS_WORDS[modes], "speed": speed, "actual_2": np.where(runs, speed**2 / 100 * 0.85, 0.0)}


def lift_values(_one: Equipment, _ordinal: int, seconds: Seconds, modes: Modes, _noise: Floats) -> Values:
    """Eight dry contacts of a lift."""
    none = np.zeros(seconds.shape)
    return {
        "normal": (modes == Mode.RUNNING).astype(np.float64),
        "fault": (modes == Mode.FAULT).astype(np.float64),
        "inspection": (modes == Mode.INSPECTION).astype(np.float64),
        "fire": none,
        "door_blocked": (modes == Mode.WARNING).astype(np.float64),
        "trapped_alarm": none,
        "power": none + 1.0,
        "comms": none + 1.0,
    }


def panel_values(_one: Equipment, _ordinal: int, seconds: Seconds, modes: Modes, _noise: Floats) -> Values:
    """Run, fault and warning contacts; five inputs that nothing is wired to."""
    runs = (modes == Mode.RUNNING) | (modes == Mode.WARNING)
    values: Values = {
        "run": runs.astype(np.float64),
        "fault": (modes == Mode.FAULT).astype(np.float64),
        "warning": (modes == Mode.WARNING).astype(np.float64),
    }
    return values | {f"input_{number}": np.zeros(seconds.shape) for number in range(4, 9)}


Curve = Callable[[Equipment, int, Seconds, Modes, Floats], Values]
CURVES: dict[Kind, Curve] = {
    Kind.METER: meter_values,
    Kind.DRIVE: drive_values,
    Kind.LIFT: lift_values,
    Kind.PANEL: panel_values,
}
