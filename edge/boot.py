"""The clock runs of this boot, kept while the agent starts again: a fix that comes later is theirs, too.

The monotonic clock goes on as long as the machine does not boot, so what it is in one run says what it was in all.
"""

from pathlib import Path
from typing import Self

import msgspec
import structlog

from devices.errors import StorageUnavailable
from devices.records import ClockFix
from devices.segments import write_durably

RUNS_MAX = 32  # an agent that starts more often than that before it knows the time loses the oldest
FORMAT = 1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_log = structlog.get_logger(__name__)


class _File(msgspec.Struct, frozen=True):
    format: int
    boot: str
    runs: list[tuple[bytes, int]]
    fixes: list[ClockFix]


class Boot:
    """What was written down since the machine booted. `runs` are untrusted ones: name, and clock less monotonic."""

    def __init__(self, path: Path, boot: str) -> None:
        self._path = path
        self._boot = boot
        self.runs: list[tuple[bytes, int]] = []
        self.fixes: tuple[ClockFix, ...] = ()

    @classmethod
    def load(cls, path: Path, boot: str) -> Self:
        """What an earlier process of this boot left; nothing when there was none or its file cannot be read."""
        self = cls(path, boot)
        try:
            found = msgspec.msgpack.decode(path.read_bytes(), type=_File)
        except (OSError, msgspec.MsgspecError):
            return self
        if (found.format, found.boot) == (FORMAT, boot):
            self.runs, self.fixes = found.runs, tuple(found.fixes)
        return self

    def add(self, run: bytes, offset_ms: int) -> None:
        """Write down a run whose time is not known yet."""
        self.runs = [*self.runs, (run, offset_ms)][-RUNS_MAX:]
        self._save()

    def fixed(self, fixes: tuple[ClockFix, ...]) -> None:
        """No run waits any more; these fixes are to be repeated for as long as the machine runs."""
        self.runs, self.fixes = [], fixes
        self._save()

    def _save(self) -> None:
        data = msgspec.msgpack.encode(_File(FORMAT, self._boot, self.runs, list(self.fixes)))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self._path, data)
        except (OSError, StorageUnavailable) as error:
            _log.warning("clock runs are not written down", reason=str(error))  # sealing raises the alarm


def boot_id() -> str:
    """Another text after every boot of the machine; empty where that cannot be told."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
