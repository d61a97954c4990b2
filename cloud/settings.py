"""What a deployment is told, and where it keeps everything. One process owns a data directory at a time."""

import fcntl
import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cloud.history.influx import InfluxSettings
from devices.errors import ConfigurationError, Permanent, Problem

INFLUX_URL = "GATEHOUSE_INFLUX_URL"
INFLUX_PARTS = ("GATEHOUSE_INFLUX_TOKEN", "GATEHOUSE_INFLUX_ORG", "GATEHOUSE_INFLUX_BUCKET")


@dataclass(frozen=True, slots=True)
class Settings:
    """What `gatehouse cloud run` is told. Port 0 lets the system choose."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8080
    influx: InfluxSettings | None = None
    sign_in: bool | None = None  # None: unless only this machine can reach it
    public_url: str = ""  # where people find the pages; messages then carry links

    @property
    def asks_who(self) -> bool:
        """Whether people sign in and scripts show keys."""
        return self.sign_in if self.sign_in is not None else not _is_loopback(self.host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def influx_from(environment: Mapping[str, str]) -> InfluxSettings | None:
    """Where else history is written, from `INFLUX_URL` and `INFLUX_PARTS`; None without a URL.

    Raises ConfigurationError when a part lacks.
    """
    url = environment.get(INFLUX_URL, "")
    if not url:
        return None
    lacking = [Problem(name, 0, 0, "is not set") for name in INFLUX_PARTS if not environment.get(name)]
    if lacking:
        raise ConfigurationError(lacking)
    return InfluxSettings(url, *(environment[name] for name in INFLUX_PARTS))


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are in a data directory."""

    root: Path

    @property
    def log(self) -> Path:
        """The frames: the one thing that cannot be computed again."""
        return self.root / "log"

    @property
    def gateways(self) -> Path:
        """Gateways and their keys."""
        return self.root / "gateways.sqlite"

    @property
    def integrity(self) -> Path:
        """What was found that no honest gateway does."""
        return self.root / "integrity.sqlite"

    @property
    def audit_key(self) -> Path:
        """What audit packages are signed with."""
        return self.root / "audit.key"

    @property
    def facts(self) -> Path:
        """Facts, inputs and records."""
        return self.root / "facts.sqlite"

    @property
    def influx_position(self) -> Path:
        """How far an InfluxDB has been told."""
        return self.root / "influx-position.json"

    @property
    def attachments(self) -> Path:
        """Files that people sent as evidence."""
        return self.root / "attachments"

    @property
    def history(self) -> Path:
        """The embedded history."""
        return self.root / "history"


class InUse(Permanent):
    """Another aggregator works in this data directory."""


@contextmanager
def owning(data_dir: Path) -> Iterator[Places]:
    """Be the one aggregator of a data directory. Raises InUse, or ConfigurationError when it cannot be used."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "aggregator.lock").open("w")
    except OSError as error:
        raise ConfigurationError([Problem(str(data_dir), 0, 0, f"cannot be used: {error.strerror}")]) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(f"another aggregator works in {data_dir}") from None
        yield Places(data_dir)
