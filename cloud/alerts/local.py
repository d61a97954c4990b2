"""What gateways said by their own rules, taken up into the alerts of the cloud: one alert for one key.

The same packaged rules are judged on both sides, so most alerts have two sources; an alert is active while one of
them says so. Turns of conditions are facts, a set whatever the order in which their frames arrived: what holds now is
the newest of a key, and a stretch that had ended by the time it was learned goes to the record and pages nobody.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec
import sqlalchemy as sa
import structlog

from cloud.alerts.alert import Key, Terms
from cloud.alerts.engine import AlertEngine
from cloud.alerts.lifecycle import Cleared, Event, Raised
from cloud.alerts.view import SiteView
from cloud.facts.claims import AHEAD_MS, is_plausible
from cloud.facts.database import reading
from cloud.facts.failures import asking
from cloud.facts.tables_alerts import local_alerts
from devices.errors import StorageUnavailable
from devices.frame import Frame
from devices.instants import format_instant
from devices.records import LocalAlert
from devices.rules import OWN_TEXT, Mode, Rule, Severity, known_rules

ACTIVE = "active"
SOURCE = "edge:"  # before the gateway's id, as a source of an alert
LOOK_BACK_MS = 35 * 86_400_000  # at a start
AGAIN_S = 5.0  # after the store did not answer
UNUSABLE = (ArithmeticError, ValueError, msgspec.MsgspecError)  # what one record, however wrong, can lead to
_log = structlog.get_logger(__name__)


class Turned(NamedTuple):
    """One turn of a condition, as a gateway said it. `since_ms` is when it turned, Unix ms UTC."""

    gateway: str
    rule: str
    device: str
    since_ms: int
    condition: str
    severity: str
    latched: bool
    parameters: str


def stretches(turns: Sequence[Turned]) -> tuple[list[tuple[int, int]], Turned | None]:
    """Of one gateway, rule and device: stretches [from, to) that have ended, and the turn that still holds.

    `turns` are in order of time. What is said twice is one.
    """
    ended: list[tuple[int, int]] = []
    holds: Turned | None = None
    for turn in turns:
        if turn.condition == ACTIVE:
            holds = holds or turn
        elif holds is not None:
            ended.append((holds.since_ms, turn.since_ms))
            holds = None
    return ended, holds


class LocalAlerts:
    """Keeps the alerts of the cloud in step with what gateways say. Belongs to the event loop."""

    def __init__(self, engine: AlertEngine, database: sa.Engine, now: Callable[[], int]) -> None:
        self._engine = engine
        self._database = database
        self._now = now
        self._due: dict[str, int] = {}
        self._wake = asyncio.Event()

    def frames_arrived(self, site: str, frames: Sequence[Frame], received_ms: int) -> None:
        """Take note of what is to be looked at."""
        said = [one.since_ms for frame in frames for one in frame.content.records if isinstance(one, LocalAlert)]
        if said:
            known = all(is_plausible(since_ms, received_ms) for since_ms in said)
            from_ms = min(said) if known else self._now() - LOOK_BACK_MS
            self._due[site] = min(from_ms, self._due.get(site, self._now()))
            self._wake.set()

    async def run(self) -> None:
        """Take up what was said, also before this process began, until cancelled."""
        await self._engine.book.loaded.wait()
        from_ms = self._now() - LOOK_BACK_MS
        for site in await asyncio.to_thread(self._sites):
            self._due[site] = min(from_ms, self._due.get(site, from_ms))
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            due, self._due = self._due, {}
            for site, since_ms in due.items():
                try:
                    await self.look(site, since_ms)
                except UNUSABLE as error:
                    _log.error("local alerts of a site cannot be taken up", site=site, problem=str(error))
                except StorageUnavailable as error:
                    _log.warning("local alerts of a site wait for the disk", site=site, problem=str(error))
                    self._due[site] = min(since_ms, self._due.get(site, since_ms))
                    await asyncio.sleep(AGAIN_S)
                    self._wake.set()

    async def look(self, site: str, since_ms: int) -> None:
        """Take up what turned from a moment on; what cannot be is logged and left out. Raises StorageUnavailable."""
        rows = await asyncio.to_thread(self._turned, site, since_ms)
        view = self._engine.view(site)
        things = {one.device: one.id for one in view.spaces} | {one.device: one.id for one in view.robots}
        things |= {one.device: one.id for one in view.equipment}
        events: list[tuple[Key, Event]] = []
        for (gateway, rule_id, device), group in groupby(rows, key=lambda row: row[:3]):
            rule = view.rules.get(rule_id) or known_rules().get(rule_id)
            if rule is not None and rule.mode is Mode.SHADOW:
                continue
            turns = list(group)
            ended, holds = stretches(turns)
            key = Key(site, rule_id, things.get(device, device))
            alert = self._engine.book.get(key)
            said = alert is not None and alert.active_by(SOURCE + gateway)
            if holds is not None and not said:
                try:
                    events.append((key, _raised(key, holds, rule, view)))
                except UNUSABLE as error:
                    _log.error("a local alert cannot be taken up", site=site, rule=rule_id, problem=str(error))
            elif holds is None and said:
                events.append((key, Cleared(turns[-1].since_ms, SOURCE + gateway)))
            if rule is not None and ended:
                await self._engine.record_spans(rule, key, [span for span in ended if not self._knows(key, span)])
        if events:
            await self._engine.book.apply(events)

    def _knows(self, key: Key, span: tuple[int, int]) -> bool:
        """Whether the alert that stands covers a stretch: then it was no news when it ended."""
        alert = self._engine.book.get(key)
        return alert is not None and alert.opened_ms < span[1] and (alert.cleared_ms or span[0] + 1) > span[0]

    def _sites(self) -> list[str]:
        with asking("local alerts"), reading(self._database) as connection:
            return list(connection.execute(sa.select(local_alerts.c.site).distinct()).scalars())

    def _turned(self, site: str, since_ms: int) -> list[Turned]:
        """Everything said lately of the keys of which something turned from a moment on, in order."""
        columns = local_alerts.c
        with asking("local alerts"), reading(self._database) as connection:
            place = (columns.gateway, columns.rule, columns.device)
            turned = sa.select(*place).where(columns.site == site, columns.since_ms >= max(since_ms, 0)).distinct()
            touched = {tuple(row) for row in connection.execute(turned)}
            query = sa.select(*(columns[name] for name in Turned._fields)).where(
                columns.site == site,
                columns.since_ms >= max(min(since_ms, self._now()) - LOOK_BACK_MS, 0),
                columns.since_ms <= self._now() + AHEAD_MS,  # what an earlier version took in may be anything
            )
            rows = connection.execute(query.order_by(*place, columns.since_ms, columns.condition))
            return [turn for row in rows if (turn := Turned(*row))[:3] in touched]


def _raised(key: Key, turn: Turned, rule: Rule | None, view: SiteView) -> Raised:
    parameters = {"rule_name": key.rule, **msgspec.json.decode(turn.parameters, type=dict[str, str])}
    parameters |= {"thing": key.thing, "since": format_instant(turn.since_ms)}
    drill = view.is_drill(key.thing, turn.since_ms)
    return Raised(key, _terms(turn, rule), turn.since_ms, parameters, SOURCE + turn.gateway, drill)


def _terms(turn: Turned, rule: Rule | None) -> Terms:
    """The colour is the gateway's: its rule may be changed in its own configuration."""
    known = {one.value for one in Severity}
    severity = Severity(turn.severity) if turn.severity in known else rule.severity if rule else Severity.YELLOW
    text, runbook = (rule.text, rule.runbook or "") if rule is not None else (OWN_TEXT, "")
    return Terms(severity, text, turn.latched, runbook)
