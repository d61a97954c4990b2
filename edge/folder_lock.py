"""One process per folder."""

import fcntl
import os
import threading
from pathlib import Path

from devices.errors import ConfigurationError, Problem, StorageUnavailable

_LOCK_FILE = "lock"


class FolderLock:
    """Holds a folder for this process until `release` or until the process dies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handle = -1
        self._lock = threading.Lock()

    def hold(self) -> None:
        """Hold the folder from now on; nothing is done when it is held already.

        Raises ConfigurationError when another process holds it, StorageUnavailable when it cannot be made.
        """
        if self._handle >= 0:
            return
        with self._lock:
            if self._handle < 0:
                self._handle = lock_folder(self._folder)

    def release(self) -> None:
        """Give the folder free."""
        with self._lock:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1


def lock_folder(folder: Path) -> int:
    """Hold a folder for this process until the handle is closed or the process dies.

    Raises ConfigurationError when another process holds it, StorageUnavailable when it cannot be made.
    """
    try:
        handle = _opened(folder)
    except OSError as error:
        raise StorageUnavailable(f"cannot write in {folder}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise ConfigurationError([Problem(str(folder), 0, 0, "another gatehouse process uses this folder")]) from None
    return handle


def _opened(folder: Path) -> int:
    path = folder / _LOCK_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return os.open(path, os.O_RDONLY)  # a read-only file system: the file of an earlier run can be locked, too
