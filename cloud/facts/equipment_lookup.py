"""Looks up what timelines of equipment are put together from: states of devices, ledgers, inputs. Blocks (SQLite)."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import sqlalchemy as sa

from cloud.facts.database import device_days, device_heads, device_infos, reading, runs
from cloud.facts.day_work import days_version
from cloud.facts.days import Span, day_bounds, day_of
from cloud.facts.device_days import device_timelines, gapless, stored_days
from cloud.facts.equipment_inputs import DOCUMENTS, entered_of
from cloud.facts.equipment_kept import Kept, KeptTimelines, Stamp, changed_devices, refreshed
from cloud.facts.equipment_past import EquipmentTimeline, Given, followed, put_together
from cloud.facts.equipment_policy import EQUIPMENT_POLICY, policies_of
from cloud.facts.equipment_roster import Member, groups_of, rosters
from cloud.facts.equipment_states import FAILURE_GAP_MS, joined_gaps
from cloud.facts.inputs import EVERY_SITE, inputs_of, revision
from cloud.facts.ledger_equipment import NO_DEVICE
from cloud.facts.ledgers import LedgerVersion
from cloud.facts.rows import Profiles
from cloud.facts.timelines import FAULT, SILENT, STATE_BITS, UNKNOWN, Timeline, constant, joined

GATEWAY_GAP_MS = 180_000  # a gateway that is heard again within 3 min was not away (domain.md 6)
LOOK_BACK_MS = 24 * 3_600_000  # before a window, to know what a state shorter than the debounce came out of
_LOOKS_MAX = 400  # for the beginning of a stop or a silence

RedAlerts = Callable[[str, int, int], Mapping[str, Sequence[Span]]]


def no_red_alerts(site: str, from_ms: int, to_ms: int) -> Mapping[str, Sequence[Span]]:  # noqa: ARG001
    """Where nobody keeps alerts."""
    return {}


class EquipmentFacts:
    """Timelines of equipment of one database. `red_alerts` tells when red alerts stood, by equipment.

    Past days are kept in memory once they were asked for; the last stored day and today are worked out at each
    question. What a policy makes depend on more than states of devices (silence, red alerts) is not kept.
    """

    def __init__(self, engine: sa.Engine, profiles: Profiles, red_alerts: RedAlerts = no_red_alerts) -> None:
        self._engine = engine
        self._profiles = profiles
        self._kept = KeptTimelines()
        self._given: dict[str, tuple[tuple[int, int], Given]] = {}
        self.red_alerts = red_alerts
        self.keeps = True

    def timelines(
        self, versions: Sequence[LedgerVersion], from_ms: int, to_ms: int, now_ms: int
    ) -> list[EquipmentTimeline]:
        """Everything that was equipment of the site in [from_ms, to_ms), as known at `now_ms`; see `FactStore`."""
        end_ms = min(to_ms, now_ms)
        with reading(self._engine) as connection:
            site = self._site(connection, versions)
        cut_ms = site.cut_ms
        if cut_ms is None or from_ms >= cut_ms or not (self.keeps and site.can_be_kept):
            return self._work_out(site, from_ms, to_ms, now_ms)
        kept = self._past(site, from_ms, cut_ms)
        past = [one.clipped(from_ms, min(end_ms, cut_ms)) for one in kept.timelines.values()]
        if end_ms <= cut_ms:
            return past
        return followed(past, self._work_out(site, cut_ms, to_ms, now_ms))

    def _site(self, connection: sa.Connection, versions: Sequence[LedgerVersion]) -> "_Site":
        newest = max(versions, key=lambda one: one.version).ledger
        name, zone = newest.site.id, newest.site.time_zone
        last = sa.select(sa.func.min(device_heads.c.last_day)).where(device_heads.c.site == name)
        inputs = revision(connection, name), revision(connection, EVERY_SITE)
        known = self._given.get(name)
        given = known[1] if known is not None and known[0] == inputs else given_of(connection, name)
        self._given[name] = inputs, given
        ledgers = tuple((one.valid_from_ms, one.version) for one in versions)
        stamp = Stamp(ledgers, inputs, int(connection.execute(last).scalar_one() or 0), zone.key)
        return _Site(name, zone, versions, given, stamp, days_version(connection, name))

    def _past(self, site: "_Site", from_ms: int, cut_ms: int) -> Kept:
        kept = self._kept.get(site.id)
        if kept is None or kept.stamp != site.stamp or from_ms < kept.from_ms or site.days_version < kept.days_version:
            begin = day_bounds(day_of(from_ms, site.zone), site.zone)[0]
            found = self._work_out(site, begin, cut_ms, site.stored_to_ms, stored=True)
            kept = Kept(site.stamp, site.days_version, begin, cut_ms, {one.equipment.id: one for one in found})
            self._kept.put(site.id, kept)
        elif kept.days_version < site.days_version:
            with reading(self._engine) as connection:
                changed = changed_devices(connection, site.id, kept.days_version)
            stale: set[str] = set()
            for _, members in rosters(site.versions, site.given.policies, kept.from_ms, cut_ms):
                stale |= _with_mates(members, changed)
            begin = kept.from_ms

            def again(names: Sequence[str]) -> list[EquipmentTimeline]:
                return self._work_out(site, begin, cut_ms, site.stored_to_ms, stored=True, only=names)

            kept = refreshed(kept, site.days_version, stale, again)
            self._kept.put(site.id, kept)
        return kept

    def _work_out(
        self, site: "_Site", from_ms: int, to_ms: int, now_ms: int, *, stored: bool = False,
        only: Sequence[str] | None = None,
    ) -> list[EquipmentTimeline]:  # fmt: skip
        """`stored`: from stored days alone. `only`: of this equipment, whole groups."""
        policies = site.given.policies
        parts = rosters(site.versions, policies, from_ms, to_ms)
        if only is not None:
            parts = [(span, {name: members[name] for name in only if name in members}) for span, members in parts]
        begin = from_ms - LOOK_BACK_MS
        known_to_ms = max(min(to_ms + max(one.debounce_ms for one in policies.policies), now_ms), begin + 1)
        names = sorted({one.equipment.device for _, members in parts for one in members.values()} - {NO_DEVICE})
        devices = self._devices(site, (begin, known_to_ms), names, stored=stored)
        with reading(self._engine) as connection:
            which = set().union(*(_that_need_it(members, site) for _, members in parts))
            devices = with_beginnings(connection, site.id, devices, site.zone, which)
            heard = gateways_heard(connection, site.id, names) if site.silence_counts else {}
        red = self.red_alerts(site.id, from_ms, to_ms) if site.red_counts else {}
        found: list[EquipmentTimeline] = []
        for span, members in parts:
            whole = put_together(members, site.given, devices, span, heard=heard, red=red)
            found = followed(found, [one.clipped(span[0], min(span[1], now_ms)) for one in whole])
        return found

    def _devices(self, site: "_Site", window: Span, names: Sequence[str], *, stored: bool) -> dict[str, Timeline]:
        if not stored:
            return device_timelines(
                self._engine, site.id, site.zone, window, known=self._profiles, devices=names
            )  # fmt: skip
        days = range(day_of(window[0], site.zone), day_of(window[1] - 1, site.zone) + 1)
        with reading(self._engine) as connection:
            found = stored_days(connection, site.id, site.zone, days, names)
        begin = day_bounds(days.start, site.zone)[0]
        return {device: joined(list(gapless(parts, begin))) for device, parts in found.items()}


@dataclass(frozen=True, slots=True)
class _Site:
    """A site as a question finds it."""

    id: str
    zone: ZoneInfo
    versions: Sequence[LedgerVersion]
    given: Given
    stamp: Stamp
    days_version: int

    @property
    def cut_ms(self) -> int | None:
        """Up to where timelines can be kept: the day after it is stored, too, so that nothing before it may change."""
        return day_bounds(self.stamp.last_day, self.zone)[0] if self.stamp.last_day else None

    @property
    def stored_to_ms(self) -> int:
        """The end of the last day that is stored of every device."""
        return day_bounds(self.stamp.last_day, self.zone)[1]

    @property
    def silence_counts(self) -> bool:
        return any(one.silent_fault_classes for one in self.given.policies.policies)

    @property
    def red_counts(self) -> bool:
        return any(one.degraded_class_a_red == "down" for one in self.given.policies.policies)

    @property
    def can_be_kept(self) -> bool:
        return not self.silence_counts and not self.red_counts


def _that_need_it(members: Mapping[str, Member], site: "_Site") -> set[str]:
    """Devices of which it matters when a stop began: of equipment with approved windows, in a group, or by silence."""
    planned = site.given.entered.windows.keys()
    return {
        one.equipment.device for name, one in members.items()
        if name in planned or one.group is not None or site.silence_counts
    }  # fmt: skip


def _with_mates(members: Mapping[str, Member], devices: AbstractSet[str]) -> set[str]:
    """Equipment of these devices, and whoever stands in a group with it."""
    stale = {name for name, one in members.items() if one.equipment.device in devices}
    for names in groups_of(members).values():
        if stale & set(names):
            stale |= set(names)
    return stale


def given_of(connection: sa.Connection, site: str) -> Given:
    """Policies of the site and of every site, and what was entered about its equipment."""
    by_kind = {kind: inputs_of(connection, site, kind) for kind in DOCUMENTS if kind != EQUIPMENT_POLICY}
    policies = [one for where in (EVERY_SITE, site) for one in inputs_of(connection, where, EQUIPMENT_POLICY)]
    return Given(policies_of(policies), entered_of(by_kind))


def with_beginnings(
    connection: sa.Connection, site: str, devices: Mapping[str, Timeline], zone: ZoneInfo, which: AbstractSet[str]
) -> dict[str, Timeline]:
    """Timelines that begin in the midst of a fault or a silence, those named lengthened to where that began."""
    found = dict(devices)
    for device in which & devices.keys():
        for _ in range(_LOOKS_MAX):
            if not _in_the_midst(found[device]):
                break
            earlier = _before(connection, site, device, found[device], zone)
            if earlier is None:
                break
            found[device] = joined([earlier, found[device]])
    return found


def _in_the_midst(timeline: Timeline) -> bool:
    """Whether a silence goes on at its beginning, or a fault that may belong to one before."""
    if not len(timeline.starts):
        return False
    near = timeline.starts <= timeline.starts[0] + FAILURE_GAP_MS
    codes = timeline.codes & STATE_BITS
    return bool(codes[0] == UNKNOWN or (codes[near] == FAULT).any())


def _before(connection: sa.Connection, site: str, device: str, timeline: Timeline, zone: ZoneInfo) -> Timeline | None:
    begin = int(timeline.starts[0])
    code, day = int(timeline.codes[0]) & STATE_BITS, day_of(begin, zone)
    same = [bytes([code])] + ([bytes([FAULT | SILENT])] if code == FAULT else [])
    table = device_days
    for _ in range(_LOOKS_MAX):
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
