from pathlib import Path

import pytest

from devices.errors import Problem
from devices.profile import load_profiles
from edge.bus_time import character_s, silent_s, transfer_s
from edge.commissioning.examination import Weight, examine
from edge.commissioning.forecast import TURNAROUND_S, bus_loads, misfits, planned_reads
from edge.config import ModbusServer, Site, load_site

METERS = """\
site: s
gateway: g
connections:
  - id: bus
    modbus: {{serial: /dev/null, baudrate: {baudrate}}}
    devices:
{devices}
"""


def meters(folder: Path, count: int, baudrate: int, more: str = "") -> Site:
    devices = "\n".join(
        f"      - {{id: m-{unit}, profile: eastron-sdm630, unit: {unit}}}" for unit in range(1, count + 1)
    )
    path = folder / "site.yaml"
    path.write_text(METERS.format(baudrate=baudrate, devices=devices + more), "utf-8")
    return load_site(path)


def found(site: Site) -> list[tuple[Weight, Problem]]:
    file = site.folder / "site.yaml"
    return [(one.weight, one.problem) for one in examine(site, file, file.read_text("utf-8"))]


def test_a_character_is_as_long_as_its_bits() -> None:
    assert character_s(ModbusServer(serial="/dev/x", baudrate=9600)) == 10 / 9600
    assert character_s(ModbusServer(serial="/dev/x", baudrate=9600, parity="E")) == 11 / 9600
    assert character_s(ModbusServer(serial="/dev/x", baudrate=19200, parity="E", stopbits=2)) == 12 / 19200


def test_the_silence_between_frames_is_three_and_a_half_characters_and_fixed_above_19200_baud() -> None:
    assert silent_s(ModbusServer(serial="/dev/x", baudrate=9600)) == 35 / 9600
    assert silent_s(ModbusServer(serial="/dev/x", baudrate=115_200)) == 0.00175


def test_every_point_of_every_device_is_in_one_planned_read(tmp_path: Path) -> None:
    reads = planned_reads(meters(tmp_path, 2, 9600))

    points = load_profiles()["eastron-sdm630"].points
    assert sorted((read.device, point) for read in reads for point in read.points) == sorted(
        (device, point) for device in ("m-1", "m-2") for point in points
    )


def test_a_read_takes_its_bytes_its_silence_and_the_device_s_time(tmp_path: Path) -> None:
    site = meters(tmp_path, 1, 9600)
    server = site.config.connections[0].modbus
    assert server is not None
    first = planned_reads(site)[0]

    assert first.takes_s == pytest.approx(35 / 9600 + 10 * (13 + 2 * first.count) / 9600 + TURNAROUND_S)
    assert transfer_s(server, 2 * first.count) == pytest.approx(10 * (13 + 2 * first.count) / 9600)


def test_the_load_is_the_sum_of_what_its_reads_take_in_their_intervals(tmp_path: Path) -> None:
    site = meters(tmp_path, 3, 9600)
    reads = planned_reads(site)

    (load,) = bus_loads(site.config.connections, reads)

    assert load.busy == pytest.approx(sum(read.takes_s / read.interval_s for read in reads))
    assert load.where == "/dev/null"


def test_a_bus_with_room_is_no_finding(tmp_path: Path) -> None:
    assert found(meters(tmp_path, 5, 9600)) == []


def test_a_bus_above_80_percent_is_a_warning(tmp_path: Path) -> None:
    ((weight, problem),) = found(meters(tmp_path, 13, 9600))

    assert weight is Weight.WARNING
    assert problem.line == 5
    assert "leaves little room" in problem.message


def test_a_bus_that_cannot_keep_its_intervals_is_an_error_with_its_place(tmp_path: Path) -> None:
    ((weight, problem),) = found(meters(tmp_path, 20, 9600))

    assert weight is Weight.ERROR
    assert str(problem).startswith(f"{tmp_path / 'site.yaml'}:5:13: /dev/null cannot keep its intervals")
    assert "poll_interval_s" in problem.message


def test_the_device_that_needs_most_is_named(tmp_path: Path) -> None:
    site = meters(tmp_path, 1, 300)
    reads = planned_reads(site)

    (one,) = misfits(bus_loads(site.config.connections, reads), reads)

    assert one.hopeless
    assert "most of all m-1 (138%)" in one.message


def test_sockets_share_the_load_of_a_tcp_server(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(
        "site: s\ngateway: g\nconnections:\n  - id: c\n    modbus: {host: h, sockets: 2}\n    devices:\n"
        "      - {id: a, profile: eastron-sdm630, unit: 1}\n      - {id: b, profile: eastron-sdm630, unit: 2}\n"
    )
    site = load_site(tmp_path / "site.yaml")
    reads = planned_reads(site)

    (load,) = bus_loads(site.config.connections, reads)

    assert load.busy == pytest.approx(sum(read.takes_s / read.interval_s for read in reads) / 2)


def test_two_devices_behind_one_unit_are_a_warning(tmp_path: Path) -> None:
    site = meters(tmp_path, 1, 9600, "\n      - {id: relays, profile: generic-di, unit: 1}")

    assert [(weight, problem.line, "unit 1" in problem.message) for weight, problem in found(site)] == [
        (Weight.WARNING, 8, True)
    ]
