"""What was found in spot checks: inputs of the kind `spot-check`, append-only like all of them. Blocks."""

from collections.abc import Callable

import msgspec

from cloud.evidence.spot_checks import Mismatches, mismatches, sample
from cloud.facts.database import reading, writing
from cloud.facts.failures import asking
from cloud.facts.inputs import enter, in_force, inputs_of
from cloud.facts.store import FactStore
from devices.errors import Permanent

KIND = "spot-check"


class UnknownThing(Permanent):
    """No such site, or the thing was not drawn."""


class Finding(msgspec.Struct, frozen=True):
    """Somebody looked at a thing: `as_recorded` when it was as the book said."""

    seed: str
    percent: int
    thing: str
    as_recorded: bool
    note: str = ""


class SpotCheck(msgspec.Struct, frozen=True):
    """A draw and what was found so far; `left` nobody has looked at yet."""

    seed: str
    percent: int
    drawn: tuple[str, ...]
    left: tuple[str, ...]
    found: Mismatches


class SpotChecks:
    """The spot checks of all sites."""

    def __init__(self, store: FactStore, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now

    def check(self, site: str, seed: str, percent: int) -> SpotCheck:
        """Draw, and gather what was found. Raises UnknownThing, Permanent for a sample that is too small."""
        drawn = self._drawn(site, seed, percent)
        with asking("spot checks"), reading(self._store.engine) as connection:
            entered = in_force(inputs_of(connection, site, KIND))
        said = sorted(entered, key=lambda one: one.entry)
        findings = [msgspec.json.decode(one.document, type=Finding) for one in said]
        mine = [(one.thing, one.as_recorded) for one in findings if (one.seed, one.percent) == (seed, percent)]
        found, left = mismatches(drawn, mine)
        return SpotCheck(seed, percent, tuple(drawn), tuple(left), found)

    def enter(self, site: str, finding: Finding, actor: str) -> None:
        """Write down what was found. Raises UnknownThing for what was not drawn."""
        if finding.thing not in self._drawn(site, finding.seed, finding.percent):
            raise UnknownThing(f"{finding.thing!r} was not drawn by the seed {finding.seed!r}")
        name = f"{finding.seed} {finding.percent} {finding.thing}"
        now_ms = self._now()
        with asking("spot checks"), writing(self._store.engine) as connection:
            enter(
                connection, site, KIND, name, msgspec.json.encode(finding).decode(), actor=actor,
                reason=finding.note or "spot check", recorded_ms=now_ms, valid_from_ms=now_ms,
            )  # fmt: skip

    def _drawn(self, site: str, seed: str, percent: int) -> list[str]:
        ledger = self._store.ledger(site)
        if ledger is None:
            raise UnknownThing(f"there is no site {site!r}")
        return sample(seed, [one.id for one in ledger.equipment], percent)
