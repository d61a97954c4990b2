"""What has to be told to whom: one row a message, kept until a sender is done with it.

What decides writes the row together with the note that it did (`Outbox.add`), so a message is neither forgotten nor
written twice. Who sends takes rows with `waiting`, hands each to the channels of its people, and says `finished`;
the id of a notification stays the same however often it is tried.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa

from cloud.facts.database import reading, writing
from cloud.facts.failures import asking
from cloud.facts.tables_alerts import outbox
from devices.rules import Severity

LINES_MAX = 50  # alerts named in one notification; `more` counts the rest
BATCH_MAX = 200
KEPT_MS = 90 * 86_400_000  # after a sender was done with it


class Line(msgspec.Struct, frozen=True):
    """One alert within a notification. Times are Unix ms UTC; `text` is a catalogue key with its parameters.

    `what` happened: opened, reopened, escalated, back (from the shelf, or its cause is gone), reminder, missed
    (`reason` says what was not done), or cleared. `muted` counts what is told with it: things behind a dead gateway.
    """

    alert: str
    rule: str
    thing: str
    severity: Severity
    what: str
    since_ms: int
    text: str
    parameters: dict[str, str]
    count: int = 1
    muted: int = 0
    reason: str = ""
    cleared_ms: int | None = None
    runbook: str = ""


class Notification(msgspec.Struct, frozen=True):
    """One message. `kind` is "alerts" (see `lines`) or "work-order" (see `data`).

    `people` are ids of people, empty where a site has entered nobody: then it is for whoever listens to the site.
    `level` is how far up the ladder it goes. A `drill` has to be marked as one everywhere.
    """

    id: str
    site: str
    kind: str
    at_ms: int
    severity: Severity
    level: int = 1
    people: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()
    more: int = 0
    drill: bool = False
    flood: bool = False
    event: str = ""  # of a work order: io.gatehouse.rectification.reported and so on
    data: dict[str, Any] = {}

    @property
    def muted(self) -> int:
        """How much is told with the alerts of this message."""
        return sum(line.muted for line in self.lines)


class Sender(Protocol):
    """A way to tell people. Each channel has one; it keeps its own log of deliveries."""

    async def send(self, notification: Notification) -> None:
        """Deliver, or raise Transient (try again, same id) or Permanent (it will never work)."""


def notification_id(site: str, at_ms: int, *parts: str) -> str:
    """The same message decided upon again has the same id."""
    digest = hashlib.sha256("\0".join((site, str(at_ms), *parts)).encode()).hexdigest()
    return f"nt_{digest[:26]}"


class Outbox:
    """The messages of all sites that wait. Every method blocks; call them from a thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener`, in whatever thread, after a message was added."""
        self._listeners.append(listener)

    def add(self, connection: sa.Connection, notifications: Iterable[Notification]) -> None:
        """Add messages within the transaction of what made them necessary. One that is there already stays."""
        for one in notifications:
            known = sa.select(outbox.c.id).where(outbox.c.site == one.site, outbox.c.id == one.id)
            if connection.execute(known).one_or_none() is not None:
                continue
            last = connection.execute(sa.select(sa.func.max(outbox.c.number)).where(outbox.c.site == one.site)).scalar()
            row = {"site": one.site, "id": one.id, "number": (last or 0) + 1, "kind": one.kind, "at_ms": one.at_ms}
            connection.execute(outbox.insert(), {**row, "body": msgspec.json.encode(one)})

    def added(self) -> None:
        """Tell the listeners, after the transaction."""
        for listener in self._listeners:
            listener()

    def waiting(self, limit: int = BATCH_MAX) -> list[Notification]:
        """Give what no sender is done with, oldest first; those of one site in the order in which they were added."""
        query = sa.select(outbox.c.body).where(outbox.c.finished_ms.is_(None))
        return self._found(query.order_by(outbox.c.at_ms, outbox.c.site, outbox.c.number).limit(min(limit, BATCH_MAX)))

    def of_site(self, site: str, limit: int = BATCH_MAX) -> list[Notification]:
        """Give the newest messages of a site, finished or not, newest first."""
        query = sa.select(outbox.c.body).where(outbox.c.site == site)
        return self._found(query.order_by(outbox.c.number.desc()).limit(min(limit, BATCH_MAX)))

    def finished(self, site: str, notifications: Sequence[str], now_ms: int) -> None:
        """Note that nothing is left to do for these messages, and forget those of long ago."""
        where = (outbox.c.site == site) & outbox.c.id.in_(list(notifications))
        old = (outbox.c.site == site) & (outbox.c.finished_ms < now_ms - KEPT_MS)
        with asking("messages"), writing(self._engine) as connection:
            connection.execute(outbox.update().where(where).values(finished_ms=now_ms))
            connection.execute(outbox.delete().where(old))

    def _found(self, query: "sa.Select[Any]") -> list[Notification]:
        with asking("messages"), reading(self._engine) as connection:
            return [msgspec.json.decode(body, type=Notification) for body in connection.execute(query).scalars()]
