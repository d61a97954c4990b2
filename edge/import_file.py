"""Which file an import is, and which files went in whole: the same content is never sealed twice.

A file is known by the SHA-256 of its content. Standard input is spooled to disk first, so that it is a file too.
"""

import hashlib
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from devices.errors import Permanent, StorageUnavailable
from devices.segments import write_durably
from edge.clock import RUN_BYTES

IMPORTED_FILE = "imported.json"
IMPORTED_MAX = 10_000  # names remembered; the oldest go first
SPOOL_BYTES_MAX = 16 * 1024**3
_SPOOL_FILE = "standard-input.jsonl"
_PIECE_BYTES = 1024 * 1024
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ImportFile:
    """A file at the moment it was looked at; what is appended later belongs to another one."""

    path: Path
    size: int
    sha256: str

    @property
    def run(self) -> bytes:
        """The clock run that frames of this file name: the file is their only clock."""
        return bytes.fromhex(self.sha256)[:RUN_BYTES]


class _Entry(msgspec.Struct, frozen=True):
    sha256: str
    size: int


class _Imported(msgspec.Struct, frozen=True):
    format: int
    files: tuple[_Entry, ...]


def identified(file: Path, folder: Path, abandoned: threading.Event) -> ImportFile:
    """Read a file once to know it; `-` is spooled into `folder`. Blocks.

    Raises Permanent when the file cannot be read, StorageUnavailable when the spool finds no room.
    """
    if str(file) == "-":
        return _spooled(sys.stdin.buffer, folder / _SPOOL_FILE, abandoned)
    found, size = hashlib.sha256(), 0
    try:
        with file.open("rb") as source:
            while not abandoned.is_set() and (piece := source.read(_PIECE_BYTES)):
                found.update(piece)
                size += len(piece)
    except OSError as error:
        raise Permanent(f"{file} cannot be read: {error.strerror}") from error
    return ImportFile(file, size, found.hexdigest())


def _spooled(source: BinaryIO, path: Path, abandoned: threading.Event) -> ImportFile:
    found, size = hashlib.sha256(), 0
    try:
        with path.open("wb") as spool:
            while not abandoned.is_set() and (piece := source.read(_PIECE_BYTES)):
                found.update(piece)
                size += len(piece)
                if size > SPOOL_BYTES_MAX:
                    raise Permanent(f"standard input is longer than {SPOOL_BYTES_MAX} bytes: import it in parts")
                spool.write(piece)
    except OSError as error:
        raise StorageUnavailable(f"cannot spool to {path.parent}: {error.strerror}") from error
    return ImportFile(path, size, found.hexdigest())


def was_imported(data_path: Path, file: ImportFile) -> bool:
    """Whether the cloud has confirmed all of this content before. Raises Permanent when nobody can say."""
    return any(one.sha256 == file.sha256 for one in _load(data_path / IMPORTED_FILE))


def remember(data_path: Path, file: ImportFile) -> None:
    """Note durably that the cloud has all of it. Raises StorageUnavailable."""
    path = data_path / IMPORTED_FILE
    files = (*_load(path), _Entry(file.sha256, file.size))[-IMPORTED_MAX:]
    write_durably(path, msgspec.json.encode(_Imported(_FORMAT, files)))


def _load(path: Path) -> tuple[_Entry, ...]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Imported).files
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.MsgspecError) as error:
        raise Permanent(f"{path} cannot be read, and it alone says what was imported already: {error}") from error
