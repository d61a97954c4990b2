"""What the rest of the cloud asks of the facts: ledgers, states of devices over time, covered cells.

Everything here blocks (SQLite); safe to call from several threads.
"""

from collections.abc import Iterable, Sequence
from threading import Lock
from time import monotonic

import sqlalchemy as sa

from cloud.facts.barriers import Balance
from cloud.facts.claims import QUARTER_MS
from cloud.facts.counted_groups import group_balances
from cloud.facts.coverage_days import CoveredDay, covered_day, has_cells_to_compute, quarters_of, step_cells
from cloud.facts.database import reading
from cloud.facts.day_work import has_days_to_compute, step_days
from cloud.facts.days import day_bounds, day_of, days_between
from cloud.facts.device_days import device_timelines
from cloud.facts.equipment_lookup import EquipmentFacts
from cloud.facts.equipment_past import EquipmentTimeline
from cloud.facts.ledger import Ledger
from cloud.facts.ledgers import LedgerVersion, ledger_version, parsed_versions, sites_with_ledger
from cloud.facts.patrol_plan import History, Plans
from cloud.facts.rows import Profiles, first_run_ms
from cloud.facts.timelines import Timeline


class FactStore:
    """Reads one database and keeps what is derived in it up to date. One for a database (see `day_work`).

    Keeps parsed ledgers and profiles; what it answers depends on the database only. An eager one derives all that it
    needs before it answers; the other answers from what is derived already, until somebody calls `settle`.
    """

    def __init__(self, engine: sa.Engine, *, eager: bool = True) -> None:
        self.engine = engine
        self._eager = eager
        self._deriving = Lock()
        self.profiles = Profiles()
        self.of_equipment = EquipmentFacts(engine, self.profiles)
        self._plans = Plans()
        self._ledgers: dict[str, tuple[int, tuple[LedgerVersion, ...]]] = {}
        self._lock = Lock()

    def sites(self) -> list[Ledger]:
        """The newest ledger of every site, by site id."""
        with reading(self.engine) as connection:
            names = sites_with_ledger(connection)
        return [ledger for ledger in map(self.ledger, names) if ledger is not None]

    def ledger(self, site: str) -> Ledger | None:
        """The newest ledger of a site, the same object while there is no newer one; None for an unknown site."""
        versions = self.ledgers(site)
        return max(versions, key=lambda one: one.version).ledger if versions else None

    def ledgers(self, site: str) -> Sequence[LedgerVersion]:
        """The versions of a site's ledger that hold one after the other, by the time from which each does.

        The same objects while there is no newer one; empty for an unknown site.
        """
        with reading(self.engine) as connection:
            newest = ledger_version(connection, site)
            with self._lock:
                known = self._ledgers.get(site, (0, ()))
            if known[0] == newest:
                return known[1]
            versions = parsed_versions(connection, site, known[1])
        with self._lock:
            self._ledgers[site] = newest, versions
        return versions

    def ledger_on(self, site: str, day: int) -> Ledger | None:
        """The ledger that holds at the end of a local day (its ordinal); what came before the first is read by it."""
        versions = self.ledgers(site)
        if not versions:
            return None
        end_ms = day_bounds(day, versions[-1].ledger.site.time_zone)[1]
        held = [one for one in versions if one.valid_from_ms < end_ms]
        return (held or versions)[-1 if held else 0].ledger

    def timelines(
        self, ledger: Ledger, from_ms: int, to_ms: int, devices: Iterable[str] | None = None
    ) -> dict[str, Timeline]:
        """As `device_days.device_timelines`, for the site of this ledger. `to_ms` must not lie ahead of now."""
        site = ledger.site
        if self._eager:
            self.settle(ledger, to_ms)
        return device_timelines(
            self.engine, site.id, site.time_zone, (from_ms, to_ms), known=self.profiles, devices=devices
        )

    def equipment(self, ledger: Ledger, from_ms: int, to_ms: int, now_ms: int) -> list[EquipmentTimeline]:
        """Everything that is or was equipment of this ledger's site in [from_ms, to_ms), up to now; robots, too.

        By the ledger of each day, in the order of the newest; with calendars, maintenance, redundancy and whatever
        else people entered (domain.md 1.2 to 1.4).
        """
        if self._eager:
            self.settle(ledger, now_ms)
        versions = self.ledgers(ledger.site.id) or (LedgerVersion(0, ledger, 0),)
        return self.of_equipment.timelines(versions, from_ms, to_ms, now_ms)

    def balances(self, ledger: Ledger, from_ms: int, to_ms: int) -> dict[str, Balance]:
        """As `counted_groups.group_balances`. `to_ms` must not lie ahead of now."""
        if self._eager:
            self.settle(ledger, to_ms)
        return group_balances(self.engine, ledger, from_ms, to_ms, known=self.profiles)

    def patrol_history(self, ledger: Ledger) -> History:
        """What robots are to see, by day: of the ledgers of this ledger's site."""
        versions = [(one.valid_from_ms, one.ledger) for one in self.ledgers(ledger.site.id)]
        return self._plans.history(versions or [(0, ledger)])

    def covered_days(
        self, ledger: Ledger, from_ms: int, to_ms: int, now_ms: int, *, passes: bool = False
    ) -> list[CoveredDay]:
        """What robots saw on each local day that [from_ms, to_ms) touches, within it. Whole quarter hours count."""
        if self._eager:
            self.settle(ledger, max(from_ms, now_ms))
        history = self.patrol_history(ledger)
        wanted = range(from_ms // QUARTER_MS, -(-to_ms // QUARTER_MS))
        robots = quarters_of(self.engine, history, wanted, now_ms)
        return [
            covered_day(history.on(day), day, (from_ms, to_ms), robots, passes=passes)
            for day in days_between(from_ms, to_ms, ledger.site.time_zone)
        ]

    def first_heard_ms(self, site: str) -> int | None:
        """The earliest moment that any frame of a site speaks of; None before the first one."""
        with reading(self.engine) as connection:
            return first_run_ms(connection, site)

    def settle(self, ledger: Ledger, now_ms: int, patience_s: float | None = None) -> bool:
        """Derive what is missing or out of date before now: everything, or about as long as patience lasts.

        Gives whether everything is derived.
        """
        until = None if patience_s is None else monotonic() + patience_s
        while True:
            if not self._deriving.acquire(timeout=-1 if until is None else max(until - monotonic(), 0)):
                return False
            try:
                more = self._step(ledger, now_ms)
            finally:
                self._deriving.release()
            if not more:
                return True
            if until is not None and monotonic() >= until:
                return False

    def is_settled(self, ledger: Ledger, to_ms: int) -> bool:
        """Whether what lies before a moment is derived from all that arrived; its own day and quarter never are."""
        history = self.patrol_history(ledger)
        day = day_of(to_ms - 1, ledger.site.time_zone)
        before_ms = day_bounds(day, ledger.site.time_zone)[0]
        with reading(self.engine) as connection:
            return not (
                has_days_to_compute(connection, ledger.site.id, ledger.site.time_zone, day, before_ms)
                or has_cells_to_compute(connection, history, to_ms // QUARTER_MS)
            )

    def _step(self, ledger: Ledger, now_ms: int) -> bool:
        site = ledger.site
        today = day_of(now_ms - 1, site.time_zone)
        more = step_days(self.engine, site.id, site.time_zone, today, self.profiles)
        return step_cells(self.engine, self.patrol_history(ledger), now_ms // QUARTER_MS) or more
