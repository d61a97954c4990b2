"""The shapes of what the API says and takes about alerts and rectification items."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cloud.api.schema import AlertItem, Time

Actor = Annotated[str | None, Field(max_length=100, description="who does it, until people sign in")]
Note = Annotated[str, Field(max_length=2_000)]
IdText = Annotated[str, Field(min_length=1, max_length=100)]
Cause = Annotated[str, Field(max_length=40, pattern=r"^([a-z0-9][a-z0-9_-]*)?$")]


class HistoryItem(BaseModel):
    """One change. `detail` holds what changed, by name."""

    at: Time
    recorded_at: Time
    kind: str
    actor: str | None
    note: str | None
    detail: dict[str, str]


class Around(BaseModel):
    """A value around the start of an alert: [start, min, avg, max, count] of each bucket."""

    device: str
    point: str
    unit: str | None
    items: list[tuple[str, float | None, float | None, float | None, int]]


class AlertDetail(AlertItem):
    """An alert, its history, and the value around its start where its device has one."""

    history: list[HistoryItem]
    around: Around | None


class Alerts(BaseModel):
    """A page of alerts. `total` only with `?count=true`."""

    items: list[AlertItem]
    next_cursor: str | None
    total: int | None = None


class ActionBody(BaseModel):
    """Who does something."""

    actor: Actor = None
    note: Note = ""


class AcknowledgementBody(ActionBody):
    """Who takes notice."""


class ResolutionBody(ActionBody):
    """Who says that it is dealt with, and what it was; orange and red need both a cause and a note."""

    cause: Cause = ""


class AssignmentBody(ActionBody):
    """Who is to see to it; null for nobody in particular."""

    assignee: Annotated[str | None, Field(min_length=1, max_length=100)]


class CommentBody(BaseModel):
    """Something to say."""

    actor: Actor = None
    note: Annotated[str, Field(min_length=1, max_length=2_000)]


class ShelfBody(BaseModel):
    """Put aside until a time at most seven days ahead, and why."""

    actor: Actor = None
    reason: Annotated[str, Field(min_length=1, max_length=2_000)]
    until: Time


class TicketBody(BaseModel):
    """The number that another system has for it."""

    actor: Actor = None
    ticket: Annotated[str, Field(max_length=100)]


class Versioned(BaseModel):
    """An alert, and the version of it that somebody has seen."""

    id: Annotated[str, Field(max_length=64)]
    version: Annotated[int | None, Field(ge=0)] = None


class BulkBody(BaseModel):
    """One action on many alerts. Each succeeds or fails by itself."""

    action: Literal["acknowledge", "assign", "comment", "shelve", "unshelve", "resolve"]
    alerts: Annotated[list[Versioned], Field(min_length=1, max_length=200)]
    actor: Actor = None
    note: Note = ""
    cause: Cause = ""
    reason: Annotated[str, Field(max_length=2_000)] = ""
    until: Time | None = None
    assignee: Annotated[str | None, Field(max_length=100)] = None


class BulkItem(BaseModel):
    """What became of one alert: its status, and the alert or what was wrong."""

    id: str
    status: int
    alert: AlertItem | None = None
    problem: dict[str, object] | None = None


class BulkResult(BaseModel):
    """What became of each, in the order asked."""

    items: list[BulkItem]


class CauseItem(BaseModel):
    """A cause that ships with words of its own."""

    id: str
    text: str


class Causes(BaseModel):
    """Known causes; a site may use others."""

    items: list[CauseItem]
    next_cursor: str | None


class AlertState(BaseModel):
    """How it stands with the alerts of a site."""

    model_config = ConfigDict(extra="allow")
    open: dict[str, int]
    new: int
    shelved: int
    suppressed: int
    flood: bool
    chattering: list[str]
    stale: list[str]
