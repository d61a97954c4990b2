"""The rules as they hold at each site: the packaged ones with what was entered for every site and for this one.

An input of kind `alert-rules` holds a `devices.rules.SiteRules` as JSON. One that cannot be used any more (a rule left
the pack) is without effect where it is wrong.
"""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
import structlog

from cloud.alerts.view import Span
from cloud.facts.database import reading, writing
from cloud.facts.desk import ALERT_RULES
from cloud.facts.equipment_inputs import DRILL, entered_of
from cloud.facts.inputs import EVERY_SITE, Input, enter, in_force, inputs_of, newest
from cloud.facts.tables_inputs import inputs
from devices.errors import ConfigurationError
from devices.rules import Rule, SiteRules, known_rules, parse_site_rules, rules_of_site

_NO_DRILLS: Mapping[str, Sequence[Span]] = {}
_log = structlog.get_logger(__name__)


class RulesInForce:
    """Read from the inputs; parsed once for each version. `refresh` blocks, the rest answers from memory."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._entries: dict[tuple[str, str], int] = {}
        self._everywhere: Mapping[str, Rule] = rules_of_site(known_rules(), None)
        self._changes: dict[str, SiteRules] = {}
        self._rules: dict[str, Mapping[str, Rule]] = {}
        self._drills: dict[str, Mapping[str, Sequence[Span]]] = {}

    def of(self, site: str) -> Mapping[str, Rule]:
        """The rules of a site by id; the same object while nothing changed."""
        return self._rules.get(site, self._everywhere)

    def drills(self, site: str) -> Mapping[str, Sequence[Span]]:
        """When there were or will be drills, by equipment; the same object while nothing changed."""
        return self._drills.get(site, _NO_DRILLS)

    def refresh(self) -> None:
        """Take up what was entered since."""
        newest_entry = sa.func.max(inputs.c.entry)
        kinds = inputs.c.kind.in_((ALERT_RULES, DRILL))
        chosen = (
            sa.select(inputs.c.site, inputs.c.kind, newest_entry).where(kinds).group_by(inputs.c.site, inputs.c.kind)
        )
        grouped = chosen.group_by(inputs.c.site, inputs.c.kind)
        with reading(self._engine) as connection:
            found = {(site, kind): entry for site, kind, entry in connection.execute(grouped)}
            changed = {place for place, entry in found.items() if self._entries.get(place) != entry}
            for site, kind in sorted(changed):
                if kind == DRILL:
                    self._drills[site] = _drills(site, inputs_of(connection, site, DRILL))
                else:
                    self._changes[site] = _merged(in_force(inputs_of(connection, site, ALERT_RULES)))
        self._entries = found
        if any(kind == ALERT_RULES for _, kind in changed):
            self._everywhere = rules_of_site(known_rules(), self._changes.get(EVERY_SITE))
            self._rules = {
                site: rules_of_site(self._everywhere, changes)
                for site, changes in self._changes.items()
                if site != EVERY_SITE
            }


def enter_rules(
    engine: sa.Engine, site: str, text: str, file_name: str, *, actor: str, reason: str, now_ms: int
) -> Input:
    """Make a document of overrides and own rules the one of a site (`EVERY_SITE`: of all).

    Raises ConfigurationError with every mistake, InputRefused.
    """
    changes = parse_site_rules(text, file_name)
    document = changes.model_dump_json(exclude_defaults=True)
    with writing(engine) as connection:
        return enter(
            connection, site, ALERT_RULES, ALERT_RULES, document, actor=actor, reason=reason, recorded_ms=now_ms,
            valid_from_ms=now_ms,
        )  # fmt: skip


def rules_entered(engine: sa.Engine, site: str) -> Input | None:
    """The newest version of what was entered for a site; None when nothing was, or it was taken back."""
    with reading(engine) as connection:
        found = newest(connection, site, ALERT_RULES, ALERT_RULES)
    return None if found is None or found.withdrawn else found


def _merged(entered: Sequence[Input]) -> SiteRules:
    found = [one for one in map(_parsed, entered) if one is not None]
    return SiteRules(
        overrides=tuple(override for one in found for override in one.overrides),
        rules=tuple(rule for one in found for rule in one.rules),
    )


def _drills(site: str, entered: Sequence[Input]) -> Mapping[str, Sequence[Span]]:
    try:
        return entered_of({DRILL: entered}).drills
    except (ConfigurationError, ValueError) as error:
        _log.warning("drills of a site cannot be used", site=site, problem=str(error))
        return _NO_DRILLS


def _parsed(one: Input) -> SiteRules | None:
    try:
        return SiteRules.model_validate_json(one.document)
    except ValueError as error:
        _log.warning("alert rules of a site cannot be used", site=one.site, version=one.version, problem=str(error))
        return None
