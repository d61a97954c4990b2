"""Shapes of the answers about what stands behind indicators, for the OpenAPI document."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cloud.api.schema import IndicatorItem, Name, Share, Time

PORTFOLIO_COLUMNS = ("indicator", "from_ms", "to_ms", "value", "coverage", "verdict", "revision", "final")


class DefinitionItem(BaseModel):
    """What an indicator is."""

    id: str
    default_window: str
    unit: str
    value_unit: str
    better: Literal["higher", "lower"]
    formula_version: int
    source: str
    by: list[str]
    recorded: list[str]
    name_key: str
    formula_key: str


class Definitions(BaseModel):
    """A page of definitions."""

    items: list[DefinitionItem]
    next_cursor: str | None


class FrameItem(BaseModel):
    """Frames of one epoch, first and last seq inclusive."""

    gateway: str
    lane: str
    epoch: str
    first_seq: int
    last_seq: int


class GroupItem(BaseModel):
    """What a number is of."""

    by: str
    name: str


class FullIndicator(IndicatorItem):
    """A number with its versions, sums and frames."""

    value_unit: str
    excluded: Share
    formula_version: int
    policy_version: str
    target_version: str
    group: GroupItem | None
    parts: dict[str, int]
    details: dict[str, Any]
    frames: list[FrameItem]


class FullIndicators(BaseModel):
    """A page of numbers."""

    items: list[FullIndicator]
    next_cursor: str | None


class RevisionItem(FullIndicator):
    """An issued revision."""

    entry: int
    recorded_at: Time
    after_final: bool
    hash: str
    previous_revision: str | None


class Revisions(BaseModel):
    """A page of revisions."""

    items: list[RevisionItem]
    next_cursor: str | None


class Explanation(BaseModel):
    """A number with everything it is made of; fractions are "n/d"."""

    model_config = ConfigDict(extra="allow")
    site: str
    as_of: Time
    result: dict[str, Any]
    formula: dict[str, Any]
    terms: dict[str, Any]
    inputs: list[dict[str, Any]]
    things: list[dict[str, Any]]
    is_cut: bool
    days: list[dict[str, Any]]
    values: list[dict[str, Any]]
    frames: list[FrameItem]


class Sign(BaseModel):
    """What the sign of a parking group shows."""

    group: str
    floor: str
    vehicle: str
    total: int
    free: int
    unknown: int
    full: bool
    since: Time | None


class Signs(BaseModel):
    """A page of signs."""

    items: list[Sign]
    next_cursor: str | None


class Entered(BaseModel):
    """What was entered."""

    id: str
    version: int
    count: int


class PackItem(BaseModel):
    """A target pack."""

    id: str
    name: Name
    source: str
    versions: list[dict[str, Any]]


class Packs(BaseModel):
    """A page of packs."""

    items: list[PackItem]
    next_cursor: str | None


class TargetItem(BaseModel):
    """A target of a site."""

    indicator: str
    value: float
    version: str
    origin: Literal["pack", "ledger", "override"]
    override: bool
    since: Time | None


class TargetList(BaseModel):
    """What holds at a site."""

    pack: str
    pack_version: str
    period: Literal["month", "quarter", "half-year"]
    items: list[TargetItem]


class ComparedItem(BaseModel):
    """A site against a benchmark."""

    id: str
    indicator: str
    kind: Literal["internal", "industry", "cross_industry"]
    source: str | None
    year: int | None
    best_site: str | None
    value: float | None
    own: float | None
    gap: float | None = Field(description="own minus benchmark; points for shares")
    stage: Literal["set", "gap", "reached", "frozen", "expired"]
    expires_at: Time


class ComparedList(BaseModel):
    """A page of comparisons."""

    items: list[ComparedItem]
    next_cursor: str | None


class AssessmentItem(BaseModel):
    """A period as it was judged."""

    site: str
    indicator: str
    period: str
    recorded_at: Time
    card: Literal["none", "yellow", "red"]
    failed_running: int
    target_origin: str
    result_hash: str | None
    hash: str
    result: FullIndicator


class AssessmentList(BaseModel):
    """A page of assessments."""

    items: list[AssessmentItem]
    next_cursor: str | None


class PlaceItem(BaseModel):
    """A place of a ranking."""

    site: str
    value: float
    place: int
    bottom: bool


class Ranking(BaseModel):
    """Sites in order."""

    items: list[PlaceItem]
    yellow_cards: list[str]
    next_cursor: str | None


class PortfolioSite(BaseModel):
    """The lines of one site."""

    site: str
    lines: list[list[Any]]


class PortfolioBody(BaseModel):
    """All sites at a glance; each line has the columns named."""

    columns: list[str]
    items: list[PortfolioSite]
    next_cursor: str | None
