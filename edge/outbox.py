"""What is to be sent next: live frames as they are sealed, and the backlog oldest-first.

Filled anew at each connect from what the cloud said it holds; between two connects nothing is asked of the
disk but the frames themselves. Nothing here waits.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from devices.batches import LENGTH_BYTES
from devices.errors import FrameError, StorageUnavailable
from devices.frame import SealedFrame, decode_frame
from devices.reading import Lane
from devices.receipt import FrameResult, LaneState, Receipt, Status
from edge.lane_journal import LaneJournal
from edge.receipts import GAPS_LISTED, Receipts

LIVE_FRAMES_MAX = 512  # kept in memory while a request is under way; older ones are read from disk again
QUARANTINE_MAX = 10_000  # beyond it refused frames are sent again at every comparison, which is only waste
RETRIES_MAX = 3  # of a frame that the cloud finds damaged although the own copy is whole


class Journals(Protocol):
    """The journal as the uplink sees it."""

    receipts: Receipts

    def lane(self, lane: Lane) -> LaneJournal:
        """One lane's frames on disk."""
        ...

    def begin_epoch(self, lane: Lane) -> None:
        """Leave the present epoch: the cloud knows other frames of it."""
        ...

    def compare(self) -> None:
        """The cloud told all that it holds: say what neither it nor the journal has."""
        ...

    def lose(self, lane: Lane, epoch: bytes, seq: int) -> None:
        """Say that a frame cannot be read any more. From any thread."""
        ...


class FrameName(NamedTuple):
    """What a frame of this gateway is called."""

    lane: Lane
    epoch: bytes
    seq: int

    def __str__(self) -> str:
        return f"{self.lane} frame {self.epoch.hex()}/{self.seq}"


class Parcel(NamedTuple):
    """One frame on its way."""

    name: FrameName
    data: bytes


@dataclass(slots=True)
class _Range:
    lane: Lane
    epoch: bytes
    first: int
    last: int
    anyway: bool = False  # also those that the cloud has confirmed


@dataclass(slots=True)
class Alarms:
    """What a person has to look at; counted since the start."""

    refused: int = 0
    forks: int = 0
    unreadable: int = 0
    last: str = ""


class Outbox:
    """Parcels by urgency. `changed` is set whenever there is something new to send or a request ended."""

    def __init__(self, journal: Journals) -> None:
        self._journal = journal
        self._open = False
        self._live: deque[Parcel] = deque()
        self._plan: deque[_Range] = deque()
        self._planned_to: dict[tuple[Lane, bytes], int] = {}  # the newest frame that a connect found in the journal
        self._retries: dict[FrameName, int] = {}
        self._quarantine: set[FrameName] = set()  # not sent again until the next connect
        self._under_way: set[FrameName] = set()  # taken, and neither settled nor given back
        self._settled: set[FrameName] | None = None  # since a Receipt was asked for: it may have been made before
        self._offered_to: dict[tuple[Lane, bytes], int] = {}  # since a connect, above all that the cloud lists
        self.progress = 0  # frames of which the cloud said once and for all what becomes of them
        self.partly_planned = False  # whether the cloud lacks more than it could list: ask again when this is sent
        self.changed = asyncio.Event()
        self.alarms = Alarms()

    @property
    def live_waits(self) -> bool:
        """Whether a live frame waits for a request."""
        return bool(self._live)

    @property
    def backlog_waits(self) -> bool:
        """Whether older frames wait for a request."""
        return bool(self._plan)

    def hear(self, frame: SealedFrame) -> None:
        """Take a frame that has just been fsynced; without a connection it is the journal's alone."""
        if not self._open:
            return
        header = frame.header
        name = FrameName(header.lane, header.epoch, header.seq)
        if name.seq <= self._planned_to.get((name.lane, name.epoch), 0) and not self._plan_no_more(name):
            return  # it was fsynced just before the connect: the backlog is sending it
        self._live.append(Parcel(name, frame.data))
        if len(self._live) > LIVE_FRAMES_MAX:
            self._plan_later(self._live.popleft().name)
        self.changed.set()

    def connect(self, receipt: Receipt) -> None:
        """Plan what the cloud lacks and the journal holds. Raises ValueError when the Receipt makes no sense."""
        self._retries.clear()
        self._quarantine.clear()
        self._under_way.clear()
        self._offered_to.clear()
        self._settled = None
        self.compare(receipt)

    def expect_receipt(self) -> None:
        """A Receipt is asked for while requests are under way: what is settled meanwhile counts beside it."""
        self._settled = set()

    def compare(self, receipt: Receipt) -> None:
        """As `connect`, within a session: what is in quarantine or under way is not sent again."""
        receipts = self._journal.receipts
        first_answer = not receipts.told
        remembered = {lane: receipts.of(lane, self._journal.lane(lane).epoch).highest for lane in Lane}
        offered = self._settled_of_offered(listed_to := _listed_to(receipt.lanes))
        receipts.replace(receipt.log_id, receipt.lanes)
        for lane, epoch, seq in self._settled or ():
            receipts.add(lane, epoch, seq, seq)
        for lane, epoch, low, high in offered:
            receipts.add(lane, epoch, low, high)
        self._settled = None
        self._plan.clear()
        self._planned_to.clear()
        self.partly_planned = False
        for lane in Lane:
            journal = self._journal.lane(lane)
            if first_answer:
                self._prove(lane, journal, remembered[lane])
            self._leave_epoch_if_behind(lane, journal, first_answer=first_answer)
            for epoch, first, last in journal.ranges():
                self._planned_to[lane, epoch] = last
                self._plan_missing(lane, epoch, first, last, listed_to.get((lane, epoch), last))
        self._journal.compare()
        self._open = True
        self.changed.set()

    def _plan_missing(self, lane: Lane, epoch: bytes, first: int, last: int, limit: int) -> None:
        """Plan what the cloud lacks up to `limit`, above which it listed nothing.

        When it will take none of that, what is above would never be listed: all of it is offered.
        """
        missing = list(self._journal.receipts.of(lane, epoch).missing(first, last))
        listed = [(low, min(high, limit)) for low, high in missing if low <= limit]
        if missing and missing[-1][1] > limit:
            if self._is_sendable(lane, epoch, listed):
                self.partly_planned = True
            else:
                self._offered_to[lane, epoch] = last
                listed = missing
        self._plan.extend(_Range(lane, epoch, low, high) for low, high in listed)

    def _is_sendable(self, lane: Lane, epoch: bytes, ranges: Sequence[tuple[int, int]]) -> bool:
        """Whether a frame of these is not in quarantine. Asks no more often than there are frames in it."""
        return any(
            FrameName(lane, epoch, seq) not in self._quarantine for low, high in ranges for seq in range(low, high + 1)
        )

    def _settled_of_offered(self, listed_to: Mapping[tuple[Lane, bytes], int]) -> list[tuple[Lane, bytes, int, int]]:
        """What was offered above all that a Receipt lists, and was taken: no Receipt says so in its list."""
        return [
            (lane, epoch, max(low, limit + 1), min(high, self._offered_to[lane, epoch]))
            for (lane, epoch), limit in listed_to.items()
            if (lane, epoch) in self._offered_to
            for low, high in self._journal.receipts.of(lane, epoch)
        ]

    def disconnect(self) -> None:
        """Forget what was planned: the next connect plans anew."""
        self._open = False
        self._live.clear()
        self._plan.clear()
        self.changed.set()

    def take_live(self, frames_max: int, bytes_max: int) -> list[Parcel]:
        """Live frames that wait, events first, within the bounds of a request."""
        parcels: list[Parcel] = []
        size = 0
        for parcel in sorted(self._live, key=lambda one: one.name.lane is not Lane.EVENTS):
            size += len(parcel.data) + LENGTH_BYTES
            if parcels and (size > bytes_max or len(parcels) == frames_max):
                break
            parcels.append(parcel)
        taken = {parcel.name for parcel in parcels}
        self._under_way |= taken
        self._live = deque(parcel for parcel in self._live if parcel.name not in taken)
        return parcels

    def next_backlog(self, frames_max: int) -> list[FrameName]:
        """The oldest frames that wait; they count as taken. Read them with `read`, beside the loop."""
        names: list[FrameName] = []
        elsewhere = self._quarantine | self._under_way | {parcel.name for parcel in self._live}
        while self._plan and len(names) < frames_max:
            part = self._plan[0]
            last = min(part.last, part.first + frames_max - len(names) - 1)
            known = self._journal.receipts.of(part.lane, part.epoch)  # planned twice when a comparison came between
            for seq in range(part.first, last + 1):
                name = FrameName(part.lane, part.epoch, seq)
                if name not in elsewhere and (part.anyway or seq not in known):
                    elsewhere.add(name)
                    names.append(name)
            part.first = last + 1
            if part.first > part.last:
                self._plan.popleft()
        self._under_way.update(names)
        return names

    def read(self, names: Sequence[FrameName], bytes_max: int) -> list[Parcel]:
        """The first frames of `names` that fit in a request, at least one. Those that are gone are left out."""
        parcels: list[Parcel] = []
        size = 0
        for name in names:
            parcel = self._read(name)
            if parcel is None:
                continue
            size += len(parcel.data) + LENGTH_BYTES
            if parcels and size > bytes_max:
                break
            parcels.append(parcel)
        return parcels

    def release(self, names: Sequence[FrameName], parcels: Sequence[Parcel]) -> None:
        """Names that `read` was given and that could not be read are not under way: a comparison plans them again."""
        self._under_way -= set(names) - {parcel.name for parcel in parcels}

    def settle(self, parcels: Sequence[Parcel], receipt: Receipt) -> None:
        """Note what became of each parcel. Raises ValueError when the answer does not speak of all of them."""
        for parcel, result in zip(parcels, receipt.results, strict=True):
            name = parcel.name
            if result.lane and (result.lane, result.epoch, result.seq) != (name.lane, name.epoch.hex(), name.seq):
                raise ValueError(f"the answer speaks of {result.lane} {result.epoch}/{result.seq}")
            self._under_way.discard(name)
            self._settle(name, result)
        for state in receipt.lanes:
            self._journal.receipts.add(state.lane, bytes.fromhex(state.epoch), 1, state.contiguous_seq)
        self.changed.set()

    def give_back(self, names: Sequence[FrameName]) -> None:
        """Plan frames again, before everything else: their request was turned away or had no room for them."""
        self._under_way.difference_update(names)
        for name in reversed(names):
            first = self._plan[0] if self._plan else None
            here = _Range(name.lane, name.epoch, name.seq, name.seq, anyway=True)
            if first is not None and first.anyway and (first.lane, first.epoch, first.first - 1) == name:
                first.first = name.seq
            else:
                self._plan.appendleft(here)
        self.changed.set()

    def refuse(self, name: FrameName, reason: str) -> None:
        """The cloud will not take this frame: it is kept here and not sent again until the next connect."""
        self.alarms.refused += 1
        self._under_way.discard(name)
        self._set_apart(name, f"the cloud refused {name}: {reason}")

    def _set_apart(self, name: FrameName, reason: str) -> None:
        if len(self._quarantine) < QUARANTINE_MAX:
            self._quarantine.add(name)
            self.progress += 1
        self._alarm(reason)

    def _plan_no_more(self, name: FrameName) -> bool:
        """Take the newest frame of the backlog out of it; False when it is not there any more."""
        for part in self._plan:
            if (part.lane, part.epoch, part.last) == name and part.first <= part.last:
                part.last -= 1
                if part.first > part.last:
                    self._plan.remove(part)
                return True
        return False

    def _prove(self, lane: Lane, journal: LaneJournal, remembered: int) -> None:
        """Send again what the cloud holds and no Receipt was remembered for: it may not be the same.

        That is so after an older image of the disk was put back. The cloud says `duplicate` of what is, and sets the
        others apart as forks; then a new epoch begins.
        """
        epoch, first = journal.opened_at
        begin = remembered + 1 if journal.epoch != epoch else min(remembered + 1, first)
        end = min(self._journal.receipts.of(lane, journal.epoch).highest, journal.next_seq - 1)
        for one, low, high in journal.ranges():
            if one == journal.epoch and max(low, begin) <= min(high, end):
                self._plan.append(_Range(lane, one, max(low, begin), min(high, end), anyway=True))

    def _leave_epoch_if_behind(self, lane: Lane, journal: LaneJournal, *, first_answer: bool) -> None:
        """The cloud may hold frames that this journal lost after they were sent: their numbers are taken.

        Frames that this process made under such numbers are sent all the same, so that the cloud sets them
        aside as forks and a person decides.
        """
        epoch, first = journal.opened_at
        highest = self._journal.receipts.of(lane, journal.epoch).highest
        ahead = first_answer and journal.epoch == epoch and highest >= first
        if not ahead and highest < journal.next_seq:
            return
        self._alarm(f"the cloud is ahead of the {lane} journal: a new epoch begins")
        self._journal.begin_epoch(lane)

    def _settle(self, name: FrameName, result: FrameResult) -> None:
        lane, epoch, seq = name
        if result.status.is_final:
            self.progress += 1
            self._journal.receipts.add(lane, epoch, seq, seq)
            if self._settled is not None:
                self._settled.add(name)
        if result.status is Status.FORK:
            self.alarms.forks += 1
            self._alarm(f"fork: the cloud holds another {name}")
            if epoch == self._journal.lane(lane).epoch:
                self._journal.begin_epoch(lane)
        elif result.status is Status.REFUSED:
            self.refuse(name, result.reason)
        elif result.status is Status.RETRY:
            self._retries[name] = self._retries.get(name, 0) + 1
            if self._retries[name] <= RETRIES_MAX:
                self.give_back([name])  # read from disk again, checked by its CRC
            else:
                self._set_apart(name, f"the cloud finds {name} damaged: {result.reason}")

    def _read(self, name: FrameName) -> Parcel | None:
        journal = self._journal.lane(name.lane)
        try:
            data = journal.read(name.epoch, name.seq)
            if name in self._retries:  # the cloud found it damaged: is the own copy whole?
                decode_frame(data)
            return Parcel(name, data)
        except FrameError as error:
            self.alarms.unreadable += 1
            self._set_apart(name, f"{name} is damaged here, too: {error}")
        except KeyError:
            if journal.holds(name.epoch, name.seq):
                self.alarms.unreadable += 1
                self._journal.lose(name.lane, name.epoch, name.seq)
                self._alarm(f"{name} cannot be read any more")
        except StorageUnavailable as error:
            self.partly_planned = True  # it may be readable soon
            self.alarms.unreadable += 1
            self._alarm(str(error))
        return None

    def _plan_later(self, name: FrameName) -> None:
        last = self._plan[-1] if self._plan else None
        if last is not None and (last.lane, last.epoch, last.last + 1) == name:
            last.last = name.seq
        else:
            self._plan.append(_Range(name.lane, name.epoch, name.seq, name.seq))

    def _alarm(self, text: str) -> None:
        self.alarms.last = text


def _listed_to(states: Sequence[LaneState]) -> dict[tuple[Lane, bytes], int]:
    """Epochs with more gaps than a Receipt lists, and up to where it lists them."""
    full = [state for state in states if len(state.gaps) >= GAPS_LISTED]
    return {(state.lane, bytes.fromhex(state.epoch)): state.gaps[-1][1] for state in full}
