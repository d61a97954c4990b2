"""Sets of sequence numbers as a few ranges: what a journal sent, what a log holds."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise


class SeqRanges:
    """A set of sequence numbers as disjoint inclusive ranges, in order."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self._firsts, seq) - 1
        return at >= 0 and seq <= self._lasts[at]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(tuple(self._firsts), tuple(self._lasts), strict=True)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self)

    @property
    def contiguous(self) -> int:
        """The highest number up to which nothing from 1 on is missing, 0 if 1 is."""
        return self._lasts[0] if self._firsts and self._firsts[0] <= 1 else 0

    @property
    def highest(self) -> int:
        """The highest number in the set, 0 for the empty set."""
        return self._lasts[-1] if self._lasts else 0

    def add(self, first: int, last: int) -> None:
        """Add `first` to `last`, both inclusive; nothing when `last` is smaller."""
        if last < first:
            return
        low = bisect_right(self._lasts, first - 2)  # ranges that end before first - 1 stay apart
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def gaps(self, limit: int) -> tuple[tuple[int, int], ...]:
        """The first `limit` inclusive ranges below `highest`, above `contiguous`, that are missing."""
        ends = ((0, 0), *self) if not self.contiguous else tuple(self)
        found: list[tuple[int, int]] = []
        for (_, before), (after, _) in pairwise(ends):
            if len(found) == limit:
                break
            found.append((before + 1, after - 1))
        return tuple(found)

    def missing(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The inclusive ranges between `first` and `last` that are not in the set, in order."""
        at = max(bisect_right(self._firsts, first) - 1, 0)
        for low, high in zip(self._firsts[at:], self._lasts[at:], strict=True):
            if low > last:
                break
            if high < first:
                continue
            if first < low:
                yield first, low - 1
            first = high + 1
        if first <= last:
            yield first, last
