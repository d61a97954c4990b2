"""What the rest of the cloud asks of the facts: ledgers, states of devices over time, covered cells.

Everything here blocks (SQLite); safe to call from several threads.
"""

from collections.abc import Iterable
from threading import Lock

import sqlalchemy as sa

from cloud.facts.claims import QUARTER_MS
from cloud.facts.coverage_days import CoveredDay, Plans, covered_day, quarters_of
from cloud.facts.coverage_zones import Raster
from cloud.facts.database import reading
from cloud.facts.days import days_between
from cloud.facts.device_days import device_timelines
from cloud.facts.inputs import current_ledger, ledger_version, sites_with_ledger
from cloud.facts.ledger import Ledger
from cloud.facts.rows import Profiles
from cloud.facts.timelines import Timeline


class FactStore:
    """Reads one database. Keeps parsed ledgers and profiles; what it answers depends on the database only."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.profiles = Profiles()
        self._plans = Plans()
        self._ledgers: dict[str, tuple[int, Ledger]] = {}
        self._lock = Lock()

    def sites(self) -> list[Ledger]:
        """The newest ledger of every site, by site id."""
        with reading(self.engine) as connection:
            names = sites_with_ledger(connection)
        return [ledger for ledger in map(self.ledger, names) if ledger is not None]

    def ledger(self, site: str) -> Ledger | None:
        """The newest ledger of a site, the same object while there is no newer one; None for an unknown site."""
        with reading(self.engine) as connection:
            version = ledger_version(connection, site)
            with self._lock:
                known = self._ledgers.get(site)
            if known is not None and known[0] == version:
                return known[1]
            ledger = current_ledger(connection, site)
        if ledger is not None:
            with self._lock:
                self._ledgers[site] = version, ledger
        return ledger

    def timelines(
        self, ledger: Ledger, from_ms: int, to_ms: int, devices: Iterable[str] | None = None
    ) -> dict[str, Timeline]:
        """As `device_days.device_timelines`, for the site of this ledger. `to_ms` must not lie ahead of now."""
        site = ledger.site
        return device_timelines(
            self.engine, site.id, site.time_zone, (from_ms, to_ms), known=self.profiles, devices=devices
        )

    def rasters(self, ledger: Ledger) -> dict[str, Raster]:
        """Rasters of the floors that have zones, by map."""
        return self._plans.of(ledger)[1]

    def covered_days(
        self, ledger: Ledger, from_ms: int, to_ms: int, now_ms: int, *, passes: bool = False
    ) -> list[CoveredDay]:
        """What robots saw on each local day that [from_ms, to_ms) touches, within it. Whole quarter hours count."""
        rasters = self.rasters(ledger)
        wanted = range(from_ms // QUARTER_MS, -(-to_ms // QUARTER_MS))
        robots = quarters_of(self.engine, ledger, self._plans, wanted, now_ms)
        return [
            covered_day(ledger, rasters, day, (from_ms, to_ms), robots, passes=passes)
            for day in days_between(from_ms, to_ms, ledger.site.time_zone)
        ]
