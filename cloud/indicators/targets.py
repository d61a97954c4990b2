"""Targets: packs to choose from, overrides of a site, each valid for a time and named by its version (R0-3, R1-7).

Nothing is hard-coded: the texts contradict each other, so their figures are packs (YAML, in `target_packs`). What a
site says itself goes before its ledger, that before the pack chosen for the site, that before the one chosen for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import Field

from cloud.facts.days import date_start
from cloud.facts.inputs import Input, at_moment
from cloud.facts.ledger import Ledger
from cloud.facts.ledger_values import Name
from cloud.indicators.definition import Better
from devices.document import Section, parse_document
from devices.point import Id

TARGET_KIND = "target"  # input: what one site says about one indicator
CHOICE_KIND = "target-pack"  # input: which pack holds, for a site or for every site
CHOICE_ID = "chosen"
DEFAULT_PACK = "gatehouse"
MONTHS_VALID = 12  # then a target is due for revision (R0-3)
IndicatorId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$", max_length=100)]
PeriodName = Literal["month", "quarter", "half-year"]


class TargetValue(Section):
    """A figure in the unit of the indicator's value; a share is between 0 and 1, a time is in ms."""

    value: float = Field(ge=0, le=1e15)
    better: Better | None = None  # None: as the indicator is defined

    @property
    def exact(self) -> Fraction:
        """As written: 0.98 is 49/50."""
        return Fraction(str(self.value))


class PackVersion(Section):
    """Figures of a pack from a day on, up to another (exclusive), and over which periods they are judged.

    Without `valid_from` they hold for all time before `valid_to`.
    """

    version: str = Field(min_length=1, max_length=50)
    valid_from: date | None = None
    valid_to: date | None = None
    period: PeriodName = "month"
    targets: dict[IndicatorId, TargetValue] = Field(max_length=1_000)

    @property
    def begin(self) -> date:
        """The first day."""
        return self.valid_from or date.min


class TargetPack(Section):
    """A set of figures that can be chosen as a whole."""

    id: Id
    name: Name
    source: str = Field(max_length=200)
    versions: tuple[PackVersion, ...] = Field(min_length=1, max_length=100)

    def at(self, day: date) -> PackVersion | None:
        """The version of a day; None before the first and after the last."""
        held = [one for one in self.versions if one.begin <= day and (one.valid_to is None or day < one.valid_to)]
        return max(held, key=lambda one: one.begin, default=None)


class TargetEntry(Section):
    """The document of an input of `TARGET_KIND`. `value` null: this site has no target for it."""

    indicator: IndicatorId
    value: float | None = Field(ge=0, le=1e15)
    better: Better | None = None
    source: str = Field(default="", max_length=500)


class PackChoice(Section):
    """The document of an input of `CHOICE_KIND`. `period` null: as the pack says."""

    pack: Id
    period: PeriodName | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What an indicator is held against. `origin`: override, ledger or pack; an override is named in every report."""

    value: Fraction
    better: Better | None
    version: str
    origin: str
    since_ms: int

    @property
    def is_override(self) -> bool:
        """Whether the site departs from the pack."""
        return self.origin != "pack"


@cache
def known_packs() -> Mapping[str, TargetPack]:
    """The packaged packs, by id."""
    folder = resources.files("cloud.indicators").joinpath("target_packs")
    files = sorted((one for one in folder.iterdir() if one.name.endswith(".yaml")), key=lambda one: one.name)
    packs = [parse_document(one.read_text(encoding="utf-8"), one.name, TargetPack) for one in files]
    return {pack.id: pack for pack in packs}


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of a site at a moment, by indicator."""

    pack: str
    pack_version: str
    period: PeriodName
    by_indicator: Mapping[str, Target | None]

    def of(self, indicator: str) -> Target | None:
        """The target of an indicator; None where there is none."""
        return self.by_indicator.get(indicator)


def targets_at(
    ledger: Ledger, time_ms: int, own: Sequence[Input], shared: Sequence[Input], day: date
) -> Targets:  # fmt: skip
    """What holds at a moment, local day `day`. `own`, `shared`: inputs of both kinds, of the site and of all sites."""
    choice = _chosen(own, time_ms) or _chosen(shared, time_ms) or PackChoice(pack=DEFAULT_PACK)
    pack = known_packs().get(choice.pack) or known_packs()[DEFAULT_PACK]
    version = pack.at(day)
    zone = ledger.site.time_zone
    found: dict[str, Target | None] = {}
    if version is not None:
        since = date_start(version.valid_from, zone) if version.valid_from else 0
        for indicator, figure in version.targets.items():
            name = f"{pack.id}@{version.version}"
            found[indicator] = Target(figure.exact, figure.better, name, "pack", since)
    for indicator, value in ledger.targets.items():
        found[indicator] = Target(Fraction(str(value)), None, f"ledger@{value}", "ledger", 0)
    for one in at_moment([entry for entry in own if entry.kind == TARGET_KIND], time_ms):
        said = TargetEntry.model_validate_json(one.document)
        if said.value is None:
            found[said.indicator] = None
            continue
        exact = Fraction(str(said.value))
        found[said.indicator] = Target(exact, said.better, f"site@{one.version}", "override", one.valid_from_ms)
    period = choice.period or (version.period if version is not None else "month")
    return Targets(pack.id, version.version if version is not None else "", period, found)


def _chosen(entries: Sequence[Input], time_ms: int) -> PackChoice | None:
    held = at_moment([one for one in entries if one.kind == CHOICE_KIND], time_ms)
    return PackChoice.model_validate_json(held[-1].document) if held else None
