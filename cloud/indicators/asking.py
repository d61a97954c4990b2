"""A question for an indicator: which site, which window, as of when; and what was looked up for it already.

`cloud.indicators.patrol`, `.alarms` and the others give tables from ids to functions of `Asked`; the registry merges
them. A function looks facts up through `once`, so that the indicators of one question share each look.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cloud.facts.ledger import Ledger
from cloud.facts.store import FactStore
from cloud.indicators.definition import IndicatorResult, Window
from cloud.indicators.policy import DEFAULT_POLICY, IndicatorPolicy

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Asked:
    """One window of one site, as known at `now_ms` (Unix ms UTC)."""

    store: FactStore
    ledger: Ledger
    window: Window
    now_ms: int
    known: dict[object, Any] = field(default_factory=dict)  # what was looked up for this question already
    policy: IndicatorPolicy = DEFAULT_POLICY
    members: frozenset[str] | None = None  # ids of the things of one group; None: all of the site

    def counts(self, thing: str) -> bool:
        """Whether a thing belongs to what is asked about."""
        return self.members is None or thing in self.members

    @property
    def until_now(self) -> Window:
        """The part of the window about which anything can be known: nothing is known of the future."""
        end = max(min(self.window.to_ms, self.now_ms), self.window.from_ms)
        return Window(self.window.from_ms, end)


Computation = Callable[[Asked], IndicatorResult]


def once(asked: Asked, look: Callable[[Asked], _Found]) -> _Found:
    """What a look at the facts finds; several indicators of one question share it, and so do the groups of a site.

    So a look takes in the whole site; whoever uses it leaves out what `asked.counts` does not.
    """
    key = (look, asked.window)
    if key not in asked.known:
        asked.known[key] = look(asked)
    found: _Found = asked.known[key]
    return found
