"""The errors of Gatehouse.

GatehouseError
├── Transient                 waiting helps: try again later
│   ├── LinkDown              the other side did not answer or the connection broke
│   └── StorageUnavailable    disk full, read-only, or an I/O error
└── Permanent                 waiting does not help: the input or the set-up is wrong
    ├── ConfigurationError    one or more problems in a configuration file, each with its place
    ├── RegisterError         register words that cannot be turned into a value, or the reverse
    ├── MessageError          a payload that is not what its decoder expects
    ├── FrameError
    │   ├── DamagedFrame      the bytes are not a whole frame: ask for them again
    │   ├── UnknownVersion    a genuine frame of a newer format
    │   └── WrongSignature    the signature or hash does not belong to the bytes
    └── Refused               the other side looked at it and said no
"""

from collections.abc import Sequence
from dataclasses import dataclass


class GatehouseError(Exception):
    """Anything Gatehouse itself reports. `str()` is one sentence for the person who can act on it."""


class Transient(GatehouseError):
    """Waiting helps."""


class LinkDown(Transient):
    """The other side did not answer, or the connection broke."""


class StorageUnavailable(Transient):
    """The disk is full, read-only, or answers with an I/O error."""


class Permanent(GatehouseError):
    """Waiting does not help."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration file. Line and column count from 1; 0 means the whole file."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.message}"


class ConfigurationError(Permanent):
    """A configuration cannot be used. Names every problem at once, so that one edit can mend them all."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RegisterError(Permanent):
    """Register words that cannot be turned into a value, or a value that does not fit its registers."""


class MessageError(Permanent):
    """A payload that is not what its decoder expects."""


class FrameError(Permanent):
    """A frame that cannot be used."""


class DamagedFrame(FrameError):
    """The bytes are not a whole frame."""


class UnknownVersion(FrameError):
    """A frame of a format this version does not know."""


class WrongSignature(FrameError):
    """The signature or hash does not belong to the bytes."""


class Refused(Permanent):
    """The other side looked at it and said no."""
