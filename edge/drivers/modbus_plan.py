"""Which reads fetch which points: the fewest requests within what a device allows. Pure.

Addresses count registers, or bits for coils and discrete inputs; ranges are (first, last), both inclusive.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

REGISTERS_MAX = 125  # of one read, Modbus application protocol 1.1b3, 6.3
BITS_MAX = 2000  # the same, 6.1
HOLE_MAX = 50  # registers read for nothing rather than asked for separately; what Telegraf's max_insert fills

Range = tuple[int, int]


@dataclass(frozen=True, slots=True, order=True)
class Extent:
    """Where one point lies: `width` registers from `address`."""

    address: int
    width: int
    point: str

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.width


@dataclass(frozen=True, slots=True)
class Limits:
    """What a device allows. `forbidden` may not even be part of a hole; a block in `exact` is read whole or not."""

    count_max: int = REGISTERS_MAX
    hole_max: int = HOLE_MAX
    forbidden: tuple[Range, ...] = ()
    exact: tuple[Range, ...] = ()
    edges: tuple[int, ...] = ()  # no read reaches from before one of these addresses to behind it


@dataclass(frozen=True, slots=True)
class Read:
    """One request, and the points that its answer holds, by address."""

    address: int
    count: int
    extents: tuple[Extent, ...]
    whole: bool = False  # an exact block: never split, never joined

    @property
    def points(self) -> tuple[str, ...]:
        """The points of the answer, in the order of `extents`."""
        return tuple(extent.point for extent in self.extents)

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.count


def plan_reads(extents: Iterable[Extent], limits: Limits) -> tuple[Read, ...]:
    """Reads that cover every extent exactly once, in the order of their addresses.

    Extends each read as far as the limits allow, which needs the fewest reads for a given start (as
    Telegraf's `max_insert`). Raises ValueError for an extent that no allowed read can hold.
    """
    ordered = sorted(extents)
    blocks = [read for block in limits.exact for read in _block_reads(ordered, block, limits)]
    loose = [extent for extent in ordered if not any(_holds(block, extent) for block in limits.exact)]
    return tuple(sorted((*blocks, *_greedy(loose, limits)), key=lambda read: read.address))


def _holds(block: Range, extent: Extent) -> bool:
    return block[0] <= extent.address and extent.end <= block[1] + 1


def _block_reads(extents: Iterable[Extent], block: Range, limits: Limits) -> list[Read]:
    inside = tuple(extent for extent in extents if _holds(block, extent))
    count = block[1] - block[0] + 1
    if count > limits.count_max:
        raise ValueError(f"the block {block[0]}-{block[1]} is longer than the {limits.count_max} one read may have")
    return [Read(block[0], count, inside, whole=True)] if inside else []


def _greedy(extents: Sequence[Extent], limits: Limits) -> list[Read]:
    barred = (*limits.forbidden, *limits.exact)
    reads: list[Read] = []
    current: list[Extent] = []
    start = end = 0
    for extent in extents:
        if extent.width > limits.count_max or _crosses(extent.address, extent.end, barred):
            raise ValueError(f"no allowed read can hold {extent.point} at {extent.address}")
        new_end = max(end, extent.end)
        fits = new_end - start <= limits.count_max and extent.address - end <= limits.hole_max
        fits = fits and not _straddles(start, new_end, limits)
        if current and fits and not _crosses(start, new_end, barred):
            current.append(extent)
            end = new_end
            continue
        if current:
            reads.append(Read(start, end - start, tuple(current)))
        current, start, end = [extent], extent.address, extent.end
    if current:
        reads.append(Read(start, end - start, tuple(current)))
    return reads


def _straddles(start: int, end: int, limits: Limits) -> bool:
    return any(start < edge < end for edge in limits.edges)


def _crosses(start: int, end: int, barred: Iterable[Range]) -> bool:
    return any(first < end and start <= last for first, last in barred)


def split_read(read: Read) -> tuple[Read, Read] | None:
    """Two reads for one that the device refused, cut at its largest hole or else in the middle.

    None when nothing is left to separate: its points all begin at the same register, or it is an exact block.
    """
    if read.whole:
        return None
    cuts = [index for index in range(1, len(read.extents)) if read.extents[index].address > read.extents[0].address]
    if not cuts:
        return None
    reach = _reach(read.extents)
    middle = len(read.extents) / 2
    cut = min(cuts, key=lambda index: (reach[index - 1] - read.extents[index].address, abs(index - middle)))
    return _around(read.extents[:cut]), _around(read.extents[cut:])


def _reach(extents: Sequence[Extent]) -> list[int]:
    """The first address behind each extent and all before it."""
    ends, furthest = [], 0
    for extent in extents:
        furthest = max(furthest, extent.end)
        ends.append(furthest)
    return ends


def _around(extents: tuple[Extent, ...]) -> Read:
    start = extents[0].address
    return Read(start, _reach(extents)[-1] - start, extents)


def join_reads(reads: Iterable[Read], limits: Limits) -> tuple[Read, ...]:
    """Reads that each worked, joined where they touch: no register that was not read before comes in."""
    joined: list[Read] = []
    for read in sorted(reads, key=lambda one: one.address):
        last = joined[-1] if joined else None
        fits = last is not None and not (read.whole or last.whole)
        fits = fits and last is not None and not _straddles(last.address, read.end, limits)
        if last is not None and fits and read.address <= last.end and read.end - last.address <= limits.count_max:
            joined[-1] = Read(
                last.address, max(last.end, read.end) - last.address, tuple(sorted((*last.extents, *read.extents)))
            )
        else:
            joined.append(read)
    return tuple(joined)
