"""Tells of local alerts at once: the site's broker, a command, a webhook. Each fails alone and holds nobody up."""

import asyncio
import ssl
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, Protocol

import aiomqtt
import httpx
import msgspec
import structlog

from devices.instants import format_instant
from devices.records import LocalAlert
from devices.rules import Rule
from devices.words import LANGUAGES, say
from edge.alert_settings import Webhook
from edge.backoff import Backoff
from edge.clock import Moment
from edge.config import MqttBroker

WAITING_MAX = 1_000  # notices for a command or webhook that is slow; the oldest go first
COMMAND_S = 30.0  # a command that takes longer is killed
WEBHOOK_S = 10.0
TRIES_MAX = 5
RECONNECT_CAP_S = 3.0  # the broker is next door
CONNECT_S = 3.0
QOS = 1
NOTICE_FORMAT = 1
# What an address, a token, a name or a certificate can make of a client, besides a connection that fails: it must not
# stop the agent. UnicodeError is a ValueError.
UNUSABLE = (OSError, ValueError, OverflowError, httpx.HTTPError, httpx.InvalidURL)

_log = structlog.get_logger(__name__)


class Notice(NamedTuple):
    """One alert as it is told. `topic` is where the broker keeps it."""

    topic: str
    body: bytes


class _Body(msgspec.Struct, frozen=True):
    """The JSON of a local alert; times are RFC 3339. docs/local-alerts.md describes it."""

    format: int
    site: str
    gateway: str
    rule: str
    thing: str
    condition: str
    severity: str
    since: str
    time: str
    clock_trusted: bool
    latched: bool
    text: Mapping[str, str]
    parameters: Mapping[str, str]


def topic_of(site: str, gateway: str, rule: str, thing: str) -> str:
    """Where a local alert stands, retained (design.md 8)."""
    return f"gatehouse/v1/{site}/{gateway}/alerts/{rule}/{thing}"


def notice_of(site: str, gateway: str, alert: LocalAlert, rule: Rule, moment: Moment) -> Notice:
    """An alert as it is told at a moment."""
    parameters = dict(alert.parameters)
    words = {"thing_name": alert.thing, "rule_name": rule.name, **parameters}
    body = _Body(
        format=NOTICE_FORMAT,
        site=site,
        gateway=gateway,
        rule=alert.rule,
        thing=alert.thing,
        condition=alert.condition,
        severity=alert.severity,
        since=format_instant(alert.since_ms),
        time=format_instant(moment.utc_ms),
        clock_trusted=moment.trusted,
        latched=alert.latched,
        text={language: say(language, rule.text, **words) for language in LANGUAGES},
        parameters=parameters,
    )
    return Notice(topic_of(site, gateway, alert.rule, alert.thing), msgspec.json.encode(body))


@dataclass(slots=True)
class TellerStatus:
    """How one way of telling is doing. Counters run since the start of the agent."""

    told: int = 0
    failed: int = 0
    dropped: int = 0
    problem: str = ""


class Teller(Protocol):
    """One way of telling. `tell` never waits and never fails."""

    name: str
    status: TellerStatus

    def tell(self, notice: Notice) -> None:
        """Take a notice that is to be told at once."""

    def keep(self, notice: Notice) -> None:
        """Take a notice of what was told before this start."""

    async def run(self) -> None:
        """Tell until cancelled."""


class BrokerTeller:
    """Keeps the newest notice of each topic at a broker, retained; tells all of them again after a lost connection."""

    def __init__(self, broker: MqttBroker, identifier: str, tls: ssl.SSLContext | None, rng: Random) -> None:
        self.name = f"broker {broker.host}:{broker.port}"
        self.status = TellerStatus(problem="not connected yet")
        self._broker = broker
        self._identifier = identifier
        self._tls = tls
        self._backoff = Backoff(rng, cap_s=RECONNECT_CAP_S)
        self._newest: dict[str, bytes] = {}  # as many as there are pairs of rule and device
        self._waiting: dict[str, bytes] = {}
        self._changed = asyncio.Event()

    def tell(self, notice: Notice) -> None:
        """Take a notice; an older one for the same topic need not be told any more."""
        self._newest[notice.topic] = self._waiting[notice.topic] = notice.body
        self._changed.set()

    keep = tell

    async def run(self) -> None:
        """Stay connected and tell, until cancelled."""
        while True:
            try:
                async with self._client() as client:
                    self._waiting = dict(self._newest)
                    self.status.problem = ""
                    await self._serve(client)
            except (aiomqtt.MqttError, *UNUSABLE) as error:
                if not self.status.problem:
                    _log.warning("alerts do not reach the broker", broker=self.name, reason=str(error))
                self.status.problem = str(error) or type(error).__name__
            await asyncio.sleep(self._backoff.next_s())

    async def _serve(self, client: aiomqtt.Client) -> None:
        """Publish what waits until the connection is lost. Raises aiomqtt.MqttError."""
        lost = asyncio.create_task(_until_lost(client), name="alerts-broker-lost")
        try:
            while not lost.done():
                self._changed.clear()
                while self._waiting:
                    topic = next(iter(self._waiting))
                    body = self._waiting[topic]
                    await client.publish(topic, body, qos=QOS, retain=True)
                    self.status.told += 1
                    self._backoff.reset()
                    if self._waiting.get(topic) is body:
                        del self._waiting[topic]
                changed = asyncio.create_task(self._changed.wait(), name="alerts-broker-news")
                try:
                    await asyncio.wait({lost, changed}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
            lost.result()
        finally:
            lost.cancel()
            await asyncio.wait({lost})

    def _client(self) -> aiomqtt.Client:
        broker = self._broker
        return aiomqtt.Client(
            broker.host,
            broker.port,
            username=None if broker.username is None else broker.username.reveal(),
            password=None if broker.password is None else broker.password.reveal(),
            identifier=self._identifier,
            protocol=aiomqtt.ProtocolVersion.V5 if broker.version == 5 else aiomqtt.ProtocolVersion.V311,
            timeout=CONNECT_S,
            tls_context=self._tls,
        )


async def _until_lost(client: aiomqtt.Client) -> None:
    """Nothing was subscribed: this ends when the connection does. Raises aiomqtt.MqttError."""
    async for _ in client.messages:
        pass


def _first(error: BaseException) -> str:
    """The first reason in a group of failures."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


class _Queued:
    """Notices one after the other, through `_send`; bounded, the oldest are dropped."""

    name = ""

    def __init__(self) -> None:
        self.status = TellerStatus()
        self._waiting: deque[Notice] = deque()
        self._some_wait = asyncio.Event()

    def tell(self, notice: Notice) -> None:
        """Take a notice; while too many wait the oldest is dropped."""
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.popleft()
            self.status.dropped += 1
        self._waiting.append(notice)
        self._some_wait.set()

    def keep(self, notice: Notice) -> None:
        """What was told before this start is not told twice."""

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await self._some_wait.wait()
            while self._waiting:
                try:
                    problem = await self._send(self._waiting.popleft())
                except* UNUSABLE as group:  # connecting raises groups, too
                    problem = f"{self.name} cannot be used: {_first(group)}"
                self.status.told += not problem
                self.status.failed += bool(problem)
                if problem:
                    _log.warning("alert not told", through=self.name, reason=problem)
                self.status.problem = problem
            self._some_wait.clear()

    async def _send(self, notice: Notice) -> str:
        """Why it could not be told, empty when it was."""
        raise NotImplementedError


class CommandTeller(_Queued):
    """Runs a command of the local file, without a shell; the notice is its standard input."""

    name = "command"

    def __init__(self, argv: tuple[str, ...]) -> None:
        super().__init__()
        self._argv = argv

    async def _send(self, notice: Notice) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            return f"{self._argv[0]} cannot be run: {error.strerror}"
        try:
            async with asyncio.timeout(COMMAND_S):
                await process.communicate(notice.body)
        except TimeoutError:
            return f"{self._argv[0]} took longer than {COMMAND_S:.0f} s and was killed"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return f"{self._argv[0]} ended with {process.returncode}" if process.returncode else ""


class WebhookTeller(_Queued):
    """POSTs the notice to an address of the local file; tries a few times."""

    name = "webhook"

    def __init__(self, webhook: Webhook, rng: Random) -> None:
        super().__init__()
        self._url = webhook.url
        self._headers = {"Content-Type": "application/json"}
        if webhook.token is not None:
            self._headers["Authorization"] = f"Bearer {webhook.token.reveal()}"
        self._rng = rng

    async def _send(self, notice: Notice) -> str:
        backoff = Backoff(self._rng, cap_s=RECONNECT_CAP_S)
        problem = ""
        async with httpx.AsyncClient(timeout=WEBHOOK_S, trust_env=False) as client:
            for left in reversed(range(TRIES_MAX)):
                try:
                    answer = await client.post(self._url, content=notice.body, headers=self._headers)
                except httpx.HTTPError as error:
                    problem = str(error) or type(error).__name__
                else:
                    if not answer.is_error:
                        return ""
                    problem = f"the webhook answered {answer.status_code}"
                    if answer.is_client_error and answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                        return problem  # waiting does not help
                if left:
                    await asyncio.sleep(backoff.next_s())
        return problem
