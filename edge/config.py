"""The gateway's site.yaml: what it may say, cross checks, and the devices that come of it."""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo

from devices.document import Mistake, SecretText, Section, load_document
from devices.expectations import nearest_key
from devices.known_profiles import known_profiles
from devices.point import Duration, Id
from devices.profile import LoadedProfile
from devices.reading import Series
from devices.rule_kinds import ClassName, Criticality
from edge.alert_settings import AlertSettings, alert_mistakes
from edge.journal_settings import JournalSettings

DEVICES_MAX = 10_000
TOPIC_BYTES_MAX = 65_535  # MQTT 3.1.1, 1.5.3
UNIT_MAX = 255  # 248 to 255 are reserved on a bus, but TCP devices answer to 255
BUS_UNIT_MAX = 247
_TOPIC_LEVEL = re.compile(r"[^+#\x00]*|\+")


class Cloud(Section):
    """Where frames go. Plain http only to this machine, unless `allow_plain_http`."""

    url: str
    ca_file: str | None = None
    bandwidth_bytes_s: int | None = Field(default=None, ge=1_000)
    allow_plain_http: bool = False


class ModbusServer(Section):
    """A Modbus TCP server (`host`), a converter to an RTU bus (`host`, `framer: rtu`) or a serial line (`serial`).

    `timeout_s` is how long an answer may take, `sockets` how many a TCP server takes at once. `baudrate`,
    `parity` and `stopbits` are those of the line, also of one behind a converter.
    """

    host: str | None = Field(default=None, min_length=1, max_length=253)
    port: int = Field(default=502, ge=1, le=65_535)
    framer: Literal["tcp", "rtu"] = "tcp"
    serial: str | None = Field(default=None, min_length=1, max_length=253)
    baudrate: int = Field(default=9600, ge=300, le=4_000_000)
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1
    timeout_s: Duration = Field(default=1.0, le=60)
    sockets: int = Field(default=1, ge=1, le=16)

    @property
    def is_rtu(self) -> bool:
        """Whether frames are those of a serial bus: no transaction ids, one master."""
        return self.serial is not None or self.framer == "rtu"

    @property
    def name(self) -> str:
        """Where it is, for people: the port's path, or host and port."""
        return self.serial if self.serial is not None else f"{self.host}:{self.port}"


class MqttBroker(Section):
    """An MQTT broker. TLS with `ca_file`, or with `tls` by the system's authorities; a client certificate if asked."""

    host: str = Field(min_length=1, max_length=253)
    port: int = Field(default=1883, ge=1, le=65_535)
    version: Literal["3.1.1", 5] = "3.1.1"
    username: SecretText | None = None
    password: SecretText | None = None
    tls: bool = False
    ca_file: str | None = Field(default=None, min_length=1)
    cert_file: str | None = Field(default=None, min_length=1)
    key_file: str | None = Field(default=None, min_length=1)

    @property
    def speaks_tls(self) -> bool:
        """Whether the connection is encrypted and the broker's certificate checked."""
        return self.tls or self.ca_file is not None


class DeviceEntry(Section):
    """One device of a connection. `poll_interval_s` can only slow the profile's polls down.

    `criticality` and `class` are what the ledger says of the equipment: local alerts need them without the cloud.
    """

    id: Id
    profile: str
    unit: int | None = Field(default=None, ge=0, le=UNIT_MAX)
    topic: str | None = Field(default=None, min_length=1)
    poll_interval_s: Duration | None = None
    criticality: Criticality | None = None
    class_: ClassName | None = Field(default=None, alias="class")


class Connection(Section):
    """One socket, serial line or broker, and the devices behind it."""

    id: Id
    modbus: ModbusServer | None = None
    mqtt: MqttBroker | None = None
    devices: tuple[DeviceEntry, ...] = Field(min_length=1, max_length=DEVICES_MAX)


def _beside_the_document(folder: Path, info: ValidationInfo) -> Path:
    context = info.context if isinstance(info.context, Mapping) else {}
    return Path(context.get("folder", ".")) / folder


class SiteConfig(Section):
    """The document site.yaml. Relative paths are relative to its folder.

    `profiles` is a folder of the site's own profiles, beside the packaged ones.
    """

    site: Id
    gateway: Id
    cloud: Cloud | None = None
    key_file: str = "gateway.key"
    data_dir: str = "edge-data"
    profiles: Annotated[Path, AfterValidator(_beside_the_document)] | None = None
    connections: tuple[Connection, ...] = Field(max_length=1_000)
    journal: JournalSettings = JournalSettings()
    local_alerts: AlertSettings = AlertSettings()

    def mistakes(self) -> Iterable[Mistake]:
        """What single values cannot show."""
        if self.cloud is not None:
            yield from _cloud_mistakes(self.cloud)
        ids = [(("connections", i, "id"), connection.id) for i, connection in enumerate(self.connections)]
        yield from _repeated(ids, "the connection")
        device_ids = [
            (("connections", i, "devices", j, "id"), device.id)
            for i, connection in enumerate(self.connections)
            for j, device in enumerate(connection.devices)
        ]
        yield from _repeated(device_ids, "the device")
        yield from _shared_address_mistakes(self.connections)
        brokers = {connection.id: connection.mqtt is not None for connection in self.connections}
        yield from alert_mistakes(self.local_alerts, brokers, is_loopback)
        if self.profiles is not None and not self.profiles.is_dir():
            yield Mistake(("profiles",), f"{self.profiles} is no folder")
            return
        profiles = known_profiles(self.profiles)
        for i, connection in enumerate(self.connections):
            yield from _connection_mistakes(connection, ("connections", i), profiles)


Place = tuple[str | int, ...]


def _cloud_mistakes(cloud: Cloud) -> Iterator[Mistake]:
    url = urlsplit(cloud.url)
    if url.scheme not in {"http", "https"} or not url.hostname:
        yield Mistake(("cloud", "url"), "expected a URL like https://cloud.example")
    elif url.username or url.password:
        yield Mistake(("cloud", "url"), "a URL holds no user and no password")
    elif url.scheme == "http" and not cloud.allow_plain_http and not is_loopback(url.hostname):
        yield Mistake(("cloud", "url"), "plain http leaves this machine: use https, or set allow_plain_http")


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, not an address
        return False


def _repeated(named: Iterable[tuple[Place, str]], what: str) -> Iterator[Mistake]:
    seen: set[str] = set()
    for place, name in named:
        if name in seen:
            yield Mistake(place, f"{what} {name!r} stands here twice")
        seen.add(name)


def _shared_address_mistakes(connections: Iterable[Connection]) -> Iterator[Mistake]:
    owners: dict[str, str] = {}
    for i, connection in enumerate(connections):
        broker = connection.mqtt
        servers = [
            ("modbus", None if connection.modbus is None else connection.modbus.name),
            ("mqtt", None if broker is None else f"{broker.host}:{broker.port}"),
        ]
        for kind, name in servers:
            if name is None:
                continue
            address = name if name.startswith("/") else name.lower()
            owner = owners.setdefault(address, connection.id)
            if owner != connection.id:
                message = f"{name} belongs to the connection {owner!r}: one owner per address"
                yield Mistake(("connections", i, kind), message)


def _server_mistakes(server: ModbusServer, at: Place) -> Iterator[Mistake]:
    said = server.model_fields_set
    if (server.host is None) == (server.serial is None):
        yield Mistake(at, "modbus needs either a host, or serial with the port's path")
        return
    if server.serial is not None:
        for key in ("port", "framer"):
            if key in said:
                yield Mistake((*at, key), f"a serial line has no {key}")
    elif not server.is_rtu:
        for key in ("baudrate", "parity", "stopbits"):
            if key in said:
                yield Mistake((*at, key), f"{key} belongs to a serial line, or to the one behind `framer: rtu`")
    if server.is_rtu and server.sockets > 1:
        yield Mistake((*at, "sockets"), "a serial bus has one master: sockets is 1")


def _connection_mistakes(
    connection: Connection, place: Place, profiles: Mapping[str, LoadedProfile]
) -> Iterator[Mistake]:
    if (connection.modbus is None) == (connection.mqtt is None):
        yield Mistake(place, f"the connection {connection.id!r} needs either modbus or mqtt")
        return
    if connection.mqtt is not None:
        yield from _broker_mistakes(connection.mqtt, (*place, "mqtt"))
    if connection.modbus is not None:
        yield from _server_mistakes(connection.modbus, (*place, "modbus"))
    taken: dict[tuple[object, str], str] = {}
    for j, device in enumerate(connection.devices):
        at = (*place, "devices", j)
        profile = profiles.get(device.profile)
        if profile is None:
            known = nearest_key(device.profile, list(profiles))
            yield Mistake((*at, "profile"), f"unknown profile {device.profile!r}{known}")
        if connection.modbus is not None:
            yield from _modbus_mistakes(device, at, profile, is_bus=connection.modbus.is_rtu)
        else:
            yield from _mqtt_mistakes(device, at, profile)
        address = device.unit if connection.modbus is not None else device.topic
        owner = taken.setdefault((address, device.profile), device.id)
        if address is not None and owner != device.id:
            key = "unit" if connection.modbus is not None else "topic"
            yield Mistake((*at, key), f"{key} {address} with the same profile belongs to the device {owner!r}")


def _broker_mistakes(broker: MqttBroker, at: Place) -> Iterator[Mistake]:
    if broker.password is not None and broker.username is None:
        yield Mistake((*at, "password"), "a password needs a username")
    if (broker.cert_file is None) != (broker.key_file is None):
        key = "cert_file" if broker.cert_file is not None else "key_file"
        yield Mistake((*at, key), "a client certificate needs both cert_file and key_file")
    if broker.cert_file is not None and not broker.speaks_tls:
        yield Mistake((*at, "cert_file"), "a client certificate needs TLS: set ca_file, or tls: true")


def _modbus_mistakes(
    device: DeviceEntry, at: Place, profile: LoadedProfile | None, *, is_bus: bool
) -> Iterator[Mistake]:
    if profile is not None and profile.pushes:
        yield Mistake((*at, "profile"), f"{device.profile} speaks MQTT, this connection is Modbus")
    if device.unit is None:
        yield Mistake(at, f"the device {device.id!r} needs a unit (1 to 247; 0 or 255 for some TCP devices)")
    elif is_bus and not 1 <= device.unit <= BUS_UNIT_MAX:
        yield Mistake((*at, "unit"), f"a device on a bus has a unit from 1 to {BUS_UNIT_MAX}")
    if device.topic is not None:
        yield Mistake((*at, "topic"), "a Modbus device has a unit and no topic")


def _mqtt_mistakes(device: DeviceEntry, at: Place, profile: LoadedProfile | None) -> Iterator[Mistake]:
    if profile is not None and not profile.pushes:
        yield Mistake((*at, "profile"), f"{device.profile} speaks Modbus, this connection is MQTT")
    if device.topic is None:
        yield Mistake(at, f"the device {device.id!r} needs a topic")
    elif not is_topic_filter(device.topic):
        yield Mistake((*at, "topic"), f"{device.topic!r} is no topic: + stands for a whole level, # only at the end")
    if device.unit is not None:
        yield Mistake((*at, "unit"), "an MQTT device has a topic and no unit")
    if device.poll_interval_s is not None:
        yield Mistake((*at, "poll_interval_s"), "an MQTT device sends by itself, it is not polled")


def is_topic_filter(topic: str) -> bool:
    """Whether a broker would take it as a topic filter (MQTT 3.1.1, 4.7)."""
    levels = topic.split("/")
    inner = levels[:-1] if levels[-1] == "#" else levels
    sized = 0 < len(topic.encode("utf-8", "surrogatepass")) <= TOPIC_BYTES_MAX
    return sized and all(_TOPIC_LEVEL.fullmatch(level) is not None for level in inner)


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """A device as this gateway reads it. `unit` counts for Modbus, `topic` for MQTT."""

    id: str
    profile: LoadedProfile
    connection: str
    unit: int = 0
    topic: str = ""
    slowed_to_s: float | None = None
    criticality: Criticality | None = None
    class_: str | None = None

    @property
    def hold_s(self) -> int:
        """How long its state inputs are held after their last confirmation, in seconds."""
        return self.profile.hold_for(self.slowed_to_s)

    @property
    def pushes(self) -> bool:
        """Whether it sends by itself; else it is polled."""
        return self.profile.pushes

    def interval_s(self, point: str) -> float:
        """How often a point is read, in seconds."""
        return self.profile.poll_interval_s(point, self.slowed_to_s)

    def series(self, point: str) -> Series:
        """The series of a point; `hold_s` is 0 for points that are no state input."""
        return self.profile.series(self.id, point, self.slowed_to_s)


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """A checked site.yaml: its values, its devices, and the folder that its relative paths start from."""

    config: SiteConfig
    folder: Path
    devices: tuple[Device, ...]

    @property
    def key_path(self) -> Path:
        """The gateway's private key."""
        return self.folder / self.config.key_file

    @property
    def data_path(self) -> Path:
        """The folder of the journal."""
        return self.folder / self.config.data_dir

    def devices_of(self, connection: str) -> tuple[Device, ...]:
        """The devices behind one connection."""
        return tuple(device for device in self.devices if device.connection == connection)


def load_site(path: Path | str) -> Site:
    """Read and check a site.yaml. Raises ConfigurationError with every problem found."""
    return site_of(load_document(path, SiteConfig), Path(path).parent)


def site_of(config: SiteConfig, folder: Path, profiles: Mapping[str, LoadedProfile] | None = None) -> Site:
    """The devices of a checked configuration. `profiles` defaults to the packaged ones and the site's own."""
    known = known_profiles(config.profiles) if profiles is None else profiles
    devices = [
        Device(
            entry.id, known[entry.profile], connection.id, entry.unit or 0, entry.topic or "", entry.poll_interval_s,
            entry.criticality, entry.class_,
        )
        for connection in config.connections
        for entry in connection.devices
    ]  # fmt: skip
    return Site(config, folder, tuple(devices))
