"""Local alerts of a running agent: conditions, whom they are told, and what the next start must know of them."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import msgspec
import structlog

from devices.errors import StorageUnavailable
from devices.records import LocalAlert
from devices.segments import write_durably
from edge.alert_settings import AlertSettings, rules_at_edge
from edge.clock import Moment
from edge.config import MqttBroker, Site
from edge.drivers.mqtt_client import tls_context
from edge.items import Item
from edge.local_alerts import ACTIVE, LocalAlerts, Standing
from edge.local_alerts_telling import BrokerTeller, CommandTeller, Notice, Teller, WebhookTeller, notice_of, topic_of

TICK_S = 0.25  # a delay that ends is told this much late at most ...
IDLE_TICK_S = 1.0  # ... and silence by this much, while no delay runs
STANDING_FILE = "local-alerts.json"
STANDING_FORMAT = 1
GONE = b""  # a retained message without content: the broker forgets the topic
RETRY_S = 5.0

_log = structlog.get_logger(__name__)


class _StandingFile(msgspec.Struct, frozen=True):
    format: int
    alerts: tuple[tuple[str, str, int, str], ...]  # rule, thing, Unix ms UTC, severity


class AlertDesk:
    """Feed it with `take`; `run` as a task. `sealed` takes each change for the events lane."""

    def __init__(
        self, site: Site, now: Callable[[], Moment], rng: Random, sealed: Callable[[LocalAlert, Moment], None],
        rate: float = 1.0,
    ) -> None:  # fmt: skip
        config = site.config
        self._site, self._gateway = config.site, config.gateway
        self._now = now
        self._sealed = sealed
        self._rate = rate
        self._path = site.data_path / STANDING_FILE
        self._rules = {rule.id: rule for rule in rules_at_edge(config.local_alerts)}
        began = now()
        self._alerts = LocalAlerts(site.devices, tuple(self._rules.values()), began, _load(self._path))
        self.tellers = _tellers(config.local_alerts, site, rng)
        self._changed = asyncio.Event()
        for alert in self._alerts.active(began):
            self._keep(notice_of(self._site, self._gateway, alert, self._rules[alert.rule], began))
        for alert in self._alerts.forgotten:
            self._sealed(alert, began)
            self._keep(Notice(topic_of(self._site, self._gateway, alert.rule, alert.thing), GONE))
            self._changed.set()

    @property
    def active(self) -> list[LocalAlert]:
        """Every local alert that is active now."""
        return self._alerts.active(self._now())

    def take(self, items: Sequence[Item], moment: Moment) -> None:
        """What was read just now. Never waits."""
        self._tell(self._alerts.take(items, moment), moment)

    async def run(self) -> None:
        """Let time pass and tell, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for teller in self.tellers:
                group.create_task(teller.run(), name=f"alerts {teller.name}")
            group.create_task(self._save(), name="alerts file")
            while True:
                await asyncio.sleep((TICK_S if self._alerts.waits else IDLE_TICK_S) / self._rate)
                moment = self._now()
                self._tell(self._alerts.tick(moment), moment)

    def _tell(self, alerts: Sequence[LocalAlert], moment: Moment) -> None:
        for alert in alerts:
            rule = self._rules[alert.rule]
            log = _log.warning if alert.condition == ACTIVE else _log.info
            log("local alert", rule=alert.rule, thing=alert.thing, condition=alert.condition, severity=alert.severity)
            self._sealed(alert, moment)
            notice = notice_of(self._site, self._gateway, alert, rule, moment)
            for teller in self.tellers:
                teller.tell(notice)
            self._changed.set()

    def _keep(self, notice: Notice) -> None:
        """It was active when the agent ended: the broker is told again, people are not, the cloud knows."""
        for teller in self.tellers:
            teller.keep(notice)

    async def _save(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            standing = _StandingFile(
                STANDING_FORMAT,
                tuple((one.rule, one.thing, one.since_ms, one.severity) for one in self._alerts.standing(self._now())),
            )
            try:
                await asyncio.to_thread(write_durably, self._path, msgspec.json.encode(standing))
            except StorageUnavailable as error:
                _log.warning("active alerts are not on disk", reason=str(error))
                self._changed.set()
                await asyncio.sleep(RETRY_S)


def _tellers(settings: AlertSettings, site: Site, rng: Random) -> list[Teller]:
    tellers: list[Teller] = []
    broker = _broker(settings, site)
    if broker is not None:
        identifier = f"gatehouse/{site.config.site}/{site.config.gateway}/alerts"
        tellers.append(BrokerTeller(broker, identifier, tls_context(broker, site.folder), Random(rng.getrandbits(64))))
    if settings.command is not None:
        tellers.append(CommandTeller(settings.command))
    if settings.webhook is not None:
        tellers.append(WebhookTeller(settings.webhook, Random(rng.getrandbits(64))))
    return tellers


def _broker(settings: AlertSettings, site: Site) -> MqttBroker | None:
    """The site's broker: the one named, else the first."""
    if not settings.publish:
        return None
    brokers = {one.id: one.mqtt for one in site.config.connections if one.mqtt is not None}
    return brokers.get(settings.connection) if settings.connection else next(iter(brokers.values()), None)


def _load(path: Path) -> tuple[Standing, ...]:
    """What was active when the agent ended; nothing when the file is not there or says nothing."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_StandingFile)
    except FileNotFoundError:
        return ()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("cannot tell which alerts were active", reason=str(error))
        return ()
    return tuple(Standing(*one) for one in found.alerts)
