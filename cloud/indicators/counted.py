"""The equipment that a question is about: the states of each, and what they count as. One look serves all indicators.

The same intervals feed a number and its explanation.
"""

from dataclasses import dataclass

from cloud.facts.days import Span
from cloud.facts.ledger_equipment import Equipment
from cloud.facts.timelines import UNKNOWN, Timeline
from cloud.indicators.asking import Asked, once
from cloud.indicators.equipment import Tally, tally_of
from cloud.indicators.policy import IndicatorPolicy


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """An equipment and its states in the part of the window in which it was in the ledger."""

    equipment: Equipment
    timeline: Timeline
    device: Timeline | None  # of its device, as far as was looked; None: nothing was ever heard of it
    counts: Timeline  # what its states count as: codes of `cloud.facts.equipment_states`
    tally: Tally
    faults: tuple[Span, ...] = ()  # before calendars, windows and drills; they may reach beyond the window

    def within(self, from_ms: int, to_ms: int) -> Tally | None:
        """Its times in a part of the window; None when it was not in the ledger then."""
        part = self.counts.clipped(from_ms, to_ms)
        return tally_of(part) if len(part.starts) else None

    @property
    def is_heard(self) -> bool:
        """Whether anything was known of it at any time of the window."""
        return bool((self.timeline.codes != UNKNOWN).any())


def all_equipment(asked: Asked) -> list[Counted]:
    """Every equipment of the site, robots too, also those that had no part in the window (their timeline is empty)."""
    window = asked.until_now
    if window.from_ms >= asked.now_ms:
        return []
    found = asked.store.equipment(asked.ledger, window.from_ms, window.to_ms, asked.now_ms)
    return [
        Counted(one.equipment, one.states, one.device, one.counts, tally_of(one.counts), one.faults) for one in found
    ]


def chosen_equipment(asked: Asked) -> list[Counted]:
    """The equipment that is asked about, with the states that count."""
    return [one for one in once(asked, all_equipment) if asked.counts(one.equipment.id)]


def pooled(counted: list[Counted], policy: IndicatorPolicy) -> Tally:
    """Sum of times, each equipment with its weight (domain.md 1.3)."""
    return sum((one.tally * policy.weights.of(one.equipment.criticality) for one in counted), Tally())
