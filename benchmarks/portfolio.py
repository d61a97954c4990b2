"""All sites at a glance: 1,000 sites of 20 indicators each, from the store to the bytes of the answer."""

import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import msgspec
import sqlalchemy as sa

from benchmarks.figures import Figure, cpu_seconds
from cloud.facts.database import open_database, writing
from cloud.facts.tables_results import result_newest
from cloud.indicators.definition import IndicatorResult, Verdict, Window
from cloud.indicators.portfolio import pooled_over, portfolio
from cloud.indicators.results import record

SITES, INDICATORS = 1_000, 20
DAY_MS = 86_400_000
GOAL_MS = 100
DAY = Window(20_000 * DAY_MS, 20_001 * DAY_MS)
RATE = "equipment.intact_rate"


def measure() -> list[Figure]:
    """Milliseconds of CPU time: the machine may be shared."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(Path(folder) / "facts.sqlite")
        _fill(engine)
        sites = [f"site-{number}" for number in range(SITES)]
        figures = [
            Figure(
                f"portfolio of {SITES:,} sites x {INDICATORS}, store to bytes", _taken(lambda: _body(engine)), "ms CPU",
                f"<= {GOAL_MS} ms",
            ),
            Figure(
                f"one indicator pooled over {SITES:,} sites",
                _taken(lambda: pooled_over(engine, sites, RATE, DAY, DAY.to_ms)), "ms CPU",
            ),
        ]  # fmt: skip
        engine.dispose()
    return figures


def _body(engine: sa.Engine) -> bytes:
    items = [{"site": site, "lines": lines} for site, lines in portfolio(engine).items()]
    return msgspec.json.encode({"items": items})


def _fill(engine: sa.Engine) -> None:
    rows = [
        {
            "site": f"site-{site}", "indicator": f"imported.i{number}", "from_ms": DAY.from_ms, "to_ms": DAY.to_ms,
            "value": 0.98, "coverage": 1.0, "verdict": "PASS", "revision": 1, "final": False,
        }
        for site in range(SITES) for number in range(INDICATORS - 1)
    ]  # fmt: skip
    with writing(engine) as connection:
        connection.execute(sa.insert(result_newest), rows)
        for site in range(SITES):
            record(connection, f"site-{site}", [_rate(site)], DAY.to_ms)


def _rate(site: int) -> IndicatorResult:
    parts = {"up": DAY_MS - site, "down": site, "unknown": 0, "excluded": 0}
    value = Fraction(parts["up"], DAY_MS)
    return IndicatorResult(
        RATE,
        value,
        value,
        value,
        Fraction(1),
        Verdict.PASS,
        Fraction(49, 50),
        parts["up"],
        DAY_MS,
        "ms",
        DAY,
        parts=parts,
    )


def _taken(action: Callable[[], object]) -> list[float]:
    return [seconds * 1000 for seconds in cpu_seconds(action)]
