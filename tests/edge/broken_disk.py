"""A disk that fails when it is told to: full, read-only, or losing power between two calls."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from devices.disk import Disk


class PowerCut(BaseException):
    """The process ends here; nobody catches it."""


class UnsyncedDisk(Disk):
    """Real files without the waiting: for tests in which no power is cut."""

    def sync(self, file: int) -> None:
        pass

    def sync_data(self, file: int) -> None:
        pass

    def sync_folder(self, folder: Path) -> None:
        pass


class BrokenDisk(UnsyncedDisk):
    """The real files of a folder, and faults on demand."""

    def __init__(self) -> None:
        self.full = False  # nothing can be allocated or created; what is allocated can be written
        self.read_only = False
        self.capacity = 2**60  # of the folder of the journal
        self.writes = self.syncs = 0
        self.before: Callable[[str, Path | None], None] = lambda *_: None  # hears of each call

    def make_folder(self, folder: Path) -> None:
        if not folder.exists():
            self._change("make_folder", folder)
        super().make_folder(folder)

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        if flags & os.O_CREAT:
            self._change("create", path)
        elif self.read_only:
            raise OSError(errno.EROFS, "Read-only file system")
        return super().open(path, flags, mode)

    def write(self, file: int, data: bytes, offset: int) -> None:
        self._write_through("write")
        self.writes += 1
        super().write(file, data, offset)

    def allocate(self, file: int, size: int) -> None:
        self._change("allocate", None)
        super().allocate(file, size)

    def sync_data(self, file: int) -> None:
        self._write_through("sync")
        self.syncs += 1
        super().sync_data(file)

    def replace(self, source: Path, target: Path) -> None:
        self._write_through("replace", target)
        super().replace(source, target)

    def unlink(self, path: Path) -> None:
        self._write_through("unlink", path)
        super().unlink(path)

    def free_bytes(self, folder: Path) -> int:
        used = sum(path.stat().st_size for path in folder.parent.rglob("*") if path.is_file())
        return 0 if self.full else max(self.capacity - used, 0)

    def _change(self, call: str, path: Path | None) -> None:
        self._write_through(call, path)
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")

    def _write_through(self, call: str, path: Path | None = None) -> None:
        self.before(call, path)
        if self.read_only:
            raise OSError(errno.EROFS, "Read-only file system")
