"""What the filter lets through: columns for the journal's two lanes."""

from dataclasses import dataclass

from devices.columns import Numbers, Poses, Texts
from devices.records import Link

_NO_NUMBERS, _NO_TEXTS, _NO_POSES = Numbers.empty(), Texts.empty(), Poses.empty()


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Rows of one lane, in the order in which they were handled. Series are ids of `edge.series.SeriesTable`."""

    numbers: Numbers = _NO_NUMBERS
    texts: Texts = _NO_TEXTS
    poses: Poses = _NO_POSES
    links: tuple[Link, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers) + len(self.texts) + len(self.poses) + len(self.links)


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What is left of some readings, per lane; None where nothing is.

    `urgent` asks for a seal at once (a discrete state input changed, a link changed); otherwise poses may
    wait 5 s and the rest 1 s.
    """

    events: Columns | None = None
    telemetry: Columns | None = None
    urgent: bool = False

    def __bool__(self) -> bool:
        return self.events is not None or self.telemetry is not None


NOTHING = Kept()
