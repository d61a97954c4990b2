"""The loss records of a gateway: what it says of frames that will never arrive, and which frame said it.

Kept in a file beside the lanes. A record whose frame is gone before the cloud confirmed it is said again.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

import msgspec

from devices.disk import MACHINE, Disk
from devices.errors import StorageUnavailable
from devices.frame import Header, SealedFrame, decode_frame, open_frame
from devices.reading import Lane
from devices.records import Loss, LossReason
from devices.segments import write_durably
from devices.sequences import SeqRanges

LOSSES_FORMAT = 1
LOSSES_KEPT_MAX = 512  # confirmed ones beyond this are forgotten, oldest first
EPOCHS_KEPT_MAX = 4_096  # of a lane: a torn tail every day for ten years
SERIES_LISTED_MAX = 1_000  # of one loss: its record must stay small


class Said(msgspec.Struct, frozen=True):
    """A loss, and the events frame that says it; `seq` is 0 until one does."""

    loss: Loss
    epoch: bytes = b""
    seq: int = 0


class _LossFile(msgspec.Struct, frozen=True):
    format: int
    said: list[Said]
    epochs: dict[str, list[bytes]] = {}  # lane -> those that this journal ever held frames of


class LossBook:
    """All losses that this journal knows of. May be used from any thread."""

    def __init__(self, path: Path, disk: Disk = MACHINE) -> None:
        self._path = path
        self._disk = disk
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._entries: list[Said] = []
        self._epochs: dict[str, dict[bytes, None]] = {}
        self._changed = False

    @classmethod
    def load(cls, path: Path, disk: Disk = MACHINE) -> Self:
        """Read the file; the book is empty when there is none or it cannot be read."""
        self = cls(path, disk)
        try:
            file = msgspec.msgpack.decode(path.read_bytes(), type=_LossFile)
            self._entries = file.said
            self._epochs = {lane: dict.fromkeys(epochs) for lane, epochs in file.epochs.items()}
        except (OSError, msgspec.MsgspecError):
            return self  # then what the journal no longer holds is said again, with less detail
        return self

    def own(self, lane: Lane, epochs: Iterable[bytes]) -> dict[bytes, None]:
        """Every epoch of a lane that this journal ever held, these included.

        The cloud tells of all epochs of a gateway: an import has a journal of its own, and so had a lost disk.
        """
        with self._lock:
            known = self._epochs.setdefault(lane, {})
            new = [epoch for epoch in epochs if epoch and epoch not in known]
            known.update(dict.fromkeys(new))
            for old in list(known)[:-EPOCHS_KEPT_MAX]:
                del known[old]
            self._changed |= bool(new)
            return dict(known)

    def entries(self) -> list[Said]:
        """Every loss, oldest first."""
        with self._lock:
            return list(self._entries)

    @property
    def unsaid(self) -> bool:
        """Whether a loss waits for a frame that says it."""
        return any(not one.seq for one in self._entries)

    def last_seqs(self, lane: Lane) -> dict[bytes, int]:
        """The highest sequence number under a loss, by epoch."""
        found: dict[bytes, int] = {}
        for one in self.entries():
            if one.loss.lane == lane:
                found[one.loss.epoch] = max(found.get(one.loss.epoch, 0), one.loss.last_seq)
        return found

    def covered(self, lane: Lane, epoch: bytes) -> SeqRanges:
        """Which frames of an epoch are under a loss."""
        ranges = SeqRanges()
        for one in self.entries():
            if (one.loss.lane, one.loss.epoch) == (lane, epoch):
                ranges.add(one.loss.first_seq, one.loss.last_seq)
        return ranges

    def add(self, losses: Iterable[Loss]) -> None:
        """Losses that no frame says yet."""
        with self._lock:
            self._entries += [Said(loss) for loss in losses]
            self._changed = True

    def again(self, entry: Said) -> None:
        """The frame that said this loss is gone: another one has to."""
        with self._lock:
            self._entries = [Said(one.loss) if one == entry else one for one in self._entries]
            self._changed = True

    def carried(self, losses: Sequence[Loss], header: Header) -> None:
        """A frame that is sealed says these losses."""
        with self._lock:
            kept = [one for one in self._entries if not any(_within(one.loss, loss) for loss in losses)]
            self._entries = [*kept, *(Said(loss, header.epoch, header.seq) for loss in losses)]
            self._changed = True

    def hear(self, frame: SealedFrame) -> None:
        """Note which of the waiting losses an events frame says."""
        if frame.header.lane is not Lane.EVENTS or not self.unsaid:
            return
        losses = [one for one in decode_frame(frame.data).content.records if isinstance(one, Loss)]
        if losses:
            self.carried(losses, frame.header)

    def said_in(self, epoch: bytes, ranges: Iterable[tuple[int, int]]) -> list[Loss]:
        """The losses that these events frames say."""
        seqs = SeqRanges()
        for first, last in ranges:
            seqs.add(first, last)
        return [one.loss for one in self.entries() if one.epoch == epoch and one.seq in seqs]

    def forget_old(self, confirmed: Callable[[bytes, int], bool]) -> None:
        """Keep the book small: the oldest losses go whose frame is confirmed."""
        with self._lock:
            surplus = len(self._entries) - LOSSES_KEPT_MAX
            if surplus <= 0:
                return
            old = [one for one in self._entries if one.seq and confirmed(one.epoch, one.seq)][:surplus]
            gone = {id(one) for one in old}
            self._entries = [one for one in self._entries if id(one) not in gone]
            self._changed = True

    def write(self) -> None:
        """Write the book durably, if it changed. Raises StorageUnavailable."""
        with self._writing:
            if not self._changed:
                return
            self._changed = False
            try:
                epochs = {lane: list(known) for lane, known in dict(self._epochs).items()}
                data = msgspec.msgpack.encode(_LossFile(LOSSES_FORMAT, self.entries(), epochs))
                write_durably(self._path, data, disk=self._disk)
            except StorageUnavailable:
                self._changed = True
                raise


def loss_of(lane: Lane, frames: Sequence[tuple[Header, bytes]], bounds: tuple[int, int], reason: LossReason) -> Loss:
    """What frames of one epoch say that are about to go; `bounds` are the first and last number of the range."""
    headers = [header for header, _ in frames]
    names: dict[str, None] = {}
    for _, data in frames:
        if len(names) >= SERIES_LISTED_MAX:
            break
        names.update((f"{one.device}/{one.point}", None) for one in decode_frame(data).content.series)
    whole = len(frames) == bounds[1] - bounds[0] + 1
    return Loss(
        lane,
        headers[0].epoch,
        *bounds,
        min(header.from_ms for header in headers),
        max(header.to_ms for header in headers),
        reason,
        sum(header.readings for header in headers) if whole else None,
        open_frame(frames[0][1]).hash if headers[0].seq == bounds[0] else b"",
        open_frame(frames[-1][1]).hash if headers[-1].seq == bounds[1] else b"",
        tuple(names)[:SERIES_LISTED_MAX],
    )


def unreadable(lane: Lane, epoch: bytes, bounds: tuple[int, int], at_ms: int) -> Loss:
    """Frames of which nothing can be read any more. `at_ms` is the nearest time known, Unix ms UTC."""
    return Loss(lane, epoch, *bounds, at_ms, at_ms, LossReason.DAMAGED)


def joined(losses: Sequence[Loss]) -> list[Loss]:
    """The same losses with neighbours of one epoch and reason made one."""
    found: list[Loss] = []
    for one in sorted(losses, key=lambda loss: (loss.lane, loss.epoch, loss.first_seq)):
        last = found[-1] if found else None
        if last is None or (last.lane, last.epoch, last.reason) != (one.lane, one.epoch, one.reason) or (
            last.last_seq + 1 != one.first_seq
        ):  # fmt: skip
            found.append(one)
            continue
        found[-1] = Loss(
            one.lane, one.epoch, last.first_seq, one.last_seq, min(last.from_ms, one.from_ms),
            max(last.to_ms, one.to_ms), one.reason,
            last.count + one.count if last.count is not None and one.count is not None else None,
            last.first_hash, one.last_hash,
            tuple(dict.fromkeys((*last.series, *one.series)))[:SERIES_LISTED_MAX],
        )  # fmt: skip
    return found


def _within(one: Loss, other: Loss) -> bool:
    same = (one.lane, one.epoch) == (other.lane, other.epoch)
    return same and other.first_seq <= one.first_seq and one.last_seq <= other.last_seq
