"""Looks up what timelines of equipment are put together from: states of devices, ledgers, inputs. Blocks (SQLite)."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from zoneinfo import ZoneInfo

import numpy as np
import sqlalchemy as sa

from cloud.facts.database import device_days, device_infos, reading, runs
from cloud.facts.days import Span, day_bounds, day_of
from cloud.facts.device_days import device_timelines
from cloud.facts.equipment_inputs import DOCUMENTS, entered_of
from cloud.facts.equipment_past import EquipmentTimeline, Given, put_together
from cloud.facts.equipment_policy import EQUIPMENT_POLICY, policies_of
from cloud.facts.equipment_roster import Member, roster
from cloud.facts.equipment_states import joined_gaps
from cloud.facts.inputs import EVERY_SITE, inputs_of
from cloud.facts.ledger_equipment import NO_DEVICE
from cloud.facts.ledgers import LedgerVersion
from cloud.facts.rows import Profiles
from cloud.facts.timelines import FAULT, SILENT, STATE_BITS, UNKNOWN, Timeline, constant, joined

GATEWAY_GAP_MS = 180_000  # a gateway that is heard again within 3 min was not away (domain.md 6)
LOOK_BACK_MS = 24 * 3_600_000  # before a window, to know what a state shorter than the debounce came out of
_WHOLE_DAYS_MAX = 400  # of one state that are looked through, one by one

RedAlerts = Callable[[str, int, int], Mapping[str, Sequence[Span]]]


def no_red_alerts(site: str, from_ms: int, to_ms: int) -> Mapping[str, Sequence[Span]]:  # noqa: ARG001
    """Where nobody keeps alerts."""
    return {}


class EquipmentFacts:
    """Timelines of equipment of one database. `red_alerts` tells when red alerts stood, by equipment."""

    def __init__(self, engine: sa.Engine, profiles: Profiles, red_alerts: RedAlerts = no_red_alerts) -> None:
        self._engine = engine
        self._profiles = profiles
        self.red_alerts = red_alerts

    def timelines(
        self, versions: Sequence[LedgerVersion], from_ms: int, to_ms: int, now_ms: int
    ) -> list[EquipmentTimeline]:
        """Everything that was equipment of the site in [from_ms, to_ms), as known at `now_ms`; see `FactStore`."""
        newest = max(versions, key=lambda one: one.version).ledger
        site, zone = newest.site.id, newest.site.time_zone
        with reading(self._engine) as connection:
            given = given_of(connection, site)
        members = roster(versions, given.policies, from_ms, to_ms)
        debounce_ms = max(one.debounce_ms for one in given.policies.policies)
        begin = from_ms - LOOK_BACK_MS
        known_to_ms = max(min(to_ms + debounce_ms, now_ms), begin + 1)
        names = _devices(members)
        devices = device_timelines(
            self._engine, site, zone, (begin, known_to_ms), known=self._profiles, devices=names
        )  # fmt: skip
        with reading(self._engine) as connection:
            devices = with_beginnings(connection, site, devices, zone)
            silent = {one for policy in given.policies.policies for one in policy.silent_fault_classes}
            heard = gateways_heard(connection, site, names) if silent else {}
        red: Mapping[str, Sequence[Span]] = {}
        if any(one.degraded_class_a_red == "down" for one in given.policies.policies):
            red = self.red_alerts(site, from_ms, to_ms)
        found = put_together(members, given, devices, (from_ms, max(to_ms, known_to_ms)), heard=heard, red=red)
        return [one.clipped(from_ms, min(to_ms, now_ms)) for one in found]


def _devices(members: Mapping[str, Member]) -> list[str]:
    return sorted({device for one in members.values() for _, device in one.devices} - {NO_DEVICE})


def given_of(connection: sa.Connection, site: str) -> Given:
    """Policies of the site and of every site, and what was entered about its equipment."""
    by_kind = {kind: inputs_of(connection, site, kind) for kind in DOCUMENTS if kind != EQUIPMENT_POLICY}
    policies = [one for where in (EVERY_SITE, site) for one in inputs_of(connection, where, EQUIPMENT_POLICY)]
    return Given(policies_of(policies), entered_of(by_kind))


def with_beginnings(
    connection: sa.Connection, site: str, devices: Mapping[str, Timeline], zone: ZoneInfo
) -> dict[str, Timeline]:
    """Timelines that begin in the midst of a fault or a silence, lengthened to where that began."""
    found = {}
    for device, timeline in devices.items():
        code = int(timeline.codes[0]) & STATE_BITS if len(timeline.codes) else -1
        earlier = _before(connection, site, device, timeline, zone) if code in {FAULT, UNKNOWN} else None
        found[device] = timeline if earlier is None else joined([earlier, timeline])
    return found


def _before(connection: sa.Connection, site: str, device: str, timeline: Timeline, zone: ZoneInfo) -> Timeline | None:
    begin = int(timeline.starts[0])
    code, day = int(timeline.codes[0]) & STATE_BITS, day_of(begin, zone)
    same = [bytes([code])] + ([bytes([FAULT | SILENT])] if code == FAULT else [])
    table = device_days
    for _ in range(_WHOLE_DAYS_MAX):
        row = connection.execute(
            sa.select(table.c.day, table.c.starts, table.c.codes)
            .where(table.c.site == site, table.c.device == device, table.c.day < day, table.c.codes.not_in(same))
            .order_by(table.c.day.desc())
            .limit(1)
        ).one_or_none()
        if row is None:
            return None
        codes = np.frombuffer(row.codes, np.uint8)
        day = row.day
        if (codes & STATE_BITS != code).any():
            end_ms = day_bounds(day, zone)[1]
            of_day = Timeline(np.frombuffer(row.starts, "<i8").astype(np.int64), codes, end_ms)
            between = [constant(end_ms, begin, code)] if end_ms < begin else []
            return joined([of_day, *between])
    return None


def gateways_heard(connection: sa.Connection, site: str, devices: Sequence[str]) -> dict[str, list[Span]]:
    """When the gateway of each device was heard, short breaks left out."""
    named = sa.select(device_infos.c.device, device_infos.c.gateway).distinct()
    mine = named.where(device_infos.c.site == site, device_infos.c.device.in_(devices))
    gateways: dict[str, set[str]] = defaultdict(set)
    for device, gateway in connection.execute(mine):
        gateways[device].add(gateway)
    spans: dict[str, list[Span]] = defaultdict(list)
    ordered = sa.select(runs.c.gateway, runs.c.from_ms, runs.c.to_ms).where(runs.c.site == site)
    for row in connection.execute(ordered.order_by(runs.c.from_ms)):
        spans[row.gateway].append((row.from_ms, row.to_ms))
    return {
        device: joined_gaps(sorted(span for name in names for span in spans[name]), GATEWAY_GAP_MS)
        for device, names in gateways.items()
    }
