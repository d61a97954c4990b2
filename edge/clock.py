"""The agent's time: a monotonic counter plus an offset, cut into clock runs.

A run is a stretch in which the offset is only slewed; every boot and every step begins a new one. The run
is trusted when the system clock is disciplined by NTP or when a cloud answer set it. All instants are Unix
ms UTC. This is the one module of the edge that reads a clock.
"""

import ctypes
import ctypes.util
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from devices.records import ClockFix
from edge.boot import Boot

TRUSTED_UNCERTAINTY_MS_MAX = 2_000  # an answer that took longer than twice this says too little
STEP_MS = 2_000  # a larger disagreement is a step, a smaller one is slewed away
AGREES_MS = 500  # an untrusted clock that is found to be no further off is left alone
FIXES_MAX = 32  # repeated in keyframes; a clock that steps more often than that in one boot is not worth more
SLEW_PPM = 500
RUN_BYTES = 8
NTP_UNCERTAINTY_MS = 1_000  # what is claimed when the kernel says synchronised but not how well
_STA_UNSYNC = 0x0040
_TIME_ERROR = 5


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant of the agent: `utc_ms` in clock run `run`, `monotonic_ms` since the machine was started."""

    utc_ms: int
    monotonic_ms: int
    run: bytes
    trusted: bool
    uncertainty_ms: int


class Sources(Protocol):
    """Where time comes from; tests bring their own."""

    def monotonic_ms(self) -> int:
        """Milliseconds that never step."""
        ...

    def wall_ms(self) -> int:
        """The system clock, Unix ms UTC."""
        ...

    def ntp_uncertainty_ms(self) -> int | None:
        """How far a disciplined system clock may be off, None when it is not disciplined or cannot be asked."""
        ...


class SystemSources:
    """The clocks of this machine."""

    def monotonic_ms(self) -> int:
        """CLOCK_BOOTTIME in milliseconds: it goes on while the machine sleeps."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def wall_ms(self) -> int:
        """The system clock, Unix ms UTC."""
        return time.time_ns() // 1_000_000

    def ntp_uncertainty_ms(self) -> int | None:
        """What the kernel's clock discipline says (adjtimex), None when it is not synchronised."""
        return _kernel_uncertainty_ms()


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),  # the kernel writes more fields than are looked at
    )


def _kernel_uncertainty_ms() -> int | None:
    name = ctypes.util.find_library("c")
    adjtimex: Callable[..., int] | None = getattr(ctypes.CDLL(name), "adjtimex", None) if name else None
    if adjtimex is None:
        return None
    answer = _Timex()
    state = adjtimex(ctypes.byref(answer))
    if state < 0 or state == _TIME_ERROR or answer.status & _STA_UNSYNC:
        return None
    uncertainty_ms = -(-int(answer.maxerror) // 1000)
    return uncertainty_ms if 0 < uncertainty_ms <= TRUSTED_UNCERTAINTY_MS_MAX else NTP_UNCERTAINTY_MS


class Clock:
    """Gives moments. Feed it with `server_answer` and call `check` every few seconds.

    With `rate` k other than 1 the clock runs k times as fast from `start_ms` on (replay of recorded days):
    it is trusted then, and neither the cloud nor NTP moves it.
    """

    def __init__(self, sources: Sources | None = None, rate: float = 1.0, start_ms: int | None = None) -> None:
        self._sources: Sources = sources or SystemSources()
        self._rate = rate
        self._replaying = rate != 1.0 or start_ms is not None
        self._zero_ms = self._sources.monotonic_ms()
        wall_ms = self._sources.wall_ms()
        self._offset_ms = float((wall_ms if start_ms is None else start_ms) - self._zero_ms)
        self._server_offset_ms = wall_ms - self._zero_ms  # until the cloud has answered the system clock must do
        self._last_utc_ms = 0
        self._checked_ms = self._zero_ms
        self._server_disagrees_ms = 0
        self._source = ""
        self.fixes: tuple[ClockFix, ...] = ()
        self._boot: Boot | None = None
        uncertainty_ms = 0 if self._replaying else self._sources.ntp_uncertainty_ms()
        self._begin_run(trusted=uncertainty_ms is not None, uncertainty_ms=uncertainty_ms or 0)
        if self._trusted:
            self._source = "replay" if self._replaying else "ntp"

    @property
    def rate(self) -> float:
        """Seconds of this clock in a real second."""
        return self._rate

    @property
    def source(self) -> str:
        """What made the present run trusted: `ntp`, `cloud`, `replay`, or empty."""
        return self._source

    @property
    def server_disagrees_ms(self) -> int:
        """Server time minus own time at the last answer, beyond what the answer's delay explains; 0 if none."""
        return self._server_disagrees_ms

    def now(self) -> Moment:
        """The present moment. Within a run it never goes back."""
        monotonic_ms = self._monotonic_ms()
        utc_ms = max(self._last_utc_ms, round(monotonic_ms + self._offset_ms))
        self._last_utc_ms = utc_ms
        return Moment(utc_ms, monotonic_ms, self._run, self._trusted, self._uncertainty_ms)

    def remember(self, boot: Boot) -> None:
        """Take up the runs that the agent had since the machine booted; call it before the first frame is sealed."""
        if self._replaying:
            return
        now = self.now()
        self._boot = boot
        self.fixes = (*boot.fixes, *self.fixes)[-FIXES_MAX:]
        if self._trusted:
            self._fix(now, now.utc_ms, self._uncertainty_ms)
        else:
            boot.add(now.run, now.utc_ms - now.monotonic_ms)

    def calendar_ms(self) -> int | None:
        """What the dates of certificates are checked by: real time where it is known, None before it is trusted."""
        if self._replaying:
            return self.server_now_ms()
        return self.now().utc_ms if self._trusted else None

    def server_now_ms(self) -> int:
        """Server time as far as known, for tokens: what the cloud's own clock shows, never scaled."""
        return self._sources.monotonic_ms() + self._server_offset_ms

    def server_answer(self, server_time_ms: int, round_trip_ms: int) -> None:
        """Take note of the `server_time` of an answer that took `round_trip_ms`."""
        uncertainty_ms = -(-round_trip_ms // 2)
        if uncertainty_ms > TRUSTED_UNCERTAINTY_MS_MAX:
            return
        estimate_ms = server_time_ms + uncertainty_ms
        self._server_offset_ms = estimate_ms - self._sources.monotonic_ms()
        if self._replaying:
            return
        difference_ms = estimate_ms - self.now().utc_ms
        self._server_disagrees_ms = difference_ms if abs(difference_ms) > uncertainty_ms + STEP_MS else 0
        if not self._trusted:
            self._trust(estimate_ms, uncertainty_ms, "cloud")
        elif self._source == "cloud" and self._server_disagrees_ms:
            self._end_run(self.now(), estimate_ms, uncertainty_ms, "cloud")

    def check(self) -> None:
        """Compare with the system clock: slew a small difference away, step over a large one."""
        if self._replaying:
            return
        uncertainty_ms = self._sources.ntp_uncertainty_ms()
        monotonic_ms = self._sources.monotonic_ms()
        elapsed_ms, self._checked_ms = monotonic_ms - self._checked_ms, monotonic_ms
        if uncertainty_ms is None:
            return
        wall_ms = self._sources.wall_ms()
        if not self._trusted:
            self._trust(wall_ms, uncertainty_ms, "ntp")
            return
        difference_ms = wall_ms - (monotonic_ms + self._offset_ms)
        if abs(difference_ms) > STEP_MS:
            self._end_run(self.now(), wall_ms, uncertainty_ms, "ntp")
            return
        slew_ms = elapsed_ms * SLEW_PPM / 1_000_000
        self._offset_ms += max(-slew_ms, min(slew_ms, difference_ms))

    def _monotonic_ms(self) -> int:
        real_ms = self._sources.monotonic_ms()
        return real_ms if self._rate == 1.0 else self._zero_ms + round((real_ms - self._zero_ms) * self._rate)

    def _begin_run(self, *, trusted: bool, uncertainty_ms: int) -> None:
        self._run = secrets.token_bytes(RUN_BYTES)
        self._trusted = trusted
        self._uncertainty_ms = uncertainty_ms
        self._last_utc_ms = 0

    def _trust(self, utc_ms: int, uncertainty_ms: int, source: str) -> None:
        """End an untrusted run: what time it really was in it is now known.

        A clock that was nearly right is left alone: its spans stay without a seam.
        """
        now = self.now()
        difference_ms = abs(utc_ms - now.utc_ms)
        if difference_ms <= AGREES_MS:
            utc_ms, uncertainty_ms = now.utc_ms, max(uncertainty_ms, difference_ms)
        self._end_run(now, utc_ms, uncertainty_ms, source)

    def _end_run(self, now: Moment, utc_ms: int, uncertainty_ms: int, source: str) -> None:
        """Begin a new run, in which it is `utc_ms` now, and keep what that says of the times of the old one.

        A trusted run may have been wrong, too: what it sealed ahead of its time is parked until its fix comes.
        """
        self._source = source
        own = ClockFix(now.run, now.monotonic_ms, utc_ms, uncertainty_ms, source, now.utc_ms)
        self._fix(now, utc_ms, uncertainty_ms, own)
        self._offset_ms = float(utc_ms - now.monotonic_ms)
        self._server_disagrees_ms = 0
        self._begin_run(trusted=True, uncertainty_ms=uncertainty_ms)

    def _fix(self, now: Moment, utc_ms: int, uncertainty_ms: int, *more: ClockFix) -> None:
        """Keep what the true time says of the runs of this boot that did not know it."""
        older = self._boot.runs if self._boot is not None else []
        found = [
            ClockFix(run, now.monotonic_ms, utc_ms, uncertainty_ms, self._source, now.monotonic_ms + offset_ms)
            for run, offset_ms in older
            if run != now.run
        ]
        self.fixes = (*self.fixes, *found, *more)[-FIXES_MAX:]
        if self._boot is not None:
            self._boot.fixed(self.fixes)
