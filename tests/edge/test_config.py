from pathlib import Path

import pytest

from devices.errors import ConfigurationError
from edge.config import SiteConfig, is_topic_filter, load_site

GOOD = """\
site: jinji-lake
gateway: gw-1
cloud: {url: "http://127.0.0.1:8080"}
key_file: gw-1.key
data_dir: edge-data
connections:
  - id: plant-room
    modbus: {host: 127.0.0.1, port: 5020}
    devices:
      - {id: ahu-1, profile: abb-acs580, unit: 1}
      - {id: ahu-2, profile: abb-acs580, unit: 2, poll_interval_s: 30}
  - id: site-broker
    mqtt: {host: 127.0.0.1, port: 1883, username: edge, password: "file:broker.txt"}
    devices:
      - {id: p-017, profile: nwave-nps405, topic: "application/+/device/70b3d57ed0000017/event/up"}
      - {id: r1, profile: vda5050-robot, topic: "uagv/v2/acme/r-01"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "broker.txt").write_text("hush\n")
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "site.yaml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_site(written(folder, text))
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_a_site_file_names_its_devices(folder: Path) -> None:
    site = load_site(written(folder, GOOD))

    assert [device.id for device in site.devices] == ["ahu-1", "ahu-2", "p-017", "r1"]
    assert [device.id for device in site.devices_of("site-broker")] == ["p-017", "r1"]
    assert site.key_path == folder / "gw-1.key"
    broker = site.config.connections[1].mqtt
    assert broker is not None
    assert broker.password is not None
    assert broker.password.reveal() == "hush"


def test_a_slowed_device_is_held_for_three_of_its_polls(folder: Path) -> None:
    quick, slow, *_ = load_site(written(folder, GOOD)).devices

    assert (quick.hold_s, slow.hold_s) == (60, 90)
    assert slow.interval_s("status") == 30
    assert slow.series("status").hold_s == 90


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("site: jinji-lake", "sight: jinji-lake", "site.yaml:1:1: unknown key 'sight': did you mean 'site'?"),
        ("id: ahu-2", "id: ahu-1", "site.yaml:11:14: the device 'ahu-1' stands here twice"),
        ("id: site-broker", "id: plant-room", "site.yaml:12:9: the connection 'plant-room' stands here twice"),
        (
            "abb-acs580, unit: 1",
            "abb-acs58, unit: 1",
            "site.yaml:10:30: unknown profile 'abb-acs58': did you mean 'abb-acs580'?",
        ),
        ("unit: 1}", "unit: 300}", "site.yaml:10:48: connections.0.devices.0.unit: 300"),
        (", unit: 1}", "}", "site.yaml:10:9: the device 'ahu-1' needs a unit"),
        ("unit: 2,", "unit: 1,", "site.yaml:11:48: unit 1 with the same profile belongs to the device 'ahu-1'"),
        ("site: jinji-lake", "site: [jinji-lake", "not YAML"),
        ("port: 1883", "port: 5020", "127.0.0.1:5020 belongs to the connection 'plant-room'"),
        (', topic: "uagv/v2/acme/r-01"}', "}", "site.yaml:16:9: the device 'r1' needs a topic"),
        ("acme/r-01", "acme#/r-01", "site.yaml:16:49: 'uagv/v2/acme#/r-01' is no topic"),
        ("profile: nwave-nps405", "profile: generic-di", "generic-di speaks Modbus, this connection is MQTT"),
        ("http://127.0.0.1:8080", "http://cloud.example", "site.yaml:3:14: plain http leaves this machine"),
        ("file:broker.txt", "file:absent.txt", "absent.txt cannot be read"),
        ("    modbus: {host: 127.0.0.1, port: 5020}\n", "", "the connection 'plant-room' needs either modbus or mqtt"),
        ("port: 1883,", "port: 1883, version: 4,", "version"),
        ("username: edge, ", "", "site.yaml:13:51: a password needs a username"),
        ("port: 1883,", "port: 1883, cert_file: a.pem, ca_file: ca.pem,", "needs both cert_file and key_file"),
        ("port: 1883,", "port: 1883, cert_file: a.pem, key_file: a.key,", "a client certificate needs TLS"),
    ],
)
def test_a_mistake_is_named_with_its_place(folder: Path, before: str, after: str, expected: str) -> None:
    found = problems(folder, GOOD.replace(before, after))

    assert any(expected in problem for problem in found), found


def test_a_broker_by_tls_and_version_5_with_names_from_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_USER", "edge-1")
    text = GOOD.replace(
        "username: edge,", 'username: "${BROKER_USER}", version: 5, ca_file: ca.pem, cert_file: a.pem, key_file: a.key,'
    )

    broker = load_site(written(folder, text)).config.connections[1].mqtt

    assert broker is not None
    assert (broker.version, broker.speaks_tls, broker.cert_file) == (5, True, "a.pem")
    assert broker.username is not None
    assert broker.username.reveal() == "edge-1"


def test_the_settings_in_the_documentation_are_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_USER", "edge-1")
    (folder / "broker-password.txt").write_text("hush\n")
    document = (Path(__file__).parents[2] / "docs" / "mqtt.md").read_text("utf-8")
    example = document.split("```yaml\n")[1].split("```")[0]

    site = load_site(written(folder, f"site: s\ngateway: g\n{example}"))

    assert [device.id for device in site.devices] == ["p-017", "r1"]


def test_every_mistake_is_named_at_once(folder: Path) -> None:
    text = GOOD.replace("id: ahu-2", "id: ahu-1").replace("acme/r-01", "acme/#/r-01").replace(", unit: 1}", "}")

    assert len(problems(folder, text)) == 3


def test_the_password_is_never_printed(folder: Path) -> None:
    config: SiteConfig = load_site(written(folder, GOOD)).config

    assert "hush" not in repr(config) + config.model_dump_json()


@pytest.mark.parametrize(
    ("topic", "valid"), [("a/+/b", True), ("a/#", True), ("#", True), ("a+/b", False), ("", False)]
)
def test_topic_filters_follow_the_mqtt_rules(topic: str, *, valid: bool) -> None:
    assert is_topic_filter(topic) is valid


BUS = """\
site: s
gateway: g
connections:
  - id: meters
    modbus: {serial: /dev/ttyUSB0, baudrate: 19200, parity: E}
    devices: [{id: m-1, profile: eastron-sdm630, unit: 1}]
  - id: pumps
    modbus: {host: 10.0.0.7, port: 4001, framer: rtu}
    devices: [{id: p-1, profile: generic-di, unit: 5}]
"""


def test_a_bus_is_a_serial_line_or_stands_behind_a_converter(folder: Path) -> None:
    meters, pumps = (connection.modbus for connection in load_site(written(folder, BUS)).config.connections)

    assert meters is not None
    assert (meters.name, meters.is_rtu, meters.baudrate, meters.parity) == ("/dev/ttyUSB0", True, 19200, "E")
    assert pumps is not None
    assert (pumps.name, pumps.is_rtu) == ("10.0.0.7:4001", True)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("serial: /dev/ttyUSB0", "serial: /dev/ttyUSB0, host: h", "5:13: modbus needs either a host, or serial"),
        ("serial: /dev/ttyUSB0, baudrate: 19200", "timeout_s: 2", "5:13: modbus needs either a host, or serial"),
        ("baudrate: 19200", "port: 502", "a serial line has no port"),
        (", framer: rtu", ", baudrate: 9600", "8:52: baudrate belongs to a serial line"),
        ("framer: rtu", "framer: rtu, sockets: 2", "a serial bus has one master"),
        ("unit: 5", "unit: 250", "site.yaml:9:52: a device on a bus has a unit from 1 to 247"),
        ("parity: E", "parity: X", "site.yaml:5:61: connections.0.modbus.parity: 'X'"),
        ("host: 10.0.0.7, port: 4001, framer: rtu", "serial: /dev/ttyUSB0", "/dev/ttyUSB0 belongs to the connection"),
    ],
)
def test_a_mistake_about_a_bus_is_named_with_its_place(folder: Path, before: str, after: str, expected: str) -> None:
    found = problems(folder, BUS.replace(before, after))

    assert any(expected in problem for problem in found), found
