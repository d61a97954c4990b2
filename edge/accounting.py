"""accepted = delivered + lost: finds frames that neither the journal nor the cloud holds and says so, once."""

from collections.abc import Sequence

from devices.errors import DamagedFrame, StorageUnavailable, UnknownVersion
from devices.frame import SealedFrame, read_header
from devices.reading import Lane
from devices.records import Loss, LossReason
from devices.sequences import SeqRanges
from edge.lane_journal import LaneJournal
from edge.losses import LossBook, joined, loss_of, unreadable
from edge.receipts import Receipts


class Accounts:
    """What is held, what is confirmed, what is lost. Call it from one thread; `write` from any."""

    def __init__(self, lanes: dict[Lane, LaneJournal], receipts: Receipts, losses: LossBook) -> None:
        self._lanes = lanes
        self.receipts = receipts
        self.losses = losses

    def look_for_gaps(self) -> None:
        """At start: what should be here and is neither confirmed nor under a loss was damaged.

        Without word of what was confirmed, frames before the first one held may have been delivered: the cloud
        will tell.
        """
        for one in self.losses.entries():
            if one.seq and not self._will_arrive(one.epoch, one.seq):
                self.losses.again(one)  # the frame that said it went with a crash or a disk
        for lane in Lane:
            held = self._held(lane)
            tail = self._lanes[lane].recovery.lost_tail
            if tail is not None and tail[0]:
                self._add_missing(lane, tail[0], tail[1:], LossReason.DAMAGED)
            for epoch, last in self._existed(lane).items():
                here = held.get(epoch, SeqRanges())
                firsts = [first for first, _ in here]
                begin = 1 if self.receipts.remembered or not firsts else firsts[0]
                if self.receipts.remembered or firsts:
                    self._add_missing(lane, epoch, (begin, last), LossReason.DAMAGED)

    def look_for_gone(self) -> bool:
        """After the cloud told everything: say what it lacks and cannot be sent. Whether there is anything to say."""
        for lane in Lane:
            for epoch, last in self._existed(lane).items():
                self._say_again(lane, epoch)
                told = (1, min(last, self.receipts.told_to(lane, epoch)))
                self._add_missing(lane, epoch, told, LossReason.DELETED_AFTER_RECEIPT)
        return self.losses.unsaid

    def add_damaged(self, lane: Lane, epoch: bytes, seq: int) -> None:
        """A frame that is held cannot be read."""
        if seq not in self.losses.covered(lane, epoch):
            self.losses.add([unreadable(lane, epoch, (seq, seq), self._time_near(lane, epoch, seq + 1))])

    def add_frames(self, frames: Sequence[SealedFrame], reason: LossReason) -> None:
        """Frames of one lane and epoch, one after the other, that were let go."""
        headers = [(frame.header, frame.data) for frame in frames]
        bounds = (headers[0][0].seq, headers[-1][0].seq)
        self.losses.add([loss_of(headers[0][0].lane, headers, bounds, reason)])

    def unsaid(self) -> list[Loss]:
        """What the next events frame has to say."""
        return joined([one.loss for one in self.losses.entries() if not one.seq]) if self.losses.unsaid else []

    def write(self) -> None:
        """Keep what is confirmed and what is lost, durably. Raises StorageUnavailable."""
        for lane, journal in self._lanes.items():
            self.losses.own(lane, [journal.epoch, *(epoch for epoch, _, _ in journal.ranges())])
        self.receipts.write(self.receipts.cursor())
        self.losses.write()

    def _held(self, lane: Lane) -> dict[bytes, SeqRanges]:
        held: dict[bytes, SeqRanges] = {}
        for epoch, first, last in self._lanes[lane].ranges():
            held.setdefault(epoch, SeqRanges()).add(first, last)
        return held

    def _existed(self, lane: Lane) -> dict[bytes, int]:
        """The last number of each epoch that this journal ever had, as far as it knows."""
        journal = self._lanes[lane]
        found = {epoch: ranges.highest for epoch, ranges in self._held(lane).items()}
        known = [self.losses.last_seqs(lane), {journal.epoch: journal.next_seq - 1}]
        if journal.previous is not None:
            known.append({journal.previous.epoch: journal.previous.last_seq})
        own = self.losses.own(lane, [*found, *(epoch for one in known for epoch in one)])
        known.append({epoch: last for epoch, last in self.receipts.ever(lane).items() if epoch in own})
        for one in known:
            for epoch, last in one.items():
                found[epoch] = max(found.get(epoch, 0), last)
        return {epoch: last for epoch, last in found.items() if epoch and last}

    def _add_missing(self, lane: Lane, epoch: bytes, bounds: tuple[int, int], reason: LossReason) -> None:
        held = self._held(lane).get(epoch, SeqRanges())
        covered = self.losses.covered(lane, epoch)
        for low, high in self.receipts.missing(lane, epoch, *bounds):
            for first, last in held.missing(low, high):
                for a, b in covered.missing(first, last):
                    at_ms = self._time_near(lane, epoch, b + 1)
                    self.losses.add([Loss(lane, epoch, a, b, at_ms, at_ms, reason)])

    def _say_again(self, lane: Lane, epoch: bytes) -> None:
        """A cloud restored from a backup does not know of losses whose frames are gone: say them again."""
        for one in self.losses.entries():
            loss = one.loss
            if (loss.lane, loss.epoch) != (lane, epoch) or not one.seq or self._will_arrive(one.epoch, one.seq):
                continue
            if self.receipts.missing(lane, epoch, loss.first_seq, loss.last_seq):
                self.losses.again(one)

    def _will_arrive(self, epoch: bytes, seq: int) -> bool:
        """Whether the cloud has, or will get, an events frame."""
        events = self._lanes[Lane.EVENTS]
        return events.holds(epoch, seq) or not self.receipts.missing(Lane.EVENTS, epoch, seq, seq)

    def _time_near(self, lane: Lane, epoch: bytes, seq: int) -> int:
        """The start of the next frame of the epoch that can be read, Unix ms UTC; 0 when nothing is known."""
        journal = self._lanes[lane]
        for one, first, last in journal.ranges():
            if one == epoch and last >= seq:
                try:
                    return read_header(journal.read(epoch, max(first, seq))).from_ms
                except (KeyError, DamagedFrame, UnknownVersion, StorageUnavailable):
                    continue
        return 0
