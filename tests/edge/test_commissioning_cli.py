"""The commissioning commands as a person runs them, against real sockets."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import aiomqtt
import pytest

from devices.errors import Permanent
from devices.profile import load_profiles
from edge.commissioning.address import server_at
from simulators.modbus import SimulatedDevice, serve
from tests.brokers import mosquitto
from tests.edge.modbus_peer import modbus_peer
from tests.edge.serial_bus import RtuPeer, converter_peer, serial_peer
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent.parent
SITE = """\
site: s
gateway: g
connections:
  - id: plant
    modbus: {{{server}}}
    devices:
      - {{id: meter, profile: eastron-sdm630, unit: 1}}
      - {{id: fan, profile: abb-acs580, unit: 2}}
"""


class Done(NamedTuple):
    """What a command said."""

    code: int | None
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


async def edge(*words: object) -> Done:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gatehouse", "edge", *map(str, words)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(50):
        out, err = await process.communicate()
    return Done(process.returncode, out.decode(), err.decode())


def written(folder: Path, server: str) -> Path:
    path = folder / "site.yaml"
    path.write_text(SITE.format(server=server), "utf-8")
    return path


@pytest.fixture
async def plant() -> AsyncIterator[int]:
    """A meter and a fan; gives the port."""
    profiles = load_profiles()
    meter = SimulatedDevice("meter", 1, profiles["eastron-sdm630"])
    meter.set("voltage_l1", 230.5)
    async with serve([meter, SimulatedDevice("fan", 2, profiles["abb-acs580"])]) as port:
        yield port


async def test_plan_shows_every_read(tmp_path: Path) -> None:
    site = written(tmp_path, "host: 127.0.0.1, port: 9")

    shown, told = await asyncio.gather(edge("plan", site), edge("plan", site, "--json"))

    assert (shown.code, told.code) == (0, 0)
    assert "voltage_l1, voltage_l2" in shown.out
    (load,) = told.json()
    assert {point for read in load["reads"] for point in read["points"]} >= {"voltage_l1", "status"}
    assert all(read["count"] >= 1 for read in load["reads"])


async def test_check_says_that_a_good_file_can_be_used(tmp_path: Path) -> None:
    done = await edge("check", written(tmp_path, "host: 127.0.0.1, port: 9"))

    assert done.code == 0
    assert "can be used: 2 devices" in done.out


async def test_check_refuses_a_bus_that_cannot_keep_up_and_says_where(tmp_path: Path) -> None:
    site = written(tmp_path, "serial: /dev/null, baudrate: 300")

    shown, told = await asyncio.gather(edge("check", site), edge("check", site, "--json"))

    assert (shown.code, told.code) == (3, 3)
    assert f"error: {site}:5:13: /dev/null cannot keep its intervals" in shown.err
    assert told.json()["ok"] is False
    assert [(one["weight"], one["line"]) for one in told.json()["findings"]] == [("error", 5)]


async def test_check_names_every_mistake_of_a_file(tmp_path: Path) -> None:
    site = written(tmp_path, "host: 127.0.0.1, prot: 9")

    shown, told = await asyncio.gather(edge("check", site), edge("check", site, "--json"))

    assert (shown.code, told.code) == (3, 3)
    assert "did you mean 'port'" in shown.err
    assert told.json()["findings"][0]["line"] == 5


async def test_try_reads_everything_once(tmp_path: Path, plant: int) -> None:
    site = written(tmp_path, f"host: 127.0.0.1, port: {plant}")

    shown, told = await asyncio.gather(edge("try", site), edge("try", site, "--json"))

    assert (shown.code, told.code) == (0, 0)
    readings = {(one["device"], one["point"]): one for one in told.json()["readings"]}
    voltage = readings["meter", "voltage_l1"]
    assert (voltage["value"], voltage["unit"], voltage["quality"]) == (230.5, "V", "good")
    assert voltage["time"].endswith("Z")
    assert ("fan", "status") in readings
    assert "230.5" in shown.out


async def test_try_says_which_device_is_silent(tmp_path: Path) -> None:
    async with modbus_peer() as peer:
        peer.dead_units.add(2)
        done = await edge("try", written(tmp_path, f"host: 127.0.0.1, port: {peer.port}, timeout_s: 0.3"))

    assert done.code == 4
    assert "no answer" in done.out
    assert "3 of 24 points gave no value" in done.err


async def test_try_says_which_connection_cannot_be_made(tmp_path: Path) -> None:
    done = await edge("try", written(tmp_path, "host: 127.0.0.1, port: 9"))

    assert done.code == 4
    assert "plant: no Modbus server answers at 127.0.0.1:9" in done.err
    assert "no connection" in done.out


BROKER = """\
site: s
gateway: g
connections:
  - id: broker
    mqtt: {{host: 127.0.0.1, port: {port}}}
    devices: [{{id: p-1, profile: nwave-nps405, topic: application/a/device/0001/event/up}}]
"""


async def test_try_waits_for_messages_and_leaves_no_session_behind(tmp_path: Path) -> None:
    uplink = {"deviceInfo": {"devEui": "0001"}, "fPort": 1, "data": "Aw==", "deduplicationId": "d"}
    async with mosquitto(tmp_path) as broker, aiomqtt.Client("127.0.0.1", broker.port) as publisher:
        site = tmp_path / "site.yaml"
        site.write_text(BROKER.format(port=broker.port), "utf-8")
        trying = asyncio.create_task(edge("try", site, "--json"))
        counter = count()

        async def published() -> bool:
            payload = json.dumps({**uplink, "fCnt": next(counter)})
            await publisher.publish("application/a/device/0001/event/up", payload, qos=1)
            return trying.done()

        await eventually(published, "a message to be shown")
        done = trying.result()

    assert done.code == 0, done.err
    assert {one["point"]: one["value"] for one in done.json()["readings"]}["occupied"] == 1.0
    connected = re.findall(r" as gatehouse/try/\w+ \(p\d, (c\d)", (tmp_path / "mosquitto.log").read_text())
    assert connected == ["c1"]  # a clean session, which the broker forgets


async def test_try_names_the_devices_that_sent_nothing(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker:
        site = tmp_path / "site.yaml"
        site.write_text(BROKER.format(port=broker.port), "utf-8")
        done = await edge("try", site, "--seconds", 0.5)

    assert done.code == 4
    assert "broker: no message of p-1 in 0.5 s" in done.err


async def test_scan_finds_the_units_of_a_server(plant: int) -> None:
    done = await edge("scan", f"127.0.0.1:{plant}", "--to", 6)

    assert done.code == 0
    assert [line.split(":")[0] for line in done.out.splitlines()] == ["unit 1", "unit 2"]


async def test_scan_finds_the_units_of_a_serial_bus_and_writes_nothing() -> None:
    peer = RtuPeer(dead_units=set(range(1, 20)) - {5, 9}, illegal={0})
    async with serial_peer(peer) as path:
        done = await edge("scan", path, "--from", 3, "--to", 10, "--timeout", 0.2, "--json")

    assert done.code == 0
    assert [one["unit"] for one in done.json()["units"]] == [5, 9]
    assert {question.function for question in peer.questions} <= {3, 4}
    assert {question.count for question in peer.questions} == {1}
    assert peer.strange == []


async def test_a_scan_that_finds_nobody_ends_with_4() -> None:
    async with modbus_peer() as peer:
        peer.dead_units.update({7, 8})
        done = await edge("scan", f"127.0.0.1:{peer.port}", "--from", 7, "--to", 8, "--timeout", 0.1)

    assert done.code == 4
    assert "no unit from 7 to 8 answers" in done.err


async def test_a_device_that_answers_to_every_unit_id_is_seen_through() -> None:
    async with modbus_peer() as peer:
        done = await edge("scan", f"127.0.0.1:{peer.port}", "--to", 5)

    assert "one device that ignores unit ids" in done.err


async def test_explain_marks_the_likely_decoding(plant: int) -> None:
    address = f"127.0.0.1:{plant}"

    shown, told = await asyncio.gather(
        edge("explain", address, 1, 0, "--function", "input"),
        edge("explain", address, 1, "0x0", "--function", "input", "--json"),
    )

    assert (shown.code, told.code) == (0, 0)
    marked = [line for line in shown.out.splitlines() if "->" in line]
    assert len(marked) == 1
    assert "230.5" in marked[0]
    (likely,) = (one for one in told.json()["decodings"] if one["likely"])
    assert (likely["type"], likely["order"], likely["value"]) == ("f32", "ABCD", 230.5)


async def test_explain_reads_a_bus_behind_a_converter() -> None:
    async with converter_peer(RtuPeer(registers={10: 0x8000, 11: 0x4366})) as server:
        done = await edge("explain", server.name, 3, 10, "--rtu", "--json")

    (likely,) = (one for one in done.json()["decodings"] if one["likely"])
    assert (likely["order"], likely["word_order"], likely["value"]) == ("CDAB", "little", 230.5)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("1", "0"), 1, "exception 2 (illegal address): try the other table (--function input)"),
        (("7", "0"), 4, "unit 7 at 127.0.0.1:{port} did not answer"),
        (("1", "4x"), 2, "'4x' is no register"),
        (("1", "99999"), 2, "99999 is outside the table"),
    ],
)
async def test_explain_says_what_is_wrong(plant: int, words: tuple[str, ...], code: int, said: str) -> None:
    done = await edge("explain", f"127.0.0.1:{plant}", *words)

    assert done.code == code
    assert said.format(port=plant) in " ".join(done.err.replace("│", " ").split())


async def test_a_serial_port_that_is_not_there_ends_with_4() -> None:
    done = await edge("scan", "/dev/tty-none")

    assert done.code == 4
    assert "the serial port /dev/tty-none cannot be opened" in done.err


def test_a_place_is_a_host_a_port_or_a_serial_line() -> None:
    assert server_at("plc.local").name == "plc.local:502"
    assert server_at("[::1]:1502").name == "::1:1502"
    assert server_at("::1").name == "::1:502"
    assert server_at("/dev/ttyUSB0", baudrate=19200).serial == "/dev/ttyUSB0"
    assert server_at("10.0.0.9:4001", rtu=True).is_rtu


@pytest.mark.parametrize("where", ["", ":502", "host:", "host:0", "host:70000", "host:x"])
def test_a_place_that_is_none_is_refused(where: str) -> None:
    with pytest.raises(Permanent, match="expected HOST"):
        server_at(where)
