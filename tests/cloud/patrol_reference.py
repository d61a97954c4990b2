"""A second opinion on patrols that shares no code with the product: everything at steps of time, slowly.

Poses are (time_ms, x_mm, y_mm, valid). Exact where it says so: whole milliseconds and integers throughout.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

Step = tuple[int, int, int, bool]
LEG_MS = 5_000


def legs(steps: Sequence[Step], speed_mm_s: int) -> Iterator[tuple[Step, Step]]:
    """Pairs of poses that a robot certainly drove between."""
    ordered = sorted(steps)
    for i in range(1, len(ordered)):
        a, b = ordered[i - 1], ordered[i]
        took, square = b[0] - a[0], (b[1] - a[1]) ** 2 + (b[2] - a[2]) ** 2
        if a[3] and b[3] and took <= LEG_MS and square <= (Fraction(6, 5) * speed_mm_s * took / 1000) ** 2:
            yield a, b


def moments_at(steps: Sequence[Step], speed_mm_s: int, centre: tuple[int, int], radius: int) -> list[int]:
    """Every millisecond at which the robot was within the radius of a point, one by one."""
    found: set[int] = set()
    for t, x, y, valid in steps:
        if valid and (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2:
            found.add(t)
    for (t0, x0, y0, _), (t1, x1, y1, _) in legs(steps, speed_mm_s):
        took = t1 - t0
        for t in range(t0, t1 + 1):
            x = (x0 - centre[0]) * took + (x1 - x0) * (t - t0)
            y = (y0 - centre[1]) * took + (y1 - y0) * (t - t0)
            if x * x + y * y <= (radius * took) ** 2:
                found.add(t)
    return sorted(found)


def runs(moments: Iterable[int]) -> list[tuple[int, int]]:
    """Consecutive milliseconds as (first, last)."""
    found: list[list[int]] = []
    for t in moments:
        if found and t == found[-1][1] + 1:
            found[-1][1] = t
        else:
            found.append([t, t])
    return [(begin, end) for begin, end in found]


def idleness(moments: Sequence[int], last: int, begin: int, end: int, step: int) -> list[int]:
    """The age of a point at begin, begin + step, ... before end: since the last moment at it, or since `last`."""
    ages, at, seen = [], 0, last
    for t in range(begin, end, step):
        while at < len(moments) and moments[at] <= t:
            seen = moments[at]
            at += 1
        ages.append(t - seen)
    return ages


def most_served(slots: Sequence[tuple[int, int]], visits: Sequence[tuple[int, int]]) -> int:
    """The greatest number of slots that can each have a visit of its own, by augmenting paths."""
    given: dict[int, int] = {}

    def place(slot: int, tried: set[int]) -> bool:
        for visit, (begin, end) in enumerate(visits):
            if visit in tried or begin > slots[slot][1] or end < slots[slot][0]:
                continue
            tried.add(visit)
            if visit not in given or place(given[visit], tried):
                given[visit] = slot
                return True
        return False

    return sum(place(slot, set()) for slot in range(len(slots)))


def seen_cells(
    steps: Sequence[Step], speed_mm_s: int, radius: int, *, cell: int, size: tuple[int, int], step_ms: int
) -> set[tuple[int, int]]:
    """(row, column) of cells whose centre was within the radius at a step of time: never more than the truth."""
    found: set[tuple[int, int]] = set()
    for (t0, x0, y0, _), (t1, x1, y1, _) in legs(steps, speed_mm_s):
        for t in [*range(t0, t1, step_ms), t1]:
            x = x0 + (x1 - x0) * (t - t0) / (t1 - t0)
            y = y0 + (y1 - y0) * (t - t0) / (t1 - t0)
            for row in range(int((y - radius) // cell), int((y + radius) // cell) + 1):
                for column in range(int((x - radius) // cell), int((x + radius) // cell) + 1):
                    if 0 <= row < size[0] and 0 <= column < size[1]:
                        off = (column * cell + cell / 2 - x) ** 2 + (row * cell + cell / 2 - y) ** 2
                        if off <= radius**2:
                            found.add((row, column))
    return found
