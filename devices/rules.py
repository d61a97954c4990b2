"""Alert rules as data: what to look at, when it is wrong, how long it must last, how bad it is, what to do.

A pack is one YAML document. A site changes a pack by overrides and own rules (`SiteRules`): on the gateway in
site.yaml, in the cloud as an input. The gateway and the cloud use the same pack, so that both raise the same alert.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from devices.conditions import Delays
from devices.document import Mistake, Path_, Section, parse_document, read_text
from devices.expectations import nearest_key
from devices.point import Id
from devices.rule_kinds import EDGE_KINDS, Abnormal, Delay, EventRule, ThresholdRule, When
from devices.words import FALLBACK, catalogue

PACKS_FOLDER = Path(__file__).parent / "rule_packs"
DEFAULT_PACK = "default"
RULES_MAX = 500
OWN_TEXT = "alert.own_rule"  # the sentence of a rule that brings its own words as `name`
TextKey = Annotated[str, Field(pattern=r"^[a-z0-9_.]{1,100}$")]


class Severity(StrEnum):
    """The three colours, least bad first."""

    YELLOW = "yellow"
    ORANGE = "orange"
    RED = "red"

    @property
    def rank(self) -> int:
        """0 for yellow to 2 for red."""
        return list(Severity).index(self)


class Mode(StrEnum):
    """What a rule does when it fires."""

    LIVE = "live"
    SHADOW = "shadow"  # it is written down and nobody is told: for trying a rule
    OFF = "off"


class Where(StrEnum):
    """Who evaluates a rule."""

    CLOUD = "cloud"
    EDGE = "edge"  # the gateway, which needs no cloud for it; the cloud evaluates it too, as the same alert


class Rule(Section):
    """One rule. Delays are seconds; `text` and `runbook` are keys of the catalogue.

    `name` is the sentence of an own rule, in the site's language, and stands in for `text`. `flag` marks what an
    alert calls for beyond its colour (`root-cause`).
    """

    id: Id
    version: int = Field(default=1, ge=1)
    severity: Severity
    when: When
    text: TextKey = OWN_TEXT
    name: str = Field(default="", max_length=200)
    runbook: TextKey | None = None
    on_delay: Delay = 0.0
    off_delay: Delay = 0.0
    latched: bool = False  # stays open until a person resolves it, however the machine goes on
    at: Where = Where.CLOUD
    mode: Mode = Mode.LIVE
    flag: str | None = Field(default=None, pattern=r"^[a-z-]{1,30}$")

    @property
    def delays(self) -> Delays:
        """The delays in milliseconds."""
        return Delays(on_ms=round(self.on_delay * 1000), off_ms=round(self.off_delay * 1000))

    @property
    def deadband(self) -> float:
        """How far a value must come back, in the unit of its measure; 0 for what has no limit."""
        return self.when.deadband if isinstance(self.when, ThresholdRule) else 0.0


class RulePack(Section):
    """A set of rules under one name and version."""

    id: Id
    version: int = Field(ge=1)
    rules: tuple[Rule, ...] = Field(min_length=1, max_length=RULES_MAX)

    def mistakes(self) -> Iterable[Mistake]:
        """What single values cannot show."""
        yield from rule_mistakes(self.rules, ("rules",))


class Override(Section):
    """What a site changes of one rule of the pack; what is absent stays as it is."""

    rule: Id
    severity: Severity | None = None
    on_delay: Delay | None = None
    off_delay: Delay | None = None
    latched: bool | None = None
    mode: Mode | None = None
    limit: float | None = None  # of a threshold, in the canonical unit of its measure
    deadband: float | None = Field(default=None, ge=0)


class SiteRules(Section):
    """What a site changes of the packaged rules, and the rules it adds."""

    overrides: tuple[Override, ...] = Field(default=(), max_length=RULES_MAX)
    rules: tuple[Rule, ...] = Field(default=(), max_length=RULES_MAX)

    def mistakes(self) -> Iterable[Mistake]:
        """What single values cannot show, against the packaged rules."""
        yield from site_rule_mistakes(self, known_rules())


def parse_rules(text: str, file_name: str) -> RulePack:
    """A pack from its text. Raises ConfigurationError with every problem, each with file, line and column."""
    return parse_document(text, file_name, RulePack)


def load_rules(path: Path) -> RulePack:
    """The pack in a file. Raises ConfigurationError with every problem."""
    return parse_rules(read_text(path), str(path))


def parse_site_rules(text: str, file_name: str) -> SiteRules:
    """Overrides and own rules of a site from their text. Raises ConfigurationError with every problem."""
    return parse_document(text, file_name, SiteRules)


@cache
def packaged_rules(pack: str = DEFAULT_PACK) -> RulePack:
    """A pack that ships with Gatehouse."""
    return load_rules(PACKS_FOLDER / f"{pack}.yaml")


def known_rules() -> dict[str, Rule]:
    """The rules of the packaged default pack, by id, in the order of the pack."""
    return {rule.id: rule for rule in packaged_rules().rules}


def rules_of_site(rules: Mapping[str, Rule], changes: SiteRules | None) -> dict[str, Rule]:
    """The rules as they hold at a site, by id. What is switched off is left out.

    Overrides of rules that are no longer in the pack are without effect.
    """
    changed = dict(rules)
    if changes is not None:
        for override in changes.overrides:
            if override.rule in changed:
                changed[override.rule] = overridden(changed[override.rule], override)
        changed |= {rule.id: rule for rule in changes.rules}
    return {rule_id: rule for rule_id, rule in changed.items() if rule.mode is not Mode.OFF}


def overridden(rule: Rule, override: Override) -> Rule:
    """The rule with a site's changes."""
    simple = {
        name: value
        for name in ("severity", "on_delay", "off_delay", "latched", "mode")
        if (value := getattr(override, name)) is not None
    }
    limits = {name: value for name in ("limit", "deadband") if (value := getattr(override, name)) is not None}
    if limits and isinstance(rule.when, ThresholdRule):
        simple["when"] = rule.when.model_copy(update=limits)
    return rule.model_copy(update=simple)


def site_rule_mistakes(changes: SiteRules, rules: Mapping[str, Rule], at: Path_ = ()) -> Iterable[Mistake]:
    """What is wrong with a site's changes. `at` is where they stand in their document."""
    seen: set[str] = set()
    for index, override in enumerate(changes.overrides):
        place: Path_ = (*at, "overrides", index)
        rule = rules.get(override.rule)
        if rule is None:
            message = f"there is no rule {override.rule!r}{nearest_key(override.rule, list(rules))}"
            yield Mistake((*place, "rule"), message)
        elif not isinstance(rule.when, ThresholdRule):
            yield from (
                Mistake((*place, name), f"{override.rule} is no threshold: it has no {name}")
                for name in ("limit", "deadband")
                if getattr(override, name) is not None
            )
        if override.rule in seen:
            yield Mistake((*place, "rule"), f"{override.rule!r} stands here twice")
        seen.add(override.rule)
    yield from rule_mistakes(changes.rules, (*at, "rules"))
    for index, own in enumerate(changes.rules):
        if own.id in rules:
            yield Mistake((*at, "rules", index, "id"), f"{own.id!r} is a packaged rule: change it with an override")


def rule_mistakes(rules: Sequence[Rule], at: Path_) -> Iterable[Mistake]:
    """What is wrong with rules although every single value is well formed."""
    words = catalogue(FALLBACK)
    seen: set[str] = set()
    for index, rule in enumerate(rules):
        place: Path_ = (*at, index)
        if rule.id in seen:
            yield Mistake((*place, "id"), f"the rule {rule.id!r} stands here twice")
        seen.add(rule.id)
        if (rule.text == OWN_TEXT) != bool(rule.name):
            yield Mistake((*place, "id"), f"{rule.id} needs either text, a key of the catalogue, or its own name")
        for key, name in (("text", rule.text), ("runbook", rule.runbook)):
            if name is not None and name not in words:
                yield Mistake((*place, key), f"there are no words for {name!r}")
        if rule.at is Where.EDGE and rule.when.kind not in EDGE_KINDS:
            kinds = ", ".join(EDGE_KINDS)
            yield Mistake((*place, "at"), f"a gateway cannot judge {rule.when.kind!r}: expected one of {kinds}")
        if isinstance(rule.when, Abnormal) and rule.when.weeks_min > rule.when.weeks:
            yield Mistake((*place, "when", "weeks_min"), "weeks_min is more than weeks")
        if isinstance(rule.when, EventRule) and (rule.on_delay or rule.off_delay):
            yield Mistake((*place, "when"), "an event has no duration: it takes no delays")
