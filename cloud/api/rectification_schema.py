"""The shapes of what the API says and takes about rectification items."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cloud.api.alert_schema import Actor, HistoryItem, Note
from cloud.api.schema import IndicatorItem, Name, Time

IdText = Annotated[str, Field(min_length=1, max_length=100)]
Steps = Literal["reported", "accepted", "assigned", "executed", "verified"]


class BudgetBody(BaseModel):
    """Money: an amount in the smallest unit of its currency (300,000 CNY is 30000000)."""

    amount: Annotated[int, Field(ge=0, le=10**15)]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class RectificationItem(BaseModel):
    """What is to be done so that it does not happen again."""

    id: str
    site: str
    title: str | None
    alert: str | None
    rule: str | None
    thing: str | None
    thing_name: Name | None
    severity: Literal["yellow", "orange", "red"]
    quadrant: Literal["urgent-important", "important", "urgent", "neither"]
    step: Steps
    closed: bool
    withdrawn: bool
    drill: bool
    root_cause: bool
    indicator: str
    runbook: str | None
    reported_at: Time
    reporter: str | None
    plan: str | None
    planned_by: str | None
    plan_due: Time | None
    owner: str | None
    due: Time | None
    overdue: bool
    budget: BudgetBody | None
    progress: int
    ticket: str | None
    executed_at: Time | None
    executed_by: str | None
    closed_at: Time | None
    closed_by: str | None
    version: int


class AttachmentItem(BaseModel):
    """A file that was sent as evidence."""

    id: str
    name: str
    media_type: str
    size: int
    sha256: str
    actor: str
    at: Time


class Effect(BaseModel):
    """The indicator before what caused it and after it was executed; null while there is no after."""

    before: IndicatorItem | None
    after: IndicatorItem | None


class RectificationDetail(RectificationItem):
    """An item with everything that happened to it."""

    history: list[HistoryItem]
    attachments: list[AttachmentItem]
    effect: Effect


class RectificationList(BaseModel):
    """A page of items."""

    items: list[RectificationItem]
    next_cursor: str | None


class ReportBody(BaseModel):
    """Something to be put right, reported by hand."""

    model_config = ConfigDict(extra="forbid")
    actor: Actor = None
    site: IdText
    title: Annotated[str, Field(min_length=1, max_length=200)]
    thing: Annotated[str, Field(max_length=100)] = ""
    severity: Literal["yellow", "orange", "red"] = "yellow"
    indicator: Annotated[str, Field(max_length=100)] = "equipment.intact_rate"
    plan_due: Time | None = None
    note: Note = ""


class PlanBody(BaseModel):
    """What will be done."""

    actor: Actor = None
    plan: Annotated[str, Field(min_length=1, max_length=4_000)]


class StepBody(BaseModel):
    """The next step is done. Assigning needs an owner and a date."""

    actor: Actor = None
    to: Steps
    note: Note = ""
    owner: Annotated[str, Field(max_length=100)] = ""
    due: Time | None = None


class ReasonBody(BaseModel):
    """Why."""

    actor: Actor = None
    note: Annotated[str, Field(min_length=1, max_length=2_000)]


class ChangeBody(BaseModel):
    """What changes; what is not named stays."""

    model_config = ConfigDict(extra="forbid")
    actor: Actor = None
    note: Note = ""
    owner: Annotated[str | None, Field(max_length=100)] = None
    due: Time | None = None
    budget: BudgetBody | None = None
    progress: Annotated[int | None, Field(ge=0, le=100)] = None
    ticket: Annotated[str | None, Field(max_length=100)] = None
