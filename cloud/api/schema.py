"""The shapes of the API's answers, for its OpenAPI document. Answers are encoded from plain values, not from these."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Time = Annotated[str, Field(description="RFC 3339, UTC, milliseconds", examples=["2026-05-01T08:00:00.000Z"])]
Share = Annotated[float | None, Field(ge=0, le=1, description="null: not known")]


class Name(BaseModel):
    """A name in both languages."""

    en: str
    zh: str = Field(alias="zh-CN")


class ErrorItem(BaseModel):
    """One thing wrong with a request."""

    pointer: str
    detail: str
    code: str


class ProblemBody(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[ErrorItem]


class SiteItem(BaseModel):
    """A site."""

    id: str
    name: Name
    type: str
    zone: str
    gateways_online: int
    gateways_total: int


class WindowBody(BaseModel):
    """[from, to)."""

    model_config = ConfigDict(populate_by_name=True)
    from_: Time = Field(alias="from")
    to: Time


class IndicatorItem(BaseModel):
    """A number and how much it knows."""

    id: str
    value: Share
    low: Share
    high: Share
    coverage: Share
    verdict: Literal["PASS", "FAIL", "INDETERMINATE"] | None
    target: Share
    target_version: str = Field(description="pack@version, or ledger@ or site@ where the site departs from its pack")
    numerator: int
    denominator: int
    unit: str
    window: WindowBody
    revision: int
    final: bool


class Trend(BaseModel):
    """An indicator over time: start of each bucket and value, null where nothing is known."""

    items: list[tuple[str, float | None]]
    step: Literal["day", "hour"]
    target: Share


class EquipmentItem(BaseModel):
    """An equipment, its state and its last 24 hours."""

    id: str
    name: Name
    code: str
    class_: str = Field(alias="class")
    criticality: Literal["A", "B", "C"]
    device: str
    floor: str | None
    position: tuple[float, float] | None
    state: str
    since: Time | None
    value: float | None
    value_unit: str | None
    strip: list[str]
    intact_24h: Share


class AlertText(BaseModel):
    """A key of the catalogue and its parameters."""

    key: str
    parameters: dict[str, str]


class AlertItem(BaseModel):
    """An alert as it stands."""

    id: str
    site: str
    rule: str
    thing: str
    thing_name: Name
    severity: Literal["yellow", "orange", "red"]
    condition: Literal["active", "cleared"]
    handling: Literal["new", "acknowledged", "resolved"]
    opened_at: Time
    cleared_at: Time | None
    last_at: Time
    count: int
    text: AlertText
    assignee: str | None
    acknowledged_by: str | None
    acknowledged_at: Time | None
    historical: bool
    version: int
    latched: bool
    drill: bool
    sources: list[str]
    shelved_until: Time | None
    shelved_by: str | None
    shelf_reason: str | None
    suppressed_by: str | None
    escalated_for: str | None
    missed: list[str]
    arrived_by: str | None
    arrived_at: Time | None
    resolved_by: str | None
    resolved_at: Time | None
    cause: str | None
    ticket: str | None
    runbook: str | None
    acknowledge_due: Time | None
    plan_due: Time | None
    on_scene_due: Time | None


class LaneItem(BaseModel):
    """What is stored of one lane's newest epoch, and the first gaps of all its epochs."""

    stored_seq: int
    gaps: list[tuple[int, int]]


class GatewayItem(BaseModel):
    """A gateway."""

    id: str
    site: str
    online: bool
    last_frame_at: Time | None
    lanes: dict[str, LaneItem]
    clock_offset_ms: int | None
    software_version: str | None


class RobotItem(BaseModel):
    """A robot: metres and radians in its floor's frame."""

    id: str
    name: Name
    x: float | None
    y: float | None
    heading: float | None
    battery: float | None
    state: str
    floor: str | None
    seen_at: Time | None


class Snapshot(BaseModel):
    """A site as its page shows it."""

    seq: int
    epoch: str
    time: Time
    site: dict[str, Any]
    floors: list[dict[str, Any]]
    spaces: dict[str, dict[str, Any]]
    robots: list[RobotItem]
    equipment: list[EquipmentItem]
    coverage: dict[str, dict[str, Any]]
    alerts: list[AlertItem]
    indicators: list[IndicatorItem]


class Series(BaseModel):
    """Buckets [start, min, avg, max, count]; null values where there was no reading."""

    items: list[tuple[str, float | None, float | None, float | None, int]]
    resolution_ms: int
    unit: str | None


class Sites(BaseModel):
    """A page of sites."""

    items: list[SiteItem]
    next_cursor: str | None


class Indicators(BaseModel):
    """A page of indicators."""

    items: list[IndicatorItem]
    next_cursor: str | None


class EquipmentList(BaseModel):
    """A page of equipment."""

    items: list[EquipmentItem]
    next_cursor: str | None


class Gateways(BaseModel):
    """A page of gateways."""

    items: list[GatewayItem]
    next_cursor: str | None
