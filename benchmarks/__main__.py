"""Run all benchmarks but the peer, or those named: `python -m benchmarks frame journal`."""

import platform
import sys
from collections.abc import Callable

from benchmarks import (
    alerts,
    backlog,
    coverage,
    dead_units,
    frames,
    ingest,
    journal,
    local_alerts,
    peer,
    polling,
    portfolio,
    timelines,
)
from benchmarks.figures import Figure

BENCHMARKS: dict[str, Callable[[], list[Figure]]] = {
    "frame": frames.measure,
    "journal": journal.measure,
    "ingest": ingest.measure,
    "backlog": backlog.measure,
    "polling": polling.measure,
    "coverage": coverage.measure,
    "dead-units": dead_units.measure,
    "timelines": timelines.measure,
    "portfolio": portfolio.measure,
    "alerts": alerts.measure,
    "local-alerts": local_alerts.measure,
    "peer": peer.measure,
}
ONLY_WHEN_NAMED = {"peer"}  # installs somebody else's software


def main(names: list[str]) -> int:
    """Print a line for each figure. Returns 2 for a name that is no benchmark."""
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    print(f"{platform.machine()}, Python {platform.python_version()}; median [minimum to maximum] of the runs")
    for name in names or [name for name in BENCHMARKS if name not in ONLY_WHEN_NAMED]:
        for figure in BENCHMARKS[name]():
            print(f"{name:9} {figure}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
