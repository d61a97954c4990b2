"""Timelines of equipment: a site-month, and what a late frame costs. CPU time of one process.

A site of 50 machines that change their state 96 times a day, told hourly for 33 days.
"""

import random
import tempfile
from pathlib import Path

from benchmarks.figures import Figure, cpu_seconds
from cloud.facts.store import FactStore
from cloud.indicators.registry import compute_indicator
from tests.cloud.told import Cloud, Entry, Told, inventory, ledger_text, new_cloud

MACHINES, DAYS = 50, 33
CHANGES_PER_HOUR = 4
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
BEGIN_MS = 20_500 * DAY_MS
MONTH = (BEGIN_MS, BEGIN_MS + 30 * DAY_MS)
NOW_MS = BEGIN_MS + DAYS * DAY_MS
NAMES = [f"m-{number}" for number in range(MACHINES)]
RATE = "equipment.intact_rate"
LEDGER = ledger_text(
    "equipment:",
    *(f"  - {{id: {name}, name: {{en: N, zh-CN: N}}, code: c, class: pump, criticality: B, device: {name}}}"
      for name in NAMES),
)  # fmt: skip


def measure() -> list[Figure]:
    """Milliseconds of each."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as folder:
        cloud = new_cloud(Path(folder))
        ledger = cloud.ledger(LEDGER)
        _tell(cloud)
        cloud.facts.settle(ledger, NOW_MS)
        store = FactStore(cloud.engine, eager=False)

        def month() -> object:
            return compute_indicator(store, ledger, RATE, MONTH, NOW_MS)

        def first() -> object:
            return compute_indicator(FactStore(cloud.engine, eager=False), ledger, RATE, MONTH, NOW_MS)

        def so_far() -> object:
            return compute_indicator(store, ledger, RATE, (BEGIN_MS, NOW_MS - HOUR_MS), NOW_MS - HOUR_MS)

        figures = [
            Figure("a site-month, asked before", _ms(cpu_seconds(month)), "ms", "<= 20"),
            Figure("a site-month, asked for the first time by a process", _ms(cpu_seconds(first)), "ms"),
            Figure("a month up to now, in which today is worked out", _ms(cpu_seconds(so_far)), "ms"),
        ]
        figures += [
            Figure(
                f"a late frame that touches {touched} days of {MACHINES} machines", _late(cloud, store, touched), "ms"
            )
            for touched in (1, 2, 8)
        ]
        cloud.engine.dispose()
    return figures


def _late(cloud: Cloud, store: FactStore, touched: int) -> list[float]:
    """From the frame's facts to the month's rate being right again."""
    ledger = cloud.facts.ledger("site-1")
    assert ledger is not None
    turn = iter(range(1, 1_000))

    def late() -> None:
        number = next(turn)
        device = NAMES[number % MACHINES]
        moments = [BEGIN_MS + (10 + day) * DAY_MS + number * 60_000 + 7 for day in range(touched)]
        entries = tuple(
            Entry(device, "alarm", moment + step, float(step == 0)) for moment in moments for step in (0, 20_000)
        )
        cloud.tell([Told(1, moments[0], moments[-1] + 1, entries, epoch=f"l{touched}{number:06}".encode())])
        store.settle(ledger, NOW_MS)
        compute_indicator(store, ledger, RATE, MONTH, NOW_MS)

    return _ms(cpu_seconds(late))


def _ms(seconds: list[float]) -> list[float]:
    return [one * 1000 for one in seconds]


def _tell(cloud: Cloud) -> None:
    rng = random.Random(7)
    frames = []
    for hour in range(DAYS * 24):
        begin = BEGIN_MS + hour * HOUR_MS
        entries: list[Entry] = []
        for name in NAMES:
            moments = sorted(rng.sample(range(0, HOUR_MS, 1_000), CHANGES_PER_HOUR))
            entries += [Entry(name, "running", begin + moment, float(rng.random() < 0.5)) for moment in moments]
            if hour == 0 or rng.random() < 0.02:
                entries.append(Entry(name, "alarm", begin, float(rng.random() < 0.3)))
        records = inventory(NAMES, begin) if hour == 0 else ()
        frames.append(Told(hour + 1, begin, begin + HOUR_MS, tuple(entries), records))
        if len(frames) == 48:
            cloud.tell(frames)
            frames = []
    cloud.tell(frames)
