"""The terms of a number: policy, targets and imported definitions that hold for a site at a moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from threading import Lock
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from cloud.facts.database import reading
from cloud.facts.inputs import EVERY_SITE, Input, at_moment, inputs_of, revision
from cloud.facts.ledger import Ledger
from cloud.indicators.imported import DEFINITION_KIND, ImportedDefinition, definitions_of
from cloud.indicators.policy import DEFAULT_POLICY, POLICY_KIND, IndicatorPolicy
from cloud.indicators.targets import CHOICE_KIND, TARGET_KIND, Targets, targets_at

KINDS = (POLICY_KIND, CHOICE_KIND, TARGET_KIND, DEFINITION_KIND)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a number is counted by and held against."""

    policy: IndicatorPolicy
    targets: Targets
    imported: Mapping[str, ImportedDefinition]


@dataclass(frozen=True, slots=True)
class _Entered:
    """What was entered for a site and for every site, by kind."""

    revisions: tuple[int, int]
    own: Mapping[str, Sequence[Input]]
    shared: Mapping[str, Sequence[Input]]


_entered: "WeakKeyDictionary[sa.Engine, dict[str, _Entered]]" = WeakKeyDictionary()
_lock = Lock()


def terms_at(engine: sa.Engine, ledger: Ledger, time_ms: int) -> Terms:
    """The terms of a site at a moment (Unix ms UTC). Blocks."""
    entered = _known(engine, ledger.site.id)
    day = datetime.fromtimestamp(time_ms / 1000, ledger.site.time_zone).date()
    own = [*entered.own[CHOICE_KIND], *entered.own[TARGET_KIND]]
    return Terms(
        _policy(entered, time_ms),
        targets_at(ledger, time_ms, own, entered.shared[CHOICE_KIND], day),
        definitions_of(entered.own[DEFINITION_KIND], entered.shared[DEFINITION_KIND]),
    )


def _policy(entered: _Entered, time_ms: int) -> IndicatorPolicy:
    held = [*at_moment(entered.shared[POLICY_KIND], time_ms), *at_moment(entered.own[POLICY_KIND], time_ms)]
    return _parsed(held[-1].document) if held else DEFAULT_POLICY


@lru_cache(maxsize=256)
def _parsed(document: str) -> IndicatorPolicy:
    return IndicatorPolicy.model_validate_json(document)


def _known(engine: sa.Engine, site: str) -> _Entered:
    """Read again only when something was entered; kept for as long as the store is open."""
    with reading(engine) as connection:
        revisions = revision(connection, site), revision(connection, EVERY_SITE)
        with _lock:
            known = _entered.setdefault(engine, {}).get(site)
        if known is not None and known.revisions == revisions:
            return known
        own = {kind: inputs_of(connection, site, kind) for kind in KINDS}
        shared = {kind: inputs_of(connection, EVERY_SITE, kind) for kind in KINDS}
    found = _Entered(revisions, own, shared)
    with _lock:
        _entered[engine][site] = found
    return found
