"""Where people enter things about a site: ledgers, windows, exclusions, inspections, policies. Keeps the audit trail.

Blocks (SQLite). Whoever enters something is named, says why, and can be asked later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from cloud.facts.database import reading, writing
from cloud.facts.equipment_inputs import (
    DOCUMENTS,
    ENDING,
    INSPECTION,
    WINDOW,
    WINDOW_MS_MAX,
    Drill,
    Exclusion,
    Inspection,
    MaintenanceWindow,
)
from cloud.facts.equipment_policy import EQUIPMENT_POLICY
from cloud.facts.failures import asking
from cloud.facts.inputs import (
    EVERY_SITE,
    Input,
    InputRefused,
    changed_spans,
    enter,
    entered_since,
    in_force,
    inputs_of,
    newest,
    revision,
    withdraw,
)
from cloud.facts.ledger import Ledger
from cloud.facts.ledgers import (
    LedgerEntry,
    import_ledger,
    ledger_history,
    ledger_text,
    mark_results_of,
    sites_with_ledger,
)
from cloud.facts.store import FactStore
from cloud.facts.unmonitored import NotMonitored, not_monitored
from devices.document import Section, parse_document
from devices.errors import Permanent
from devices.rules import SiteRules

ALERT_RULES = "alert-rules"  # overrides and own rules of a site (docs/own-rule.md)
ENTERED: Mapping[str, type[Section]] = {**DOCUMENTS, ALERT_RULES: SiteRules}
KINDS = tuple(sorted(ENTERED))
LASTING = (WINDOW, INSPECTION)  # kinds that may decide about states after their end, too


class UnknownThing(Permanent):
    """A site, a kind of input or an equipment that is not there."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to enter. Times are Unix ms UTC; `document` is JSON."""

    document: str
    actor: str
    reason: str
    valid_from_ms: int
    valid_to_ms: int | None = None
    expected_version: int | None = None


class Desk:
    """One for a database; safe to call from several threads. Raises StorageUnavailable where the store is away."""

    def __init__(self, store: FactStore) -> None:
        self._store = store
        self.engine = store.engine

    def enter(self, site: str, kind: str, name: str, wish: Wish, now_ms: int) -> Input:
        """Add a version. Raises UnknownThing, InputRefused, InputVersionMismatch, ConfigurationError."""
        document = self._checked(site, kind, name, wish, now_ms)
        with asking("inputs"), writing(self.engine) as connection:
            before = revision(connection, site)
            entered = enter(
                connection, site, kind, name, document.model_dump_json(exclude_defaults=True), actor=wish.actor,
                reason=wish.reason, recorded_ms=now_ms, valid_from_ms=wish.valid_from_ms,
                valid_to_ms=wish.valid_to_ms, expected_version=wish.expected_version,
            )  # fmt: skip
            self._mark(connection, site, before, now_ms)
        return entered

    def withdraw(
        self, site: str, kind: str, name: str, *, actor: str, reason: str, now_ms: int,
        expected_version: int | None = None,
    ) -> Input:  # fmt: skip
        """Take something back. Raises UnknownThing, InputRefused, InputVersionMismatch."""
        self._check_place(site, kind)
        with asking("inputs"), writing(self.engine) as connection:
            if newest(connection, site, kind, name) is None:
                raise UnknownThing(f"there is no {kind} {name!r}")
            before = revision(connection, site)
            gone = withdraw(connection, site, kind, name, actor=actor, reason=reason, recorded_ms=now_ms,
                            expected_version=expected_version)  # fmt: skip
            self._mark(connection, site, before, now_ms)
        return gone

    def of_kind(self, site: str, kind: str) -> list[Input]:
        """Everything of a kind, each with all its versions. Raises UnknownThing."""
        self._check_place(site, kind)
        with asking("inputs"), reading(self.engine) as connection:
            return inputs_of(connection, site, kind)

    def trail(self, site: str, after: int, limit: int) -> list[Input]:
        """What was entered for a site, of any kind, after an entry. Raises UnknownThing."""
        self._check_site(site)
        with asking("inputs"), reading(self.engine) as connection:
            return entered_since(connection, site, after, limit)

    def import_ledger(
        self, site: str, text: str, *, actor: str, reason: str, now_ms: int, valid_from: date | None = None
    ) -> Ledger:
        """Make a document the newest version of an existing site. Raises UnknownThing, ConfigurationError."""
        self._check_site(site)
        parsed = parse_document(text, "ledger", Ledger)
        if parsed.site.id != site:
            raise InputRefused(f"this is the ledger of {parsed.site.id!r}, not of {site!r}")
        with asking("ledgers"):
            return import_ledger(
                self.engine, text, "ledger", actor=actor, now_ms=now_ms, reason=reason, valid_from=valid_from
            )

    def ledger_history(self, site: str) -> list[LedgerEntry]:
        """Who entered which version of the ledger when and why. Raises UnknownThing."""
        self._check_site(site)
        with asking("ledgers"), reading(self.engine) as connection:
            return ledger_history(connection, site)

    def ledger_text(self, site: str, version: int | None = None) -> str:
        """A version as it was entered, or the newest. Raises UnknownThing."""
        with asking("ledgers"), reading(self.engine) as connection:
            history = ledger_history(connection, site)
            wanted = version if version is not None or not history else history[-1].version
            text = None if wanted is None else ledger_text(connection, site, wanted)
        if text is None:
            raise UnknownThing(f"there is no ledger of {site!r}" + (f" with version {version}" if version else ""))
        return text

    def ledger(self, site: str) -> Ledger:
        """The newest ledger. Raises UnknownThing."""
        with asking("ledgers"):
            found = self._store.ledger(site)
        if found is None:
            raise UnknownThing(f"there is no site {site!r}")
        return found

    def not_monitored(self, site: str) -> NotMonitored:
        """What the newest ledger names and nobody reports, and the other way round. Raises UnknownThing."""
        ledger = self.ledger(site)
        with asking("inputs"), reading(self.engine) as connection:
            inspections = in_force(inputs_of(connection, site, INSPECTION))
        with asking("facts"):
            inspected = frozenset(parse_document(one.document, one.id, Inspection).equipment for one in inspections)
            return not_monitored(self.engine, ledger, inspected)

    def _mark(self, connection: sa.Connection, site: str, before: int, now_ms: int) -> None:
        """Days of which issued results must be looked at again: those for which something was said or unsaid."""
        sites = sites_with_ledger(connection) if site == EVERY_SITE else [site]
        for kind, (from_ms, to_ms) in changed_spans(connection, site, before):
            end_ms = now_ms if kind in LASTING else min(to_ms, now_ms)
            for one in sites if kind in DOCUMENTS else ():
                mark_results_of(connection, one, from_ms, end_ms)

    def _check_site(self, site: str) -> None:
        if site != EVERY_SITE and not self._ledgers(site):
            raise UnknownThing(f"there is no site {site!r}")

    def _check_place(self, site: str, kind: str) -> None:
        self._check_site(site)
        if kind not in ENTERED:
            raise UnknownThing(f"there is no input {kind!r}; there are {', '.join(KINDS)}")
        if site == EVERY_SITE and kind not in {EQUIPMENT_POLICY, ALERT_RULES}:
            raise InputRefused(f"a {kind} belongs to one site")

    def _ledgers(self, site: str) -> Sequence[Ledger]:
        with asking("ledgers"):
            return [one.ledger for one in self._store.ledgers(site)]

    def _checked(self, site: str, kind: str, name: str, wish: Wish, now_ms: int) -> Section:
        self._check_place(site, kind)
        document = parse_document(wish.document, f"{kind} {name}", ENTERED[kind])
        known = {one.id for ledger in self._ledgers(site) for one in ledger.machines}
        for equipment in _about(document):
            if equipment not in known:
                raise UnknownThing(f"there is no equipment {equipment!r} at {site!r}")
        if kind in ENDING and wish.valid_to_ms is None:
            raise InputRefused(f"a {kind} must end")
        if kind == WINDOW and (wish.valid_to_ms or 0) - wish.valid_from_ms > WINDOW_MS_MAX:
            raise InputRefused("a maintenance window lasts at most 92 days; what stands still for longer is retired")
        if kind == INSPECTION and wish.valid_from_ms > now_ms:
            raise InputRefused("an inspection lies in the past")
        return document


def _about(document: Section) -> tuple[str, ...]:
    if isinstance(document, Inspection):
        return (document.equipment,)
    return document.equipment if isinstance(document, MaintenanceWindow | Exclusion | Drill) else ()
