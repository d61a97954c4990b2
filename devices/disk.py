"""What stores ask of a file system: the one place that writes files of segments and cursors.

Whoever wants to see a store on a failing disk hands in a `Disk` that fails. Every method raises OSError.
"""

import os
from pathlib import Path


class Disk:
    """The file system of this machine. Methods block."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder and those above it, if they are not there."""
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, path: Path, flags: int, mode: int = 0o600) -> int:
        """A file descriptor. `os.close` it."""
        return os.open(path, flags, mode)

    def write(self, file: int, data: bytes, offset: int) -> None:
        """Write all of `data` at an offset."""
        view = memoryview(data)
        while view:
            written = os.pwrite(file, view, offset)
            view, offset = view[written:], offset + written

    def allocate(self, file: int, size: int) -> None:
        """Make sure that the first `size` bytes have their place on the disk; new ones are zeros."""
        os.posix_fallocate(file, 0, size)

    def sync_data(self, file: int) -> None:
        """Make the content durable (fdatasync)."""
        os.fdatasync(file)

    def sync(self, file: int) -> None:
        """Make content and size durable (fsync)."""
        os.fsync(file)

    def sync_folder(self, folder: Path) -> None:
        """Make names that were created or removed in a folder durable."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def replace(self, source: Path, target: Path) -> None:
        """Give a file another's name, all at once."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """Remove a file, if it is there."""
        path.unlink(missing_ok=True)

    def free_bytes(self, folder: Path) -> int:
        """What a program without privileges may still write on the file system of a folder."""
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize


MACHINE = Disk()
