"""The log of deliveries: what went to whom over which channel, every try, and what still waits. Methods block.

A delivery waits here from the transaction in which its message left the outbox, so nothing is forgotten when the
process dies; at worst a message is sent once more, under the same id.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from cloud.alerts.outbox import Notification
from cloud.facts.database import reading, writing
from cloud.facts.failures import asking
from cloud.facts.tables_notify import deliveries

RETRY_MS = (5_000, 30_000, 120_000, 600_000, 3_600_000, 21_600_000)  # ux.md section 6; then it is dead
ERROR_LENGTH_MAX = 300
TRIES_KEPT = 20
KEPT_MS = 90 * 86_400_000
PAGE_MAX = 500
WAITING_MAX = 200  # of one channel looked at in one go; the oldest go first

Status = Literal["waiting", "delivered", "dead"]


class Try(msgspec.Struct, frozen=True):
    """One attempt; `error` is empty when it worked."""

    at_ms: int
    took_ms: int
    error: str = ""


class Delivery(msgspec.Struct, frozen=True):
    """One message on its way over one channel. Times are Unix ms UTC."""

    notification: Notification
    channel: str
    status: Status
    added_ms: int
    next_ms: int
    tries: tuple[Try, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """Site, message, channel."""
        return self.notification.site, self.notification.id, self.channel

    def tried(self, attempt: Try, *, final: bool) -> "Delivery":
        """After an attempt; `final`: trying again is no use."""
        tries = (*self.tries, attempt)[-TRIES_KEPT:]
        if not attempt.error:
            return msgspec.structs.replace(self, status="delivered", tries=tries)
        failed = sum(1 for one in tries if one.error)
        if final or failed > len(RETRY_MS):
            return msgspec.structs.replace(self, status="dead", tries=tries)
        return msgspec.structs.replace(self, next_ms=attempt.at_ms + RETRY_MS[failed - 1], tries=tries)


class DeliveryLog:
    """Every delivery of all sites."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, notification: Notification, channels: Iterable[str], now_ms: int) -> None:
        """Let a message wait on these channels. One that is there already stays as it is."""
        with asking("deliveries"), writing(self._engine) as connection:
            for channel in channels:
                one = Delivery(notification, channel, "waiting", now_ms, now_ms)
                known = sa.select(deliveries.c.status).where(_is(one))
                if connection.execute(known).one_or_none() is None:
                    connection.execute(sa.insert(deliveries), _row(one))

    def waiting(self, now_ms: int) -> list[Delivery]:
        """What is due, oldest first, and of each channel so much that none keeps another from being looked at."""
        table = deliveries.c
        order = (table.added_ms, table.notification)
        place = sa.func.row_number().over(partition_by=(table.site, table.channel), order_by=order).label("place")
        due = sa.select(table.body, *order, place).where(table.status == "waiting", table.next_ms <= now_ms).subquery()
        query = sa.select(due.c.body).where(due.c.place <= WAITING_MAX)
        return self._found(query.order_by(due.c.added_ms, due.c.notification))

    def keep(self, changed: Sequence[Delivery]) -> None:
        """Write down how deliveries stand."""
        with asking("deliveries"), writing(self._engine) as connection:
            for one in changed:
                connection.execute(sa.update(deliveries).where(_is(one)).values(_row(one)))

    def of_site(self, site: str, limit: int) -> list[Delivery]:
        """The newest deliveries of a site, newest first."""
        query = sa.select(deliveries.c.body).where(deliveries.c.site == site)
        return self._found(query.order_by(deliveries.c.added_ms.desc(), deliveries.c.notification).limit(limit))

    def forget(self, before_ms: int) -> None:
        """Drop what ended long ago."""
        old = (deliveries.c.status != "waiting") & (deliveries.c.added_ms < before_ms)
        with asking("deliveries"), writing(self._engine) as connection:
            connection.execute(sa.delete(deliveries).where(old))

    def _found(self, query: "sa.Select[Any]") -> list[Delivery]:
        with asking("deliveries"), reading(self._engine) as connection:
            return [msgspec.msgpack.decode(body, type=Delivery) for body in connection.execute(query).scalars()]


def _is(one: Delivery) -> "sa.ColumnElement[bool]":
    site, notification, channel = one.key
    table = deliveries.c
    return (table.site == site) & (table.notification == notification) & (table.channel == channel)


def _row(one: Delivery) -> dict[str, object]:
    site, notification, channel = one.key
    return {
        "site": site, "notification": notification, "channel": channel, "status": one.status,
        "added_ms": one.added_ms, "next_ms": one.next_ms, "body": msgspec.msgpack.encode(one),
    }  # fmt: skip
