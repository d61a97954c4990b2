"""Daily roots as records: written once when a UTC day is over, and never again. Blocks, but for `run`."""

import asyncio
from collections.abc import Callable

import msgspec
import sqlalchemy as sa
import structlog

from cloud.evidence.roots import DAY_MS, DayRoot, SiteRoot, day_roots, entries_from
from cloud.facts.database import reading, writing
from cloud.facts.failures import asking
from cloud.facts.tables_evidence import merkle_roots
from cloud.ingest.gateways import GatewayKeys
from cloud.ingest.log import FrameLog
from devices.errors import StorageUnavailable

DEPLOYMENT = ""
LOOK_S = 600.0
SETTLED_MS = 600_000
_log = structlog.get_logger(__name__)


class RootRecord:
    """The roots of a deployment."""

    def __init__(self, engine: sa.Engine, log: FrameLog, keys: GatewayKeys, now: Callable[[], int]) -> None:
        self._engine = engine
        self._frames = log
        self._keys = keys
        self._now = now

    async def run(self) -> None:
        """Record finished days until cancelled."""
        while True:
            try:
                await asyncio.to_thread(self.record)
            except StorageUnavailable as error:
                _log.warning("daily roots wait for the disk", problem=str(error))
            await asyncio.sleep(LOOK_S)

    def record(self) -> int:
        """Write the roots of the days that are over and not written yet; how many."""
        today = (self._now() - SETTLED_MS) // DAY_MS  # what was received before midnight is in the log by then
        with asking("daily roots"), reading(self._engine) as connection:
            last = connection.execute(sa.select(sa.func.max(merkle_roots.c.day))).scalar_one()
        from_ms = 0 if last is None else (int(last) + 1) * DAY_MS
        if from_ms >= today * DAY_MS:
            return 0
        found = day_roots(entries_from(self._frames, from_ms), self._keys, today)
        if last is not None:  # days before the first frame of this look had none
            empty = range(int(last) + 1, found[0].day if found else today)
            found = [*(DayRoot(day, {}) for day in empty), *found]
        rows = [
            {"site": DEPLOYMENT, "day": one.day, "root": one.root, "body": _text(one), "recorded_ms": self._now()}
            for one in found
        ]
        if rows:
            with asking("daily roots"), writing(self._engine) as connection:
                connection.execute(sa.insert(merkle_roots).prefix_with("OR IGNORE"), rows)
        return len(rows)

    def between(self, first_day: int, last_day: int) -> list[DayRoot]:
        """The recorded roots of [first_day, last_day]."""
        mine = (merkle_roots.c.site == DEPLOYMENT) & merkle_roots.c.day.between(first_day, last_day)
        with asking("daily roots"), reading(self._engine) as connection:
            rows = connection.execute(sa.select(merkle_roots).where(mine).order_by(merkle_roots.c.day)).all()
        return [DayRoot(row.day, _sites(row.body)) for row in rows]


def _text(one: DayRoot) -> str:
    parts = {site: [part.root.hex(), part.frames] for site, part in sorted(one.sites.items())}
    return msgspec.json.encode(parts).decode()


def _sites(text: str) -> dict[str, SiteRoot]:
    decoded: dict[str, tuple[str, int]] = msgspec.json.decode(text, type=dict[str, tuple[str, int]])
    return {site: SiteRoot(bytes.fromhex(root), frames) for site, (root, frames) in decoded.items()}
