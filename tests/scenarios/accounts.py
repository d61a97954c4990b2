"""Bookkeeping by sequence numbers: accepted = delivered + lost, no doubles. Reads files, asks nothing of the agent.

Every frame that the journal ever accepted has a number; numbers of an epoch run from 1 without a gap. So the highest
number of each epoch says how many were accepted, whatever became of them since.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import sqlalchemy as sa

from devices.frame import Frame
from devices.records import Loss
from tests.scenarios.site import SmallSite

Epoch = tuple[str, bytes]  # lane and epoch


@dataclass
class Accounts:
    """Frames of all lanes and epochs. `missing` were accepted and are neither delivered nor under a loss record."""

    accepted: int = 0
    delivered: int = 0
    lost: int = 0
    doubles: int = 0
    missing: list[tuple[str, bytes, int]] = field(default_factory=list)
    epochs: int = 0

    @property
    def balanced(self) -> bool:
        """Whether nothing is missing and nothing is there twice."""
        return not self.missing and not self.doubles and self.accepted == self.delivered + self.lost

    def __str__(self) -> str:
        sign = "=" if self.accepted == self.delivered + self.lost else "!="
        return (
            f"{self.accepted} accepted {sign} {self.delivered} delivered + {self.lost} lost, "
            f"{self.doubles} doubles, {len(self.missing)} missing, {self.epochs} epochs"
        )


def accounts_of(site: SmallSite) -> Accounts:
    """The accounts of a site whose agent and cloud may still be running."""
    logged = site.log_frames()
    highest = _highest([*site.journal_frames(), *logged])
    times = Counter((str(frame.header.lane), frame.header.epoch, frame.header.seq) for frame in logged)
    delivered = {name for name in times if name[2] <= highest[name[:2]]}
    wanted = {(*epoch, seq) for epoch, last in highest.items() for seq in range(1, last + 1)}
    lost = (_under_loss_records(logged) & wanted) - delivered
    return Accounts(
        accepted=len(wanted),
        delivered=len(delivered),
        lost=len(lost),
        doubles=sum(count - 1 for count in times.values()) + _doubles_in_facts(site),
        missing=sorted(wanted - delivered - lost),
        epochs=len(highest),
    )


def _highest(frames: Iterable[Frame]) -> dict[Epoch, int]:
    """The last number of each epoch that anybody speaks of: a frame of it, or the first frame of the next epoch."""
    found: dict[Epoch, int] = {}
    for frame in frames:
        header = frame.header
        named = [(header.epoch, header.seq)]
        if header.previous_epoch is not None:
            named.append((header.previous_epoch.epoch, header.previous_epoch.last_seq))
        for epoch, seq in named:
            key = str(header.lane), epoch
            found[key] = max(found.get(key, 0), seq)
    return found


def _under_loss_records(frames: Iterable[Frame]) -> set[tuple[str, bytes, int]]:
    return {
        (record.lane, record.epoch, seq)
        for frame in frames
        for record in frame.content.records
        if isinstance(record, Loss)
        for seq in range(record.first_seq, record.last_seq + 1)
    }


def _doubles_in_facts(site: SmallSite) -> int:
    database = site.folder / "cloud-data" / "facts.sqlite"
    if not database.exists():
        return 0
    engine = sa.create_engine(f"sqlite:///{database}")
    query = "select count(*) - count(distinct device || '/' || utc_day || '/' || hex(epoch) || '/' || seq) from claims"
    try:
        with engine.connect() as connection:
            return int(connection.execute(sa.text(query)).scalar_one())
    finally:
        engine.dispose()
