"""Answers that were given to requests with an Idempotency-Key, so that a repeated request is not done twice.

A key is claimed before the request is carried out, and its answer is kept for `KEPT_MS`. Whoever repeats the request
gets that answer; another request under the same key, and one that is still being carried out, is told so. A claim
without an answer is of a request that failed or died half-way: it may be tried again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from cloud.facts.database import WHOLE_LOG, reading, writing
from cloud.facts.failures import asking
from cloud.facts.tables_handling import answers
from devices.errors import Permanent

KEPT_MS = 24 * 3_600_000
KEYS_MAX = 200_000  # beyond which the oldest go early: a disk must not fill with keys


class OtherRequest(Permanent):
    """A key that came with another request before."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered. `headers` are those that belong to it, by lower-case name."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class AnsweredRequests:
    """The keys of the last day. Every method blocks; call them from a thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def claim(self, key: str, request: str, now_ms: int) -> Answer | None:
        """Give the answer to a repeated request, None for one that has to be carried out.

        `request` stands for all that was asked (a hash of it). Raises OtherRequest, StorageUnavailable.
        """
        mine = (answers.c.site == WHOLE_LOG) & (answers.c.id == key)
        with asking("answers"), writing(self._engine) as connection:
            known = connection.execute(sa.select(answers).where(mine)).one_or_none()
            if known is not None and now_ms - known.at_ms < KEPT_MS:
                if known.request != request:
                    raise OtherRequest("This Idempotency-Key came with another request before.")
                if known.status is None:
                    return None
                return Answer(known.status, known.body or b"", json.loads(known.headers or b"{}"))
            connection.execute(sa.delete(answers).where(mine | (answers.c.at_ms <= now_ms - KEPT_MS)))
            self._make_room(connection)
            row = {"site": WHOLE_LOG, "id": key, "request": request, "at_ms": now_ms}
            connection.execute(answers.insert(), row)
        return None

    def keep(self, key: str, answer: Answer) -> None:
        """Keep the answer to a request that was claimed. Raises StorageUnavailable."""
        mine = (answers.c.site == WHOLE_LOG) & (answers.c.id == key)
        said = {"status": answer.status, "body": answer.body, "headers": json.dumps(dict(answer.headers)).encode()}
        with asking("answers"), writing(self._engine) as connection:
            connection.execute(sa.update(answers).where(mine).values(said))

    def forget(self, key: str) -> None:
        """Let a request that was refused be tried again. Raises StorageUnavailable."""
        mine = (answers.c.site == WHOLE_LOG) & (answers.c.id == key)
        with asking("answers"), writing(self._engine) as connection:
            connection.execute(sa.delete(answers).where(mine))

    def count(self) -> int:
        """How many keys are kept."""
        with asking("answers"), reading(self._engine) as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(answers)).scalar_one()

    def _make_room(self, connection: sa.Connection) -> None:
        kept = connection.execute(sa.select(sa.func.count()).select_from(answers)).scalar_one()
        if kept >= KEYS_MAX:
            oldest = sa.select(answers.c.id).order_by(answers.c.at_ms).limit(kept - KEYS_MAX + 1)
            connection.execute(sa.delete(answers).where(answers.c.id.in_(oldest)))
