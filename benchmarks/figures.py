"""How figures are taken and printed: several runs, median, spread, and the goal beside it."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

RUNS = 7  # the machine is noisy: the median of seven, with the spread shown


@dataclass(frozen=True)
class Figure:
    """One measured quantity. `goal` says what the design asks, empty if nothing."""

    what: str
    runs: Sequence[float]
    unit: str
    goal: str = ""

    def __str__(self) -> str:
        median, low, high = statistics.median(self.runs), min(self.runs), max(self.runs)
        spread = f" [{low:,.4g} to {high:,.4g}]" if len(self.runs) > 1 else ""
        goal = f"   goal {self.goal}" if self.goal else ""
        return f"{self.what:58} {median:>12,.4g} {self.unit}{spread}{goal}"


def cpu_seconds(action: Callable[[], object], runs: int = RUNS) -> list[float]:
    """CPU seconds of this process for each run, after one that is not counted."""
    action()
    taken = []
    for _ in range(runs):
        start = time.process_time()
        action()
        taken.append(time.process_time() - start)
    return taken
