"""Stays of robots at places over a window, and the last one before it: from the store, the running quarter hour new."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import sqlalchemy as sa

from cloud.facts.claims import QUARTER_MS
from cloud.facts.coverage_days import running_quarter
from cloud.facts.database import reading
from cloud.facts.patrol_plan import History
from cloud.facts.tables_patrol import visits
from cloud.facts.visits import Stay, merged_stays, unpack_stays

Dwell = tuple[int, int]  # from when on (Unix ms UTC) a robot must stay for how many ms
Stays = dict[str, dict[str, list[Stay]]]  # place -> device -> stays, ascending and apart
ROWS_BACK_MAX = 2_000  # how many quarter hours with short stays are searched for one that is long enough


def stays_between(engine: sa.Engine, history: History, from_ms: int, to_ms: int, now_ms: int) -> Stays:
    """Stays that meet [from_ms, to_ms), as far as they lie in its quarter hours and in the hour around it."""
    quarters = range((from_ms - 4 * QUARTER_MS) // QUARTER_MS, (to_ms + 4 * QUARTER_MS) // QUARTER_MS + 1)
    running = now_ms // QUARTER_MS
    parts: dict[str, dict[str, list[Stay]]] = defaultdict(lambda: defaultdict(list))
    with reading(engine) as connection:
        rows = connection.execute(
            sa.select(visits.c.place, visits.c.device, visits.c.stays).where(
                visits.c.site == history.site,
                visits.c.utc_quarter >= quarters.start,
                visits.c.utc_quarter < min(quarters.stop, running),
            )
        )
        for row in rows:
            parts[row.place][row.device] += unpack_stays(row.stays)
        if running in quarters:
            for device in history.devices:
                for place, stays in running_quarter(connection, history, device, now_ms).stays.items():
                    parts[place][device] += stays
    return {
        place: {
            device: [stay for stay in merged_stays(stays) if stay[0] < to_ms and stay[1] >= from_ms]
            for device, stays in by_device.items()
        }
        for place, by_device in parts.items()
    }


def last_visits(
    engine: sa.Engine, history: History, places: Mapping[str, Sequence[Dwell]], before_ms: int
) -> dict[str, int]:  # fmt: skip
    """When the last visit of each place before a moment ended; places without any are left out.

    `places` are names with the times for which a robot must stay, ascending; a place is none before the first of them.
    """
    found: dict[str, int] = {}
    quarter = before_ms // QUARTER_MS
    with reading(engine) as connection:
        for place, dwells in places.items():
            rows = connection.execute(
                sa.select(visits.c.device, visits.c.stays)
                .where(
                    visits.c.site == history.site,
                    visits.c.place == place,
                    visits.c.utc_quarter <= quarter,
                    visits.c.utc_quarter >= dwells[0][0] // QUARTER_MS,
                )
                .order_by(visits.c.utc_quarter.desc())
                .limit(ROWS_BACK_MAX if any(dwell_ms for _, dwell_ms in dwells) else 8 * max(len(history.devices), 1))
            )
            by_device: dict[str, list[Stay]] = defaultdict(list)
            for row in rows:
                by_device[row.device] += unpack_stays(row.stays)
            last = last_end((merged_stays(of_device) for of_device in by_device.values()), dwells, before_ms)
            if last is not None:
                found[place] = last
    return found


def last_end(stays: Iterable[Iterable[Stay]], dwells: Sequence[Dwell], before_ms: int) -> int | None:
    """When the last visit before a moment ended, each judged by the time that a robot had to stay then."""
    whole = [stay for of_device in stays for stay in of_device if stay[0] < before_ms]
    for (from_ms, dwell_ms), (to_ms, _) in reversed(list(pairwise([*dwells, (before_ms, 0)]))):
        found = visits_within(whole, dwell_ms, from_ms, min(to_ms, before_ms))
        if found:
            return max(end for _, end in found)
    return None


def visits_within(stays: Iterable[Stay], dwell_ms: int, from_ms: int, to_ms: int) -> list[Stay]:
    """The parts in [from_ms, to_ms] of the stays that are long enough as a whole."""
    return [
        (max(begin, from_ms), min(end, to_ms))
        for begin, end in stays
        if begin < to_ms and end >= from_ms and end - begin >= dwell_ms
    ]
