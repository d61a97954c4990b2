"""Parked frame + fix -> facts: the frame is read from the log again and its times are put right.

Each frame is released once; its facts and its release are one transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import sqlalchemy as sa
import structlog

from cloud.facts.claims import FrameFacts, facts_of
from cloud.facts.intake import store_facts
from cloud.facts.parked import Due, Parked, due_frames, give_up, release
from cloud.facts.progress import UNUSABLE, FactsStore, storing
from cloud.ingest.clocks import is_ahead, shift_of, shifted
from cloud.ingest.log import FrameLog, KnownPlaces, LogEntry
from devices.frame import Frame, decode_frame
from devices.instants import format_instant
from devices.reading import Lane

BODY_BYTES_MAX = 16 * 1024 * 1024  # inflated, of one batch; bounds the memory whatever the frames hold
_log = structlog.get_logger(__name__)


class Told(NamedTuple):
    """A frame whose facts are stored."""

    site: str
    received_ms: int
    frame: Frame


@dataclass(frozen=True, slots=True)
class Fixed:
    """A parked frame that was looked at again. `told` is None when its fix does not help: then `problem` says why."""

    parked: Parked
    shift_ms: int = 0
    told: Told | None = None
    facts: FrameFacts | None = None
    problem: str = ""


class Releaser:
    """Belongs to the processor; `step` blocks."""

    def __init__(self, log: FrameLog, engine: FactsStore) -> None:
        self._log = log
        self._engine = engine

    def step(self, limit: int) -> list[Fixed]:
        """Put the times of at most `limit` frames right whose fix is known; none: there are no more.

        Raises Transient, then nothing of it counts.
        """
        found: list[Fixed] = []
        size = 0
        frames = due_frames(self._engine, limit)
        places = KnownPlaces(self._log, [(due.frame.identity.lane, due.frame.after) for due in frames])
        for due in frames:
            if size > BODY_BYTES_MAX:
                break
            found.append(_look(due, places.entry(due.frame.identity.lane, due.frame.after)))
            size += found[-1].told.frame.header.body_bytes if found[-1].told else 0
        if not found:
            return []
        try:
            self._store(found)
        except UNUSABLE:
            # One frame spoils the transaction of all: store one by one, so that only that one stays behind.
            found = [self._store_alone(one) for one in found]
        return found

    def _store(self, found: Sequence[Fixed]) -> None:
        with storing(self._engine) as connection:
            for one in found:
                _store_one(connection, one)
            release(connection, [(one.parked, one.shift_ms) for one in found if one.told is not None])

    def _store_alone(self, one: Fixed) -> Fixed:
        try:
            self._store([one])
        except UNUSABLE as error:
            one = replace(one, told=None, facts=None, problem=f"{type(error).__name__}: {error}")
            self._store([one])
        return one


def _store_one(connection: sa.Connection, one: Fixed) -> None:
    if one.told is None:
        _log.warning("frame stays parked", seq=one.parked.identity.seq, reason=one.problem)
        give_up(connection, one.parked, one.problem)
    elif one.facts is not None:
        store_facts(connection, one.facts)


def _look(due: Due, entry: LogEntry | None) -> Fixed:
    parked = due.frame
    if entry is None or entry.position != parked.position:
        return Fixed(parked, problem="it cannot be read from the log any more")
    try:
        frame = decode_frame(entry.data)
        shift_ms = shift_of(due.fix, frame.header)
        right = shifted(frame, shift_ms, due.fix.uncertainty_ms)
        if is_ahead(right.header, parked.received_ms):
            ends = format_instant(right.header.to_ms)
            return Fixed(parked, problem=f"with its fix its span ends {ends}, after it was received")
        facts = facts_of(right, parked.received_ms, parked.site) if right.header.lane is Lane.EVENTS else None
    except UNUSABLE as error:
        return Fixed(parked, problem=f"{type(error).__name__}: {error}")
    return Fixed(parked, shift_ms, Told(parked.site, parked.received_ms, right), facts)
