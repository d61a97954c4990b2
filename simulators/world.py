"""The simulated site in motion: one clock, one state, and what people do to it (faults, set points).

Time comes from `SimulatedClock`, which only adds a monotonic clock to the start it was given.
"""

import asyncio
import time
from dataclasses import replace

import numpy as np

from devices.errors import Permanent
from devices.profile import LoadedProfile
from simulators.behaviour import Behaviour, WorldState
from simulators.curves import CURVES
from simulators.modbus import SimulatedDevice
from simulators.script import Mode
from simulators.site import Equipment, Site

TICK_S = 1.0  # of simulated time


class SimulatedClock:
    """Unix ms UTC, `rate` times as fast as real time from `start_ms` on."""

    def __init__(self, start_ms: int, rate: float = 1.0) -> None:
        self.rate = rate
        self._start_ms = start_ms
        self._zero_s = time.monotonic()

    def now_ms(self) -> int:
        """Simulated time."""
        return self._start_ms + round((time.monotonic() - self._zero_s) * 1000 * self.rate)


class World:
    """The living site. `devices` are the Modbus devices by equipment id; `state` is the latest state."""

    def __init__(self, site: Site, seed: int, clock: SimulatedClock, profiles: dict[str, LoadedProfile]) -> None:
        self.site = site
        self.clock = clock
        self.devices = {one.id: SimulatedDevice(one.id, one.unit, profiles[one.profile]) for one in site.equipment}
        self.announcements = 0  # counted up when every parking sensor is asked to report
        self._behaviour = Behaviour(site, seed)
        self._rng = np.random.default_rng(seed)
        self._broken: set[str] = set()
        self._taken: dict[str, bool] = {}
        self._equipment = {one.id: one for one in site.equipment}
        self._robots = {robot.id for robot in site.robots}
        self._spaces = {space.device: index for index, space in enumerate(site.spaces) if space.device}
        self._ticked = asyncio.Condition()
        self.state = self._behaved(self._behaviour.begin(clock.now_ms(), self._rng))

    async def run(self) -> None:
        """Step once a simulated second, for ever. After a stall it goes on from the present."""
        while True:
            await asyncio.sleep(TICK_S / self.clock.rate)
            dt_s = (self.clock.now_ms() - self.state.time_ms) / 1000
            self.state = self._behaved(self._behaviour.step(self.state, dt_s, self._rng))
            async with self._ticked:
                self._ticked.notify_all()

    async def tick(self) -> WorldState:
        """The next state."""
        async with self._ticked:
            await self._ticked.wait()
        return self.state

    def fail(self, thing: str) -> None:
        """Break an equipment or robot until it is mended. Raises Permanent for an unknown or unbreakable one."""
        if thing not in self._equipment and thing not in self._robots:
            raise Permanent(f"there is no equipment or robot {thing!r}")
        self._broken.add(thing)
        self.state = self._behaved(self.state)

    def mend(self, thing: str) -> None:
        """Undo `fail`; what the day's script says goes on."""
        self._broken.discard(thing)

    def set(self, device: str, point: str, value: float) -> None:
        """Make a point of a Modbus device read `value`, or a parking sensor see a car. Raises Permanent."""
        if device in self.devices:
            self.devices[device].set(point, value)
        elif device in self._spaces and point == "occupied":
            self._taken[device] = bool(value)
            self.state = self._behaved(self.state)
        else:
            raise Permanent(f"there is no device {device!r} whose point {point!r} could be set")

    def release(self, device: str, point: str | None = None) -> None:
        """Undo `set`. Raises Permanent."""
        if device in self.devices:
            self.devices[device].release(point)
        elif self._taken.pop(device, None) is None and device not in self._spaces:
            raise Permanent(f"there is no device {device!r}")

    def silence(self, device: str, *, silent: bool) -> None:
        """Make a Modbus device stop answering, or answer again. Raises Permanent."""
        if device not in self.devices:
            raise Permanent(f"there is no Modbus device {device!r}")
        self.devices[device].silent = silent

    def announce(self) -> None:
        """Ask every parking sensor to report now, as after a power-up."""
        self.announcements += 1

    def _behaved(self, state: WorldState) -> WorldState:
        """The state with what people did to it; handed on to the Modbus devices."""
        values = dict(state.values)
        modes = dict(state.modes)
        for name in self._broken & self._equipment.keys():
            modes[name] = Mode.FAULT
            values[name] = self._broken_values(self._equipment[name], state.time_ms)
        robots = {
            name: replace(robot, driving=False, broken=True, order="") if name in self._broken else robot
            for name, robot in state.robots.items()
        }
        taken = state.taken.copy()
        for device, occupied in self._taken.items():
            taken[self._spaces[device]] = occupied
        for name, device_values in values.items():
            self.devices[name].behave(device_values)
        return WorldState(state.time_ms, modes, values, robots, taken)

    def _broken_values(self, one: Equipment, time_ms: int) -> dict[str, float]:
        day = self._behaviour.day(time_ms)
        seconds = np.array([(time_ms - day.start_ms) // 1000])
        modes = np.array([Mode.FAULT], dtype=np.int8)
        points = CURVES[one.kind](one, day.day.toordinal(), seconds, modes, np.zeros(1))
        return {point: float(array[0]) for point, array in points.items()}
