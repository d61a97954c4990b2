"""Local alerts out of a real agent: register, broker, command, webhook, events lane. There is no cloud anywhere."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import aiomqtt
import pytest

from devices.document import SecretText
from devices.errors import ConfigurationError
from devices.frame import SealedFrame, decode_frame
from devices.profile import packaged_profile
from devices.records import LocalAlert
from edge.alert_settings import Webhook
from edge.clock import Clock
from edge.config import load_site
from edge.enrol import make_key
from edge.gateway import Gateway
from edge.local_alerts_desk import AlertDesk
from edge.local_alerts_telling import Notice, WebhookTeller
from edge.status import read_status
from edge.status_text import lines_of
from simulators.faults import FaultProxy, fault_proxy
from simulators.modbus import SimulatedDevice, serve
from tests.brokers import Mosquitto, mosquitto
from tests.waiting import until

TOPIC = "gatehouse/v1/s/g/alerts/fire-alarm/panel"
SITE = """\
site: s
gateway: g
connections:
  - id: bus
    modbus: {{host: 127.0.0.1, port: {modbus}}}
    devices:
      - {{id: panel, profile: fire-alarm-contact, unit: 1}}
  - id: broker
    mqtt: {{host: 127.0.0.1, port: {mqtt}}}
    devices:
      - {{id: r1, profile: vda5050-robot, topic: "uagv/v2/acme/r-01"}}
local_alerts: {{overrides: [{{rule: fire-alarm, off_delay: 0s}}]{more}}}
"""


class Agent:
    """An agent at first boot, with one fire panel and no network but the site's own."""

    def __init__(self, folder: Path, panel: SimulatedDevice) -> None:
        self.folder, self.panel = folder, panel
        self.sealed: list[SealedFrame] = []
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.gateway: Gateway | None = None

    async def start(self) -> None:
        self._stop = asyncio.Event()
        self.gateway = Gateway.open(load_site(self.folder / "site.yaml"), Clock())
        self.gateway.journal.subscribe(self.sealed.append)
        self._task = asyncio.create_task(self.gateway.run(self._stop), name="agent")

    async def stop(self) -> None:
        if self._task is not None and self.gateway is not None:
            self._stop.set()
            await self._task
            await self.gateway.close()
            self._task = None

    def records(self) -> list[LocalAlert]:
        frames = [decode_frame(one.data) for one in self.sealed]
        return [record for frame in frames for record in frame.content.records if isinstance(record, LocalAlert)]


@asynccontextmanager
async def agent(folder: Path, mqtt_port: int, more: str = "") -> AsyncIterator[Agent]:
    panel = SimulatedDevice("panel", 1, packaged_profile("fire-alarm-contact"))
    make_key(folder / "gateway.key")
    async with serve([panel]) as port:
        (folder / "site.yaml").write_text(SITE.format(modbus=port, mqtt=mqtt_port, more=more))
        one = Agent(folder, panel)
        await one.start()
        try:
            yield one
        finally:
            await one.stop()


class Listener:
    """Somebody at the site who listens to alerts."""

    def __init__(self, broker: Mosquitto) -> None:
        self._broker = broker
        self.heard: list[tuple[str, dict[str, Any], bool]] = []

    async def run(self) -> None:
        async with aiomqtt.Client("127.0.0.1", self._broker.port) as client:
            await client.subscribe("gatehouse/v1/+/+/alerts/#")
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                self.heard.append((str(message.topic), json.loads(message.payload), message.retain))

    def said(self, condition: str) -> bool:
        return any(body["condition"] == condition for _, body, _ in self.heard)


@asynccontextmanager
async def listening(broker: Mosquitto) -> AsyncIterator[Listener]:
    listener = Listener(broker)
    task = asyncio.create_task(listener.run(), name="listener")
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.wait({task})


def polled(one: Agent) -> Callable[[], bool]:
    return lambda: any(decode_frame(frame.data).content.numbers for frame in one.sealed)


async def test_an_alert_is_at_the_sites_broker_and_in_the_evidence_without_any_cloud(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, agent(tmp_path, broker.port) as one, listening(broker) as listener:
        await until(polled(one), "the first reading on disk")
        one.panel.set("fire", 1.0)
        await until(lambda: listener.said("active"), "the alert at the broker")
        one.panel.set("fire", 0.0)
        await until(lambda: listener.said("cleared"), "its end")
        await until(lambda: len(one.records()) == 2, "both in the events lane")

    topic, body, _ = listener.heard[0]
    assert topic == TOPIC
    assert (body["rule"], body["thing"], body["severity"], body["latched"]) == ("fire-alarm", "panel", "red", True)
    assert body["text"] == {"en": "Fire alarm: panel", "zh-CN": body["text"]["zh-CN"]}
    assert [record.condition for record in one.records()] == ["active", "cleared"]
    assert one.records()[0].since_ms <= one.records()[1].since_ms


async def test_who_comes_later_finds_the_alert_retained_also_after_the_broker_lost_everything(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, agent(tmp_path, broker.port) as one:
        one.panel.set("fire", 1.0)
        await until(one.records, "the alert")
        async with listening(broker) as late:
            await until(lambda: late.said("active"), "the retained alert")
        await broker.stop()
        for path in tmp_path.glob("mosquitto.db*"):
            path.unlink()
        await broker.start()
        async with listening(broker) as later:
            await until(lambda: later.said("active"), "the alert, told again")

    assert late.heard[0][2]


async def test_a_command_gets_the_alert_on_its_standard_input_and_no_shell(tmp_path: Path) -> None:
    script = tmp_path / "horn; touch evil"
    script.write_text(f"#!/bin/sh\ncat > '{tmp_path}/told.json'\necho \"$1\" > '{tmp_path}/argument'\n")
    script.chmod(0o700)
    more = f", command: ['{script}', '$(touch evil) `x` | y']"
    async with mosquitto(tmp_path) as broker, agent(tmp_path, broker.port, more) as one:
        one.panel.set("fire", 1.0)
        await until(lambda: (tmp_path / "argument").exists() and (tmp_path / "argument").read_text(), "the command")

    assert json.loads((tmp_path / "told.json").read_text())["rule"] == "fire-alarm"
    assert (tmp_path / "argument").read_text() == "$(touch evil) `x` | y\n"
    assert not list(tmp_path.glob("evil"))


async def test_a_command_that_fails_holds_nobody_up(tmp_path: Path) -> None:
    more = ", command: ['/bin/false']"
    async with mosquitto(tmp_path) as broker, agent(tmp_path, broker.port, more) as one, listening(broker) as listener:
        one.panel.set("fire", 1.0)
        await until(lambda: listener.said("active"), "the alert at the broker")
        assert one.gateway is not None
        command = one.gateway.alerts.tellers[1].status
        await until(lambda: command.failed == 1, "the command's failure")

    assert command.problem == "/bin/false ended with 1"
    status = read_status(tmp_path / "edge-data")
    assert status is not None
    said = "\n".join(lines_of(status))
    assert "LOCAL ALERT: fire-alarm of panel, red, since 20" in said
    assert "NOT told through command (/bin/false ended with 1)" in said


async def test_a_webhook_that_fails_first_is_asked_again(tmp_path: Path) -> None:
    requests: list[bytes] = []

    async def hook(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        requests.append(head + await reader.readexactly(size))
        writer.write(
            b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % (500 if len(requests) < 2 else 204)
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(hook, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    (tmp_path / "token").write_text("secret-word\n")
    more = f", webhook: {{url: 'http://127.0.0.1:{port}/hook', token: 'file:token'}}"
    async with mosquitto(tmp_path) as broker, agent(tmp_path, broker.port, more) as one:
        one.panel.set("fire", 1.0)
        await until(lambda: len(requests) == 2, "two requests")
        assert one.gateway is not None
        hooked = one.gateway.alerts.tellers[1].status
        await until(lambda: hooked.told == 1, "the webhook told")
    server.close()

    head, body = requests[1].split(b"\r\n\r\n")
    assert b"authorization: Bearer secret-word" in head.replace(b"Authorization", b"authorization")
    assert json.loads(body)["rule"] == "fire-alarm"


async def test_a_restart_tells_the_broker_again_and_the_command_not(tmp_path: Path) -> None:
    script = tmp_path / "horn.sh"
    script.write_text(f"#!/bin/sh\ncat >> '{tmp_path}/told'\n")
    script.chmod(0o700)
    more = f", command: ['{script}']"
    async with mosquitto(tmp_path) as broker, agent(tmp_path, broker.port, more) as one:
        one.panel.set("fire", 1.0)
        await until((tmp_path / "told").exists, "the command")
        standing = tmp_path / "edge-data" / "local-alerts.json"
        await until(lambda: standing.exists() and "fire-alarm" in standing.read_text(), "the file")
        await one.stop()
        await one.start()
        assert one.gateway is not None
        tellers = one.gateway.alerts.tellers
        await until(lambda: tellers[0].status.told == 1, "the broker, told again")
        one.panel.set("fire", 0.0)
        await until(lambda: (tmp_path / "told").read_text().count('"condition"') == 2, "the end")

    told = (tmp_path / "told").read_text().replace("}{", "}\n{").splitlines()
    assert [json.loads(one)["condition"] for one in told] == ["active", "cleared"]


async def test_an_alert_whose_rule_is_gone_does_not_stay_active_for_ever(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, agent(tmp_path, broker.port) as one:
        one.panel.set("fire", 1.0)
        standing = tmp_path / "edge-data" / "local-alerts.json"
        await until(lambda: standing.exists() and "fire-alarm" in standing.read_text(), "the file")
        await one.stop()
        path = tmp_path / "site.yaml"
        path.write_text(path.read_text().replace("off_delay: 0s", "mode: off"))
        await one.start()
        assert one.gateway is not None
        telling = one.gateway.alerts.tellers[0].status
        await until(lambda: telling.told == 1, "the broker")
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            await client.publish("gatehouse/v1/s/g/alerts/mark/er", b"{}", qos=1, retain=True)
        async with listening(broker) as late:
            await until(lambda: late.heard, "what the broker retains")
        await until(lambda: "fire-alarm" not in standing.read_text(), "the file without it")
        await until(lambda: [record.condition for record in one.records()] == ["active", "cleared"], "the end")

    assert [topic for topic, _, _ in late.heard] == ["gatehouse/v1/s/g/alerts/mark/er"]


async def test_a_broker_behind_a_broken_wire_hears_of_everything_in_the_end(tmp_path: Path) -> None:
    async with mosquitto(tmp_path) as broker, fault_proxy(FaultProxy("127.0.0.1", broker.port)) as wire:
        wire.cut()
        async with agent(tmp_path, wire.listen_port) as one, listening(broker) as listener:
            one.panel.set("fire", 1.0)
            await until(one.records, "the alert in the events lane")
            wire.mend()
            await until(lambda: listener.said("active"), "the alert at the broker")


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("https://127.0.0.1:99999/hook", "t"), ("https://xn--/hook", "t"), ("https://127.0.0.1:1/\thook", "t"),
        ("http://127.0.0.1:1/hook", "s\u00e9same"), ("http://127.0.0.1:1/hook", "two\nlines"),
    ],
)  # fmt: skip
async def test_a_webhook_that_cannot_even_be_asked_fails_alone(
    url: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.local_alerts_telling.TRIES_MAX", 1)
    teller = WebhookTeller(Webhook(url=url, token=SecretText(token)), Random(1))
    task = asyncio.create_task(teller.run())
    teller.tell(Notice("t", b"{}"))
    teller.tell(Notice("t", b"{}"))
    await until(lambda: task.done() or teller.status.failed == 2, "both failures")

    assert not task.done()
    assert teller.status.problem
    task.cancel()
    await asyncio.wait({task})


@pytest.mark.parametrize(
    ("webhook", "expected"),
    [
        ("url: 'https://127.0.0.1:99999/hook'", "a port is 1 to 65535, not 99999"),
        ("url: 'https://127.0.0.1:port/hook'", "no address that can be used"),
        ("url: 'https://xn--/hook'", "no address that can be used"),
        ('url: "https://alerts.example/\\thook"', "no address that can be used"),
        ("url: 'https://alerts..example/hook'", "no address that can be used"),
        ("url: 'https://me:pass@alerts.example/hook'", "a URL holds no user and no password: use token"),
        ("url: 'https://alerts.example/hook', token: 's\u00e9same'", "a token is printable ASCII"),
        ("url: 'https://alerts.example/hook', token: 'two words'", "a token is printable ASCII"),
    ],
)
def test_a_webhook_that_cannot_work_is_refused_at_load_with_its_line(
    tmp_path: Path, webhook: str, expected: str
) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(SITE.format(modbus=1, mqtt=2, more=f", webhook: {{{webhook}}}"), "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_site(path)

    assert [(problem.line, problem.message[: len(expected)]) for problem in caught.value.problems] == [(12, expected)]


BAD = """\
site: s
gateway: g
connections:
  - {id: bus, modbus: {host: h}, devices: [{id: d, profile: abb-acs580, unit: 1, criticality: D}]}
local_alerts:
  connection: bus
  command: [horn]
  webhook: {url: "http://alerts.example/x"}
  overrides:
    - {rule: fire-alarms, on_delay: 5s}
    - {rule: gateway-silent, on_delay: 5s}
    - {rule: fire-alarm, limit: 5}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BAD, ["4:", "7:"]),  # what single values can show comes first ...
        (
            BAD.replace("criticality: D", "criticality: A").replace("[horn]", "[/bin/sh]"),
            [  # ... then what only the whole can show
                "site.yaml:6:15: the connection 'bus' has no MQTT broker",
                "site.yaml:8:18: plain http leaves this machine: use https, or set allow_plain_http",
                "site.yaml:10:14: there is no rule 'fire-alarms': did you mean 'fire-alarm'?",
                "site.yaml:11:14: 'gateway-silent' is judged in the cloud: change it there",
                "site.yaml:12:33: fire-alarm is no threshold: it has no limit",
            ],
        ),
    ],
)
def test_mistakes_in_local_alerts_have_file_and_line(tmp_path: Path, text: str, expected: list[str]) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_site(path)
    found = [str(problem).replace(f"{tmp_path}{os.sep}", "") for problem in caught.value.problems]

    assert len(found) == len(expected), found
    assert all(wanted in problem for wanted, problem in zip(expected, found, strict=True)), found


def test_the_file_of_standing_alerts_may_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE.format(modbus=1, mqtt=2, more=""))
    site = load_site(tmp_path / "site.yaml")
    site.data_path.mkdir()
    (site.data_path / "local-alerts.json").write_bytes(b"\x00{")
    desk = AlertDesk(site, Clock().now, Random(1), lambda *_: None)

    assert desk.active == []
